//! Each pod's containers: started, ended, killed and buried as `decide::lifecycle` says.

use std::time::Duration;

use tracing::{info, warn};

use super::{Engine, Held, Managed, Placed};
use crate::decide::command::pod_log_dir;
use crate::decide::lifecycle::{self, Action};
use crate::model::{BootTime, ContainerName, ContainerPhase, ExitStatus, PodPhase, PodUid, ProcessIdentity};
use crate::state::containers::{ContainerEvent, Run};

/// How often a pod's lifecycle is asked again at once because what it decided had an outcome.
const ROUNDS: usize = 64;
/// How soon a killed cgroup is looked at again; becoming empty takes the kernel milliseconds.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

impl Engine {
    /// Lets every pod that is due live on.
    pub(super) fn live_all(&mut self, now: BootTime) {
        let due: Vec<_> = self
            .pods
            .iter()
            .filter(|(_, managed)| managed.is_due(now))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in due {
            self.live(&uid, now);
        }
    }

    fn live(&mut self, uid: &PodUid, now: BootTime) {
        for _ in 0..ROUNDS {
            let Some(managed) = self.pods.get_mut(uid) else { return };
            let before = managed.run.clone();
            let step = lifecycle::step(&mut managed.run, now);
            managed.unsaved |= managed.run != before;
            managed.wake_at = step.wake_at;
            if managed.phase != step.phase {
                info!(pod = %managed.run.pod.name, from = ?managed.phase, to = ?step.phase, "pod's phase");
                managed.phase = step.phase;
            }
            if step.finished {
                self.bury(uid);
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
        let Some(managed) = self.pods.get_mut(uid) else { return };
        let (name, event) = match action {
            Action::Start(name) => (name, self.start(uid, name)),
            Action::Terminate(name) => (name, self.terminate(uid, name)),
            Action::KillCgroup(name) => {
                let path = self.settings.policy.layout.container(managed.class, uid, name);
                let event = self.clear(&path);
                if event.is_none() {
                    managed.wake_soon(now);
                }
                (name, event)
            }
        };
        if let Some(event) = event {
            self.apply_fact(uid, name, event, now);
        }
    }

    /// Takes a fact about a container.
    pub(super) fn apply_fact(&mut self, uid: &PodUid, name: &ContainerName, event: ContainerEvent, now: BootTime) {
        let Some(managed) = self.pods.get_mut(uid) else { return };
        let ended = matches!(event, ContainerEvent::Exited(..) | ContainerEvent::Lost);
        managed.run.apply(name, event, now);
        managed.unsaved = true;
        managed.wake_at = Some(now);
        if ended && let Some(known) = managed.run.containers.get(name) {
            let phase = lifecycle::container_phase(known);
            let reason = match &phase {
                ContainerPhase::Waiting { reason, .. } | ContainerPhase::Terminated { reason, .. } => reason.as_str(),
                ContainerPhase::Running { .. } => "Running",
            };
            self.counters.container_ended(ended_reason(known.last_exit.as_ref()));
            info!(pod = %managed.run.pod.name, container = %name, ?phase, reason, "container ended");
        }
    }

    /// A process that the engine holds on to has ended, or may have: asks the kernel. `told` is what the kernel told
    /// an eBPF probe, for a process that has another parent.
    pub fn process_ended(&mut self, identity: ProcessIdentity, told: Option<ExitStatus>, now: BootTime) {
        let Some(held) = self.processes.get(&identity) else { return };
        let status = match self.ports.processes.try_wait(&held.process) {
            Ok(None) => return,
            Ok(Some(ExitStatus::Unknown)) => told.unwrap_or(ExitStatus::Unknown),
            Ok(Some(status)) => status,
            Err(error) => {
                warn!(%error, "how a process ended cannot be told");
                ExitStatus::Unknown
            }
        };
        let Some(Held { pod, container, .. }) = self.processes.remove(&identity) else { return };
        self.note_oom(&pod, &container, now);
        self.apply_fact(&pod, &container, ContainerEvent::Exited(identity, status), now);
        self.settle(now);
    }

    fn start(&mut self, uid: &PodUid, name: &ContainerName) -> Option<ContainerEvent> {
        let managed = self.pods.get(uid)?;
        let started = crate::act::launch::start(
            &*self.ports.cgroups,
            &*self.ports.processes,
            &self.launch_request(managed, name)?,
        );
        match started {
            Ok(process) => {
                self.counters.container_started();
                let identity = process.identity;
                info!(pod = %managed.run.pod.name, container = %name, pid = identity.pid, "container started");
                self.hold(uid, name, process);
                Some(ContainerEvent::Started(identity))
            }
            Err(error) => {
                warn!(pod = %managed.run.pod.name, container = %name, %error, "container not started");
                Some(ContainerEvent::StartFailed(error.to_string()))
            }
        }
    }

    pub(super) fn hold(&mut self, uid: &PodUid, name: &ContainerName, process: crate::kernel::process::Process) {
        let identity = process.identity;
        self.fresh.push(identity);
        self.processes.insert(identity, Held { process, pod: uid.clone(), container: name.clone() });
    }

    fn terminate(&mut self, uid: &PodUid, name: &ContainerName) -> Option<ContainerEvent> {
        let Some(Run::Running { process, .. }) = self.pods.get(uid)?.run.containers.get(name).map(|c| c.run) else {
            return None;
        };
        let held = self.processes.get(&process)?;
        if let Err(error) = self.ports.processes.signal(&held.process, SIGTERM) {
            warn!(container = %name, %error, "SIGTERM could not be sent; SIGKILL follows the grace period");
        }
        None
    }

    /// The pod has ended by itself for good: its cgroups go, and what it held is free.
    fn end_for_good(&mut self, uid: &PodUid) {
        let Some(managed) = self.pods.get_mut(uid) else { return };
        let over = matches!(managed.phase, PodPhase::Succeeded | PodPhase::Failed);
        let empty = managed.run.containers.values().all(|c| c.run == Run::Down);
        if over && empty && managed.placed == Placed::Yes {
            managed.placed = Placed::Over;
            managed.unsaved = true;
            self.unsettled = true;
        }
    }

    /// The pod was told to stop and has no process any more: cgroups, logs and record go with it.
    fn bury(&mut self, uid: &PodUid) {
        let Some(managed) = self.pods.remove(uid) else { return };
        info!(pod = %managed.run.pod.name, %uid, "pod gone");
        self.unsettled = true;
        let logs = pod_log_dir(&self.settings.log_dir, &managed.run.pod);
        if let Err(error) = self.ports.logs.remove_pod(&logs) {
            warn!(%error, "logs of a pod that is gone stay behind");
        }
        if let Err(error) = self.ports.records.remove(uid) {
            warn!(%error, "the record of a pod that is gone stays behind");
        }
    }

    /// Writes the records that are out of date.
    pub(super) fn save(&mut self) {
        for managed in self.pods.values_mut().filter(|managed| managed.unsaved) {
            match self.ports.records.save(&managed.run) {
                Ok(()) => managed.unsaved = false,
                Err(error) => warn!(%error, "a pod's record cannot be written; tried again"),
            }
        }
    }

    /// Holds every container's log to its cap.
    pub(super) fn cut_logs(&self) {
        for managed in self.pods.values() {
            let directory = pod_log_dir(&self.settings.log_dir, &managed.run.pod);
            for name in managed.run.containers.keys() {
                let path = directory.join(format!("{name}.log"));
                if let Err(error) = self.ports.logs.enforce_cap(&path, self.settings.log_cap) {
                    warn!(%error, "a container's log cannot be cut");
                }
            }
        }
    }
}

impl Managed {
    fn is_due(&self, now: BootTime) -> bool {
        let has_place = self.placed == Placed::Yes;
        let asked = self.wake_at.is_some_and(|at| at <= now);
        let new = has_place && self.phase == PodPhase::Pending && self.wake_at.is_none();
        let stops = self.run.stop.is_some();
        (has_place || stops || self.placed == Placed::Over) && (asked || new)
    }

    fn wake_soon(&mut self, now: BootTime) {
        let soon = now.after(LOOK_AGAIN);
        self.wake_at = Some(self.wake_at.map_or(soon, |at| at.min(soon)));
    }
}
