//! What the node has to give.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::control_file::HugePageSize;
use super::units::{Bytes, MilliCpu};

/// The memory of one NUMA node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NumaMemory {
    /// All of it.
    pub total: Bytes,
    /// What of it is set up as huge pages, by their size.
    pub huge_pages: BTreeMap<HugePageSize, Bytes>,
}

/// The machine's resources, before anything is reserved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeCapacity {
    /// Online CPUs.
    pub cpu: MilliCpu,
    /// RAM, as `MemTotal` of `/proc/meminfo`.
    pub memory: Bytes,
    /// Swap, as `SwapTotal`; `None` where the kernel does not account swap by cgroup.
    pub swap: Option<Bytes>,
    /// Tasks: the smaller of `kernel.pid_max` and `kernel.threads-max`.
    pub pids: u64,
    /// Huge pages set up, by size; every size that the kernel has is listed, if need be with nothing.
    pub huge_pages: BTreeMap<HugePageSize, Bytes>,
}
