//! What was measured of a cgroup at one moment, each figure with its source.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::CgroupId;
use super::units::{Bytes, Limit};

/// Where a figure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Read out of the kernel's memory by an eBPF program.
    Bpf,
    /// Read from the cgroup's files.
    File,
}

/// A figure and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sourced<T> {
    /// The figure.
    pub value: T,
    /// Its source.
    pub source: Source,
}

impl<T> Sourced<T> {
    /// A figure read by eBPF.
    pub const fn bpf(value: T) -> Self {
        Self {
            value,
            source: Source::Bpf,
        }
    }

    /// A figure read from a file.
    pub const fn file(value: T) -> Self {
        Self {
            value,
            source: Source::File,
        }
    }
}

/// Buckets of a [`RunDelay`].
pub const RUN_DELAY_BUCKETS: usize = 16;

/// Waits of a cgroup's tasks for a CPU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDelay {
    /// All waits together.
    pub total: Duration,
    /// Waits by length: bucket `i` counts those below 2^(12+i) ns, the last one all longer ones.
    pub histogram: [u64; RUN_DELAY_BUCKETS],
}

impl RunDelay {
    /// How many waits; one each time a task was switched in, also when it had not to wait at all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.iter().sum()
    }

    /// Adds another cgroup's waits.
    pub fn add(&mut self, other: &Self) {
        self.total += other.total;
        for (bucket, more) in self.histogram.iter_mut().zip(other.histogram) {
            *bucket += more;
        }
    }
}

/// Time that tasks could not go on for lack of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stalls {
    /// How often.
    pub count: u64,
    /// How long, over all tasks.
    pub total: Duration,
}

impl Stalls {
    /// Adds another cgroup's.
    pub fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.total += other.total;
    }
}

/// `memory.events`, in the subtree since it was made; or `memory.events.local`, of the cgroup alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryEvents {
    /// Reclaimed although below `memory.low`.
    pub low: u64,
    /// Held back above `memory.high`.
    pub high: u64,
    /// About to go over `memory.max`.
    pub max: u64,
    /// At the limit with nothing left to reclaim.
    pub oom: u64,
    /// Processes killed by the OOM killer; one killed with its group counts twice.
    pub oom_kill: u64,
    /// Times the whole cgroup was killed (since Linux 5.17).
    pub oom_group_kill: u64,
}

/// Pages on the LRU lists, in the subtree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LruLists {
    /// Anonymous, not used lately.
    pub inactive_anon: Bytes,
    /// Anonymous, used lately.
    pub active_anon: Bytes,
    /// Of files, not used lately: what the kernel reclaims first.
    pub inactive_file: Bytes,
    /// Of files, used lately.
    pub active_file: Bytes,
    /// Locked in memory.
    pub unevictable: Bytes,
}

impl LruLists {
    /// Adds another cgroup's.
    pub fn add(&mut self, other: &Self) {
        let Self {
            inactive_anon,
            active_anon,
            inactive_file,
            active_file,
            unevictable,
        } = other;
        self.inactive_anon = self.inactive_anon.saturating_add(*inactive_anon);
        self.active_anon = self.active_anon.saturating_add(*active_anon);
        self.inactive_file = self.inactive_file.saturating_add(*inactive_file);
        self.active_file = self.active_file.saturating_add(*active_file);
        self.unevictable = self.unevictable.saturating_add(*unevictable);
    }
}

/// What the memory of a cgroup is used for, from `memory.stat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryKinds {
    /// Anonymous memory.
    pub anon: Bytes,
    /// Page cache, shared memory included.
    pub file: Bytes,
    /// Shared memory and tmpfs.
    pub shmem: Bytes,
    /// Slab of the kernel that can be reclaimed.
    pub slab_reclaimable: Bytes,
    /// Slab of the kernel that cannot.
    pub slab_unreclaimable: Bytes,
}

