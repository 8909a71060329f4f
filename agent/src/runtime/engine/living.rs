//! Each pod's containers: started, ended, killed and buried as `decide::lifecycle` says.

use std::time::Duration;

use tracing::{info, warn};

use super::{Engine, Held, Managed, Placed};
use crate::act::launch::{self, Outcome};
use crate::decide::command::{LaunchPlace, launch_spec, pod_log_dir};
use crate::decide::lifecycle::{self, Action, pod_phase};
use crate::decide::oom_score_adj::oom_score_adj;
use crate::kernel::fault;
use crate::kernel::process::Process;
use crate::model::{BootTime, ContainerName, ExitStatus, LaunchSpec, PodPhase, PodUid, ProcessIdentity};
use crate::state::containers::{ContainerEvent, LastExit, Outcome as Exit, PodRun, Run};

/// How often a pod's lifecycle is asked again at once because what it decided had an outcome.
const ROUNDS: usize = 64;
/// How soon a killed cgroup is looked at again; becoming empty takes the kernel milliseconds.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl Engine {
    /// Lets every pod that is due live on, those that are to end before all others. Once as many containers were started
    /// as are for one turn, the others stay due.
    pub(super) fn live_all(&mut self, now: BootTime) {
        let due = self.pods.iter().filter(|(_, managed)| managed.is_due(now));
        let mut due: Vec<_> = due
            .map(|(uid, managed)| (managed.run.ends().is_none(), uid.clone()))
            .collect();
        due.sort();
        for (goes_on, uid) in due {
            if goes_on && !self.turn.may_start() {
                return;
            }
            self.live(&uid, now);
        }
    }

    fn live(&mut self, uid: &PodUid, now: BootTime) {
        self.look_again(uid, now);
        for _ in 0..ROUNDS {
            let Some(managed) = self.pods.get_mut(uid) else {
                return;
            };
            let before = managed.run.clone();
            let step = match managed.placed {
                Placed::Behind(_) | Placed::Later => lifecycle::hold(&mut managed.run, now),
                _ if managed.may_meet_others() => lifecycle::hold(&mut managed.run, now),
                _ => lifecycle::step(&mut managed.run, now),
            };
            managed.unsaved |= managed.run != before;
            managed.wake_at = step.wake_at;
            if managed.phase != step.phase {
                info!(pod = %managed.run.pod.name, from = ?managed.phase, to = ?step.phase, "pod's phase");
                managed.phase = step.phase;
            }
            if step.finished {
                self.bury(uid, now);
                return;
            }
            if step.actions.is_empty() {
                break;
            }
            for action in step.actions {
                self.perform(uid, &action, now);
            }
        }
        self.end_for_good(uid);
    }

    fn perform(&mut self, uid: &PodUid, action: &Action, now: BootTime) {
        let (Action::Start(name) | Action::Terminate(name) | Action::KillCgroup(name)) = action;
        let Some(managed) = self.pods.get(uid) else { return };
        let pod = managed.run.pod.name.clone();
        let path = self.settings.policy.layout.container(managed.class, uid, name);
        if matches!(action, Action::Start(_)) {
            self.turn.started();
        }
        let outcome = match action {
            Action::Start(_) => match self.launch_spec(managed, name) {
                Ok(spec) => launch::start(&*self.ports.cgroups, &*self.ports.processes, &path, &spec),
                Err(why) => {
                    warn!(%pod, container = %name, why, "container not started");
                    self.apply_fact(uid, name, ContainerEvent::StartFailed(why), now);
                    return;
                }
            },
            Action::Terminate(_) => match self.process_of(managed, name) {
                Some(process) => launch::terminate(&*self.ports.processes, process),
                None => Outcome::Terminated,
            },
            Action::KillCgroup(_) => launch::kill(&*self.ports.cgroups, &path),
        };
        match outcome {
            Outcome::Started {
                process,
                oom_score_adj,
            } => {
                fault::point("container.started");
                let identity = process.identity;
                self.counters.container_started();
                info!(%pod, container = %name, pid = identity.pid, ?oom_score_adj, "container started");
                self.hold(uid, name, process);
                if let Some(cgroup) = self.actual.cgroups.get_mut(&path) {
                    cgroup.populated = true;
                }
                self.apply_fact(uid, name, ContainerEvent::Started(identity), now);
            }
            Outcome::Occupied => self.apply_fact(uid, name, ContainerEvent::Occupied, now),
            Outcome::StartFailed(error) => {
                warn!(%pod, container = %name, %error, "container not started");
                self.apply_fact(uid, name, ContainerEvent::StartFailed(error.to_string()), now);
            }
            Outcome::Terminated => {}
            Outcome::Cleared => self.apply_fact(uid, name, ContainerEvent::Cleared, now),
            Outcome::Killed => self.look_again_at(uid, now),
            Outcome::Refused(error) => {
                warn!(%pod, container = %name, %error, "not done; tried again");
                self.look_again_at(uid, now);
            }
        }
    }

    fn process_of(&self, managed: &Managed, name: &ContainerName) -> Option<&Process> {
        match managed.run.containers.get(name)?.run {
            Run::Running { process, .. } => self.processes.get(&process).map(|held| &held.process),
            _ => None,
        }
    }

    fn launch_spec(&self, managed: &Managed, name: &ContainerName) -> Result<LaunchSpec, String> {
        let pod = &managed.run.pod;
        let container = pod.all_containers().find(|container| container.name == *name);
        let container = container.ok_or("the manifest has no such container any more")?;
        let place = LaunchPlace {
            oom_score_adj: oom_score_adj(pod, container, self.settings.capacity.memory),
            log_dir: &self.settings.log_dir,
            log_cap: self.settings.log_cap,
        };
        launch_spec(pod, container, place).map_err(|error| error.to_string())
    }

    /// Takes a fact about a container.
    pub(super) fn apply_fact(
        &mut self,
        uid: &PodUid,
        name: &ContainerName,
        event: ContainerEvent,
        now: BootTime,
    ) {
        let Some(managed) = self.pods.get_mut(uid) else {
            return;
        };
        let exit_of = |run: &PodRun| run.containers.get(name).and_then(|c| c.last_exit.clone());
        let exited = matches!(event, ContainerEvent::Exited(..) | ContainerEvent::Lost);
        let before = exit_of(&managed.run);
        managed.run.apply(name, event, now);
        managed.unsaved = true;
        self.roster_stale = true;
        managed.wake_at = Some(now);
        // One that an update removed is gone for good, and so may its cgroup be.
        self.unsettled |= !managed.run.containers.contains_key(name);
        if exited && let Some(exit) = exit_of(&managed.run).filter(|exit| before.as_ref() != Some(exit)) {
            let reason = exit_label(&exit);
            self.counters.container_ended(reason);
            info!(pod = %managed.run.pod.name, container = %name, reason, outcome = ?exit.outcome, "container ended");
        }
    }

    /// A process that the engine holds on to has ended, or may have: asks the kernel. `told` is what the kernel told
    /// an eBPF probe, for a process that has another parent. What follows from it is for [`settle`](Self::settle),
    /// once for all that ended together.
    pub fn process_ended(&mut self, identity: ProcessIdentity, told: Option<ExitStatus>, now: BootTime) {
        let Some(held) = self.processes.get(&identity) else {
            return;
        };
        let status = match self.ports.processes.try_wait(&held.process) {
            Ok(None) => return,
            Ok(Some(ExitStatus::Unknown)) => told.unwrap_or(ExitStatus::Unknown),
            Ok(Some(status)) => status,
            Err(error) => {
                warn!(%error, "how a process ended cannot be told");
                ExitStatus::Unknown
            }
        };
        let Some(Held { pod, container, .. }) = self.processes.remove(&identity) else {
            return;
        };
        self.note_oom(&pod, &container, now);
        self.apply_fact(&pod, &container, ContainerEvent::Exited(identity, status), now);
    }

    fn look_again_at(&mut self, uid: &PodUid, now: BootTime) {
        if let Some(managed) = self.pods.get_mut(uid) {
            managed.look_again_at = Some(now.after(LOOK_AGAIN));
        }
    }

    /// Looks whether a cgroup that was killed is empty by now.
    fn look_again(&mut self, uid: &PodUid, now: BootTime) {
        let Some(managed) = self.pods.get_mut(uid) else {
            return;
        };
        if managed.look_again_at.take_if(|at| *at <= now).is_none() {
            return;
        }
        let clearing: Vec<_> = managed
            .run
            .containers
            .iter()
            .filter(|(_, container)| container.run == Run::Clearing)
            .map(|(name, _)| {
                (
                    name.clone(),
                    self.settings.policy.layout.container(managed.class, uid, name),
                )
            })
            .collect();
        for (name, path) in clearing {
            match launch::is_empty(&*self.ports.cgroups, &path) {
                Ok(true) => self.apply_fact(uid, &name, ContainerEvent::Cleared, now),
                Err(error) if error.is_gone() => self.apply_fact(uid, &name, ContainerEvent::Cleared, now),
                Ok(false) => self.look_again_at(uid, now),
                Err(error) => warn!(%error, "a container's cgroup cannot be read"),
            }
        }
    }

    pub(super) fn hold(&mut self, uid: &PodUid, name: &ContainerName, process: Process) {
        let identity = process.identity;
        self.fresh.push(identity);
        self.processes.insert(
            identity,
            Held {
                process,
                pod: uid.clone(),
                container: name.clone(),
            },
        );
    }

    /// The pod has ended by itself for good: its cgroups go, and what it held is free.
    fn end_for_good(&mut self, uid: &PodUid) {
        let Some(managed) = self.pods.get_mut(uid) else {
            return;
        };
        if managed.has_place() && managed.run.stop.is_none() && managed.is_over() {
            managed.placed = Placed::Over;
            managed.unsaved = true;
            self.unsettled = true;
        }
    }

    /// The pod was told to stop and has no process any more: cgroups, logs and record go with it. One that is wanted
    /// again by now begins anew.
    fn bury(&mut self, uid: &PodUid, now: BootTime) {
        let Some(managed) = self.pods.remove(uid) else {
            return;
        };
        fault::point("pod.gone");
        info!(pod = %managed.run.pod.name, %uid, "pod gone");
        self.unsettled = true;
        let logs = pod_log_dir(&self.settings.log_dir, &managed.run.pod);
        if let Err(error) = self.ports.logs.remove_pod(&logs) {
            warn!(%error, "logs of a pod that is gone stay behind");
        }
        if let Err(error) = self.ports.records.remove(uid) {
            warn!(%error, "the record of a pod that is gone stays behind");
        }
        if let Err(error) = self.removals.begin(&*self.ports.cgroups, &managed.cgroup, now) {
            warn!(%error, "the cgroup of a pod that is gone cannot be found; tried again");
        }
        self.take_on(uid, now);
    }

    /// Writes the records that are out of date.
    pub(super) fn save(&mut self) {
        for (uid, managed) in self.pods.iter_mut().filter(|(_, managed)| managed.unsaved) {
            match self.ports.records.save(uid, &managed.run) {
                Ok(_) => managed.unsaved = false,
                Err(error) => warn!(%error, "a pod's record cannot be written; tried again"),
            }
        }
    }
}

