//! The decision on machines that are made for one question each.

use super::*;
use crate::decide::eviction::{Threshold, ThresholdValue};
use crate::decide::rank::fixtures::TestPod;
use crate::model::pressure::{Barred, FilesystemFigures, NodeFigures, Rung, Signal, SpentCause};

/// What the tests say of a machine; memory in MiB, stall in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub(super) available: u64,
    pub(super) stalled: u64,
    pub(super) reclaims: u64,
    pub(super) swap_free: u64,
    pub(super) outside: u64,
    pub(super) root_max: Option<u64>,
    pub(super) disk_free: u64,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            available: 800,
            stalled: 0,
            reclaims: 0,
            swap_free: 0,
            outside: 100,
            root_max: None,
            disk_free: 50,
        }
    }
}

/// A machine of 1000 MiB with pods, and all that is remembered of it.
#[derive(Debug, Clone)]
pub(super) struct Drive {
    pub(super) pods: Vec<TestPod>,
    pub(super) node: Node,
    pub(super) policy: EvictionPolicy,
    pub(super) state: PressureState,
    pub(super) roster: Vec<PodFacts>,
    pub(super) now: BootTime,
    scratch: Scratch,
}

pub(super) fn pod(number: usize, request: u64, anon: u64) -> TestPod {
    TestPod::requesting(number, request, anon)
}

pub(super) fn floor(mib: u64) -> Threshold {
    Threshold::hard(Signal::MemoryAvailable, ThresholdValue::Quantity(mib << 20))
}

