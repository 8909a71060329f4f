//! Who has which CPUs and memory to itself: the managers of a node with what they have given out.
//!
//! **Problem.** A pod gets CPUs and memory together or not at all, keeps them while it is there, and may change its mind
//! about how much. **How.** [`Allotment::admit`] lets CPUs and memory take part in one alignment, and keeps what comes of
//! it; [`Allotment::update`] changes what a pod has, container by container, without taking away what it keeps;
//! [`Allotment::retain`] takes back what pods have that are no more.
//!
//! # Properties
//! - No CPU is of two pods, nor of a container and the shared pool; reserved ones are of no container.
//! - A container with CPUs of its own has as many as it asks for.
//! - A refusal changes nothing.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use super::cpu::{CpuAdmission, CpuRefusal, Grant, Wish, Wishes};
use super::managers::Managers;
use super::numa::admit::{OneOf, Refused, Unit, admit};
use super::numa::memory::{MemoryAdmission, MemoryChange, MemoryManager, MemoryRefusal, of_container};
use crate::model::{ContainerName, ContainerPlacement, CpuSet, NumaMask, Pod, PodRefusal, PodUid, Topology};
use crate::state::cpus::{CpuAssignments, NotFree};

/// What is given out on a node, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allotment {
    topology: Topology,
    managers: Managers,
    assignments: CpuAssignments,
}

impl Allotment {
    /// A node on which nothing is given out.
    #[must_use]
    pub fn new(managers: Managers, topology: Topology) -> Self {
        let assignments = match &managers.cpus {
            Some(policy) => policy.start(),
            None => CpuAssignments::new(topology.cpus().clone()),
        };
        Self {
            topology,
            managers,
            assignments,
        }
    }

    /// The machine.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The managers, with memory held.
    #[must_use]
    pub fn managers(&self) -> &Managers {
        &self.managers
    }

    /// Who has which CPUs.
    #[must_use]
    pub fn assignments(&self) -> &CpuAssignments {
        &self.assignments
    }

    /// Whether single containers of a pod may have CPUs of their own.
    #[must_use]
    pub fn mixed_pods(&self) -> bool {
        let policy = self.managers.cpus.as_ref();
        policy.is_some_and(|policy| policy.options().mixed_pods)
    }

    /// Begins with these `assignments` instead of none, and with the memory of `pods` where it is `bound` to, by the
    /// kernel's numbers. Gives what of the memory is not as it was.
    pub fn resume<'p>(
        &mut self,
        assignments: CpuAssignments,
        pods: impl IntoIterator<Item = &'p Pod>,
        bound: impl Fn(&PodUid, &ContainerName) -> BTreeSet<u32>,
    ) -> Vec<(PodUid, ContainerName, MemoryChange)> {
        self.assignments = assignments;
        let Some(memory) = &mut self.managers.memory else {
            return Vec::new();
        };
        let nodes: Vec<_> = self.topology.numa_nodes().iter().map(|node| node.id).collect();
        memory.restore_pods(&nodes, pods, bound)
    }

    /// CPUs that no container gets to itself.
    #[must_use]
    pub fn reserved(&self) -> CpuSet {
        let policy = self.managers.cpus.as_ref();
        policy.map_or(CpuSet::EMPTY, |policy| policy.reserved().clone())
    }

    /// Where containers without CPUs of their own run: the shared pool, or what is reserved when all others are given
    /// away. A container has to run somewhere, and the system's CPUs are the only ones that are nobody's own.
    #[must_use]
    pub fn shared(&self) -> CpuSet {
        let shared = self.assignments.shared();
        if shared.is_empty() {
            self.reserved()
        } else {
            shared.clone()
        }
    }

    /// Gives a pod what its containers ask for and do not have yet.
    ///
    /// # Errors
    /// Something is not to be had, or not aligned as the policies want it.
    pub fn admit(&mut self, pod: &Pod) -> Result<Vec<ContainerPlacement>, PodRefusal> {
        let mixed = self.mixed_pods();
        let Managers {
            cpus,
            topology: manager,
            memory,
        } = &mut self.managers;
        let mut parts = (
            cpus.as_ref()
                .map(|policy| CpuAdmission::new(policy, &self.assignments, pod)),
            memory.as_mut().map(|memory| MemoryAdmission::new(memory, pod)),
        );
        let count = pod.all_containers().count();
        let placed = admit(manager, count, &mut parts).map_err(|refused| told(&refused, pod))?;
        let (in_cpus, in_memory) = parts;
        let mut grants = Vec::new();
        if let Some(part) = in_cpus {
            let admitted = part.finish(placed);
            self.assignments = admitted
                .applied(&self.assignments)
                .map_err(|error| unexpected(&error))?;
            grants = admitted.grants;
        }
        let mems = in_memory.map(MemoryAdmission::keep).unwrap_or_default();
        Ok(placements(pod, mixed, grants, &mems, &self.topology))
    }

    /// Makes what `before` has what `after`, the same pod changed, asks for. CPUs that a container has and still wants
    /// stay its own.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub fn update(&mut self, before: &Pod, after: &Pod) -> Result<Vec<ContainerPlacement>, PodRefusal> {
        let mut changed = self.clone();
        let resized = changed.resize(before, after)?;
        let mut placements = changed.admit(after)?;
        // Letting it in again only finds that it has what it wants; why it has it was decided before.
        for grant in resized {
            let of_it = |placement: &&mut ContainerPlacement| placement.name == grant.container;
            if let Some(placement) = placements.iter_mut().find(of_it) {
                placement.why = grant.why.to_string();
            }
        }
        *self = changed;
        Ok(placements)
    }

    /// Takes back what is held by pods that are not among `pods`; whether there was any.
    pub fn retain(&mut self, pods: &BTreeSet<PodUid>) -> bool {
        let in_cpus = self.assignments.pods().keys();
        let memory = self.managers.memory.as_ref();
        let in_memory = memory.into_iter().flat_map(MemoryManager::holdings);
        let holders = in_cpus.chain(in_memory.map(|(pod, _, _)| pod));
        let gone: BTreeSet<_> = holders.filter(|pod| !pods.contains(*pod)).cloned().collect();
        gone.iter().for_each(|pod| self.release(pod));
        !gone.is_empty()
    }

    /// Takes back what a pod has.
    pub fn release(&mut self, pod: &PodUid) {
        self.assignments.release(pod);
        if let Some(memory) = &mut self.managers.memory {
            memory.release_pod(pod);
        }
    }

    /// Gives containers more or fewer CPUs than they have, and takes those of containers that want none any more.
    fn resize(&mut self, before: &Pod, after: &Pod) -> Result<Vec<Grant>, PodRefusal> {
        let Managers { cpus, memory, .. } = &mut self.managers;
        let uid = &after.uid;
        let asked = |pod: &Pod, name: &ContainerName| {
            let container = pod.all_containers().find(|container| container.name == *name);
            container.map(|container| of_container(pod, container))
        };
        if let Some(memory) = memory {
            for container in before.all_containers() {
                if asked(before, &container.name) != asked(after, &container.name) {
                    memory.release(uid, &container.name);
                }
            }
        }
        let Some(policy) = cpus else { return Ok(Vec::new()) };
        let wishes = Wishes::of(after, policy.options().mixed_pods);
        let wanted: BTreeMap<_, _> = after
            .all_containers()
            .enumerate()
            .map(|(index, container)| (&container.name, wishes.container(index).count()))
            .collect();
        let held = self.assignments.pods().get(uid).cloned().unwrap_or_default();
        let mut grants = Vec::new();
        for (name, cpus) in held {
            let count = wanted.get(&name).copied().unwrap_or(0);
            if count == cpus.len() {
                continue;
            }
            let granted = match NonZeroUsize::new(count) {
                None => CpuSet::EMPTY,
                Some(count) => {
                    let grant = policy.resize(&self.assignments, uid, &name, count);
                    let grant = grant.map_err(|refusal| PodRefusal {
                        reason: refusal.reason().to_owned(),
                        container: Some(name.clone()),
                        message: refusal.to_string(),
                    })?;
                    grants.push(grant.clone());
                    grant.cpus
                }
            };
            let changed = self.assignments.grant(uid, &name, granted);
            changed.map_err(|error| unexpected(&error))?;
        }
        Ok(grants)
    }
}

