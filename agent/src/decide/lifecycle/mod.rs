//! What to do with a pod's containers next: start, end, kill, wait.
//!
//! **Rules**, kubelet's own:
//! - Init containers run one after the other, each to success; a sidecar (an init container with
//!   `restartPolicy: Always`) must run before the next one, and stays. Then the application starts. Once it has
//!   been started, init containers are history, whatever an update or a restart of the agent brings.
//! - A container that ended is started again by the pod's `restartPolicy`, after its back-off; a sidecar always
//!   is, while the application is not over. An init container that fails under `Never` fails the pod.
//! - To end: SIGTERM to the first process, the grace period (2 s at least), then the whole cgroup is killed. A
//!   pod's containers end together, its sidecars after all others and in reverse order; when the pod's grace is
//!   over, nobody waits for anybody.
//! - What the first process leaves behind is killed before the container counts as down.
//! - A changed container is ended and started anew, whatever the restart policy; changed resources are no change.
//!
//! Sources: kubelet's `computePodActions`, `computeInitContainerActions`, `killContainer`, `terminationOrdering`,
//! `getPhase`.
//!
//! **How.** [`step`] looks at the facts in a [`PodRun`], notes what it decided in it, and returns the actions.
//! Called again with no new fact and at the same time it decides nothing more. The caller carries the actions
//! out in order, applies each outcome, and calls again then, and at [`Step::wake_at`].
//!
//! # Properties
//! - Never two running instances: a start is decided only for a container that is down.
//! - The time from an end to the next start is at least the back-off, except for a changed manifest.
//! - Under `Never` nothing that was started is started again, except sidecars and for a changed manifest.
//! - A pod that was told to stop starts nothing and becomes finished, in whatever order the facts come.
//! - The application starts only after every init container succeeded and every sidecar runs.

mod goals;
mod phase;
#[cfg(test)]
mod props;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::model::{BootTime, ContainerName, PodPhase};
use crate::state::containers::{ContainerRun, PodRun, Run};

use goals::Goal;
pub use phase::{container_phase, pod_phase};

/// The shortest time from SIGTERM to SIGKILL, whatever a manifest says.
pub const SHORTEST_GRACE: Duration = Duration::from_secs(2);
/// How soon a cgroup is killed again that still has processes. Its becoming empty is told by an event; this is
/// for processes that fork faster than the kernel kills, and for events that were lost.
pub const KILL_AGAIN: Duration = Duration::from_secs(1);

/// Something to do with a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start its first process.
    Start(ContainerName),
    /// Send SIGTERM to its first process.
    Terminate(ContainerName),
    /// Kill every process in its cgroup, and say whether any is left.
    KillCgroup(ContainerName),
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// In order.
    pub actions: Vec<Action>,
    /// When to look again, if no fact comes before.
    pub wake_at: Option<BootTime>,
    /// The pod's phase as of now.
    pub phase: PodPhase,
    /// The pod was told to stop, and has no process any more.
    pub finished: bool,
}

/// Decides what to do now, and notes it in `run`.
pub fn step(run: &mut PodRun, now: BootTime) -> Step {
    decide(run, now, true)
}

/// The same while nothing may be started, for the pod's place is not as it should be.
pub fn hold(run: &mut PodRun, now: BootTime) -> Step {
    decide(run, now, false)
}

fn decide(run: &mut PodRun, now: BootTime, may_start: bool) -> Step {
    let mut actions = Vec::new();
    let mut wake_at: Option<BootTime> = None;
    let (stop, grace) = (run.ends(), run.pod.termination_grace.max(SHORTEST_GRACE));
    let kill_at = |terminated: BootTime| match stop {
        Some(stop) => stop.at().max(terminated.after(SHORTEST_GRACE)),
        None => terminated.after(grace),
    };
    for (name, goal) in goals::of(run) {
        let Some(container) = run.containers.get_mut(&name) else {
            continue;
        };
        let goal = match goal {
            Goal::Run(_) if !may_start => Goal::Stay,
            goal => goal,
        };
        let (action, wake) = advance(container, goal, now, kill_at);
        actions.extend(action.map(|act| act(name)));
        wake_at = [wake_at, wake].into_iter().flatten().min();
    }
    Step {
        actions,
        wake_at,
        phase: phase::pod_phase(run),
        finished: run.stop.is_some() && goals::all_down(run.containers.values()),
    }
}

/// The kind of an action, which becomes one with the container's name.
type Act = fn(ContainerName) -> Action;

/// One container's part of a step: what to do, and when to look again.
fn advance(
    container: &mut ContainerRun,
    goal: Goal,
    now: BootTime,
    kill_at: impl Fn(BootTime) -> BootTime,
) -> (Option<Act>, Option<BootTime>) {
    match (&mut container.run, goal) {
        (Run::Down, Goal::Run(from)) if from > now => (None, Some(from)),
        (Run::Down, Goal::Run(_)) => {
            container.run = Run::Starting {
                replacing: container.outdated,
            };
            container.outdated = false;
            (Some(Action::Start), None)
        }
        (Run::Running { terminated: None, .. }, Goal::End(from)) if from > now => (None, Some(from)),
        (Run::Running { terminated, .. }, Goal::End(_)) if terminated.is_none() => {
            *terminated = Some(now);
            (Some(Action::Terminate), Some(kill_at(now)))
        }
        (
            Run::Running {
                terminated: Some(at), ..
            },
            _,
        ) if kill_at(*at) > now => (None, Some(kill_at(*at))),
        (
            Run::Running {
                terminated: Some(_), ..
            }
            | Run::Clearing,
            _,
        ) => {
            let again = container.killed.map_or(now, |at| at.after(KILL_AGAIN));
            if again > now {
                return (None, Some(again));
            }
            container.killed = Some(now);
            (Some(Action::KillCgroup), Some(now.after(KILL_AGAIN)))
        }
        (Run::Down | Run::Starting { .. } | Run::Running { .. }, _) => (None, None),
    }
}