/// `memory.{min,low,high,max}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryLimits {
    /// Never reclaimed below this.
    pub min: Limit<Bytes>,
    /// Reclaimed below this only when there is nothing else.
    pub low: Limit<Bytes>,
    /// Held back above this.
    pub high: Limit<Bytes>,
    /// Never above this.
    pub max: Limit<Bytes>,
}

/// What one pass found of one cgroup. A figure that could not be had is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupSample {
    /// The cgroup.
    pub id: CgroupId,
    /// Its parent, when that is within the pass.
    pub parent: Option<CgroupId>,
    /// CPU time used in the subtree: `usage_usec` of `cpu.stat`.
    pub cpu: Option<Sourced<Duration>>,
    /// CPU time seen at context switches in the subtree: a second witness, without the slice that runs now.
    pub on_cpu: Option<Sourced<Duration>>,
    /// Waits for a CPU in the subtree.
    pub run_delay: Option<Sourced<RunDelay>>,
    /// `memory.current`.
    pub memory: Option<Sourced<Bytes>>,
    /// `memory.peak`.
    pub memory_peak: Option<Sourced<Bytes>>,
    /// `memory.swap.current`.
    pub swap: Option<Sourced<Bytes>>,
    /// Limits and protections.
    pub limits: Option<Sourced<MemoryLimits>>,
    /// `memory.events`.
    pub events: Option<Sourced<MemoryEvents>>,
    /// LRU lists.
    pub lru: Option<Sourced<LruLists>>,
    /// What the memory is used for.
    pub kinds: Option<Sourced<MemoryKinds>>,
    /// Direct reclaim in the subtree.
    pub reclaim: Option<Sourced<Stalls>>,
    /// Held back above `memory.high`, in the subtree.
    pub over_high: Option<Sourced<Stalls>>,
}

impl CgroupSample {
    /// A sample without any figure.
    #[must_use]
    pub const fn empty(id: CgroupId, parent: Option<CgroupId>) -> Self {
        Self {
            id,
            parent,
            cpu: None,
            on_cpu: None,
            run_delay: None,
            memory: None,
            memory_peak: None,
            swap: None,
            limits: None,
            events: None,
            lru: None,
            kinds: None,
            reclaim: None,
            over_high: None,
        }
    }

    /// Takes every figure that is missing here from another sample of the same cgroup.
    pub fn fill_from(&mut self, other: &Self) {
        let Self {
            id: _,
            parent,
            cpu,
            on_cpu,
            run_delay,
            memory,
            memory_peak,
            swap,
            limits,
            events,
            lru,
            kinds,
            reclaim,
            over_high,
        } = other;
        self.parent = self.parent.or(*parent);
        self.cpu = self.cpu.or(*cpu);
        self.on_cpu = self.on_cpu.or(*on_cpu);
        self.run_delay = self.run_delay.or(*run_delay);
        self.memory = self.memory.or(*memory);
        self.memory_peak = self.memory_peak.or(*memory_peak);
        self.swap = self.swap.or(*swap);
        self.limits = self.limits.or(*limits);
        self.events = self.events.or(*events);
        self.lru = self.lru.or(*lru);
        self.kinds = self.kinds.or(*kinds);
        self.reclaim = self.reclaim.or(*reclaim);
        self.over_high = self.over_high.or(*over_high);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_that_is_there_is_kept_with_its_source() {
        let mut ours = CgroupSample::empty(CgroupId(1), None);
        ours.memory = Some(Sourced::bpf(Bytes(10)));
        let mut theirs = CgroupSample::empty(CgroupId(1), Some(CgroupId(7)));
        theirs.memory = Some(Sourced::file(Bytes(11)));
        theirs.cpu = Some(Sourced::file(Duration::from_millis(3)));
        ours.fill_from(&theirs);
        assert_eq!(ours.memory, Some(Sourced::bpf(Bytes(10))));
        assert_eq!(ours.cpu, theirs.cpu);
        assert_eq!(ours.parent, Some(CgroupId(7)));
        assert_eq!(ours.swap, None);
    }
}
