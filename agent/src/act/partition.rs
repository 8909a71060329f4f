//! Making a container's CPUs a cpuset partition, and a plain member again.
//!
//! **Problem.** A list in `cpuset.cpus` binds the container alone: whoever is not bound elsewhere may run on its CPUs. A
//! partition takes the CPUs from every other cgroup and process at once, and the kernel grants one under rules that
//! differ by version and may end it at any time. **How.** Since Linux 6.7 a cgroup below plain members can be a partition
//! of CPUs that all of its ancestors keep in `cpuset.cpus.exclusive`: they are added there from the agent's root down, and
//! set in the container itself; then the partition is asked for, and what the kernel made of it is read back. Where the
//! kernel has no such file, only a child of a partition can be one, and the kernel says so.
//!
//! The container's `cpuset.cpus` is the caller's, written before and equal to what is asked for here; so are the other
//! cgroups' lists. Three things the kernels want of the callers:
//! - Other containers of the pod ask for other CPUs, before and as long as the partition lasts. Linux 6.12 otherwise
//!   refuses, and at a later write ends the partition and gives its CPUs to nobody until the next boot; 7.2 does not mind.
//! - The CPUs of a partition are not changed under it: it is unmade, the list changed, and made again.
//! - Cgroups above the agent's root have to keep the CPUs as well, so a partition needs a root directly below the mount
//!   point, or an administrator who does that.
//!
//! # Properties
//! - Made means: the kernel calls it a partition, and its tasks have exactly these CPUs.
//! - After a refusal every file is as it was, the container a plain member; what could not be restored is in the outcome.
//! - Making what is made already writes nothing. Unmaking what is none, or is gone, is no error.
//! - Other partitions' CPUs stay kept, whatever the order of making and unmaking.

use super::cgroups::{ApplyError, check_kept};
use crate::kernel::cgroup_fs::{CgroupError, CgroupFs, Fault};
use crate::model::{CgroupPath, ControlFile, CpuSet, KnobValue, PartitionKind, PartitionState};

