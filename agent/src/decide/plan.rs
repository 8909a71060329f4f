//! The steps from the tree as it is to the tree as it should be.

use std::collections::BTreeSet;

pub use crate::model::{ActualCgroup, ActualTree};
use crate::model::{CgroupPath, ControlFile, Controller, KnobValue};

/// One step. Steps are carried out in order; each is safe on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupOp {
    /// Make the cgroup.
    Create {
        /// Where.
        path: CgroupPath,
    },
    /// Enable controllers for the children.
    Enable {
        /// Of which cgroup.
        path: CgroupPath,
        /// Which ones are missing.
        controllers: BTreeSet<Controller>,
    },
    /// Write one interface file and read it back.
    Write {
        /// Of which cgroup.
        path: CgroupPath,
        /// Which file.
        file: ControlFile,
        /// The new value.
        value: KnobValue,
        /// What stood there, to put back when a later step of the same pod fails; none for a new cgroup.
        previous: Option<String>,
    },
    /// Kill what is left inside and remove the cgroup with everything below.
    Remove {
        /// Where.
        path: CgroupPath,
    },
}
