//! Subject: the CPU that the program runs on.
//!
//! Where its user changes: at a context switch and at both ends of interrupts. Handlers of devices are told of by the
//! tracepoints of generic interrupts. On x86 the local timer and the messages between CPUs are not among them, but
//! have tracepoints of their own; these programs are attached where the kernel has them.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::helpers::generated::{
    bpf_get_current_task_btf, bpf_get_smp_processor_id, bpf_ktime_get_boot_ns,
};
use aya_ebpf::macros::{btf_tracepoint, map, raw_tracepoint};
use aya_ebpf::maps::{Array, HashMap};
use aya_ebpf::programs::{BtfTracePointContext, RawTracePointContext};
use plimsoll_ebpf::foreign::{ForeignCpu, IN_IRQ, IN_SOFTIRQ, user};
use plimsoll_ebpf::kernel::field;
use plimsoll_ebpf::maps;
use plimsoll_ebpf::wire::ThreadOnCpu;

use crate::task::look_at;

/// The agent makes it as long as there are CPUs.
#[map]
static CPUS: Array<ForeignCpu> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static THREADS: HashMap<ThreadOnCpu, u64> = HashMap::with_max_entries(maps::MAX_THREADS, BPF_F_NO_PREALLOC);

/// The books of this CPU, if it has an owner.
#[inline(always)]
fn owned() -> Option<&'static mut ForeignCpu> {
    let books = books()?;
    (books.owner != 0).then_some(books)
}

#[inline(always)]
fn books() -> Option<&'static mut ForeignCpu> {
    // SAFETY: takes no arguments.
    let books = CPUS.get_ptr_mut(unsafe { bpf_get_smp_processor_id() })?;
    // SAFETY: a map value, which only programs on this CPU write; one that interrupts another leaves it alone.
    Some(unsafe { &mut *books })
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: takes no arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

#[btf_tracepoint(function = "sched_switch")]
fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    let Some(books) = owned() else { return 0 };
    // SAFETY: argument 2 is the next task on every kernel since 5.18.
    let next: *const u8 = unsafe { field(ctx.as_ptr().cast_const().cast(), 16) };
    // SAFETY: the tracepoint's argument is a task.
    let next = unsafe { look_at(next, books.owner, books.owner_level) };
    if books.stays_own(next.user) {
        return 0;
    }
    // Interrupts are off: whoever has the books open will never come back to them, or is a soft interrupt of a
    // real-time kernel, which may be switched away; then this switch counts.
    books.open();
    books.go(now());
    if books.task.user == user::KERNEL_THREAD {
        add_thread(books);
    }
    books.come(next);
    books.close();
    0
}

/// What any program at this place costs: the benchmarks attach it in the other's stead.
#[btf_tracepoint(function = "sched_switch")]
fn nothing(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[inline(always)]
fn add_thread(books: &ForeignCpu) {
    // SAFETY: takes no arguments.
    let cpu = u64::from(unsafe { bpf_get_smp_processor_id() });
    let key = ThreadOnCpu {
        comm: books.task.comm,
        cpu,
    };
    match THREADS.get_ptr_mut(key) {
        // SAFETY: a map value that only this CPU writes.
        Some(total) => unsafe { *total += books.ran },
        // When the map is full this thread has no name; its time is in the totals.
        None => _ = THREADS.insert(key, books.ran, 0),
    }
}

/// Gives the CPU to the cgroup of which the arguments are id and level, or to none. The agent runs it on that CPU.
/// Tells 1 when the books were open, and it must be run again.
#[raw_tracepoint]
fn adopt(ctx: RawTracePointContext) -> i32 {
    let (owner, level): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    let Some(books) = books() else { return 1 };
    if !books.open() {
        return 1;
    }
    // SAFETY: the current task, which the helper gives typed.
    let task = unsafe { look_at(bpf_get_current_task_btf().cast_const().cast(), owner, level) };
    books.adopt(owner, level, task, now());
    books.close();
    0
}

#[inline(always)]
fn enter(kind: u32) -> i32 {
    if let Some(books) = owned()
        && books.open()
    {
        books.enter(kind, now());
        books.close();
    }
    0
}

#[inline(always)]
fn leave(kind: u32) -> i32 {
    if let Some(books) = owned()
        && books.open()
    {
        books.leave(kind, now());
        books.close();
    }
    0
}

macro_rules! interrupts {
    ($($begin:ident, $begin_name:literal, $end:ident, $end_name:literal: $kind:expr;)*) => {$(
        #[btf_tracepoint(function = $begin_name)]
        fn $begin(_ctx: BtfTracePointContext) -> i32 {
            enter($kind)
        }

        #[btf_tracepoint(function = $end_name)]
        fn $end(_ctx: BtfTracePointContext) -> i32 {
            leave($kind)
        }
    )*};
}

interrupts! {
    irq_handler_entry, "irq_handler_entry", irq_handler_exit, "irq_handler_exit": IN_IRQ;
    softirq_entry, "softirq_entry", softirq_exit, "softirq_exit": IN_SOFTIRQ;
    local_timer_entry, "local_timer_entry", local_timer_exit, "local_timer_exit": IN_IRQ;
    reschedule_entry, "reschedule_entry", reschedule_exit, "reschedule_exit": IN_IRQ;
    call_function_entry, "call_function_entry", call_function_exit, "call_function_exit": IN_IRQ;
    call_function_single_entry, "call_function_single_entry",
        call_function_single_exit, "call_function_single_exit": IN_IRQ;
    irq_work_entry, "irq_work_entry", irq_work_exit, "irq_work_exit": IN_IRQ;
}
