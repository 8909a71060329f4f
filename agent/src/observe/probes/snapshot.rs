//! One pass: samples in tree order, with the figures that the kernel keeps per cgroup added up over subtrees.
//!
//! The records stay where the kernel wrote them and become samples when asked for.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use plimsoll_ebpf::wire::{CgroupRecord, RunTime, have};

use super::decode::{limit, pages};
use crate::model::{
    Bytes, CgroupId, CgroupSample, LruLists, MemoryEvents, MemoryKinds, MemoryLimits, RunDelay, Sourced,
    Stalls,
};

/// What one pass found.
#[derive(Debug)]
pub struct Snapshot<'a> {
    records: &'a [CgroupRecord],
    tree: &'a Tree,
    truncated: bool,
    page: Bytes,
}

/// What belongs to a pass beside its records; kept from pass to pass, for most find the same cgroups.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// The parent's place among the records; its own for the root.
    parents: Vec<u32>,
    places: HashMap<u64, u32, BuildHasherDefault<IdHasher>>,
    /// CPU time and waits in the subtree of each record.
    run: Vec<RunTime>,
    /// Direct reclaim in the subtree of each record; empty when it is not timed.
    reclaim: Vec<Stalls>,
    /// Time held back above `memory.high` in the subtree of each record; empty when it is not timed.
    over_high: Vec<Stalls>,
}

/// Cgroup ids are counted up by the kernel: a multiplication spreads them well enough.
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

/// Own stalls by cgroup, as they come from the kernel; none when they are not timed.
pub(super) type OwnStalls<'a> = Option<&'a [(u64, [u64; 2])]>;

impl Tree {
    /// Finds parents and places of a pass's records, and adds their own figures up over subtrees.
    pub(super) fn take(
        &mut self,
        records: &mut [CgroupRecord],
        reclaim: OwnStalls<'_>,
        over_high: OwnStalls<'_>,
    ) {
        self.parents.clear();
        // The way from the root to the last record: levels and places.
        let mut path: Vec<(u32, u32)> = Vec::new();
        let mut unchanged = self.places.len() == records.len();
        for (place, record) in (0_u32..).zip(records.iter()) {
            while path.last().is_some_and(|(level, _)| *level >= record.level) {
                path.pop();
            }
            self.parents
                .push(path.last().map_or(place, |(_, parent)| *parent));
            path.push((record.level, place));
            unchanged = unchanged && self.places.get(&record.id) == Some(&place);
        }
        if !unchanged {
            self.places.clear();
            self.places
                .extend(records.iter().map(|record| record.id).zip(0..));
        }
        self.run.clear();
        self.run.extend(records.iter().map(|record| record.run));
        self.reclaim = self.own(reclaim, records.len());
        self.over_high = self.own(over_high, records.len());
        // Children come after their parents: from the end, each is complete when it is added.
        for place in (1..records.len()).rev() {
            let parent = self.parents.get(place).map_or(place, |parent| *parent as usize);
            let (before, from) = records.split_at_mut(place);
            if let (Some(parent), Some(child)) = (before.get_mut(parent), from.first()) {
                for (sum, more) in parent.lru.iter_mut().zip(child.lru) {
                    *sum = sum.wrapping_add(more);
                }
            }
            let (before, from) = self.run.split_at_mut(place);
            if let (Some(parent), Some(child)) = (before.get_mut(parent), from.first()) {
                add_run_time(parent, child);
            }
            for stalls in [&mut self.reclaim, &mut self.over_high] {
                let end = place.min(stalls.len());
                let (before, from) = stalls.split_at_mut(end);
                if let (Some(parent), Some(child)) = (before.get_mut(parent), from.first()) {
                    parent.add(child);
                }
            }
        }
    }

    /// Own stalls by place.
    fn own(&self, stalls: OwnStalls<'_>, records: usize) -> Vec<Stalls> {
        let Some(stalls) = stalls else {
            return Vec::new();
        };
        let mut by_place = vec![Stalls::default(); records];
        for (id, [count, nsec]) in stalls {
            let place = self
                .places
                .get(id)
                .and_then(|place| by_place.get_mut(*place as usize));
            if let Some(own) = place {
                *own = Stalls {
                    count: *count,
                    total: Duration::from_nanos(*nsec),
                };
            }
        }
        by_place
    }

