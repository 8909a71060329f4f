//! What runs on CPUs that belong to one container, and is not that container.
//!
//! **Terms.** *Foreign time* is time that anything but the owner's tasks used a CPU. Every nanosecond of a CPU is
//! counted once: as the owner's, which it is to use or to leave idle, or as one kind of foreign time. Time in interrupts is a kind of its own,
//! whatever it interrupts; some of it is on the owner's behalf, and nobody can tell which.

use std::time::Duration;

use super::{BootTime, CgroupId, CpuId, CpuSet};

/// The cgroup that a CPU belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerCgroup {
    /// Its id.
    pub id: CgroupId,
    /// How many levels it is below the agent's root: 1 for a child of it.
    pub depth: u16,
}

/// How one CPU was used while it had an owner, in all since counting began; nothing here ever falls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForeignTime {
    /// Whose the CPU is; none when it was, and is not any more.
    pub owner: Option<CgroupId>,
    /// When the owner got it.
    pub since: BootTime,
    /// When a task of another pod or of the system last left it, since the owner has it: with none there now, the
    /// CPU is clean from then on. None when no such task ever left.
    pub left: Option<BootTime>,
    /// Used by the owner (its cgroup and those below it) or by nobody.
    pub own: Duration,
    /// Used by tasks of other cgroups below the agent's root.
    pub pods: Duration,
    /// Used by tasks outside the agent's root.
    pub system: Duration,
    /// Used by threads of the kernel.
    pub kernel_threads: Duration,
    /// Spent in interrupts.
    pub irq: Duration,
    /// Spent in soft interrupts.
    pub softirq: Duration,
}

#[cfg(any(test, feature = "testutils"))]
impl ForeignTime {
    /// All of it, by who used it: own, pods, system, kernel threads, interrupts, soft interrupts.
    #[must_use]
    pub const fn kinds(&self) -> [Duration; 6] {
        let Self {
            own,
            pods,
            system,
            kernel_threads,
            irq,
            softirq,
            ..
        } = *self;
        [own, pods, system, kernel_threads, irq, softirq]
    }
}

/// Foreign time of kernel threads by what they do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelThreadTimes {
    /// By name without numbers: `kworker`, `ksoftirqd`, `irq/nvme0q`. Letters, digits and `_-.:+/` only.
    pub named: Vec<(String, Duration)>,
    /// Of all others.
    pub others: Duration,
}

/// What kind of stranger a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stranger {
    /// Of another cgroup below the agent's root.
    Pod,
    /// Of a cgroup outside the agent's root.
    System,
    /// A thread of the kernel.
    KernelThread,
}

/// A task on a CPU that is another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intruder {
    /// The CPU.
    pub cpu: CpuId,
    /// What it is.
    pub kind: Stranger,
    /// Its process id.
    pub pid: u32,
    /// Its thread id.
    pub tid: u32,
    /// The name it gave itself: to be escaped where it is shown.
    pub comm: String,
    /// Its cgroup, where it is known.
    pub cgroup: Option<CgroupId>,
}

/// Who is on some CPUs at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Presence {
    /// Tasks that are not the owner's, by CPU.
    pub intruders: Vec<Intruder>,
    /// CPUs of which nothing is known, because no owner was set.
    pub unwatched: CpuSet,
}
