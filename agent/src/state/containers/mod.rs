//! What the agent remembers of a pod's containers: what runs, how it ended before, what it waits for.
//!
//! **Problem.** A container is made of facts that arrive in any order, some late, some twice: a launch that
//! worked, a process that ended, a cgroup that became empty, a manifest that changed. **How.** [`PodRun`] is a
//! value; [`PodRun::apply`] takes one fact, and drops a fact that does not fit what is known. What follows from
//! the facts is decided elsewhere (`decide::lifecycle`). The value is also the record on disk, from which an
//! agent started again takes over.
//!
//! # Terms
//! *Down*: no process. *Clearing*: the first process has ended and whatever it left in the cgroup is being
//! killed; only an empty cgroup is down. *Outdated*: it runs, but by an older manifest.
//!
//! # Properties
//! - A container is started only when it is down, and is down only when its cgroup was seen empty.
//! - An exit counts only for the process that is known to run.
//! - Facts about unknown containers, and facts that come twice, change nothing.

mod backoff;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{BootTime, Container, ContainerName, ExitStatus, Pod, ProcessIdentity};

pub use backoff::{Backoff, FIRST, HEALTHY, LONGEST};

/// One pod's containers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodRun {
    /// The manifest accepted last.
    pub pod: Pod,
    /// The file that it came from.
    pub source: Option<String>,
    /// Its containers, and those that an update removed while they still have processes.
    pub containers: BTreeMap<ContainerName, ContainerRun>,
    /// Set once the pod is to end.
    pub stop: Option<Stop>,
    /// Set once it was evicted: it ends, and nothing of it is started again.
    #[serde(default)]
    pub evicted: Option<Evicted>,
}

/// A pod's end, asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// When.
    pub since: BootTime,
    /// How long its containers may take.
    pub grace: Duration,
}

impl Stop {
    /// When its time is over.
    #[must_use]
    pub fn at(&self) -> BootTime {
        self.since.after(self.grace)
    }
}

/// A pod's end that the node needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evicted {
    /// When, and how long its containers may take.
    pub stop: Stop,
    /// In a sentence with the numbers.
    pub message: String,
}

/// One container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerRun {
    /// What it does now.
    pub run: Run,
    /// Times that it was started, failed starts included.
    pub starts: u32,
    /// The wait after the next end.
    pub backoff: Backoff,
    /// How it ended last.
    pub last_exit: Option<LastExit>,
    /// Its manifest changed while it ran: it is to be ended and started by the new one.
    pub outdated: bool,
    /// An update removed it: it is to be ended and forgotten.
    pub removed: bool,
    /// The OOM killer took one of its processes in this run.
    pub oom_seen: bool,
    /// When its cgroup was killed last, in this run.
    pub killed: Option<BootTime>,
}

/// What a container does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Run {
    /// Nothing: it has no process.
    #[default]
    Down,
    /// Its start has been decided, and its outcome is not known yet.
    Starting {
        /// Whether that is for a changed manifest.
        replacing: bool,
    },
    /// It runs.
    Running {
        /// Its first process.
        process: ProcessIdentity,
        /// Since when.
        since: BootTime,
        /// Whether it was found running when the agent started.
        adopted: bool,
        /// When it was asked to end.
        terminated: Option<BootTime>,
    },
    /// Its first process has ended, and its cgroup may have others.
    Clearing,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastExit {
    /// How.
    pub outcome: Outcome,
    /// Whether the OOM killer did it.
    pub oom_killed: bool,
    /// When the run began.
    pub started: BootTime,
    /// When it was seen to have ended.
    pub finished: BootTime,
}

/// How a start turned out in the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Its first process ended.
    Ended(ExitStatus),
    /// There was no process to end, and why.
    NotStarted(String),
}

impl LastExit {
    /// Whether it ended well: with exit code 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.outcome == Outcome::Ended(ExitStatus::Code(0))
    }
}

