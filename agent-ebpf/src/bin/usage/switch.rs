//! Subject: the task that leaves the CPU (`prev` of `sched_switch`).
//!
//! **Problem.** How long did the tasks of each cgroup run, and how long did they wait for a CPU? Hooking wake-ups
//! costs twice as much and misses the waits of preempted tasks, which nobody wakes. **How.** The kernel itself keeps
//! both totals per task (`se.sum_exec_runtime`, `sched_info.run_delay`). Each CPU keeps the totals of the task
//! that came in; when the same task leaves, the differences are what it ran and what it had waited, because the
//! kernel adds the wait after this tracepoint.
//!
//! A task is known by its address. It leaves the CPU through this tracepoint before it can end, and so the address
//! that leaves is the task that came in.
//!
//! Unless the kernel did not tell of its coming: there are vendors' kernels that say nothing of a task of their own
//! when it leaves, nor always of the idle one, and so nothing of who comes next. What such a task ran in this turn is
//! known all the same to the fair scheduler (`se.prev_sum_exec_runtime` is its run time at the turn's beginning), and
//! counts; how long it had waited is not known, and does not. The scheduler forgets where the turn began when it
//! moves the task, as it does with each that ends: an end is looked at before that.
//!
//! Counting begins with whoever is on a CPU then ([`begin`]): the first to be seen leaving may be another.

use core::ptr;

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::bpf_get_current_task_btf;
use aya_ebpf::macros::{btf_tracepoint, raw_tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, RawTracePointContext};
use plimsoll_ebpf::fact;
use plimsoll_ebpf::kernel::field;

use crate::FACTS;
use crate::totals::{Cpu, IDLE, tell_unseen};

/// The first priority of the fair scheduler: those below are of real-time tasks.
const FAIR: u32 = 100;

/// In a delay's stead: not known. No task waits that long.
const UNKNOWN: u64 = u64::MAX;

#[btf_tracepoint(function = "sched_switch")]
fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    let arguments: *const u8 = ctx.as_ptr().cast();
    // SAFETY: arguments 1 and 2 of the tracepoint are the two tasks on every kernel since 5.18.
    let (prev, next): (*const u8, *const u8) = unsafe { (field(arguments, 8), field(arguments, 16)) };
    let Some(cpu) = Cpu::this() else {
        return 0;
    };
    // SAFETY: `cpu` is this CPU's own, and nothing else runs on the CPU within the tracepoint; the fields' widths
    // are those of the kernel.
    unsafe {
        leave(cpu, prev);
        come(cpu, next);
    }
    0
}

/// Begins to count with the task that is on this CPU. The agent runs it on each CPU before switches are counted.
#[raw_tracepoint]
fn begin(_ctx: RawTracePointContext) -> i32 {
    let Some(cpu) = Cpu::this() else {
        return 1;
    };
    // SAFETY: the current task, which the helper gives typed; no other program writes what is this CPU's yet.
    unsafe { come(cpu, bpf_get_current_task_btf().cast_const().cast()) };
    0
}

/// A task that ends, seen while its turn goes on. Where nothing is hidden, that is the task that was seen coming in.
///
/// Newer kernels may preempt a program here: then the turn that goes on after it may count from its beginning, not from
/// where it was cut.
#[btf_tracepoint(function = "sched_process_exit")]
fn sched_process_exit(_ctx: BtfTracePointContext) -> i32 {
    let Some(cpu) = Cpu::this() else {
        return 0;
    };
    // SAFETY: the current task, which the helper gives typed; `cpu` is this CPU's own.
    unsafe {
        let task: *const u8 = bpf_get_current_task_btf().cast_const().cast();
        if (*cpu).task != task as u64 && is_fair(task) {
            (*cpu).delay_nsec = UNKNOWN;
            (*cpu).run_nsec = field(task, fact!(task_turn));
            ptr::write_volatile(&raw mut (*cpu).task, task as u64);
        }
    }
    0
}

/// What any program at this place costs: the benchmarks attach it in the other's stead.
#[btf_tracepoint(function = "sched_switch")]
fn nothing(_ctx: BtfTracePointContext) -> i32 {
    0
}

/// Counts the turn of the task that leaves.
///
/// # Safety
/// `cpu` is this CPU's own, and `task` a pointer that the verifier tracks as a task.
#[inline(always)]
unsafe fn leave(cpu: *mut Cpu, task: *const u8) {
    // SAFETY: by the caller.
    unsafe {
        let delay = field::<u64>(task, fact!(task_run_delay));
        let run = field::<u64>(task, fact!(task_run_time));
        // It only grows, unless the address was given to another task because nobody told of the leaving of the first.
        if (*cpu).task == task as u64 && run >= (*cpu).run_nsec {
            let delay = (delay >= (*cpu).delay_nsec).then(|| delay - (*cpu).delay_nsec);
            Cpu::account(cpu, cgroup_of(task), run - (*cpu).run_nsec, delay);
        } else if is_fair(task) {
            let turn = field::<u64>(task, fact!(task_turn));
            Cpu::account(cpu, cgroup_of(task), run - turn, None);
            tell_unseen();
        }
    }
}

/// Whether a task is the fair scheduler's; the idle one is not.
///
/// # Safety
/// `task` is a pointer that the verifier tracks as a task.
#[inline(always)]
unsafe fn is_fair(task: *const u8) -> bool {
    // SAFETY: by the caller.
    unsafe { field::<u32>(task, fact!(task_pid)) != 0 && field::<u32>(task, fact!(task_priority)) >= FAIR }
}

/// Notes the task that comes in.
///
/// # Safety
/// As for [`leave`].
#[inline(always)]
unsafe fn come(cpu: *mut Cpu, task: *const u8) {
    // SAFETY: by the caller.
    unsafe {
        let idle = field::<u32>(task, fact!(task_pid)) == 0;
        // After what it ends has been counted: a collection looks here first.
        ptr::write_volatile(&raw mut (*cpu).task, if idle { IDLE } else { task as u64 });
        (*cpu).delay_nsec = field(task, fact!(task_run_delay));
        (*cpu).run_nsec = field(task, fact!(task_run_time));
    }
}

#[inline(always)]
unsafe fn cgroup_of(task: *const u8) -> u64 {
    // SAFETY: pointers of the kernel's own types, followed as the verifier knows them.
    unsafe {
        let set: *const u8 = field(task, fact!(task_cgroups));
        let cgroup: *const u8 = field(set, fact!(set_cgroup));
        let node: *const u8 = field(cgroup, fact!(cgroup_node));
        field(node, fact!(node_id))
    }
}
