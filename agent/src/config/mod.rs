//! The agent's configuration: one YAML file, every field with a default.
//!
//! **Problem.** An operator must be able to trust that what the file says is what runs. **How.** Fields that mean
//! the same as in kubelet's `KubeletConfiguration` have its names and defaults; the others are ours. A field that
//! is unknown, of the wrong type or out of range stops the start with file, line and column, and nothing of the
//! file is used. **Terms.** *Reserved*: kept for the system, taken off what pods may request. *Probe*: an eBPF
//! program.
//!
//! # Properties
//! - `config/plimsoll.yaml`, the commented default, reads as [`Config::default`] and names every field.
//! - Printing a configuration and reading it gives the same configuration.

mod check;
mod cpu_manager;
pub mod eviction;
mod load;
mod memory_manager;
mod table;
mod topology_manager;
mod values;

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::model::CgroupDriver;
use crate::model::{Bytes, CpuSet, Quantity};

pub use cpu_manager::{CpuManagerPolicy, CpusetPartition, OptionsError, StaticOptions};
use eviction::{BySignal, Graces, Reclaims, Thresholds, TransitionPeriod};
pub use eviction::{EvictionProfile, MemoryPressure, OomPriority};
pub use load::{ConfigError, parse, schema};
pub use memory_manager::{MemoryManagerPolicy, MemoryReservation, ReservedOnNode};
pub use table::markdown_table;
pub use topology_manager::{TopologyOptions, TopologyPolicy, TopologyScope};
pub use values::{
    AbsolutePath, ByteSize, CfsPeriod, CgroupRoot, JournalSize, MaxPods, NodeName, PodPidsLimit,
    ReconcilePeriod, SocketPath, ThrottlingFactor, UsagePeriod,
};

