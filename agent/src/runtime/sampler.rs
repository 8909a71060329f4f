//! Readings of all cgroups, from eBPF where it watches and from cgroup files where not.
//!
//! **How.** One walk in the kernel gives CPU, run-queue delay and memory of every cgroup at once. What it does not give
//! (throttling, page faults, pressure, tasks) is in files, whose reading costs far more: of these a part of the cgroups
//! is read at each sample, so that all that ran are within `ROUND` samples. What did not run since has the same figures
//! still, but for what others do to its memory; it is read in every `IDLE_ROUNDS`th round. Without the walk the few
//! files that it would have stood for are read of every cgroup.
//!
//! # What holds
//! - A figure of the kernel's walk is never replaced by a file's; a figure that neither gives is absent, not zero.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tracing::warn;

use crate::kernel::cgroup_fs::RealCgroupFs;
use crate::model::{
    Bytes, CgroupId, CgroupPath, CgroupSample, ControlFile, Controller, CpuUsage, MemoryUsage,
    PressureTotals, Sourced,
};
use crate::observe::cgroup_stats::{CgroupStats, FileSampler};
use crate::observe::probes::Probes;
use crate::state::usage::Reading;

/// Samples it takes to read every cgroup's further files once.
const ROUND: usize = 15;
/// Rounds after which a cgroup is read that did not run.
const IDLE_ROUNDS: usize = 8;

/// What the kernel's walk stands for.
const BASIC: [ControlFile; 5] = [
    ControlFile::CpuStat,
    ControlFile::MemoryCurrent,
    ControlFile::MemorySwapCurrent,
    ControlFile::MemoryStat,
    ControlFile::MemoryEvents,
];

/// What only files tell.
const FURTHER: [ControlFile; 7] = [
    ControlFile::CpuStat,
    ControlFile::MemoryPeak,
    ControlFile::MemoryStat,
    ControlFile::PidsCurrent,
    ControlFile::CpuPressure,
    ControlFile::MemoryPressure,
    ControlFile::IoPressure,
];

/// Samples all cgroups of a tree again and again.
pub(super) struct Sampler {
    fs: RealCgroupFs,
    basic: FileSampler,
    /// Those of [`FURTHER`] that there can be.
    files: Vec<ControlFile>,
    further: BTreeMap<CgroupId, Further>,
    turn: usize,
    round: usize,
}

/// What the further files of a cgroup said.
#[derive(Debug)]
struct Further {
    stats: CgroupStats,
    /// Its CPU time when they were read, from the walk; `None` where that does not see it.
    ran: Option<Duration>,
}

impl Sampler {
    /// A sampler of the tree `fs`, whose root has these controllers: looking for a file of another one costs as much as
    /// reading it.
    #[must_use]
    pub(super) fn new(fs: RealCgroupFs, controllers: &BTreeSet<Controller>) -> Self {
        let may_be_there = |file: &ControlFile| file.controller().is_none_or(|c| controllers.contains(&c));
        let there =
            |files: &[ControlFile]| -> Vec<_> { files.iter().copied().filter(may_be_there).collect() };
        Self {
            fs,
            basic: FileSampler::new(&there(&BASIC)),
            files: there(&FURTHER),
            further: BTreeMap::new(),
            turn: 0,
            round: 0,
        }
    }

    /// One reading of each of `cgroups`.
    pub(super) fn sample(
        &mut self,
        probes: &mut Probes,
        cgroups: &[(&CgroupPath, CgroupId)],
    ) -> Vec<(CgroupId, Reading)> {
        self.turn = (self.turn + 1) % ROUND;
        if self.turn == 0 {
            self.round = (self.round + 1) % IDLE_ROUNDS;
            probes.forget_gone();
            let live: BTreeSet<_> = cgroups.iter().map(|(_, id)| *id).collect();
            self.further.retain(|id, _| live.contains(id));
        }
        let snapshot = probes.snapshot();
        let mut readings = Vec::with_capacity(cgroups.len());
        let mut unseen = Vec::new();
        for (n, (path, id)) in cgroups.iter().enumerate() {
            let sample = snapshot.get(*id);
            let ran = sample.as_ref().and_then(|sample| value(sample.cpu));
            self.read_further(n, path, *id, ran);
            match sample {
                Some(sample) => readings.push((*id, reading(&sample, self.stats(*id)))),
                None => unseen.push((*path).clone()),
            }
        }
        let samples = self.basic.sample(&self.fs, &unseen);
        readings.extend(samples.taken.into_iter().map(|(_, id, stats)| {
            let further = self.stats(id);
            (
                id,
                reading(&CgroupSample::empty(id, None), Some(&with_basic(further, stats))),
            )
        }));
        for error in samples.refused {
            warn!(%error, "a cgroup cannot be sampled from its files");
        }
        readings
    }

    fn stats(&self, id: CgroupId) -> Option<&CgroupStats> {
        self.further.get(&id).map(|further| &further.stats)
    }

