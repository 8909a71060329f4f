//! What would become of a set of pods on a machine: who gets which CPUs and memory, and who is refused.

use serde::{Deserialize, Serialize};

use super::cpu_set::CpuSet;
use super::ids::{ContainerName, Namespace, PodName};
use super::qos::QosClass;
use super::units::{Bytes, MilliCpu};

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacementReport {
    /// The pods, in the order in which they were decided on.
    pub pods: Vec<PodPlacement>,
    /// What of the manifests cannot be used.
    pub manifest_errors: Vec<String>,
    /// What pods may request together.
    pub allocatable: AllocatableReport,
    /// CPUs that no container gets to itself.
    pub reserved: CpuSet,
    /// CPUs of all containers without CPUs of their own.
    pub shared: CpuSet,
    /// Memory that each NUMA node could still promise; empty where memory is not given by node.
    pub free_memory: Vec<NodeFreeMemory>,
    /// What could move, one after another, so that more cores and NUMA nodes are free as a whole; nothing does by itself.
    pub moves: Vec<ProposedMove>,
}

/// A container that could have other CPUs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProposedMove {
    /// Its pod's namespace.
    pub namespace: Namespace,
    /// Its pod.
    pub pod: PodName,
    /// The container.
    pub container: ContainerName,
    /// What it has.
    pub from: CpuSet,
    /// What it could have instead.
    pub to: CpuSet,
    /// NUMA nodes that are free as a whole then, reserved CPUs aside.
    pub free_nodes: usize,
    /// Cores that are.
    pub free_cores: usize,
}

/// What pods may request together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AllocatableReport {
    /// CPU time.
    pub cpu: MilliCpu,
    /// Memory; none where the machine's is not known, and not checked.
    pub memory: Option<Bytes>,
    /// Pods.
    pub pods: u64,
}

/// Memory of one NUMA node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFreeMemory {
    /// The kernel's number.
    pub node: u32,
    /// What is promised to nobody.
    pub free: Bytes,
}

/// One pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodPlacement {
    /// Namespace.
    pub namespace: Namespace,
    /// Name.
    pub name: PodName,
    /// Class.
    pub class: QosClass,
    /// Why it has no place, if so.
    pub refusal: Option<PodRefusal>,
    /// Its containers, initialisation containers first; none if it has no place.
    pub containers: Vec<ContainerPlacement>,
}

/// Why a pod has no place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodRefusal {
    /// In one word, as kubelet has it: `OutOfcpu`, `TopologyAffinityError`…
    pub reason: String,
    /// The container that cannot have what it asks for, if it is one.
    pub container: Option<ContainerName>,
    /// The numbers.
    pub message: String,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPlacement {
    /// Name.
    pub name: ContainerName,
    /// CPUs to itself; none for the shared pool.
    pub cpus: Option<CpuSet>,
    /// NUMA nodes for `cpuset.mems`, by the kernel's numbers; none if memory may come from all.
    pub mems: Option<Vec<u32>>,
    /// Why these CPUs, or why the shared pool.
    pub why: String,
}
