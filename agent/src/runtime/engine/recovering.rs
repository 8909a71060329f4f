//! The agent was started again: what runs becomes its own again.
//!
//! Records say what was accepted and what ran; the kernel says what runs. A record whose process is still the same
//! one in its container's cgroup is adopted. A pod's cgroup without a record or manifest is removed with what runs in
//! it, since everything below the root is the agent's; while some manifest cannot be read it is spared.

use tracing::{error, info, warn};

use super::{Engine, Managed, Placed};
use crate::act::launch;
use crate::model::{BootTime, PodUid};
use crate::state::containers::{ContainerEvent, PodRun};

impl Engine {
    /// Reads the tree and the records, and adopts what runs. To be called once, before the first pods are set.
    pub fn recover(&mut self, now: BootTime) {
        self.read_all();
        self.release_best_effort();
        self.load_cpus();
        let loaded = match self.ports.records.load::<PodRun>() {
            Ok(loaded) => loaded,
            Err(error) => {
                error!(%error, "the records cannot be read; pods are known again from their manifests");
                return;
            }
        };
        for problem in &loaded.put_aside {
            warn!(%problem, "a record cannot be used and was put aside");
        }
        for (uid, run) in loaded.records {
            let mut managed = Managed::new(run, &self.settings.policy.layout);
            if managed.run.stop.is_none() && managed.is_over() {
                managed.placed = Placed::Over;
            } else if self.actual.cgroups.contains_key(&managed.cgroup) {
                managed.placed = Placed::Yes;
            }
            self.pods.insert(uid.clone(), managed);
            self.adopt(&uid, now);
        }
    }

    /// Takes hold of what runs of a pod.
    pub(super) fn adopt(&mut self, uid: &PodUid, now: BootTime) {
        let Some(managed) = self.pods.get(uid) else { return };
        let unconfirmed: Vec<_> = managed
            .run
            .unconfirmed()
            .map(|(name, known)| (name.clone(), known))
            .collect();
        let class = managed.class;
        for (name, known) in unconfirmed {
            let path = self.settings.policy.layout.container(class, uid, &name);
            let found = launch::adopt(&*self.ports.cgroups, &*self.ports.processes, &path, known);
            let found = found.unwrap_or_else(|error| {
                warn!(%error, "a running container cannot be adopted");
                None
            });
            let event = match found {
                Some(process) => {
                    let identity = process.identity;
                    info!(pod = %uid, container = %name, pid = identity.pid, "container adopted");
                    self.hold(uid, &name, process);
                    self.take_kills_as_told(&path);
                    ContainerEvent::Adopted(identity)
                }
                None => ContainerEvent::Lost,
            };
            if event == ContainerEvent::Lost {
                self.note_oom(uid, &name, now);
            }
            self.apply_fact(uid, &name, event, now);
        }
    }
}
