//! The table of who owns which file, from kubelet's source (1.36), the runtimes' and systemd's.
//!
//! The first row that fits tells. A row without a driver is for both: [`By::Unit`] is the unit's property where systemd
//! makes cgroups and the file where kubelet does, and what [`Occasion::DaemonReload`] overwrites follows from the file.
//!
//! | part | where to read it |
//! | --- | --- |
//! | `kubepods` | kubelet `cm/node_container_manager_linux.go` |
//! | QoS levels | kubelet `cm/qos_container_manager_linux.go`, `UpdateCgroups` |
//! | pods | kubelet `cm/helpers_linux.go` `ResourceConfigForPod`, `cm/pod_container_manager_linux.go` `EnsureExists`: what is there is accepted as it is |
//! | containers | kubelet `kuberuntime/kuberuntime_container_linux.go`, by CRI; kept by the runtime in the container's specification |
//! | memory QoS | KEP-2570 |
//! | CPU and memory managers | kubelet `cm/cpumanager`, `cm/memorymanager`: nothing is written under the policies `none` and `None` |
//! | what systemd writes | systemd `src/core/cgroup.c`, `cgroup_context_apply`; opencontainers/cgroups `systemd/v2.go` |

use super::Only::{self, Always, BestEffort, MemoryQos, StaticCpuManager, StaticMemoryManager};
use crate::model::FileKind as F;
use crate::model::Level::{self, Container, Helper, Inner, Pod, Qos, Root};
use crate::model::Occasion::{self, Create, Reconcile, Refresh, Resize};
use crate::model::Owner::{self, Kubelet, Ours, Runtime};

/// By what a file is set so that it stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// Nothing: it is left alone.
    Nothing,
    /// The file, under both drivers.
    File,
    /// The unit's property under systemd, else the file.
    Unit,
    /// CRI.
    Cri,
}

/// Some files at some levels.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) files: &'static [F],
    pub(super) levels: &'static [Level],
    pub(super) only: Only,
    pub(super) owner: Owner,
    pub(super) when: &'static [Occasion],
    pub(super) by: By,
    /// Why it is so, and where to read it.
    pub(super) source: &'static str,
}

