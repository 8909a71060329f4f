//! What would become of a set of pods on an empty machine.
//!
//! **Problem.** Whether a pod fits, and where, should be known before it is there, on a machine that need not be at hand.
//! **How.** The pods are let in one by one, in the order of [`super::admission`]: first by what is allocatable, then by
//! the managers of CPUs and memory, which align both. A pod that is refused takes nothing from those after it.
//!
//! # Properties
//! - No CPU is of two pods, nor of a container and the shared pool; reserved ones are of no container.
//! - A container with CPUs of its own has as many as it asks for.
//! - The answer does not depend on the order in which the pods are given.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::admission::{Taken, in_order};
use super::allocatable::Allocatable;
use super::cpu::{CpuAdmission, CpuRefusal, Grant, StaticPolicy, Wish, Wishes};
use super::managers::Managers;
use super::numa::admit::{OneOf, Refused, Unit, admit};
use super::numa::memory::{MemoryAdmission, MemoryRefusal};
use super::qos::qos_class;
use crate::model::{
    ContainerName, ContainerPlacement, CpuSet, NumaMask, Pod, PodPlacement, PodRefusal, Topology,
};
use crate::state::cpus::CpuAssignments;

/// The pods with their places, and the machine after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// In the order in which they were decided on.
    pub pods: Vec<PodPlacement>,
    /// Who has which CPUs.
    pub assignments: CpuAssignments,
    /// The managers, with memory held.
    pub managers: Managers,
}

/// Lets `pods` in, as far as they fit what is `allocatable` and the managers have it.
#[must_use]
pub fn rehearse(
    managers: Managers,
    topology: &Topology,
    pods: &[&Pod],
    allocatable: &Allocatable,
) -> Rehearsal {
    let start = match &managers.cpus {
        Some(policy) => policy.start(),
        None => CpuAssignments::new(topology.cpus().clone()),
    };
    let mut rehearsal = Rehearsal {
        pods: Vec::with_capacity(pods.len()),
        assignments: start,
        managers,
    };
    let mut taken = Taken::of(allocatable);
    for pod in in_order(pods, &BTreeSet::new()) {
        let outcome = match taken.refusal(pod) {
            Some(refusal) => Err(PodRefusal {
                reason: refusal.reason(),
                container: None,
                message: refusal.message(),
            }),
            None => rehearsal.place(topology, pod),
        };
        let (refusal, containers) = match outcome {
            Ok(containers) => {
                taken.add(pod);
                (None, containers)
            }
            Err(refusal) => (Some(refusal), Vec::new()),
        };
        rehearsal.pods.push(PodPlacement {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            class: qos_class(pod),
            refusal,
            containers,
        });
    }
    rehearsal
}

impl Rehearsal {
    /// CPUs that no container gets to itself.
    #[must_use]
    pub fn reserved(&self) -> CpuSet {
        let policy = self.managers.cpus.as_ref();
        policy.map_or(CpuSet::EMPTY, |policy| policy.reserved().clone())
    }

    /// Gives a pod what its containers ask for, all or nothing.
    fn place(&mut self, topology: &Topology, pod: &Pod) -> Result<Vec<ContainerPlacement>, PodRefusal> {
        let Managers {
            cpus,
            topology: manager,
            memory,
        } = &mut self.managers;
        let cpus = cpus.as_ref();
        let mut parts = (
            cpus.map(|policy| CpuAdmission::new(policy, &self.assignments, pod)),
            memory.as_mut().map(|memory| MemoryAdmission::new(memory, pod)),
        );
        let count = pod.all_containers().count();
        let placed = admit(manager, count, &mut parts).map_err(|refused| told(&refused, pod))?;
        let (in_cpus, in_memory) = parts;
        let mut grants = Vec::new();
        if let Some(part) = in_cpus {
            let admitted = part.finish(placed);
            self.assignments = admitted.applied(&self.assignments).map_err(|error| PodRefusal {
                reason: "UnexpectedAdmissionError".to_owned(),
                container: None,
                message: error.to_string(),
            })?;
            grants = admitted.grants;
        }
        let mems = in_memory.map(MemoryAdmission::keep).unwrap_or_default();
        Ok(containers(pod, cpus, grants, &mems, topology))
    }
}

/// What the containers of a pod get, in words.
fn containers(
    pod: &Pod,
    policy: Option<&StaticPolicy>,
    grants: Vec<Grant>,
    mems: &BTreeMap<ContainerName, NumaMask>,
    topology: &Topology,
) -> Vec<ContainerPlacement> {
    let wishes = Wishes::of(pod, policy.is_some_and(|policy| policy.options().mixed_pods));
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
