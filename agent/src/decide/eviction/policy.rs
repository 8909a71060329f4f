//! The settings of memory pressure, checked and complete, as every stage of the decision reads them.
//!
//! **Terms.** A *hard* threshold has no grace: once crossed, something is done. A *soft* one must have been crossed for its
//! grace; until then only the milder rungs of the ladder are used. *Minimum reclaim*: once a threshold was crossed, so much
//! beyond it must come free before it counts as kept again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::decide::rank::Profile;
use crate::model::Bytes;
use crate::model::pressure::{Rung, Signal};

/// A point on a signal's scale.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ThresholdValue {
    /// So many bytes, inodes or tasks.
    Quantity(u64),
    /// A part of the signal's capacity, 0 to 1; of the time for [`Signal::PressureMemoryFull`]. 32 bits, as kubelet has it.
    Part(f32),
    /// So long, for [`Signal::TimeToExhaustion`].
    Time(Duration),
}

impl ThresholdValue {
    /// In the unit of the signal, which can be `capacity` at most: bytes, inodes, tasks, nanoseconds, or millionths of the
    /// time, for which the capacity is a million.
    ///
    /// Source: kubelet, `GetThresholdQuantity`, which multiplies by the percentage as 64-bit number and cuts the rest off.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "kubelet's own arithmetic; a part is from 0 to 1, and Rust's conversion holds at the bounds"
    )]
    pub fn of(self, capacity: u64) -> u64 {
        match self {
            Self::Quantity(quantity) => quantity,
            Self::Part(part) => (capacity as f64 * f64::from(part)) as u64,
            Self::Time(time) => u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

/// From where on a signal means that something is short.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Threshold {
    /// What is watched.
    pub signal: Signal,
    /// Short is below this; above it for [`Signal::PressureMemoryFull`].
    pub at: ThresholdValue,
    /// It must have been crossed for so long; zero for a hard threshold.
    pub grace: Duration,
    /// So much beyond it must come free once it was crossed.
    pub minimum_reclaim: Option<ThresholdValue>,
}

impl Threshold {
    /// One without grace and minimum reclaim.
    #[must_use]
    pub const fn hard(signal: Signal, at: ThresholdValue) -> Self {
        Self {
            signal,
            at,
            grace: Duration::ZERO,
            minimum_reclaim: None,
        }
    }

    /// Whether it has no grace.
    #[must_use]
    pub const fn is_hard(&self) -> bool {
        self.grace.is_zero()
    }
}

/// All thresholds, hard and soft.
pub type Thresholds = Vec<Threshold>;

/// One rung of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RungPolicy {
    /// Whether it is used.
    pub on: bool,
    /// For how long it may stay in force before the next rung's turn.
    pub deadline: Duration,
}

/// The rungs of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rungs {
    /// `memory.reclaim`; the deadline is how long its effect is waited for.
    pub reclaim: RungPolicy,
    /// `memory.high`.
    pub throttle: RungPolicy,
    /// Less CPU for BestEffort.
    pub suppress_cpu: RungPolicy,
    /// SIGTERM; the deadline is the longest grace under a hard threshold.
    pub evict: RungPolicy,
    /// SIGKILL; the deadline is the shortest time for which its effect is waited for.
    pub kill: RungPolicy,
}

impl Rungs {
    /// The settings of one of them.
    #[must_use]
    pub const fn of(&self, rung: Rung) -> RungPolicy {
        match rung {
            Rung::Reclaim => self.reclaim,
            Rung::Throttle => self.throttle,
            Rung::SuppressCpu => self.suppress_cpu,
            Rung::Evict => self.evict,
            Rung::Kill => self.kill,
        }
    }
}

impl Default for Rungs {
    fn default() -> Self {
        let on = |deadline| RungPolicy { on: true, deadline };
        Self {
            reclaim: on(Duration::from_millis(500)),
            throttle: on(Duration::from_secs(5)),
            suppress_cpu: on(Duration::from_secs(10)),
            evict: on(Duration::from_secs(30)),
            kill: on(Duration::from_millis(250)),
        }
    }
}

/// How many pods may be taken in how much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// So many, at most 16.
    pub victims: u32,
    /// Within this.
    pub within: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            victims: 3,
            within: Duration::from_secs(10),
        }
    }
}

/// What is done about the order in which the kernel's own OOM killer takes processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OomPriority {
    /// Nothing.
    Off,
    /// Within the band of values that kubelet gives a pod's class.
    #[default]
    Bands,
    /// Without bounds, by the order of victims.
    Ranked,
}

/// All settings of memory pressure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvictionPolicy {
    /// From where on something is short, hard and soft.
    pub thresholds: Thresholds,
    /// For how long a condition is still told after its threshold is kept again.
    pub transition: Duration,
    /// The longest grace of a pod that goes for a soft threshold; its own one where this is none.
    pub max_pod_grace: Option<Duration>,
    /// In which order pods go.
    pub profile: Profile,
    /// The rungs of the ladder.
    pub rungs: Rungs,
    /// How many pods may be taken in how much time.
    pub budget: Budget,
    /// The least that a pod's end must free.
    pub least: Bytes,
    /// The order of the kernel's own OOM killer.
    pub oom_priority: OomPriority,
    /// Everything is decided and told, and nothing done.
    pub dry_run: bool,
}

impl Default for EvictionPolicy {
    /// Kubelet's thresholds on Linux, and the ladder with all its rungs.
    ///
    /// Source: kubelet, `DefaultEvictionHard`, `evictionPressureTransitionPeriod`.
    fn default() -> Self {
        let part = |signal, part| Threshold::hard(signal, ThresholdValue::Part(part));
        Self {
            thresholds: vec![
                Threshold::hard(
                    Signal::MemoryAvailable,
                    ThresholdValue::Quantity(Bytes::mib(100).0),
                ),
                part(Signal::NodefsAvailable, 0.1),
                part(Signal::NodefsInodesFree, 0.05),
                part(Signal::ImagefsAvailable, 0.15),
                part(Signal::ImagefsInodesFree, 0.05),
            ],
            transition: Duration::from_secs(300),
            max_pod_grace: None,
            profile: Profile::Plimsoll,
            rungs: Rungs::default(),
            budget: Budget::default(),
            least: Bytes::mib(64),
            oom_priority: OomPriority::default(),
            dry_run: false,
        }
    }
}
