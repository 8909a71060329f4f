//! CPUs that share a part of the machine.

use std::collections::BTreeMap;

use super::CpuRecord;
use crate::model::cpu_set::CpuSet;

/// One core, cache, die, NUMA node or socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuGroup {
    /// The kernel's number.
    pub id: u32,
    /// Its CPUs; empty only for a NUMA node of memory alone.
    pub cpus: CpuSet,
}

/// The groups that `id` tells apart, in ascending order of ids; `known` ones are there even without CPUs.
pub(super) fn groups(
    records: &[CpuRecord],
    known: impl IntoIterator<Item = u32>,
    id: fn(&CpuRecord) -> u32,
) -> Vec<CpuGroup> {
    let mut groups: BTreeMap<u32, CpuSet> = known.into_iter().map(|id| (id, CpuSet::EMPTY)).collect();
    for record in records {
        groups.entry(id(record)).or_default().insert(record.cpu);
    }
    groups
        .into_iter()
        .map(|(id, cpus)| CpuGroup { id, cpus })
        .collect()
}
