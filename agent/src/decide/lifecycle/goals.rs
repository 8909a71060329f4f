//! What each container of a pod should come to, as the facts stand.

use crate::model::{BootTime, Container, ContainerKind, ContainerName, Pod, RestartPolicy};
use crate::state::containers::{ContainerRun, LastExit, PodRun, Run};

/// What a container should come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// Run, from this moment on.
    Run(BootTime),
    /// Stay as it is.
    Stay,
    /// End, from this moment on.
    End(BootTime),
}

const NOW: BootTime = BootTime(std::time::Duration::ZERO);
const NEVER: BootTime = BootTime(std::time::Duration::MAX);

/// Goals of all containers: in the order of the manifest, removed ones last.
pub(super) fn of(run: &PodRun) -> Vec<(ContainerName, Goal)> {
    let mut goals = if is_ending(run) { ending(run) } else { running(run) };
    for (name, goal) in &mut goals {
        if run
            .containers
            .get(name)
            .is_some_and(|known| known.outdated && known.run != Run::Down)
        {
            *goal = Goal::End(NOW);
        }
    }
    let removed = run.containers.iter().filter(|(_, known)| known.removed);
    goals.extend(removed.map(|(name, _)| (name.clone(), Goal::End(NOW))));
    goals
}

/// Whether the pod is on its way out: told to, evicted, done, or unable to begin.
pub(super) fn is_ending(run: &PodRun) -> bool {
    run.ends().is_some() || is_over(run) || cannot_begin(run)
}

/// Everything ends; a sidecar once the application, the init containers and all later sidecars are down, or the
/// pod's time is over.
fn ending(run: &PodRun) -> Vec<(ContainerName, Goal)> {
    let at_last = run.ends().map_or(NEVER, |stop| stop.at());
    let sidecar = |name: &ContainerName| {
        let mut all = run.pod.init_containers.iter();
        all.any(|c| c.kind == ContainerKind::Sidecar && c.name == *name)
    };
    let mut its_turn = all_down(
        run.containers
            .iter()
            .filter(|(name, _)| !sidecar(name))
            .map(|(_, known)| known),
    );
    let mut goals = Vec::new();
    for container in run.pod.init_containers.iter().chain(&run.pod.containers).rev() {
        let goal = if container.kind != ContainerKind::Sidecar {
            Goal::End(NOW)
        } else {
            let from = if its_turn { NOW } else { at_last };
            its_turn &= run
                .containers
                .get(&container.name)
                .is_none_or(|known| known.run == Run::Down);
            Goal::End(from)
        };
        goals.push((container.name.clone(), goal));
    }
    goals.reverse();
    goals
}

/// Init containers and sidecars in their order, then the application.
fn running(run: &PodRun) -> Vec<(ContainerName, Goal)> {
    let begun = has_begun(run);
    let mut open = true;
    let mut goals = Vec::new();
    for container in run.pod.all_containers() {
        let may_run = match container.kind {
            ContainerKind::Init => open && !begun,
            ContainerKind::Sidecar | ContainerKind::App => open || begun,
        };
        let known = run.containers.get(&container.name);
        let start = known.and_then(|known| start_from(known, container, &run.pod));
        let goal = start.filter(|_| may_run).map_or(Goal::Stay, Goal::Run);
        goals.push((container.name.clone(), goal));
        open &= known.is_some_and(|known| match container.kind {
            ContainerKind::Init => has_succeeded(known),
            ContainerKind::Sidecar => matches!(known.run, Run::Running { .. }),
            ContainerKind::App => true,
        });
    }
    goals
}

/// From when on a container may be started, if it is to be started at all.
pub(super) fn start_from(known: &ContainerRun, container: &Container, pod: &Pod) -> Option<BootTime> {
    let Some(exit) = known.last_exit.as_ref().filter(|_| !known.outdated) else {
        return Some(NOW);
    };
    let again = match (container.kind, pod.restart_policy) {
        (ContainerKind::Sidecar, _) | (ContainerKind::App, RestartPolicy::Always) => true,
        (_, RestartPolicy::Never) => false,
        (ContainerKind::App | ContainerKind::Init, _) => !exit.succeeded(),
    };
    again.then(|| exit.finished.after(known.backoff.wait()))
}

/// Whether a container of the application was ever started.
pub(super) fn has_begun(run: &PodRun) -> bool {
    states(run, &run.pod.containers).any(|(_, known)| known.starts > 0 || known.run != Run::Down)
}

/// Whether the application has ended and nothing of it starts again.
pub(super) fn is_over(run: &PodRun) -> bool {
    let mut states = states(run, &run.pod.containers);
    states
        .all(|(container, known)| known.run == Run::Down && start_from(known, container, &run.pod).is_none())
}

/// Whether an init container failed for good.
pub(super) fn cannot_begin(run: &PodRun) -> bool {
    let failed = |(container, known): (&Container, &ContainerRun)| {
        let ended = container.kind == ContainerKind::Init && known.run == Run::Down;
        ended && !has_succeeded(known) && start_from(known, container, &run.pod).is_none()
    };
    !has_begun(run) && states(run, &run.pod.init_containers).any(failed)
}

fn has_succeeded(known: &ContainerRun) -> bool {
    let down = known.run == Run::Down && !known.outdated;
    down && known.last_exit.as_ref().is_some_and(LastExit::succeeded)
}

pub(super) fn all_down<'a>(mut states: impl Iterator<Item = &'a ContainerRun>) -> bool {
    states.all(|known| known.run == Run::Down)
}

/// Containers with what is known of them.
pub(super) fn states<'a>(
    run: &'a PodRun,
    containers: &'a [Container],
) -> impl Iterator<Item = (&'a Container, &'a ContainerRun)> {
    containers
        .iter()
        .filter_map(|c| run.containers.get(&c.name).map(|known| (c, known)))
}
