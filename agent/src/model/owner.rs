//! Whose a file of a cgroup is on a node that kubelet runs.
//!
//! **Problem.** Beside kubelet, the runtime and systemd write the same files as the agent. Who writes one without knowing
//! who else does fights without end, or loses without noticing. **Terms.** *Owner*: who says what the file should hold.
//! *Occasion*: when it writes. *Channel*: by what the agent can set the file so that it stays. Which file is whose is in
//! the table of `decide::ownership`; here are the words for it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::control_file::ControlFile;
use super::discovered::ContainerRole;

/// A file that somebody sets on a node, huge pages of all sizes in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// `cpu.weight`.
    CpuWeight,
    /// `cpu.max`.
    CpuMax,
    /// `cpu.idle`.
    CpuIdle,
    /// `cpuset.cpus`.
    CpusetCpus,
    /// `cpuset.cpus.exclusive`.
    CpusetExclusive,
    /// `cpuset.cpus.partition`.
    CpusetPartition,
    /// `cpuset.mems`.
    CpusetMems,
    /// `memory.min`.
    MemoryMin,
    /// `memory.low`.
    MemoryLow,
    /// `memory.high`.
    MemoryHigh,
    /// `memory.max`.
    MemoryMax,
    /// `memory.swap.max`.
    MemorySwapMax,
    /// `memory.oom.group`.
    MemoryOomGroup,
    /// `pids.max`.
    PidsMax,
    /// `io.weight`.
    IoWeight,
    /// `hugetlb.<size>.max` and `hugetlb.<size>.rsvd.max`.
    Hugetlb,
    /// `oom_score_adj` of the processes.
    OomScoreAdj,
}

impl FileKind {
    /// Every kind.
    pub const ALL: [Self; 17] = [
        Self::CpuWeight,
        Self::CpuMax,
        Self::CpuIdle,
        Self::CpusetCpus,
        Self::CpusetExclusive,
        Self::CpusetPartition,
        Self::CpusetMems,
        Self::MemoryMin,
        Self::MemoryLow,
        Self::MemoryHigh,
        Self::MemoryMax,
        Self::MemorySwapMax,
        Self::MemoryOomGroup,
        Self::PidsMax,
        Self::IoWeight,
        Self::Hugetlb,
        Self::OomScoreAdj,
    ];

    /// The kind of an interface file; none of one that nobody sets.
    #[must_use]
    pub const fn of(file: ControlFile) -> Option<Self> {
        Some(match file {
            ControlFile::CpuWeight => Self::CpuWeight,
            ControlFile::CpuMax => Self::CpuMax,
            ControlFile::CpusetCpus => Self::CpusetCpus,
            ControlFile::CpusetCpusExclusive => Self::CpusetExclusive,
            ControlFile::CpusetPartition => Self::CpusetPartition,
            ControlFile::CpusetMems => Self::CpusetMems,
            ControlFile::MemoryMin => Self::MemoryMin,
            ControlFile::MemoryLow => Self::MemoryLow,
            ControlFile::MemoryHigh => Self::MemoryHigh,
            ControlFile::MemoryMax => Self::MemoryMax,
            ControlFile::MemorySwapMax => Self::MemorySwapMax,
            ControlFile::MemoryOomGroup => Self::MemoryOomGroup,
            ControlFile::PidsMax => Self::PidsMax,
            ControlFile::HugetlbMax(_) | ControlFile::HugetlbRsvdMax(_) => Self::Hugetlb,
            _ => return None,
        })
    }

    /// The name, with a star for a page size.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CpuWeight => "cpu.weight",
            Self::CpuMax => "cpu.max",
            Self::CpuIdle => "cpu.idle",
            Self::CpusetCpus => "cpuset.cpus",
            Self::CpusetExclusive => "cpuset.cpus.exclusive",
            Self::CpusetPartition => "cpuset.cpus.partition",
            Self::CpusetMems => "cpuset.mems",
            Self::MemoryMin => "memory.min",
            Self::MemoryLow => "memory.low",
            Self::MemoryHigh => "memory.high",
            Self::MemoryMax => "memory.max",
            Self::MemorySwapMax => "memory.swap.max",
            Self::MemoryOomGroup => "memory.oom.group",
            Self::PidsMax => "pids.max",
            Self::IoWeight => "io.weight",
            Self::Hugetlb => "hugetlb.*.max",
            Self::OomScoreAdj => "oom_score_adj",
        }
    }

    /// systemd's property of a slice or scope that sets the file (`systemd.resource-control(5)`); none where systemd
    /// has none.
    #[must_use]
    pub const fn systemd_property(self) -> Option<&'static str> {
        Some(match self {
            // The word `idle` as the weight is cpu.idle, since systemd 252.
            Self::CpuWeight | Self::CpuIdle => "CPUWeight",
            Self::CpuMax => "CPUQuotaPerSecUSec",
            Self::CpusetCpus => "AllowedCPUs",
            Self::CpusetMems => "AllowedMemoryNodes",
            Self::MemoryMin => "MemoryMin",
            Self::MemoryLow => "MemoryLow",
            Self::MemoryHigh => "MemoryHigh",
            Self::MemoryMax => "MemoryMax",
            Self::MemorySwapMax => "MemorySwapMax",
            Self::PidsMax => "TasksMax",
            Self::IoWeight => "IOWeight",
            Self::CpusetExclusive
            | Self::CpusetPartition
            | Self::MemoryOomGroup
            | Self::Hugetlb
            | Self::OomScoreAdj => return None,
        })
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a cgroup is in kubelet's hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// `kubepods`.
    Root,
    /// `burstable` or `besteffort`; Guaranteed has none.
    Qos,
    /// A pod.
    Pod,
    /// A container at work.
    Container,
    /// A sandbox (pause) or a monitor (conmon).
    Helper,
    /// What a runtime makes below a container's cgroup: crun's `container`.
    Inner,
}