/// How a container ended, as one of a closed set that may be a label.
fn exit_label(exit: &LastExit) -> &'static str {
    match exit.outcome {
        _ if exit.oom_killed => "OOMKilled",
        _ if exit.succeeded() => "Completed",
        Exit::NotStarted(_) => "StartError",
        Exit::Ended(_) => "Error",
    }
}

impl Managed {
    fn is_due(&self, now: BootTime) -> bool {
        self.next_wake().is_some_and(|at| at <= now)
    }

    /// When its lifecycle is to be looked at; never while it waits for its place.
    pub(super) fn next_wake(&self) -> Option<BootTime> {
        let may_live = self.has_place() || self.placed == Placed::Over || self.run.stop.is_some();
        let wakes = [self.wake_at, self.look_again_at].into_iter().flatten();
        wakes.min().filter(|_| may_live)
    }

    /// Whether it has cgroups of its own.
    pub(super) fn has_place(&self) -> bool {
        matches!(self.placed, Placed::Yes | Placed::Behind(_) | Placed::Later)
    }

    /// Whether it has ended for good, and has no process any more.
    pub(super) fn is_over(&self) -> bool {
        let ended = matches!(pod_phase(&self.run), PodPhase::Succeeded | PodPhase::Failed);
        ended && self.run.containers.values().all(|c| c.run == Run::Down)
    }
}
