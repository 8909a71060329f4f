//! The steps from the tree as it is to the tree as it should be.

use std::collections::BTreeSet;

pub use crate::model::{ActualCgroup, ActualTree};
use crate::model::{CgroupPath, ControlFile, Controller, KnobValue};

/// What a step is about, and so what must be undone together when one of its operations fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The levels above the pods, and the agent's own cgroup.
    Tree,
    /// The pod whose cgroup this is, with its containers.
    Pod(CgroupPath),
}

/// Operations that belong together. Steps are carried out in order, and so are the operations of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Whom it is about.
    pub scope: Scope,
    /// What to do; never empty.
    pub ops: Vec<CgroupOp>,
}

/// One operation; each is safe on its own.
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
        /// What stood there, to put back when a later operation of the step fails; none for a new cgroup.
        previous: Option<String>,
    },
    /// Kill what is left inside and remove the cgroup with everything below.
    Remove {
        /// Where.
        path: CgroupPath,
    },
}
