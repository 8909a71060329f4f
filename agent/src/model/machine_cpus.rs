//! A machine's CPUs: how they lie, and which of them are apart.

use serde::{Deserialize, Serialize};

use super::cpu_set::CpuSet;
use super::cpu_topology::Topology;

/// Cores of one kind, on a machine that has several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuKind {
    /// Intel's `core`, `atom` and `lowpower`, or Arm's relative capacity.
    pub name: String,
    /// Its CPUs.
    pub cpus: CpuSet,
}

/// Who may run on a CPU.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CpuOwner {
    /// Nobody was asked who knows.
    Unknown,
    /// Everybody who has no CPUs of their own.
    Shared,
    /// The system: withheld from exclusive assignment.
    Reserved,
    /// This container alone, as `namespace/pod/container`.
    Exclusive(String),
}

/// The CPUs that are online and what is known of them. All sets but `offline` are of online CPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineCpus {
    /// How the online CPUs lie.
    pub topology: Topology,
    /// There, but not online.
    pub offline: CpuSet,
    /// Taken out of the scheduler's domains at boot (`isolcpus=`).
    pub isolated: CpuSet,
    /// Without a periodic tick while one task runs (`nohz_full=`).
    pub nohz_full: CpuSet,
    /// The kinds of cores; empty where there is only one, or the kernel does not tell.
    pub kinds: Vec<CpuKind>,
}

/// Online CPUs that went or came between two looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuChange {
    /// No longer online.
    pub went: CpuSet,
    /// Online now.
    pub came: CpuSet,
}

impl CpuChange {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.went.is_empty() && self.came.is_empty()
    }
}