impl Drive {
    pub(super) fn new(pods: Vec<TestPod>) -> Self {
        Self {
            roster: pods.iter().map(TestPod::facts).collect(),
            state: PressureState::with_capacity(pods.len()),
            scratch: Scratch::with_capacity(pods.len()),
            node: Node::default(),
            policy: EvictionPolicy {
                thresholds: vec![
                    floor(100),
                    Threshold::hard(Signal::NodefsAvailable, ThresholdValue::Part(0.1)),
                ],
                ..EvictionPolicy::default()
            },
            now: BootTime(Duration::from_secs(1000)),
            pods,
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let node = self.node;
        let root = 1000_u64.saturating_sub(node.available + node.outside);
        Snapshot {
            node: NodeFigures {
                at: self.now,
                capacity: Bytes::mib(1000),
                available: Bytes::mib(node.available),
                working_set: Bytes::mib(1000 - node.available.min(1000)),
                swap: Bytes::mib(node.swap_free),
                swap_free: Bytes::mib(node.swap_free),
                root_current: Bytes::mib(root),
                root_max: node.root_max.map_or(Limit::Max, |max| Limit::At(Bytes::mib(max))),
                some: Duration::from_millis(node.stalled),
                full: Duration::from_millis(node.stalled / 2),
                direct_reclaims: node.reclaims,
                nodefs: Some(FilesystemFigures {
                    capacity: Bytes(100),
                    available: Bytes(node.disk_free),
                    inodes: 100,
                    inodes_free: 50,
                }),
                ..NodeFigures::default()
            },
            pods: self.pods.iter().map(TestPod::figures).collect(),
        }
    }

    /// Looks after so many milliseconds.
    pub(super) fn step(&mut self, after: u64) -> Decision {
        self.now = self.now.after(Duration::from_millis(after));
        let snapshot = self.snapshot();
        self.state.observe(&self.roster, &snapshot, self.now);
        let (state, scratch) = (&mut self.state, &mut self.scratch);
        decide(&self.roster, &snapshot, &self.policy, state, scratch, self.now)
    }

    pub(super) fn begin(&mut self, need: &Need, act: &Act) {
        let snapshot = self.snapshot();
        let (roster, policy) = (&self.roster, &self.policy);
        begin(
            need,
            act,
            roster,
            &snapshot,
            policy,
            &mut self.state,
            false,
            self.now,
        );
    }

    /// Memory goes by so many MiB every 20 ms into a pod until something is decided about a pod.
    fn until_taken(&mut self, grows: usize, by: u64) -> Option<Act> {
        while self.node.available > by {
            self.node.available -= by;
            self.pods[grows].charge.anon.0 += by << 20;
            match self.step(20) {
                Decision::Act { act, need } if act.rung() >= Rung::Evict => {
                    self.begin(&need, &act);
                    return Some(act);
                }
                Decision::Act { act, need } => self.begin(&need, &act),
                _ => {}
            }
        }
        None
    }

    fn holds(&mut self, decision: &Decision) -> Result<(), Stale> {
        let fresh = self.snapshot();
        let victim = match decision {
            Decision::Act { act, .. } => act.pod().map(|pod| self.roster[pod].cgroup),
            _ => None,
        };
        let (policy, state) = (&self.policy, &self.state);
        still_holds(
            decision,
            victim,
            &self.roster,
            &fresh,
            policy,
            state,
            &mut self.scratch,
            self.now,
        )
    }
}

#[test]
fn a_fast_hog_is_killed_and_a_slow_one_is_throttled_and_asked() {
    let mut fast = Drive::new(vec![pod(1, 10, 100), pod(2, 200, 150)]);
    assert_eq!(fast.until_taken(0, 2), Some(Act::Kill { pod: 0 }));
    assert!(
        fast.node.available > 90,
        "at the floor, with {} left",
        fast.node.available
    );
    let mut slow = Drive::new(vec![pod(1, 10, 200), pod(2, 200, 150)]);
    slow.node.available = 110;
    let mut rungs = Vec::new();
    for turn in 0..6000 {
        let throttled = slow.state.in_force.throttled.len() as u64;
        let by = 2 * u64::from(turn % 50 == 0 && throttled == 0);
        slow.node.available -= by;
        slow.pods[0].charge.anon.0 += by << 20;
        let Decision::Act { need, act } = slow.step(20) else {
            continue;
        };
        slow.begin(&need, &act);
        rungs.push(act.rung());
        if act.rung() == Rung::Evict {
            break;
        }
    }
    assert_eq!(
        rungs,
        [Rung::Throttle, Rung::Throttle, Rung::Evict],
        "high, back, SIGTERM"
    );
}

#[test]
fn mostly_tmpfs_is_evicted_and_not_killed() {
    let mut hog = pod(1, 10, 50);
    hog.charge.shmem = Bytes::mib(800);
    let mut drive = Drive::new(vec![hog, pod(2, 200, 150)]);
    let grace = Duration::ZERO;
    assert_eq!(drive.until_taken(0, 4), Some(Act::Evict { pod: 0, grace }));
}

#[test]
fn rungs_that_are_off_are_not_used() {
    let mut drive = Drive::new(vec![pod(1, 10, 100)]);
    drive.policy.rungs.kill.on = false;
    assert!(matches!(drive.until_taken(0, 4), Some(Act::Evict { pod: 0, .. })));
    let mut drive = Drive::new(vec![pod(1, 10, 100)]);
    drive.policy.rungs.kill.on = false;
    drive.policy.rungs.evict.on = false;
    assert_eq!(drive.until_taken(0, 4), None);
}

#[test]
fn what_holds_a_victim_up_is_told_and_it_is_left_alone() {
    let mut drive = Drive::new(vec![pod(1, 10, 300), pod(2, 200, 150)]);
    assert_eq!(drive.until_taken(0, 4), Some(Act::Kill { pod: 0 }));
    // It neither ends nor gives anything back.
    for _ in 0..100 {
        drive.node.available = drive.node.available.saturating_sub(1).max(5);
        assert!(!matches!(drive.step(20), Decision::Act { .. }));
    }
    let settled = drive.state.victims.take_settled().unwrap();
    assert_eq!(settled.spent, Some(SpentCause::Uninterruptible));
    assert!(drive.state.victims.any_spent());
}

#[test]
fn the_next_victim_waits_for_the_first_ones_memory() {
    let mut drive = Drive::new(vec![pod(1, 10, 400), pod(2, 10, 300)]);
    assert_eq!(drive.until_taken(0, 4), Some(Act::Kill { pod: 0 }));
    // It dies slowly: short of memory as before, for most of its time.
    let time = drive.state.victims.under_way()[0].deadline.since(drive.now);
    for _ in 0..time.as_millis() / 20 - 1 {
        drive.node.available = drive.node.available.saturating_sub(1);
        assert!(matches!(drive.step(20), Decision::Wait { .. }));
    }
    drive.pods[0].empty = true;
    drive.pods[0].charge.anon = Bytes(0);
    drive.node.available = 450;
    assert_eq!(drive.step(20), Decision::Fine);
    assert_eq!(
        drive.state.victims.take_settled().map(|settled| settled.spent),
        Some(None)
    );
}

#[test]
fn what_grows_outside_the_pods_costs_no_pod() {
    let mut drive = Drive::new(vec![pod(1, 200, 150), pod(2, 300, 200)]);
    drive.node.root_max = Some(800);
    drive.node.outside = 200;
    let mut alert = None;
    while drive.node.available > 4 {
        drive.node.available -= 4;
        drive.node.outside += 4;
        match drive.step(20) {
            Decision::Nobody { why, .. } => alert = Some(why),
            Decision::Act { act, .. } => panic!("{act:?}"),
            _ => {}
        }
    }
    assert_eq!(alert, Some(Barred::OutsidePods));
}

#[test]
fn right_before_the_act_things_may_have_changed() {
    let start = || {
        let mut drive = Drive::new(vec![pod(1, 10, 100), pod(2, 10, 80), pod(3, 200, 150)]);
        let decision = loop {
            drive.node.available -= 4;
            drive.pods[0].charge.anon.0 += 4 << 20;
            let decision = drive.step(20);
            if matches!(decision, Decision::Act { .. }) {
                break decision;
            }
        };
        (drive, decision)
    };
    let (mut drive, decision) = start();
    assert_eq!(drive.holds(&decision), Ok(()));
    drive.node.available = 600;
    assert_eq!(drive.holds(&decision), Err(Stale::NotShort));
    let (mut drive, decision) = start();
    drive.pods[0].empty = true;
    assert_eq!(drive.holds(&decision), Err(Stale::Gone));
    let (mut drive, decision) = start();
    drive.pods[0].charge.anon = Bytes::mib(20);
    assert_eq!(drive.holds(&decision), Err(Stale::NotOnTop));
    let (mut drive, decision) = start();
    let before = drive.roster[0].cgroup;
    drive.roster[0].cgroup = crate::model::CgroupId(77);
    let fresh = drive.snapshot();
    let (policy, state) = (&drive.policy, &drive.state);
    let (roster, scratch, now) = (&drive.roster, &mut drive.scratch, drive.now);
    let held = still_holds(
        &decision,
        Some(before),
        roster,
        &fresh,
        policy,
        state,
        scratch,
        now,
    );
    assert_eq!(held, Err(Stale::Recreated));
}

#[test]
fn a_full_disk_asks_one_pod_to_end_and_waits_for_its_files() {
    let mut drive = Drive::new(vec![pod(1, 10, 100), pod(2, 10, 80)]);
    drive.node.disk_free = 5;
    let Decision::Act { need, act } = drive.step(100) else {
        panic!("nothing was done")
    };
    assert_eq!(
        (need.signal, act.rung()),
        (Some(Signal::NodefsAvailable), Rung::Evict)
    );
    drive.begin(&need, &act);
    let gone = act.pod().unwrap();
    for _ in 0..100 {
        drive.pods[gone].empty = true;
        assert!(matches!(drive.step(100), Decision::Wait { .. }));
    }
    drive.node.disk_free = 40;
    assert_eq!(drive.step(100), Decision::Fine);
}

#[test]
fn a_pod_that_leaves_is_waited_for() {
    let mut drive = Drive::new(vec![pod(1, 10, 400), pod(2, 10, 300)]);
    drive.node.available = 130;
    drive.step(20);
    let (facts, figures) = (drive.roster[0].clone(), drive.pods[0].figures());
    let until = drive.now.after(Duration::from_secs(2));
    leaving(
        &facts,
        &figures,
        &drive.policy,
        &mut drive.state,
        until,
        drive.now,
    );
    for _ in 0..50 {
        drive.node.available -= 1;
        let decision = drive.step(20);
        assert!(
            !matches!(
                decision,
                Decision::Act {
                    act: Act::Kill { pod: 1 },
                    ..
                }
            ),
            "{decision:?}"
        );
    }
}
