//! What a cgroup uses and has suffered, from its interface files.
//!
//! **Problem.** eBPF gives these figures for all cgroups at once, but not everywhere: then they come from files, for
//! hundreds of cgroups each second. **How.** [`CgroupStats::take`] is pure: it reads one file's text into typed fields.
//! [`FileSampler`] keeps the files of every watched cgroup open, so that a figure costs one `pread`. A file that does
//! not exist (no such controller, older kernel) leaves its fields `None`; it is never 0.
//!
//! # Properties
//! - A cgroup made again under the same name is sampled as the new one, with the new identity.
//! - Descriptors kept open are those of cgroups sampled last, and no more than allowed.
//! - A cgroup that cannot be read costs no other its sample.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::parse::{self, Pressure, PressureLine};
use crate::kernel::cgroup_fs::{CgroupError, CgroupFs, Fault, KeptFile, RealCgroupFs};
use crate::model::{Bytes, CgroupId, CgroupPath, ControlFile, MemoryEvents, PressureTotals};

/// `cpu.stat`. The throttling part needs the controller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuStat {
    /// CPU time used since the cgroup was made.
    pub usage: Duration,
    /// The part in user mode.
    pub user: Duration,
    /// The part in the kernel.
    pub system: Duration,
    /// Bandwidth periods in which a task was runnable.
    pub periods: Option<u64>,
    /// Bandwidth periods in which the quota was used up.
    pub throttled_periods: Option<u64>,
    /// Time held back by `cpu.max`.
    pub throttled: Option<Duration>,
}

/// The parts of `memory.stat` that the agent uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryStat {
    /// Anonymous memory.
    pub anon: Bytes,
    /// File cache, shared memory included.
    pub file: Bytes,
    /// Shared memory and tmpfs.
    pub shmem: Bytes,
    /// The kernel's slab memory.
    pub slab: Bytes,
    /// The part of it that cannot be reclaimed.
    pub slab_unreclaimable: Bytes,
    /// File pages mapped by a process.
    pub file_mapped: Bytes,
    /// File pages first in line for reclaim.
    pub inactive_file: Bytes,
    /// Stacks of tasks in the kernel.
    pub kernel_stack: Bytes,
    /// Page tables.
    pub page_tables: Bytes,
    /// Network buffers.
    pub sock: Bytes,
    /// Page faults.
    pub page_faults: u64,
    /// Page faults that waited for a disk.
    pub major_page_faults: u64,
}

/// All figures of one cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CgroupStats {
    /// CPU time.
    pub cpu: Option<CpuStat>,
    /// `memory.current`.
    pub memory_current: Option<Bytes>,
    /// `memory.peak` (since Linux 5.19).
    pub memory_peak: Option<Bytes>,
    /// `memory.swap.current`.
    pub swap_current: Option<Bytes>,
    /// Memory by kind.
    pub memory: Option<MemoryStat>,
    /// Limit events in the subtree.
    pub events: Option<MemoryEvents>,
    /// Limit events of the cgroup alone.
    pub events_local: Option<MemoryEvents>,
    /// `pids.current`.
    pub tasks: Option<u64>,
    /// CPU pressure.
    pub cpu_pressure: Option<Pressure>,
    /// Memory pressure.
    pub memory_pressure: Option<Pressure>,
    /// IO pressure.
    pub io_pressure: Option<Pressure>,
}

impl CgroupStats {
    /// Every file that [`take`](Self::take) understands.
    pub const FILES: [ControlFile; 11] = [
        ControlFile::CpuStat,
        ControlFile::MemoryCurrent,
        ControlFile::MemoryPeak,
        ControlFile::MemorySwapCurrent,
        ControlFile::MemoryStat,
        ControlFile::MemoryEvents,
        ControlFile::MemoryEventsLocal,
        ControlFile::PidsCurrent,
        ControlFile::CpuPressure,
        ControlFile::MemoryPressure,
        ControlFile::IoPressure,
    ];

    /// Takes in the content of one file; others than [`FILES`](Self::FILES) change nothing.
    pub fn take(&mut self, file: ControlFile, text: &str) {
        match file {
            ControlFile::CpuStat => self.cpu = cpu_stat(text),
            ControlFile::MemoryCurrent => self.memory_current = parse::bytes(text),
            ControlFile::MemoryPeak => self.memory_peak = parse::bytes(text),
            ControlFile::MemorySwapCurrent => self.swap_current = parse::bytes(text),
            ControlFile::MemoryStat => self.memory = Some(memory_stat(text)),
            ControlFile::MemoryEvents => self.events = Some(memory_events(text)),
            ControlFile::MemoryEventsLocal => self.events_local = Some(memory_events(text)),
            ControlFile::PidsCurrent => self.tasks = parse::number(text),
            ControlFile::CpuPressure => self.cpu_pressure = Some(parse::pressure(text)),
            ControlFile::MemoryPressure => self.memory_pressure = Some(parse::pressure(text)),
            ControlFile::IoPressure => self.io_pressure = Some(parse::pressure(text)),
            _ => {}
        }
    }

