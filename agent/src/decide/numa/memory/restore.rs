//! Memory of containers that were there before the agent was.
//!
//! What a running container was promised cannot be refused to it any more: its pages lie where they lie. So it holds its
//! request on exactly its nodes, and if these do not have as much (more is reserved now, or a module of memory is gone)
//! it holds what there is, and what is missing is told. Only what the table cannot hold is refused: nodes that are not
//! there, or that serve another group already.

use std::collections::BTreeSet;

use super::{MemoryManager, MemoryRefusal, Request, of_container};
use crate::decide::numa::Resource;
use crate::model::{Bytes, Container, ContainerKind, ContainerName, NumaMask, Pod, PodUid, TopologyHint};

/// Why a container's memory cannot be put down where it lies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRestored {
    /// No nodes, or nodes that the machine does not have.
    #[error("its memory is on NUMA nodes {mask}, the machine has {nodes}")]
    NoSuchNodes {
        /// Its nodes.
        mask: NumaMask,
        /// How many the machine has.
        nodes: usize,
    },
    /// A node would be in two groups.
    #[error("its memory is on NUMA nodes {mask}, and other containers hold memory on {groups:?}", groups = .groups.iter().map(ToString::to_string).collect::<Vec<_>>())]
    OtherGroup {
        /// Its nodes.
        mask: NumaMask,
        /// The sets of nodes that others hold memory on and that have some in common with it.
        groups: Vec<NumaMask>,
    },
}

/// Memory that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryChange {
    /// Its nodes do not have all that it asked for.
    #[error("its NUMA nodes {nodes:?} do not have {} of what it asked for", amounts(.missing))]
    Missing {
        /// The kernel's numbers of its nodes.
        nodes: BTreeSet<u32>,
        /// What is missing.
        missing: Missing,
    },
    /// It lies on nodes that the machine does not have.
    #[error("its memory is on NUMA nodes {nodes:?}, the machine has {machine:?}")]
    NoSuchNodes {
        /// Its nodes, by the kernel's numbers.
        nodes: BTreeSet<u32>,
        /// The machine's.
        machine: Vec<u32>,
    },
    /// It cannot be put down where it lies: it holds nothing.
    #[error(transparent)]
    NotRestored(#[from] NotRestored),
    /// It was not bound, and cannot be now.
    #[error("{0}")]
    Refused(MemoryRefusal),
    /// It was not bound, and is now.
    #[error("its memory was not bound to NUMA nodes and is to be on {nodes:?}")]
    Chosen {
        /// The kernel's numbers of its nodes.
        nodes: BTreeSet<u32>,
    },
}

fn amounts(missing: &Missing) -> String {
    let amounts = missing
        .iter()
        .map(|(resource, amount)| format!("{amount} of {resource}"));
    amounts.collect::<Vec<_>>().join(" and ")
}

/// What a container asked for and its nodes do not have.
pub type Missing = Vec<(Resource, Bytes)>;

impl MemoryManager {
    /// Puts down that a container holds `request` on `mask`. To be called in the order of the manifest, so that what init
    /// containers held goes over to those after them. What else it held before is taken back first; one that holds just this
    /// stays as it is. Gives what is missing.
    ///
    /// # Errors
    /// There are no such nodes, or they serve others in another group. Nothing is changed then.
    pub fn restore(
        &mut self,
        pod: &PodUid,
        container: &ContainerName,
        kind: ContainerKind,
        request: &Request,
        mask: NumaMask,
    ) -> Result<Missing, NotRestored> {
        let holds_it = self
            .holding(pod, container)
            .is_some_and(|held| held.kind == kind && held.request == *request && held.mask == mask);
        if request.is_empty() || holds_it {
            return Ok(Missing::new());
        }
        if mask.is_empty() || !mask.is_within(self.numa.all()) {
            return Err(NotRestored::NoSuchNodes {
                mask,
                nodes: self.numa.count(),
            });
        }
        let before = (self.table.clone(), self.pods.clone());
        self.release(pod, container);
        if !self.table.may_serve(mask) {
            let mut groups = self.table.groups();
            groups.retain(|group| *group != mask && !group.and(mask).is_empty());
            groups.sort_unstable();
            groups.dedup();
            (self.table, self.pods) = before;
            return Err(NotRestored::OtherGroup { mask, groups });
        }
        self.hold(pod, container, kind, request, mask);
        let taken = self.holding(pod, container).map_or(&[][..], |held| &held.taken);
        let missing = request.iter().filter_map(|(&resource, &Bytes(amount))| {
            let of = taken.iter().filter(|(_, of, _)| *of == resource);
            let got = of.fold(0_u64, |sum, (.., part)| sum.saturating_add(*part));
            let missing = amount.saturating_sub(got);
            (missing > 0).then_some((resource, Bytes(missing)))
        });
        Ok(missing.collect())
    }

    /// Puts down what the containers of pods that were let in hold. `machine` has the kernel's numbers of the machine's
    /// nodes, ascending; `bound` tells those that a container's memory is bound to: its `cpuset.mems` if it runs, its
    /// pin's nodes if not. One that is bound to none is placed as if it came now. Gives what is not as it was.
    pub fn restore_pods<'a>(
        &mut self,
        machine: &[u32],
        pods: impl IntoIterator<Item = &'a Pod>,
        bound: impl Fn(&PodUid, &ContainerName) -> BTreeSet<u32>,
    ) -> Vec<(PodUid, ContainerName, MemoryChange)> {
        let mut changes = Vec::new();
        let mut unbound: Vec<(&Pod, &Container, Request)> = Vec::new();
        for pod in pods {
            for container in pod.all_containers() {
                let request = of_container(pod, container);
                let nodes = bound(&pod.uid, &container.name);
                if request.is_empty() {
                    continue;
                }
                if nodes.is_empty() {
                    unbound.push((pod, container, request));
                } else if let Err(change) = self.restore_on(machine, pod, container, &request, nodes) {
                    changes.push((pod.uid.clone(), container.name.clone(), change));
                }
            }
        }
        // What is known comes first, so that it is not given away.
        for (pod, container, request) in unbound {
            let anywhere = TopologyHint {
                mask: None,
                preferred: false,
            };
            let placed = self.allocate(&pod.uid, &container.name, container.kind, &request, anywhere);
            let change = match placed {
                Ok(mask) => MemoryChange::Chosen {
                    nodes: mask.unwrap_or_default().numbers(machine).collect(),
                },
                Err(refusal) => MemoryChange::Refused(refusal),
            };
            changes.push((pod.uid.clone(), container.name.clone(), change));
        }
        changes
    }

    fn restore_on(
        &mut self,
        machine: &[u32],
        pod: &Pod,
        container: &Container,
        request: &Request,
        nodes: BTreeSet<u32>,
    ) -> Result<(), MemoryChange> {
        let Some(mask) = NumaMask::of_numbers(nodes.iter().copied(), machine) else {
            let machine = machine.to_vec();
            return Err(MemoryChange::NoSuchNodes { nodes, machine });
        };
        let missing = self.restore(&pod.uid, &container.name, container.kind, request, mask)?;
        if missing.is_empty() {
            Ok(())
        } else {
            Err(MemoryChange::Missing { nodes, missing })
        }
    }
}
