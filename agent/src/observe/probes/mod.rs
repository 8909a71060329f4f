//! The eBPF probes: what every cgroup uses, and what happens to cgroups and processes, as the kernel sees it.
//!
//! **Problem.** Reading a thousand cgroups through their files is slow, some figures (how long tasks waited for a
//! CPU, who the OOM killer took and for whose sake, who wrote a value) are in no file, and what lived between two
//! readings is never seen. **How.** Nine eBPF objects, each optional. [`plan`] decides from a survey of the kernel which
//! can work and says why the others cannot; [`Probes::start`] loads those and keeps what came of each.
//! [`Probes::snapshot`] makes one pass over all cgroups below the root, [`Probes::drain_events`] hands over what happened,
//! [`Probes::foreign`] tells what ran on CPUs that belong to one container.
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
mod foreign;
mod remembered;
mod snapshot;
mod start;
mod support;

#[cfg(test)]
mod props;

use std::os::fd::{AsFd, BorrowedFd};

use plimsoll_ebpf::Object;

use crate::kernel::ebpf::{Loaded, Rings, Shortages, Stalled, Stopwatch, Walker};
use crate::model::Bytes;

pub use event::{CgroupTotals, ProbeEvent};
pub use foreign::Foreign;
pub use snapshot::Snapshot;
pub use support::{Plan, ProbePlan, plan};

use remembered::Remembered;
use snapshot::Tree;

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

/// The name under which the counting at context switches is reported. It is a part of the object `usage`.
pub const SWITCH: &str = "switch";

/// The probes at work.
#[derive(Default)]
pub struct Probes {
    status: Vec<ProbeStatus>,
    page: Bytes,
    walker: Option<Walker>,
    /// Whether CPU time and waits are counted at context switches.
    counts_run_time: bool,
    reclaim: Option<Stalled>,
    over_high: Option<Stalled>,
    rings: Option<Rings>,
    foreign: Option<Foreign>,
    shortages: Option<Shortages>,
    /// Objects of which only the programs are needed any more.
    attached: Vec<Loaded>,
    tree: Tree,
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
        let foreign = self.foreign.iter().map(Foreign::loaded);
        walker
            .chain(foreign)
            .chain(&self.attached)
            .flat_map(Loaded::costs)
            .collect()
    }

    /// What runs on CPUs that belong to one container. None without the object `foreign`: then
    /// [`crate::observe::running`] tells what is on them now.
    pub fn foreign(&mut self) -> Option<&mut Foreign> {
        self.foreign.as_mut()
    }

    /// Hands over what tells of a machine short of memory, for a thread of its own; none without the object `shortage`, and
    /// at the second call. Its programs stay attached as long as `self` lives.
    pub fn take_shortages(&mut self) -> Option<Shortages> {
        self.shortages.take()
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
        for event in events {
            if let ProbeEvent::CgroupRemoved { id, totals, .. } = event {
                let walker = self.walker.as_mut().filter(|_| self.counts_run_time);
                // What cannot be read is missing from the totals, which say so by being absent.
                if let Some(counted) = walker.and_then(|walker| walker.run_time(id.0).ok().flatten()) {
                    let (on_cpu, run_delay) = decode::run_time(&counted);
                    totals.on_cpu = Some(on_cpu);
                    totals.run_delay = Some(run_delay);
                }
                self.remembered.removed(*id);
            }
        }
    }

    /// One pass over the root and all cgroups below it, the root first, parents before children. Empty without the
    /// object `usage`.
    pub fn snapshot(&mut self) -> Snapshot<'_> {
        let mut failures = Vec::new();
        let reclaim = self.reclaim.as_mut().map(Stalled::read).transpose();
        let reclaim = reclaim.unwrap_or_else(|error| {
            failures.push((Object::Reclaim, error.to_string()));
            None
        });
        let over_high = self.over_high.as_mut().map(Stalled::read).transpose();
        let over_high = over_high.unwrap_or_else(|error| {
            failures.push((Object::Reclaimx, error.to_string()));
            None
        });
        let mut taken = (&[][..], false);
        match self.walker.as_mut().map(Walker::pass).transpose() {
            Ok(Some(pass)) => {
                self.tree.take(pass.records, reclaim, over_high);
                taken = (pass.records, pass.truncated);
            }
            Ok(None) => {}
            Err(error) => failures.push((Object::Usage, error.to_string())),
        }
        for (object, error) in failures {
            set_failed(&mut self.status, object, error);
        }
        Snapshot::new(taken.0, &self.tree, taken.1, self.page)
    }

    /// Frees the counters of cgroups that are gone. To be called now and then, a minute apart say; snapshots are not
    /// held up by it.
    pub fn forget_gone(&mut self) {
        let Some(walker) = &self.walker else { return };
        let mut failure = None;
        let counted = walker.counted().unwrap_or_else(|error| {
            failure = Some(error);
            Vec::new()
        });
        let unknown: Vec<u64> = counted.into_iter().filter(|id| !self.tree.knows(*id)).collect();
        for id in self.remembered.sweep(&unknown) {
            failure = failure.or(walker.forget(id).err());
            for stalled in [&mut self.reclaim, &mut self.over_high].into_iter().flatten() {
                failure = failure.or(stalled.forget(id).err());
            }
        }
        if let Some(error) = failure {
            set_failed(&mut self.status, Object::Usage, error.to_string());
        }
    }
}

fn set_failed(status: &mut [ProbeStatus], object: Object, reason: String) {
    if let Some(status) = status.iter_mut().find(|status| status.name == object.name()) {
        status.state = ProbeState::Failed(reason);
    }
}
