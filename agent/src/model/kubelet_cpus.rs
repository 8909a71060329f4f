//! What kubelet's CPU manager wrote down (`cpu_manager_state`), as it stands there.
//!
//! Nothing of it is believed yet: the names are whatever the file has, and the CPUs may be on no machine.

use super::cpu_set::{CpuListError, CpuSet};

/// A file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeletCpus {
    /// `policyName`.
    pub policy: String,
    /// `defaultCpuSet`: the shared pool.
    pub shared: CpuSet,
    /// `entries`: the exclusive CPUs, in the order of the file.
    pub entries: Vec<KubeletCpuEntry>,
    /// Fields that were not read, with how many values they have.
    pub not_read: Vec<(String, usize)>,
}

/// One container's CPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeletCpuEntry {
    /// Whose.
    pub holder: KubeletHolder,
    /// Which, or why that is no list of CPUs.
    pub cpus: Result<CpuSet, CpuListError>,
}

/// How a file names a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KubeletHolder {
    /// By the runtime's id of it, as in the first version.
    ContainerId(String),
    /// By the pod's UID and the container's name, as since the second.
    Container {
        /// The pod's UID.
        pod: String,
        /// The container's name.
        name: String,
    },
}

impl std::fmt::Display for KubeletHolder {
    /// The field of the file, fit to be shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use super::shown::Shown;
        match self {
            Self::ContainerId(id) => write!(f, "entries.{}", Shown(id)),
            Self::Container { pod, name } => write!(f, "entries.{}.{}", Shown(pod), Shown(name)),
        }
    }
}
