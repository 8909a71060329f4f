//! What is not as it was, in words with numbers, and in one word for a metric.

use std::fmt;

use super::{Facts, mark};
use crate::decide::cpu::refusal::CpuRefusal;
use crate::decide::cpu::wish::WhyShared;
use crate::model::{ContainerName, CpuSet, PodUid};
use crate::state::cpus::checkpoint::Counts;

/// One thing that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Of the machine or the configuration.
    Node(NodeChange),
    /// Of one container.
    Container {
        /// Its pod.
        pod: PodUid,
        /// The container.
        container: ContainerName,
        /// What.
        what: ContainerChange,
    },
}

/// What changed for all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeChange {
    /// The policy.
    #[error("the CPU manager's policy was {was:?} and is {is}")]
    Policy {
        /// The file's.
        was: String,
        /// The configuration's.
        is: String,
    },
    /// The options that are on.
    #[error("the CPU manager's options were [{was}] and are [{is}]")]
    Options {
        /// The file's.
        was: String,
        /// The configuration's.
        is: String,
    },
    /// The reserved CPUs.
    #[error("reserved CPUs were {was} and are {is}", was = list(.was), is = list(.is))]
    Reserved {
        /// The file's.
        was: CpuSet,
        /// The configuration's.
        is: CpuSet,
    },
    /// The file is another machine's.
    #[error("the checkpoint is of the machine {was:?}, this one is {is:?}")]
    Machine {
        /// The file's.
        was: String,
        /// This one's.
        is: String,
    },
    /// The CPUs that are online.
    #[error("CPUs gone: {gone}, CPUs come: {come}", gone = list(.gone), come = list(.come))]
    Cpus {
        /// Not online any more.
        gone: CpuSet,
        /// Online, and not before.
        come: CpuSet,
    },
    /// How the CPUs lie.
    #[error("the CPUs lie otherwise: there were {was}; there are {is}")]
    Layout {
        /// The file's.
        was: Counts,
        /// The machine's.
        is: Counts,
    },
    /// The shared pool is empty.
    #[error("all of the {cpus} CPUs are held or withheld: nothing is left to share")]
    NothingShared {
        /// CPUs online.
        cpus: usize,
    },
}

/// Why a container does not hold a CPU that was its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// It is not online.
    #[error("not online")]
    Offline,
    /// It is reserved now, and the container does not run.
    #[error("reserved now")]
    Reserved,
    /// Another container has it.
    #[error("with container {container} of pod {pod}")]
    Other {
        /// That container's pod.
        pod: PodUid,
        /// That container.
        container: ContainerName,
    },
}

/// Why a pin is not kept at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LetGo {
    /// The policy is `none`.
    #[error("the policy gives no exclusive CPUs")]
    Policy,
    /// It is to share.
    #[error("{0}")]
    Shares(WhyShared),
    /// It neither runs nor is to exist.
    #[error("the container is gone")]
    Gone,
    /// The layout is another one, and the pin is not what would be chosen.
    #[error("the CPUs lie on {nodes} NUMA nodes now, where {fewest} could hold them")]
    Layout {
        /// NUMA nodes that it is on.
        nodes: usize,
        /// As many would do.
        fewest: usize,
    },
    /// Its pod was not let in yet, and it cannot have all of it.
    #[error("only {kept} of {wanted} could be kept, and its pod was not admitted yet")]
    Incomplete {
        /// That could be kept.
        kept: usize,
        /// That it wants.
        wanted: usize,
    },
}

/// What changed for a container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContainerChange {
    /// The kernel has it on other CPUs than the file says.
    #[error("the checkpoint has it on CPUs {pin}, the kernel on {effective}: it keeps {kept}", kept = list(.kept))]
    Drifted {
        /// The file's.
        pin: CpuSet,
        /// The kernel's.
        effective: CpuSet,
        /// What it keeps of them.
        kept: CpuSet,
    },
    /// It does not have CPUs that were its own.
    #[error("it loses CPUs {cpus}: {why}")]
    Lost {
        /// Which.
        cpus: CpuSet,
        /// Why.
        why: Lost,
    },
    /// It wants fewer than it had.
    #[error("it had CPUs {had} and wants {wanted}: it keeps {now}", now = list(.now))]
    Shrunk {
        /// What it had.
        had: CpuSet,
        /// What it keeps of that.
        now: CpuSet,
        /// How many it wants.
        wanted: usize,
    },
    /// It gets CPUs that it did not have.
    #[error("it wants {wanted} CPUs: it keeps {had} and gets {new}", had = list(.had))]
    Filled {
        /// What it keeps.
        had: CpuSet,
        /// What it gets.
        new: CpuSet,
        /// How many it wants.
        wanted: usize,
    },
    /// It has no CPUs of its own any more.
    #[error("it gives back CPUs {cpus}: {why}")]
    LetGo {
        /// Which.
        cpus: CpuSet,
        /// Why.
        why: LetGo,
    },
    /// It runs on reserved CPUs, which are not given again once it has ended.
    #[error("it runs on CPUs {cpus}, which are reserved now, and keeps them until it ends")]
    OnReserved {
        /// Which.
        cpus: CpuSet,
    },
    /// It runs with fewer than it wants; it has to be started again elsewhere to have them all.
    #[error("it runs with CPUs of its own: {has}, and wants {wanted}: {why}", has = list(.has))]
    Short {
        /// What it has.
        has: CpuSet,
        /// How many it wants.
        wanted: usize,
        /// Why it cannot have more.
        why: CpuRefusal,
    },
    /// It does not run and cannot have its CPUs.
    #[error("it wants {wanted} CPUs and gets none: {why}")]
    Refused {
        /// How many it wants.
        wanted: usize,
        /// Why it cannot have them.
        why: CpuRefusal,
    },
}

