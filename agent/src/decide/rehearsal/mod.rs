//! What would become of a set of pods on an empty machine.
//!
//! **Problem.** Whether a pod fits, and where, should be known before it is there, on a machine that need not be at hand.
//! **How.** The pods are let in one by one, in the order of [`super::admission`]: first by what is allocatable, then by
//! the managers of CPUs and memory, which align both. A pod that is refused takes nothing from those after it.
//!
//! # Properties
//! - What is given out is as [`super::allotment`] has it.
//! - The answer does not depend on the order in which the pods are given.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::admission::admit;
use super::allocatable::Allocatable;
use super::allotment::Allotment;
use super::qos::qos_class;
use crate::model::{Pod, PodPlacement};

/// The pods with their places, and the machine after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// In the order in which they were decided on.
    pub pods: Vec<PodPlacement>,
    /// What they have.
    pub allotment: Allotment,
}

/// Lets `pods` in, as far as they fit what is `allocatable` and can be allotted.
#[must_use]
pub fn rehearse(mut allotment: Allotment, pods: &[&Pod], allocatable: &Allocatable) -> Rehearsal {
    let answers = admit(pods, &BTreeSet::new(), allocatable, |pod| allotment.admit(pod));
    let named: BTreeMap<_, _> = pods.iter().map(|pod| (&pod.uid, *pod)).collect();
    let placed = answers.into_iter().filter_map(|(uid, answer)| {
        let pod = named.get(&uid)?;
        let (refusal, containers) = match answer {
            Ok(containers) => (None, containers),
            Err(refusal) => (Some(refusal), Vec::new()),
        };
        Some(PodPlacement {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            class: qos_class(pod),
            refusal,
            containers,
        })
    });
    Rehearsal {
        pods: placed.collect(),
        allotment,
    }
}
