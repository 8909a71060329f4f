//! All processes of the machine, as the kernel's OOM killer sees them.
//!
//! **How.** The containers' members are listed first, then every process in `/proc` is read: its size from `status`, who it
//! is from `stat`; of the kernel's own threads only that. A process that ends meanwhile is left out. What each had before
//! the agent steered it is the matter of [`Scores`].

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::cgroup::MemoryCgroup;
use super::killer::{each_cgroup, each_process};
use super::parse;
use super::scores::{Facts, Scores, facts_of, read_in, score};
use crate::model::pressure::{Owner, ProcessFigures};
use crate::model::{Bytes, CgroupId, OomScoreAdj, ProcessIdentity};

/// A container's cgroup and whose it is.
#[derive(Debug, Clone)]
pub struct Container {
    /// Whose.
    pub owner: Owner,
    /// Its cgroup.
    pub cgroup: Arc<MemoryCgroup>,
}

/// Lists processes; keeps its buffers from one time to the next.
#[derive(Debug, Default)]
pub struct ProcessReader {
    members: Vec<(i32, Owner, CgroupId)>,
}

impl ProcessReader {
    /// Reads every process into `into`, which is emptied first. Milliseconds for hundreds: not for the way to a kill.
    ///
    /// # Errors
    /// `/proc` cannot be listed; the error number.
    pub fn read(
        &mut self,
        containers: &[Container],
        scores: &mut Scores,
        into: &mut Vec<ProcessFigures>,
    ) -> Result<(), i32> {
        into.clear();
        self.members.clear();
        for Container { owner, cgroup } in containers {
            let members = &mut self.members;
            // A container that is gone has no processes.
            _ = each_cgroup(cgroup.as_fd(), &mut |dir| {
                each_process(dir, &mut |pid| members.push((pid, *owner, cgroup.id())))
            });
        }
        self.members.sort_unstable_by_key(|(pid, ..)| *pid);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = rustix::fs::open("/proc", flags, Mode::empty()).map_err(Errno::raw_os_error)?;
        let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 8192];
        let mut entries = RawDir::new(&proc, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(Errno::raw_os_error)?;
            let name = entry.file_name();
            let Some(pid) = parse::decimal(name.to_bytes()).and_then(|pid| i32::try_from(pid).ok()) else {
                continue;
            };
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let Ok(dir) = rustix::fs::openat(&proc, name, flags, Mode::empty()) else {
                continue;
            };
            let member = self.members.binary_search_by_key(&pid, |(pid, ..)| *pid);
            let member = member.ok().and_then(|at| self.members.get(at));
            let place = member.map(|(_, owner, cgroup)| (*owner, *cgroup));
            into.extend(process(dir.as_fd(), pid, place, scores));
        }
        Ok(())
    }
}

/// Reads one process; none when it ends.
fn process(
    dir: BorrowedFd<'_>,
    pid: i32,
    place: Option<(Owner, CgroupId)>,
    scores: &mut Scores,
) -> Option<ProcessFigures> {
    let mut buffer = [0; 4096];
    let Facts {
        start_ticks,
        exiting,
        kernel,
    } = facts_of(read_in(dir, c"stat", &mut buffer).ok()?)?;
    let process = ProcessIdentity {
        pid: pid.unsigned_abs(),
        start_ticks,
    };
    if kernel {
        // It has no memory of its own and is never taken: the dearer files tell nothing, and there are hundreds of these.
        return Some(ProcessFigures {
            process,
            owner: None,
            rss: Bytes(0),
            swap: Bytes(0),
            page_tables: Bytes(0),
            oom_score_adj: OomScoreAdj(0),
            start: OomScoreAdj(0),
            exempt: true,
        });
    }
    let oom_score_adj = score(read_in(dir, c"oom_score_adj", &mut buffer).ok()?)?;
    let size = Size::read(read_in(dir, c"status", &mut buffer).ok()?);
    let start = place.map_or(oom_score_adj, |(_, cgroup)| {
        scores.start(cgroup, process, oom_score_adj)
    });
    Some(ProcessFigures {
        process,
        owner: place.map(|(owner, _)| owner),
        rss: size.resident,
        swap: size.swapped,
        page_tables: size.page_tables,
        oom_score_adj,
        start,
        exempt: pid == 1 || exiting,
    })
}

/// What `status` says of a process's memory. One that has none (any more) has no such lines.
#[derive(Debug, Default, PartialEq, Eq)]
struct Size {
    resident: Bytes,
    swapped: Bytes,
    page_tables: Bytes,
}

impl Size {
    fn read(status: &[u8]) -> Self {
        // The lines are those of meminfo, but for the tabulator.
        let mut size = Self::default();
        for line in parse::lines(status) {
            let field = match line.split(|byte| *byte == b':').next() {
                Some(b"VmRSS") => &mut size.resident,
                Some(b"VmSwap") => &mut size.swapped,
                Some(b"VmPTE") => &mut size.page_tables,
                _ => continue,
            };
            let value = line.split(|byte| *byte == b':').nth(1).unwrap_or_default();
            let kib = value.trim_ascii().strip_suffix(b" kB");
            let kib = kib.and_then(|kib| parse::decimal(kib.trim_ascii()));
            *field = Bytes(kib.and_then(|kib| kib.checked_mul(1024)).unwrap_or_default());
        }
        size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_whatever_the_name_of_the_process() {
        let status = b"Name:\tVmRSS: 9 kB\nVmPeak:\t   77 kB\nVmRSS:\t    12 kB\nVmPTE:\t      4 kB\nVmSwap:\t       8 kB\n";
        let expected = Size {
            resident: Bytes(12 << 10),
            swapped: Bytes(8 << 10),
            page_tables: Bytes(4 << 10),
        };
        assert_eq!(Size::read(status), expected);
        assert_eq!(Size::read(b"Name:\tkthreadd\nState:\tS\n"), Size::default());
        assert_eq!(Size::read(b"VmRSS\nVmPTE:\nVmSwap:\tx kB\n"), Size::default());
    }

    #[test]
    fn every_process_is_listed_and_this_one_as_it_is() {
        let mut processes = Vec::new();
        ProcessReader::default()
            .read(&[], &mut Scores::default(), &mut processes)
            .unwrap();
        let own = std::process::id();
        let found = processes
            .iter()
            .find(|figures| figures.process.pid == own)
            .unwrap();
        assert!(found.rss > Bytes::mib(1) && found.page_tables > Bytes(0) && !found.exempt);
        assert_eq!((found.owner, found.start), (None, found.oom_score_adj));
        assert!(
            processes
                .iter()
                .any(|figures| figures.process.pid == 1 && figures.exempt)
        );
    }
}
