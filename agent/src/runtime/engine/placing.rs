//! From the pods that are wanted to cgroups that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tracing::{error, info, warn};

use super::{Engine, Managed, Placed};
use crate::act::cgroups::{ApplyReport, FailedStep, apply};
use crate::act::remove::RemoveProgress;
use crate::decide::admission::{Admission, Refusal, Resource, admit};
use crate::decide::desired::{Inputs, desired_tree};
use crate::decide::plan::{CgroupOp, Scope, Step, plan};
use crate::kernel::cgroup_fs::errno_name;
use crate::model::{BootTime, CgroupPath, Place};

/// When a removal is worth a warning.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(10);

impl Managed {
    /// Whether what the pod requests is not to be had by others.
    pub(super) fn takes_room(&self) -> bool {
        self.has_place() || matches!(self.placed, Placed::Failing(_))
    }

    /// Whether the pod has a cgroup, or is to get one.
    fn takes_part(&self) -> bool {
        self.placed != Placed::Over && (self.run.stop.is_none() || self.has_place())
    }
}

impl Engine {
    /// Decides who gets a place, and makes the tree so.
    pub(super) fn place(&mut self, now: BootTime) {
        self.decide_admission();
        let steps = self.plan();
        if steps.is_empty() {
            self.note_placed(&BTreeMap::new());
            return;
        }
        let report = apply(&*self.ports.cgroups, &steps, &mut self.removals, now);
        self.count(&report, &steps);
        self.reread(&steps);
        let failed = report.failed.iter().chain(&report.overtaken);
        let failed = failed
            .filter_map(|step| Some((pod_of(step)?, step.error.to_string())))
            .collect();
        self.note_placed(&failed);
        if !report.overtaken.is_empty() {
            self.unsettled = true;
        }
    }

    fn decide_admission(&mut self) {
        let running: BTreeSet<_> = self
            .pods
            .iter()
            .filter(|(_, managed)| managed.takes_room())
            .map(|(uid, _)| uid.clone())
            .collect();
        let candidates: Vec<_> = self
            .pods
            .values()
            .filter(|managed| managed.takes_part())
            .map(|managed| &managed.run.pod)
            .collect();
        for (uid, admission) in admit(&candidates, &running, &self.allocatable) {
            let Some(managed) = self.pods.get_mut(&uid) else {
                continue;
            };
            match admission {
                Admission::Admitted => {
                    if matches!(managed.placed, Placed::Refused(_)) {
                        managed.placed = Placed::Not;
                    }
                }
                Admission::Refused(refusal) => {
                    if !matches!(managed.placed, Placed::Refused(_)) {
                        self.counters.pod_refused(refusal_label(&refusal));
                        let reason = refusal.reason();
                        warn!(pod = %managed.run.pod.name, %reason, "pod refused: {}", refusal.message());
                    }
                    managed.placed = Placed::Refused(refusal);
                }
            }
        }
    }

    fn plan(&mut self) -> Vec<Step> {
        let pods: Vec<_> = self
            .pods
            .values()
            .filter(|managed| managed.takes_part() && !matches!(managed.placed, Placed::Refused(_)))
            // What an instance before left must be gone first: nothing of it is inherited.
            .filter(|managed| !self.removals.covers(&managed.cgroup))
            .map(|managed| &managed.run.pod)
            .collect();
        self.desired = desired_tree(&Inputs {
            pods: &pods,
            node: &self.settings.capacity,
            policy: &self.settings.policy,
            available: &self.settings.controllers,
            lifted: &self.tripwires.lifted(),
        });
        let mut steps = plan(&self.desired, &self.actual);
        // A container that an update removed keeps its cgroup while it ends.
        for step in &mut steps {
            step.ops
                .retain(|op| !matches!(op, CgroupOp::Remove { path } if self.still_ends(path)));
        }
        steps.retain(|step| !step.ops.is_empty());
        // What is being removed already needs no second word.
        steps.retain(|step| match &step.scope {
            Scope::Pod(path) => {
                let only_removes = step.ops.iter().all(|op| matches!(op, CgroupOp::Remove { .. }));
                let under_way = only_removes && self.removals.covers(path);
                !under_way && !self.is_spared(path)
            }
            Scope::Tree => true,
        });
        steps
    }

