//! What is told of CPUs and memory that containers have to themselves.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cpu_set::CpuSet;
use super::foreign::ForeignTime;

/// Where a container may run, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerCpus {
    /// CPUs of its own; none if it shares.
    pub own: Option<CpuSet>,
    /// The CPUs that the kernel shows; none if it shows none.
    pub has: Option<CpuSet>,
    /// NUMA nodes that its memory is bound to, by the kernel's numbers; none if it is bound to none.
    pub memory_nodes: Option<Vec<u32>>,
    /// Why these CPUs, or why the shared ones.
    pub why: String,
    /// The kind of cpuset partition that its own are, or why they are none; none where none is wanted.
    #[serde(default)]
    pub partition: Option<String>,
    /// How it came by its own; none if it shares.
    pub grant: Option<GrantReport>,
}

/// How a container came by CPUs of its own, and whether it was alone on them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantReport {
    /// When, as time since the Unix epoch.
    pub granted_at: Duration,
    /// How long it took until nobody else's task was seen there; none until then, and for one that was there before the
    /// agent was.
    pub clean_after: Option<Duration>,
    /// Who else used these CPUs since the container has them; none where nothing counts it.
    pub foreign: Option<ForeignReport>,
}

/// Time of some CPUs together that others than their owner used, while they had this owner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForeignReport {
    /// How long they were looked at, all of them together.
    pub window: Duration,
    /// Used by other pods.
    pub pods: Duration,
    /// Used by what runs outside the agent's root.
    pub system: Duration,
    /// Used by threads of the kernel.
    pub kernel_threads: Duration,
    /// Spent in interrupts.
    pub irq: Duration,
    /// Spent in soft interrupts.
    pub softirq: Duration,
}

impl ForeignReport {
    /// What was used of one CPU between two looks at it.
    #[must_use]
    pub fn between(begun: &ForeignTime, now: &ForeignTime) -> Self {
        let of = |part: fn(&ForeignTime) -> Duration| part(now).saturating_sub(part(begun));
        let mut report = Self {
            window: of(|time| time.own),
            pods: of(|time| time.pods),
            system: of(|time| time.system),
            kernel_threads: of(|time| time.kernel_threads),
            irq: of(|time| time.irq),
            softirq: of(|time| time.softirq),
        };
        // Each nanosecond is one of these.
        report.window += report.foreign();
        report
    }

    /// All of it together.
    #[must_use]
    pub fn foreign(&self) -> Duration {
        self.pods + self.system + self.kernel_threads + self.irq + self.softirq
    }

    /// Adds what was used of another CPU, or at another time.
    pub fn add(&mut self, other: Self) {
        self.window += other.window;
        self.pods += other.pods;
        self.system += other.system;
        self.kernel_threads += other.kernel_threads;
        self.irq += other.irq;
        self.softirq += other.softirq;
    }
}

/// Who may run on a node's CPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeCpus {
    /// CPUs of containers without their own.
    pub shared: CpuSet,
    /// CPUs that no container gets to itself.
    pub reserved: CpuSet,
    /// CPUs that containers have to themselves.
    pub exclusive: CpuSet,
    /// The same, by NUMA node.
    pub by_node: Vec<NumaCpus>,
    /// What the kernel's threads used of exclusive CPUs, by name, the busiest first.
    pub kernel_threads: Vec<(String, Duration)>,
    /// What the agent found otherwise than it had left it, when it started or when CPUs went or came.
    pub changes: Vec<String>,
}

/// The CPUs of one NUMA node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NumaCpus {
    /// The kernel's number.
    pub node: u32,
    /// Shared ones of it, reserved ones left out.
    pub shared: CpuSet,
    /// Reserved ones of it.
    pub reserved: CpuSet,
    /// Exclusive ones of it.
    pub exclusive: CpuSet,
}
