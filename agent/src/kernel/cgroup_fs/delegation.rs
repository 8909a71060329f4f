//! The agent's root cgroup: finding where cgroup v2 is, making the root, and getting its controllers.
//!
//! **Problem.** A controller works in the root only if the root's parent enables it, and the parent is not ours. On a
//! whole machine the parent is the mount's root, where enabling is harmless; below a cgroup that somebody else
//! delegated, it is for them to say. **How.** [`set_up_root`] makes at most one directory, writes at most the direct
//! parent's `cgroup.subtree_control`, one controller at a time and only as [`ParentPolicy`] allows, and reads back what
//! came of it. Ancestors above the parent are never written. A controller that cannot be had is a fact with its reason,
//! not an error: the rest still works.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use procfs::process::Process;

use super::{CgroupError, CgroupFs, RealCgroupFs};
use crate::model::{CgroupPath, ControlFile, Controller};

/// When the agent may enable controllers in its root's parent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ParentPolicy {
    /// Only if the parent is the root of the cgroup v2 mount.
    #[default]
    MountRootOnly,
    /// Whatever the parent is: whoever delegated it said so.
    Always,
    /// Never.
    Never,
}

/// Why the agent's root does not have a controller.
#[derive(Debug)]
pub enum MissingController {
    /// The parent does not have it either: the kernel lacks it, cgroup v1 holds it, or an ancestor keeps it back.
    NotOffered,
    /// The parent has it, does not enable it, and the policy leaves the parent alone.
    NotEnabledByParent,
    /// The parent refused to enable it.
    Refused(CgroupError),
}

impl fmt::Display for MissingController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOffered => f.write_str("the parent cgroup does not have it"),
            Self::NotEnabledByParent => {
                f.write_str("the parent cgroup does not enable it, and is not the agent's to change")
            }
            Self::Refused(error) => error.fmt(f),
        }
    }
}

/// The agent's root, ready for use.
#[derive(Debug)]
pub struct DelegatedRoot {
    /// Everything below it.
    pub fs: RealCgroupFs,
    /// Its directory.
    pub directory: PathBuf,
    /// Whether it had to be made.
    pub made: bool,
    /// Controllers it can enable for its children.
    pub available: BTreeSet<Controller>,
    /// Controllers that were enabled in the parent just now.
    pub enabled_in_parent: BTreeSet<Controller>,
    /// Controllers asked for that it does not have, with the reason.
    pub missing: BTreeMap<Controller, MissingController>,
}

/// Why there is no root to work in.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// No cgroup v2 file system is mounted.
    #[error("no cgroup v2 file system is mounted")]
    NotMounted,
    /// The list of mounts could not be read.
    #[error("cannot read the list of mounts: {0}")]
    Mounts(#[from] procfs::ProcError),
    /// The mount could not be opened as cgroup v2.
    #[error("cannot open {} as a cgroup v2 file system: {source}", path.display())]
    Open {
        /// The mount point.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Another agent has claimed the root.
    #[error("another agent runs already: it manages {}", path.display())]
    Claimed {
        /// The root's directory.
        path: PathBuf,
    },
    /// The mount's own root was named as the agent's root.
    #[error("the agent's root must be a cgroup below the mount, not the mount itself")]
    IsMount,
    /// The root's parent does not exist, or the root cannot be made or read there.
    #[error("the agent's root: {0}")]
    Cgroup(#[from] CgroupError),
}

/// The right to change what is in a root: one process has it, until it drops it or ends.
#[derive(Debug)]
pub struct RootClaim {
    _lock: File,
}

impl RootClaim {
    /// Claims the root whose directory this is: two agents on one tree would undo each other's work, whatever else
    /// they share. The claim is a `flock` on the directory, of which nothing is left behind.
    ///
    /// # Errors
    /// [`RootError::Claimed`], or the directory cannot be opened or locked.
    pub fn take(directory: &Path) -> Result<Self, RootError> {
        let path = || directory.to_owned();
        let open = |source| RootError::Open { path: path(), source };
        let lock = File::open(directory).map_err(open)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(RootError::Claimed { path: path() }),
            Err(TryLockError::Error(source)) => Err(open(source)),
        }
    }
}

/// Where cgroup v2 is mounted: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` beside cgroup v1.
///
/// # Errors
/// [`RootError::NotMounted`], or the list of mounts cannot be read.
pub fn find_mount() -> Result<PathBuf, RootError> {
    if cgroups_rs::fs::hierarchies::is_cgroup2_unified_mode() {
        return Ok(PathBuf::from(cgroups_rs::fs::hierarchies::UNIFIED_MOUNTPOINT));
    }
    let mounts = Process::myself()?.mountinfo()?;
    let found = mounts.0.into_iter().find(|mount| mount.fs_type == "cgroup2");
    found.map(|mount| mount.mount_point).ok_or(RootError::NotMounted)
}

/// Makes the agent's root `root` (a path below `mount`; its parent must exist) and gets it the `wanted` controllers as
/// far as `policy` allows.
///
/// # Errors
/// There is no such mount or parent, or the root cannot be made. A controller that cannot be had is no error.
pub fn set_up_root(
    mount: &Path,
    root: &CgroupPath,
    wanted: &BTreeSet<Controller>,
    policy: ParentPolicy,
) -> Result<DelegatedRoot, RootError> {
    let whole = RealCgroupFs::open(mount).map_err(|source| RootError::Open {
        path: mount.to_owned(),
        source,
    })?;
    let parent = root.parent().ok_or(RootError::IsMount)?;
    let made = match whole.id(root) {
        Err(error) if error.is_gone() => {
            whole.create(root)?;
            true
        }
        found => found.map(|_| false)?,
    };
    let mut enabled_in_parent = BTreeSet::new();
    let mut missing = BTreeMap::new();
    let already = controllers(&whole, root)?;
    let offered = controllers(&whole, &parent)?;
    for controller in wanted.difference(&already).copied() {
        let may = match policy {
            ParentPolicy::MountRootOnly => parent == CgroupPath::ROOT,
            ParentPolicy::Always => true,
            ParentPolicy::Never => false,
        };
        if !offered.contains(&controller) {
            missing.insert(controller, MissingController::NotOffered);
        } else if !may {
            missing.insert(controller, MissingController::NotEnabledByParent);
        } else {
            let value = format!("+{controller}");
            match whole.write(&parent, ControlFile::SubtreeControl, &value) {
                Ok(()) => {
                    enabled_in_parent.insert(controller);
                }
                Err(error) => {
                    missing.insert(controller, MissingController::Refused(error));
                }
            }
        }
    }
    let available = controllers(&whole, root)?;
    Ok(DelegatedRoot {
        fs: whole.below(root)?,
        directory: root
            .components()
            .iter()
            .fold(mount.to_owned(), |dir, name| dir.join(name)),
        made,
        available,
        enabled_in_parent,
        missing,
    })
}

/// Moves the agent's own process (every thread of it) into `leaf`, which is made if need be: a cgroup that has
/// children with controllers may not hold processes itself.
///
/// # Errors
/// The kernel's refusal.
pub fn move_self(fs: &dyn CgroupFs, leaf: &CgroupPath) -> Result<(), CgroupError> {
    fs.create(leaf)?;
    fs.write(leaf, ControlFile::Procs, "0")
}

fn controllers(fs: &RealCgroupFs, path: &CgroupPath) -> Result<BTreeSet<Controller>, CgroupError> {
    let listed = fs.read(path, ControlFile::Controllers)?;
    Ok(listed
        .split_whitespace()
        .filter_map(Controller::from_name)
        .collect())
}