/// The commented default, as shipped in `config/plimsoll.yaml`.
pub const DEFAULT_FILE: &str = include_str!("../../../config/plimsoll.yaml");

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// The node's name, which static pods' UIDs are derived from. The host's name when absent.
    pub node_name: Option<NodeName>,
    /// Directory of pod manifests (YAML or JSON), watched for changes.
    pub static_pod_path: AbsolutePath,
    /// How many pods are accepted; further ones are refused.
    pub max_pods: MaxPods,

    /// How cgroups are named: `cgroupfs` (`burstable/pod<uid>`) or `systemd` (nested `.slice` names).
    pub cgroup_driver: CgroupDriver,
    /// The cgroup that holds everything the agent manages, below the cgroup file system's mount point. Made if
    /// absent; nothing outside is touched.
    pub cgroup_root: CgroupRoot,

    /// Kept for the operating system: not given to pods.
    pub system_reserved: Reserved,
    /// Kept for node services (kubelet, container runtime): not given to pods.
    pub kube_reserved: Reserved,
    /// Which limits on the whole tree are enforced: `pods` puts capacity less the reserved amounts on the root,
    /// `none` puts capacity.
    pub enforce_node_allocatable: Vec<NodeAllocatable>,
    /// The most tasks of one pod; -1 is no limit.
    pub pod_pids_limit: PodPidsLimit,

    /// Who gets CPUs of their own: `none`, or `static` for containers of Guaranteed pods that ask for whole CPUs.
    pub cpu_manager_policy: CpuManagerPolicy,
    /// Options of the policy `static`.
    pub cpu_manager_policy_options: StaticOptions,
    /// Whether a container's own CPUs are a cpuset partition, which every other cgroup and process lacks: `none`, `root`,
    /// or `isolated`, where the scheduler moves no task either and each must be bound to a CPU by the program itself.
    /// Where the kernel refuses (always before Linux 6.7), the container has its CPUs as with `none`.
    pub cpuset_partition: CpusetPartition,
    /// CPUs that no container gets to itself, as a list such as `0-1,32`. Their number takes the place of `cpu` in
    /// `systemReserved` and `kubeReserved`.
    #[serde(rename = "reservedSystemCPUs")]
    #[schemars(with = "String")]
    pub reserved_system_cpus: CpuSet,
    /// How much alignment to NUMA nodes a pod needs to be let in: `none`, `best-effort`, `restricted`,
    /// `single-numa-node`.
    pub topology_manager_policy: TopologyPolicy,
    /// What is aligned as one: each `container`, or the `pod`.
    pub topology_manager_scope: TopologyScope,
    /// Options of the topology manager.
    pub topology_manager_policy_options: TopologyOptions,
    /// Whose memory is bound to NUMA nodes: `None`, or `Static` for Guaranteed pods.
    pub memory_manager_policy: MemoryManagerPolicy,
    /// Where the memory of `systemReserved` and `kubeReserved` lies: `numaNode` and `limits` with `memory`, for the
    /// policy `Static`.
    pub reserved_memory: Vec<MemoryReservation>,

    /// Whether CPU limits are enforced by `cpu.max`.
    #[serde(rename = "cpuCFSQuota")]
    pub cpu_cfs_quota: bool,
    /// Length of a CFS bandwidth period.
    #[serde(rename = "cpuCFSQuotaPeriod")]
    pub cpu_cfs_quota_period: CfsPeriod,

    /// Whether memory requests are protected (`memory.min`, `memory.low`) and memory is throttled before its
    /// limit (`memory.high`) where that is safe. Kubelet's feature gate `MemoryQoS`; here on by default.
    #[serde(rename = "memoryQoS")]
    pub memory_qos: bool,
    /// Where between request and limit `memory.high` lies.
    pub memory_throttling_factor: ThrottlingFactor,
    /// What may still be allocated above a `memory.high` while it is decided what to do: the fastest rate times the time
    /// until a victim's memory is back. Limits of less than four times that have no `memory.high`. `0` for none at any pod.
    pub memory_headroom: ByteSize,
    /// How requests are protected: `TieredReservation` (hard for Guaranteed, best effort for Burstable) or
    /// `None`. Kubelet's default is `None`.
    pub memory_reservation_policy: MemoryReservationPolicy,
    /// Swap.
    pub memory_swap: MemorySwap,
    /// Whether the kernel's OOM killer takes one process of a container instead of all.
    #[serde(rename = "singleProcessOOMKill")]
    pub single_process_oom_kill: bool,

    /// Thresholds that are acted upon at once, by signal: `memory.available`, `allocatableMemory.available`,
    /// `nodefs.available`, `nodefs.inodesFree`, `imagefs.available`, `imagefs.inodesFree`, `pid.available` (a quantity or a
    /// percentage), `time.to.exhaustion` (a time), `pressure.memory.full` (a percentage).
    pub eviction_hard: BySignal<Thresholds>,
    /// Thresholds that are acted upon when they were met for their grace period.
    pub eviction_soft: BySignal<Thresholds>,
    /// For how long each soft threshold must be met.
    pub eviction_soft_grace_period: BySignal<Graces>,
    /// What must come free beyond a threshold before it counts as no longer met.
    pub eviction_minimum_reclaim: BySignal<Reclaims>,
    /// For how long the node counts as under pressure after a threshold was last met; 0s is 5m.
    pub eviction_pressure_transition_period: TransitionPeriod,
    /// The most seconds that a pod gets to end when a soft threshold is met; 0 is its own grace period, or none with the
    /// profile `kubelet`.
    pub eviction_max_pod_grace_period: u32,
    /// Whether signals that `evictionHard` does not name keep their defaults.
    pub merge_default_eviction_settings: bool,
    /// By whose rules victims are chosen: `plimsoll` or `kubelet`.
    pub eviction_profile: EvictionProfile,
    /// How far `oom_score_adj` is steered while memory is short: `off`, within the `bands` of the QoS classes, or as
    /// `ranked`.
    pub oom_priority: OomPriority,
    /// What is done about memory pressure, from the mildest rung of the ladder to the last.
    pub memory_pressure: MemoryPressure,

    /// Where containers' output goes.
    pub log_dir: AbsolutePath,
    /// How large a container's log file may grow.
    pub container_log_max_size: ByteSize,
    /// Where images lie, if that is a file system of its own; the signals of `imagefs` watch it. Those of `nodefs` watch the
    /// one of `logDir`.
    pub image_fs_path: Option<AbsolutePath>,
    /// What the agent keeps across its own restarts. All of it is about processes of this boot, so it need not outlive one.
    pub state_dir: AbsolutePath,
    /// Where decisions about memory are kept, on a disk that outlives a reboot.
    pub journal_dir: AbsolutePath,
    /// How large the journal may grow, 1Mi or more; the oldest decisions go first.
    pub journal_max_size: JournalSize,

    /// Which eBPF probes to attach. Each is optional: what cannot be attached is reported and done without.
    pub probes: ProbeSwitches,
    /// How often the kernel's state is compared with what it should be.
    pub reconcile_period: ReconcilePeriod,
    /// How often usage is sampled.
    pub usage_period: UsagePeriod,
    /// How the agent protects itself.
    pub agent: AgentProtection,

    /// Address of `/metrics`, `/healthz` and `/readyz`; `null` serves none.
    pub metrics_bind_address: Option<SocketAddr>,
    /// Unix socket (mode 0600) that `plimsoll status` asks.
    pub admin_socket: SocketPath,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_name: None,
            static_pod_path: AbsolutePath::fixed("/etc/plimsoll/manifests"),
            max_pods: MaxPods::default(),
            cgroup_driver: CgroupDriver::default(),
            cgroup_root: CgroupRoot::default(),
            system_reserved: Reserved::default(),
            kube_reserved: Reserved::default(),
            enforce_node_allocatable: vec![NodeAllocatable::Pods],
            pod_pids_limit: PodPidsLimit::default(),
            cpu_manager_policy: CpuManagerPolicy::default(),
            cpu_manager_policy_options: StaticOptions::default(),
            cpuset_partition: CpusetPartition::default(),
            reserved_system_cpus: CpuSet::EMPTY,
            topology_manager_policy: TopologyPolicy::default(),
            topology_manager_scope: TopologyScope::default(),
            topology_manager_policy_options: TopologyOptions::default(),
            memory_manager_policy: MemoryManagerPolicy::default(),
            reserved_memory: Vec::new(),
            cpu_cfs_quota: true,
            cpu_cfs_quota_period: CfsPeriod::default(),
            memory_qos: true,
            memory_throttling_factor: ThrottlingFactor::default(),
            memory_headroom: ByteSize(Bytes::mib(320)),
            memory_reservation_policy: MemoryReservationPolicy::default(),
            memory_swap: MemorySwap::default(),
            single_process_oom_kill: false,
            eviction_hard: eviction::default_hard(),
            eviction_soft: BySignal::default(),
            eviction_soft_grace_period: BySignal::default(),
            eviction_minimum_reclaim: BySignal::default(),
            eviction_pressure_transition_period: TransitionPeriod::default(),
            eviction_max_pod_grace_period: 0,
            merge_default_eviction_settings: false,
            eviction_profile: EvictionProfile::default(),
            oom_priority: OomPriority::default(),
            memory_pressure: MemoryPressure::default(),
            log_dir: AbsolutePath::fixed("/var/log/plimsoll/pods"),
            container_log_max_size: ByteSize(Bytes::mib(10)),
            image_fs_path: None,
            state_dir: AbsolutePath::fixed("/run/plimsoll"),
            journal_dir: AbsolutePath::fixed("/var/lib/plimsoll/journal"),
            journal_max_size: JournalSize::default(),
            probes: ProbeSwitches::default(),
            reconcile_period: ReconcilePeriod::default(),
            usage_period: UsagePeriod::default(),
            agent: AgentProtection::default(),
            metrics_bind_address: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 1876))),
            admin_socket: SocketPath::fixed("/run/plimsoll/plimsoll.sock"),
        }
    }
}