/// A fact about a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerEvent {
    /// The start that was decided worked.
    Started(ProcessIdentity),
    /// It did not, and no process is left of it.
    StartFailed(String),
    /// It was not tried: the cgroup has processes that nobody knows.
    Occupied,
    /// The agent was started again and found this process running.
    Adopted(ProcessIdentity),
    /// The agent was started again and found no process.
    Lost,
    /// The first process ended.
    Exited(ProcessIdentity, ExitStatus),
    /// The OOM killer took one of its processes, and when.
    OomKilled(BootTime),
    /// The cgroup has no processes.
    Cleared,
}

impl PodRun {
    /// A pod of which nothing runs yet.
    #[must_use]
    pub fn new(pod: Pod, source: Option<String>) -> Self {
        let names = pod.all_containers().map(|c| c.name.clone());
        Self {
            containers: names.map(|name| (name, ContainerRun::default())).collect(),
            pod,
            source,
            stop: None,
            evicted: None,
        }
    }

    /// Takes a fact about a container.
    pub fn apply(&mut self, container: &ContainerName, event: ContainerEvent, now: BootTime) {
        let Some(known) = self.containers.get_mut(container) else {
            return;
        };
        known.apply(event, now);
        if known.removed && known.run == Run::Down {
            self.containers.remove(container);
        }
    }

    /// Takes a changed manifest of the same pod.
    pub fn update(&mut self, pod: Pod, source: Option<String>) {
        for container in pod.all_containers() {
            let known = self.containers.entry(container.name.clone()).or_default();
            let before = self.pod.all_containers().find(|c| c.name == container.name);
            let same = before.is_some_and(|before| same_process(before, container));
            let runs = matches!(known.run, Run::Starting { .. } | Run::Running { .. });
            if runs && (known.removed || !same) {
                known.outdated = true;
                known.backoff = Backoff::default();
            }
            known.removed = false;
        }
        let named = |name: &ContainerName| pod.all_containers().any(|c| c.name == *name);
        self.containers
            .retain(|name, known| named(name) || known.run != Run::Down);
        for (name, known) in &mut self.containers {
            known.removed = !named(name);
        }
        self.pod = pod;
        self.source = source;
    }

    /// Takes the wish that the pod ends, within `grace` (its manifest's own when not given). A second wish may
    /// only hasten it.
    pub fn request_stop(&mut self, now: BootTime, grace: Option<Duration>) {
        let grace = grace.unwrap_or(self.pod.termination_grace);
        let wish = Stop { since: now, grace };
        self.stop = self.stop.filter(|stop| stop.at() <= wish.at()).or(Some(wish));
    }

    /// Takes the node's need that the pod ends within `grace`, and why. A second one may only hasten it.
    pub fn evict(&mut self, now: BootTime, grace: Duration, message: String) {
        let wish = Stop { since: now, grace };
        match &mut self.evicted {
            Some(evicted) if wish.at() < evicted.stop.at() => evicted.stop = wish,
            Some(_) => {}
            None => self.evicted = Some(Evicted { stop: wish, message }),
        }
    }

    /// When and why ever it is to end; the sooner of the two.
    #[must_use]
    pub fn ends(&self) -> Option<Stop> {
        let evicted = self.evicted.as_ref().map(|evicted| evicted.stop);
        let stops = [self.stop, evicted].into_iter().flatten();
        stops.min_by_key(Stop::at)
    }

    /// After the record was read by an agent started again: the containers that may have a process, with the
    /// one that the record names. Each is to be answered by [`ContainerEvent::Adopted`] or
    /// [`ContainerEvent::Lost`]. A launch that the record missed shows as a process in the cgroup of a container
    /// without one.
    pub fn unconfirmed(&self) -> impl Iterator<Item = (&ContainerName, Option<ProcessIdentity>)> {
        self.containers
            .iter()
            .filter_map(|(name, known)| match known.run {
                Run::Running { process, .. } => Some((name, Some(process))),
                Run::Down | Run::Starting { .. } => Some((name, None)),
                Run::Clearing => None,
            })
    }
}

