//! The eBPF probes: what every cgroup uses, and what happens to cgroups and processes, as the kernel sees it.
//!
//! **Problem.** Reading a thousand cgroups through their files is slow, some figures (how long tasks waited for a
//! CPU, who the OOM killer took and for whose sake) are in no file, and what lived between two readings is never
//! seen. **How.** Seven eBPF objects, each optional. [`plan`] decides from a survey of the kernel which can work and
//! says why the others cannot; [`Probes::start`] loads those and keeps what came of each. [`Probes::snapshot`] makes
//! one pass over all cgroups below the root, [`Probes::drain_events`] hands over what happened.
//!
//! Nothing here fails as a whole: without any object there are an empty snapshot, no events, and a status that tells
//! why. The cgroup files serve then; see [`crate::model::CgroupSample::fill_from`].
//!
//! **Terms.** A cgroup's *own* figures count its own processes; its figures *in the subtree* those of its descendants
//! too, as the cgroup files do. The kernel keeps CPU time and charged memory for the subtree, run-queue delay, LRU
//! lists and stalls as own; the snapshot adds these up.
//!
//! # Properties
//! - No bytes from the kernel make decoding panic.
//! - A record's parent is the nearest record before it of a lower level.
//! - Adding up keeps totals: the root's figure is the sum of all own figures.

mod decode;
mod event;
mod remembered;
mod snapshot;
mod start;
mod support;

#[cfg(test)]
mod props;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use plimsoll_ebpf::Object;

use crate::kernel::ebpf::{Loaded, Rings, Stopwatch, Totals, Walker};
use crate::model::{Bytes, CgroupId, RunDelay};

pub use event::{CgroupTotals, ProbeEvent};
pub use snapshot::Snapshot;
pub use support::{Plan, ProbePlan, plan};

use remembered::Remembered;

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeState {
    /// At work. Parts that this kernel does not offer are named, each with what is missing.
    Attached {
        /// Parts that are off.
        without: Vec<String>,
    },
    /// The agent was built without it.
    NotBuilt,
    /// This kernel or this process's rights do not offer what it needs.
    Unsupported(String),
    /// The kernel refused it.
    Failed(String),
}

/// One object and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeStatus {
    /// The object's name.
    pub name: &'static str,
    /// What became of it.
    pub state: ProbeState,
}

/// Words of a `RunTime` record, and of a `Stall` record.
const RUN_TIME_WORDS: usize = 18;
const STALL_WORDS: usize = 2;

/// The probes at work.
#[derive(Default)]
pub struct Probes {
    status: Vec<ProbeStatus>,
    page: Bytes,
    walker: Option<Walker>,
    run_time: Option<Totals<RUN_TIME_WORDS>>,
    reclaim: Option<Totals<STALL_WORDS>>,
    over_high: Option<Totals<STALL_WORDS>>,
    rings: Option<Rings>,
    /// Objects of which only the programs are needed any more.
    attached: Vec<Loaded>,
    snapshot: Snapshot,
    remembered: Remembered,
}

impl Probes {
    /// Each object and what became of it.
    #[must_use]
    pub fn status(&self) -> &[ProbeStatus] {
        &self.status
    }