/// What is kept from pods, as quantities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Reserved {
    /// CPU: `500m`, `2`.
    #[serde(deserialize_with = "load::amount")]
    #[schemars(with = "String")]
    pub cpu: Quantity,
    /// Memory: `512Mi`.
    #[serde(deserialize_with = "load::amount")]
    #[schemars(with = "String")]
    pub memory: Quantity,
    /// Process ids: `1000`.
    #[serde(deserialize_with = "load::amount")]
    #[schemars(with = "String")]
    pub pid: Quantity,
}

/// A level at which node allocatable is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NodeAllocatable {
    /// The root of all pods.
    Pods,
    /// Nowhere; must stand alone.
    None,
}

/// How memory requests are protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MemoryReservationPolicy {
    /// Not at all.
    None,
    /// `memory.min` for Guaranteed pods, `memory.low` for Burstable ones.
    #[default]
    TieredReservation,
}

/// Swap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MemorySwap {
    /// Who may swap: `NoSwap`, or `LimitedSwap` for Burstable pods in proportion to their memory request.
    pub swap_behavior: SwapBehavior,
}

/// Who may swap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SwapBehavior {
    /// No pod.
    #[default]
    NoSwap,
    /// Burstable containers with a memory request below their limit, in proportion to the request; never those of
    /// critical pods, which static pods are.
    LimitedSwap,
}

/// Which eBPF probes to attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProbeSwitches {
    /// CPU time and run-queue delay of each cgroup, at every context switch. Needs `usage`.
    pub cpu: bool,
    /// One walk over all cgroups' memory and CPU figures.
    pub usage: bool,
    /// Time in direct reclaim and in `memory.high` throttling, and when the machine runs short of memory.
    pub stalls: bool,
    /// Victims of the OOM killer.
    pub oom: bool,
    /// Cgroups made, emptied and removed; processes started and ended.
    pub lifecycle: bool,
    /// Time that anything else ran on CPUs that belong to one container. Attached only while there are such CPUs.
    pub foreign: bool,
    /// Who else writes into the agent's cgroups.
    pub writes: bool,
}

impl Default for ProbeSwitches {
    fn default() -> Self {
        Self {
            cpu: true,
            usage: true,
            stalls: true,
            oom: true,
            lifecycle: true,
            foreign: true,
            writes: true,
        }
    }
}

/// How the agent protects itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AgentProtection {
    /// Whether the agent moves into a cgroup of its own below `cgroupRoot` and sets its `oom_score_adj` to -999.
    pub own_cgroup: bool,
    /// `memory.min` of that cgroup.
    pub memory_min: ByteSize,
}

impl Default for AgentProtection {
    fn default() -> Self {
        Self {
            own_cgroup: true,
            memory_min: ByteSize(Bytes::mib(32)),
        }
    }
}
