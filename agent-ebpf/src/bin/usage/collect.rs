//! Subject: one cgroup's totals, added up over all CPUs.
//!
//! **Problem.** A CPU has a cgroup's totals in a place at hand or in the map ([`crate::totals`]), may move them, and
//! goes on counting meanwhile. **How.** `Place::sequence` is odd while a place changes hands, and
//! then another number than before. Found unchanged around a copy, the copy is of one cgroup's totals; else the map
//! is looked at, *afterwards*. What it has is not older than the first look at the place: totals are written to the
//! map before their place is given away. Each word only ever grows, and so what is collected never goes back. The
//! order of these loads and stores is the program's (they are volatile) and the machine's (x86-64 keeps loads in
//! order, and stores); a machine that does not would need barriers at both sides.
//!
//! A task that is on a CPU is counted when it leaves, whatever the kernel has charged by then: a collection is
//! *complete* when no task of the cgroup was on a CPU whose totals were taken after looking.

use core::ffi::c_void;
use core::ptr;

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::helpers::generated::{bpf_loop, bpf_map_lookup_percpu_elem};
use aya_ebpf::macros::{map, raw_tracepoint};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::RawTracePointContext;
use plimsoll_ebpf::account::place_of;
use plimsoll_ebpf::fact;
use plimsoll_ebpf::kernel::{clear, peek};
use plimsoll_ebpf::wire::{Asked, RunTime};

use crate::FACTS;
use crate::totals::{CPU, Cpu, Place, RUN_TIME, WORDS, copy};

/// What the agent asks for, and the answer.
#[map]
static ASKED: Array<Asked> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static PART: Array<RunTime> = Array::with_max_entries(1, 0);

/// The value of a per-CPU map on one CPU.
///
/// # Safety
/// The map's keys are a `K`.
#[inline(always)]
unsafe fn of_cpu<M, K>(map: &'static M, key: &K, cpu: u32) -> *const u8 {
    let map = ptr::from_ref(map).cast_mut().cast();
    // SAFETY: a map and, by the caller, a key of its size.
    unsafe { bpf_map_lookup_percpu_elem(map, ptr::from_ref(key).cast(), cpu) }
        .cast_const()
        .cast()
}

/// Copies the totals of a cgroup that are at hand on another CPU. False when they are not, or were not all the time.
///
/// # Safety
/// A place on any CPU.
#[inline(always)]
unsafe fn copy_place(place: *const Place, cgroup: u64, to: *mut RunTime) -> bool {
    // SAFETY: a place by the caller. Its CPU may be writing: each word is whole, and on its way up.
    unsafe {
        let sequence = ptr::read_volatile(&raw const (*place).sequence);
        if sequence % 2 != 0 || ptr::read_volatile(&raw const (*place).cgroup) != cgroup {
            return false;
        }
        copy(&raw const (*place).total, to);
        ptr::read_volatile(&raw const (*place).sequence) == sequence
    }
}

/// What a collection needs at each CPU.
struct Collection {
    cgroup: u64,
    /// Whether it is asked if the collection is complete.
    asked: u32,
    /// Whether a task of the cgroup was on a CPU, if that was asked.
    running: u32,
    /// What the CPUs so far have.
    sum: *mut RunTime,
    /// Room for what one has.
    part: *mut RunTime,
}

/// Adds up what all CPUs have counted for a cgroup, and tells, if asked, whether that is complete. The agent makes one
/// collection at a time.
#[inline(always)]
pub(crate) fn collect(cgroup: u64, asked: bool, sum: &mut RunTime) -> bool {
    let Some(part) = PART.get_ptr_mut(0) else {
        return false;
    };
    // SAFETY: counters only.
    unsafe { clear(sum) };
    let mut collection = Collection {
        cgroup,
        asked: u32::from(asked),
        running: 0,
        sum,
        part,
    };
    let context = (&raw mut collection).cast();
    // A loop written out would be verified anew for every CPU, and with many exceed what the verifier is ready to do.
    // SAFETY: the callback has the helper's signature, and its context outlives the call.
    unsafe {
        bpf_loop(
            fact!(cpus) as u32,
            add_cpu as *const () as *mut c_void,
            context,
            0,
        )
    };
    collection.running == 0
}

/// Adds what one CPU has.
unsafe extern "C" fn add_cpu(cpu: u32, collection: *mut Collection) -> i64 {
    // SAFETY: the context given to the helper; the maps' keys and values are of the types that they were made with.
    unsafe {
        let Collection {
            cgroup,
            asked,
            sum,
            part,
            ..
        } = *collection;
        let at_hand = of_cpu(&CPU, &0_u32, cpu).cast::<Cpu>();
        if at_hand.is_null() {
            return 1;
        }
        if asked == 1 {
            // First of all: what leaves the CPU from here on came after, or is in what is copied below.
            let task = ptr::read_volatile(&raw const (*at_hand).task);
            let set: u64 = peek(task, fact!(task_cgroups));
            let node: u64 = peek(peek(set, fact!(set_cgroup)), fact!(cgroup_node));
            if peek::<u64>(node, fact!(node_id)) == cgroup {
                (*collection).running = 1;
            }
        }
        let place = (&raw const (*at_hand).places)
            .cast::<Place>()
            .add(place_of(cgroup));
        if !copy_place(place, cgroup, part) {
            let kept = of_cpu(&RUN_TIME, &cgroup, cpu).cast::<RunTime>();
            if kept.is_null() {
                return 0;
            }
            copy(kept, part);
        }
        for word in 0..WORDS {
            *sum.cast::<u64>().add(word) += *part.cast::<u64>().add(word);
        }
    }
    0
}

/// Collects for the one cgroup that the agent names.
#[raw_tracepoint]
fn ask(_ctx: RawTracePointContext) -> i32 {
    let Some(asked) = ASKED.get_ptr_mut(0) else {
        return 1;
    };
    // SAFETY: a map value, which the agent leaves alone until this has run.
    unsafe { collect((*asked).cgroup, false, &mut (*asked).run) };
    0
}
