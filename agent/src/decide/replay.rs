//! Decisions made again: what was recorded, decided by today's rules.
//!
//! **Problem.** Whoever changes a threshold or a rule wants to know what it would have done to what has happened. **How.**
//! [`decide`] is pure, so that its inputs as they were are all that is needed. What is compared is what a pod's owner
//! would see: who is taken, and by which rung.
//!
//! # Properties
//! - What today's rules decided, written down and read back, differs in nothing; nor does it without the pods that had no
//!   part in it ([`DecisionInputs::pared`]).

mod pared;

pub use pared::KEPT;

use serde::{Deserialize, Serialize};

use super::eviction::EvictionPolicy;
use super::pressure::{Scratch, decide};
use crate::model::pressure::{Act, Barred, Decision, DecisionRecord, Outcome, PodFacts, Rung, Snapshot};
use crate::model::{BootTime, Namespace, PodName, PodUid};
use crate::state::pressure::PressureState;

/// All that one decision rested on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionInputs {
    /// The pods.
    pub roster: Vec<PodFacts>,
    /// Their figures.
    pub snapshot: Snapshot,
    /// The settings.
    pub policy: EvictionPolicy,
    /// What was remembered, the figures taken in.
    pub state: PressureState,
    /// When.
    pub now: BootTime,
    /// How many pods are not among them, since they had no part in it.
    #[serde(default, skip_serializing_if = "is_none")]
    pub left_out: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_none(count: &usize) -> bool {
    *count == 0
}

/// The same, where it is.
#[derive(Debug, Clone, Copy)]
pub struct Rested<'a> {
    /// The pods.
    pub roster: &'a [PodFacts],
    /// Their figures.
    pub snapshot: &'a Snapshot,
    /// The settings.
    pub policy: &'a EvictionPolicy,
    /// What was remembered, the figures taken in.
    pub state: &'a PressureState,
    /// When.
    pub now: BootTime,
}

impl From<Rested<'_>> for DecisionInputs {
    fn from(rested: Rested<'_>) -> Self {
        Self {
            roster: rested.roster.to_vec(),
            snapshot: rested.snapshot.clone(),
            policy: rested.policy.clone(),
            state: rested.state.clone(),
            now: rested.now,
            left_out: 0,
        }
    }
}

/// One line of the journal. A decision is written with its inputs when it is made, and once more without them, under the
/// same number, when it is known what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalEntry {
    /// The decision.
    pub record: DecisionRecord,
    /// What it rested on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<DecisionInputs>,
}

/// What was decided, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// How.
    pub rung: Option<Rung>,
    /// Whom it is done to.
    pub pod: Option<(PodUid, Namespace, PodName)>,
    /// Why nobody may be taken, if that is so.
    pub nobody: Option<Barred>,
}

impl Verdict {
    /// What was decided then.
    #[must_use]
    pub fn recorded(record: &DecisionRecord) -> Self {
        let nobody = match &record.outcome {
            Outcome::Nobody { why } => Some(*why),
            _ => None,
        };
        Self {
            rung: record.act.map(Act::rung),
            pod: record.pod.clone(),
            nobody,
        }
    }

    /// What a decision about the pods of `roster` comes to.
    #[must_use]
    pub fn of(decision: &Decision, roster: &[PodFacts]) -> Self {
        let (act, nobody) = match decision {
            Decision::Act { act, .. } => (Some(*act), None),
            Decision::Nobody { why, .. } => (None, Some(*why)),
            Decision::Fine | Decision::Wait { .. } => (None, None),
        };
        let facts = act.and_then(Act::pod).and_then(|pod| roster.get(pod));
        Self {
            rung: act.map(Act::rung),
            pod: facts.map(|pod| (pod.uid.clone(), pod.namespace.clone(), pod.name.clone())),
            nobody,
        }
    }
}

