//! The properties of the decision, on machines that go where they like.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::tests::{Drive, Node, floor, pod};
use super::*;
use crate::decide::rank::fixtures::TestPod;
use crate::model::CgroupId;
use crate::model::pressure::{Barred, Rung, Shield, Signal};

fn is_taking(decision: &Decision) -> Option<(usize, Rung)> {
    match decision {
        Decision::Act { act, .. } if act.rung() >= Rung::Evict => act.pod().map(|pod| (pod, act.rung())),
        _ => None,
    }
}

/// One look of a machine that goes where it likes.
#[derive(Debug, Clone, Copy)]
struct Turn {
    after: u64,
    available: u64,
    stalls: u64,
    reclaims: u64,
    grows: usize,
    by: u64,
    dies: bool,
}

fn turn() -> impl Strategy<Value = Turn> {
    let figures = (10_u64..600, 0_u64..400, 0_u64..60, 0_u64..3);
    (figures, 0_usize..8, 0_u64..80, any::<bool>()).prop_map(
        |((after, available, stalls, reclaims), grows, by, dies)| Turn {
            after,
            available,
            stalls,
            reclaims,
            grows,
            by,
            dies,
        },
    )
}

fn pods() -> impl Strategy<Value = Vec<TestPod>> {
    let one = (
        0_u64..300,
        0_u64..400,
        prop::option::weighted(0.2, Just(Shield::Protected)),
        -2_i32..3,
    );
    prop::collection::vec(one, 1..8).prop_map(|pods| {
        let numbered = pods.into_iter().enumerate();
        numbered
            .map(|(number, (request, anon, shield, priority))| TestPod {
                shield,
                priority,
                ..TestPod::requesting(number, request, anon)
            })
            .collect()
    })
}

impl Drive {
    fn turn(&mut self, turn: &Turn) -> Decision {
        let pods = self.pods.len();
        self.pods[turn.grows % pods].charge.anon.0 += turn.by << 20;
        self.node.available = turn.available;
        self.node.stalled += turn.stalls;
        self.node.reclaims += turn.reclaims;
        let decision = self.step(turn.after);
        self.follow(&decision, turn.dies);
        decision
    }

    /// The act is done; a pod that was killed dies, or does not.
    fn follow(&mut self, decision: &Decision, dies: bool) {
        if let Decision::Act { need, act } = decision {
            self.begin(need, act);
            if let (Some((pod, Rung::Kill)), true) = (is_taking(decision), dies) {
                self.pods[pod].charge.anon = Bytes(0);
                self.pods[pod].empty = true;
            }
        }
    }
}

