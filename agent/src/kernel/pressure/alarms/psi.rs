//! Triggers on pressure files (PSI): a descriptor that becomes readable when tasks waited longer than so much within a
//! window.
//!
//! **Rules of the kernels**, all of them seen, the first four the source of defects elsewhere:
//! - The text is read up to its NUL: without one, the last digit is lost and a threshold of 2 s becomes one of 200 ms.
//! - A descriptor whose trigger was refused polls as ready for ever: it has to be closed, and is never waited for.
//! - A second write to one descriptor is refused (`EBUSY`): each attempt opens the file anew.
//! - The first event of an unprivileged trigger can be false: nobody has waited.
//! - Windows shorter than 500 ms came with Linux 6.4. Without `CAP_SYS_RESOURCE` a window is a multiple of 2 s (since
//!   6.5; before, there is no trigger at all).
//! - Averages move every 2 s; totals are exact, and are what is read here.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;

use super::super::cgroup::read_start;
use super::super::parse;

/// A trigger: an event when tasks waited for `stall` within `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Waited for so long…
    pub stall: Duration,
    /// …within so long.
    pub window: Duration,
}

impl Window {
    const fn millis(stall: u64, window: u64) -> Self {
        Self {
            stall: Duration::from_millis(stall),
            window: Duration::from_millis(window),
        }
    }

    /// What is tried for `some`, the best first.
    pub(super) const SOME: [Self; 3] = [
        Self::millis(10, 100),
        Self::millis(50, 500),
        Self::millis(200, 2000),
    ];
    /// What is tried for `full`.
    pub(super) const FULL: [Self; 3] = [
        Self::millis(20, 100),
        Self::millis(50, 500),
        Self::millis(200, 2000),
    ];
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {:?}", self.stall, self.window)
    }
}

/// Whose waiting counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// That of any task.
    Some,
    /// Only while no task of it runs.
    Full,
}

/// An armed trigger.
#[derive(Debug)]
pub(super) struct Trigger {
    pub(super) fd: OwnedFd,
    pub(super) kind: Kind,
    /// The total when it was last looked at.
    seen: Duration,
    /// Whether an event has come.
    fired: bool,
}

impl Trigger {
    /// Arms the first window that the kernel takes. `open` opens the file anew, for reading and writing.
    ///
    /// # Errors
    /// The kernel's last refusal.
    pub(super) fn arm(
        kind: Kind,
        open: impl Fn() -> Result<OwnedFd, Errno>,
    ) -> Result<(Self, Window), Errno> {
        let (word, windows) = match kind {
            Kind::Some => ("some", Window::SOME),
            Kind::Full => ("full", Window::FULL),
        };
        let mut refusal = Errno::OPNOTSUPP;
        for window in windows {
            // Closed again at the end of the turn unless it was armed.
            let fd = open()?;
            let text = format!(
                "{word} {} {}\0",
                window.stall.as_micros(),
                window.window.as_micros()
            );
            match rustix::io::retry_on_intr(|| rustix::io::write(&fd, text.as_bytes())) {
                Ok(n) if n == text.len() => {
                    let mut trigger = Self {
                        fd,
                        kind,
                        seen: Duration::ZERO,
                        fired: false,
                    };
                    trigger.seen = trigger.total()?.unwrap_or_default();
                    return Ok((trigger, window));
                }
                Ok(_) => refusal = Errno::IO,
                Err(errno) => refusal = errno,
            }
        }
        Err(refusal)
    }

    /// After an event: the total, and how far it has moved. None for a first event without any waiting.
    ///
    /// # Errors
    /// The kernel's: `ENODEV` once the cgroup is gone.
    pub(super) fn event(&mut self) -> Result<Option<(Duration, Duration)>, Errno> {
        // A file that does not read as expected must not silence the trigger.
        let total = self.total()?;
        let moved = total.map_or(Duration::ZERO, |total| total.saturating_sub(self.seen));
        let first = !std::mem::replace(&mut self.fired, true);
        self.seen = total.unwrap_or(self.seen);
        Ok((!first || total.is_none() || !moved.is_zero()).then_some((self.seen, moved)))
    }

    fn total(&self) -> Result<Option<Duration>, Errno> {
        let mut buffer = [0; 512];
        let (some, full) = parse::stalls(read_start(self.fd.as_fd(), &mut buffer)?);
        Ok(match self.kind {
            Kind::Some => some,
            Kind::Full => full,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::OwnedFd;

    use super::*;

    /// A file takes every write and so shows what was written.
    #[test]
    fn the_text_ends_with_nul_and_refused_descriptors_are_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory.pressure");
        fs::write(&path, "").unwrap();
        let open = || {
            let file = fs::File::options().read(true).write(true).open(&path);
            Ok(OwnedFd::from(file.unwrap()))
        };
        let (trigger, window) = Trigger::arm(Kind::Full, open).unwrap();
        assert_eq!(window, Window::FULL[0]);
        assert_eq!(fs::read(&path).unwrap(), b"full 20000 100000\0");
        drop(trigger);
        // No file for reading only takes a write.
        let mut fds = Vec::new();
        let read_only = || {
            let fd = OwnedFd::from(fs::File::open(&path).unwrap());
            Ok(fd)
        };
        for _ in 0..3 {
            fds.push(Trigger::arm(Kind::Some, read_only).err());
        }
        assert_eq!(fds, [Some(Errno::BADF); 3]);
    }

    #[test]
    fn a_first_event_without_waiting_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory.pressure");
        let totals = |some: u64| {
            let text = format!("some avg10=0.00 avg60=0.00 avg300=0.00 total={some}\n");
            fs::write(&path, text).unwrap();
        };
        totals(5);
        let fd = OwnedFd::from(fs::File::open(&path).unwrap());
        let mut trigger = Trigger {
            fd,
            kind: Kind::Some,
            seen: Duration::from_micros(5),
            fired: false,
        };
        assert_eq!(trigger.event(), Ok(None), "false");
        let event = |total, moved| Ok(Some((Duration::from_micros(total), Duration::from_micros(moved))));
        assert_eq!(trigger.event(), event(5, 0), "only the first can be false");
        totals(12);
        assert_eq!(trigger.event(), event(12, 7));
        fs::write(&path, "nonsense").unwrap();
        assert_eq!(trigger.event(), event(12, 0), "not silenced");
    }
}
