//! The vocabulary: plain values that every stage speaks, with their units and their validity in the type.
//!
//! Nothing here touches files, clocks or the network. A value that exists is valid: identifiers and paths can
//! only be made through checking constructors, so what a pod's author wrote cannot reach a path or a label
//! unchecked.

mod cgroup_name;
mod cgroup_path;
mod control_file;
mod cpu_set;
mod cpu_topology;
mod discovered;
mod exclusive;
mod foreign;
mod ids;
mod knob;
mod kubelet_cpus;
mod launch;
mod layout;
mod machine_cpus;
mod node;
mod numa_mask;
mod owner;
mod partition;
mod placement;
mod pod;
pub mod pressure;
mod qos;
mod quantity;
mod report;
#[cfg(any(test, feature = "testutils"))]
#[expect(
    clippy::unwrap_used,
    reason = "a sample that does not read is a defect of the test"
)]
pub mod sample;
mod shown;
mod time;
mod tree;
mod undo;
mod units;
mod usage;

pub use cgroup_name::{CgroupDriver, CgroupName, CgroupNameError};
pub use cgroup_path::{CgroupPath, CgroupPathError};
pub use control_file::{ControlFile, ControlFileError, Controller, HugePageSize};
pub use cpu_set::{CpuId, CpuListError, CpuSet};
#[cfg(any(test, feature = "testutils"))]
pub use cpu_topology::Shape;
pub use cpu_topology::{CpuGroup, CpuPlace, CpuRecord, NumaRecord, Topology, TopologyError};
pub use discovered::{
    ContainerId, ContainerIdError, ContainerRole, ContainerRuntime, DiscoveredContainer, DiscoveredPod,
    DiscoveredRoot,
};
pub use exclusive::{ContainerCpus, ForeignReport, GrantReport, NodeCpus, NumaCpus};
pub use foreign::{ForeignTime, Intruder, KernelThreadTimes, OwnerCgroup, Presence, Stranger};
pub use ids::{CgroupId, ContainerName, IdError, Namespace, PodName, PodUid, ProcessIdentity};
pub use knob::KnobValue;
pub use kubelet_cpus::{KubeletCpuEntry, KubeletCpus, KubeletHolder};
pub use launch::{ExitStatus, LaunchSpec};
pub use layout::{Layout, Place};
pub use machine_cpus::{CpuChange, CpuKind, CpuOwner, MachineCpus};
pub use node::{NodeCapacity, NumaMemory};
pub use numa_mask::{NumaMask, TopologyHint};
pub use owner::{Channel, Enforcement, FileKind, Level, Occasion, Owner, Switch, Switches};
pub use partition::{PartitionKind, PartitionState};
pub use placement::{
    AllocatableReport, ContainerPlacement, NodeFreeMemory, PlacementReport, PodPlacement, PodRefusal,
    ProposedMove,
};
pub use pod::{Container, ContainerKind, EnvVar, Pod, ResourceList, Resources, RestartPolicy};
pub use pod::{OOM_GROUP_ANNOTATION, PROTECTED_ANNOTATION};
pub use qos::QosClass;
pub use quantity::{Quantity, QuantityError};
pub use report::{
    AgentCost, CgroupLimits, CgroupReport, ContainerPhase, ContainerReport, CpuUsage, MemoryUsage,
    NodeReport, OomRecord, PodPhase, PodReport, PressureTotals, ProbeReport,
};
pub use shown::Shown;
pub use time::BootTime;
pub use tree::{ActualCgroup, ActualTree};
pub use undo::{ChangedValue, FoundValue};
pub use units::{Bytes, CpuPeriod, CpuQuota, CpuShares, CpuWeight, Limit, MilliCpu, OomScoreAdj};
pub use usage::{
    CgroupSample, LruLists, MemoryEvents, MemoryKinds, MemoryLimits, RUN_DELAY_BUCKETS, RunDelay, Source,
    Sourced, Stalls,
};
