//! The sets of nodes that resources are asked about.
//!
//! **Problem.** Kubelet asks about all 2ⁿ − 1 sets of n nodes, and so gives up above 8. **How.** Up to 8 nodes these are all
//! sets. Above, they are the sets that a person would think of, at most n² for the machine and for each resource
//! 24·n more: each node with its nearest ones, whatever is free on them; each node with its nearest ones that have
//! something free; the nodes that have most; and sets that are in use already. As all resources are asked about the same sets, they can agree on one.
//!
//! # Properties
//! - Every set has a node, only nodes of the machine, and is there once.
//! - Each single node is there, and all nodes together.
//! - If a set holds enough of one resource, the candidates have one that does and is as small.
//! - Their number is at most 2⁸ − 1, or n² + 25·n for each resource and those in use.

use std::cmp::Reverse;

use super::NumaNodes;
use super::reach::TABLED_NODES;
use crate::model::NumaMask;

/// Up to how many nodes sets are grown that leave out nodes with nothing free, above [`TABLED_NODES`] nodes.
const GROWN: usize = 24;

/// What there is, to propose sets of nodes from above 8 nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    /// For each resource, how much of it each node could give.
    pub by_node: Vec<Vec<u64>>,
    /// Sets that are in use as one, such as groups of nodes that share memory allocations.
    pub groups: Vec<NumaMask>,
}

/// Sets of nodes, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    masks: Vec<NumaMask>,
    /// All sets of so many nodes, in the order of their bits.
    tabled: bool,
}

impl Candidates {
    /// The candidates of a machine on which there is this room.
    #[must_use]
    pub fn new(nodes: &NumaNodes, room: &Room) -> Self {
        let count = nodes.count();
        if count <= TABLED_NODES {
            let all = 1..=nodes.all().bits();
            return Self {
                masks: all.map(NumaMask::from_bits).collect(),
                tabled: true,
            };
        }
        let mut masks = Vec::new();
        for start in 0..count {
            let mut near: Vec<usize> = (0..count).collect();
            near.sort_by_key(|&node| (node != start, nodes.distance(start, node), node));
            masks.extend(growing(near.iter().copied()));
            for room in &room.by_node {
                let free = |node: usize| room.get(node).copied().unwrap_or(0);
                near.sort_by_key(|&n| (n != start, nodes.distance(start, n), Reverse(free(n)), n));
                let with_room = near.iter().copied().filter(|&node| free(node) > 0);
                masks.extend(growing(with_room).take(GROWN));
            }
        }
        for room in &room.by_node {
            let mut most: Vec<usize> = (0..count).collect();
            most.sort_by_key(|&node| (Reverse(room.get(node)), node));
            masks.extend(growing(most.into_iter()));
        }
        let groups = room.groups.iter().map(|group| group.and(nodes.all()));
        masks.extend(groups.filter(|group| !group.is_empty()));
        masks.sort_unstable();
        masks.dedup();
        Self { masks, tabled: false }
    }

    /// The sets.
    #[must_use]
    pub fn masks(&self) -> &[NumaMask] {
        &self.masks
    }

    /// How much each set has when node by node there is so much, in the order of [`Candidates::masks`].
    #[must_use]
    pub fn sums(&self, by_node: &[u64]) -> Vec<u64> {
        let at = |node: usize| by_node.get(node).copied().unwrap_or(0);
        if !self.tabled {
            let sum = |mask: &NumaMask| mask.nodes().map(at).fold(0, u64::saturating_add);
            return self.masks.iter().map(sum).collect();
        }
        // Each node in turn doubles the sets: those without it come again, with it.
        let mut sums = vec![0_u64];
        while sums.len() <= self.masks.len() {
            let added = at(sums.len().ilog2() as usize);
            sums.extend_from_within(..);
            let half = sums.len() / 2;
            for sum in &mut sums[half..] {
                *sum = sum.saturating_add(added);
            }
        }
        sums.remove(0);
        sums
    }
}

/// The first node, the first two, the first three…
fn growing(nodes: impl Iterator<Item = usize>) -> impl Iterator<Item = NumaMask> {
    nodes.scan(NumaMask::EMPTY, |grown, node| {
        *grown = grown.or(NumaMask::single(node));
        Some(*grown)
    })
}
