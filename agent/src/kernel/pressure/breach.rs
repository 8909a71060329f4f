//! Whether a cgroup itself went over its `memory.high`.
//!
//! **Problem.** A probe tells at once that some cgroup has to reclaim at a limit, and not at whose. A pod at its own limit is
//! that pod's affair; the pods' root at its `memory.high` is everybody's. **How.** The kernel has counted before it
//! reclaims: the cgroup's own counter tells.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;

use super::MemoryEvents;
use super::cgroup::{MemoryCgroup, read_start};

/// The counter of one cgroup, read again and again.
#[derive(Debug)]
pub struct Breach {
    /// None where the kernel has no such file (before 5.3), or the cgroup is the machine's root.
    events: Option<OwnedFd>,
    seen: u64,
}

impl Breach {
    /// What was counted so far counts no more.
    #[must_use]
    pub fn of(cgroup: &MemoryCgroup) -> Self {
        Self::in_file(cgroup.open(c"memory.events.local", OFlags::RDONLY).ok())
    }

    fn in_file(events: Option<OwnedFd>) -> Self {
        let mut breach = Self { events, seen: 0 };
        breach.has_come();
        breach
    }

    /// Whether there was a breach since the last call. Allocates nothing.
    pub fn has_come(&mut self) -> bool {
        let mut buffer = [0; 256];
        let read = self
            .events
            .as_ref()
            .map(|file| read_start(file.as_fd(), &mut buffer));
        // A cgroup that is gone is over nothing any more.
        let Some(Ok(content)) = read else { return false };
        let high = MemoryEvents::read(content).high;
        std::mem::replace(&mut self.seen, high) < high
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_breach_is_told_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let counted = |high: u64| fs::write(file.path(), format!("low 0\nhigh {high}\nmax 9\n")).unwrap();
        counted(3);
        let mut breach = Breach::in_file(Some(fs::File::open(file.path()).unwrap().into()));
        assert!(!breach.has_come(), "it was before");
        counted(5);
        assert!(breach.has_come() && !breach.has_come());
        fs::write(file.path(), "").unwrap();
        assert!(!breach.has_come());
        assert!(!Breach::in_file(None).has_come());
    }
}
