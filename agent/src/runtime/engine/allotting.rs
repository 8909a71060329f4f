//! CPUs and memory of one's own: given out when a pod is let in, taken back once it is gone, and true before it starts.
//!
//! `decide::allotment` says who gets what, `decide::cpusets` what each cgroup may have of it at this moment. Here both are
//! asked at the right time: what pods have that take no part any more goes back first, so that others can have it, and no
//! container is started before the kernel shows that its CPUs are its own.

use tracing::info;

use super::Engine;
use crate::decide::allotment::Allotment;
use crate::decide::cpusets::{self, cpusets};
use crate::model::{BootTime, ContainerPlacement, Place, Pod, PodRefusal};

impl Engine {
    /// Takes back what pods had that are refused, over, or gone with their cgroups.
    pub(super) fn take_back(&mut self) {
        let Some(allotment) = &mut self.allotment else {
            return;
        };
        let let_in = self.pods.iter().filter(|(_, managed)| managed.is_let_in());
        // One of an agent before this one, that nobody asks for: it may run on its CPUs until its cgroup is gone.
        let places = self
            .actual
            .cgroups
            .keys()
            .map(|path| self.settings.policy.layout.place(path));
        let strays = places.filter_map(|place| match place {
            Some(Place::Pod(_, uid)) if !self.pods.contains_key(&uid) => Some(uid),
            _ => None,
        });
        let keep = let_in.map(|(uid, _)| uid.clone()).chain(strays).collect();
        self.unwritten |= allotment.retain(&keep);
    }

    /// Decides which CPUs each cgroup may have now.
    pub(super) fn decide_cpusets(&mut self) {
        let pods: Vec<_> = self
            .pods
            .values()
            .filter(|managed| managed.is_let_in())
            .map(|managed| (&managed.run.pod, managed.given.as_slice()))
            .collect();
        self.cpusets = cpusets(&cpusets::Inputs {
            layout: &self.settings.policy.layout,
            allotment: self.allotment.as_ref(),
            pods: &pods,
            actual: &self.actual,
        });
    }

    /// Finds out which pods wait for CPUs. Those that need not any more live on at once.
    pub(super) fn note_held_back(&mut self, now: BootTime) {
        if self.allotment.is_none() {
            return;
        }
        self.note_own(now);
        let layout = &self.settings.policy.layout;
        for managed in self.pods.values_mut() {
            let names = managed.run.containers.keys();
            let paths = names.map(|name| layout.container(managed.class, &managed.run.pod.uid, name));
            let held_back = paths
                .into_iter()
                .filter(|_| managed.has_place())
                .find_map(|path| self.cpusets.held_back(&path, layout, &self.actual));
            let before = std::mem::replace(&mut managed.held_back, held_back);
            let pod = &managed.run.pod.name;
            match (&before, &managed.held_back) {
                (None, Some(why)) => info!(%pod, "waits for its CPUs: {why}"),
                (Some(_), None) => managed.wake_at = Some(now),
                _ => {}
            }
        }
    }
}

/// Gives a pod that is let in what it asks for.
///
/// # Errors
/// Something is not to be had.
pub(super) fn allot(allotment: &mut Allotment, pod: &Pod) -> Result<Vec<ContainerPlacement>, PodRefusal> {
    let given = allotment.admit(pod)?;
    for placement in &given {
        if let Some(cpus) = &placement.cpus {
            let (container, why) = (&placement.name, &placement.why);
            info!(pod = %pod.name, %container, %cpus, why, "CPUs given");
        }
    }
    Ok(given)
}
