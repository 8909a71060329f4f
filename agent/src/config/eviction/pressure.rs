//! What is done about memory pressure: whose rules, which rungs of the ladder, how much at a time.
//!
//! # Properties
//! - The default lets every rung act, kills at most three pods in ten seconds, and steers within kubelet's bands.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::values::{parse_duration, print_duration};
use crate::model::Namespace;

/// By whose rules pods are ranked, and what `memory.available` means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EvictionProfile {
    /// By memory that only the pod's end gives back, growth, and what its end would free; the kernel's own estimate of
    /// what is available.
    #[default]
    Plimsoll,
    /// Kubelet's order; capacity less the working set.
    Kubelet,
}

/// How far `oom_score_adj` is moved while memory is short, so that the kernel's own choice is the right one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OomPriority {
    /// Not at all.
    Off,
    /// Within the band of the pod's QoS class.
    #[default]
    Bands,
    /// As far as the order needs.
    Ranked,
}

macro_rules! duration_between {
    ($(#[$doc:meta])* $name:ident, $from:literal..=$to:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schemars(with = "String")]
        pub struct $name(Duration);

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                let time = parse_duration(&text)?;
                let range = Duration::from_millis($from)..=Duration::from_millis($to);
                if !range.contains(&time) {
                    return Err(format!(
                        "{} is {}: it must be {} to {}",
                        $what, print_duration(time), print_duration(*range.start()), print_duration(*range.end())
                    ));
                }
                Ok(Self(time))
            }
        }

        impl From<$name> for String {
            fn from(time: $name) -> String {
                print_duration(time.0)
            }
        }
    };
}

duration_between!(
    /// For how long a condition stays after its last threshold was met; 0 is kubelet's default, 5 minutes.
    TransitionPeriod, 0..=86_400_000, "evictionPressureTransitionPeriod"
);
duration_between!(
    /// A deadline or a period of the ladder.
    PressurePeriod, 1..=3_600_000, "the time"
);

impl TransitionPeriod {
    /// kubelet's default, which it also takes for 0.
    const DEFAULT: Duration = Duration::from_secs(300);

    /// The length of time.
    #[must_use]
    pub const fn get(self) -> Duration {
        if self.0.is_zero() { Self::DEFAULT } else { self.0 }
    }
}

impl Default for TransitionPeriod {
    fn default() -> Self {
        Self(Self::DEFAULT)
    }
}

impl PressurePeriod {
    const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// The length of time.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

/// A rung below the last. Each is a type of its own, so that each has its own default.
macro_rules! rung {
    ($(#[$doc:meta])* $name:ident, $deadline:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
        pub struct $name {
            /// Whether this rung is taken.
            pub enabled: bool,
            /// How long it may take to help before the next rung is due.
            pub deadline: PressurePeriod,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    enabled: true,
                    deadline: PressurePeriod::millis($deadline),
                }
            }
        }
    };
}

rung!(
    /// Reclaim.
    ReclaimRung, 500
);
rung!(
    /// Throttling of memory.
    ThrottleRung, 5_000
);
rung!(
    /// Suppression of CPU.
    SuppressCpuRung, 10_000
);
rung!(
    /// Eviction.
    EvictRung, 30_000
);

/// The last rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KillRung {
    /// Whether pods are killed. Without it the kernel's OOM killer is the last resort.
    pub enabled: bool,
    /// The least time that memory is given to come back before the next victim is looked for; three times what the
    /// victim's size lets expect, if that is longer.
    pub settle: PressurePeriod,
    /// How many pods may be killed within a time; further ones wait.
    pub budget: KillBudget,
}

impl Default for KillRung {
    fn default() -> Self {
        Self {
            enabled: true,
            settle: PressurePeriod::millis(250),
            budget: KillBudget::default(),
        }
    }
}

/// How many pods may be killed within a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KillBudget {
    /// The number of pods, 1 to 16.
    #[serde(deserialize_with = "victims")]
    pub pods: u32,
    /// The time in which they are counted.
    pub period: PressurePeriod,
}

impl Default for KillBudget {
    fn default() -> Self {
        Self {
            pods: 3,
            period: PressurePeriod::millis(10_000),
        }
    }
}

/// The most pods that a budget can have; whoever keeps count has room for so many.
const MOST_VICTIMS: u32 = 16;

fn victims<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        pods @ 1..=MOST_VICTIMS => Ok(pods),
        pods => Err(serde::de::Error::custom(format!(
            "a budget of {pods} pods cannot be: write 1 to {MOST_VICTIMS}; to kill none set enabled to false"
        ))),
    }
}

/// What is done about memory pressure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MemoryPressure {
    /// Whether everything is decided and recorded, and nothing done.
    pub dry_run: bool,
    /// `memory.reclaim` on pods with much cache, and on those over their request.
    pub reclaim: ReclaimRung,
    /// `memory.high` on the pod that grows fastest, until its deadline.
    pub throttle: ThrottleRung,
    /// Less CPU for BestEffort pods where their work feeds the pressure.
    #[serde(rename = "suppressCPU")]
    pub suppress_cpu: SuppressCpuRung,
    /// SIGTERM, the pod's grace period, then SIGKILL; the pod does not come back.
    pub evict: EvictRung,
    /// SIGKILL to all of a pod; it does not come back.
    pub kill: KillRung,
    /// Namespaces whose pods may ask by the annotation `plimsoll.dev/protected: "true"` to be no victim.
    #[schemars(with = "Vec<String>")]
    pub protected_namespaces: Vec<Namespace>,
}
