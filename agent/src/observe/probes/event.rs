//! What happened to cgroups and processes.

use std::time::Duration;

use crate::model::{BootTime, Bytes, CgroupId, ExitStatus, Limit, RunDelay};

/// The last figures of a cgroup that was removed. What could not be had is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CgroupTotals {
    /// CPU time of its own processes.
    pub on_cpu: Option<Duration>,
    /// Waits of its own processes for a CPU.
    pub run_delay: Option<RunDelay>,
    /// The most memory it ever used.
    pub memory_peak: Option<Bytes>,
}

/// Something happened below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeEvent {
    /// A cgroup was made.
    CgroupMade {
        /// When.
        at: BootTime,
        /// The cgroup.
        id: CgroupId,
        /// Its parent.
        parent: CgroupId,
        /// Its level in the hierarchy.
        level: u32,
        /// Its directory's name, with anything unprintable replaced; longer names are cut at 95 bytes.
        name: String,
    },
    /// A cgroup was removed.
    CgroupRemoved {
        /// When.
        at: BootTime,
        /// The cgroup.
        id: CgroupId,
        /// Its last figures.
        totals: CgroupTotals,
    },
    /// A cgroup's subtree got its first process, or lost its last.
    Populated {
        /// When.
        at: BootTime,
        /// The cgroup.
        id: CgroupId,
        /// Whether it has processes now.
        populated: bool,
    },
    /// A process executed a program.
    Exec {
        /// When.
        at: BootTime,
        /// The process.
        pid: u32,
        /// Its cgroup.
        cgroup: CgroupId,
        /// Its name now, with anything unprintable replaced.
        comm: String,
    },
    /// A process ended, with its last thread.
    Exit {
        /// When.
        at: BootTime,
        /// The process.
        pid: u32,
        /// Its cgroup.
        cgroup: CgroupId,
        /// How it ended.
        status: ExitStatus,
        /// Its name, with anything unprintable replaced.
        comm: String,
    },
    /// The kernel's OOM killer took a process.
    OomVictim {
        /// When.
        at: BootTime,
        /// The process.
        pid: u32,
        /// Its name, with anything unprintable replaced.
        comm: String,
        /// Its cgroup.
        cgroup: CgroupId,
        /// Its `oom_score_adj`.
        oom_score_adj: i32,
        /// The process whose allocation found no memory.
        trigger_pid: u32,
        /// That process's name, with anything unprintable replaced.
        trigger_comm: String,
        /// That process's cgroup.
        trigger_cgroup: CgroupId,
        /// `memory.current` of the victim's cgroup.
        usage: Option<Bytes>,
        /// `memory.max` of the victim's cgroup. The limit that was hit may be an ancestor's, see
        /// [`Self::OomDomain`].
        limit: Option<Limit<Bytes>>,
    },
    /// The kernel's OOM killer chose among the processes of a cgroup's subtree; comes before its victims.
    OomDomain {
        /// When.
        at: BootTime,
        /// The chosen process.
        pid: u32,
        /// The cgroup whose limit was hit, what it used, and the limit; none when the machine is out of memory.
        cgroup: Option<(CgroupId, Bytes, Limit<Bytes>)>,
        /// The chosen process's badness in pages.
        points: u64,
    },
    /// Somebody else than the agent wrote a value into a cgroup's file, and the kernel took it.
    FileWritten {
        /// When.
        at: BootTime,
        /// The cgroup.
        cgroup: CgroupId,
        /// The file's name, with anything unprintable replaced: `cpuset.cpus`.
        file: String,
        /// The process.
        pid: u32,
        /// Its name, which it may have chosen itself, with anything unprintable replaced.
        comm: String,
    },
}
