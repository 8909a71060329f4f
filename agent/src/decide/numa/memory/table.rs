//! What each node has, has left, and serves.

use std::collections::BTreeMap;

use super::{Holding, MemoryError, NodeMemory};
use crate::decide::numa::Resource;
use crate::model::{Bytes, NumaMask};

/// One resource of one node, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Pool {
    allocatable: u64,
    free: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    pools: BTreeMap<Resource, Pool>,
    /// How many containers hold something here, and on which nodes: all on the same.
    holders: usize,
    serves: NumaMask,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    nodes: Vec<Node>,
}

impl Table {
    pub(super) fn new(nodes: &[NodeMemory]) -> Result<Self, MemoryError> {
        let node = |(index, memory): (usize, &NodeMemory)| {
            let has = &memory.has;
            let huge = has.huge_pages.values().copied();
            let huge = huge.fold(Bytes(0), Bytes::saturating_add);
            let mut all: BTreeMap<Resource, Bytes> = has
                .huge_pages
                .iter()
                .map(|(&size, &amount)| (Resource::HugePages(size), amount))
                .collect();
            all.insert(Resource::Memory, has.total.saturating_sub(huge));
            for (&resource, &reserved) in &memory.reserved {
                let available = all.entry(resource).or_default();
                if reserved > *available {
                    return Err(MemoryError::Reservation {
                        node: index,
                        resource,
                        reserved,
                        available: *available,
                    });
                }
                *available = available.saturating_sub(reserved);
            }
            let pool = |(resource, Bytes(allocatable))| {
                let free = allocatable;
                (resource, Pool { allocatable, free })
            };
            Ok(Node {
                pools: all.into_iter().map(pool).collect(),
                ..Node::default()
            })
        };
        let nodes = nodes.iter().enumerate().map(node);
        Ok(Self {
            nodes: nodes.collect::<Result<_, _>>()?,
        })
    }

    fn by_node(&self, resource: Resource, of: fn(&Pool) -> u64) -> Vec<u64> {
        let nodes = self.nodes.iter();
        nodes
            .map(|node| node.pools.get(&resource).map_or(0, of))
            .collect()
    }

    pub(super) fn allocatable(&self, resource: Resource) -> Vec<u64> {
        self.by_node(resource, |pool| pool.allocatable)
    }

    pub(super) fn free(&self, resource: Resource) -> Vec<u64> {
        self.by_node(resource, |pool| pool.free)
    }

    /// Sets of nodes that containers hold memory on.
    pub(super) fn groups(&self) -> Vec<NumaMask> {
        let used = self.nodes.iter().filter(|node| node.holders > 0);
        used.map(|node| node.serves).collect()
    }

    /// Whether a container may be placed on `mask` beside those that are there.
    pub(super) fn may_serve(&self, mask: NumaMask) -> bool {
        mask.nodes().all(|node| {
            let node = self.nodes.get(node);
            node.is_some_and(|node| node.holders == 0 || node.serves == mask)
        })
    }

    /// Takes `amount` from the nodes of `mask`, the lowest first; gives what each of them gave. There must be enough.
    pub(super) fn take(
        &mut self,
        mask: NumaMask,
        resource: Resource,
        amount: u64,
    ) -> Vec<(usize, Resource, u64)> {
        let mut left = amount;
        let mut taken = Vec::new();
        for index in mask.nodes() {
            let node = self.nodes.get_mut(index);
            let Some(pool) = node.and_then(|node| node.pools.get_mut(&resource)) else {
                continue;
            };
            let part = pool.free.min(left);
            if part > 0 {
                pool.free -= part;
                left -= part;
                taken.push((index, resource, part));
            }
        }
        taken
    }

    /// Counts one more container on the nodes of `mask`.
    pub(super) fn hold(&mut self, mask: NumaMask) {
        for index in mask.nodes() {
            if let Some(node) = self.nodes.get_mut(index) {
                node.holders += 1;
                node.serves = mask;
            }
        }
    }

    /// Takes back what a container held.
    pub(super) fn put_back(&mut self, holding: &Holding) {
        for &(index, resource, amount) in &holding.taken {
            let node = self.nodes.get_mut(index);
            if let Some(pool) = node.and_then(|node| node.pools.get_mut(&resource)) {
                pool.free += amount;
            }
        }
        for index in holding.mask.nodes() {
            if let Some(node) = self.nodes.get_mut(index) {
                node.holders -= 1;
                if node.holders == 0 {
                    node.serves = NumaMask::EMPTY;
                }
            }
        }
    }
}
