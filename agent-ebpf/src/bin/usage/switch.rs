//! Subject: the task that leaves the CPU (`prev` of `sched_switch`).
//!
//! **Problem.** How long did the tasks of each cgroup run, and how long did they wait for a CPU? Hooking wake-ups
//! costs twice as much and misses the waits of preempted tasks, which nobody wakes. **How.** The kernel itself keeps
//! both totals per task (`se.sum_exec_runtime`, `sched_info.run_delay`). A slot per CPU keeps the totals of the task
//! that came in; when the same task leaves, the differences are what it ran and what it had waited, because the
//! kernel adds the wait after this tracepoint.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::helpers::generated::bpf_map_lookup_percpu_elem;
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::{PerCpuArray, PerCpuHashMap};
use aya_ebpf::programs::BtfTracePointContext;
use plimsoll_ebpf::account::{DELAY_BUCKETS, delay_bucket};
use plimsoll_ebpf::kernel::field;
use plimsoll_ebpf::wire::{CgroupRecord, OnCpu, RunTime, have};
use plimsoll_ebpf::{fact, maps};

use crate::FACTS;

#[map]
static ON_CPU: PerCpuArray<OnCpu> = PerCpuArray::with_max_entries(1, 0);
#[map]
static RUN_TIME: PerCpuHashMap<u64, RunTime> =
    PerCpuHashMap::with_max_entries(maps::MAX_CGROUPS, BPF_F_NO_PREALLOC);

/// CPUs that are added up, at most.
const CPUS: u32 = 1024;

const NOTHING: RunTime = RunTime {
    run_nsec: 0,
    delay_nsec: 0,
    delays: [0; DELAY_BUCKETS],
};

#[btf_tracepoint(function = "sched_switch")]
fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    let arguments: *const u8 = ctx.as_ptr().cast();
    // SAFETY: arguments 1 and 2 of the tracepoint are the two tasks on every kernel since 5.18.
    let (prev, next): (*const u8, *const u8) = unsafe { (field(arguments, 8), field(arguments, 16)) };
    let Some(slot) = ON_CPU.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: `slot` is this CPU's own, and nothing else runs on the CPU within the tracepoint; the fields' widths
    // are those of the kernel.
    unsafe {
        let leaving: u32 = field(prev, fact!(task_pid));
        if leaving != 0 && (*slot).pid == u64::from(leaving) {
            let delay = field::<u64>(prev, fact!(task_run_delay)) - (*slot).delay_nsec;
            let run = field::<u64>(prev, fact!(task_run_time)) - (*slot).run_nsec;
            account(cgroup_of(prev), run, delay);
        }
        (*slot).pid = u64::from(field::<u32>(next, fact!(task_pid)));
        (*slot).delay_nsec = field(next, fact!(task_run_delay));
        (*slot).run_nsec = field(next, fact!(task_run_time));
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

#[inline(always)]
fn account(cgroup: u64, run: u64, delay: u64) {
    let known = RUN_TIME.get_ptr_mut(cgroup).or_else(|| {
        // Another CPU may have been first: then its value is there, and the insertion changes nothing.
        _ = RUN_TIME.insert(cgroup, NOTHING, 1);
        RUN_TIME.get_ptr_mut(cgroup)
    });
    if let Some(total) = known {
        // SAFETY: this CPU's own value; the bucket is below the number of buckets, which the mask tells the
        // verifier.
        unsafe {
            (*total).run_nsec += run;
            (*total).delay_nsec += delay;
            let bucket = delay_bucket(delay) & (DELAY_BUCKETS - 1);
            *(&raw mut (*total).delays).cast::<u64>().add(bucket) += 1;
        }
    }
}

/// Adds up what all CPUs have counted for a cgroup.
#[inline(always)]
pub(crate) fn fill(record: &mut CgroupRecord) {
    record.run = NOTHING;
    for cpu in 0..CPUS {
        if cpu as usize >= fact!(cpus) {
            break;
        }
        let map = (&raw const RUN_TIME).cast_mut().cast();
        // SAFETY: the map and a key of its size.
        let counted = unsafe { bpf_map_lookup_percpu_elem(map, (&raw const record.id).cast(), cpu) };
        if counted.is_null() {
            // There is a value for every CPU or for none.
            break;
        }
        // SAFETY: a value of the map. Its CPU may be writing: each word is whole, and on its way up.
        let counted = unsafe { &*counted.cast::<RunTime>() };
        record.run.run_nsec += counted.run_nsec;
        record.run.delay_nsec += counted.delay_nsec;
        for (sum, more) in record.run.delays.iter_mut().zip(&counted.delays) {
            *sum += *more;
        }
    }
    record.have |= have::RUN;
}
