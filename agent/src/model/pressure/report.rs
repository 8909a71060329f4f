//! What the agent says of memory pressure: how things stand, who would go first and why, and what was decided.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Barred, Conditions, DecisionRecord, Need, NodeFigures, Rung, Signal, Term};
use crate::model::{BootTime, Bytes, ContainerName, Namespace, OomScoreAdj, PodName, PodUid, QosClass};

/// When memory is gone, at the rate at which it goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exhaustion {
    /// In so long; none when it does not go.
    pub after: Option<Duration>,
    /// How sure that is, 0 to 1.
    pub confidence: f64,
}

/// How a threshold stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThresholdReport {
    /// What is watched.
    pub signal: Signal,
    /// For how long it must be met; zero for a hard one.
    pub grace: Duration,
    /// Where it lies, in the unit of [`Need::threshold`].
    pub at: u64,
    /// What the signal says now, in the same unit; none where it has no figures.
    pub observed: Option<u64>,
    /// Since when it is met, if it is.
    pub met_since: Option<BootTime>,
}

/// One part of a pod's score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TermReport {
    /// What it is.
    pub name: String,
    /// Its value, in the unit that the name implies.
    pub value: f64,
}

impl From<Term> for TermReport {
    fn from(term: Term) -> Self {
        Self {
            name: term.name.to_owned(),
            value: term.value,
        }
    }
}

/// A pod in the order of victims.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RankedPod {
    /// Identity.
    pub uid: PodUid,
    /// Namespace.
    pub namespace: Namespace,
    /// Name.
    pub name: PodName,
    /// QoS class.
    pub class: QosClass,
    /// Scheduling priority.
    pub priority: i32,
    /// Effective memory request.
    pub request: Bytes,
    /// Memory that only its end gives back.
    pub charge: Bytes,
    /// What its end would free of what is short.
    pub freeable: Bytes,
    /// Why it is no victim now, if it is not.
    pub barred: Option<Barred>,
    /// When it would reach its own limit.
    pub exhaustion: Exhaustion,
    /// The parts of its score, in the order in which they count.
    pub terms: Vec<TermReport>,
}

impl RankedPod {
    /// The value of a part of its score.
    #[must_use]
    pub fn term(&self, name: &str) -> Option<f64> {
        self.terms
            .iter()
            .find(|term| term.name == name)
            .map(|term| term.value)
    }
}

/// Whom the kernel's OOM killer would take now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KernelChoice {
    /// The process.
    pub pid: u32,
    /// The pod and container it belongs to; none when it is outside the agent's tree.
    pub container: Option<(PodUid, Namespace, PodName, ContainerName)>,
    /// Its name, with anything unprintable replaced; empty when nobody read it.
    pub comm: String,
    /// What the kernel adds to its size, in thousandths.
    pub oom_score_adj: OomScoreAdj,
    /// How bad it is, in pages.
    pub badness: i64,
    /// Whether it is of the pod that is first in the order; none when no pod may be taken.
    pub agrees: Option<bool>,
}

/// What the ladder has in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RungInForce {
    /// The rung.
    pub rung: Rung,
    /// On whom; none where it is on a whole QoS class.
    pub pod: Option<(PodUid, Namespace, PodName)>,
    /// Since when.
    pub since: BootTime,
}

/// How the journal stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalReport {
    /// Its directory.
    pub path: String,
    /// Why there is none, if there is none.
    pub problem: Option<String>,
    /// Records written since the agent was started.
    pub written: u64,
    /// Records that could not be.
    pub lost: u64,
    /// Its size.
    pub size: Bytes,
}

/// Memory pressure as the agent sees it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PressureReport {
    /// By whose rules pods are ranked: `plimsoll` or `kubelet`.
    pub profile: String,
    /// How far `oom_score_adj` is steered: `off`, `bands` or `ranked`.
    pub oom_priority: String,
    /// Whether nothing is done, only decided.
    pub dry_run: bool,
    /// The figures that all of this rests on.
    pub figures: NodeFigures,
    /// What the node is short of, or was a short time ago: new pods may be kept out for it.
    pub conditions: Conditions,
    /// What is short, if anything is.
    pub need: Option<Need>,
    /// When the machine's memory is gone.
    pub exhaustion: Exhaustion,
    /// The same, if only pods of one QoS class went on growing.
    pub exhaustion_by_class: Vec<(QosClass, Exhaustion)>,
    /// How each threshold stands.
    pub thresholds: Vec<ThresholdReport>,
    /// All pods, who would go first in front, those that may not be taken at the end.
    pub order: Vec<RankedPod>,
    /// Whom the kernel would take.
    pub kernel: Option<KernelChoice>,
    /// What the ladder has in force.
    pub in_force: Vec<RungInForce>,
    /// How many alarms are armed, by their kind: `memory_events`, `psi`…
    pub alarms: Vec<(String, u64)>,
    /// The latest decisions, oldest first.
    pub decisions: Vec<DecisionRecord>,
    /// How the journal stands.
    pub journal: JournalReport,
}
