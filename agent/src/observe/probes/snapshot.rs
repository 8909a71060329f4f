//! One pass: samples in tree order, with the figures that the kernel keeps per cgroup added up over subtrees.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use plimsoll_ebpf::wire::{CgroupRecord, have};

use super::decode::{self, limit, pages};
use crate::model::{
    Bytes, CgroupId, CgroupSample, LruLists, MemoryEvents, MemoryKinds, MemoryLimits, RunDelay, Sourced,
    Stalls,
};

/// What one pass found.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    samples: Vec<CgroupSample>,
    /// The parent's place among the samples; its own for the root.
    parents: Vec<usize>,
    places: HashMap<u64, usize, BuildHasherDefault<IdHasher>>,
    truncated: bool,
}

/// Cgroup ids are counted up by the kernel: a multiplication spreads them well enough, and a pass looks up each.
#[derive(Debug, Clone, Copy, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Snapshot {
    /// The samples, the root first, parents before children.
    #[must_use]
    pub fn samples(&self) -> &[CgroupSample] {
        &self.samples
    }

    /// The sample of one cgroup.
    #[must_use]
    pub fn get(&self, id: CgroupId) -> Option<&CgroupSample> {
        self.samples.get(*self.places.get(&id.0)?)
    }

    /// Whether there were more cgroups than one pass can take in.
    #[must_use]
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    pub(super) fn clear(&mut self) {
        self.samples.clear();
        self.parents.clear();
        self.truncated = false;
    }

    /// Takes in the records of a pass.
    pub(super) fn take(&mut self, bytes: &[u8], truncated: bool, page: Bytes) {
        self.clear();
        self.truncated = truncated;
        // The way from the root to the last record: levels and places.
        let mut path: Vec<(u32, usize)> = Vec::new();
        let mut unchanged = true;
        for (place, record) in decode::records(bytes).enumerate() {
            while path.last().is_some_and(|(level, _)| *level >= record.level) {
                path.pop();
            }
            let parent = path.last().map(|(_, place)| *place);
            path.push((record.level, place));
            self.parents.push(parent.unwrap_or(place));
            let parent = parent
                .and_then(|place| self.samples.get(place))
                .map(|sample| sample.id);
            self.samples.push(sample(&record, parent, page));
            unchanged = unchanged && self.places.get(&record.id) == Some(&place);
        }
        // Between most passes no cgroup comes or goes.
        if !unchanged || self.places.len() != self.samples.len() {
            self.places.clear();
            self.places.extend(
                self.samples
                    .iter()
                    .enumerate()
                    .map(|(place, sample)| (sample.id.0, place)),
            );
        }
    }

    /// Adds a cgroup's own CPU time and waits; false when the pass did not see the cgroup.
    pub(super) fn add_run_time(&mut self, id: u64, on_cpu: Duration, run_delay: RunDelay) -> bool {
        self.at(id)
            .map(|sample| {
                sample.on_cpu = Some(Sourced::bpf(on_cpu));
                sample.run_delay = Some(Sourced::bpf(run_delay));
            })
            .is_some()
    }

    /// Adds a cgroup's own direct reclaim.
    pub(super) fn add_reclaim(&mut self, id: u64, stalls: Stalls) {
        if let Some(sample) = self.at(id) {
            sample.reclaim = Some(Sourced::bpf(stalls));
        }
    }

    /// Adds a cgroup's own time held back above `memory.high`.
    pub(super) fn add_over_high(&mut self, id: u64, stalls: Stalls) {
        if let Some(sample) = self.at(id) {
            sample.over_high = Some(Sourced::bpf(stalls));
        }
    }

    fn at(&mut self, id: u64) -> Option<&mut CgroupSample> {
        self.samples.get_mut(*self.places.get(&id)?)
    }

    /// Adds own figures up over subtrees, those of the probes that are at work: a cgroup in which nothing happened
    /// has zero then.
    pub(super) fn add_up(&mut self, run_time: bool, reclaim: bool, over_high: bool) {
        for sample in &mut self.samples {
            if run_time {
                sample.on_cpu.get_or_insert(Sourced::bpf(Duration::ZERO));
                sample.run_delay.get_or_insert(Sourced::bpf(RunDelay::default()));
            }
            if reclaim {
                sample.reclaim.get_or_insert(Sourced::bpf(Stalls::default()));
            }
            if over_high {
                sample.over_high.get_or_insert(Sourced::bpf(Stalls::default()));
            }
        }
        // Children come after their parents: from the end, each sample is complete when it is added.
        for place in (1..self.samples.len()).rev() {
            let parent = self.parents.get(place).copied().unwrap_or(place);
            let (before, from) = self.samples.split_at_mut(place);
            if let (Some(parent), Some(child)) = (before.get_mut(parent), from.first()) {
                add_own(parent, child);
            }
        }
    }
}

fn add_own(parent: &mut CgroupSample, child: &CgroupSample) {
    if let (Some(sum), Some(more)) = (&mut parent.on_cpu, &child.on_cpu) {
        sum.value += more.value;
    }
    if let (Some(sum), Some(more)) = (&mut parent.run_delay, &child.run_delay)
        && more.value != RunDelay::default()
    {
        sum.value.add(&more.value);
    }
    if let (Some(sum), Some(more)) = (&mut parent.lru, &child.lru) {
        sum.value.add(&more.value);
    }
    if let (Some(sum), Some(more)) = (&mut parent.reclaim, &child.reclaim) {
        sum.value.add(&more.value);
    }
    if let (Some(sum), Some(more)) = (&mut parent.over_high, &child.over_high) {
        sum.value.add(&more.value);
    }
}

/// The figures of a record.
fn sample(record: &CgroupRecord, parent: Option<CgroupId>, page: Bytes) -> CgroupSample {
    let mut sample = CgroupSample::empty(CgroupId(record.id), parent);
    let has = |part| record.have & part != 0;
    let bytes = |count| pages(count, page);
    if has(have::CPU) {
        sample.cpu = Some(Sourced::bpf(Duration::from_nanos(record.cpu_nsec)));
    }
    if has(have::MEMORY) {
        let [min, low, high, max] = record.limits.map(|count| limit(count, page));
        sample.memory = Some(Sourced::bpf(bytes(record.memory)));
        sample.limits = Some(Sourced::bpf(MemoryLimits { min, low, high, max }));
    }
    if has(have::PEAK) {
        sample.memory_peak = Some(Sourced::bpf(bytes(record.peak)));
    }
    if has(have::SWAP) {
        sample.swap = Some(Sourced::bpf(bytes(record.swap)));
    }
    if has(have::EVENTS) {
        let [low, high, max, oom, oom_kill, oom_group_kill] = record.events;
        sample.events = Some(Sourced::bpf(MemoryEvents {
            low,
            high,
            max,
            oom,
            oom_kill,
            oom_group_kill,
        }));
    }
    if has(have::LRU) {
        let [
            inactive_anon,
            active_anon,
            inactive_file,
            active_file,
            unevictable,
        ] = record.lru.map(bytes);
        sample.lru = Some(Sourced::bpf(LruLists {
            inactive_anon,
            active_anon,
            inactive_file,
            active_file,
            unevictable,
        }));
    }
    if has(have::STAT) {
        let [anon, file, shmem, slab_reclaimable, slab_unreclaimable] = record.stat;
        sample.kinds = Some(Sourced::bpf(MemoryKinds {
            anon: bytes(anon),
            file: bytes(file),
            shmem: bytes(shmem),
            slab_reclaimable: Bytes(slab_reclaimable),
            slab_unreclaimable: Bytes(slab_unreclaimable),
        }));
    }
    sample
}
