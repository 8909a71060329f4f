//! What the CPUs have to say about where a container goes.
//!
//! A set of NUMA nodes can serve a request if it has enough CPUs, free or to be used again, and all that are to be used
//! again. It is preferred if no smaller set could ever serve it, on an empty machine; with `align-by-socket` also if it
//! spans no more sockets than such a set would.

use super::policy::StaticPolicy;
use crate::decide::numa::Candidates;
use crate::model::{CpuSet, NumaMask, TopologyHint};

/// CPUs to be given, in two kinds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer<'a> {
    /// Nobody has them.
    pub(super) free: &'a CpuSet,
    /// The pod has them already and they must be used again.
    pub(super) again: &'a CpuSet,
}

impl StaticPolicy {
    /// CPUs of `set` on each NUMA node.
    pub(super) fn by_node(&self, set: &CpuSet) -> Vec<u64> {
        let nodes = self.topology().numa_nodes().iter();
        nodes.map(|node| node.cpus.common(set) as u64).collect()
    }

    /// The NUMA nodes that a set touches.
    pub(super) fn nodes_of(&self, set: &CpuSet) -> NumaMask {
        let nodes = self.topology().numa_nodes().iter().enumerate();
        nodes
            .filter(|(_, node)| !node.cpus.is_disjoint(set))
            .map(|(index, _)| index)
            .collect()
    }

    /// Those of the candidates that can serve a request for `count` CPUs.
    pub(super) fn hints(&self, offer: Offer<'_>, count: usize, candidates: &Candidates) -> Vec<TopologyHint> {
        let (with_cpus, again) = (self.nodes_of(self.topology().cpus()), self.nodes_of(offer.again));
        let count = count as u64;
        let fewest = self.fewest_nodes(count);
        let sums = candidates.sums(&self.by_node(&(offer.free | offer.again)));
        candidates
            .masks()
            .iter()
            .zip(sums)
            .filter(|(mask, sum)| *sum >= count && again.is_within(**mask) && mask.is_within(with_cpus))
            .map(|(mask, _)| TopologyHint {
                mask: Some(*mask),
                preferred: mask.count() == fewest || self.is_socket_aligned(*mask, fewest),
            })
            .collect()
    }

    /// The fewest nodes that have so many CPUs, free or not; all nodes if none do.
    fn fewest_nodes(&self, count: u64) -> u32 {
        let mut sizes = self.by_node(self.topology().cpus());
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let mut sum = 0;
        let mut fewest = 0;
        for size in sizes.into_iter().filter(|size| *size > 0) {
            fewest += 1;
            sum += size;
            if sum >= count {
                break;
            }
        }
        fewest
    }

    /// Whether `mask` spans no more sockets than `fewest` nodes have to.
    fn is_socket_aligned(&self, mask: NumaMask, fewest: u32) -> bool {
        if !self.options().align_by_socket {
            return false;
        }
        let topology = self.topology();
        let nodes_per_socket = topology.nodes_with_cpus() / topology.sockets().len();
        let Ok(fewest) = usize::try_from(fewest) else {
            return false;
        };
        self.sockets_of(mask).count() == fewest.div_ceil(nodes_per_socket.max(1))
    }

    /// CPUs that count as aligned to `mask`: those of its nodes, or with `align-by-socket` of their sockets.
    pub(super) fn aligned(&self, mask: NumaMask) -> CpuSet {
        let topology = self.topology();
        let mut aligned = CpuSet::EMPTY;
        if self.options().align_by_socket {
            self.sockets_of(mask)
                .for_each(|socket| aligned |= &topology.sockets()[socket].cpus);
        } else {
            mask.nodes()
                .filter_map(|node| topology.numa_nodes().get(node))
                .for_each(|node| aligned |= &node.cpus);
        }
        aligned
    }

    /// Indices of the sockets that nodes of `mask` lie in.
    fn sockets_of(&self, mask: NumaMask) -> impl Iterator<Item = usize> + '_ {
        let topology = self.topology();
        let sockets = topology.sockets().iter().enumerate();
        sockets
            .filter(move |(_, socket)| {
                let mut nodes = mask.nodes().filter_map(|node| topology.numa_nodes().get(node));
                nodes.any(|node| !node.cpus.is_disjoint(&socket.cpus))
            })
            .map(|(index, _)| index)
    }
}
