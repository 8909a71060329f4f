//! The agent's tree of cgroups as it was read from the kernel.

use std::collections::{BTreeMap, BTreeSet};

use super::cgroup_path::CgroupPath;
use super::control_file::{ControlFile, Controller};
use super::ids::CgroupId;

/// One cgroup as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActualCgroup {
    /// Its identity.
    pub id: CgroupId,
    /// Controllers enabled for its children.
    pub enabled: BTreeSet<Controller>,
    /// Content of the interface files that the agent manages, as read; a file that does not exist is absent.
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
