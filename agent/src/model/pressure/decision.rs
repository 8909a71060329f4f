//! What is decided, and why.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Signal;
use crate::model::Bytes;

/// Where memory is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Domain {
    /// The machine.
    Node,
    /// The pods' root cgroup, at its own limit.
    Pods,
    /// One pod at its own limit, by its place in the roster; the node is fine.
    Pod(usize),
}

/// A step of the ladder, the mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rung {
    /// `memory.reclaim` on pods with much cache, and on those over their request.
    Reclaim,
    /// `memory.high` at what the pod uses, for a while.
    Throttle,
    /// Less CPU for BestEffort pods, where their work feeds the pressure.
    SuppressCpu,
    /// SIGTERM, grace, then the rest; the pod does not come back.
    Evict,
    /// SIGKILL to all of it; the pod does not come back.
    Kill,
}

impl Rung {
    /// All of them, the mildest first.
    pub const ALL: [Self; 5] = [
        Self::Reclaim,
        Self::Throttle,
        Self::SuppressCpu,
        Self::Evict,
        Self::Kill,
    ];

    /// Its name in metrics and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reclaim => "reclaim",
            Self::Throttle => "throttle",
            Self::SuppressCpu => "suppressCpu",
            Self::Evict => "evict",
            Self::Kill => "kill",
        }
    }
}

/// Why something had to be done: the shortage, and what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Need {
    /// Where.
    pub domain: Domain,
    /// The threshold that is crossed; none for a limit in the kernel.
    pub signal: Option<Signal>,
    /// What the signal says.
    pub observed: u64,
    /// What it must not fall below, in the same unit: bytes, inodes, tasks, nanoseconds; or rise above, in millionths, for
    /// [`Signal::PressureMemoryFull`].
    pub threshold: u64,
    /// Memory that has to come free, the minimum reclaim included.
    pub deficit: Bytes,
    /// Until memory is gone; none when it does not go.
    pub exhausted_in: Option<Duration>,
    /// Stall since the shortage began.
    pub stalled: Duration,
}

/// What to do. Pods are named by their place in the roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "act")]
pub enum Act {
    /// Reclaim so much from a pod.
    Reclaim {
        /// Whom.
        pod: usize,
        /// How much.
        bytes: Bytes,
    },
    /// Put `memory.high` of a pod there.
    Throttle {
        /// Whom.
        pod: usize,
        /// Where.
        high: Bytes,
    },
    /// Put `memory.high` of a pod back.
    Unthrottle {
        /// Whom.
        pod: usize,
    },
    /// Leave BestEffort pods so much CPU, in thousandths of one.
    SuppressCpu {
        /// So much.
        milli: u64,
    },
    /// Give BestEffort pods their CPU back.
    ReleaseCpu,
    /// SIGTERM, and SIGKILL after the grace.
    Evict {
        /// Whom.
        pod: usize,
        /// How long it has.
        grace: Duration,
    },
    /// SIGKILL.
    Kill {
        /// Whom.
        pod: usize,
    },
}

impl Act {
    /// The rung that it belongs to.
    #[must_use]
    pub const fn rung(self) -> Rung {
        match self {
            Self::Reclaim { .. } => Rung::Reclaim,
            Self::Throttle { .. } | Self::Unthrottle { .. } => Rung::Throttle,
            Self::SuppressCpu { .. } | Self::ReleaseCpu => Rung::SuppressCpu,
            Self::Evict { .. } => Rung::Evict,
            Self::Kill { .. } => Rung::Kill,
        }
    }

    /// The pod that it is done to.
    #[must_use]
    pub const fn pod(self) -> Option<usize> {
        match self {
            Self::Reclaim { pod, .. }
            | Self::Throttle { pod, .. }
            | Self::Unthrottle { pod }
            | Self::Evict { pod, .. }
            | Self::Kill { pod } => Some(pod),
            Self::SuppressCpu { .. } | Self::ReleaseCpu => None,
        }
    }
}

/// What was decided at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "decision")]
pub enum Decision {
    /// Nothing is short.
    Fine,
    /// Something is short, and nothing is to be done now: an act under way has time left, or the cost is not there.
    Wait {
        /// The shortage.
        need: Need,
    },
    /// Do this.
    Act {
        /// The shortage.
        need: Need,
        /// What.
        act: Act,
    },
    /// Somebody should go, and nobody may: an alert.
    Nobody {
        /// The shortage.
        need: Need,
        /// Why.
        why: Barred,
    },
}

/// Why a pod, or every pod, is no victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Barred {
    /// It is critical or protected.
    Shielded,
    /// It has no figures.
    NoFigures,
    /// No process of it lives.
    Unpopulated,
    /// Its end would free too little.
    FreesTooLittle,
    /// It is within its request, and others are not, or what grows is outside all pods.
    WithinRequest,
    /// It ends already.
    Ending,
    /// It was taken before and freed too little.
    Spent,
    /// Too many were taken within the last seconds.
    Budget,
    /// What takes the memory is outside the pods.
    OutsidePods,
}

/// Why a victim's end freed less than it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SpentCause {
    /// Its memory is in files of a tmpfs, which are still there.
    Tmpfs,
    /// A process cannot die while it waits in the kernel.
    Uninterruptible,
    /// Others share what it had.
    Shared,
    /// Nobody knows.
    Unknown,
}

/// One part of a pod's score.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Term {
    /// What it is: `overRequest`, `priority`, `excess`, `growth`, `freeable`…
    pub name: &'static str,
    /// Its value, in the unit that the name implies.
    pub value: f64,
}

/// A pod in the order of victims. Amounts are of what is short: memory, or space, or, with a number in place of bytes,
/// inodes or tasks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ranked {
    /// Its place in the roster.
    pub pod: usize,
    /// Why it is not a victim, if it is not.
    pub barred: Option<Barred>,
    /// Charge.
    pub charge: Bytes,
    /// Charge above request.
    pub excess: Bytes,
    /// Growth of the charge in bytes a second.
    pub growth: f64,
    /// How sure the growth is, 0 to 1.
    pub confidence: f64,
    /// Excess, and what will be added to the charge within the horizon as far as that is sure.
    pub urgency: f64,
    /// What its end would free of what is short, if its volumes go with it.
    pub freeable: Bytes,
    /// What the end of its processes alone would free.
    pub freed_by_kill: Bytes,
}
