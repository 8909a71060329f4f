//! Which pods there are to be: what the manifests ask for, against what is known.
//!
//! A pod is an instance: one that was told to stop, or that changed its QoS class and with it its cgroup, goes first,
//! and what the manifests ask for by then comes after it. A change that requests more than there is room for waits until
//! there is, and the pod runs on as it was.

use std::collections::BTreeMap;

use tracing::warn;

use super::{Engine, Managed, Placed};
use crate::decide::admission::defer_update;
use crate::decide::allotment::Allotment;
use crate::decide::qos::qos_class;
use crate::model::{BootTime, ContainerPlacement, Pod, PodRefusal, PodUid};
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
        self.restore_cpus();
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
        let same_class = known.class == qos_class(&sourced.pod);
        let room = if differs && same_class && known.takes_room() {
            self.room_for_change(known, &sourced.pod)
        } else {
            Ok(None)
        };
        let Some(known) = self.pods.get_mut(uid) else {
            return;
        };
        let (deferred, changed) = match room {
            Ok(changed) => (None, changed),
            Err(refusal) => (Some(refusal), None),
        };
        let before = std::mem::replace(&mut known.deferred, deferred);
        if !differs {
            return;
        }
        if !same_class {
            known.stop(now);
            return;
        }
        if let Some(refusal) = &known.deferred {
            if before.is_none() {
                let pod = &known.run.pod.name;
                warn!(%pod, "the change waits, the pod runs on as it was: {}", refusal.message);
            }
            return;
        }
        self.unwritten = true;
        match changed {
            Some((allotment, given)) => {
                self.allotment = Some(allotment);
                known.given = given;
            }
            // It has nothing, or no place yet: it is let in anew.
            None => {
                known.given.clear();
                if let Some(allotment) = &mut self.allotment {
                    allotment.release(uid);
                }
            }
        }
        known.run.update(sourced.pod.clone(), Some(sourced.file.clone()));
        known.unsaved = true;
        known.wake_at = Some(now);
        if known.placed == Placed::Over && !known.is_over() {
            known.placed = Placed::Not;
        }
        self.unsettled = true;
    }

    /// What would be given out if a pod that takes room changed, and to itself; none where nothing is.
    ///
    /// # Errors
    /// It would request more than there is, or ask for what is not to be had.
    fn room_for_change(
        &self,
        known: &Managed,
        after: &Pod,
    ) -> Result<Option<(Allotment, Vec<ContainerPlacement>)>, PodRefusal> {
        let others = self.pods.values().map(|other| (other, &other.run.pod));
        let others: Vec<_> = others
            .filter(|(other, pod)| pod.uid != after.uid && other.takes_room())
            .map(|(_, pod)| pod)
            .collect();
        if let Some(refusal) = defer_update(&known.run.pod, after, &others, &self.allocatable) {
            return Err(refusal.into());
        }
        let Some(mut allotment) = self.allotment.clone() else {
            return Ok(None);
        };
        let given = allotment.update(&known.run.pod, after)?;
        Ok(Some((allotment, given)))
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
