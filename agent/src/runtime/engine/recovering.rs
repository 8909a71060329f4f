//! The agent was started again: what runs becomes its own again.
//!
//! Records say what was accepted and what ran; the kernel says what runs. A record whose process is still the same
//! one in its container's cgroup is adopted. A pod's cgroup without a record or manifest is removed with what runs in
//! it, since everything below the root is the agent's; while some manifest cannot be read it is spared.

use tracing::{info, warn};

use super::{Engine, Managed, Placed};
use crate::kernel::process::Process;
use crate::model::{BootTime, CgroupPath, ContainerName, PodUid, ProcessIdentity};
use crate::state::containers::{ContainerEvent, PodRun};

impl Engine {
    /// Reads the tree and the records, and adopts what runs. To be called once, before the first pods are set.
    pub fn recover(&mut self, now: BootTime) {
        self.read_all();
        let records = self.ports.records.load();
        for problem in &records.problems {
            warn!(%problem, "a record cannot be used");
        }
        for run in records.runs {
            let uid = run.pod.uid.clone();
            let mut managed = Managed::new(run, &self.settings.policy.layout);
            if self.actual.cgroups.contains_key(&managed.cgroup) {
                managed.placed = Placed::Yes;
            }
            managed.wake_at = Some(now);
            self.pods.insert(uid.clone(), managed);
            self.adopt(&uid, now);
        }
    }

    fn adopt(&mut self, uid: &PodUid, now: BootTime) {
        let Some(managed) = self.pods.get(uid) else { return };
        let unconfirmed: Vec<_> = managed.run.unconfirmed().map(|(name, known)| (name.clone(), known)).collect();
        let class = managed.class;
        for (name, known) in unconfirmed {
            let path = self.settings.policy.layout.container(class, uid, &name);
            let event = match self.find(&path, known) {
                Some(process) => {
                    let identity = process.identity;
                    info!(pod = %uid, container = %name, pid = identity.pid, "container adopted");
                    self.hold(uid, &name, process);
                    ContainerEvent::Adopted(identity)
                }
                None => ContainerEvent::Lost,
            };
            self.confirm(uid, &name, event, now);
        }
    }

    fn confirm(&mut self, uid: &PodUid, name: &ContainerName, event: ContainerEvent, now: BootTime) {
        if event == ContainerEvent::Lost {
            self.note_oom(uid, name, now);
        }
        self.apply_fact(uid, name, event, now);
    }

    /// The process of a container: the one that the record names, or the first one of its cgroup.
    fn find(&self, path: &CgroupPath, known: Option<ProcessIdentity>) -> Option<Process> {
        let directory = self.ports.cgroups.open_dir(path).ok()?;
        let identity = match known {
            Some(identity) => Some(identity),
            None => self.ports.processes.first_in(&directory).unwrap_or_else(|error| {
                warn!(%error, "a container's processes cannot be listed");
                None
            }),
        };
        self.ports.processes.adopt(identity?, &directory).unwrap_or_else(|error| {
            warn!(%error, "a running process cannot be adopted");
            None
        })
    }

    /// Whether a pod that no manifest asks for is in the records.
    #[must_use]
    pub fn knows(&self, uid: &PodUid) -> bool {
        self.pods.contains_key(uid)
    }
}

/// What the records hold: pods that could be read, and what is wrong with the others.
#[derive(Debug, Default)]
pub struct Records {
    /// The pods.
    pub runs: Vec<PodRun>,
    /// One line a record that cannot be used.
    pub problems: Vec<String>,
}