const fn row(
    files: &'static [F],
    levels: &'static [Level],
    only: Only,
    (owner, when): (Owner, &'static [Occasion]),
    by: By,
    source: &'static str,
) -> Row {
    Row {
        files,
        levels,
        only,
        owner,
        when,
        by,
        source,
    }
}

const PROTECTION: &[F] = &[F::MemoryMin, F::MemoryLow, F::MemoryHigh];
const CPUS: &[F] = &[F::CpusetCpus, F::CpusetExclusive, F::CpusetPartition];
const ABOVE_INNER: &[Level] = &[Root, Qos, Pod, Container];
/// All that is a cgroup's.
const CGROUP_FILES: &[F] = F::ALL.split_at(F::ALL.len() - 1).0;

// Two lines a row: what, when and how; why.
#[rustfmt::skip]
pub(super) const TABLE: &[Row] = &[
    // CPU time.
    row(&[F::CpuWeight], &[Root, Qos], Always, (Kubelet, &[Create, Refresh]), By::Nothing,
        "UpdateCgroups writes it again every minute and at each pod's start"),
    row(&[F::CpuWeight], &[Pod], Always, (Kubelet, &[Create, Resize]), By::Unit,
        "ResourceConfigForPod; never verified afterwards"),
    row(&[F::CpuWeight], &[Container], Always, (Runtime, &[Create, Resize]), By::Cri,
        "calculateLinuxResources, cpu_shares"),
    row(&[F::CpuMax], &[Qos, Pod], BestEffort, (Ours, &[]), By::Unit,
        "ResourceConfigForPod gives BestEffort no quota"),
    row(&[F::CpuMax], &[Root, Qos], Always, (Kubelet, &[]), By::Nothing,
        "a quota above pods would undo their weights"),
    row(&[F::CpuMax], &[Pod, Container], Always, (Kubelet, &[Create, Resize]), By::Nothing,
        "the limit of the specification"),
    row(&[F::CpuIdle], &[Pod], BestEffort, (Ours, &[]), By::Unit,
        "no class but BestEffort has the lowest weight anyway"),
    row(&[F::CpuIdle], ABOVE_INNER, Always, (Kubelet, &[]), By::Nothing,
        "an idle cgroup refuses the cpu.weight that others write (kernel/sched/core.c)"),
    // CPUs and NUMA nodes.
    row(CPUS, ABOVE_INNER, StaticCpuManager, (Kubelet, &[Create, Reconcile]), By::Nothing,
        "cm/cpumanager places containers itself under the policy static"),
    row(&[F::CpusetMems], ABOVE_INNER, StaticMemoryManager, (Kubelet, &[Create, Reconcile]), By::Nothing,
        "cm/memorymanager places containers itself under the policy Static"),
    row(&[F::CpusetCpus], &[Root], Always, (Kubelet, &[Create]), By::Nothing,
        "createNodeAllocatableCgroups gives it all CPUs"),
    row(&[F::CpusetMems], &[Root], Always, (Kubelet, &[]), By::Nothing,
        "what kubepods may have as a whole is kubelet's"),
    row(&[F::CpusetCpus, F::CpusetMems], &[Qos, Pod], Always, (Ours, &[]), By::Unit,
        "kubelet gives these levels no CPUs and no nodes"),
    row(&[F::CpusetCpus, F::CpusetMems], &[Container], Always, (Ours, &[]), By::Cri,
        "empty in the specification without a manager; an update by CRI is kept there"),
    row(&[F::CpusetExclusive], ABOVE_INNER, Always, (Ours, &[]), By::File,
        "nobody else knows it; a partition needs it in all levels above"),
    row(&[F::CpusetPartition], &[Pod, Container], Always, (Ours, &[]), By::File,
        "nobody else knows it"),
    row(&[F::CpusetPartition], &[Root, Qos], Always, (Kubelet, &[]), By::Nothing,
        "it would take CPUs from everything beside kubepods"),
    // Memory.
    row(PROTECTION, &[Root, Qos], MemoryQos, (Kubelet, &[Create, Refresh]), By::Nothing,
        "setMemoryQoS of UpdateCgroups, KEP-2570"),
    row(PROTECTION, &[Pod], MemoryQos, (Kubelet, &[Create]), By::Nothing,
        "ResourceConfigForPod with enforceMemoryQoS, KEP-2570"),
    row(PROTECTION, &[Container], MemoryQos, (Kubelet, &[Create, Resize]), By::Nothing,
        "unified of the container's specification, KEP-2570"),
    row(PROTECTION, ABOVE_INNER, Always, (Ours, &[]), By::Unit,
        "nobody else sets it without kubelet's gate MemoryQoS"),
    row(&[F::MemoryMax], &[Root], Always, (Kubelet, &[Create]), By::Nothing,
        "enforceNodeAllocatableCgroups"),
    row(&[F::MemoryMax], &[Qos], Always, (Kubelet, &[Refresh]), By::Nothing,
        "setMemoryReserve, with qosReserved"),
    row(&[F::MemoryMax], &[Pod, Container], Always, (Kubelet, &[Create, Resize]), By::Nothing,
        "the limit of the specification"),
    row(&[F::MemorySwapMax], &[Root, Qos, Pod], Always, (Kubelet, &[]), By::Nothing,
        "KEP-2400 limits swap at containers only"),
    row(&[F::MemorySwapMax], &[Container], Always, (Kubelet, &[Create, Resize]), By::Nothing,
        "KEP-2400"),
    row(&[F::MemoryOomGroup], &[Root, Qos], Always, (Kubelet, &[]), By::Nothing,
        "an OOM kill would take every pod below"),
    row(&[F::MemoryOomGroup], &[Pod], Always, (Ours, &[]), By::File,
        "kubelet sets it at containers only"),
    row(&[F::MemoryOomGroup], &[Container], Always, (Runtime, &[Create, Resize]), By::File,
        "unified of the specification, by singleProcessOOMKill; runc's update does not take it"),
    // Counts, IO, huge pages.
    row(&[F::PidsMax], &[Root, Pod], Always, (Kubelet, &[Create]), By::Nothing,
        "node allocatable; podPidsLimit"),
    row(&[F::PidsMax], &[Qos], Always, (Kubelet, &[]), By::Nothing,
        "what a class may have as a whole is kubelet's"),
    row(&[F::PidsMax], &[Container], Always, (Runtime, &[Create, Resize]), By::Nothing,
        "the runtime's own default"),
    row(&[F::IoWeight], &[Root, Qos, Pod], Always, (Ours, &[]), By::Unit,
        "kubelet sets nothing of io"),
    row(&[F::IoWeight], &[Container], Always, (Runtime, &[Create, Resize]), By::Nothing,
        "block IO classes of containerd and CRI-O"),
    row(&[F::Hugetlb], &[Root, Qos], Always, (Kubelet, &[Create, Refresh]), By::Nothing,
        "setHugePagesConfig of UpdateCgroups"),
    row(&[F::Hugetlb], &[Pod], Always, (Kubelet, &[Create]), By::Nothing,
        "ResourceConfigForPod, HugePageLimit"),
    row(&[F::Hugetlb], &[Container], Always, (Runtime, &[Create, Resize]), By::Nothing,
        "GetHugepageLimitsFromResources"),
    // Processes.
    row(&[F::OomScoreAdj], &[Container], Always, (Kubelet, &[Create]), By::File,
        "GetContainerOOMScoreAdjust, given to each process that the runtime starts, never again"),
    row(&[F::OomScoreAdj], &[Helper], Always, (Runtime, &[Create]), By::Nothing,
        "the sandbox must outlive the pod's containers"),
    // What is not a pod's work.
    row(CGROUP_FILES, &[Helper], Always, (Runtime, &[Create]), By::Nothing,
        "the sandbox and the monitor are the runtime's own"),
    row(CGROUP_FILES, &[Inner], Always, (Runtime, &[Create, Resize]), By::Nothing,
        "crun repeats the limits there (run.oci.systemd.subgroup); the scope above is where they are set"),
];
