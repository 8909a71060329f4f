//! A cgroup v2 tree below one root.
//!
//! **Problem.** The agent writes limits of pods into a file system that other parties see and change: a cgroup may
//! vanish between two calls, a controller may not be there, an older kernel may lack a file. **How.** One small
//! trait, [`CgroupFs`], with three implementations:
//!
//! - [`RealCgroupFs`]: everything beneath one directory descriptor; symbolic links and `..` are refused by the kernel
//!   itself (`openat2`), files are never created, a value is one write.
//! - [`CgroupsRsFs`]: the same tree, with the cgroups-rs crate for what it does soundly. The agent runs on this one.
//! - `FakeCgroupFs` (tests): the kernel's rules in memory.
//!
//! # Properties
//! - All three pass one contract suite ([`contract`]): the fake in unit tests, the real ones in the VM.
//! - A path is a [`CgroupPath`]: no call reaches outside the root.
//! - Every refusal keeps operation, cgroup, file, value and error number.

mod cgroups_rs;
mod delegation;
mod error;
mod kept;
mod kill;
mod real;

#[cfg(any(test, feature = "testutils"))]
pub mod contract;
#[cfg(any(test, feature = "testutils"))]
mod fake;

use std::os::fd::OwnedFd;

pub use cgroups_rs::CgroupsRsFs;
pub use delegation::{
    DelegatedRoot, MissingController, ParentPolicy, RootClaim, RootError, find_mount, move_self, set_up_root,
};
pub use error::{CgroupError, CgroupOperation, Fault, errno_name};
#[cfg(any(test, feature = "testutils"))]
pub use fake::{FakeCgroupFs, FakeKernel, FakeOp, Stubbornness};
pub use kept::KeptFile;
pub use real::RealCgroupFs;

use crate::model::{CgroupId, CgroupPath, ControlFile};

/// What the agent does with cgroups. Every path is below the agent's root.
pub trait CgroupFs {
    /// Makes the cgroup; its parent must exist. Making one that exists gives its id.
    ///
    /// # Errors
    /// The kernel's refusal, as for every call here.
    fn create(&self, path: &CgroupPath) -> Result<CgroupId, CgroupError>;

    /// Removes an empty cgroup. Removing one that is gone is no error.
    ///
    /// # Errors
    /// [`Fault::Busy`] while it has processes or children.
    fn remove(&self, path: &CgroupPath) -> Result<(), CgroupError>;

    /// Removes the cgroup with every cgroup below, whatever their names, from the bottom up. It stops at the first that
    /// has processes; what was removed until then stays removed. Removing one that is gone is no error.
    ///
    /// # Errors
    /// [`Fault::Busy`] while there are processes.
    fn remove_tree(&self, path: &CgroupPath) -> Result<(), CgroupError>;

    /// Names of the child cgroups, in the order of their bytes.
    ///
    /// # Errors
    /// The kernel's refusal.
    fn children(&self, path: &CgroupPath) -> Result<Vec<String>, CgroupError>;

    /// The cgroup's identity.
    ///
    /// # Errors
    /// The kernel's refusal; [`Fault::Gone`] when there is no such cgroup.
    fn id(&self, path: &CgroupPath) -> Result<CgroupId, CgroupError>;

    /// The whole content of an interface file.
    ///
    /// # Errors
    /// The kernel's refusal; [`Fault::NoSuchFile`] when the controller is not enabled there.
    fn read(&self, path: &CgroupPath, file: ControlFile) -> Result<String, CgroupError>;

    /// Writes `value` into an interface file in one write; an empty one empties a list.
    ///
    /// # Errors
    /// The kernel's refusal; [`Fault::NoSuchFile`] when the controller is not enabled there.
    fn write(&self, path: &CgroupPath, file: ControlFile, value: &str) -> Result<(), CgroupError>;

    /// Sends SIGKILL to every process of the cgroup and of its descendants; they die later, or not at all while the
    /// kernel holds them.
    ///
    /// # Errors
    /// The kernel's refusal.
    fn kill(&self, path: &CgroupPath) -> Result<(), CgroupError>;

    /// The cgroup's directory, to start a process in it (`CLONE_INTO_CGROUP`).
    ///
    /// # Errors
    /// The kernel's refusal.
    fn open_dir(&self, path: &CgroupPath) -> Result<OwnedFd, CgroupError>;
}
