//! The guard's world on the real machine.
//!
//! Pods are known by their place in the roster: [`Machine::set_pods`] opens what is needed of each before it counts.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::core::{Ports, Refused, Told};
use super::outbox::{News, Outbox};
use crate::act::kill::{KillOutcome, kill};
use crate::kernel::clock::{Clock, RealClock};
use crate::kernel::ebpf::{Short, Shortages};
use crate::kernel::journal::Slot;
use crate::kernel::pressure::{
    FiguresReader, LimitFile, LimitWriter, MemoryCgroup, RealKiller, Sweep, WriteJob,
};
use crate::model::pressure::{Act, Decision, Need, PodFacts, Snapshot};
use crate::model::{BootTime, Bytes, Limit};
use crate::state::pressure::Victim;

/// All cheap files are read again after this; in between those that tell of memory.
const FULL_SWEEP: Duration = Duration::from_secs(10);
/// A reclaim that has not ended by then is of no use any more.
const RECLAIM_PATIENCE: Duration = Duration::from_secs(2);
/// The same for a limit.
const LIMIT_PATIENCE: Duration = Duration::from_secs(5);
/// `EAGAIN`: the queue of writes is full.
const BUSY: i32 = 11;

/// A pod, as the machine holds it.
#[derive(Debug, Clone)]
pub(crate) struct HeldPod {
    /// Its cgroup.
    pub(crate) cgroup: Arc<MemoryCgroup>,
    /// `memory.high` as placed, to be put back.
    pub(crate) high: Limit<Bytes>,
    /// The level above it, where the agent limits the CPU of that.
    pub(crate) above: Option<Arc<MemoryCgroup>>,
}

/// What the guard reads and does.
pub(crate) struct Machine {
    reader: FiguresReader,
    killer: RealKiller,
    writer: LimitWriter,
    /// Where a kill under way is written down.
    slot: Option<Slot>,
    /// Whether something is written there.
    written: bool,
    shortages: Option<Shortages>,
    pods: Vec<HeldPod>,
    outbox: Outbox,
    /// When all files were read last.
    swept: Option<BootTime>,
    /// Whether the machine's memory could not be read at the last look.
    blind: bool,
    /// Who is about to be taken, and by which decision.
    about: Option<(u64, Victim)>,
}

impl Machine {
    /// The machine, with no pods yet.
    pub(crate) fn new(
        reader: FiguresReader,
        killer: RealKiller,
        writer: LimitWriter,
        slot: Option<Slot>,
        outbox: Outbox,
    ) -> Self {
        Self {
            reader,
            killer,
            writer,
            slot,
            // What was there when the agent began is tidied up too.
            written: true,
            shortages: None,
            pods: Vec::new(),
            outbox,
            swept: None,
            blind: false,
            about: None,
        }
    }

    /// Other pods, in the order of the roster; gives back the former ones.
    pub(crate) fn set_pods(&mut self, pods: Vec<HeldPod>) -> Vec<HeldPod> {
        let cgroups: Vec<_> = pods.iter().map(|pod| pod.cgroup.clone()).collect();
        self.reader.set_pods(&cgroups);
        self.swept = None;
        std::mem::replace(&mut self.pods, pods)
    }

    /// The probe that counts shortages is there now.
    pub(crate) fn set_shortages(&mut self, shortages: Shortages) {
        self.shortages = Some(shortages);
    }

    /// When the machine ran short first, and a cgroup at a limit, by the probe's events; all are taken.
    pub(crate) fn take_shortages(&mut self) -> (Option<BootTime>, Option<BootTime>) {
        let (mut machine, mut limit) = (None, None);
        if let Some(shortages) = &mut self.shortages {
            shortages.drain(|event| {
                let first = match event.short {
                    Short::Background | Short::Direct => &mut machine,
                    Short::Limit => &mut limit,
                };
                *first = Some(first.map_or(event.at, |at: BootTime| at.min(event.at)));
            });
        }
        (machine, limit)
    }

    /// Tells what came of writes, and forgets evidence of a kill that is over.
    pub(crate) fn tidy(&mut self, anything_under_way: bool) {
        while let Some(done) = self.writer.done() {
            self.outbox.put(News::Written(done));
        }
        if !anything_under_way
            && std::mem::take(&mut self.written)
            && let Some(slot) = &mut self.slot
        {
            // What stays is seen to its end once more by the next agent, which finds nobody.
            if let Err(error) = slot.clear() {
                warn!(%error, "a kill that is over stays written down");
            }
        }
    }

    fn submit(
        &self,
        pod: usize,
        file: LimitFile,
        value: Limit<Bytes>,
        patience: Duration,
    ) -> Result<BootTime, Refused> {
        let operation = "write a limit";
        let now = RealClock.now();
        // The pod has left the roster: there is nothing to be written any more.
        let Some(held) = self.pods.get(pod) else {
            return Ok(now);
        };
        let job = WriteJob {
            id: held.cgroup.id().0,
            cgroup: held.cgroup.clone(),
            file,
            value,
            deadline: now.after(patience),
        };
        let full = |_| Refused {
            operation,
            errno: BUSY,
        };
        self.writer.submit(job).map(|()| now).map_err(full)
    }

