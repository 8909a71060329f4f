//! The memory manager: on which NUMA nodes the memory of a Guaranteed pod lies, and what is left.
//!
//! **Problem.** Memory of a far node is slower, and a container bound to nodes (`cpuset.mems`) that others have filled is
//! killed although the machine has memory left. So what each node has promised must be known.
//!
//! **Terms.** A node's *allocatable* amount is what it has less what is reserved on it, for normal pages also less what is
//! set up as huge pages. A container *holds* amounts on the nodes of its mask. A *group* is a mask of several nodes
//! that containers hold memory on.
//!
//! **How.** Kubelet's Static policy: only Guaranteed pods without pod-level resources take part. A node serves either
//! containers of this node alone or those of one group, never both nor two groups, so that what a single-node container was
//! promised cannot be used up from elsewhere. Within a mask the lowest nodes are filled first. What an init container held
//! is taken over by later containers of its pod on the same nodes. Unlike kubelet's, a table remembers which node gave what
//! to whom, so that release gives back exactly that; a mask inside an existing group is extended to the group instead of
//! splitting it (single node) or refusing the pod (several); a pod that only *best-effort* placed goes elsewhere if its
//! mask cannot be extended; and if no node can serve, the hints say so, instead of that it does not matter.
//!
//! # Properties
//! - No node gives more than its allocatable amount, of any resource.
//! - What is held and what is free are together the allocatable amount; releasing a pod restores what was before it.
//! - A node is in one group at most, or serves single-node containers.
//! - A container that is let in holds its request on the nodes of its mask, which are those of `cpuset.mems`.
//! - A refusal changes nothing.

mod admission;
mod choose;
mod request;
mod restore;
mod table;

#[cfg(test)]
mod props;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::{NumaNodes, Resource};
use crate::model::{Bytes, ContainerKind, ContainerName, NumaMask, NumaMemory, PodUid};

pub use admission::MemoryAdmission;
pub use choose::MemoryRefusal;
pub use request::{Request, of_container, of_pod};
pub use restore::{MemoryChange, Missing, NotRestored};
use table::Table;

/// One NUMA node's memory and what is kept of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeMemory {
    /// What it has.
    pub has: NumaMemory,
    /// What is kept for the system.
    pub reserved: BTreeMap<Resource, Bytes>,
}

/// Memory and reservations that cannot be true together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// Not one record a node.
    #[error("memory of {given} NUMA nodes, the machine has {nodes}")]
    Nodes {
        /// Nodes whose memory is given.
        given: usize,
        /// Nodes of the machine.
        nodes: usize,
    },
    /// More is kept back on a node than it has.
    #[error(
        "{resource} on NUMA node {node}: {reserved} reserved, the node has {available}; lower the reservation or \
         move it to another node"
    )]
    Reservation {
        /// The node's index.
        node: usize,
        /// Of what.
        resource: Resource,
        /// Kept for the system.
        reserved: Bytes,
        /// What there is, huge pages taken off normal memory.
        available: Bytes,
    },
    /// Reservations by node do not add up to the machine's.
    #[error(
        "{resource}: {by_node} reserved on the NUMA nodes together, but {machine} on the machine (kube and system \
         reservation and hard eviction threshold); make the two equal"
    )]
    Sum {
        /// Of what.
        resource: Resource,
        /// The sum over the nodes.
        by_node: Bytes,
        /// The machine's.
        machine: Bytes,
    },
}

/// What a container holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// What it is for.
    pub kind: ContainerKind,
    /// What it asked for.
    pub request: Request,
    /// Its nodes.
    pub mask: NumaMask,
    /// What it holds on each of them; an init container less than its request once others took over.
    taken: Vec<(usize, Resource, u64)>,
}

/// Who holds which memory on which node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryManager {
    numa: NumaNodes,
    table: Table,
    pods: BTreeMap<PodUid, BTreeMap<ContainerName, Holding>>,
}

impl MemoryManager {
    /// A machine on which nothing is held. `reserved` is what the machine keeps back altogether, which the reservations of
    /// the nodes must add up to.
    ///
    /// # Errors
    /// Memory is not given for each node, a reservation is larger than what a node has, or their sum is another one.
    pub fn new(
        numa: NumaNodes,
        nodes: &[NodeMemory],
        reserved: &BTreeMap<Resource, Bytes>,
    ) -> Result<Self, MemoryError> {
        if nodes.len() != numa.count() {
            return Err(MemoryError::Nodes {
                given: nodes.len(),
                nodes: numa.count(),
            });
        }
        let named = nodes.iter().flat_map(|node| node.reserved.keys());
        for &resource in named.chain(reserved.keys()) {
            let of = |list: &BTreeMap<Resource, Bytes>| list.get(&resource).copied().unwrap_or_default();
            let by_node = nodes.iter().map(|node| of(&node.reserved));
            let by_node = by_node.fold(Bytes(0), Bytes::saturating_add);
            if by_node != of(reserved) {
                return Err(MemoryError::Sum {
                    resource,
                    by_node,
                    machine: of(reserved),
                });
            }
        }
        Ok(Self {
            numa,
            table: Table::new(nodes)?,
            pods: BTreeMap::new(),
        })
    }

    /// What a container holds.
    #[must_use]
    pub fn holding(&self, pod: &PodUid, container: &ContainerName) -> Option<&Holding> {
        self.pods.get(pod)?.get(container)
    }

    /// All that is held, by pod and container.
    pub fn holdings(&self) -> impl Iterator<Item = (&PodUid, &ContainerName, &Holding)> {
        self.pods
            .iter()
            .flat_map(|(pod, held)| held.iter().map(move |(name, holding)| (pod, name, holding)))
    }

    /// What each node could still give of `resource`.
    #[must_use]
    pub fn free(&self, resource: Resource) -> Vec<u64> {
        self.table.free(resource)
    }

    /// Takes back what a container holds; nothing if it holds none.
    pub fn release(&mut self, pod: &PodUid, container: &ContainerName) {
        let Some(held) = self.pods.get_mut(pod) else {
            return;
        };
        if let Some(holding) = held.remove(container) {
            self.table.put_back(&holding);
        }
        if held.is_empty() {
            self.pods.remove(pod);
        }
    }

    /// Takes back what all containers of a pod hold.
    pub fn release_pod(&mut self, pod: &PodUid) {
        for holding in self.pods.remove(pod).unwrap_or_default().values() {
            self.table.put_back(holding);
        }
    }
}
