//! Memory's part in letting a pod in.

use std::collections::BTreeMap;

use super::choose::MemoryRefusal;
use super::request::{self, Request};
use super::table::Table;
use super::{Holding, MemoryManager};
use crate::decide::numa::admit::{Admission, Unit};
use crate::decide::numa::{Candidates, Hints, Merged, Room};
use crate::model::{Container, ContainerName, NumaMask, Pod};

/// A pod that may have its memory: what its containers are given counts only once it is kept, and is taken back if this
/// is dropped.
#[derive(Debug)]
pub struct MemoryAdmission<'a> {
    manager: &'a mut MemoryManager,
    pod: &'a Pod,
    containers: Vec<&'a Container>,
    /// What there was before; none once it is kept.
    before: Option<(Table, Option<BTreeMap<ContainerName, Holding>>)>,
}

impl<'a> MemoryAdmission<'a> {
    /// Begins with a pod, none of whose containers were looked at.
    #[must_use]
    pub fn new(manager: &'a mut MemoryManager, pod: &'a Pod) -> Self {
        let before = (manager.table.clone(), manager.pods.get(&pod.uid).cloned());
        Self {
            manager,
            pod,
            containers: pod.all_containers().collect(),
            before: Some(before),
        }
    }

    /// Lets the pod keep it. Gives the nodes for each container's `cpuset.mems`; those without are not bound to any.
    #[must_use]
    pub fn keep(mut self) -> BTreeMap<ContainerName, NumaMask> {
        self.before = None;
        let held = self.manager.pods.get(&self.pod.uid).into_iter().flatten();
        held.map(|(name, holding)| (name.clone(), holding.mask)).collect()
    }

    fn request(&self, unit: Unit) -> Request {
        match unit {
            Unit::Pod => request::of_pod(self.pod),
            Unit::Container(index) => self
                .containers
                .get(index)
                .map(|container| request::of_container(self.pod, container))
                .unwrap_or_default(),
        }
    }
}

impl Drop for MemoryAdmission<'_> {
    fn drop(&mut self) {
        let Some((table, held)) = self.before.take() else {
            return;
        };
        self.manager.table = table;
        match held {
            Some(held) => self.manager.pods.insert(self.pod.uid.clone(), held),
            None => self.manager.pods.remove(&self.pod.uid),
        };
    }
}

impl Admission for MemoryAdmission<'_> {
    type Refusal = MemoryRefusal;

    fn room(&self, unit: Unit) -> Room {
        self.manager.room(&self.request(unit))
    }

    fn hints(&self, unit: Unit, candidates: &Candidates) -> Vec<Hints> {
        let container = match unit {
            Unit::Pod => None,
            Unit::Container(index) => self.containers.get(index).map(|container| &container.name),
        };
        let request = self.request(unit);
        self.manager.hints(&self.pod.uid, container, &request, candidates)
    }

    fn allocate(&mut self, index: usize, placed: &Merged) -> Result<(), MemoryRefusal> {
        let request = self.request(Unit::Container(index));
        let Some(container) = self.containers.get(index) else {
            return Ok(());
        };
        self.manager.allocate(
            &self.pod.uid,
            &container.name,
            container.kind,
            &request,
            placed.hint,
        )?;
        Ok(())
    }
}
