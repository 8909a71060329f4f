//! Deciding about memory: the order of victims on a full node, and where the kernel is led.
//!
//! The pods differ in all that counts, and some are barred. A run is long beside the clock's own cost, so figures are of
//! single runs, on the thread's own clock: what else the machine does is not in them.

use std::hint::black_box;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use plimsoll::decide::eviction::EvictionPolicy;
use plimsoll::decide::oom_priority::{Inputs, Mode, Steering};
use plimsoll::decide::pressure::{Scratch, decide, still_holds};
use plimsoll::decide::rank::{Profile, RankInputs, rank};
use plimsoll::model::pressure::{
    Barred, Charge, Decision, Domain, Need, NodeFigures, Owner, PodFacts, PodFigures, ProcessFigures, Shield,
    Signal, Snapshot,
};
use plimsoll::model::{
    BootTime, Bytes, CgroupId, Limit, Namespace, OomScoreAdj, PodName, PodUid, ProcessIdentity, QosClass,
};
use plimsoll::state::pressure::{Growth, PressureState};

use super::{Bench, Figure, Figures, percentile};

/// Times that each is run.
const TURNS: usize = 2000;
const PODS: usize = 500;
/// Processes of each pod.
const PROCESSES: usize = 4;

type Failure = Box<dyn std::error::Error>;

pub(super) fn figures(_: &Bench) -> Figures {
    let node = Node::new()?;
    let mut figures = Vec::new();
    for (name, profile) in [("plimsoll", Profile::Plimsoll), ("kubelet", Profile::Kubelet)] {
        let mut order = Vec::with_capacity(PODS);
        let mut times = node.ranked(|inputs| turns(|| rank(black_box(inputs), profile, &mut order)))?;
        for percent in [50, 99] {
            let what = format!("rank of {PODS} pods, {name}, p{percent}");
            figures.push(Figure::alone(what, percentile(&mut times, percent), "us"));
        }
    }
    figures.extend(node.decided()?);
    let mut order = Vec::with_capacity(PODS);
    node.ranked(|inputs| rank(inputs, Profile::Plimsoll, &mut order));
    let mut steering = Steering::with_capacity(node.processes.len());
    let inputs = Inputs {
        roster: &node.roster,
        order: &order,
        processes: &node.processes,
        total: node.snapshot.node.capacity,
        mode: Mode::Ranked,
        front: None,
    };
    let mut times = turns(|| {
        black_box(steering.steer(black_box(&inputs)));
    })?;
    figures.push(Figure::alone(
        format!("oom_score_adj of {} processes, ranked, p50", node.processes.len()),
        percentile(&mut times, 50),
        "us",
    ));
    Ok(figures)
}

/// Microseconds of each run.
fn turns(mut what: impl FnMut()) -> Result<Vec<f64>, Failure> {
    (0..TURNS)
        .map(|_| timed(&mut what).map(|(took, ())| took))
        .collect()
}

/// Microseconds of this thread's time that `what` took, and what it gave.
fn timed<T>(what: impl FnOnce() -> T) -> Result<(f64, T), Failure> {
    let clock = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let begun = clock()?;
    let given = what();
    Ok(((clock()? - begun).as_secs_f64() * 1e6, given))
}

struct Node {
    roster: Vec<PodFacts>,
    snapshot: Snapshot,
    processes: Vec<ProcessFigures>,
}

impl Node {
    fn new() -> Result<Self, Failure> {
        let mut node = Self {
            roster: Vec::new(),
            snapshot: Snapshot {
                node: NodeFigures {
                    capacity: Bytes::mib(256 << 10),
                    ..NodeFigures::default()
                },
                pods: Vec::new(),
            },
            processes: Vec::new(),
        };
        for pod in 0..PODS {
            let n = pod as u64;
            // Some thousand different amounts, in no order.
            let anon = Bytes::mib(n * 7919 % 4001);
            node.roster.push(facts(pod)?);
            node.snapshot.pods.push(PodFigures {
                current: anon,
                working_set: anon,
                charge: (n % 50 != 7).then_some(Charge {
                    anon,
                    ..Charge::default()
                }),
                populated: n % 60 != 9,
                ..PodFigures::default()
            });
            for process in 0..PROCESSES {
                node.processes.push(ProcessFigures {
                    process: ProcessIdentity {
                        pid: u32::try_from(pod * PROCESSES + process)?,
                        start_ticks: n,
                    },
                    owner: Some(Owner {
                        pod,
                        container: process % 2,
                    }),
                    rss: Bytes(anon.0 / PROCESSES as u64),
                    swap: Bytes(0),
                    page_tables: Bytes(0),
                    oom_score_adj: node.roster[pod].oom_score_adj,
                    start: node.roster[pod].oom_score_adj,
                    exempt: false,
                });
            }
        }
        Ok(node)
    }

