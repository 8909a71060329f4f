//! Which container has which CPUs to itself, and what the others share.
//!
//! **Terms.** The *shared pool* is what containers without CPUs of their own may run on. A container *holds* CPUs from
//! when it is granted them until its pod is released.
//!
//! # Properties
//! - No CPU is in the shared pool and held; only containers of one pod may hold the same CPU (what an init container
//!   held is used again by later ones).
//! - Releasing a pod gives the pool all that granting took from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{ContainerName, CpuSet, PodUid};

/// The CPUs by holder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuAssignments {
    shared: CpuSet,
    pods: BTreeMap<PodUid, BTreeMap<ContainerName, CpuSet>>,
}

impl CpuAssignments {
    /// All of `shared` is shared.
    #[must_use]
    pub fn new(shared: CpuSet) -> Self {
        Self {
            shared,
            pods: BTreeMap::new(),
        }
    }

    /// The shared pool.
    #[must_use]
    pub fn shared(&self) -> &CpuSet {
        &self.shared
    }

    /// What a container holds.
    #[must_use]
    pub fn held(&self, pod: &PodUid, container: &ContainerName) -> Option<&CpuSet> {
        self.pods.get(pod)?.get(container)
    }

    /// The holders by pod and container.
    #[must_use]
    pub fn pods(&self) -> &BTreeMap<PodUid, BTreeMap<ContainerName, CpuSet>> {
        &self.pods
    }

    /// Whether `container` of `pod` could hold `cpus`: nobody outside the pod holds any of them.
    #[must_use]
    pub fn may_hold(&self, pod: &PodUid, cpus: &CpuSet) -> bool {
        let others = self.pods.iter().filter(|(uid, _)| *uid != pod);
        others
            .flat_map(|(_, containers)| containers.values())
            .all(|held| held.is_disjoint(cpus))
    }

    /// Gives `container` of `pod` the CPUs it holds from now on, and takes them out of the pool.
    pub fn grant(&mut self, pod: &PodUid, container: &ContainerName, cpus: CpuSet) {
        self.shared -= &cpus;
        self.pods
            .entry(pod.clone())
            .or_default()
            .insert(container.clone(), cpus);
    }

    /// Takes from `pod` all it holds and puts it back into the pool; gives what that was.
    pub fn release(&mut self, pod: &PodUid) -> CpuSet {
        let held = self.pods.remove(pod).unwrap_or_default();
        let mut released = CpuSet::EMPTY;
        for cpus in held.values() {
            released |= cpus;
        }
        self.shared |= &released;
        released
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_used_again_go_back_once() {
        let cpus = |list: &str| CpuSet::parse(list).unwrap();
        let pod = PodUid::parse("p").unwrap();
        let [init, app] = ["init", "app"].map(|name| ContainerName::parse(name).unwrap());
        let mut assignments = CpuAssignments::new(cpus("0-7"));
        assignments.grant(&pod, &init, cpus("2-4"));
        assignments.grant(&pod, &app, cpus("3-5"));
        assert_eq!(assignments.shared().to_string(), "0-1,6-7");
        assert_eq!(assignments.held(&pod, &app), Some(&cpus("3-5")));
        let other = PodUid::parse("q").unwrap();
        assert!(assignments.may_hold(&pod, &cpus("2-7")) && !assignments.may_hold(&other, &cpus("5-6")));
        assert_eq!(assignments.release(&pod), cpus("2-5"));
        assert_eq!(assignments, CpuAssignments::new(cpus("0-7")));
        assert!(assignments.release(&pod).is_empty());
    }
}
