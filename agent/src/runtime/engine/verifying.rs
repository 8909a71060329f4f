//! That nobody else runs on a container's own CPUs before it starts there, and who did while it ran.
//!
//! The kernel's lists say who may run on a CPU from now on; a task that is on it may still have to leave. So before a
//! container starts on CPUs that it was not seen alone on, the caller looks who is there ([`Engine::unseen`]) and says
//! ([`Engine::seen`]). Only tasks of other pods hold it up: what runs outside the agent's root, and threads of the kernel,
//! are bound by no list of ours and come and go; what they take is counted instead.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::info;

use super::{Engine, LOOK_FOR_STRANGERS, Managed};
use crate::kernel::fault;
use crate::model::{
    BootTime, CgroupId, CgroupPath, CpuId, CpuSet, ForeignReport, Intruder, OwnerCgroup, Shown, Stranger,
};
use crate::state::containers::Run;

/// Whom a CPU belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The container's cgroup, for the kernel.
    pub cgroup: OwnerCgroup,
    /// The same, below the agent's root.
    pub path: CgroupPath,
}

impl Engine {
    /// Whom each CPU belongs to that a container has to itself.
    #[must_use]
    pub fn owners(&self) -> BTreeMap<CpuId, Owner> {
        let mut owners = BTreeMap::new();
        for (path, cpus) in self.cpusets.own() {
            let Some(cgroup) = self.actual.cgroups.get(path) else {
                continue;
            };
            let owner = Owner {
                cgroup: OwnerCgroup {
                    id: cgroup.id,
                    depth: u16::try_from(path.depth()).unwrap_or(u16::MAX),
                },
                path: path.clone(),
            };
            owners.extend(cpus.iter().map(|cpu| (cpu, owner.clone())));
        }
        owners
    }

    /// CPUs that containers wait for until nobody else is seen there.
    #[must_use]
    pub fn unseen(&self) -> CpuSet {
        let mut unseen = CpuSet::EMPTY;
        for managed in self.pods.values().filter(|managed| managed.is_to_be_looked_at()) {
            unseen |= &(&managed.own - &managed.alone_on);
        }
        unseen
    }

    /// These `strangers`, and no others, were on these CPUs at this moment.
    pub fn seen(&mut self, cpus: &CpuSet, strangers: &[Intruder], now: BootTime) {
        let agent = self.actual.cgroups.get(&self.settings.policy.layout.agent());
        let agent = agent.map(|cgroup| cgroup.id);
        for managed in self
            .pods
            .values_mut()
            .filter(|managed| managed.is_to_be_looked_at())
        {
            let waited_for = &managed.own - &managed.alone_on;
            if !waited_for.is_subset(cpus) {
                continue;
            }
            let pod = &managed.run.pod.name;
            let holds_up = |stranger: &&Intruder| {
                let itself = stranger.cgroup.is_some() && stranger.cgroup == agent;
                stranger.kind == Stranger::Pod && !itself && waited_for.contains(stranger.cpu)
            };
            if let Some(stranger) = strangers.iter().find(holds_up) {
                let Intruder { cpu, pid, comm, .. } = stranger;
                info!(%pod, %cpu, pid, comm = %Shown(comm), "waits for a task of another pod to leave its CPU");
                managed.look_again_at = Some(now.after(LOOK_FOR_STRANGERS));
                continue;
            }
            fault::point("cpus.alone");
            managed.alone_on = managed.own.clone();
            managed.wake_at = Some(now);
            if let Some(granted) = managed.granted_at {
                let took = now.since(granted);
                managed.clean_after = Some(took);
                self.counters.cpu_clean(took);
                info!(%pod, cpus = %managed.own, ?took, "alone on its CPUs");
            }
        }
    }

    /// What others used of containers' own CPUs, by the container's cgroup, and the kernel's threads by name.
    pub fn note_foreign(
        &mut self,
        foreign: BTreeMap<CgroupId, ForeignReport>,
        kernel_threads: Vec<(String, Duration)>,
    ) {
        self.foreign = foreign;
        self.kernel_threads = kernel_threads;
    }

    /// Notes which CPUs each pod has to itself by now.
    pub(super) fn note_own(&mut self, now: BootTime) {
        let Some(allotment) = &self.allotment else { return };
        for (uid, managed) in &mut self.pods {
            let own = allotment.assignments().held_by_pod(uid);
            if own == managed.own {
                continue;
            }
            let runs = managed
                .run
                .containers
                .values()
                .any(|c| matches!(c.run, Run::Running { .. }));
            if managed.own.is_empty() && runs {
                // It was there before the agent was, and nobody was let onto its CPUs meanwhile.
                managed.alone_on = own.clone();
            } else if !own.is_subset(&managed.own) {
                managed.granted_at = Some(now);
                managed.clean_after = None;
                self.counters.cpu_granted();
            }
            managed.alone_on = &managed.alone_on & &own;
            managed.own = own;
        }
    }
}

impl Managed {
    /// Whether nothing may be started because somebody else may be on its CPUs.
    pub(super) fn may_meet_others(&self) -> bool {
        self.held_back.is_some() || !self.own.is_subset(&self.alone_on)
    }

    fn is_to_be_looked_at(&self) -> bool {
        self.has_place() && self.held_back.is_none() && !self.own.is_subset(&self.alone_on)
    }
}
