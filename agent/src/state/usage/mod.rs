//! Usage of every cgroup: current value, rate, peak and percentiles over a window.
//!
//! **Problem.** Readings come from eBPF and from cgroup files, sometimes late, and cgroups are removed and made
//! again under the same name. A rate over two readings of different cgroups is a huge wrong number, and a pod's
//! history must not outlive it.
//!
//! **How.** The store is keyed by [`CgroupId`], which a cgroup made again does not share. Each entry keeps the
//! newest [`Reading`], the CPU rate between the last two, peaks, and a ring of samples for
//! percentiles. [`UsageStore::retain`] drops what is no longer there, so the store is never larger than the set
//! of live cgroups.
//!
//! # Properties
//! - A rate is never negative, and the first reading of a cgroup has none.
//! - A cgroup made again starts from nothing.
//! - A reading that is not newer than the last one is rejected and changes nothing.
//! - After `retain`, the store holds only live cgroups.
//! - The peak is never below the current value.

mod window;

#[cfg(test)]
mod props;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{BootTime, CgroupId, CpuUsage, MemoryUsage, MilliCpu, PressureTotals};

pub use window::{Percentiles, Window};

/// All that was read of one cgroup at one moment. The store adds what takes two readings: rate and peak.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// CPU, where it could be read.
    pub cpu: Option<CpuUsage>,
    /// Memory, where the controller is there.
    pub memory: Option<MemoryUsage>,
    /// Tasks.
    pub tasks: Option<u64>,
    /// Waiting times.
    pub pressure: Option<PressureTotals>,
}

/// What is known of one cgroup.
#[derive(Debug, Clone, Default)]
pub struct CgroupUsage {
    /// When the newest reading was taken.
    pub at: BootTime,
    /// The newest reading, with its rate and peak.
    pub reading: Reading,
    /// The highest CPU rate seen.
    pub cpu_peak: Option<MilliCpu>,
    /// Recent CPU rates, in thousandths of a CPU.
    pub cpu_window: Window,
    /// Recent working sets, in bytes.
    pub memory_window: Window,
}

/// A reading came that is not newer than the last one of its cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("reading of cgroup {} is {by:?} older than the last one", cgroup.0)]
pub struct LateReading {
    /// Whose reading.
    pub cgroup: CgroupId,
    /// How much older it is.
    pub by: Duration,
}

/// Usage of all live cgroups.
#[derive(Debug, Clone, Default)]
pub struct UsageStore {
    cgroups: BTreeMap<CgroupId, CgroupUsage>,
}

impl UsageStore {
    /// Takes in a reading made at `at`.
    ///
    /// # Errors
    /// [`LateReading`] when the cgroup has a reading of that moment or a later one; the store is unchanged.
    pub fn record(
        &mut self,
        cgroup: CgroupId,
        at: BootTime,
        mut reading: Reading,
    ) -> Result<(), LateReading> {
        let usage = match self.cgroups.entry(cgroup) {
            Entry::Occupied(known) if at <= known.get().at => {
                let by = known.get().at.since(at);
                return Err(LateReading { cgroup, by });
            }
            entry => entry.or_default(),
        };
        let rate = rate(usage, at, &reading);
        if let Some(cpu) = &mut reading.cpu {
            cpu.rate = rate;
        }
        if let Some(rate) = rate {
            usage.cpu_window.push(rate.0);
            usage.cpu_peak = usage.cpu_peak.max(Some(rate));
        }
        if let Some(memory) = &mut reading.memory {
            usage.memory_window.push(memory.working_set.0);
            let known_peak = usage.reading.memory.as_ref().and_then(|m| m.peak);
            memory.peak = memory.peak.max(known_peak).max(Some(memory.current));
        }
        usage.at = at;
        usage.reading = reading;
        Ok(())
    }

    /// What is known of a cgroup.
    #[must_use]
    pub fn get(&self, cgroup: CgroupId) -> Option<&CgroupUsage> {
        self.cgroups.get(&cgroup)
    }

    /// Forgets every cgroup that is not in `live`.
    pub fn retain(&mut self, live: &BTreeSet<CgroupId>) {
        self.cgroups.retain(|id, _| live.contains(id));
    }

    /// Forgets one cgroup and hands over what was known of it.
    pub fn forget(&mut self, cgroup: CgroupId) -> Option<CgroupUsage> {
        self.cgroups.remove(&cgroup)
    }

    /// How many cgroups are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cgroups.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cgroups.is_empty()
    }
}

/// CPU time per time since the last reading. A total that went down belongs to another source: no rate.
fn rate(known: &CgroupUsage, at: BootTime, reading: &Reading) -> Option<MilliCpu> {
    let before = known.reading.cpu.as_ref()?.total;
    let used = reading.cpu.as_ref()?.total.checked_sub(before)?;
    let elapsed = at.since(known.at);
    if elapsed.is_zero() {
        return None;
    }
    u64::try_from(used.as_nanos() * 1000 / elapsed.as_nanos())
        .ok()
        .map(MilliCpu)
}
