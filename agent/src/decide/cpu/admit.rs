//! Giving a pod's containers their CPUs: all or nothing.

use super::explain::{Explanation, Grant};
use super::hints::Offer;
use super::policy::StaticPolicy;
use super::refusal::CpuRefusal;
use super::wish::{Wish, Wishes};
use crate::decide::numa::admit::{self, Admission, Refused, Unit};
use crate::decide::numa::{Candidates, Hints, Merged, Resource, Room, TopologyManager};
use crate::model::{Container, ContainerKind, CpuSet, Pod, PodUid, TopologyHint};
use crate::state::cpus::{CpuAssignments, NotFree};

/// A pod that may have its CPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The pod.
    pub pod: PodUid,
    /// What its containers get; those without a grant run in the shared pool.
    pub grants: Vec<Grant>,
    /// The shared pool once they have it.
    pub shared: CpuSet,
    /// By container, in the order of the manifest, where the topology manager placed it.
    pub placed: Vec<Merged>,
}

impl Admitted {
    /// The assignments with what the containers get.
    ///
    /// # Errors
    /// They are not those it was decided on, and something is not free any more.
    pub fn applied(&self, assignments: &CpuAssignments) -> Result<CpuAssignments, NotFree> {
        let mut applied = assignments.clone();
        for grant in &self.grants {
            applied.grant(&self.pod, &grant.container, grant.cpus.clone())?;
        }
        Ok(applied)
    }
}

impl StaticPolicy {
    /// What the containers of `pod` get, if all can have what they want. With other resources to be aligned, let
    /// [`CpuAdmission`] take part in [`admit::admit`] instead.
    ///
    /// # Errors
    /// The topology manager refuses, or a container cannot have its CPUs.
    pub fn admit(
        &self,
        manager: &TopologyManager,
        assignments: &CpuAssignments,
        pod: &Pod,
    ) -> Result<Admitted, Refused<CpuRefusal>> {
        let mut admission = CpuAdmission::new(self, assignments, pod);
        let placed = admit::admit(manager, admission.containers.len(), &mut admission)?;
        Ok(admission.finish(placed))
    }
}

/// The CPUs' part in letting a pod in.
#[derive(Debug)]
pub struct CpuAdmission<'a> {
    policy: &'a StaticPolicy,
    assignments: &'a CpuAssignments,
    pod: &'a Pod,
    containers: Vec<&'a Container>,
    wishes: Wishes,
    /// The shared pool with what the containers were given so far taken out.
    shared: CpuSet,
    /// What init containers were given, for those after them.
    again: CpuSet,
    grants: Vec<Grant>,
}

impl<'a> CpuAdmission<'a> {
    /// Begins with a pod, none of whose containers were looked at.
    #[must_use]
    pub fn new(policy: &'a StaticPolicy, assignments: &'a CpuAssignments, pod: &'a Pod) -> Self {
        Self {
            policy,
            assignments,
            pod,
            containers: pod.all_containers().collect(),
            wishes: Wishes::of(pod, policy.options().mixed_pods),
            shared: assignments.shared().clone(),
            again: CpuSet::EMPTY,
            grants: Vec::new(),
        }
    }

    /// What came of it, with where the containers were placed.
    #[must_use]
    pub fn finish(self, placed: Vec<Merged>) -> Admitted {
        Admitted {
            pod: self.pod.uid.clone(),
            grants: self.grants,
            shared: self.shared,
            placed,
        }
    }

    /// What `container` held before.
    fn held(&self, container: &Container) -> Option<&'a CpuSet> {
        self.assignments.held(&self.pod.uid, &container.name)
    }

    fn free(&self) -> CpuSet {
        self.policy.free(&self.shared)
    }

    fn container_choices(&self, index: usize, candidates: &Candidates) -> Option<Vec<TopologyHint>> {
        let Wish::Exclusive(count) = self.wishes.container(index) else {
            return None;
        };
        let held = self
            .containers
            .get(index)
            .and_then(|container| self.held(container));
        Some(match held {
            // What it has cannot become more or fewer by letting the pod in again.
            Some(held) if held.len() != count => Vec::new(),
            Some(held) => self.choices(held, &CpuSet::EMPTY, count, candidates),
            None => self.choices(&self.free(), &self.again, count, candidates),
        })
    }

    fn pod_choices(&self, candidates: &Candidates) -> Option<Vec<TopologyHint>> {
        let count = self.wishes.at_once();
        if count == 0 {
            return None;
        }
        let mut held_already = CpuSet::EMPTY;
        for (index, container) in self.containers.iter().enumerate() {
            let Some(held) = self.held(container) else {
                continue;
            };
            if held.len() != self.wishes.container(index).count() {
                return Some(Vec::new());
            }
            held_already |= held;
        }
        Some(if held_already.len() == count {
            self.choices(&held_already, &CpuSet::EMPTY, count, candidates)
        } else {
            self.choices(&self.free(), &(&self.again | &held_already), count, candidates)
        })
    }

    fn choices(
        &self,
        free: &CpuSet,
        again: &CpuSet,
        count: usize,
        candidates: &Candidates,
    ) -> Vec<TopologyHint> {
        self.policy.hints(Offer { free, again }, count, candidates)
    }
}

impl Admission for CpuAdmission<'_> {
    type Refusal = CpuRefusal;

    fn room(&self, _: Unit) -> Room {
        Room {
            by_node: vec![self.policy.by_node(&(&self.free() | &self.again))],
            groups: Vec::new(),
        }
    }

    fn hints(&self, unit: Unit, candidates: &Candidates) -> Vec<Hints> {
        let choices = match unit {
            Unit::Container(index) => self.container_choices(index, candidates),
            Unit::Pod => self.pod_choices(candidates),
        };
        vec![Hints {
            resource: Resource::Cpu,
            choices,
        }]
    }

    fn allocate(&mut self, index: usize, placed: &Merged) -> Result<(), CpuRefusal> {
        let (Wish::Exclusive(count), Some(container)) =
            (self.wishes.container(index), self.containers.get(index))
        else {
            return Ok(());
        };
        let (cpus, why) = match self.held(container) {
            Some(held) => (held.clone(), Explanation::Kept),
            None => {
                self.policy.check_cores(&self.shared, count)?;
                let free = self.free();
                let offer = Offer {
                    free: &free,
                    again: &self.again,
                };
                self.policy.choose(offer, count, placed.hint.mask)?
            }
        };
        self.shared -= &cpus;
        if container.kind == ContainerKind::Init {
            self.again |= &cpus;
        } else {
            self.again -= &cpus;
        }
        self.grants.push(Grant {
            container: container.name.clone(),
            cpus,
            why,
        });
        Ok(())
    }
}