impl Change {
    pub(super) fn container(pod: &PodUid, container: &ContainerName, what: ContainerChange) -> Self {
        Self::Container {
            pod: pod.clone(),
            container: container.clone(),
            what,
        }
    }

    /// What it is, in one word for a metric.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Node(node) => match node {
                NodeChange::Policy { .. } => "policy",
                NodeChange::Options { .. } => "options",
                NodeChange::Reserved { .. } => "reserved",
                NodeChange::Machine { .. } => "machine",
                NodeChange::Cpus { .. } => "cpus",
                NodeChange::Layout { .. } => "layout",
                NodeChange::NothingShared { .. } => "nothing_shared",
            },
            Self::Container { what, .. } => match what {
                ContainerChange::Drifted { .. } => "drifted",
                ContainerChange::Lost { .. } => "lost",
                ContainerChange::Shrunk { .. } => "shrunk",
                ContainerChange::Filled { .. } => "filled",
                ContainerChange::LetGo { .. } => "let_go",
                ContainerChange::OnReserved { .. } => "on_reserved",
                ContainerChange::Short { .. } => "short",
                ContainerChange::Refused { .. } => "refused",
            },
        }
    }

    /// All words that [`Self::label`] may give.
    pub const LABELS: [&'static str; 15] = [
        "policy",
        "options",
        "reserved",
        "machine",
        "cpus",
        "layout",
        "nothing_shared",
        "drifted",
        "lost",
        "shrunk",
        "filled",
        "let_go",
        "on_reserved",
        "short",
        "refused",
    ];

    /// Whether it stands until something else changes, and is told again at each start; the others are told once.
    #[must_use]
    pub const fn stands(&self) -> bool {
        matches!(
            self,
            Self::Node(NodeChange::NothingShared { .. })
                | Self::Container {
                    what: ContainerChange::OnReserved { .. }
                        | ContainerChange::Short { .. }
                        | ContainerChange::Refused { .. },
                    ..
                }
        )
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(change) => change.fmt(f),
            Self::Container { pod, container, what } => {
                write!(f, "container {container} of pod {pod}: {what}")
            }
        }
    }
}

/// CPUs in a sentence.
fn list(cpus: &CpuSet) -> String {
    if cpus.is_empty() {
        "none".to_owned()
    } else {
        cpus.to_string()
    }
}

/// What changed for all since the file was written.
pub(super) fn of_node(facts: &Facts<'_>) -> Vec<Change> {
    let Some(file) = facts.checkpoint else {
        return Vec::new();
    };
    let mut changes = Vec::new();
    let policy = mark(facts.policy);
    if file.policy.name != policy.name {
        changes.push(NodeChange::Policy {
            was: file.policy.name.clone(),
            is: policy.name.clone(),
        });
    }
    if file.policy.options != policy.options {
        let list = |options: &std::collections::BTreeSet<String>| {
            let escaped: Vec<_> = options
                .iter()
                .map(|name| name.escape_debug().to_string())
                .collect();
            escaped.join(", ")
        };
        changes.push(NodeChange::Options {
            was: list(&file.policy.options),
            is: list(&policy.options),
        });
    }
    let reserved = facts
        .policy
        .map(|policy| policy.reserved().clone())
        .unwrap_or_default();
    if file.reserved != reserved {
        changes.push(NodeChange::Reserved {
            was: file.reserved.clone(),
            is: reserved,
        });
    }
    let (was, is) = (&file.machine, facts.machine);
    if was.is_other_than(is) {
        changes.push(NodeChange::Machine {
            was: was.machine_id.clone().unwrap_or_default(),
            is: is.machine_id.clone().unwrap_or_default(),
        });
    }
    if was.cpus != is.cpus {
        changes.push(NodeChange::Cpus {
            gone: &was.cpus - &is.cpus,
            come: &is.cpus - &was.cpus,
        });
    }
    if was.lies_otherwise_than(is) {
        changes.push(NodeChange::Layout {
            was: was.shape,
            is: is.shape,
        });
    }
    changes.into_iter().map(Change::Node).collect()
}