impl ContainerRun {
    /// Times that it was started again.
    #[must_use]
    pub const fn restarts(&self) -> u32 {
        self.starts.saturating_sub(1)
    }

    fn apply(&mut self, event: ContainerEvent, now: BootTime) {
        match (event, self.run) {
            (ContainerEvent::Started(process), Run::Starting { .. }) => self.started(process, now, false),
            (ContainerEvent::StartFailed(why), Run::Starting { .. }) => {
                self.count_start();
                self.run = Run::Down;
                self.last_exit = Some(LastExit {
                    outcome: Outcome::NotStarted(why),
                    oom_killed: false,
                    started: now,
                    finished: now,
                });
            }
            (ContainerEvent::Occupied, Run::Starting { replacing }) => {
                self.outdated |= replacing;
                self.clear();
            }
            (
                ContainerEvent::Adopted(process),
                Run::Running {
                    process: known,
                    since,
                    terminated,
                    ..
                },
            ) if process == known => {
                self.run = Run::Running {
                    process,
                    since,
                    adopted: true,
                    terminated,
                };
            }
            (ContainerEvent::Adopted(process), Run::Down | Run::Starting { .. }) => {
                self.started(process, start_time(process), true);
            }
            (ContainerEvent::Lost, Run::Starting { .. }) => self.run = Run::Down,
            (ContainerEvent::Lost, Run::Running { since, .. }) => self.ended(ExitStatus::Unknown, since, now),
            (
                ContainerEvent::Exited(process, status),
                Run::Running {
                    process: known,
                    since,
                    ..
                },
            ) if process == known => {
                self.ended(status, since, now);
            }
            (ContainerEvent::OomKilled(at), Run::Running { since, .. }) if at >= since => {
                self.oom_seen = true;
            }
            (ContainerEvent::OomKilled(at), _) => {
                if let Some(exit) = self.last_exit.as_mut().filter(|exit| at >= exit.started) {
                    exit.oom_killed |= may_be_a_kill(&exit.outcome);
                }
            }
            (ContainerEvent::Cleared, Run::Clearing) => self.run = Run::Down,
            _ => {}
        }
    }

    fn started(&mut self, process: ProcessIdentity, since: BootTime, adopted: bool) {
        self.count_start();
        self.oom_seen = false;
        self.run = Run::Running {
            process,
            since,
            adopted,
            terminated: None,
        };
    }

    fn count_start(&mut self) {
        if self.starts > 0 {
            self.backoff = self.backoff.restarted();
        }
        self.starts = self.starts.saturating_add(1);
        self.killed = None;
    }

    fn ended(&mut self, status: ExitStatus, since: BootTime, now: BootTime) {
        let outcome = Outcome::Ended(status);
        self.backoff = self.backoff.ran(now.since(since));
        self.last_exit = Some(LastExit {
            oom_killed: self.oom_seen && may_be_a_kill(&outcome),
            outcome,
            started: since,
            finished: now,
        });
        self.clear();
    }

    fn clear(&mut self) {
        self.run = Run::Clearing;
        self.killed = None;
    }
}

/// Whether the OOM killer can have caused this end: it sends SIGKILL, which a shell passes on as 137.
fn may_be_a_kill(outcome: &Outcome) -> bool {
    let kills = [ExitStatus::Signal(9), ExitStatus::Code(137), ExitStatus::Unknown];
    matches!(outcome, Outcome::Ended(status) if kills.contains(status))
}

/// Whether two manifests of a container mean the same process. Resources are not part of it: they are changed
/// under the running process.
fn same_process(a: &Container, b: &Container) -> bool {
    let without_resources = |c: &Container| Container {
        resources: Default::default(),
        ..c.clone()
    };
    without_resources(a) == without_resources(b)
}

/// When a process started. A tick is 10 ms on every machine: the kernel shows them to programs at 100 a second.
fn start_time(process: ProcessIdentity) -> BootTime {
    BootTime(Duration::from_millis(process.start_ticks.saturating_mul(10)))
}