    /// A descriptor that is readable while events wait. None without any probe that has events.
    #[must_use]
    pub fn events_fd(&self) -> Option<BorrowedFd<'_>> {
        self.rings.as_ref().map(AsFd::as_fd)
    }

    /// Events lost so far because the agent was too slow, by object. After a loss the agent must look for itself.
    #[must_use]
    pub fn dropped(&self) -> Vec<(&'static str, u64)> {
        let lost = self.rings.as_ref().map(Rings::dropped).unwrap_or_default();
        lost.into_iter().map(|(object, n)| (object.name(), n)).collect()
    }

    /// What each program ran while the kernel's run statistics were on (`kernel::ebpf::run_statistics`).
    #[must_use]
    pub fn costs(&self) -> Vec<Stopwatch> {
        let walker = self.walker.iter().map(Walker::loaded);
        walker.chain(&self.attached).flat_map(Loaded::costs).collect()
    }

    /// Hands over what happened since the last call, per object in the order of happening.
    pub fn drain_events(&mut self) -> Vec<ProbeEvent> {
        let mut events = Vec::new();
        let page = self.page;
        if let Some(rings) = &mut self.rings {
            rings.drain(|bytes| events.extend(decode::event(bytes, page)));
        }
        if events
            .iter()
            .any(|event| matches!(event, ProbeEvent::CgroupRemoved { .. }))
        {
            self.add_totals(&mut events);
        }
        events
    }

    /// Completes the last figures of removed cgroups, whose counters nobody else will ask for.
    fn add_totals(&mut self, events: &mut [ProbeEvent]) {
        let mut found: Vec<(CgroupId, Duration, RunDelay)> = Vec::new();
        let removed = |id: u64| {
            events
                .iter()
                .any(|event| matches!(event, ProbeEvent::CgroupRemoved { id: of, .. } if of.0 == id))
        };
        let mut gone = Vec::new();
        if let Some(totals) = &mut self.run_time {
            let read = totals.read(|id, words| {
                if removed(id) {
                    let (on_cpu, run_delay) = decode::run_time(&words);
                    found.push((CgroupId(id), on_cpu, run_delay));
                }
            });
            // What could not be read is missing from the totals, which say so by being absent.
            if read.is_err() {
                found.clear();
            }
        }
        for event in events {
            if let ProbeEvent::CgroupRemoved { id, totals, .. } = event {
                gone.push(*id);
                if let Some((_, on_cpu, run_delay)) = found.iter().find(|(of, ..)| of == id) {
                    totals.on_cpu = Some(*on_cpu);
                    totals.run_delay = Some(*run_delay);
                }
            }
        }
        self.remembered.removed(gone);
    }

    /// One pass over the root and all cgroups below it, the root first, parents before children. Empty without the
    /// object `sample`.
    pub fn snapshot(&mut self) -> &Snapshot {
        self.snapshot.clear();
        let Some(walker) = &mut self.walker else {
            return &self.snapshot;
        };
        match walker.pass() {
            Ok(pass) => self.snapshot.take(pass.records, pass.truncated, self.page),
            Err(error) => {
                self.fail(Object::Sample, &error);
                return &self.snapshot;
            }
        }
        let mut unknown = Vec::new();
        if let Some(totals) = &mut self.run_time
            && let Err(error) = totals.read(|id, words| {
                let (on_cpu, run_delay) = decode::run_time(&words);
                if !self.snapshot.add_run_time(id, on_cpu, run_delay) {
                    unknown.push(id);
                }
            })
        {
            self.fail(Object::Sched, &error);
        }
        let Self {
            reclaim,
            over_high,
            snapshot,
            ..
        } = self;
        let mut failed = Vec::new();
        if let Some(totals) = reclaim
            && let Err(error) = totals.read(|id, words| snapshot.add_reclaim(id, decode::stalls(words)))
        {
            failed.push((Object::Reclaim, error));
        }
        if let Some(totals) = over_high
            && let Err(error) = totals.read(|id, words| snapshot.add_over_high(id, decode::stalls(words)))
        {
            failed.push((Object::Reclaimx, error));
        }
        for (object, error) in failed {
            self.fail(object, &error);
        }
        self.snapshot.add_up(
            self.run_time.is_some(),
            self.reclaim.is_some(),
            self.over_high.is_some(),
        );
        self.forget(&unknown);
        &self.snapshot
    }

    /// Frees the counters of cgroups that are gone.
    fn forget(&mut self, unknown: &[u64]) {
        let gone = self.remembered.to_forget(unknown);
        if gone.is_empty() {
            return;
        }
        let mut failure = None;
        for id in gone {
            let run_time = self.run_time.as_ref().map(|totals| totals.forget(id));
            let stalls = [&self.reclaim, &self.over_high]
                .into_iter()
                .flatten()
                .map(|totals| totals.forget(id));
            failure = failure.or(run_time.into_iter().chain(stalls).find_map(Result::err));
        }
        if let Some(error) = failure {
            self.fail(Object::Sched, &error);
        }
    }

    fn fail(&mut self, object: Object, error: &impl ToString) {
        if let Some(status) = self.status.iter_mut().find(|status| status.name == object.name()) {
            status.state = ProbeState::Failed(error.to_string());
        }
    }
}
