//! A cgroup v2 tree below one root.

use std::io;
use std::os::fd::OwnedFd;

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
    /// [`CgroupError::errno`] is `EBUSY` while it has processes or children.
    fn remove(&self, path: &CgroupPath) -> Result<(), CgroupError>;

    /// Names of the child cgroups, in the order of their bytes.
    ///
    /// # Errors
    /// The kernel's refusal.
    fn children(&self, path: &CgroupPath) -> Result<Vec<String>, CgroupError>;

    /// The cgroup's identity.
    ///
    /// # Errors
    /// The kernel's refusal; `ENOENT` when there is no such cgroup.
    fn id(&self, path: &CgroupPath) -> Result<CgroupId, CgroupError>;

    /// The whole content of an interface file.
    ///
    /// # Errors
    /// The kernel's refusal.
    fn read(&self, path: &CgroupPath, file: ControlFile) -> Result<String, CgroupError>;

    /// Writes `value` into an interface file in one write.
    ///
    /// # Errors
    /// The kernel's refusal.
    fn write(&self, path: &CgroupPath, file: ControlFile, value: &str) -> Result<(), CgroupError>;

    /// The cgroup's directory, to start a process in it (`CLONE_INTO_CGROUP`).
    ///
    /// # Errors
    /// The kernel's refusal.
    fn open_dir(&self, path: &CgroupPath) -> Result<OwnedFd, CgroupError>;
}

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
}

/// A refusal, with all that is needed to explain it.
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
    /// The kernel's answer.
    pub source: io::Error,
}

impl CgroupError {
    /// The error number, when the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
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
            (CgroupOperation::Write, Some(file), Some(value)) => {
                format!("write {value:?} to {file} of {path}")
            }
            (_, Some(file), _) => format!("read {file} of {path}"),
            (_, None, _) => format!("open the cgroup {path}"),
        }
    }
}
