//! Subject: the totals of each cgroup on each CPU.
//!
//! **Problem.** A switch of tasks takes a microsecond or two, and looking a cgroup up in a hash map alone takes 50 ns
//! of it. **How.** Each CPU keeps the totals of the cgroups it ran of late at hand, in a table where the cgroup's id
//! gives the place: one comparison finds them. The hash map has those of all the others. A CPU's total of a cgroup is
//! thus in one place at a time, whole: moving it copies it, and nothing is ever added up twice.
//!
//! A cgroup that finds its place taken is counted in the map, and moves in at every eighth such find of the CPU: two
//! that run in turns and want the same place cost what the map costs and little more, not two moves a switch.
//!
//! Other CPUs read while this one counts: see [`crate::collect`] for what they rely on.
//!
//! An entry of the map that the agent has deleted, its cgroup being gone, is not made anew by a place given away.

use core::ptr;

use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray, PerCpuHashMap};
use plimsoll_ebpf::account::{DELAY_BUCKETS, PLACES_BITS, delay_bucket, place_of};
use plimsoll_ebpf::maps;
use plimsoll_ebpf::wire::RunTime;

#[map]
pub(crate) static CPU: PerCpuArray<Cpu> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static RUN_TIME: PerCpuHashMap<u64, RunTime> =
    PerCpuHashMap::with_max_entries(maps::MAX_CGROUPS, BPF_F_NO_PREALLOC);
/// When a turn was last counted although nobody had told of its beginning, on any CPU. A time, not a number: CPUs that
/// write at once leave another value than was there before, whoever is last.
#[map]
pub(crate) static UNSEEN: Array<u64> = Array::with_max_entries(1, 0);

/// Places for totals on a CPU. A value of a per-CPU map is 32 KiB at most.
const PLACES: usize = 1 << PLACES_BITS;
/// Every how many finds of a taken place it is given away.
const PATIENCE: u64 = 8;

pub(crate) const WORDS: usize = size_of::<RunTime>() / 8;

pub(crate) const NOTHING: RunTime = RunTime {
    run_nsec: 0,
    delay_nsec: 0,
    delays: [0; DELAY_BUCKETS],
};

/// In a task's stead: the idle one.
pub(crate) const IDLE: u64 = 1;

/// What is counted on one CPU.
#[repr(C)]
pub(crate) struct Cpu {
    /// The task that was seen coming in, as an address that is only compared; or [`IDLE`]; or 0 on a CPU
    /// that has come online since counting began.
    pub(crate) task: u64,
    /// Its `sched_info.run_delay` at that moment.
    pub(crate) delay_nsec: u64,
    /// Its `se.sum_exec_runtime` at that moment.
    pub(crate) run_nsec: u64,
    /// Finds of a taken place.
    refused: u64,
    pub(crate) places: [Place; PLACES],
}

/// Totals at hand.
#[repr(C)]
pub(crate) struct Place {
    /// Odd while the place changes hands.
    pub(crate) sequence: u64,
    /// Whose totals they are; 0 when nobody's.
    pub(crate) cgroup: u64,
    pub(crate) total: RunTime,
}

impl Cpu {
    /// This CPU's.
    #[inline(always)]
    pub(crate) fn this() -> Option<*mut Self> {
        CPU.get_ptr_mut(0)
    }

    /// Adds to the totals of a cgroup; the delay only when it is known.
    ///
    /// # Safety
    /// `cpu` is this CPU's own, and nothing else runs on the CPU meanwhile.
    #[inline(always)]
    pub(crate) unsafe fn account(cpu: *mut Self, cgroup: u64, run: u64, delay: Option<u64>) {
        // SAFETY: by the caller; the place is below their number.
        unsafe {
            let place = (&raw mut (*cpu).places).cast::<Place>().add(place_of(cgroup));
            if (*place).cgroup == cgroup {
                add(&raw mut (*place).total, run, delay);
            } else if let Some(total) = Self::find(cpu, place, cgroup) {
                add(total, run, delay);
            }
        }
    }

    /// The totals of a cgroup that are not at hand: in their place from now on, or in the map.
    unsafe fn find(cpu: *mut Self, place: *mut Place, cgroup: u64) -> Option<*mut RunTime> {
        let total = RUN_TIME.get_ptr_mut(cgroup).or_else(|| {
            // Another CPU may have been first: then its value is there, and the insertion changes nothing.
            _ = RUN_TIME.insert(cgroup, NOTHING, 1);
            RUN_TIME.get_ptr_mut(cgroup)
        })?;
        // SAFETY: by the caller, and values of this CPU.
        unsafe {
            let before = (*place).cgroup;
            if before != 0 {
                (*cpu).refused += 1;
                if (*cpu).refused % PATIENCE != 0 {
                    return Some(total);
                }
                if let Some(kept) = RUN_TIME.get_ptr_mut(before) {
                    copy(&raw const (*place).total, kept);
                }
            }
            let sequence = (*place).sequence;
            ptr::write_volatile(&raw mut (*place).sequence, sequence + 1);
            copy(total, &raw mut (*place).total);
            ptr::write_volatile(&raw mut (*place).cgroup, cgroup);
            ptr::write_volatile(&raw mut (*place).sequence, sequence + 2);
            Some(&raw mut (*place).total)
        }
    }
}

/// Tells the passes that a turn was counted of which nobody had told. After counting it: a pass that does not see the
/// one yet must not have seen the other.
#[inline(always)]
pub(crate) fn tell_unseen() {
    if let Some(last) = UNSEEN.get_ptr_mut(0) {
        // SAFETY: a map value, written as a whole.
        unsafe { ptr::write_volatile(last, bpf_ktime_get_ns()) };
    }
}

/// # Safety
/// This CPU's own totals.
#[inline(always)]
unsafe fn add(total: *mut RunTime, run: u64, delay: Option<u64>) {
    // SAFETY: by the caller; the bucket is below the number of buckets, which the mask tells the verifier.
    unsafe {
        (*total).run_nsec += run;
        if let Some(delay) = delay {
            (*total).delay_nsec += delay;
            let bucket = delay_bucket(delay) & (DELAY_BUCKETS - 1);
            *(&raw mut (*total).delays).cast::<u64>().add(bucket) += 1;
        }
    }
}

/// Copies word by word, so that another CPU sees each word whole.
///
/// # Safety
/// As for [`ptr::copy_nonoverlapping`] of one value.
#[inline(always)]
pub(crate) unsafe fn copy(from: *const RunTime, to: *mut RunTime) {
    for word in 0..WORDS {
        // SAFETY: by the caller; a `RunTime` is that many words.
        unsafe {
            let value = ptr::read_volatile(from.cast::<u64>().add(word));
            ptr::write_volatile(to.cast::<u64>().add(word), value);
        }
    }
}
