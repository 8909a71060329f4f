//! Which pods there are to be: what the manifests ask for, against what is known.
//!
//! A pod is an instance: one that was told to stop, or that changed its QoS class and with it its cgroup, goes first,
//! and what the manifests ask for by then comes after it. A change that requests more than there is room for waits until
//! there is, and the pod runs on as it was.

use std::collections::BTreeMap;

use tracing::warn;

use super::{Engine, Managed, Placed};
use crate::decide::admission::defer_update;
use crate::decide::qos::qos_class;
use crate::model::{BootTime, PodUid};
use crate::observe::pods::SourcedPod;
use crate::state::containers::PodRun;

impl Engine {
    /// Takes the pods that the manifests ask for now, and what is wrong with them. While `complete` is false, pods
    /// that are missing may be in what could not be read, and are left alone.
    pub fn set_pods(
        &mut self,
        wanted: &BTreeMap<PodUid, SourcedPod>,
        errors: Vec<String>,
        complete: bool,
        now: BootTime,
    ) {
        self.manifest_errors = errors;
        // What was spared has to go once no manifest can be hiding it.
        self.unsettled |= self.spare_unknown && complete;
        self.spare_unknown = !complete;
        self.wanted.clone_from(wanted);
        for uid in wanted.keys() {
            self.take_change(uid, now);
        }
        if complete {
            for (uid, known) in &mut self.pods {
                if !wanted.contains_key(uid) && known.run.stop.is_none() {
                    known.stop(now);
                }
            }
        }
        self.settle(now);
    }

    /// Makes a known pod what the manifests ask for, if there is room for it.
    fn take_change(&mut self, uid: &PodUid, now: BootTime) {
        let Some(sourced) = self.wanted.get(uid) else {
            return;
        };
        let Some(known) = self.pods.get(uid) else {
            self.take_on(uid, now);
            return;
        };
        if known.run.stop.is_some() {
            return;
        }
        let differs = known.run.pod != sourced.pod;
        let deferred = if differs && known.takes_room() {
            let others = self
                .pods
                .iter()
                .filter(|(other, pod)| *other != uid && pod.takes_room());
            let others: Vec<_> = others.map(|(_, managed)| &managed.run.pod).collect();
            defer_update(&known.run.pod, &sourced.pod, &others, &self.allocatable)
        } else {
            None
        };
        let Some(known) = self.pods.get_mut(uid) else {
            return;
        };
        let before = std::mem::replace(&mut known.deferred, deferred);
        if !differs {
            return;
        }
        if known.class != qos_class(&sourced.pod) {
            known.stop(now);
            return;
        }
        if let Some(refusal) = &known.deferred {
            if before.is_none() {
                let pod = &known.run.pod.name;
                warn!(%pod, "the change waits, the pod runs on as it was: {}", refusal.message());
            }
            return;
        }
        known.run.update(sourced.pod.clone(), Some(sourced.file.clone()));
        known.unsaved = true;
        known.wake_at = Some(now);
        if known.placed == Placed::Over && !known.is_over() {
            known.placed = Placed::Not;
        }
        self.unsettled = true;
    }

    /// There may be room now for changes that wait.
    pub(super) fn take_deferred(&mut self, now: BootTime) {
        let waiting = self.pods.iter().filter(|(_, managed)| managed.deferred.is_some());
        let waiting: Vec<_> = waiting.map(|(uid, _)| uid.clone()).collect();
        for uid in waiting {
            self.take_change(&uid, now);
        }
    }

    /// Makes a wanted pod one of those that are known. One that runs already, of which only the record is lost, keeps
    /// its place and its processes.
    pub(super) fn take_on(&mut self, uid: &PodUid, now: BootTime) {
        let Some(sourced) = self.wanted.get(uid) else {
            return;
        };
        let run = PodRun::new(sourced.pod.clone(), Some(sourced.file.clone()));
        let mut managed = Managed::new(run, &self.settings.policy.layout);
        let cgroup = managed.cgroup.clone();
        let runs = self
            .actual
            .cgroups
            .get(&cgroup)
            .is_some_and(|actual| actual.populated);
        let found = runs && !self.removals.covers(&cgroup);
        if found {
            managed.placed = Placed::Yes;
        }
        self.pods.insert(uid.clone(), managed);
        self.unsettled = true;
        if found {
            self.adopt(uid, now);
        }
    }
}

impl Managed {
    fn stop(&mut self, now: BootTime) {
        self.run.request_stop(now, None);
        self.unsaved = true;
        self.wake_at = Some(now);
    }
}