/// What today's rules make of these inputs.
#[must_use]
pub fn again(inputs: &DecisionInputs) -> Decision {
    let mut state = inputs.state.clone();
    let mut scratch = Scratch::with_capacity(inputs.roster.len());
    decide(
        &inputs.roster,
        &inputs.snapshot,
        &inputs.policy,
        &mut state,
        &mut scratch,
        inputs.now,
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::decide::rank::Profile;
    use crate::decide::rank::fixtures as f;
    use crate::model::Bytes;
    use crate::model::pressure::NodeFigures;
    use crate::model::sample::decision_record;

    #[test]
    fn a_verdict_names_rung_and_pod() {
        let record = decision_record(3);
        let verdict = Verdict::recorded(&record);
        assert_eq!(verdict.rung, Some(Rung::Kill));
        assert_eq!(verdict.pod, record.pod);
        let nobody = DecisionRecord {
            act: None,
            pod: None,
            outcome: Outcome::Nobody {
                why: Barred::OutsidePods,
            },
            ..record
        };
        assert_eq!(Verdict::recorded(&nobody).nobody, Some(Barred::OutsidePods));
        assert_eq!(
            Verdict::of(&Decision::Fine, &[]),
            Verdict {
                rung: None,
                pod: None,
                nobody: None
            }
        );
    }

    /// One pod far over its request, which grows, among many that idle.
    fn crowd(pods: usize) -> DecisionInputs {
        let of = |number| f::TestPod::requesting(number, 100, if number == pods / 2 { 900 } else { 20 });
        let pods: Vec<_> = (0..pods).map(of).collect();
        let roster: Vec<_> = pods.iter().map(f::TestPod::facts).collect();
        let mut state = PressureState::with_capacity(pods.len());
        let mut last = None;
        for n in 1..=5_u64 {
            let now = BootTime(Duration::from_millis(50 * n));
            let node = NodeFigures {
                at: now,
                capacity: Bytes::mib(16_000),
                available: Bytes::mib(600 - 119 * n),
                full: Duration::from_millis(40 * n),
                direct_reclaims: n,
                ..NodeFigures::default()
            };
            let figures = pods.iter().map(f::TestPod::figures).collect();
            let snapshot = Snapshot { node, pods: figures };
            state.observe(&roster, &snapshot, now);
            last = Some((snapshot, now));
        }
        let (snapshot, now) = last.unwrap();
        DecisionInputs::from(Rested {
            roster: &roster,
            snapshot: &snapshot,
            policy: &EvictionPolicy::default(),
            state: &state,
            now,
        })
    }

    #[test]
    fn a_record_does_not_grow_with_the_pods_that_had_no_part_in_it() {
        let whole = crowd(500);
        let then = Verdict::of(&again(&whole), &whole.roster);
        assert_eq!(then.pod.as_ref().unwrap().2.as_str(), "p250", "{then:?}");
        let size = |inputs: &DecisionInputs| serde_json::to_vec(inputs).unwrap().len();
        let pared = whole.clone().pared(KEPT);
        assert_eq!((pared.roster.len(), pared.left_out), (KEPT, 500 - KEPT));
        assert!(
            size(&whole) > 300_000 && size(&pared) < 40_000,
            "{} {}",
            size(&whole),
            size(&pared)
        );
        assert_eq!(Verdict::of(&again(&pared), &pared.roster), then);
        let few = crowd(KEPT);
        assert_eq!(few.clone().pared(KEPT), few);
    }

    #[test]
    fn records_of_before_pods_were_left_out_are_read() {
        let inputs = crowd(3);
        let mut json = serde_json::to_value(&inputs).unwrap();
        assert!(json.as_object_mut().unwrap().remove("leftOut").is_none());
        assert_eq!(serde_json::from_value::<DecisionInputs>(json).unwrap(), inputs);
    }

    proptest! {
        #[test]
        fn what_todays_rules_decided_comes_out_again(
            pods in prop::collection::vec((0_u64..900, 0_u64..900, -1..2_i32), 1..6),
            available in prop::collection::vec(0_u64..400, 1..6),
            kubelet: bool,
        ) {
            let pods: Vec<_> = (0..).zip(pods).map(|(number, (request, anon, priority))| f::TestPod {
                priority,
                ..f::TestPod::requesting(number, request, anon)
            }).collect();
            let roster: Vec<_> = pods.iter().map(f::TestPod::facts).collect();
            let policy = EvictionPolicy {
                profile: if kubelet { Profile::Kubelet } else { Profile::Plimsoll },
                ..EvictionPolicy::default()
            };
            let (mut state, mut scratch) = (PressureState::with_capacity(8), Scratch::default());
            let mut before = PressureState::default();
            for (n, available) in (1..).zip(available) {
                let now = BootTime(Duration::from_millis(50 * n));
                let node = NodeFigures {
                    at: now,
                    capacity: Bytes::mib(4000),
                    available: Bytes::mib(available),
                    full: Duration::from_millis(7 * n),
                    direct_reclaims: n,
                    ..NodeFigures::default()
                };
                let snapshot = Snapshot { node, pods: pods.iter().map(f::TestPod::figures).collect() };
                state.observe(&roster, &snapshot, now);
                before.copy_from(&state);
                prop_assert_eq!(&before, &state);
                let inputs = DecisionInputs::from(Rested {
                    roster: &roster,
                    snapshot: &snapshot,
                    policy: &policy,
                    state: &before,
                    now,
                });
                let decision = decide(&roster, &snapshot, &policy, &mut state, &mut scratch, now);
                let line = serde_json::to_vec(&inputs).unwrap();
                let read: DecisionInputs = serde_json::from_slice(&line).unwrap();
                prop_assert_eq!(&read, &inputs);
                prop_assert_eq!(again(&read), decision);
                for most in 0..3 {
                    let pared = inputs.clone().pared(most);
                    prop_assert_eq!(pared.roster.len() + pared.left_out, roster.len());
                    prop_assert_eq!(pared.snapshot.pods.len(), pared.roster.len());
                    prop_assert_eq!(Verdict::of(&again(&pared), &pared.roster), Verdict::of(&decision, &roster));
                    let line = serde_json::to_vec(&pared).unwrap();
                    prop_assert_eq!(&serde_json::from_slice::<DecisionInputs>(&line).unwrap(), &pared);
                }
                prop_assert_eq!(Verdict::of(&again(&read), &read.roster), Verdict::of(&decision, &roster));
            }
        }
    }
}
