//! Readings of the cgroups into the usage store, and OOM kills into records.

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::{debug, warn};

use super::{Engine, OOM_RECORDS};
use crate::metrics::KernelKill;
use crate::model::{
    BootTime, Bytes, CgroupId, CgroupPath, ContainerName, ControlFile, Limit, OomRecord, Place, PodUid,
};
use crate::observe::parse;
use crate::state::containers::ContainerEvent;
use crate::state::usage::Reading;

/// When a sample was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleTime {
    /// Since boot.
    pub boot: BootTime,
    /// Since the Unix epoch.
    pub wall: Duration,
}

/// What an eBPF probe says of a process that the OOM killer took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OomVictim {
    /// When.
    pub at: BootTime,
    /// Its process id.
    pub pid: u32,
    /// Its name, made printable.
    pub comm: String,
    /// Its cgroup.
    pub cgroup: CgroupId,
    /// The process whose allocation hit the limit.
    pub trigger_pid: Option<u32>,
    /// What the victim's cgroup used.
    pub usage: Option<Bytes>,
    /// The victim's cgroup's own limit.
    pub limit: Option<Limit<Bytes>>,
}

impl Engine {
    /// The agent's cgroups that are there: what to sample.
    pub fn live_cgroups(&self) -> impl Iterator<Item = (&CgroupPath, CgroupId)> {
        self.actual.cgroups.iter().map(|(path, cgroup)| (path, cgroup.id))
    }

    /// Takes one sample of the cgroups in, and forgets the cgroups that are no more.
    pub fn record_sample(&mut self, at: SampleTime, readings: impl IntoIterator<Item = (CgroupId, Reading)>) {
        for (cgroup, reading) in readings {
            if let Err(late) = self.usage.record(cgroup, at.boot, reading) {
                debug!(%late, "a late reading is dropped");
            }
        }
        // Ids are never used again, so what is known of a cgroup that is gone only takes space.
        let cgroups = self.actual.cgroups.len();
        if self.usage.len().max(self.oom_counted.len()) > cgroups {
            let live: BTreeSet<_> = self.actual.cgroups.values().map(|cgroup| cgroup.id).collect();
            self.usage.retain(&live);
            self.oom_counted.retain(|id, _| live.contains(id));
        }
        self.sampled_at = Some(at);
        let usage = |path: &CgroupPath| {
            let cgroup = self.actual.cgroups.get(path)?;
            // Cache that can go makes nobody wait.
            Some(self.usage.get(cgroup.id)?.reading.memory.as_ref()?.working_set)
        };
        self.unsettled |= self.tripwires.observe(at.boot, &self.desired, usage);
    }

    /// A cgroup has lost its last process: what waits for that need not look again.
    pub fn cgroup_emptied(&mut self, id: CgroupId, now: BootTime) {
        let place = self.actual.cgroups.iter().find(|(_, cgroup)| cgroup.id == id);
        let Some((uid, _)) = place.and_then(|(path, _)| self.container_at(path)) else {
            return;
        };
        if let Some(managed) = self
            .pods
            .get_mut(&uid)
            .filter(|managed| managed.look_again_at.is_some())
        {
            managed.look_again_at = Some(now);
        }
    }

    /// Events were lost: everything is looked at anew.
    pub fn look_anew(&mut self) {
        self.read_all();
        self.unsettled = true;
    }

    /// Takes an OOM kill in.
    pub fn oom_victim(&mut self, victim: OomVictim, now: BootTime) {
        let place = self
            .actual
            .cgroups
            .iter()
            .find(|(_, cgroup)| cgroup.id == victim.cgroup);
        let owner = place.and_then(|(path, _)| self.container_at(path));
        if let Some((uid, name)) = &owner {
            self.count_oom(uid, victim.cgroup, 1);
            self.apply_fact(uid, name, ContainerEvent::OomKilled(victim.at), now);
        }
        let record = OomRecord {
            at: victim.at.0,
            container: owner.and_then(|(uid, name)| {
                let pod = &self.pods.get(&uid)?.run.pod;
                Some((uid, pod.namespace.clone(), pod.name.clone(), name))
            }),
            pid: Some(victim.pid),
            comm: victim.comm,
            trigger_pid: victim.trigger_pid,
            usage: victim.usage,
            limit: victim.limit,
        };
        match &record.container {
            Some((_, namespace, pod, container)) => {
                warn!(%namespace, %pod, %container, pid = victim.pid, comm = %record.comm, "OOM kill");
            }
            None => warn!(pid = victim.pid, comm = %record.comm, "OOM kill outside the agent's tree"),
        }
        self.keep(record);
    }

