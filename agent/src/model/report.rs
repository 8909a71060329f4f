//! What the running agent says of itself and its pods: one picture for `status`, the metrics and the demo.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cgroup_path::CgroupPath;
use super::exclusive::{ContainerCpus, NodeCpus};
use super::ids::{CgroupId, ContainerName, Namespace, PodName, PodUid, ProcessIdentity};
use super::pressure::PressureReport;
use super::qos::QosClass;
use super::units::{Bytes, CpuPeriod, CpuQuota, CpuWeight, Limit, MilliCpu, OomScoreAdj};
use super::usage::RUN_DELAY_BUCKETS;

/// Where a pod is in its life, as the Kubernetes API names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodPhase {
    /// Accepted, not all started yet.
    Pending,
    /// At least one container runs or will run again.
    Running,
    /// Every container ended well and none starts again.
    Succeeded,
    /// Every container ended, one of them in failure, or the pod was refused.
    Failed,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum ContainerPhase {
    /// Not started yet, with the reason.
    Waiting {
        /// Why, in one word as kubelet has it: `PodInitializing`, `CrashLoopBackOff`, `StartError`…
        reason: String,
        /// Details for a person.
        message: String,
    },
    /// Runs.
    Running {
        /// Its first process.
        process: ProcessIdentity,
        /// Whether it was found running when the agent started.
        adopted: bool,
    },
    /// Ended for good.
    Terminated {
        /// Its exit code (128 + signal when killed by one); none when nobody could see it.
        exit_code: Option<i32>,
        /// `Completed`, `Error`, `OOMKilled`…
        reason: String,
    },
}

/// CPU figures of one cgroup.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuUsage {
    /// CPU time used since the cgroup was made.
    pub total: Duration,
    /// CPU time used per time over the last two samples.
    pub rate: Option<MilliCpu>,
    /// Time spent waiting on a run queue; only eBPF tells.
    pub run_delay: Option<Duration>,
    /// How many times a task was switched in after a wait.
    pub run_delay_count: Option<u64>,
    /// Waits by length, bucket `i` up to 2^(12+i) ns.
    pub run_delay_histogram: Option<[u64; RUN_DELAY_BUCKETS]>,
    /// Time held back by `cpu.max`.
    pub throttled: Option<Duration>,
    /// The part of `total` spent in user mode.
    pub user: Option<Duration>,
    /// The part of `total` spent in the kernel.
    pub system: Option<Duration>,
    /// Bandwidth periods in which a task was runnable.
    pub periods: Option<u64>,
    /// Bandwidth periods in which the quota was used up.
    pub throttled_periods: Option<u64>,
}

/// Memory figures of one cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryUsage {
    /// `memory.current`.
    pub current: Bytes,
    /// Usage less inactive file pages: what kubelet and cAdvisor call the working set.
    pub working_set: Bytes,
    /// The highest usage seen.
    pub peak: Option<Bytes>,
    /// `memory.swap.current`.
    pub swap: Option<Bytes>,
    /// Anonymous memory.
    pub anon: Option<Bytes>,
    /// File cache, shared memory included.
    pub file: Option<Bytes>,
    /// Shared memory and tmpfs.
    pub shmem: Option<Bytes>,
    /// Kernel's slab memory.
    pub slab: Option<Bytes>,
    /// File pages mapped by a process.
    pub mapped_file: Option<Bytes>,
    /// Page faults.
    pub page_faults: Option<u64>,
    /// Page faults that waited for a disk.
    pub major_page_faults: Option<u64>,
    /// Times the throttle limit was exceeded (`memory.events` high).
    pub high_events: u64,
    /// Time spent reclaiming directly and waiting at `memory.high`; only eBPF tells.
    pub stalled: Option<Duration>,
    /// Times the hard limit was hit (`memory.events` max).
    pub max_events: u64,
    /// Processes killed by the OOM killer (`memory.events` oom_kill).
    pub oom_kills: u64,
}

/// Time in which tasks of one cgroup waited for a resource, from `*.pressure`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PressureTotals {
    /// CPU: some task waited.
    pub cpu_some: Duration,
    /// CPU: all tasks waited.
    pub cpu_full: Duration,
    /// Memory: some task waited.
    pub memory_some: Duration,
    /// Memory: all tasks waited.
    pub memory_full: Duration,
    /// IO: some task waited.
    pub io_some: Duration,
    /// IO: all tasks waited.
    pub io_full: Duration,
}

