//! `plimsoll cpus`: a map of the machine that shows who owns which CPU.
//!
//! **Problem.** At 2 CPUs as at 256 one look should tell what is shared, reserved and exclusive, and whether it lies in one
//! cache, node and socket. **How.** A line for each last-level cache of each NUMA node, a word for each core, in it one
//! letter for each thread: `.` is shared, `r` reserved, `-` not known, other letters stand for the containers in the legend
//! below.
//! `-o json` has the same as a tree. Both are made of values only; what is read, and from where, is the caller's.
//!
//! # Properties
//! - Each online CPU is one letter of the map, in the place where it lies, and in one line of the legend.
//! - Names of owners are shown escaped.

mod json;
mod live;
mod map;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::model::{CpuGroup, CpuId, CpuOwner, CpuSet, MachineCpus, Topology};

pub(super) use json::{Tree, tree};
pub(super) use live::{Teller, live, show_live};
pub(super) use map::show;

/// Owners by CPU; those of CPUs that are not named are not known.
pub(super) type Owners = BTreeMap<CpuId, CpuOwner>;

fn owner(owners: &Owners, cpu: CpuId) -> &CpuOwner {
    owners.get(&cpu).unwrap_or(&CpuOwner::Unknown)
}

/// The cores that lie in one socket, NUMA node and last-level cache.
struct Section<'t> {
    socket: &'t CpuGroup,
    numa: &'t CpuGroup,
    l3: &'t CpuGroup,
    cores: Vec<&'t CpuGroup>,
}

impl Section<'_> {
    fn cpus(&self) -> CpuSet {
        self.cores.iter().flat_map(|core| core.cpus.iter()).collect()
    }
}

/// The machine in parts that no boundary runs through, in the order of sockets, nodes and caches. A node may span sockets
/// and a cache may span nodes; then it comes in several parts.
fn sections(topology: &Topology) -> Vec<Section<'_>> {
    let mut cores: BTreeMap<(usize, usize, usize), Vec<&CpuGroup>> = BTreeMap::new();
    for core in topology.cores() {
        let first = core.cpus.first().and_then(|cpu| topology.place(cpu));
        if let Some(place) = first {
            let part = cores.entry((place.socket, place.numa, place.l3)).or_default();
            part.push(core);
        }
    }
    cores
        .into_iter()
        .map(|((socket, numa, l3), cores)| Section {
            socket: &topology.sockets()[socket],
            numa: &topology.numa_nodes()[numa],
            l3: &topology.l3s()[l3],
            cores,
        })
        .collect()
}

/// The CPUs of each owner.
fn by_owner<'o>(cpus: &MachineCpus, owners: &'o Owners) -> BTreeMap<&'o CpuOwner, CpuSet> {
    let mut sets: BTreeMap<&CpuOwner, CpuSet> = BTreeMap::new();
    for cpu in cpus.topology.cpus().iter() {
        sets.entry(owner(owners, cpu)).or_default().insert(cpu);
    }
    sets
}
