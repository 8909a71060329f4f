//! Which pods there are to be: what the manifests ask for, against what is known.
//!
//! A pod is an instance: one that was told to stop, or that changed its QoS class and with it its cgroup, goes first,
//! and what the manifests ask for by then comes after it.

use std::collections::BTreeMap;

use super::{Engine, Managed, Placed};
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
        for (uid, sourced) in wanted {
            match self.pods.get_mut(uid) {
                Some(known) if known.run.stop.is_some() || known.run.pod == sourced.pod => {}
                Some(known) if known.class != qos_class(&sourced.pod) => known.stop(now),
                Some(known) => {
                    known.run.update(sourced.pod.clone(), Some(sourced.file.clone()));
                    known.unsaved = true;
                    known.wake_at = Some(now);
                    if known.placed == Placed::Over && !known.is_over() {
                        known.placed = Placed::Not;
                    }
                    self.unsettled = true;
                }
                None => self.take_on(uid, now),
            }
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
