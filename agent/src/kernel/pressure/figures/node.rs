//! The machine's files, and those of the pods' root.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::super::cgroup::{MemoryCgroup, read_start};
use super::super::parse;
use super::pod::Stat;
use super::{FiguresError, Sweep, content, file, place, place_to_be};
use crate::model::pressure::{FilesystemFigures, NodeFigures};
use crate::model::{BootTime, Bytes, Limit};

const MEMINFO: &str = "meminfo";

/// Open files of the machine.
#[derive(Debug)]
pub(super) struct MachineFiles {
    meminfo: OwnedFd,
    loadavg: Option<OwnedFd>,
    /// None without PSI.
    pressure: Option<OwnedFd>,
    pid_max: Option<OwnedFd>,
    threads_max: Option<OwnedFd>,
    root: RootFiles,
    nodefs: Option<OwnedFd>,
    imagefs: Option<OwnedFd>,
}

#[derive(Debug)]
struct RootFiles {
    current: Option<OwnedFd>,
    stat: Option<OwnedFd>,
    high: Option<OwnedFd>,
    max: Option<OwnedFd>,
    pressure: Option<OwnedFd>,
}

impl MachineFiles {
    pub(super) fn open(
        proc: &Path,
        root: &MemoryCgroup,
        nodefs: Option<&Path>,
        imagefs: Option<&Path>,
    ) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let open = |name: &str| rustix::fs::open(proc.join(name), flags, Mode::empty());
        Ok(Self {
            meminfo: open(MEMINFO)?,
            loadavg: open("loadavg").ok(),
            pressure: open("pressure/memory").ok(),
            pid_max: open("sys/kernel/pid_max").ok(),
            threads_max: open("sys/kernel/threads-max").ok(),
            root: RootFiles {
                current: file(root, c"memory.current"),
                stat: file(root, c"memory.stat"),
                high: file(root, c"memory.high"),
                max: file(root, c"memory.max"),
                pressure: file(root, c"memory.pressure"),
            },
            nodefs: nodefs.map(place_to_be).transpose()?,
            imagefs: imagefs.map(place).transpose()?,
        })
    }

    pub(super) fn read(
        &self,
        sweep: Sweep,
        now: BootTime,
        node: &mut NodeFigures,
        buffer: &mut [u8],
    ) -> Result<(), FiguresError> {
        node.at = now;
        self.read_memory(node, buffer)
            .map_err(|errno| FiguresError { file: MEMINFO, errno })?;
        // Neither the machine's other files nor the root's stop the rest: a root that is gone has nothing.
        let stalls = content(self.pressure.as_ref(), buffer)
            .ok()
            .flatten()
            .map(parse::stalls);
        if let Some((some, full)) = stalls {
            (node.some, node.full) = (some.unwrap_or_default(), full.unwrap_or_default());
        }
        self.root.read(node, buffer);
        let tasks = content(self.loadavg.as_ref(), buffer).ok().flatten();
        node.tasks = tasks.and_then(parse::tasks).unwrap_or_default();
        if sweep == Sweep::Full {
            node.tasks_max = self.tasks_max(buffer);
            node.nodefs = self.nodefs.as_ref().and_then(|place| filesystem(place).ok());
            node.imagefs = self.imagefs.as_ref().and_then(|place| filesystem(place).ok());
        }
        Ok(())
    }

    /// As kubelet has it: the lower of the two bounds.
    fn tasks_max(&self, buffer: &mut [u8]) -> u64 {
        [&self.pid_max, &self.threads_max]
            .into_iter()
            .filter_map(|file| {
                let text = content(file.as_ref(), buffer).ok().flatten();
                text.and_then(parse::number)
            })
            .min()
            .unwrap_or_default()
    }

    fn read_memory(&self, node: &mut NodeFigures, buffer: &mut [u8]) -> Result<(), Errno> {
        let text = read_start(self.meminfo.as_fd(), buffer)?;
        let [total, available, free, inactive_file, swap, swap_free] = parse::meminfo(
            text,
            [
                b"MemTotal",
                b"MemAvailable",
                b"MemFree",
                b"Inactive(file)",
                b"SwapTotal",
                b"SwapFree",
            ],
        );
        let (Some(total), Some(available)) = (total, available) else {
            return Err(Errno::ILSEQ);
        };
        node.capacity = total;
        node.available = available;
        node.working_set = total
            .saturating_sub(free.unwrap_or_default())
            .saturating_sub(inactive_file.unwrap_or_default());
        node.swap = swap.unwrap_or_default();
        node.swap_free = swap_free.unwrap_or_default();
        Ok(())
    }
}

impl RootFiles {
    fn read(&self, node: &mut NodeFigures, buffer: &mut [u8]) {
        let mut text = |file: &Option<OwnedFd>, read: &mut dyn FnMut(&[u8])| {
            if let Ok(Some(text)) = content(file.as_ref(), buffer) {
                read(text);
            }
        };
        node.root_current = Bytes(0);
        text(&self.current, &mut |text| {
            node.root_current = Bytes(parse::number(text).unwrap_or_default());
        });
        let mut stat = Stat::default();
        text(&self.stat, &mut |text| {
            stat = Stat::read(text).unwrap_or_default();
        });
        node.root_reclaimable = stat.reclaimable();
        node.root_inactive_file = stat.inactive_file;
        (node.root_high, node.root_max) = (Limit::Max, Limit::Max);
        text(&self.high, &mut |text| {
            node.root_high = parse::limit(text).unwrap_or_default();
        });
        text(&self.max, &mut |text| {
            node.root_max = parse::limit(text).unwrap_or_default();
        });
        text(&self.pressure, &mut |text| {
            let (some, full) = parse::stalls(text);
            (node.root_some, node.root_full) = (some.unwrap_or_default(), full.unwrap_or_default());
        });
    }
}

/// What a file system has left; none when it does not answer.
pub(super) fn filesystem(place: &OwnedFd) -> Result<FilesystemFigures, Errno> {
    let stat = rustix::fs::fstatvfs(place)?;
    let bytes = |blocks: u64| Bytes(blocks.saturating_mul(stat.f_frsize));
    Ok(FilesystemFigures {
        capacity: bytes(stat.f_blocks),
        available: bytes(stat.f_bavail),
        inodes: stat.f_files,
        inodes_free: stat.f_ffree,
    })
}