/// Limits, weights and protections of one cgroup as last read from the kernel; none where the file is missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CgroupLimits {
    /// `cpu.weight`.
    pub cpu_weight: Option<CpuWeight>,
    /// `cpu.max`.
    pub cpu_max: Option<(Limit<CpuQuota>, CpuPeriod)>,
    /// `memory.min`.
    pub memory_min: Option<Limit<Bytes>>,
    /// `memory.low`.
    pub memory_low: Option<Limit<Bytes>>,
    /// `memory.high`.
    pub memory_high: Option<Limit<Bytes>>,
    /// `memory.max`.
    pub memory_max: Option<Limit<Bytes>>,
    /// `memory.swap.max`.
    pub swap_max: Option<Limit<Bytes>>,
    /// `pids.max`.
    pub pids_max: Option<Limit<u64>>,
}

/// What one cgroup uses and may use.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CgroupReport {
    /// Below the agent's root.
    pub path: CgroupPath,
    /// Its identity while it exists.
    pub id: Option<CgroupId>,
    /// When the figures were taken, as time since the Unix epoch.
    pub sampled_at: Option<Duration>,
    /// Limits in force.
    pub limits: CgroupLimits,
    /// CPU figures.
    pub cpu: Option<CpuUsage>,
    /// Memory figures.
    pub memory: Option<MemoryUsage>,
    /// Tasks (`pids.current`).
    pub tasks: Option<u64>,
    /// Waiting times.
    pub pressure: Option<PressureTotals>,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerReport {
    /// Name.
    pub name: ContainerName,
    /// Where it is in its life.
    pub phase: ContainerPhase,
    /// Times it was started again.
    pub restarts: u32,
    /// The image that the manifest names; unused while containers are host processes.
    pub image: Option<String>,
    /// When it was last started, as time since the Unix epoch.
    pub started_at: Option<Duration>,
    /// `oom_score_adj` of its processes.
    pub oom_score_adj: OomScoreAdj,
    /// Its cgroup.
    pub cgroup: CgroupReport,
    /// Where it may run; none where nobody gives CPUs or memory.
    #[serde(default)]
    pub cpus: Option<ContainerCpus>,
    /// Where its output goes.
    pub log_path: Option<String>,
}

/// One pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodReport {
    /// Identity.
    pub uid: PodUid,
    /// Namespace.
    pub namespace: Namespace,
    /// Name.
    pub name: PodName,
    /// QoS class.
    pub qos: QosClass,
    /// Phase.
    pub phase: PodPhase,
    /// Why it is in that phase, when there is something to say: `OutOfcpu`…
    pub reason: Option<String>,
    /// The reason with its numbers.
    pub message: Option<String>,
    /// Its cgroup, with the figures of the whole pod.
    pub cgroup: CgroupReport,
    /// Containers, init containers first.
    pub containers: Vec<ContainerReport>,
}

/// One eBPF probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Its name.
    pub name: String,
    /// Whether it watches.
    pub attached: bool,
    /// Why it does not.
    pub reason: Option<String>,
}

/// One process that the kernel's OOM killer took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OomRecord {
    /// When, since boot.
    pub at: Duration,
    /// The pod and container it belonged to; none when it was outside the agent's tree.
    pub container: Option<(PodUid, Namespace, PodName, ContainerName)>,
    /// The victim's process id, when eBPF saw it.
    pub pid: Option<u32>,
    /// The victim's name, with anything unprintable replaced; empty when nobody saw it.
    pub comm: String,
    /// The process whose allocation hit the limit, when eBPF saw it.
    pub trigger_pid: Option<u32>,
    /// What the victim's cgroup used.
    pub usage: Option<Bytes>,
    /// The limit that was hit.
    pub limit: Option<Limit<Bytes>>,
}

/// What the agent itself costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentCost {
    /// When it was started, as time since the Unix epoch.
    pub started_at: Duration,
    /// CPU time used.
    pub cpu: Duration,
    /// Memory resident.
    pub resident: Bytes,
    /// Address space.
    pub virtual_size: Bytes,
    /// File descriptors open.
    pub open_fds: u64,
    /// File descriptors allowed.
    pub max_fds: u64,
}

/// The node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    /// The agent's version.
    pub version: String,
    /// The node's name.
    pub node_name: String,
    /// The agent's root cgroup, an absolute path in the cgroup file system.
    pub root: String,
    /// CPU that pods may request.
    pub allocatable_cpu: MilliCpu,
    /// Memory that pods may request.
    pub allocatable_memory: Bytes,
    /// What the agent itself costs.
    pub agent: AgentCost,
    /// Who may run on which CPU; none where nobody gives CPUs.
    #[serde(default)]
    pub cpus: Option<NodeCpus>,
    /// Pods, by namespace and name.
    pub pods: Vec<PodReport>,
    /// Memory pressure; none where nobody watches for it.
    #[serde(default)]
    pub pressure: Option<PressureReport>,
    /// Probes.
    pub probes: Vec<ProbeReport>,
    /// The latest kills by the kernel's OOM killer, oldest first.
    pub oom_kills: Vec<OomRecord>,
    /// Manifest errors that stand now, each with file, document, field and line.
    pub manifest_errors: Vec<String>,
}