    /// Whether the last pass found a cgroup.
    pub(super) fn knows(&self, id: u64) -> bool {
        self.places.contains_key(&id)
    }
}

fn add_run_time(parent: &mut RunTime, child: &RunTime) {
    if child.run_nsec == 0 && child.delay_nsec == 0 {
        return;
    }
    let RunTime {
        run_nsec,
        delay_nsec,
        delays,
    } = parent;
    *run_nsec = run_nsec.wrapping_add(child.run_nsec);
    *delay_nsec = delay_nsec.wrapping_add(child.delay_nsec);
    for (sum, more) in delays.iter_mut().zip(child.delays) {
        *sum = sum.wrapping_add(more);
    }
}

impl<'a> Snapshot<'a> {
    pub(super) fn new(records: &'a [CgroupRecord], tree: &'a Tree, truncated: bool, page: Bytes) -> Self {
        Self {
            records,
            tree,
            truncated,
            page,
        }
    }

    /// The samples, the root first, parents before children.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = CgroupSample> + '_ {
        self.records
            .iter()
            .enumerate()
            .map(|(place, record)| self.sample(place, record))
    }

    /// The sample of one cgroup.
    #[must_use]
    pub fn get(&self, id: CgroupId) -> Option<CgroupSample> {
        let place = *self.tree.places.get(&id.0)? as usize;
        Some(self.sample(place, self.records.get(place)?))
    }

    /// How many cgroups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none: no pass could be made, or the root is gone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether there were more cgroups than one pass can take in.
    #[must_use]
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    fn sample(&self, place: usize, record: &CgroupRecord) -> CgroupSample {
        let parent = self
            .tree
            .parents
            .get(place)
            .map(|parent| *parent as usize)
            .filter(|parent| *parent != place);
        let parent = parent.and_then(|parent| self.records.get(parent));
        let mut sample = CgroupSample::empty(CgroupId(record.id), parent.map(|parent| CgroupId(parent.id)));
        fill(&mut sample, record, self.page);
        if let Some(run) = self.tree.run.get(place).filter(|_| record.have & have::RUN != 0) {
            sample.on_cpu = Some(Sourced::bpf(Duration::from_nanos(run.run_nsec)));
            sample.run_delay = Some(Sourced::bpf(RunDelay {
                total: Duration::from_nanos(run.delay_nsec),
                histogram: run.delays,
            }));
        }
        sample.reclaim = self.tree.reclaim.get(place).copied().map(Sourced::bpf);
        sample.over_high = self.tree.over_high.get(place).copied().map(Sourced::bpf);
        sample
    }
}

/// A statistic as `memory.stat` shows it. The kernel's own counter is signed, and below zero for a while when a CPU has
/// reported what went before another what came (`memcg_page_state` in `mm/memcontrol.c`).
fn at_least_none(count: u64) -> u64 {
    u64::try_from(count.cast_signed()).unwrap_or_default()
}

/// The figures of a record.
fn fill(sample: &mut CgroupSample, record: &CgroupRecord, page: Bytes) {
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
        ] = record.lru.map(at_least_none).map(bytes);
        sample.lru = Some(Sourced::bpf(LruLists {
            inactive_anon,
            active_anon,
            inactive_file,
            active_file,
            unevictable,
        }));
    }
    if has(have::STAT) {
        let [anon, file, shmem, slab_reclaimable, slab_unreclaimable] = record.stat.map(at_least_none);
        sample.kinds = Some(Sourced::bpf(MemoryKinds {
            anon: bytes(anon),
            file: bytes(file),
            shmem: bytes(shmem),
            slab_reclaimable: Bytes(slab_reclaimable),
            slab_unreclaimable: Bytes(slab_unreclaimable),
        }));
    }
}
