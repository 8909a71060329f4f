//! Phases of a pod and its containers in kubelet's words.

use super::goals::{all_down, cannot_begin, has_begun, is_ending, is_over, start_from, states};
use crate::model::{BootTime, ContainerKind, ContainerName, ContainerPhase, ExitStatus, PodPhase};
use crate::state::containers::{ContainerRun, LastExit, Outcome, PodRun, Run};

/// Exit code of a container whose program could not be started, as containerd reports it.
const NOT_STARTED: i32 = 128;

/// The pod's phase (kubelet's `getPhase`).
#[must_use]
pub fn pod_phase(run: &PodRun) -> PodPhase {
    let everything_down = all_down(run.containers.values());
    let stopped = run.stop.is_some() && everything_down;
    if cannot_begin(run) || (run.evicted.is_some() && everything_down) {
        return PodPhase::Failed;
    }
    if stopped || (is_over(run) && everything_down) {
        let well = |known: &ContainerRun| known.last_exit.as_ref().is_some_and(LastExit::succeeded);
        let all_well = states(run, &run.pod.containers).all(|(_, known)| well(known));
        return if all_well {
            PodPhase::Succeeded
        } else {
            PodPhase::Failed
        };
    }
    let never_started = |known: &ContainerRun| known.starts == 0 && !matches!(known.run, Run::Running { .. });
    if !has_begun(run) || states(run, &run.pod.containers).any(|(_, known)| never_started(known)) {
        PodPhase::Pending
    } else {
        PodPhase::Running
    }
}

/// A container's phase at `now`; none for one that the pod does not have.
#[must_use]
pub fn container_phase(run: &PodRun, name: &ContainerName, now: BootTime) -> Option<ContainerPhase> {
    let known = run.containers.get(name)?;
    if let Run::Running { process, adopted, .. } = known.run {
        return Some(ContainerPhase::Running { process, adopted });
    }
    let container = run.pod.all_containers().find(|c| c.name == *name);
    let Some(exit) = &known.last_exit else {
        let initialising = !has_begun(run)
            && !run.pod.init_containers.is_empty()
            && container.is_some_and(|c| c.kind == ContainerKind::App);
        let reason = if initialising {
            "PodInitializing"
        } else {
            "ContainerCreating"
        };
        return Some(waiting(reason, String::new()));
    };
    let again = container
        .and_then(|c| start_from(known, c, &run.pod))
        .filter(|_| !is_ending(run));
    Some(match again {
        Some(from) if known.run == Run::Down && from > now => {
            let wait = known.backoff.wait().as_secs();
            let message = format!(
                "back-off {wait}s restarting failed container {name}; last: {}",
                told(exit)
            );
            waiting("CrashLoopBackOff", message)
        }
        Some(_) if known.run != Run::Clearing && matches!(exit.outcome, Outcome::NotStarted(_)) => {
            waiting("StartError", told(exit))
        }
        _ => ContainerPhase::Terminated {
            exit_code: exit_code(exit),
            reason: reason(exit).to_owned(),
        },
    })
}

fn waiting(reason: &str, message: String) -> ContainerPhase {
    ContainerPhase::Waiting {
        reason: reason.to_owned(),
        message,
    }
}

fn exit_code(exit: &LastExit) -> Option<i32> {
    match exit.outcome {
        Outcome::Ended(ExitStatus::Code(code)) => Some(code),
        Outcome::Ended(ExitStatus::Signal(signal)) => Some(128 + signal),
        Outcome::Ended(ExitStatus::Unknown) => None,
        Outcome::NotStarted(_) => Some(NOT_STARTED),
    }
}

fn reason(exit: &LastExit) -> &'static str {
    match exit.outcome {
        Outcome::NotStarted(_) => "StartError",
        Outcome::Ended(_) if exit.oom_killed => "OOMKilled",
        Outcome::Ended(ExitStatus::Code(0)) => "Completed",
        Outcome::Ended(ExitStatus::Unknown) => "ContainerStatusUnknown",
        Outcome::Ended(_) => "Error",
    }
}

fn told(exit: &LastExit) -> String {
    match (&exit.outcome, exit_code(exit)) {
        (Outcome::NotStarted(why), _) => why.clone(),
        (_, Some(code)) => format!("{}, exit code {code}", reason(exit)),
        (_, None) => reason(exit).to_owned(),
    }
}