    /// Reads the further files of the `n`th cgroup if it is its turn, and there may be something new in them.
    fn read_further(&mut self, n: usize, path: &CgroupPath, id: CgroupId, ran: Option<Duration>) {
        // A cgroup that is new is read at once, so that it is never told of by half.
        if let Some(known) = self.further.get(&id) {
            let idle = ran.is_some() && known.ran == ran;
            let idle_turn = n / ROUND % IDLE_ROUNDS == self.round;
            if n % ROUND != self.turn || idle && !idle_turn {
                return;
            }
        }
        match CgroupStats::read(&self.fs, path, &self.files) {
            Ok(stats) => {
                self.further.insert(id, Further { stats, ran });
            }
            Err(error) if error.is_gone() => {}
            Err(error) => warn!(%error, "a cgroup cannot be read"),
        }
    }
}

/// The further figures, with the basic ones of this moment.
fn with_basic(further: Option<&CgroupStats>, basic: CgroupStats) -> CgroupStats {
    let older = further.copied().unwrap_or_default();
    CgroupStats {
        cpu: basic.cpu.or(older.cpu),
        memory_current: basic.memory_current,
        swap_current: basic.swap_current,
        memory: basic.memory.or(older.memory),
        events: basic.events,
        ..older
    }
}

fn value<T: Copy>(figure: Option<Sourced<T>>) -> Option<T> {
    figure.map(|figure| figure.value)
}

/// What the two sources say together.
fn reading(sample: &CgroupSample, files: Option<&CgroupStats>) -> Reading {
    let files = files.copied().unwrap_or_default();
    Reading {
        cpu: cpu(sample, &files),
        memory: memory(sample, &files),
        tasks: files.tasks,
        pressure: pressure(&files),
    }
}

fn cpu(sample: &CgroupSample, files: &CgroupStats) -> Option<CpuUsage> {
    let total = value(sample.cpu).or(files.cpu.map(|cpu| cpu.usage))?;
    let run_delay = value(sample.run_delay);
    Some(CpuUsage {
        total,
        rate: None,
        run_delay: run_delay.map(|delay| delay.total),
        run_delay_count: run_delay.map(|delay| delay.count()),
        run_delay_histogram: run_delay.map(|delay| delay.histogram),
        throttled: files.cpu.and_then(|cpu| cpu.throttled),
        user: files.cpu.map(|cpu| cpu.user),
        system: files.cpu.map(|cpu| cpu.system),
        periods: files.cpu.and_then(|cpu| cpu.periods),
        throttled_periods: files.cpu.and_then(|cpu| cpu.throttled_periods),
    })
}

fn memory(sample: &CgroupSample, files: &CgroupStats) -> Option<MemoryUsage> {
    let current = value(sample.memory).or(files.memory_current)?;
    let inactive_file = value(sample.lru)
        .map(|lru| lru.inactive_file)
        .or(files.memory.map(|m| m.inactive_file));
    let kinds = value(sample.kinds);
    let events = value(sample.events);
    let stalls = [value(sample.reclaim), value(sample.over_high)];
    let stalled = stalls
        .iter()
        .flatten()
        .map(|stall| stall.total)
        .reduce(|a, b| a + b);
    Some(MemoryUsage {
        current,
        working_set: current.saturating_sub(inactive_file.unwrap_or(Bytes(0))),
        peak: value(sample.memory_peak).or(files.memory_peak),
        swap: value(sample.swap).or(files.swap_current),
        anon: kinds.map(|k| k.anon).or(files.memory.map(|m| m.anon)),
        file: kinds.map(|k| k.file).or(files.memory.map(|m| m.file)),
        shmem: kinds.map(|k| k.shmem).or(files.memory.map(|m| m.shmem)),
        slab: kinds
            .map(|k| k.slab_reclaimable.saturating_add(k.slab_unreclaimable))
            .or(files.memory.map(|m| m.slab)),
        mapped_file: files.memory.map(|m| m.file_mapped),
        page_faults: files.memory.map(|m| m.page_faults),
        major_page_faults: files.memory.map(|m| m.major_page_faults),
        high_events: events
            .map(|e| e.high)
            .or(files.events.map(|e| e.high))
            .unwrap_or_default(),
        stalled,
        max_events: events
            .map(|e| e.max)
            .or(files.events.map(|e| e.max))
            .unwrap_or_default(),
        oom_kills: events
            .map(|e| e.oom_kill)
            .or(files.events.map(|e| e.oom_kill))
            .unwrap_or_default(),
    })
}

fn pressure(files: &CgroupStats) -> Option<PressureTotals> {
    let some = |p: Option<crate::observe::parse::Pressure>| p.and_then(|p| p.some).map(|s| s.total);
    let full = |p: Option<crate::observe::parse::Pressure>| p.and_then(|p| p.full).map(|s| s.total);
    Some(PressureTotals {
        cpu_some: some(files.cpu_pressure)?,
        cpu_full: full(files.cpu_pressure).unwrap_or_default(),
        memory_some: some(files.memory_pressure)?,
        memory_full: full(files.memory_pressure)?,
        io_some: some(files.io_pressure)?,
        io_full: full(files.io_pressure)?,
    })
}
