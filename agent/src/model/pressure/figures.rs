//! The figures that a decision about memory rests on. All are plain copies, so that a snapshot can be filled again and
//! again without an allocation.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{BootTime, Bytes, CgroupId, Limit, Namespace, OomScoreAdj, PodName, PodUid, QosClass};

/// Why a pod is never a victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Shield {
    /// Its priority is that of system-critical pods, two thousand million or more.
    Critical,
    /// It is static and says that it is critical.
    StaticCritical,
    /// Its annotation asks for it, and the owner's settings allow that.
    Protected,
}

/// What is known of a pod while it is there, whatever it uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodFacts {
    /// Identity.
    pub uid: PodUid,
    /// Namespace.
    pub namespace: Namespace,
    /// Name.
    pub name: PodName,
    /// Its cgroup; one made again under the same name has another.
    pub cgroup: CgroupId,
    /// QoS class.
    pub class: QosClass,
    /// Scheduling priority.
    pub priority: i32,
    /// Effective memory request, overhead included.
    pub request: Bytes,
    /// Effective request of ephemeral storage, overhead included.
    #[serde(default)]
    pub storage_request: Bytes,
    /// `memory.high` as placed.
    pub high: Limit<Bytes>,
    /// `memory.max` as placed.
    pub max: Limit<Bytes>,
    /// `oom_score_adj` that its containers' processes got at their start; the highest, where they differ.
    pub oom_score_adj: OomScoreAdj,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
    /// Why it is never a victim, if it is not.
    pub shield: Option<Shield>,
    /// When its first container was started.
    pub started_at: BootTime,
}

/// A pod's memory by kind: what comes back when it ends, and what comes back without that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Charge {
    /// Anonymous memory in RAM.
    pub anon: Bytes,
    /// Memory in swap.
    pub swap: Bytes,
    /// Shared memory and tmpfs; it outlives the processes unless its file goes.
    pub shmem: Bytes,
    /// Slab memory that cannot be reclaimed.
    pub slab_unreclaimable: Bytes,
    /// Page tables.
    pub page_tables: Bytes,
    /// Kernel stacks.
    pub kernel_stack: Bytes,
    /// Socket buffers.
    pub sock: Bytes,
}

impl Charge {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Bytes {
        let kinds = [
            self.anon,
            self.swap,
            self.shmem,
            self.slab_unreclaimable,
            self.page_tables,
            self.kernel_stack,
            self.sock,
        ];
        kinds.into_iter().fold(Bytes(0), Bytes::saturating_add)
    }
}

/// What a pod uses at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodFigures {
    /// `memory.current`.
    pub current: Bytes,
    /// By kind; none where `memory.stat` could not be read, or was not, since the pod is not among the largest.
    pub charge: Option<Charge>,
    /// Page cache that is neither dirty nor shared memory, and slab that can be reclaimed.
    pub reclaimable: Bytes,
    /// `memory.current` less inactive file pages, as kubelet has it.
    pub working_set: Bytes,
    /// Resident memory and page tables of its largest process, which the kernel's OOM killer goes by.
    pub largest_process: Bytes,
    /// Tasks.
    pub tasks: u64,
    /// Time in which every task of it waited for memory, since it was made.
    pub stalled: Duration,
    /// `high` of `memory.events`.
    pub high_events: u64,
    /// `max` of `memory.events`.
    pub max_events: u64,
    /// Whether it has a process that lives.
    pub populated: bool,
    /// CPU time used per time, in thousandths of a CPU.
    pub cpu_milli: u64,
    /// What it has on the file system that is watched; none where nobody measured it.
    #[serde(default)]
    pub storage: Option<StorageUse>,
}

impl PodFigures {
    /// Whether anything of its memory could be read.
    #[must_use]
    pub fn known(&self) -> bool {
        self.charge.is_some() || self.current > Bytes(0)
    }
}

/// What a pod has on a file system: writable layers, logs and volumes, as far as they are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageUse {
    /// Space.
    pub used: Bytes,
    /// Inodes.
    pub inodes: u64,
}

/// Space of one file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilesystemFigures {
    /// Its size.
    pub capacity: Bytes,
    /// Free for those without privilege.
    pub available: Bytes,
    /// Its inodes.
    pub inodes: u64,
    /// Free ones.
    pub inodes_free: u64,
}

/// What the node has left at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFigures {
    /// When they were read.
    pub at: BootTime,
    /// `MemTotal`.
    pub capacity: Bytes,
    /// `MemAvailable`.
    pub available: Bytes,
    /// The machine's working set, as kubelet has it: usage less inactive file pages.
    pub working_set: Bytes,
    /// `SwapTotal`.
    pub swap: Bytes,
    /// `SwapFree`.
    pub swap_free: Bytes,
    /// Usage of the pods' root cgroup.
    pub root_current: Bytes,
    /// Its memory that comes back without anybody's end: page cache and reclaimable slab.
    pub root_reclaimable: Bytes,
    /// Its inactive file pages.
    pub root_inactive_file: Bytes,
    /// Its `memory.high`.
    pub root_high: Limit<Bytes>,
    /// Its `memory.max`.
    pub root_max: Limit<Bytes>,
    /// Time in which some task of the machine waited for memory, since boot.
    pub some: Duration,
    /// Time in which every task did.
    pub full: Duration,
    /// The same two below the pods' root.
    pub root_some: Duration,
    /// The same two below the pods' root.
    pub root_full: Duration,
    /// Times the kernel's background reclaim was woken, since the probe counts.
    pub kswapd_wakes: u64,
    /// Allocations that had to reclaim themselves, since the probe counts.
    pub direct_reclaims: u64,
    /// Tasks of the machine.
    pub tasks: u64,
    /// The most that it can have.
    pub tasks_max: u64,
    /// The file system that pods write to: that of their logs.
    pub nodefs: Option<FilesystemFigures>,
    /// The file system of images, where that is another.
    pub imagefs: Option<FilesystemFigures>,
}