/// What the containers of a pod get, in words.
fn placements(
    pod: &Pod,
    mixed: bool,
    grants: Vec<Grant>,
    mems: &BTreeMap<ContainerName, NumaMask>,
    topology: &Topology,
) -> Vec<ContainerPlacement> {
    let wishes = Wishes::of(pod, mixed);
    let mut grants: BTreeMap<_, _> = grants
        .into_iter()
        .map(|grant| (grant.container, (grant.cpus, grant.why)))
        .collect();
    let ids = |mask: &NumaMask| {
        let nodes = topology.numa_nodes();
        mask.nodes()
            .filter_map(|position| nodes.get(position))
            .map(|node| node.id)
            .collect()
    };
    pod.all_containers()
        .enumerate()
        .map(|(index, container)| {
            let (cpus, why) = match (grants.remove(&container.name), wishes.container(index)) {
                (Some((cpus, why)), _) => (Some(cpus), why.to_string()),
                (None, Wish::Shared(why)) => (None, why.to_string()),
                (None, Wish::Exclusive(_)) => (None, "cpuManagerPolicy is none".to_owned()),
            };
            ContainerPlacement {
                name: container.name.clone(),
                cpus,
                mems: mems.get(&container.name).map(ids),
                why,
            }
        })
        .collect()
}

/// Only assignments other than those decided on can make it so.
fn unexpected(error: &NotFree) -> PodRefusal {
    PodRefusal {
        reason: "UnexpectedAdmissionError".to_owned(),
        container: None,
        message: error.to_string(),
    }
}

/// A refusal of the managers, with kubelet's word for it.
fn told(refused: &Refused<OneOf<CpuRefusal, MemoryRefusal>>, pod: &Pod) -> PodRefusal {
    let (word, index) = match refused {
        Refused::Affinity { unit, .. } => {
            let index = match unit {
                Unit::Container(index) => Some(*index),
                Unit::Pod => None,
            };
            ("TopologyAffinityError", index)
        }
        Refused::Allocation { container, refusal } => {
            let word = match refusal {
                OneOf::First(refusal) => refusal.reason(),
                OneOf::Second(_) => "UnexpectedAdmissionError",
            };
            (word, Some(*container))
        }
    };
    let container = index.and_then(|index| pod.all_containers().nth(index));
    PodRefusal {
        reason: word.to_owned(),
        container: container.map(|container| container.name.clone()),
        message: refused.to_string(),
    }
}