    /// The whole decision, with and without a shortage: figures taken in, decided, and looked at again before the act.
    fn decided(&self) -> Figures {
        let policy = EvictionPolicy::default();
        let mut figures = Vec::new();
        for (name, left) in [("nothing short", 64 << 10), ("short", 50)] {
            let mut state = PressureState::with_capacity(PODS);
            let mut scratch = Scratch::with_capacity(PODS);
            let mut snapshot = self.snapshot.clone();
            let mut now = BootTime(Duration::from_secs(100));
            let (mut observing, mut deciding, mut again) = (Vec::new(), Vec::new(), Vec::new());
            snapshot.node.available = Bytes::mib(left + 4 * TURNS as u64);
            for turn in 0..2 * TURNS {
                now = now.after(Duration::from_millis(10));
                if turn < TURNS {
                    // Memory goes, so that in the end it is urgent.
                    snapshot.node.available = snapshot.node.available.saturating_sub(Bytes::mib(4));
                }
                snapshot.node.direct_reclaims += 1;
                let (roster, scratch) = (&self.roster, &mut scratch);
                let (observed, ()) = timed(|| state.observe(roster, black_box(&snapshot), now))?;
                let (decided, decision) =
                    timed(|| black_box(decide(roster, &snapshot, &policy, &mut state, scratch, now)))?;
                let victim = match decision {
                    Decision::Act { act, .. } => act.pod().map(|pod| roster[pod].cgroup),
                    _ => None,
                };
                let (held, holds) = timed(|| {
                    still_holds(
                        &decision, victim, roster, &snapshot, &policy, &state, scratch, now,
                    )
                })?;
                black_box(holds.is_ok());
                if turn >= TURNS {
                    observing.push(observed);
                    deciding.push(decided);
                    again.push(held);
                }
            }
            for (what, mut times) in [
                ("observe", observing),
                ("decide", deciding),
                ("still_holds", again),
            ] {
                for percent in [50, 99] {
                    let what = format!("{what} for {PODS} pods, {name}, p{percent}");
                    figures.push(Figure::alone(what, percentile(&mut times, percent), "us"));
                }
            }
        }
        Ok(figures)
    }

    /// What `what` gives for the inputs of this node, short of 2 GiB.
    fn ranked<T>(&self, what: impl FnOnce(&RankInputs) -> T) -> T {
        let deficit = Bytes::mib(2048);
        let need = Need {
            domain: Domain::Node,
            signal: Some(Signal::MemoryAvailable),
            observed: 0,
            threshold: deficit.0,
            deficit,
            exhausted_in: None,
            stalled: Duration::ZERO,
        };
        what(&RankInputs {
            roster: &self.roster,
            snapshot: &self.snapshot,
            growth: &|pod| Growth {
                bytes_per_second: (pod * 31 % 97) as f64 * 1e6,
                confidence: 0.8,
            },
            need: &need,
            barred: &|pod| (pod % 90 == 1).then_some(Barred::Spent),
            horizon: Duration::from_secs(2),
        })
    }
}

fn facts(pod: usize) -> Result<PodFacts, Failure> {
    let class = QosClass::ALL[pod % 3];
    let adj = match class {
        QosClass::Guaranteed => -997,
        QosClass::Burstable => 900,
        QosClass::BestEffort => 1000,
    };
    Ok(PodFacts {
        uid: PodUid::parse(&format!("uid-{pod}"))?,
        namespace: Namespace::parse("default")?,
        name: PodName::parse(&format!("pod-{pod}"))?,
        cgroup: CgroupId(pod as u64),
        class,
        priority: if pod.is_multiple_of(11) { 100 } else { 0 },
        request: Bytes::mib(if class == QosClass::BestEffort { 0 } else { 1500 }),
        storage_request: Bytes(0),
        high: Limit::Max,
        max: Limit::Max,
        oom_score_adj: OomScoreAdj(adj),
        grace: Duration::from_secs(30),
        shield: (pod % 40 == 3).then_some(Shield::Protected),
        started_at: BootTime(Duration::from_secs(pod as u64)),
    })
}