impl Level {
    /// Every level.
    pub const ALL: [Self; 6] = [
        Self::Root,
        Self::Qos,
        Self::Pod,
        Self::Container,
        Self::Helper,
        Self::Inner,
    ];

    /// The level of a container that is there for that.
    #[must_use]
    pub const fn of_container(role: ContainerRole) -> Self {
        match role {
            ContainerRole::Work => Self::Container,
            ContainerRole::Sandbox | ContainerRole::Monitor => Self::Helper,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Root => "kubepods",
            Self::Qos => "QoS level",
            Self::Pod => "pod",
            Self::Container => "container",
            Self::Helper => "sandbox or monitor",
            Self::Inner => "inner cgroup",
        })
    }
}

/// Who says what a file should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// kubelet, by its own write or by what it asks of the runtime.
    Kubelet,
    /// The runtime, from the container's specification.
    Runtime,
    /// Nobody else, so the agent.
    Ours,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kubelet => "kubelet",
            Self::Runtime => "the runtime",
            Self::Ours => "the agent",
        })
    }
}

/// When somebody else writes a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    /// When the cgroup or the process is made.
    Create,
    /// When the pod's resources are changed in place, or the runtime is asked to update a container.
    Resize,
    /// kubelet's refresh: every minute, before each pod's start and after each pod's end.
    Refresh,
    /// kubelet's CPU and memory managers: every 10 s where what they want has changed.
    Reconcile,
    /// `systemctl daemon-reload`, or any property set on the unit: systemd writes all that it knows of it.
    DaemonReload,
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Create => "create",
            Self::Resize => "resize",
            Self::Refresh => "refresh",
            Self::Reconcile => "reconcile",
            Self::DaemonReload => "daemon-reload",
        })
    }
}

/// By what the agent sets a file so that it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// By a write into the file.
    File,
    /// By the unit's property, at run time only ([`FileKind::systemd_property`]).
    SystemdProperty,
    /// By CRI's `UpdateContainerResources`, so that the runtime keeps it in the container's specification.
    Cri,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::File => "file",
            Self::SystemdProperty => "systemd property",
            Self::Cri => "CRI",
        })
    }
}

/// What the agent adds on such a node, each with a switch of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Enforcement {
    /// Memory protection and throttling: `memory.min`, `memory.low`, `memory.high`.
    MemoryQos,
    /// CPUs and NUMA nodes of a container, and partitions.
    Cpuset,
    /// Weights by the configured profile.
    CpuWeight,
    /// `memory.oom.group`.
    OomGroup,
    /// `oom_score_adj`.
    OomScoreAdj,
    /// Less CPU for BestEffort pods while others are in need.
    BestEffortSuppression,
}

impl Enforcement {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::MemoryQos,
        Self::Cpuset,
        Self::CpuWeight,
        Self::OomGroup,
        Self::OomScoreAdj,
        Self::BestEffortSuppression,
    ];
}

impl fmt::Display for Enforcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::MemoryQos => "memory QoS",
            Self::Cpuset => "cpuset",
            Self::CpuWeight => "cpu.weight profile",
            Self::OomGroup => "memory.oom.group",
            Self::OomScoreAdj => "oom_score_adj",
            Self::BestEffortSuppression => "BestEffort suppression",
        })
    }
}

/// How far an enforcement goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// It is not even worked out.
    Off,
    /// What it would write is told, and not written.
    #[default]
    Observe,
    /// It is written.
    Enforce,
}

/// The switches of all enforcements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Switches {
    /// Memory protection and throttling: memory.min, memory.low, memory.high.
    pub memory_qos: Switch,
    /// CPUs and NUMA nodes of a container, and partitions.
    pub cpuset: Switch,
    /// Weights by the configured profile.
    pub cpu_weight: Switch,
    /// memory.oom.group of containers.
    pub oom_group: Switch,
    /// `oom_score_adj` of containers' processes.
    pub oom_score_adj: Switch,
    /// Less CPU for BestEffort pods while others are in need.
    pub best_effort_suppression: Switch,
}

impl Switches {
    /// All at the same.
    #[must_use]
    pub const fn all(switch: Switch) -> Self {
        Self {
            memory_qos: switch,
            cpuset: switch,
            cpu_weight: switch,
            oom_group: switch,
            oom_score_adj: switch,
            best_effort_suppression: switch,
        }
    }

    /// That of one enforcement.
    #[must_use]
    pub const fn of(&self, enforcement: Enforcement) -> Switch {
        match enforcement {
            Enforcement::MemoryQos => self.memory_qos,
            Enforcement::Cpuset => self.cpuset,
            Enforcement::CpuWeight => self.cpu_weight,
            Enforcement::OomGroup => self.oom_group,
            Enforcement::OomScoreAdj => self.oom_score_adj,
            Enforcement::BestEffortSuppression => self.best_effort_suppression,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_that_is_not_named_observes() {
        let read: Switches = serde_json::from_str(r#"{"cpuset":"enforce","oomGroup":"off"}"#).unwrap();
        let expected = Switches {
            cpuset: Switch::Enforce,
            oom_group: Switch::Off,
            ..Switches::all(Switch::Observe)
        };
        assert_eq!(read, expected);
        assert!(serde_json::from_str::<Switches>(r#"{"cpusets":"enforce"}"#).is_err());
        let of = Enforcement::ALL.map(|enforcement| read.of(enforcement));
        let changed = of.into_iter().filter(|switch| *switch != Switch::Observe);
        assert_eq!(changed.collect::<Vec<_>>(), [Switch::Enforce, Switch::Off]);
    }
}
