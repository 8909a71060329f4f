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

#[cfg(test)]
mod tests;

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{info, warn};

use crate::decide::badness::{badness, kernel_choice};
use crate::decide::oom_priority::{Agreement, Inputs, Mode, Steering, Why, Write, agreement, eligible};
use crate::kernel::pressure::{Container, ProcessReader, ScoreKeeper};
use crate::metrics::{PressureCounters, Steering as Reason};
use crate::model::pressure::{KernelChoice, PodFacts, ProcessFigures, Ranked};
use crate::model::{BootTime, Bytes, CgroupId, ContainerName};
use crate::state::pressure::Lead;

/// How often the kernel's choice is looked at while memory runs short, and while it does not.
const SHORT: Duration = Duration::from_secs(1);
const FINE: Duration = Duration::from_secs(60);
/// `EINVAL`: the value stands for another start in that container.
const TAKEN: i32 = 22;

/// What the guard saw.
pub(super) struct Seen {
    pub(super) roster: Arc<[PodFacts]>,
    pub(super) order: Vec<Ranked>,
    /// Containers of these pods.
    pub(super) containers: Vec<Container>,
    /// Their names.
    pub(super) names: Vec<ContainerName>,
    pub(super) total: Bytes,
    /// Whether memory is short.
    pub(super) short: bool,
    pub(super) now: BootTime,
}

/// Whom the kernel would take. It speaks by names: places are those of a roster that may not be in force any more.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    /// The pod's cgroup, if it is one of a pod.
    pub(super) pod: Option<CgroupId>,
    pub(super) told: KernelChoice,
}

/// What the thread tells.
#[derive(Debug, Clone, Default)]
struct Told {
    choice: Option<Choice>,
    /// Whether some process has another value than at its start.
    steers: bool,
}

enum Job {
    Look(Box<Seen>),
    Stop,
}

/// The thread, as the main loop knows it.
pub(super) struct Steerer {
    jobs: SyncSender<Job>,
    told: Arc<Mutex<Told>>,
    thread: Option<JoinHandle<()>>,
    looked: Option<BootTime>,
    was_short: bool,
}

impl Steerer {
    /// Starts it; without a mode it only looks, and puts back what an agent before it had steered.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn start(
        mode: Option<Mode>,
        keeper: ScoreKeeper,
        counters: PressureCounters,
    ) -> io::Result<Self> {
        // One that is looked at, and one that waits: more would be old by the time.
        let (jobs, queue) = sync_channel(1);
        if let Some(why) = keeper.unusable() {
            warn!(%why, "what an agent before this one had steered stays as it is");
        }
        if !keeper.is_empty() {
            info!("an agent before this one steered the kernel's OOM killer; that is put back");
        }
        let told = Arc::new(Mutex::new(Told {
            choice: None,
            steers: !keeper.is_empty(),
        }));
        let of_thread = told.clone();
        let thread = std::thread::Builder::new()
            .name("steerer".to_owned())
            .spawn(move || {
                Work {
                    mode,
                    counters,
                    reader: ProcessReader::default(),
                    keeper,
                    lead: Lead::default(),
                    steering: Steering::default(),
                    processes: Vec::new(),
                    told: of_thread,
                }
                .run(&queue);
            })?;
        Ok(Self {
            jobs,
            told,
            thread: Some(thread),
            looked: None,
            was_short: false,
        })
    }

    /// Whether it is time to look again.
    pub(super) fn is_due(&self, short: bool, now: BootTime) -> bool {
        let period = if short || self.told().steers { SHORT } else { FINE };
        short != self.was_short || self.looked.is_none_or(|at| now.since(at) >= period)
    }

    /// Has it look. One that is still at the last look is left alone.
    pub(super) fn look(&mut self, seen: Seen) {
        self.was_short = seen.short;
        self.looked = Some(seen.now);
        match self.jobs.try_send(Job::Look(Box::new(seen))) {
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(TrySendError::Disconnected(_)) => warn!("nobody steers the kernel's OOM killer any more"),
        }
    }

    /// Whom the kernel would have taken at the last look.
    pub(super) fn choice(&self) -> Option<Choice> {
        self.told().choice.clone()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
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
    keeper: ScoreKeeper,
    lead: Lead,
    steering: Steering,
    processes: Vec<ProcessFigures>,
    told: Arc<Mutex<Told>>,
}