    fn still_ends(&self, path: &CgroupPath) -> bool {
        match self.desired.layout.place(path) {
            Some(Place::Container(_, uid, name)) => {
                let managed = self.pods.get(&uid);
                managed.is_some_and(|managed| managed.run.containers.contains_key(&name))
            }
            _ => false,
        }
    }

    /// Whether a pod's cgroup without a pod is left alone: some manifest cannot be read, and it may be in there.
    fn is_spared(&self, path: &CgroupPath) -> bool {
        let unknown = match self.desired.layout.place(path) {
            Some(Place::Pod(_, uid)) => !self.pods.contains_key(&uid),
            _ => false,
        };
        unknown && self.spare_unknown
    }

    fn note_placed(&mut self, failed: &BTreeMap<CgroupPath, String>) {
        for managed in self.pods.values_mut().filter(|managed| managed.takes_part()) {
            if matches!(managed.placed, Placed::Refused(_)) {
                continue;
            }
            managed.placed = match failed.get(&managed.cgroup) {
                _ if self.removals.covers(&managed.cgroup) => Placed::Not,
                // A pod that runs keeps running: its step was undone, and what it had stands.
                Some(why) if managed.has_place() => Placed::Behind(why.clone()),
                Some(why) => Placed::Failing(why.clone()),
                None if self.actual.cgroups.contains_key(&managed.cgroup) => {
                    if managed.placed != Placed::Yes {
                        managed.wake_at = Some(BootTime::default());
                    }
                    Placed::Yes
                }
                None => Placed::Not,
            };
        }
    }

    fn count(&self, report: &ApplyReport, steps: &[Step]) {
        for step in steps.iter().filter(|step| report.done.contains(&step.scope)) {
            for op in &step.ops {
                if let CgroupOp::Write { file, .. } = op {
                    self.counters.written(*file);
                }
            }
        }
        for failed in &report.failed {
            if let CgroupOp::Write { file, .. } = &failed.op {
                let errno = failed
                    .error
                    .errno()
                    .map_or_else(|| "drift".to_owned(), errno_name);
                self.counters.write_failed(*file, &errno);
            }
            error!(error = %failed.error, undone = failed.left_over.is_empty(), "a step on the cgroups failed");
            for left_over in &failed.left_over {
                error!(error = %left_over, "what the step did could not be taken back");
            }
        }
    }

    /// Pods that wait for their place are looked at again at every pass.
    pub(super) fn retry_placing(&mut self) {
        self.unsettled |= self.pods.values().any(|managed| {
            let waits = matches!(
                managed.placed,
                Placed::Not | Placed::Failing(_) | Placed::Behind(_)
            );
            managed.takes_part() && waits
        });
    }

    /// Carries removals on.
    pub(super) fn poll_removals(&mut self, now: BootTime) {
        if self.removals.is_empty() {
            return;
        }
        for (path, progress) in self.removals.poll(&*self.ports.cgroups, now, REMOVAL_PATIENCE) {
            match progress {
                RemoveProgress::Done => {
                    self.actual.cgroups.retain(|known, _| !known.is_within(&path));
                    self.unsettled = true;
                    info!(cgroup = %path, "cgroup removed");
                }
                RemoveProgress::Waiting => {}
                RemoveProgress::Stuck { pids, since } => {
                    warn!(cgroup = %path, ?pids, %since, "killed processes do not go; tried again every second");
                }
                RemoveProgress::Failed(error) => error!(%error, "a cgroup cannot be removed; tried again"),
            }
        }
    }
}

/// The refusal's reason, as one of a closed set that may be a label.
fn refusal_label(refusal: &Refusal) -> &'static str {
    match refusal.resource {
        Resource::Cpu => "OutOfcpu",
        Resource::Memory => "OutOfmemory",
        Resource::Pods => "OutOfpods",
        Resource::HugePages(_) => "OutOfhugepages",
    }
}

fn pod_of(step: &FailedStep) -> Option<CgroupPath> {
    match &step.scope {
        Scope::Pod(path) => Some(path.clone()),
        Scope::Tree => None,
    }
}
