//! What the engine and the guard over memory have to do with each other.
//!
//! The guard has to know whom it may take ([`Engine::roster`]), and the engine must not put right what the guard does: the
//! files that the guard writes are the guard's until it hands them back. Less CPU for BestEffort pods is the guard's wish
//! and the engine's write, since it never blocks.

use std::collections::BTreeSet;

use tracing::info;

use super::{Engine, Managed};
use crate::decide::oom_score_adj::oom_score_adj;
use crate::decide::resources::{memory, pod_requests, storage};
use crate::decide::shield::shield;
use crate::model::pressure::{Conditions, PodFacts};
use crate::model::{
    BootTime, CgroupId, CgroupPath, ContainerName, ControlFile, CpuPeriod, CpuQuota, KnobValue, Limit,
    MilliCpu, OomScoreAdj, QosClass,
};
use crate::state::containers::Run;

/// The period of the quota for BestEffort pods.
const PERIOD: CpuPeriod = CpuPeriod(100_000);
/// The kernel's smallest quota.
const SMALLEST_QUOTA: u64 = 1000;

/// A container of a pod that has a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterContainer {
    /// Its name.
    pub name: ContainerName,
    /// Its cgroup.
    pub path: CgroupPath,
    /// `oom_score_adj` that its processes get.
    pub oom_score_adj: OomScoreAdj,
}

/// A pod that has a place.
#[derive(Debug, Clone, PartialEq)]
pub struct RosterPod {
    /// What is known of it.
    pub facts: PodFacts,
    /// Its cgroup.
    pub path: CgroupPath,
    /// Its containers.
    pub containers: Vec<RosterContainer>,
    /// When it is gone, if it is ending.
    pub ends_at: Option<BootTime>,
}

impl Engine {
    /// The pods that have a place, if anything about that may have changed since the last call.
    pub fn take_roster(&mut self) -> Option<Vec<RosterPod>> {
        if !std::mem::take(&mut self.roster_stale) {
            return None;
        }
        let pods = self.pods.values().filter(|managed| managed.has_place());
        let listed = pods.filter_map(|managed| {
            let cgroup = self.actual.cgroups.get(&managed.cgroup)?;
            Some(self.listed(managed, cgroup.id))
        });
        Some(listed.collect())
    }

    fn listed(&self, managed: &Managed, cgroup: CgroupId) -> RosterPod {
        let pod = &managed.run.pod;
        let containers: Vec<_> = pod
            .all_containers()
            .map(|container| RosterContainer {
                name: container.name.clone(),
                path: self
                    .settings
                    .policy
                    .layout
                    .container(managed.class, &pod.uid, &container.name),
                oom_score_adj: oom_score_adj(pod, container, self.settings.capacity.memory),
            })
            .collect();
        let limit = |file| {
            let desired = self.desired.cgroups.get(&managed.cgroup);
            match desired.and_then(|desired| desired.knobs.get(&file)) {
                Some(KnobValue::Memory(limit)) => *limit,
                _ => Limit::Max,
            }
        };
        let requests = pod_requests(pod);
        let runs = managed.run.containers.values();
        let started = runs.filter_map(|container| match container.run {
            Run::Running { since, .. } => Some(since),
            _ => None,
        });
        let highest = containers.iter().map(|container| container.oom_score_adj).max();
        RosterPod {
            facts: PodFacts {
                uid: pod.uid.clone(),
                namespace: pod.namespace.clone(),
                name: pod.name.clone(),
                cgroup,
                class: managed.class,
                priority: pod.priority,
                request: memory(&requests),
                storage_request: storage(&requests),
                high: limit(ControlFile::MemoryHigh),
                max: limit(ControlFile::MemoryMax),
                oom_score_adj: highest.unwrap_or(OomScoreAdj(0)),
                grace: pod.termination_grace,
                shield: shield(pod, &self.settings.protected_namespaces),
                started_at: started.min().unwrap_or_default(),
            },
            path: managed.cgroup.clone(),
            ends_at: managed.run.ends().map(|stop| stop.at()),
            containers,
        }
    }

    /// From now on somebody else sets this file; or not any more, and it is set again as it should be.
    pub fn leave_to_guard(&mut self, path: CgroupPath, file: ControlFile, leave: bool, now: BootTime) {
        let known = (path, file);
        if leave {
            self.left_to_guard.insert(known);
        } else if self.left_to_guard.remove(&known) {
            self.reread_paths([&known.0]);
        }
        self.unsettled = true;
        self.settle(now);
    }

    /// The node is short of this now: pods that do not run yet may have to wait until it is not.
    pub fn set_conditions(&mut self, conditions: Conditions, now: BootTime) {
        if self.conditions == conditions {
            return;
        }
        info!(%conditions, "what the node is short of has changed");
        self.conditions = conditions;
        self.unsettled = true;
        self.settle(now);
    }

    /// Holds BestEffort pods to so much CPU, or to nothing.
    pub fn hold_best_effort(&mut self, to: Option<MilliCpu>, now: BootTime) {
        self.best_effort_held = Some(to);
        self.unsettled = true;
        self.settle(now);
    }

    /// An agent that was killed may have left BestEffort pods with less CPU: that is taken back.
    pub(super) fn release_best_effort(&mut self) {
        let path = self.settings.policy.layout.qos(QosClass::BestEffort);
        let level = self.actual.cgroups.get(&path);
        let limit = level.and_then(|level| level.values.get(&ControlFile::CpuMax));
        if limit.is_some_and(|limit| !limit.starts_with("max")) {
            self.best_effort_held = Some(None);
        }
    }

    /// Takes out of what is wanted what the guard sets, and puts in what it wishes.
    pub(super) fn heed_guard(&mut self) {
        let desired = &mut self.desired.cgroups;
        self.left_to_guard.retain(|(path, _)| desired.contains_key(path));
        for (path, file) in &self.left_to_guard {
            if let Some(cgroup) = desired.get_mut(path) {
                cgroup.knobs.remove(file);
            }
        }
        // One that was killed gets all CPU there is, so that it is gone soon.
        let dying = self
            .pods
            .values()
            .filter(|managed| managed.run.evicted.is_some() && managed.has_place());
        let dying: BTreeSet<_> = dying.map(|managed| &managed.cgroup).collect();
        for (path, cgroup) in desired.iter_mut() {
            if dying.iter().any(|pod| path.is_within(pod)) {
                cgroup.knobs.remove(&ControlFile::CpuMax);
            }
        }
        let path = self.settings.policy.layout.qos(QosClass::BestEffort);
        let dies = dying.iter().any(|pod| pod.is_within(&path));
        if let (Some(held), Some(level)) = (self.best_effort_held, desired.get_mut(&path)) {
            // Nor is it held by its level, for as long as it is there.
            let quota = held.filter(|_| !dies).map_or(Limit::Max, |cpu| {
                Limit::At(CpuQuota((cpu.0 * PERIOD.0 / 1000).max(SMALLEST_QUOTA)))
            });
            level
                .knobs
                .insert(ControlFile::CpuMax, KnobValue::CpuMax(quota, PERIOD));
        }
    }
}
