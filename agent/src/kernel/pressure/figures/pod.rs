//! One pod's files.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use super::super::alarms::MemoryEvents;
use super::super::cgroup::MemoryCgroup;
use super::super::parse;
use super::{Sweep, content, file};
use crate::model::pressure::{Charge, PodFigures};
use crate::model::{BootTime, Bytes, CgroupId};

/// CPU use is the mean over at least this long.
const CPU_MEAN: Duration = Duration::from_millis(50);

/// Open files of a pod, and what they said last.
#[derive(Debug)]
pub(super) struct PodFiles {
    cgroup: Arc<MemoryCgroup>,
    current: Option<OwnedFd>,
    memory_events: Option<OwnedFd>,
    stat: Option<OwnedFd>,
    swap: Option<OwnedFd>,
    pressure: Option<OwnedFd>,
    events: Option<OwnedFd>,
    tasks: Option<OwnedFd>,
    cpu: Option<OwnedFd>,
    swapped: Bytes,
    used_cpu: Option<(BootTime, u64)>,
    /// How much more it uses than at the reading before.
    pub(super) grown: u64,
    pub(super) gone: bool,
    pub(super) figures: PodFigures,
}

impl PodFiles {
    pub(super) fn open(cgroup: &Arc<MemoryCgroup>) -> Self {
        let open = |name| file(cgroup, name);
        Self {
            current: open(c"memory.current"),
            memory_events: open(c"memory.events"),
            stat: open(c"memory.stat"),
            swap: open(c"memory.swap.current"),
            pressure: open(c"memory.pressure"),
            events: open(c"cgroup.events"),
            tasks: open(c"pids.current"),
            cpu: open(c"cpu.stat"),
            cgroup: cgroup.clone(),
            swapped: Bytes(0),
            used_cpu: None,
            grown: 0,
            gone: false,
            figures: PodFigures::default(),
        }
    }

    pub(super) fn id(&self) -> CgroupId {
        self.cgroup.id()
    }

    pub(super) fn descriptors(&self) -> usize {
        let files = [
            &self.current,
            &self.memory_events,
            &self.stat,
            &self.swap,
            &self.pressure,
            &self.events,
            &self.tasks,
            &self.cpu,
        ];
        files.into_iter().flatten().count()
    }

    /// What it is to be ordered by.
    pub(super) fn size(&self) -> Bytes {
        self.figures.current.saturating_add(self.swapped)
    }

    /// What it uses, and the events of its limits. What depends on `memory.stat` is not known until that is read.
    pub(super) fn read_use(&mut self, buffer: &mut [u8]) {
        let read = self.try_read_use(buffer);
        self.settle(read);
    }

    fn try_read_use(&mut self, buffer: &mut [u8]) -> Result<(), Errno> {
        self.figures.charge = None;
        let current = content(self.current.as_ref(), buffer)?.and_then(parse::number);
        let before = self.figures.current.0;
        self.figures.current = Bytes(current.unwrap_or_default());
        self.grown = self.figures.current.0.saturating_sub(before);
        if let Some(events) = content(self.memory_events.as_ref(), buffer)?.map(MemoryEvents::read) {
            self.figures.high_events = events.high;
            self.figures.max_events = events.max;
        }
        Ok(())
    }

    /// Swap, stalls, tasks, processes.
    pub(super) fn read_rest(&mut self, buffer: &mut [u8]) {
        let read = self.try_read_rest(buffer);
        self.settle(read);
    }

    fn try_read_rest(&mut self, buffer: &mut [u8]) -> Result<(), Errno> {
        let number = |content: Option<&[u8]>| content.and_then(parse::number);
        self.swapped = Bytes(number(content(self.swap.as_ref(), buffer)?).unwrap_or_default());
        self.figures.tasks = number(content(self.tasks.as_ref(), buffer)?).unwrap_or_default();
        let stalls = content(self.pressure.as_ref(), buffer)?.map(parse::stalls);
        if let Some((_, Some(full))) = stalls {
            self.figures.stalled = full;
        }
        let events = content(self.events.as_ref(), buffer)?;
        self.figures.populated = events.and_then(|text| parse::key(text, b"populated")) == Some(1);
        Ok(())
    }