proptest! {
    #[test]
    fn victims_one_at_a_time_within_the_budget_never_twice_never_shielded(
        pods in pods(), turns in prop::collection::vec(turn(), 1..80)
    ) {
        let mut drive = Drive::new(pods);
        let mut taken: BTreeMap<CgroupId, Rung> = BTreeMap::new();
        let mut begun: Vec<Duration> = Vec::new();
        for turn in &turns {
            let settles = |drive: &Drive| {
                let mut under_way = drive.state.victims.under_way().iter();
                under_way.any(|victim| victim.taking == Taking::Killed)
            };
            let decision = drive.turn(turn);
            let Some((pod, rung)) = is_taking(&decision) else { continue };
            prop_assert!(settles(&drive) || rung == Rung::Evict);
            let killed = drive.state.victims.under_way().iter().filter(|victim| victim.taking == Taking::Killed);
            prop_assert!(killed.count() <= 1, "a second one while one settles");
            let facts = &drive.roster[pod];
            prop_assert!(facts.shield.is_none());
            match taken.insert(facts.cgroup, rung) {
                None => begun.push(drive.now.0),
                Some(before) => prop_assert_eq!((before, rung), (Rung::Evict, Rung::Kill)),
            }
            let recent = begun.iter().filter(|at| drive.now.0.saturating_sub(**at) < drive.policy.budget.within);
            prop_assert!(recent.count() <= drive.policy.budget.victims as usize);
        }
    }

    #[test]
    fn nothing_is_done_when_nothing_is_short(
        pods in pods(), turns in prop::collection::vec(turn(), 1..60)
    ) {
        let mut drive = Drive::new(pods);
        for turn in &turns {
            // Above the floor and its margin, and never going fast.
            let turn = Turn { available: 700 + turn.available % 20, ..*turn };
            prop_assert_eq!(drive.turn(&turn), Decision::Fine);
        }
    }

    #[test]
    fn stall_alone_takes_nobody(
        pods in pods(), turns in prop::collection::vec(turn(), 1..60), signal in any::<bool>()
    ) {
        let mut drive = Drive::new(pods);
        if signal {
            let at = crate::decide::eviction::ThresholdValue::Part(0.05);
            drive.policy.thresholds.push(crate::decide::eviction::Threshold::hard(Signal::PressureMemoryFull, at));
        }
        for turn in &turns {
            let turn = Turn { available: 700, stalls: turn.after, reclaims: 0, ..*turn };
            prop_assert_eq!(is_taking(&drive.turn(&turn)), None);
        }
    }

    #[test]
    fn without_a_cost_nobody_is_taken(
        pods in pods(), turns in prop::collection::vec(turn(), 1..60), left in 1_u64..99
    ) {
        let mut drive = Drive::new(pods);
        for turn in &turns {
            let turn = Turn { available: left, stalls: 0, reclaims: 0, ..*turn };
            prop_assert_eq!(is_taking(&drive.turn(&turn)), None);
        }
    }

    #[test]
    fn around_the_floor_little_is_done(
        pods in pods(), around in prop::collection::vec((50_u64..300, 85_u64..115), 60..200)
    ) {
        let mut drive = Drive::new(pods);
        let mut acts = 0;
        let mut time = 0;
        for (after, available) in around {
            drive.node.available = available;
            let decision = drive.step(after);
            time += after;
            prop_assert_eq!(is_taking(&decision), None, "{:?}", decision);
            acts += u64::from(matches!(decision, Decision::Act { .. }));
            drive.follow(&decision, true);
        }
        let pods = drive.pods.len() as u64;
        // A rung's turn on a pod, and that put back, once in half a minute.
        prop_assert!(acts <= 3 * pods * (1 + time / 30_000), "{} acts in {} ms", acts, time);
    }

    #[test]
    fn a_dry_run_decides_the_same(
        pods in pods(), turns in prop::collection::vec(turn(), 1..60)
    ) {
        let (mut real, mut dry) = (Drive::new(pods.clone()), Drive::new(pods));
        dry.policy.dry_run = true;
        for turn in &turns {
            prop_assert_eq!(real.turn(turn), dry.turn(turn));
        }
    }

    #[test]
    fn a_state_that_was_stored_decides_the_same(
        pods in pods(), turns in prop::collection::vec(turn(), 2..50), at in 1_usize..49
    ) {
        let (mut whole, mut stored) = (Drive::new(pods.clone()), Drive::new(pods));
        for (n, turn) in turns.iter().enumerate() {
            if n == at {
                let text = serde_json::to_string(&stored.state).unwrap();
                stored.state = serde_json::from_str(&text).unwrap();
                stored.state.reserve(stored.pods.len());
            }
            prop_assert_eq!(whole.turn(turn), stored.turn(turn));
        }
    }

    #[test]
    fn the_order_of_the_roster_does_not_matter(
        pods in pods(), turns in prop::collection::vec(turn(), 1..50)
    ) {
        let named = |drive: &Drive, decision: Decision| match decision {
            Decision::Act { act, .. } => (Some(act.rung()), act.pod().map(|pod| drive.roster[pod].cgroup)),
            Decision::Nobody { .. } => (None, None),
            _ => (None, Some(CgroupId(0))),
        };
        let mut there = Drive::new(pods.clone());
        let mut back = Drive::new(pods.into_iter().rev().collect());
        for turn in &turns {
            let pods = there.pods.len();
            let grows = turn.grows % pods;
            let mirrored = Turn { grows: pods - 1 - grows, ..*turn };
            let (a, b) = (there.turn(&Turn { grows, ..*turn }), back.turn(&mirrored));
            prop_assert_eq!(named(&there, a), named(&back, b));
        }
    }

    #[test]
    fn a_soft_victim_in_its_grace_does_not_delay_a_hard_shortage(
        first in 100_u64..500, second in 100_u64..500, rate in 2_u64..40
    ) {
        let mut drive = Drive::new(vec![pod(1, 10, first), pod(2, 10, second)]);
        drive.policy.thresholds.push(crate::decide::eviction::Threshold {
            grace: Duration::from_secs(1),
            ..floor(300)
        });
        drive.policy.max_pod_grace = Some(Duration::from_secs(7 * 3600));
        drive.node = Node { available: 250, ..Node::default() };
        let mut soft = None;
        for _ in 0..40 {
            let decision = drive.step(200);
            drive.follow(&decision, false);
            soft = soft.or(is_taking(&decision));
        }
        prop_assert!(matches!(soft, Some((_, Rung::Evict))), "{:?}", soft);
        // Now it runs out, ten times faster than any grace.
        let mut killed = None;
        let mut looks_short = 0;
        while killed.is_none() && drive.node.available > 0 {
            drive.node.available = drive.node.available.saturating_sub(rate);
            let decision = drive.step(20);
            looks_short += u64::from(drive.node.available < 75);
            killed = is_taking(&decision).filter(|(_, rung)| *rung == Rung::Kill);
        }
        prop_assert!(killed.is_some());
        prop_assert!(looks_short <= 75 / rate + 1);
    }
}

#[test]
fn protected_pods_alone_raise_an_alert_and_cost_no_budget() {
    let hog = TestPod {
        shield: Some(Shield::Protected),
        ..pod(1, 10, 600)
    };
    let mut drive = Drive::new(vec![hog, pod(2, 200, 100)]);
    drive.node.available = 300;
    let mut alert = None;
    while drive.node.available > 10 {
        drive.node.available -= 5;
        drive.pods[0].charge.anon.0 += 5 << 20;
        if let Decision::Nobody { why, .. } = drive.step(20) {
            alert = Some(why);
        }
    }
    assert_eq!(alert, Some(Barred::Shielded));
    assert_eq!(drive.state.victims.recent(Duration::from_secs(100), drive.now), 0);
}

#[test]
fn machines_that_go_where_they_like_do_run_short() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut rungs = BTreeMap::<Rung, usize>::new();
    for _ in 0..200 {
        let machine = (pods(), prop::collection::vec(turn(), 80))
            .new_tree(&mut runner)
            .unwrap();
        let (pods, turns) = machine.current();
        let mut drive = Drive::new(pods);
        for turn in &turns {
            if let Decision::Act { act, .. } = drive.turn(turn) {
                *rungs.entry(act.rung()).or_default() += 1;
            }
        }
    }
    assert!(
        rungs.get(&Rung::Kill).is_some_and(|kills| *kills > 50),
        "{rungs:?}"
    );
    assert!(rungs.contains_key(&Rung::Evict), "{rungs:?}");
}