impl Work {
    fn run(mut self, queue: &Receiver<Job>) {
        let mut containers = Vec::new();
        while let Ok(Job::Look(seen)) = queue.recv() {
            self.look(&seen);
            containers = seen.containers;
        }
        if !self.keeper.is_empty() && self.read(&containers) {
            self.restore(&containers, &[]);
        }
    }

    fn read(&mut self, containers: &[Container]) -> bool {
        let read = self
            .reader
            .read(containers, self.keeper.scores(), &mut self.processes);
        read.inspect_err(|errno| warn!(errno, "the machine's processes cannot be read"))
            .is_ok()
    }

    fn look(&mut self, seen: &Seen) {
        if !self.read(&seen.containers) {
            return;
        }
        let on = self.lead.is_on(seen.short, seen.now);
        let done = match self.mode {
            Some(mode) if on => self.steer(mode, seen),
            _ if self.keeper.is_empty() => true,
            _ => self.restore(&seen.containers, &seen.roster),
        };
        if !done {
            return;
        }
        let choice = choice(seen, &self.processes);
        let told = Told {
            choice,
            steers: !self.keeper.is_empty(),
        };
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = told;
    }

    /// Brings a pod to the front; whether the processes could be read again.
    fn steer(&mut self, mode: Mode, seen: &Seen) -> bool {
        let cgroup = |pod: usize| seen.roster.get(pod).map(|facts| facts.cgroup);
        let eligible = eligible(&seen.order, &self.processes).filter_map(cgroup);
        let front = self.lead.front(eligible, seen.now);
        let writes = self.steering.steer(&Inputs {
            roster: &seen.roster,
            order: &seen.order,
            processes: &self.processes,
            total: seen.total,
            mode,
            front: seen.roster.iter().position(|facts| Some(facts.cgroup) == front),
        });
        let writes = writes.to_vec();
        self.write(&writes, &seen.containers, &seen.roster);
        writes.is_empty() || self.read(&seen.containers)
    }

    /// Gives every process what it started with, and forgets the containers where that is done; whether the processes could
    /// be read again.
    fn restore(&mut self, containers: &[Container], roster: &[PodFacts]) -> bool {
        let writes = self.steering.restore(&self.processes).to_vec();
        self.write(&writes, containers, roster);
        if !self.read(containers) {
            return false;
        }
        let left = self.steering.restore(&self.processes);
        for container in containers {
            if left.iter().all(|write| write.owner != container.owner) {
                self.keeper.scores().forget(container.cgroup.id());
            }
        }
        self.tidy();
        true
    }

    fn tidy(&mut self) {
        if let Err(error) = self.keeper.tidy() {
            warn!(%error, "what was steered and put back stays written down");
        }
    }

    fn write(&mut self, writes: &[Write], containers: &[Container], roster: &[PodFacts]) {
        let held = |write: &Write| containers.iter().find(|container| container.owner == write.owner);
        let coming = writes.iter().filter(|write| write.to != write.start);
        let coming = coming.filter_map(|write| Some((held(write)?.cgroup.id(), write.start, write.to)));
        let announced = self.keeper.announce(coming);
        if let Err(error) = &announced {
            warn!(%error, "nobody is steered: what processes had before cannot be written down");
        }
        for write in writes {
            let Some(container) = held(write) else { continue };
            if announced.is_err() && write.to != write.start {
                continue;
            }
            let pod = roster
                .get(write.owner.pod)
                .map(|pod| pod.name.as_str())
                .unwrap_or_default();
            match self.keeper.write(&container.cgroup, write.start, write.to) {
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
                Err(TAKEN) => warn!(
                    pod,
                    value = write.to.0,
                    "an oom_score_adj stands for another start"
                ),
                // It is gone, and its processes with it.
                Err(_) => self.keeper.scores().forget(container.cgroup.id()),
            }
        }
        if !writes.is_empty() {
            self.tidy();
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
