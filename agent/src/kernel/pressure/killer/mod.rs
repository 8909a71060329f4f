//! Killing all of a cgroup, and getting its memory back soon.
//!
//! **Problem.** SIGKILL frees nothing by itself: the victim has to run to end. One that may use a hundredth of a CPU takes
//! half a minute for 512 MiB up to Linux 6.17, and one that is stopped, frozen or in deep sleep takes its time. **How.** All
//! processes are killed in one system call (`cgroup.kill`), on a descriptor that was opened before; then the CPU limits of
//! the subtree, and one that was put on its QoS class, go, so that the victim can run; then its address spaces are taken apart by two other threads
//! (`process_mrelease`), the largest first. Limits are lifted after the signal and not before, or the victim would have all
//! CPUs for a moment to take still more memory.
//!
//! [`Killing`] is what the sequence in `act::kill` needs; [`RealKiller`] is the kernel, `FakeKiller` follows its rules in
//! memory, and one suite (`contract`) holds both.

#[cfg(any(test, feature = "testutils"))]
pub mod contract;
#[cfg(any(test, feature = "testutils"))]
mod fake;
mod members;
mod one_by_one;
mod real;
mod release;
#[cfg(test)]
mod tests;

use rustix::io::Errno;

use crate::kernel::cgroup_fs::errno_name;
use crate::model::{Bytes, CgroupId};

#[cfg(any(test, feature = "testutils"))]
pub use fake::{FakeKiller, FakeVictim};
pub use real::RealKiller;
pub use release::Released;

pub(super) use members::{each_cgroup, each_process};

/// What was being done to a victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillStep {
    /// Making sure that it is there.
    Find,
    /// Sending SIGKILL.
    Signal,
    /// Lifting CPU limits.
    LiftCpu,
    /// Having its memory released.
    Release,
    /// Reading what is left of it.
    Look,
}

impl KillStep {
    const fn words(self) -> &'static str {
        match self {
            Self::Find => "find",
            Self::Signal => "kill",
            Self::LiftCpu => "lift the CPU limits of",
            Self::Release => "release the memory of",
            Self::Look => "look at",
        }
    }
}

/// The kernel's refusal. It holds no text, so that making one allocates nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot {} cgroup {}: {}", step.words(), cgroup.0, errno_name(*errno))]
pub struct KillError {
    /// What was being done.
    pub step: KillStep,
    /// To which cgroup.
    pub cgroup: CgroupId,
    /// The kernel's answer.
    pub errno: i32,
}

impl KillError {
    pub(super) fn new(step: KillStep, cgroup: CgroupId, errno: Errno) -> Self {
        Self {
            step,
            cgroup,
            errno: errno.raw_os_error(),
        }
    }

    /// Whether the cgroup is not there any more, which is data and no failure: a pod can end at any moment.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        [Errno::NODEV, Errno::NOENT]
            .iter()
            .any(|gone| gone.raw_os_error() == self.errno)
    }
}

/// How SIGKILL was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signalled {
    /// By the kernel to all at once.
    AtOnce,
    /// To one process after the other, so many, because this kernel has no `cgroup.kill` (before 5.14).
    OneByOne(u32),
}

/// What is done to a victim. A victim is a cgroup with everything below.
pub trait Killing {
    /// How a victim is held.
    type Victim;

    /// Which cgroup the victim is.
    ///
    /// # Errors
    /// The kernel's; [`KillError::is_gone`] when it was removed.
    fn identity(&self, victim: &Self::Victim) -> Result<CgroupId, KillError>;

    /// Sends SIGKILL to every process of it. They die later. Allocates nothing.
    ///
    /// # Errors
    /// The kernel's; [`KillError::is_gone`] when it was removed.
    fn signal(&mut self, victim: &Self::Victim) -> Result<Signalled, KillError>;

    /// Lifts `cpu.max` of it and of all cgroups below; gives how many had their limit written.
    ///
    /// # Errors
    /// The kernel's; cgroups without the file are none.
    fn lift_cpu(&mut self, victim: &Self::Victim) -> Result<u32, KillError>;

    /// Lifts `cpu.max` of a cgroup above a victim, and of that one alone; whether there was a limit.
    ///
    /// # Errors
    /// The kernel's; a cgroup without the file has no limit.
    fn lift_cpu_above(&mut self, above: &Self::Victim) -> Result<bool, KillError>;

    /// Has the memory of its dying processes released by others, without waiting for that.
    ///
    /// # Errors
    /// Nobody is free to do it, or the kernel's refusal.
    fn release(&mut self, victim: &Self::Victim) -> Result<(), KillError>;

    /// Whether it has processes, dying ones included.
    ///
    /// # Errors
    /// The kernel's; [`KillError::is_gone`] when it was removed.
    fn populated(&self, victim: &Self::Victim) -> Result<bool, KillError>;

    /// What it uses; none where memory is not accounted.
    ///
    /// # Errors
    /// The kernel's; [`KillError::is_gone`] when it was removed.
    fn current(&self, victim: &Self::Victim) -> Result<Option<Bytes>, KillError>;
}
