//! Leads the kernel's own choice while memory is short, and says whom it would take.
//!
//! **Problem.** Where the agent comes too late the kernel chooses, by `oom_score_adj` among other things. Reading every
//! process takes milliseconds, which neither the guard nor the main loop has. **How.** A thread at usual priority gets what
//! the guard saw: every second while memory runs short, once a minute otherwise. It reads the processes, has
//! `decide::oom_priority` say what to write, and writes it. Once memory is not short any more, and when the agent stops,
//! every process gets back what it started with.
//!
//! The value of a process that was steered by an agent that was killed is taken for its own: what was there before is not
//! known.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{info, warn};

use crate::decide::badness::{badness, kernel_choice};
use crate::decide::oom_priority::{Agreement, Inputs, Mode, Steering, Why, Write, agreement};
use crate::kernel::pressure::{Container, ProcessReader, Scores};
use crate::metrics::{PressureCounters, Steering as Reason};
use crate::model::pressure::{KernelChoice, PodFacts, ProcessFigures, Ranked};
use crate::model::{BootTime, Bytes, CgroupId, ContainerName};

/// How often the kernel's choice is looked at while memory runs short, and while it does not.
const SHORT: Duration = Duration::from_secs(1);
const FINE: Duration = Duration::from_secs(60);

/// What the guard saw.
pub(super) struct Seen {
    pub(super) roster: Arc<[PodFacts]>,
    pub(super) order: Vec<Ranked>,
    /// Containers of these pods.
    pub(super) containers: Vec<Container>,
    /// Their names.
    pub(super) names: Vec<ContainerName>,
    pub(super) total: Bytes,
    /// Whether values are to be moved now; otherwise all are put back.
    pub(super) steer: bool,
}

/// Whom the kernel would take. It speaks by names: places are those of a roster that may not be in force any more.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    /// The pod's cgroup, if it is one of a pod.
    pub(super) pod: Option<CgroupId>,
    pub(super) told: KernelChoice,
}

enum Job {
    Look(Box<Seen>),
    Stop,
}

/// The thread, as the main loop knows it.
pub(super) struct Steerer {
    jobs: SyncSender<Job>,
    choice: Arc<Mutex<Option<Choice>>>,
    thread: Option<JoinHandle<()>>,
    looked: Option<BootTime>,
    was_short: bool,
}

impl Steerer {
    /// Starts it; without a mode it only looks.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn start(mode: Option<Mode>, counters: PressureCounters) -> io::Result<Self> {
        // One that is looked at, and one that waits: more would be old by the time.
        let (jobs, queue) = sync_channel(1);
        let choice = Arc::new(Mutex::new(None));
        let told = choice.clone();
        let thread = std::thread::Builder::new()
            .name("steerer".to_owned())
            .spawn(move || {
                Work {
                    mode,
                    counters,
                    reader: ProcessReader::default(),
                    scores: Scores::default(),
                    steering: Steering::default(),
                    processes: Vec::new(),
                    told,
                }
                .run(&queue);
            })?;
        Ok(Self {
            jobs,
            choice,
            thread: Some(thread),
            looked: None,
            was_short: false,
        })
    }

    /// Whether it is time to look again.
    pub(super) fn is_due(&self, short: bool, now: BootTime) -> bool {
        let period = if short { SHORT } else { FINE };
        short != self.was_short || self.looked.is_none_or(|at| now.since(at) >= period)
    }

    /// Has it look. One that is still at the last look is left alone.
    pub(super) fn look(&mut self, seen: Seen, now: BootTime) {
        self.was_short = seen.steer;
        self.looked = Some(now);
        match self.jobs.try_send(Job::Look(Box::new(seen))) {
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => warn!("nobody steers the kernel's OOM killer any more"),
        }
    }

    /// Whom the kernel would have taken at the last look.
    pub(super) fn choice(&self) -> Option<Choice> {
        self.choice.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Steerer {
    /// Waits until every process has its own value again.
    fn drop(&mut self) {
        // A thread that has ended needs no word.
        _ = self.jobs.send(Job::Stop);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            _ = thread.join();
        }
    }
}

struct Work {
    mode: Option<Mode>,
    counters: PressureCounters,
    reader: ProcessReader,
    scores: Scores,
    steering: Steering,
    processes: Vec<ProcessFigures>,
    told: Arc<Mutex<Option<Choice>>>,
}

impl Work {
    fn run(mut self, queue: &Receiver<Job>) {
        let mut containers = Vec::new();
        while let Ok(Job::Look(seen)) = queue.recv() {
            self.look(&seen);
            containers = seen.containers;
        }
        if !self.scores.is_empty() && self.read(&containers) {
            let writes = self.steering.restore(&self.processes).to_vec();
            self.write(&writes, &containers, &[]);
        }
    }

    fn read(&mut self, containers: &[Container]) -> bool {
        let read = self
            .reader
            .read(containers, &mut self.scores, &mut self.processes);
        read.inspect_err(|errno| warn!(errno, "the machine's processes cannot be read"))
            .is_ok()
    }

    fn look(&mut self, seen: &Seen) {
        if !self.read(&seen.containers) {
            return;
        }
        let writes = match self.mode {
            Some(mode) if seen.steer => self.steering.steer(&Inputs {
                roster: &seen.roster,
                order: &seen.order,
                processes: &self.processes,
                total: seen.total,
                mode,
            }),
            _ if self.scores.is_empty() => &[],
            _ => self.steering.restore(&self.processes),
        };
        let writes = writes.to_vec();
        self.write(&writes, &seen.containers, &seen.roster);
        if !writes.is_empty() && !self.read(&seen.containers) {
            return;
        }
        let choice = choice(seen, &self.processes);
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = choice;
    }

