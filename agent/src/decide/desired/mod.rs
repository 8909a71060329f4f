//! What the tree of cgroups should look like.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{CgroupPath, ControlFile, Controller, KnobValue};

/// One cgroup as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DesiredCgroup {
    /// Values of its interface files.
    pub knobs: BTreeMap<ControlFile, KnobValue>,
}

/// The agent's whole tree as it should be; parents are always present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DesiredTree {
    /// Cgroups by place.
    pub cgroups: BTreeMap<CgroupPath, DesiredCgroup>,
    /// Controllers to enable on every level that has children.
    pub controllers: BTreeSet<Controller>,
}