    /// Waiting times; `None` when the kernel keeps none.
    #[must_use]
    pub fn pressure_totals(&self) -> Option<PressureTotals> {
        let total = |line: Option<PressureLine>| line.map(|line| line.total).unwrap_or_default();
        let (cpu, memory, io) = (self.cpu_pressure?, self.memory_pressure?, self.io_pressure?);
        Some(PressureTotals {
            cpu_some: total(cpu.some),
            cpu_full: total(cpu.full),
            memory_some: total(memory.some),
            memory_full: total(memory.full),
            io_some: total(io.some),
            io_full: total(io.full),
        })
    }

    /// Reads `files` of one cgroup, opening and closing each.
    ///
    /// # Errors
    /// The kernel's refusal, [`Fault::Gone`] included; a file that does not exist is no error.
    pub fn read(fs: &dyn CgroupFs, path: &CgroupPath, files: &[ControlFile]) -> Result<Self, CgroupError> {
        let mut stats = Self::default();
        for file in files {
            match fs.read(path, *file) {
                Ok(text) => stats.take(*file, &text),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(stats)
    }
}

/// Whether the kernel does not offer the file here: it does not exist, or (pressure files of a kernel with
/// `psi=0`) it cannot be opened.
fn is_absent(error: &CgroupError) -> bool {
    /// `EOPNOTSUPP` on Linux.
    const NOT_SUPPORTED: i32 = 95;
    error.fault == Fault::NoSuchFile || error.errno() == Some(NOT_SUPPORTED)
}

fn cpu_stat(text: &str) -> Option<CpuStat> {
    let mut stat = CpuStat::default();
    let mut found = false;
    for (key, value) in parse::flat_keyed(text) {
        match key {
            "usage_usec" => {
                stat.usage = Duration::from_micros(value);
                found = true;
            }
            "user_usec" => stat.user = Duration::from_micros(value),
            "system_usec" => stat.system = Duration::from_micros(value),
            "nr_periods" => stat.periods = Some(value),
            "nr_throttled" => stat.throttled_periods = Some(value),
            "throttled_usec" => stat.throttled = Some(Duration::from_micros(value)),
            _ => {}
        }
    }
    found.then_some(stat)
}

fn memory_stat(text: &str) -> MemoryStat {
    let mut stat = MemoryStat::default();
    for (key, value) in parse::flat_keyed(text) {
        match key {
            "anon" => stat.anon = Bytes(value),
            "file" => stat.file = Bytes(value),
            "shmem" => stat.shmem = Bytes(value),
            "slab" => stat.slab = Bytes(value),
            "slab_unreclaimable" => stat.slab_unreclaimable = Bytes(value),
            "file_mapped" => stat.file_mapped = Bytes(value),
            "inactive_file" => stat.inactive_file = Bytes(value),
            "kernel_stack" => stat.kernel_stack = Bytes(value),
            "pagetables" => stat.page_tables = Bytes(value),
            "sock" => stat.sock = Bytes(value),
            "pgfault" => stat.page_faults = value,
            "pgmajfault" => stat.major_page_faults = value,
            _ => {}
        }
    }
    stat
}

fn memory_events(text: &str) -> MemoryEvents {
    let mut events = MemoryEvents::default();
    for (key, value) in parse::flat_keyed(text) {
        match key {
            "low" => events.low = value,
            "high" => events.high = value,
            "max" => events.max = value,
            "oom" => events.oom = value,
            "oom_kill" => events.oom_kill = value,
            "oom_group_kill" => events.oom_group_kill = value,
            _ => {}
        }
    }
    events
}

/// The files of one cgroup, open.
#[derive(Debug)]
struct Kept {
    id: CgroupId,
    files: Vec<(ControlFile, KeptFile)>,
}

/// Samples many cgroups over and over.
#[derive(Debug)]
pub struct FileSampler {
    files: Vec<ControlFile>,
    kept: BTreeMap<CgroupPath, Kept>,
    most_open: usize,
    turn: usize,
    buffer: Vec<u8>,
}

/// What one round of sampling gave.
#[derive(Debug, Default)]
pub struct Samples {
    /// Cgroups with their identity and figures, in the order asked for; those that are gone are left out.
    pub taken: Vec<(CgroupPath, CgroupId, CgroupStats)>,
    /// Cgroups that are there and could not be read.
    pub refused: Vec<CgroupError>,
}

impl FileSampler {
    /// Files kept open at most: half of the descriptors that a process may have unless somebody allows it more.
    const MOST_OPEN: usize = 512;
    /// After so many rounds files that did not exist are looked for again: a controller may have been enabled.
    const LOOK_AGAIN: usize = 64;

    /// A sampler of these files of each cgroup.
    #[must_use]
    pub fn new(files: &[ControlFile]) -> Self {
        Self::with_most_open(files, Self::MOST_OPEN)
    }

    /// A sampler that keeps at most so many files open; those of further cgroups are opened at each sample.
    #[must_use]
    pub fn with_most_open(files: &[ControlFile], most_open: usize) -> Self {
        Self {
            files: files.to_vec(),
            kept: BTreeMap::new(),
            most_open,
            turn: 0,
            buffer: Vec::new(),
        }
    }

    /// One sample of each cgroup of `paths`; kept files of other cgroups are closed.
    pub fn sample(&mut self, fs: &RealCgroupFs, paths: &[CgroupPath]) -> Samples {
        let mut before = std::mem::take(&mut self.kept);
        let asked: BTreeSet<_> = paths.iter().collect();
        before.retain(|path, _| asked.contains(path));
        self.turn = (self.turn + 1) % Self::LOOK_AGAIN;
        if self.turn == 0 {
            before.retain(|_, kept| kept.files.len() == self.files.len());
        }
        let mut open: usize = before.values().map(|kept| kept.files.len()).sum();
        let mut samples = Samples::default();
        for path in paths {
            let known = before.remove(path);
            open -= known.as_ref().map_or(0, |kept| kept.files.len());
            let may_keep = open + self.files.len() <= self.most_open;
            let sampled = match known.map(|kept| self.read(kept)) {
                Some(Err(error)) if !error.is_gone() => Err(error),
                Some(Ok((kept, stats))) => Ok((Some(kept), stats)),
                // Not open yet, or gone since: perhaps another one has its place.
                None | Some(Err(_)) if may_keep => self
                    .open(fs, path)
                    .and_then(|kept| self.read(kept))
                    .map(|(kept, stats)| (Some(kept), stats)),
                None | Some(Err(_)) => CgroupStats::read(fs, path, &self.files).map(|stats| (None, stats)),
            };
            let sampled = sampled.and_then(|(kept, stats)| {
                let id = kept.as_ref().map_or_else(|| fs.id(path), |kept| Ok(kept.id))?;
                Ok((id, kept, stats))
            });
            match sampled {
                Ok((id, kept, stats)) => {
                    samples.taken.push((path.clone(), id, stats));
                    if let Some(kept) = kept {
                        open += kept.files.len();
                        self.kept.insert(path.clone(), kept);
                    }
                }
                Err(error) if error.is_gone() => {}
                Err(error) => samples.refused.push(error),
            }
        }
        samples
    }

    fn open(&self, fs: &RealCgroupFs, path: &CgroupPath) -> Result<Kept, CgroupError> {
        let id = fs.id(path)?;
        let mut files = Vec::with_capacity(self.files.len());
        for file in &self.files {
            match fs.keep(path, *file) {
                Ok(kept) => files.push((*file, kept)),
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Kept { id, files })
    }

    fn read(&mut self, kept: Kept) -> Result<(Kept, CgroupStats), CgroupError> {
        let mut stats = CgroupStats::default();
        for (file, open) in &kept.files {
            stats.take(*file, parse::text(open.read(&mut self.buffer)?));
        }
        Ok((kept, stats))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::cgroup_fs::FakeCgroupFs;
    use crate::model::Controller;

    #[test]
    fn a_missing_file_is_none_and_not_zero() {
        let fs = FakeCgroupFs::new([Controller::Cpu]);
        let stats = CgroupStats::read(&fs, &CgroupPath::ROOT, &CgroupStats::FILES).unwrap();
        assert_eq!(stats.cpu.map(|cpu| cpu.usage), Some(Duration::ZERO));
        assert_eq!(
            (stats.memory_current, stats.memory, stats.tasks),
            (None, None, None)
        );
    }

    #[test]
    fn without_the_cpu_controller_there_is_usage_and_no_throttling() {
        let mut stats = CgroupStats::default();
        stats.take(
            ControlFile::CpuStat,
            "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n",
        );
        let cpu = stats.cpu.unwrap();
        assert_eq!(cpu.usage, Duration::from_micros(1500));
        assert_eq!((cpu.periods, cpu.throttled), (None, None));
        stats.take(ControlFile::CpuStat, "");
        assert_eq!(stats.cpu, None);
    }

    #[test]
    fn every_file_named_is_understood() {
        for file in CgroupStats::FILES {
            let mut stats = CgroupStats::default();
            let text = if file == ControlFile::CpuStat {
                "usage_usec 1\n"
            } else {
                "1\n"
            };
            stats.take(file, text);
            assert_ne!(stats, CgroupStats::default(), "{file}");
        }
    }
}
