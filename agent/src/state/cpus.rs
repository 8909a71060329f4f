//! Which container has which CPUs to itself, and what the others share.
//!
//! **Terms.** The *shared pool* is what containers without CPUs of their own may run on. A container *holds* CPUs from
//! when it is granted them until its pod is released. *Withheld* CPUs are kept out of the pool: a strict reservation.
//!
//! # Properties
//! - No CPU is in the shared pool and held; only containers of one pod may hold the same CPU (what an init container
//!   held is used again by later ones).
//! - Pool and holders together always have the same CPUs; with all pods released, the pool has them all. Withheld ones
//!   are only with those who held them before, and with nobody after that.
//! - A grant that is refused changes nothing.

pub mod checkpoint;
#[cfg(test)]
mod props;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{ContainerName, CpuSet, PodUid};

/// The CPUs by holder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuAssignments {
    shared: CpuSet,
    #[serde(default, skip_serializing_if = "CpuSet::is_empty")]
    withheld: CpuSet,
    pods: BTreeMap<PodUid, BTreeMap<ContainerName, CpuSet>>,
}

/// CPUs that cannot be granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("CPUs {cpus} are not free; the shared pool is {shared}")]
pub struct NotFree {
    /// Those that are not free.
    pub cpus: CpuSet,
    /// The shared pool.
    pub shared: CpuSet,
}

impl CpuAssignments {
    /// All of `shared` is shared.
    #[must_use]
    pub fn new(shared: CpuSet) -> Self {
        Self {
            shared,
            withheld: CpuSet::EMPTY,
            pods: BTreeMap::new(),
        }
    }

    /// Takes `cpus` out of the pool for good. Who holds some of them keeps them until its pod is released.
    pub fn withhold(&mut self, cpus: &CpuSet) {
        self.shared -= cpus;
        self.withheld |= cpus;
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

    /// Gives `container` of `pod` the CPUs it holds from now on, instead of those it held. They come from the pool and
    /// from what the pod holds; what nobody holds any more goes back to the pool.
    ///
    /// # Errors
    /// Some are in neither: another pod has them, they are reserved, or they do not exist. Nothing is changed then.
    pub fn grant(&mut self, pod: &PodUid, container: &ContainerName, cpus: CpuSet) -> Result<(), NotFree> {
        let before = self.held_by_pod(pod);
        let not_free = &(&cpus - &self.shared) - &before;
        if !not_free.is_empty() {
            return Err(NotFree {
                cpus: not_free,
                shared: self.shared.clone(),
            });
        }
        self.shared -= &cpus;
        self.pods
            .entry(pod.clone())
            .or_default()
            .insert(container.clone(), cpus);
        let released = &before - &self.held_by_pod(pod);
        self.put_back(&released);
        Ok(())
    }

    /// All that the containers of `pod` hold.
    #[must_use]
    pub fn held_by_pod(&self, pod: &PodUid) -> CpuSet {
        let mut held = CpuSet::EMPTY;
        for cpus in self.pods.get(pod).into_iter().flat_map(BTreeMap::values) {
            held |= cpus;
        }
        held
    }

    /// Takes from `pod` all it holds and puts it back into the pool; gives what that was.
    pub fn release(&mut self, pod: &PodUid) -> CpuSet {
        let released = self.held_by_pod(pod);
        self.pods.remove(pod);
        self.put_back(&released);
        released
    }

    fn put_back(&mut self, cpus: &CpuSet) {
        self.shared |= &(cpus - &self.withheld);
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
        assignments.grant(&pod, &init, cpus("2-4")).unwrap();
        assignments.grant(&pod, &app, cpus("3-5")).unwrap();
        assert_eq!(assignments.shared().to_string(), "0-1,6-7");
        assert_eq!(assignments.held(&pod, &app), Some(&cpus("3-5")));
        // Fewer than before, and others: what neither container holds any more is shared again.
        assignments.grant(&pod, &app, cpus("2,6")).unwrap();
        assert_eq!(assignments.shared().to_string(), "0-1,5,7");
        assert_eq!(assignments.release(&pod), cpus("2-4,6"));
        assert_eq!(assignments, CpuAssignments::new(cpus("0-7")));
        assert!(assignments.release(&pod).is_empty());
    }

    #[test]
    fn what_is_withheld_is_given_back_to_nobody() {
        let cpus = |list: &str| CpuSet::parse(list).unwrap();
        let [pod, other] = ["p", "q"].map(|uid| PodUid::parse(uid).unwrap());
        let name = ContainerName::parse("main").unwrap();
        let mut assignments = CpuAssignments::new(cpus("0-7"));
        assignments.grant(&pod, &name, cpus("1-4")).unwrap();
        assignments.withhold(&cpus("0-1"));
        assert_eq!(assignments.shared(), &cpus("5-7"));
        // It may go on with what it has, but not get it again.
        assignments.grant(&pod, &name, cpus("1-3")).unwrap();
        assert!(assignments.grant(&other, &name, cpus("0")).is_err());
        assignments.grant(&pod, &name, cpus("2-3")).unwrap();
        assert!(assignments.grant(&pod, &name, cpus("1-3")).is_err());
        assignments.release(&pod);
        assert_eq!(assignments.shared(), &cpus("2-7"));
    }

    #[test]
    fn what_is_not_free_is_refused_with_its_numbers() {
        let cpus = |list: &str| CpuSet::parse(list).unwrap();
        let [pod, other] = ["p", "q"].map(|uid| PodUid::parse(uid).unwrap());
        let name = ContainerName::parse("main").unwrap();
        let mut assignments = CpuAssignments::new(cpus("0-7"));
        assignments.grant(&pod, &name, cpus("2-4")).unwrap();
        let before = assignments.clone();
        let refused = assignments.grant(&other, &name, cpus("1-2,4-5,9")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "CPUs 2,4,9 are not free; the shared pool is 0-1,5-7"
        );
        assert_eq!(assignments, before);
    }
}
