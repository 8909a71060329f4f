//! The kernel's cgroup file system through the cgroups-rs crate, for what that crate does soundly.
//!
//! **Problem.** cgroups-rs 0.5.1 is made for whole machines: its paths start at `/sys/fs/cgroup`, making a cgroup
//! enables every controller in every ancestor and ignores the refusals, its getters answer 0 for "unreadable", its
//! writes create missing files. **How.** It gets nothing but one directory at a time, as `/proc/self/fd/N` of a
//! descriptor that [`RealCgroupFs`] opened beneath the root, so that it cannot leave the tree and a path cannot change
//! under it, and only these of its functions are called:
//!
//! | here | there | made sound by |
//! | --- | --- | --- |
//! | [`create`](CgroupFs::create) | `Cgroup::new_with_specified_controllers` with no controllers | one level; `subtree_control` untouched |
//! | [`remove`](CgroupFs::remove) | `Cgroup::delete` | one `rmdir` |
//! | [`kill`](CgroupFs::kill) | `Cgroup::kill` | falls back to signals before Linux 5.14 |
//! | joining (`cgroup.procs`) | `add_task_by_tgid` | |
//! | `cpu.weight` | `CpuController::set_shares` | |
//! | `memory.{min,low}` | `MemController::set_mem` | one value a call; above `i64::MAX` our own write |
//! | `memory.swap.max` | `MemController::set_memswap_limit` | the same |
//! | `pids.max` | `PidController::set_pid_max` | the same |
//!
//! `memory.high` and `memory.max` are written by [`RealCgroupFs`] although the crate could: its blocking write makes the
//! agent reclaim the pod's memory, for seconds. Everything else, and every read, is [`RealCgroupFs`]; nothing is believed until read back. A differential test
//! in the VM holds this against [`RealCgroupFs`] for every row.
//!
//! # Properties
//! - The error number is the one `RealCgroupFs` gives for the same call (opening for creation makes `ENOENT` an
//!   `EACCES`: that is put right).

use std::error::Error as _;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use cgroups_rs::fs::cgroup::Cgroup;
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::memory::{MemController, SetMemory};
use cgroups_rs::fs::pid::PidController;
use cgroups_rs::fs::{Controller as _, Hierarchy, MaxValue, Subsystem};
use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::real::{parent_and_name, removed};
use super::{CgroupError, CgroupFs, CgroupOperation, RealCgroupFs, kill};
use crate::model::{CgroupId, CgroupPath, ControlFile};

/// The kernel's cgroup v2 file system below one directory, by cgroups-rs where that is sound.
#[derive(Debug)]
pub struct CgroupsRsFs {
    real: RealCgroupFs,
}

impl CgroupsRsFs {
    /// Opens the tree below `root`.
    ///
    /// # Errors
    /// As [`RealCgroupFs::open`].
    pub fn open(root: &Path) -> io::Result<Self> {
        RealCgroupFs::open(root).map(Self::new)
    }

    /// The same tree as `real`.
    #[must_use]
    pub const fn new(real: RealCgroupFs) -> Self {
        Self { real }
    }

    /// The tree without cgroups-rs: it also keeps files open.
    #[must_use]
    pub const fn real(&self) -> &RealCgroupFs {
        &self.real
    }
}

/// One directory, as cgroups-rs wants to see a hierarchy.
#[derive(Debug)]
struct OneDirectory(PathBuf);

impl Hierarchy for OneDirectory {
    fn subsystems(&self) -> Vec<Subsystem> {
        Vec::new()
    }

    fn root(&self) -> PathBuf {
        self.0.clone()
    }

    fn root_control_group(&self) -> Cgroup {
        Cgroup::load(Box::new(Self(self.0.clone())), "")
    }

    fn parent_control_group(&self, _: &str) -> Cgroup {
        self.root_control_group()
    }

    fn v2(&self) -> bool {
        true
    }
}

/// A path to the directory itself, wherever it is and whatever it is called by now.
fn path_of(dir: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()))
}

/// The error number that cgroups-rs keeps behind its own error.
fn errno_of(error: &cgroups_rs::fs::error::Error) -> Errno {
    error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>())
        .and_then(Errno::from_io_error)
        .unwrap_or(Errno::IO)
}

/// A value that cgroups-rs would write as exactly this text.
fn as_crate_writes(value: &str) -> Option<MaxValue> {
    let parsed = match value {
        "max" => MaxValue::Max,
        _ => MaxValue::Value(value.parse().ok().filter(|n| *n >= 0)?),
    };
    (parsed.to_string() == value).then_some(parsed)
}