    fn kill(&mut self, pod: usize, facts: &PodFacts) -> Result<BootTime, Refused> {
        let Some(held) = self.pods.get(pod) else {
            return Ok(RealClock.now());
        };
        let (slot, written, about) = (&mut self.slot, &mut self.written, self.about);
        let evidence = || {
            if let (Some(slot), Some(about)) = (slot, about) {
                // Refused: it is killed all the same, and an agent that dies now is followed by one that looks anew.
                *written = slot.put(&about).is_ok();
            }
        };
        let above = held.above.as_ref();
        let outcome = kill(
            &mut self.killer,
            &held.cgroup,
            above,
            facts.cgroup,
            &RealClock,
            evidence,
        );
        match outcome {
            KillOutcome::Signalled { at, .. } => Ok(at),
            // What was to die is dead.
            KillOutcome::Gone | KillOutcome::Another(_) => Ok(RealClock.now()),
            KillOutcome::Refused(error) => Err(Refused {
                operation: "kill",
                errno: error.errno,
            }),
        }
    }
}

impl Ports for Machine {
    fn now(&mut self) -> BootTime {
        RealClock.now()
    }

    fn read(&mut self, roster: &[PodFacts], into: &mut Snapshot) {
        let now = RealClock.now();
        let full = self.swept.is_none_or(|at| now.since(at) >= FULL_SWEEP);
        let sweep = if full { Sweep::Full } else { Sweep::Quick };
        match self.reader.read(sweep, &mut into.node, &mut into.pods) {
            Ok(()) => {
                self.blind = false;
                if full {
                    self.swept = Some(now);
                }
            }
            Err(error) => {
                // The figures before stand; they move nothing.
                if !std::mem::replace(&mut self.blind, true) {
                    self.outbox.put(News::Blind(error.errno.raw_os_error()));
                }
            }
        }
        into.pods.resize(roster.len(), Default::default());
        if let Some(shortages) = &self.shortages {
            (into.node.kswapd_wakes, into.node.direct_reclaims) = shortages.counts();
        }
    }

    fn read_again(&mut self, _roster: &[PodFacts], pod: Option<usize>, into: &mut Snapshot) {
        // Refused: the figures of the decision stand, which are a moment old.
        if self.reader.read_node(&mut into.node).is_err() {
            return;
        }
        if let Some(shortages) = &self.shortages {
            (into.node.kswapd_wakes, into.node.direct_reclaims) = shortages.counts();
        }
        let place = pod.and_then(|pod| Some((into.pods.get_mut(pod)?, self.reader.read_pod(pod)?)));
        if let Some((known, now)) = place {
            *known = now;
        }
    }

    fn act(&mut self, _need: &Need, act: &Act, pod: Option<&PodFacts>) -> Result<BootTime, Refused> {
        match (*act, pod) {
            (Act::Kill { pod }, Some(facts)) => self.kill(pod, facts),
            (Act::Reclaim { pod, bytes }, _) => {
                self.submit(pod, LimitFile::Reclaim, Limit::At(bytes), RECLAIM_PATIENCE)
            }
            (Act::Throttle { pod, high }, _) => {
                self.submit(pod, LimitFile::High, Limit::At(high), LIMIT_PATIENCE)
            }
            (Act::Unthrottle { pod }, _) => {
                let high = self.pods.get(pod).map_or(Limit::Max, |pod| pod.high);
                self.submit(pod, LimitFile::High, high, LIMIT_PATIENCE)
            }
            // These the main loop does once it is told: they are a signal and a write that never block.
            (Act::Kill { .. } | Act::Evict { .. } | Act::SuppressCpu { .. } | Act::ReleaseCpu, _) => {
                Ok(RealClock.now())
            }
        }
    }

    fn tell(&mut self, told: &Told) {
        let news = match *told {
            Told::Decided {
                number,
                decision,
                pod,
                figures,
                victim,
                times,
                dry,
                rested,
                ..
            } => {
                // Nothing follows that could wait for this.
                if dry || !matches!(decision, Decision::Act { .. }) {
                    self.outbox.put_inputs(number, rested);
                }
                self.about = victim.map(|victim| (number, victim));
                News::Decided {
                    number,
                    decision,
                    pod: pod.map(|pod| pod.cgroup),
                    figures: figures.copied(),
                    times,
                    dry,
                }
            }
            Told::Done { number, at, rested } => {
                self.outbox.put_inputs(number, rested);
                News::Done { number, at }
            }
            Told::Stale { decision, why, .. } => News::Stale { decision, why },
            Told::Refused { number, why } => News::Refused { number, why },
            Told::Settled { number, settled } => News::Settled { number, settled },
        };
        self.outbox.put(news);
    }
}