    /// All of it.
    pub(super) fn read_dear(&mut self, sweep: Sweep, now: BootTime, buffer: &mut [u8]) {
        if self.gone {
            return;
        }
        let read = self.try_read_dear(sweep, now, buffer);
        self.settle(read);
    }

    fn try_read_dear(&mut self, sweep: Sweep, now: BootTime, buffer: &mut [u8]) -> Result<(), Errno> {
        if sweep == Sweep::Quick {
            self.try_read_rest(buffer)?;
        }
        let usage = content(self.cpu.as_ref(), buffer)?.and_then(|text| parse::key(text, b"usage_usec"));
        if let Some(usage) = usage {
            self.used_cpu(now, usage);
        }
        let known = self.current.is_some();
        let stat = content(self.stat.as_ref(), buffer)?.and_then(Stat::read);
        let Some(stat) = stat.filter(|_| known) else {
            return Ok(());
        };
        self.figures.charge = Some(Charge {
            swap: self.swapped,
            ..stat.charge
        });
        self.figures.reclaimable = stat.reclaimable();
        self.figures.working_set = self.figures.current.saturating_sub(stat.inactive_file);
        Ok(())
    }

    fn used_cpu(&mut self, now: BootTime, usage: u64) {
        let Some((then, before)) = self.used_cpu else {
            self.used_cpu = Some((now, usage));
            return;
        };
        let passed = now.since(then);
        if passed >= CPU_MEAN {
            let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
            let used = usage.saturating_sub(before);
            self.figures.cpu_milli = used.saturating_mul(1000).checked_div(micros).unwrap_or_default();
            self.used_cpu = Some((now, usage));
        }
    }

    /// A cgroup that is gone has nothing any more.
    fn settle(&mut self, read: Result<(), Errno>) {
        if read.is_err() {
            self.gone = true;
            self.grown = 0;
            self.swapped = Bytes(0);
            self.figures = PodFigures::default();
        }
    }
}

/// What counts of a `memory.stat`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stat {
    charge: Charge,
    file: Bytes,
    dirty: Bytes,
    slab_reclaimable: Bytes,
    pub(super) inactive_file: Bytes,
}

impl Stat {
    /// Reads the file; none unless it has the lines without which no charge can be told.
    pub(super) fn read(content: &[u8]) -> Option<Self> {
        let mut stat = Self::default();
        let mut seen = 0;
        for (key, value) in parse::flat_keyed(content) {
            let value = Bytes(value);
            match key {
                b"anon" => (stat.charge.anon, seen) = (value, seen | 1),
                b"file" => (stat.file, seen) = (value, seen | 2),
                b"shmem" => (stat.charge.shmem, seen) = (value, seen | 4),
                b"kernel_stack" => stat.charge.kernel_stack = value,
                b"pagetables" => stat.charge.page_tables = value,
                b"sock" => stat.charge.sock = value,
                b"slab_unreclaimable" => stat.charge.slab_unreclaimable = value,
                b"slab_reclaimable" => stat.slab_reclaimable = value,
                b"file_dirty" | b"file_writeback" => stat.dirty = stat.dirty.saturating_add(value),
                b"inactive_file" => (stat.inactive_file, seen) = (value, seen | 8),
                _ => {}
            }
        }
        (seen == 15).then_some(stat)
    }

    /// Comes back without anybody's end: clean page cache that is not shared memory, and slab that can be reclaimed.
    pub(super) fn reclaimable(&self) -> Bytes {
        let cache = self
            .file
            .saturating_sub(self.charge.shmem)
            .saturating_sub(self.dirty);
        cache.saturating_add(self.slab_reclaimable)
    }
}
