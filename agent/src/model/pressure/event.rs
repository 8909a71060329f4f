//! What came of a decision, as it is kept in the journal, exported and shown.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Act, Barred, Need, Rung, SpentCause};
use crate::model::{BootTime, Bytes, Namespace, PodName, PodUid};

/// How an act ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum Outcome {
    /// It was only thought of: `--dry-run`.
    DryRun,
    /// Nothing had to be done yet.
    Watched,
    /// It is under way.
    Begun,
    /// The memory came back.
    Relieved {
        /// So much of it.
        freed: Bytes,
    },
    /// The victim ended, and less came back than should have.
    Spent {
        /// So much came back.
        freed: Bytes,
        /// So much should have.
        predicted: Bytes,
        /// Why.
        cause: SpentCause,
    },
    /// Right before the act things had changed, and it was left.
    Stale {
        /// What had changed, for a person.
        reason: String,
    },
    /// Nobody may be taken.
    Nobody {
        /// Why.
        why: Barred,
    },
    /// The kernel refused.
    Failed {
        /// Its answer, with operation, path and errno.
        error: String,
    },
}

/// When each stage of a kill was reached, on the kernel's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KillTimes {
    /// The kernel noticed what woke the agent; none where only the agent's own reading told.
    pub onset: Option<BootTime>,
    /// The agent woke.
    pub woken: BootTime,
    /// All figures were read.
    pub read: BootTime,
    /// The decision was made.
    pub decided: BootTime,
    /// The first signal was sent.
    pub signalled: Option<BootTime>,
    /// No process was left.
    pub empty: Option<BootTime>,
    /// Half of what was predicted was free.
    pub freed: Option<BootTime>,
}

/// One decision with its inputs in short, and what came of it. Everything that a pod's author wrote in it was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionRecord {
    /// Counts up, over restarts.
    pub number: u64,
    /// When, as time since the Unix epoch.
    pub wall: Duration,
    /// Why something had to be done.
    pub need: Need,
    /// What was decided; none when nobody may be taken.
    pub act: Option<Act>,
    /// Its rung.
    pub rung: Option<Rung>,
    /// To whom.
    pub pod: Option<(PodUid, Namespace, PodName)>,
    /// In a sentence with the numbers.
    pub why: String,
    /// When each stage was reached.
    pub times: KillTimes,
    /// What came of it.
    pub outcome: Outcome,
}
