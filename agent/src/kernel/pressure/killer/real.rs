//! The kernel as it kills.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::members::each_cgroup;
use super::one_by_one::Hands;
use super::release::{ReleaseThreads, Released};
use super::{KillError, KillStep, Killing, Signalled};
use crate::kernel::pressure::cgroup::{MemoryCgroup, open_in, read_start};
use crate::kernel::pressure::parse;
use crate::model::{Bytes, CgroupId};

/// Kills on this machine.
#[derive(Debug)]
pub struct RealKiller {
    threads: ReleaseThreads,
    hands: Hands,
}

impl RealKiller {
    /// Starts the threads that release memory.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            threads: ReleaseThreads::start()?,
            hands: Hands::new(),
        })
    }

    /// What the threads have released so far.
    #[must_use]
    pub fn released(&self) -> Released {
        self.threads.released()
    }

    /// Kills as on a kernel without `cgroup.kill`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn signal_one_by_one(&mut self, victim: &MemoryCgroup) -> Result<Signalled, KillError> {
        let killed = self.hands.kill(victim.as_fd());
        killed
            .map(Signalled::OneByOne)
            .map_err(|errno| KillError::new(KillStep::Signal, victim.id(), errno))
    }
}

impl Killing for RealKiller {
    type Victim = Arc<MemoryCgroup>;

    fn identity(&self, victim: &Self::Victim) -> Result<CgroupId, KillError> {
        let failed = |errno| KillError::new(KillStep::Find, victim.id(), errno);
        let stat = rustix::fs::fstat(victim.as_fd()).map_err(failed)?;
        // The directory of a removed cgroup is still open here; its files tell.
        victim.populated().map_err(failed)?;
        Ok(CgroupId(stat.st_ino))
    }

    fn signal(&mut self, victim: &Self::Victim) -> Result<Signalled, KillError> {
        match victim.kill() {
            Ok(()) => Ok(Signalled::AtOnce),
            Err(Errno::NOENT) => self.signal_one_by_one(victim),
            Err(errno) => Err(KillError::new(KillStep::Signal, victim.id(), errno)),
        }
    }

    fn lift_cpu(&mut self, victim: &Self::Victim) -> Result<u32, KillError> {
        let mut lifted = 0;
        let walked = each_cgroup(victim.as_fd(), &mut |cgroup| {
            lifted += u32::from(lift(cgroup)?);
            Ok(())
        });
        walked.map_err(|errno| KillError::new(KillStep::LiftCpu, victim.id(), errno))?;
        Ok(lifted)
    }

    fn lift_cpu_above(&mut self, above: &Self::Victim) -> Result<bool, KillError> {
        lift(above.as_fd()).map_err(|errno| KillError::new(KillStep::LiftCpu, above.id(), errno))
    }

    fn release(&mut self, victim: &Self::Victim) -> Result<(), KillError> {
        self.threads
            .release(victim)
            .map_err(|errno| KillError::new(KillStep::Release, victim.id(), errno))
    }

    fn populated(&self, victim: &Self::Victim) -> Result<bool, KillError> {
        victim
            .populated()
            .map_err(|errno| KillError::new(KillStep::Look, victim.id(), errno))
    }

    fn current(&self, victim: &Self::Victim) -> Result<Option<Bytes>, KillError> {
        let read = || {
            let fd = victim.open(c"memory.current", OFlags::RDONLY)?;
            let mut buffer = [0; 64];
            Ok(parse::number(read_start(fd.as_fd(), &mut buffer)?).map(Bytes))
        };
        match read() {
            Ok(bytes) => Ok(bytes),
            // The file may be missing from a cgroup that is there.
            Err(Errno::NOENT) if victim.populated().is_ok() => Ok(None),
            Err(errno) => Err(KillError::new(KillStep::Look, victim.id(), errno)),
        }
    }
}

/// Lifts the limit of one cgroup; whether there was one.
fn lift(cgroup: BorrowedFd<'_>) -> Result<bool, Errno> {
    let file = match open_in(cgroup, c"cpu.max", OFlags::RDWR) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(errno),
    };
    let mut buffer = [0; 64];
    if read_start(file.as_fd(), &mut buffer)?.starts_with(b"max ") {
        return Ok(false);
    }
    // The period stays as it is.
    rustix::io::retry_on_intr(|| rustix::io::pwrite(&file, b"max", 0))?;
    Ok(true)
}