    fn write(&mut self, writes: &[Write], containers: &[Container], roster: &[PodFacts]) {
        for write in writes {
            let Some(container) = containers.iter().find(|container| container.owner == write.owner) else {
                continue;
            };
            let pod = roster
                .get(write.owner.pod)
                .map(|pod| pod.name.as_str())
                .unwrap_or_default();
            match self.scores.write(&container.cgroup, write.start, write.to) {
                Ok(scored) => {
                    let reason = match write.why {
                        Why::First => Reason::Raise,
                        Why::Behind => Reason::Lower,
                        Why::Restored => Reason::Restore,
                    };
                    self.counters.steered(reason, scored.written.into());
                    if scored.written > 0 {
                        info!(pod, processes = scored.written, "{write}");
                    }
                    if let Some((pid, errno)) = scored.refused {
                        warn!(pod, pid, errno, "an oom_score_adj was refused");
                    }
                }
                // It is gone, and its processes with it.
                Err(_) => self.scores.forget(container.cgroup.id()),
            }
        }
    }
}

/// Whom of `processes` the kernel would take, by the places of what was seen.
fn choice(seen: &Seen, processes: &[ProcessFigures]) -> Option<Choice> {
    let process = processes.get(kernel_choice(processes, seen.total)?)?;
    let owner = process.owner.and_then(|owner| {
        let pod = seen.roster.get(owner.pod)?;
        let at = seen
            .containers
            .iter()
            .position(|container| container.owner == owner)?;
        Some((pod, seen.names.get(at)?))
    });
    Some(Choice {
        pod: owner.map(|(pod, _)| pod.cgroup),
        told: KernelChoice {
            pid: process.process.pid,
            container: owner.map(|(pod, name)| {
                (
                    pod.uid.clone(),
                    pod.namespace.clone(),
                    pod.name.clone(),
                    name.clone(),
                )
            }),
            comm: String::new(),
            oom_score_adj: process.oom_score_adj,
            badness: badness(process, seen.total)?,
            agrees: match agreement(&seen.order, processes, seen.total) {
                Agreement::Same => Some(true),
                Agreement::Other(_) => Some(false),
                Agreement::Nobody => None,
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use super::*;
    use crate::kernel::pressure::MemoryCgroup;
    use crate::model::pressure::Owner;
    use crate::model::{Limit, Namespace, OomScoreAdj, PodName, PodUid, ProcessIdentity, QosClass};

    fn pod(name: &str, cgroup: u64) -> PodFacts {
        PodFacts {
            uid: PodUid::parse(&format!("uid-{name}")).unwrap(),
            namespace: Namespace::parse("shop").unwrap(),
            name: PodName::parse(name).unwrap(),
            cgroup: CgroupId(cgroup),
            class: QosClass::BestEffort,
            priority: 0,
            request: Bytes(0),
            storage_request: Bytes(0),
            high: Limit::Max,
            max: Limit::Max,
            oom_score_adj: OomScoreAdj(1000),
            grace: Duration::from_secs(1),
            shield: None,
            started_at: BootTime::default(),
        }
    }

    fn process(pid: u32, owner: Option<Owner>, rss: Bytes) -> ProcessFigures {
        let oom_score_adj = OomScoreAdj(0);
        ProcessFigures {
            process: ProcessIdentity { pid, start_ticks: 1 },
            owner,
            rss,
            swap: Bytes(0),
            page_tables: Bytes(0),
            oom_score_adj,
            start: oom_score_adj,
            exempt: false,
        }
    }

    /// Whom the main loop has in which place by the time that the answer comes makes no difference.
    #[test]
    fn a_choice_is_named_by_the_roster_that_was_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("cgroup.events"), "populated 1\n").unwrap();
        let held = OwnedFd::from(std::fs::File::open(directory.path()).unwrap());
        let cgroup = Arc::new(MemoryCgroup::new(held).unwrap());
        let owners = [(0, 0), (1, 0), (1, 1)].map(|(pod, container)| Owner { pod, container });
        let names = ["web", "main", "side"].map(|name| ContainerName::parse(name).unwrap());
        let seen = Seen {
            roster: [pod("first", 1), pod("second", 2)].into(),
            order: Vec::new(),
            containers: owners
                .map(|owner| Container {
                    owner,
                    cgroup: cgroup.clone(),
                })
                .into(),
            names: names.clone().into(),
            total: Bytes::mib(1000),
            steer: false,
        };
        let processes = [
            process(10, Some(owners[0]), Bytes::mib(10)),
            process(11, Some(owners[1]), Bytes::mib(20)),
            process(12, Some(owners[2]), Bytes::mib(30)),
        ];
        let chosen = choice(&seen, &processes).unwrap();
        let named = chosen.told.container.unwrap();
        assert_eq!((chosen.pod, chosen.told.pid), (Some(CgroupId(2)), 12));
        assert_eq!((named.2.as_str(), &named.3), ("second", &names[2]));

        let outside = [processes[0], process(20, None, Bytes::mib(50))];
        let chosen = choice(&seen, &outside).unwrap();
        assert_eq!(
            (chosen.pod, chosen.told.pid, chosen.told.container),
            (None, 20, None)
        );
        assert!(choice(&seen, &[]).is_none());
    }
}