/// Why there is no partition.
#[derive(Debug, thiserror::Error)]
pub enum PartitionRefusal {
    /// The kernel's own reason.
    #[error("the kernel refuses a partition: {0}")]
    Kernel(String),
    /// The kernel has no partition and no reason.
    #[error("the kernel refuses a partition and gives no reason")]
    Unexplained,
    /// A partition of other CPUs, such as when some are offline.
    #[error("the partition has CPUs {has} in place of {wanted}")]
    OtherCpus {
        /// What was asked for.
        wanted: CpuSet,
        /// What its tasks would have.
        has: CpuSet,
    },
    /// A file could not be read or written, or did not keep what was written.
    #[error(transparent)]
    File(#[from] ApplyError),
}

impl From<CgroupError> for PartitionRefusal {
    fn from(error: CgroupError) -> Self {
        Self::File(error.into())
    }
}

/// What came of [`make`].
#[derive(Debug)]
pub enum PartitionOutcome {
    /// It is a partition of that kind.
    Made(PartitionKind),
    /// It is a plain member.
    Refused {
        /// Why.
        reason: PartitionRefusal,
        /// What could not be restored; empty when all is as it was.
        left_over: Vec<ApplyError>,
    },
}

/// What came of [`unmake`].
#[derive(Debug)]
pub struct Unmade {
    /// CPUs that the agent's root does not have now: offline, not its own, or lost by the kernel.
    pub missing: CpuSet,
    /// What could not be done.
    pub failed: Vec<ApplyError>,
}

/// A value that stood in a file before it was written over.
struct Written {
    path: CgroupPath,
    file: ControlFile,
    before: String,
}

/// Makes the container's cgroup at `path` a partition of `cpus`.
pub fn make(fs: &dyn CgroupFs, path: &CgroupPath, kind: PartitionKind, cpus: &CpuSet) -> PartitionOutcome {
    let mut written = Vec::new();
    match try_make(fs, path, kind, cpus, &mut written) {
        Ok(()) => PartitionOutcome::Made(kind),
        Err(reason) => PartitionOutcome::Refused {
            reason,
            left_over: restore(fs, &written),
        },
    }
}

fn try_make(
    fs: &dyn CgroupFs,
    path: &CgroupPath,
    kind: PartitionKind,
    cpus: &CpuSet,
    written: &mut Vec<Written>,
) -> Result<(), PartitionRefusal> {
    let state = state(fs, path)?;
    let in_place = matches!(state, PartitionState::Valid(_)) && effective(fs, path)? == *cpus;
    if in_place && state == PartitionState::Valid(kind) {
        return Ok(());
    }
    if !in_place {
        if state != PartitionState::Member {
            become_member(fs, path)?;
        }
        for ancestor in ancestors(path).iter().rev() {
            set_exclusive(fs, ancestor, |kept| kept | cpus, written)?;
        }
        set_exclusive(fs, path, |_| cpus.clone(), written)?;
    }
    written.push(Written {
        path: path.clone(),
        file: ControlFile::CpusetPartition,
        before: MEMBER.to_owned(),
    });
    fs.write(path, ControlFile::CpusetPartition, kind.as_str())?;
    check(fs, path, kind, cpus)
}

const MEMBER: &str = "member";

/// Whether the kernel made of it what was asked for.
fn check(
    fs: &dyn CgroupFs,
    path: &CgroupPath,
    kind: PartitionKind,
    cpus: &CpuSet,
) -> Result<(), PartitionRefusal> {
    match state(fs, path)? {
        PartitionState::Valid(made) if made == kind => {}
        PartitionState::Invalid {
            reason: Some(reason), ..
        } => return Err(PartitionRefusal::Kernel(reason)),
        _ => return Err(PartitionRefusal::Unexplained),
    }
    let has = effective(fs, path)?;
    if has == *cpus {
        return Ok(());
    }
    Err(PartitionRefusal::OtherCpus {
        wanted: cpus.clone(),
        has,
    })
}

/// Takes back what was written, last first.
fn restore(fs: &dyn CgroupFs, written: &[Written]) -> Vec<ApplyError> {
    let undo = |undo: &Written| {
        fs.write(&undo.path, undo.file, &undo.before)?;
        check_kept(fs, &undo.path, undo.file, &undo.before, |read| {
            read == undo.before
        })
    };
    let failed = written.iter().rev().filter_map(|value| undo(value).err());
    failed.filter(|error| !error.is_expected()).collect()
}

/// Makes the container's cgroup at `path` a plain member, and lets its ancestors keep `cpus` no longer. The cgroup may be
/// gone already: the kernel has then ended the partition, and the ancestors still keep its CPUs.
pub fn unmake(fs: &dyn CgroupFs, path: &CgroupPath, cpus: &CpuSet) -> Unmade {
    let mut failed = Vec::new();
    let mut note = |result: Result<(), ApplyError>| match result {
        Err(ApplyError::Refused(error)) if matches!(error.fault, Fault::Gone | Fault::NoSuchFile) => {}
        Err(error) => failed.push(error),
        Ok(()) => {}
    };
    note(become_member(fs, path));
    note(set_exclusive(fs, path, |_| CpuSet::EMPTY, &mut Vec::new()));
    for ancestor in ancestors(path) {
        note(set_exclusive(fs, &ancestor, |kept| kept - cpus, &mut Vec::new()));
    }
    let mut missing = CpuSet::EMPTY;
    note(effective(fs, &CgroupPath::ROOT).map(|has| missing = cpus - &has));
    Unmade { missing, failed }
}

fn become_member(fs: &dyn CgroupFs, path: &CgroupPath) -> Result<(), ApplyError> {
    let file = ControlFile::CpusetPartition;
    if state(fs, path)? == PartitionState::Member {
        return Ok(());
    }
    fs.write(path, file, MEMBER)?;
    check_kept(fs, path, file, MEMBER, |read| read == MEMBER)
}

/// Changes the CPUs that a cgroup keeps for partitions; nothing where the kernel has no such file.
fn set_exclusive(
    fs: &dyn CgroupFs,
    path: &CgroupPath,
    change: impl FnOnce(&CpuSet) -> CpuSet,
    written: &mut Vec<Written>,
) -> Result<(), ApplyError> {
    let file = ControlFile::CpusetCpusExclusive;
    let before = match fs.read(path, file) {
        Err(error) if error.fault == Fault::NoSuchFile => return Ok(()),
        before => before?,
    };
    let kept = list(path, file, &before)?;
    let new = change(&kept);
    if new == kept {
        return Ok(());
    }
    let text = new.to_string();
    fs.write(path, file, &text)?;
    written.push(Written {
        path: path.clone(),
        file,
        before: before.trim_end().to_owned(),
    });
    let new = KnobValue::Cpus(new);
    check_kept(fs, path, file, &text, |read| new.accepts(read))
}

/// From the parent up to the agent's root.
fn ancestors(path: &CgroupPath) -> Vec<CgroupPath> {
    std::iter::successors(path.parent(), CgroupPath::parent).collect()
}

fn state(fs: &dyn CgroupFs, path: &CgroupPath) -> Result<PartitionState, ApplyError> {
    let file = ControlFile::CpusetPartition;
    let read = fs.read(path, file)?;
    PartitionState::parse(&read).ok_or_else(|| unreadable(path, file, "a partition's state", &read))
}

fn effective(fs: &dyn CgroupFs, path: &CgroupPath) -> Result<CpuSet, ApplyError> {
    let file = ControlFile::CpusetCpusEffective;
    list(path, file, &fs.read(path, file)?)
}

fn list(path: &CgroupPath, file: ControlFile, read: &str) -> Result<CpuSet, ApplyError> {
    CpuSet::parse(read).map_err(|_| unreadable(path, file, "a list of CPUs", read))
}

fn unreadable(path: &CgroupPath, file: ControlFile, wanted: &str, read: &str) -> ApplyError {
    ApplyError::NotUnderstood {
        path: path.clone(),
        file,
        wanted: wanted.to_owned(),
        read: read.trim_end().to_owned(),
    }
}

#[cfg(test)]
mod props;
#[cfg(test)]
mod tests;