/// Writes by cgroups-rs; `None` where it has no sound function for this file and value.
fn write_by_crate(
    dir: &OwnedFd,
    file: ControlFile,
    value: &str,
) -> Option<cgroups_rs::fs::error::Result<()>> {
    let limit = as_crate_writes(value)?;
    let memory = |set: SetMemory| MemController::new(path_of(dir), PathBuf::new(), true).set_mem(set);
    Some(match file {
        ControlFile::CpuWeight => {
            let MaxValue::Value(weight) = limit else {
                return None;
            };
            let weight = u64::try_from(weight).ok()?;
            CpuController::new(path_of(dir), PathBuf::new(), true).set_shares(weight)
        }
        ControlFile::MemoryMin => memory(SetMemory {
            min: Some(limit),
            low: None,
            high: None,
            max: None,
        }),
        ControlFile::MemoryLow => memory(SetMemory {
            min: None,
            low: Some(limit),
            high: None,
            max: None,
        }),
        ControlFile::MemorySwapMax => {
            let swap = match limit {
                MaxValue::Max => -1,
                MaxValue::Value(n) => n,
            };
            MemController::new(path_of(dir), PathBuf::new(), true).set_memswap_limit(swap)
        }
        ControlFile::PidsMax => PidController::new(path_of(dir), PathBuf::new(), true).set_pid_max(limit),
        ControlFile::Procs => {
            let MaxValue::Value(pid) = limit else { return None };
            let pid = u64::try_from(pid).ok()?;
            PidController::new(path_of(dir), PathBuf::new(), true).add_task_by_tgid(&pid.into())
        }
        _ => return None,
    })
}

impl CgroupFs for CgroupsRsFs {
    fn create(&self, path: &CgroupPath) -> Result<CgroupId, CgroupError> {
        let refused = |errno: Errno| CgroupError::of_cgroup(CgroupOperation::Create, path, errno.into());
        let (parent, name) = parent_and_name(path).map_err(refused)?;
        let dir = self.real.dir(&parent).map_err(refused)?;
        let here = Box::new(OneDirectory(path_of(&dir)));
        Cgroup::new_with_specified_controllers(here, name, Some(Vec::new()))
            .map_err(|error| refused(errno_of(&error)))?;
        self.real.id(path)
    }

    fn remove(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        let remove = || {
            let (parent, name) = parent_and_name(path)?;
            let dir = self.real.dir(&parent)?;
            Cgroup::load(Box::new(OneDirectory(path_of(&dir))), name)
                .delete()
                .map_err(|error| errno_of(&error))
        };
        removed(path, remove())
    }

    fn remove_tree(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        self.real.remove_tree(path)
    }

    fn children(&self, path: &CgroupPath) -> Result<Vec<String>, CgroupError> {
        self.real.children(path)
    }

    fn id(&self, path: &CgroupPath) -> Result<CgroupId, CgroupError> {
        self.real.id(path)
    }

    fn read(&self, path: &CgroupPath, file: ControlFile) -> Result<String, CgroupError> {
        self.real.read(path, file)
    }

    fn write(&self, path: &CgroupPath, file: ControlFile, value: &str) -> Result<(), CgroupError> {
        let refused = |errno| self.real.file_error(path, file, Some(value), errno);
        let dir = self.real.dir(path).map_err(refused)?;
        let Some(written) = write_by_crate(&dir, file, value) else {
            return self.real.write(path, file, value);
        };
        written.map_err(|error| {
            let missing = || {
                let found = rustix::fs::statat(&dir, &*file.name(), AtFlags::SYMLINK_NOFOLLOW);
                found.is_err_and(|errno| errno == Errno::NOENT)
            };
            refused(match errno_of(&error) {
                Errno::ACCESS | Errno::PERM if missing() => Errno::NOENT,
                errno => errno,
            })
        })
    }

    fn kill(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        let dir = self.real.open_dir(path).map_err(|e| kill::error(path, e))?;
        let killed = Cgroup::load(Box::new(OneDirectory(path_of(&dir))), "").kill();
        killed.or_else(|error| match error.kind() {
            // The crate's word for "no cgroup.kill".
            cgroups_rs::fs::error::ErrorKind::InvalidOperation => kill::one_by_one(&self.real, path),
            _ => Err(CgroupError::of_cgroup(
                CgroupOperation::Kill,
                path,
                errno_of(&error).into(),
            )),
        })
    }

    fn open_dir(&self, path: &CgroupPath) -> Result<OwnedFd, CgroupError> {
        self.real.open_dir(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_text_that_the_crate_would_write_the_same_goes_through_it() {
        for text in ["max", "0", "1", "9223372036854775807"] {
            assert_eq!(
                as_crate_writes(text).map(|v| v.to_string()).as_deref(),
                Some(text)
            );
        }
        for text in [
            "",
            "-1",
            "+1",
            "007",
            "9223372036854775808",
            "1G",
            "100000 100000",
            "max 1",
        ] {
            assert!(as_crate_writes(text).is_none(), "{text:?}");
        }
    }
}
