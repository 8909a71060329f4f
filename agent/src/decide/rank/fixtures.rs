//! Pods with figures, for the tests of this stage.

use std::time::Duration;

use super::{Growth, Profile, RankInputs, rank};
use crate::model::pressure::{
    Barred, Charge, Domain, Need, NodeFigures, PodFacts, PodFigures, Ranked, Shield, Signal, Snapshot,
};
use crate::model::{BootTime, Bytes, CgroupId, Limit, Namespace, OomScoreAdj, PodName, PodUid, QosClass};

/// What the tests say of a pod; memory in MiB.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct TestPod {
    pub(crate) number: usize,
    pub(crate) class: Option<QosClass>,
    pub(crate) priority: i32,
    pub(crate) request: u64,
    pub(crate) charge: Charge,
    pub(crate) unreadable: bool,
    pub(crate) empty: bool,
    pub(crate) growth: Growth,
    pub(crate) shield: Option<Shield>,
    pub(crate) barred: Option<Barred>,
    /// Neither is looked at.
    pub(crate) largest_process: u64,
    pub(crate) tasks: u64,
}

impl TestPod {
    /// A BestEffort pod of so much anonymous memory.
    pub(crate) fn new(number: usize, anon: u64) -> Self {
        Self {
            number,
            charge: Charge {
                anon: Bytes::mib(anon),
                ..Charge::default()
            },
            ..Self::default()
        }
    }

    pub(crate) fn requesting(number: usize, request: u64, anon: u64) -> Self {
        Self {
            request,
            ..Self::new(number, anon)
        }
    }

    pub(crate) fn class(&self) -> QosClass {
        let by_request = if self.request > 0 {
            QosClass::Burstable
        } else {
            QosClass::BestEffort
        };
        self.class.unwrap_or(by_request)
    }

    pub(crate) fn facts(&self) -> PodFacts {
        let adj = match self.class() {
            QosClass::Guaranteed => -997,
            QosClass::Burstable => 500,
            QosClass::BestEffort => 1000,
        };
        PodFacts {
            uid: PodUid::parse(&format!("uid-{}", self.number)).unwrap(),
            namespace: Namespace::parse("default").unwrap(),
            name: PodName::parse(&format!("p{}", self.number)).unwrap(),
            cgroup: CgroupId(self.number as u64),
            class: self.class(),
            priority: self.priority,
            request: Bytes::mib(self.request),
            storage_request: Bytes(0),
            high: Limit::Max,
            max: Limit::Max,
            oom_score_adj: OomScoreAdj(adj),
            grace: Duration::from_secs(30),
            shield: self.shield,
            started_at: BootTime::default(),
        }
    }

    pub(crate) fn figures(&self) -> PodFigures {
        PodFigures {
            current: if self.unreadable {
                Bytes(0)
            } else {
                self.charge.total()
            },
            working_set: self.charge.total(),
            charge: (!self.unreadable).then_some(self.charge),
            populated: !self.empty,
            largest_process: Bytes::mib(self.largest_process),
            tasks: self.tasks,
            ..PodFigures::default()
        }
    }
}

/// A pod by its place in line alone, without figures.
pub(crate) fn in_line(pod: usize, barred: Option<Barred>) -> Ranked {
    Ranked {
        pod,
        barred,
        charge: Bytes(0),
        excess: Bytes(0),
        growth: 0.0,
        confidence: 0.0,
        urgency: 0.0,
        freeable: Bytes(0),
        freed_by_kill: Bytes(0),
    }
}

/// So much memory has to come free.
pub(crate) fn short_of(deficit: Bytes) -> Need {
    Need {
        domain: Domain::Node,
        signal: Some(Signal::MemoryAvailable),
        observed: 0,
        threshold: deficit.0,
        deficit,
        exhausted_in: None,
        stalled: Duration::ZERO,
    }
}

/// The order of the pods, by their numbers, each with what bars it.
pub(crate) fn ranked(
    pods: &[TestPod],
    node: &NodeFigures,
    need: &Need,
    profile: Profile,
) -> (Vec<PodFacts>, Vec<Ranked>) {
    let roster: Vec<_> = pods.iter().map(TestPod::facts).collect();
    let snapshot = Snapshot {
        node: *node,
        pods: pods.iter().map(TestPod::figures).collect(),
    };
    let mut order = Vec::new();
    let inputs = RankInputs {
        roster: &roster,
        snapshot: &snapshot,
        growth: &|pod| pods[pod].growth,
        need,
        barred: &|pod| pods[pod].barred,
        horizon: Duration::from_secs(8),
    };
    rank(&inputs, profile, &mut order);
    (roster, order)
}

/// The same where the node has no swap and is short of 100 MiB of memory.
pub(crate) fn order(pods: &[TestPod], profile: Profile) -> Vec<(usize, Option<Barred>)> {
    let need = short_of(Bytes::mib(100));
    let (_, order) = ranked(pods, &NodeFigures::default(), &need, profile);
    let numbered = order.iter().map(|r| (pods[r.pod].number, r.barred));
    numbered.collect()
}
