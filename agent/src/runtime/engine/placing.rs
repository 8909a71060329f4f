//! From the pods that are wanted to cgroups that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tracing::{error, info, warn};

use super::allotting::allot;
use super::{Engine, Managed, Placed};
use crate::act::cgroups::{ApplyReport, apply};
use crate::act::remove::RemoveProgress;
use crate::decide::admission::admit;
use crate::decide::desired::{Inputs, desired_tree};
use crate::decide::kept_out::kept_out;
use crate::decide::plan::{CgroupOp, Scope, Step, plan};
use crate::kernel::cgroup_fs::errno_name;
use crate::kernel::fault;
use crate::model::{BootTime, CgroupPath, Place, PodRefusal};

/// When a removal is worth a warning.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(10);

impl Managed {
    /// Whether what the pod requests is not to be had by others.
    pub(super) fn takes_room(&self) -> bool {
        self.has_place() || matches!(self.placed, Placed::Failing(_))
    }

    /// Whether the pod has a cgroup, or is to get one.
    pub(super) fn takes_part(&self) -> bool {
        self.placed != Placed::Over && (self.run.stop.is_none() || self.has_place())
    }

    /// Whether it was let in, and takes part.
    pub(super) fn is_let_in(&self) -> bool {
        self.takes_part() && !matches!(self.placed, Placed::Refused(_))
    }
}

impl Engine {
    /// Decides who gets a place, and makes the tree so.
    pub(super) fn place(&mut self, now: BootTime) {
        if !self.restored {
            return;
        }
        self.decide_admission();
        fault::point("cpus.given");
        let steps = self.plan();
        self.end_partitions(&steps);
        if steps.is_empty() {
            self.note_placed(&BTreeMap::new(), &BTreeSet::new());
            self.note_held_back(now);
            self.begin_partitions();
            return;
        }
        let most = self.places_left();
        let report = apply(&*self.ports.cgroups, &steps, most, &mut self.removals, now);
        fault::point("cpus.written");
        let (steps, left) = steps.split_at(report.begun);
        let pods = report.done.iter().filter(|scope| matches!(scope, Scope::Pod(_)));
        self.turn.placed(pods.count(), !left.is_empty());
        self.count(&report, steps);
        self.reread(steps);
        let failed = report.failed.iter().chain(&report.overtaken);
        let failed = failed
            .filter_map(|step| Some((pod_of(&step.scope)?, step.error.to_string())))
            .collect();
        let left = left.iter().filter_map(|step| pod_of(&step.scope)).collect();
        self.note_placed(&failed, &left);
        self.note_held_back(now);
        self.begin_partitions();
        // What was given up now may be given to those who wait for it.
        let before = std::mem::take(&mut self.cpusets);
        self.decide_cpusets();
        self.unsettled |= !report.overtaken.is_empty() || self.cpusets != before;
    }

    fn decide_admission(&mut self) {
        let uids = |of: fn(&Managed) -> bool| {
            let pods = self.pods.iter().filter(move |(_, managed)| of(managed));
            pods.map(|(uid, _)| uid.clone()).collect::<BTreeSet<_>>()
        };
        let running = uids(Managed::takes_room);
        let given = uids(|managed| !managed.given.is_empty());
        let mut candidates: Vec<_> = self
            .pods
            .values()
            .filter(|managed| managed.takes_part())
            .map(|managed| &managed.run.pod)
            .collect();
        // Who runs stays; of the others nobody takes room from those who may come in.
        let mut waiting = Vec::new();
        candidates.retain(|pod| {
            let refusal = kept_out(pod, self.conditions).filter(|_| !running.contains(&pod.uid));
            waiting.extend(refusal.as_ref().map(|why| (pod.uid.clone(), Err(why.clone()))));
            refusal.is_none()
        });
        let allotment = &mut self.allotment;
        let mut lacking = BTreeMap::new();
        let answers = admit(&candidates, &running, &self.allocatable, |pod| {
            let Some(allotment) = allotment.as_mut().filter(|_| !given.contains(&pod.uid)) else {
                return Ok(None);
            };
            match allot(allotment, pod) {
                // It runs, and goes on without.
                Err(refusal) if running.contains(&pod.uid) => {
                    lacking.insert(pod.uid.clone(), refusal);
                    Ok(None)
                }
                answer => answer.map(Some),
            }
        });
        for (uid, answer) in answers.into_iter().chain(waiting) {
            let Some(managed) = self.pods.get_mut(&uid) else {
                continue;
            };
            match answer {
                Ok(given) => {
                    if matches!(managed.placed, Placed::Refused(_)) {
                        managed.placed = Placed::Not;
                    }
                    if let Some(given) = given {
                        managed.given = given;
                        self.unwritten = true;
                    }
                    let lacks = lacking.remove(&uid);
                    if let (None, Some(lacks)) = (&managed.lacks, &lacks) {
                        let pod = &managed.run.pod.name;
                        warn!(%pod, "runs without what it asks for: {}", lacks.message);
                    }
                    managed.lacks = lacks;
                }
                Err(refusal) => {
                    if !matches!(managed.placed, Placed::Refused(_)) {
                        self.counters.pod_refused(refusal_label(&refusal));
                        let reason = &refusal.reason;
                        warn!(pod = %managed.run.pod.name, %reason, "pod refused: {}", refusal.message);
                    }
                    managed.given.clear();
                    managed.placed = Placed::Refused(refusal);
                }
            }
        }
    }

    fn plan(&mut self) -> Vec<Step> {
        self.decide_cpusets();
        let pods: Vec<_> = self
            .pods
            .values()
            .filter(|managed| managed.is_let_in())
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
            cpusets: &self.cpusets,
        });
        self.heed_guard();
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

    fn note_placed(&mut self, failed: &BTreeMap<CgroupPath, String>, left: &BTreeSet<CgroupPath>) {
        for managed in self.pods.values_mut().filter(|managed| managed.takes_part()) {
            if matches!(managed.placed, Placed::Refused(_)) {
                continue;
            }
            managed.placed = match failed.get(&managed.cgroup) {
                _ if self.removals.covers(&managed.cgroup) => Placed::Not,
                _ if left.contains(&managed.cgroup) => match &managed.placed {
                    Placed::Yes => Placed::Later,
                    other => other.clone(),
                },
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
                Placed::Not | Placed::Failing(_) | Placed::Behind(_) | Placed::Later
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
fn refusal_label(refusal: &PodRefusal) -> &'static str {
    const REASONS: [&str; 8] = [
        "Evicted",
        "OutOfcpu",
        "OutOfmemory",
        "OutOfpods",
        "OutOfhugepages",
        "TopologyAffinityError",
        "SMTAlignmentError",
        "UnexpectedAdmissionError",
    ];
    // Only that of huge pages goes on, with their size.
    let mut known = REASONS
        .into_iter()
        .filter(|reason| refusal.reason.starts_with(reason));
    known.next().unwrap_or("other")
}

fn pod_of(scope: &Scope) -> Option<CgroupPath> {
    match scope {
        Scope::Pod(path) => Some(path.clone()),
        Scope::Tree => None,
    }
}
