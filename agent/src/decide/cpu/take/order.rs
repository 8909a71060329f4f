//! In which order parts of the machine are looked at: the fullest first, inside the fullest.
//!
//! A part is *fuller* than another of its kind if fewer of its CPUs are free, or as many and its index is lower. Parts
//! are nested: where a machine has more NUMA nodes than sockets the nodes are ordered socket by socket, elsewhere the
//! sockets node by node. Parts with nothing free do not appear.

use crate::model::{CpuGroup, CpuSet, Topology};

/// Whether NUMA nodes hold sockets, or are them, on this machine.
pub(super) fn numa_first(topology: &Topology) -> bool {
    topology.sockets().len() >= topology.nodes_with_cpus()
}

/// Indices of the sockets with free CPUs, in order.
pub(super) fn sockets(topology: &Topology, free: &CpuSet) -> Vec<usize> {
    if numa_first(topology) {
        let nodes = fullest(topology.numa_nodes(), free);
        nested(topology.numa_nodes(), &nodes, topology.sockets(), free)
    } else {
        fullest(topology.sockets(), free)
    }
}

/// Indices of the NUMA nodes with free CPUs, in order.
pub(super) fn numa_nodes(topology: &Topology, free: &CpuSet) -> Vec<usize> {
    if numa_first(topology) {
        fullest(topology.numa_nodes(), free)
    } else {
        let sockets = fullest(topology.sockets(), free);
        nested(topology.sockets(), &sockets, topology.numa_nodes(), free)
    }
}

/// Indices of the last-level caches with free CPUs, in order.
pub(super) fn l3s(topology: &Topology, free: &CpuSet) -> Vec<usize> {
    let nodes = numa_nodes(topology, free);
    nested(topology.numa_nodes(), &nodes, topology.l3s(), free)
}

/// The parts by whose order cores are looked at, in order: the smaller of sockets and NUMA nodes.
pub(super) fn core_holders<'a>(
    topology: &'a Topology,
    free: &CpuSet,
) -> impl Iterator<Item = &'a CpuGroup> + use<'a> {
    let (groups, order) = if numa_first(topology) {
        (topology.sockets(), sockets(topology, free))
    } else {
        (topology.numa_nodes(), numa_nodes(topology, free))
    };
    order.into_iter().map(|index| &groups[index])
}

/// How many CPUs of a group are free, and its index: the fuller the less.
type Fullness = (usize, usize);

fn fullness(groups: &[CpuGroup], free: &CpuSet) -> Vec<Fullness> {
    let counted = groups.iter().enumerate();
    counted
        .map(|(index, group)| (group.cpus.common(free), index))
        .filter(|(count, _)| *count > 0)
        .collect()
}

fn fullest(groups: &[CpuGroup], free: &CpuSet) -> Vec<usize> {
    let mut order = fullness(groups, free);
    order.sort_unstable();
    order.into_iter().map(|(_, index)| index).collect()
}

/// The children, parent by parent in the parents' order. One that has free CPUs in two parents goes by the first.
fn nested(parents: &[CpuGroup], order: &[usize], children: &[CpuGroup], free: &CpuSet) -> Vec<usize> {
    let mut left = fullness(children, free);
    left.sort_unstable();
    let mut sorted = Vec::with_capacity(left.len());
    for parent in order {
        let within = &parents[*parent].cpus;
        left.retain(|(_, child)| {
            let inside = children[*child].cpus.meets(within, free);
            if inside {
                sorted.push(*child);
            }
            !inside
        });
    }
    sorted
}
