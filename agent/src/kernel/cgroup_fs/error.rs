//! A refusal by the cgroup file system, with all that is needed to explain it.

use std::io;

use rustix::io::Errno;

use crate::model::{CgroupPath, ControlFile};

/// What was being done when the kernel refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupOperation {
    /// Making a cgroup.
    Create,
    /// Removing a cgroup.
    Remove,
    /// Listing children.
    List,
    /// Opening the directory.
    Open,
    /// Reading an interface file.
    Read,
    /// Writing an interface file.
    Write,
    /// Killing the processes inside.
    Kill,
}

impl CgroupOperation {
    /// One word, fit for a metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Remove => "remove",
            Self::List => "list",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Kill => "kill",
        }
    }
}

/// What a refusal means to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is no such cgroup (any more): pods end at any time, so this is data.
    Gone,
    /// The cgroup is there without this file: the controller is not enabled for it, or the kernel is too old.
    NoSuchFile,
    /// Processes or children stand in the way (`EBUSY`).
    Busy,
    /// The value is not one the kernel takes (`EINVAL`, `ERANGE`).
    BadValue,
    /// The agent may not do that (`EACCES`, `EPERM`).
    Denied,
    /// Anything else; the error number tells.
    Other,
}

/// A refusal by the kernel.
#[derive(Debug, thiserror::Error)]
#[error("cannot {}: {source}", self.what())]
pub struct CgroupError {
    /// What was being done.
    pub operation: CgroupOperation,
    /// To which cgroup.
    pub path: CgroupPath,
    /// To which of its files.
    pub file: Option<ControlFile>,
    /// The value being written.
    pub value: Option<String>,
    /// What that means.
    pub fault: Fault,
    /// The kernel's answer.
    pub source: io::Error,
}

impl CgroupError {
    /// A refusal of something done to a cgroup as a whole.
    pub(super) fn of_cgroup(operation: CgroupOperation, path: &CgroupPath, source: io::Error) -> Self {
        Self {
            operation,
            path: path.clone(),
            file: None,
            value: None,
            fault: fault_of(&source, Fault::Gone),
            source,
        }
    }

    /// A refusal of a read or, with a value, a write. `cgroup_exists` tells a missing file from a missing cgroup.
    pub(super) fn of_file(
        path: &CgroupPath,
        file: ControlFile,
        value: Option<&str>,
        source: io::Error,
        cgroup_exists: impl FnOnce() -> bool,
    ) -> Self {
        let no_entry = if source.raw_os_error() == Some(Errno::NOENT.raw_os_error()) && cgroup_exists() {
            Fault::NoSuchFile
        } else {
            Fault::Gone
        };
        Self {
            operation: if value.is_some() {
                CgroupOperation::Write
            } else {
                CgroupOperation::Read
            },
            path: path.clone(),
            file: Some(file),
            value: value.map(str::to_owned),
            fault: fault_of(&source, no_entry),
            source,
        }
    }

    /// The error number, when the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// Whether the cgroup is not there (any more).
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.fault == Fault::Gone
    }

    fn what(&self) -> String {
        let path = if self.path == CgroupPath::ROOT {
            "the root".to_owned()
        } else {
            self.path.to_string()
        };
        match (self.operation, self.file, &self.value) {
            (CgroupOperation::Create, ..) => format!("make the cgroup {path}"),
            (CgroupOperation::Remove, ..) => format!("remove the cgroup {path}"),
            (CgroupOperation::List, ..) => format!("list the cgroup {path}"),
            (CgroupOperation::Kill, ..) => format!("kill the processes of {path}"),
            (CgroupOperation::Write, Some(file), Some(value)) => {
                format!("write {value:?} to {file} of {path}")
            }
            (_, Some(file), _) => format!("read {file} of {path}"),
            (_, None, _) => format!("open the cgroup {path}"),
        }
    }
}

/// `ENOENT` means `no_entry`; a removed cgroup whose files are still open answers `ENODEV`.
fn fault_of(source: &io::Error, no_entry: Fault) -> Fault {
    match Errno::from_io_error(source) {
        Some(Errno::NOENT) => no_entry,
        Some(Errno::NODEV) => Fault::Gone,
        Some(Errno::BUSY | Errno::NOTEMPTY) => Fault::Busy,
        Some(Errno::INVAL | Errno::RANGE) => Fault::BadValue,
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Fault::Denied,
        _ => Fault::Other,
    }
}

/// The name of an error number: `EBUSY`.
#[must_use]
pub fn errno_name(errno: i32) -> String {
    format!("{:?}", nix::errno::Errno::from_raw(errno))
}
