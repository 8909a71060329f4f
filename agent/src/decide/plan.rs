//! The steps from the tree as it is to the tree as it should be.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{CgroupId, CgroupPath, ControlFile, Controller, KnobValue};

/// One cgroup as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActualCgroup {
    /// Its identity.
    pub id: CgroupId,
    /// Controllers enabled for its children.
    pub enabled: BTreeSet<Controller>,
    /// Content of the interface files that the agent manages, as read.
    pub values: BTreeMap<ControlFile, String>,
    /// Whether it or a descendant has processes.
    pub populated: bool,
}

/// The agent's whole tree as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActualTree {
    /// Cgroups by place.
    pub cgroups: BTreeMap<CgroupPath, ActualCgroup>,
    /// Controllers that the root has and could enable for its children.
    pub available: BTreeSet<Controller>,
}

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