    /// The OOM killer chose within a cgroup, or among all processes. At the limit of a pod that is the pod's own affair;
    /// anywhere above somebody had to go, and the agent did not see to it.
    pub fn oom_domain(&self, cgroup: Option<CgroupId>) {
        let place = cgroup.and_then(|id| {
            let mut known = self.actual.cgroups.iter();
            let (path, _) = known.find(|(_, cgroup)| cgroup.id == id)?;
            self.settings.policy.layout.place(path)
        });
        let scope = match place {
            Some(Place::Pod(..) | Place::Container(..)) => KernelKill::Pod,
            _ => KernelKill::Node,
        };
        self.counters.pressure().kernel_killed(scope, 1);
    }

    /// Reads how often the OOM killer struck in a container's cgroup, where no probe told of it: at the end of its
    /// process, so that its end is told for what it was.
    pub(super) fn note_oom(&mut self, uid: &PodUid, name: &ContainerName, now: BootTime) {
        let Some(managed) = self.pods.get(uid) else { return };
        let path = self.settings.policy.layout.container(managed.class, uid, name);
        let Some((id, kills)) = self.kills_in(&path) else {
            return;
        };
        let known = self.oom_counted.get(&id).copied().unwrap_or_default();
        if kills <= known {
            return;
        }
        self.apply_fact(uid, name, ContainerEvent::OomKilled(now), now);
        if self.oom_probe {
            // The probe's own record comes with the victim's figures.
            return;
        }
        self.count_oom(uid, id, kills - known);
        let Some(pod) = self.pods.get(uid).map(|managed| managed.run.pod.clone()) else {
            return;
        };
        let record = OomRecord {
            at: now.0,
            container: Some((uid.clone(), pod.namespace, pod.name, name.clone())),
            pid: None,
            comm: String::new(),
            trigger_pid: None,
            usage: None,
            limit: self.limit_of(&path),
        };
        self.keep(record);
    }

    /// The kills so far in the cgroup of a container that runs on from an earlier agent are not this one's to tell.
    pub(super) fn take_kills_as_told(&mut self, path: &CgroupPath) {
        if let Some((id, kills)) = self.kills_in(path) {
            self.oom_counted.insert(id, kills);
        }
    }

    /// How often the OOM killer struck in a cgroup since it was made.
    fn kills_in(&self, path: &CgroupPath) -> Option<(CgroupId, u64)> {
        let id = self.actual.cgroups.get(path)?.id;
        let text = self.ports.cgroups.read(path, ControlFile::MemoryEvents).ok()?;
        Some((id, parse::key(&text, "oom_kill")?))
    }

    /// Whether OOM victims are told by a probe; without one the cgroup files serve.
    pub fn set_oom_probe(&mut self, attached: bool) {
        self.oom_probe = attached;
    }

    fn keep(&mut self, record: OomRecord) {
        if self.oom_kills.len() == OOM_RECORDS {
            self.oom_kills.pop_front();
        }
        self.oom_kills.push_back(record);
    }

    fn count_oom(&mut self, uid: &PodUid, cgroup: CgroupId, kills: u64) {
        *self.oom_counted.entry(cgroup).or_default() += kills;
        if let Some(managed) = self.pods.get(uid) {
            self.counters.oom_killed(managed.class, kills);
        }
    }

    fn container_at(&self, path: &CgroupPath) -> Option<(PodUid, ContainerName)> {
        match self.settings.policy.layout.place(path)? {
            Place::Container(_, uid, name) => Some((uid, name)),
            _ => None,
        }
    }

    fn limit_of(&self, path: &CgroupPath) -> Option<Limit<Bytes>> {
        parse::bytes_limit(
            self.actual
                .cgroups
                .get(path)?
                .values
                .get(&ControlFile::MemoryMax)?,
        )
    }
}
