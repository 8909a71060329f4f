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
//! when it leaves, and so nothing of who comes after it. What such a task ran in this turn is known all the same to the
//! fair scheduler (`se.prev_sum_exec_runtime` is its run time at the turn's beginning), and counts; how long it had
//! waited is not known, and does not.

use core::ptr;

use aya_ebpf::EbpfContext;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use plimsoll_ebpf::fact;
use plimsoll_ebpf::kernel::field;

use crate::FACTS;
use crate::totals::{Cpu, IDLE, UNSEEN};

/// The first priority of the fair scheduler: those below are of real-time tasks.
const FAIR: u32 = 100;

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
        if (*cpu).task == prev as u64 {
            let delay = field::<u64>(prev, fact!(task_run_delay)) - (*cpu).delay_nsec;
            let run = field::<u64>(prev, fact!(task_run_time)) - (*cpu).run_nsec;
            Cpu::account(cpu, cgroup_of(prev), run, Some(delay));
        } else if (*cpu).task != UNSEEN
            && field::<u32>(prev, fact!(task_pid)) != 0
            && field::<u32>(prev, fact!(task_priority)) >= FAIR
        {
            let run = field::<u64>(prev, fact!(task_run_time)) - field::<u64>(prev, fact!(task_turn));
            Cpu::account(cpu, cgroup_of(prev), run, None);
        }
        let idle = field::<u32>(next, fact!(task_pid)) == 0;
        // After what it ends has been counted: a collection looks here first.
        ptr::write_volatile(&raw mut (*cpu).task, if idle { IDLE } else { next as u64 });
        (*cpu).delay_nsec = field(next, fact!(task_run_delay));
        (*cpu).run_nsec = field(next, fact!(task_run_time));
    }
    0
}

/// What any program at this place costs: the benchmarks attach it in the other's stead.
#[btf_tracepoint(function = "sched_switch")]
fn nothing(_ctx: BtfTracePointContext) -> i32 {
    0
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
