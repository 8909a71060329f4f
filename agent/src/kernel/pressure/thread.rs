//! The standing of the guard's thread: it runs before others, and the program is not taken away from under it.
//!
//! **Memory.** Under pressure the kernel drops the pages of programs, which are files, and whoever runs waits for the disk to
//! have them back. So the program and its libraries are locked, page by page as they are touched. The heap is not: it is
//! never dropped without swap, `memory.min` of the agent's cgroup keeps it, and what is locked can never be given back,
//! which is tens of megabytes after the probes were loaded.
//!
//! Each part may be refused, and the rest is done; the answer says what is missing, in words for the log.

#![expect(unsafe_code, reason = "sched_setscheduler(2) and mlock2(2) have no safe form")]

use std::io;

use rustix::mm::MlockFlags;
use rustix::process::{Resource, Rlimit};

/// What was reached.
#[derive(Debug, Default)]
pub struct Standing {
    /// Why the thread does not run as real-time.
    pub not_real_time: Option<io::Error>,
    /// Why the program is not locked.
    pub not_locked: Option<io::Error>,
}

impl Standing {
    /// What is missing, for a person.
    pub fn missing(&self) -> impl Iterator<Item = String> {
        let real_time = self.not_real_time.as_ref().map(|error| {
            format!(
                "the guard runs at usual priority, since SCHED_FIFO was refused: {error} (needs CAP_SYS_NICE)"
            )
        });
        let locked = self.not_locked.as_ref().map(|error| {
            format!(
                "the guard's program may be taken away, since mlock was refused: {error} (needs CAP_IPC_LOCK)"
            )
        });
        real_time.into_iter().chain(locked)
    }
}

/// Makes the calling thread real-time, at the lowest priority of those, and locks the program and its libraries: their pages
/// stay once they were touched.
///
/// What the thread starts runs at usual priority again.
#[must_use]
pub fn raise() -> Standing {
    let param = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameter is valid for the call, which keeps no pointer; 0 is the calling thread.
    let result = unsafe {
        libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const param)
    };
    let not_real_time = (result != 0).then(io::Error::last_os_error);
    Standing {
        not_real_time,
        not_locked: lock_program().err(),
    }
}

/// Locks what is mapped from files.
fn lock_program() -> io::Result<()> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    for (from, to) in maps.lines().filter_map(file_mapping) {
        // On fault: all of the program would otherwise be made resident at once.
        // SAFETY: locking changes neither what is there nor who may use it; a range that is gone meanwhile is refused.
        unsafe {
            rustix::mm::mlock_with(
                std::ptr::without_provenance_mut(from),
                to - from,
                MlockFlags::ONFAULT,
            )?;
        };
    }
    Ok(())
}

/// The range of a line of `/proc/PID/maps` that is mapped from a file.
fn file_mapping(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (from, to) = words.next()?.split_once('-')?;
    let file = words.nth(4)?;
    // Rings and maps that are shared with the kernel are no files of this kind.
    let is_file = file.starts_with('/') && !file.starts_with("/dev/");
    let number = |text| usize::from_str_radix(text, 16).ok();
    is_file.then_some((number(from)?, number(to)?))
}

/// Raises the number of descriptors that the process may have to `wanted`, or as far as it may; gives the number.
#[must_use]
pub fn allow_descriptors(wanted: u64) -> u64 {
    let now = rustix::process::getrlimit(Resource::Nofile);
    // No limit at all is enough.
    let Some(current) = now.current else {
        return u64::MAX;
    };
    if current >= wanted {
        return current;
    }
    let above = Rlimit {
        current: Some(wanted),
        maximum: now.maximum.map(|maximum| maximum.max(wanted)),
    };
    if rustix::process::setrlimit(Resource::Nofile, above).is_ok() {
        return wanted;
    }
    // Without CAP_SYS_RESOURCE only up to the hard limit.
    let reachable = now.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let within = Rlimit {
        current: Some(reachable),
        maximum: now.maximum,
    };
    match rustix::process::setrlimit(Resource::Nofile, within) {
        Ok(()) => reachable,
        Err(_) => current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_locked() {
        let line = |rest: &str| format!("1000-3000 r-xp 00000000 fd:00 12 {rest}");
        assert_eq!(file_mapping(&line("/usr/bin/plimsoll")), Some((0x1000, 0x3000)));
        for other in [
            "[heap]",
            "[stack]",
            "",
            "/dev/zero (deleted)",
            "anon_inode:bpf-map",
        ] {
            assert_eq!(file_mapping(&line(other)), None, "{other}");
        }
        assert_eq!(file_mapping("nonsense"), None);
    }

    #[test]
    fn descriptors_are_raised_and_never_lowered() {
        let before = allow_descriptors(0);
        let raised = allow_descriptors(before.saturating_add(1));
        assert!(raised >= before);
        assert_eq!(allow_descriptors(0), raised);
    }

    #[test]
    fn what_is_refused_is_said_with_its_remedy() {
        let refused = || Some(io::Error::from_raw_os_error(libc::EPERM));
        let standing = Standing {
            not_real_time: refused(),
            not_locked: refused(),
        };
        let words: Vec<_> = standing.missing().collect();
        assert!(
            words[0].contains("CAP_SYS_NICE") && words[1].contains("CAP_IPC_LOCK"),
            "{words:?}"
        );
        assert_eq!(Standing::default().missing().count(), 0);
    }
}
