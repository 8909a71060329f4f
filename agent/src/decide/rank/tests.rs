//! Orders of victims, one rule at a time.

use std::time::Duration;

use super::fixtures::{TestPod, order, ranked, short_of};
use super::*;
use crate::model::QosClass;
use crate::model::pressure::{Charge, NodeFigures, Shield, Signal, StorageUse};

/// The order where nothing grows and the past bars nobody.
fn order_of(roster: &[PodFacts], snapshot: &Snapshot, need: &Need, profile: Profile) -> Vec<Ranked> {
    let mut order = Vec::new();
    let inputs = RankInputs {
        roster,
        snapshot,
        growth: &|_| Growth::default(),
        need,
        barred: &|_| None,
        horizon: Duration::from_secs(1),
    };
    rank(&inputs, profile, &mut order);
    order
}

/// The pods that may be taken.
fn victims(pods: &[TestPod], profile: Profile) -> Vec<usize> {
    let order = order(pods, profile);
    let free = order.iter().filter(|(_, barred)| barred.is_none());
    free.map(|(number, _)| *number).collect()
}

fn reason(pods: &[TestPod], number: usize) -> Option<Barred> {
    let order = order(pods, Profile::Plimsoll);
    order.iter().find(|(n, _)| *n == number).unwrap().1
}

#[test]
fn over_request_comes_before_class_and_size() {
    let guaranteed_hog = TestPod {
        class: Some(QosClass::Guaranteed),
        ..TestPod::requesting(0, 100, 300)
    };
    let large_within = TestPod::requesting(1, 4000, 3900);
    let tiny_best_effort = TestPod::new(2, 5);
    let pods = [large_within, tiny_best_effort, guaranteed_hog];
    assert_eq!(
        order(&pods, Profile::Plimsoll),
        [
            (0, None),
            (1, Some(Barred::WithinRequest)),
            (2, Some(Barred::FreesTooLittle))
        ]
    );
}

#[test]
fn priority_comes_before_urgency_and_urgency_before_freeable() {
    let growing = |number, mib: u32| TestPod {
        growth: Growth {
            bytes_per_second: f64::from(mib << 20),
            confidence: 0.5,
        },
        ..TestPod::requesting(number, 50, 150)
    };
    let low = TestPod {
        priority: -1,
        ..TestPod::requesting(0, 100, 170)
    };
    // 100 MiB and 8 s of 30 MiB/s, of which half is sure: 220 MiB; and the same with 10 MiB/s: 140.
    let pods = [
        growing(1, 10),
        growing(2, 30),
        TestPod::requesting(3, 800, 950),
        low,
    ];
    assert_eq!(victims(&pods, Profile::Plimsoll), [0, 2, 3, 1]);
}

#[test]
fn of_equal_urgency_the_one_that_frees_more_goes_and_a_fall_is_no_merit() {
    let shrinking = TestPod {
        growth: Growth {
            bytes_per_second: -1e9,
            confidence: 1.0,
        },
        ..TestPod::requesting(2, 100, 201)
    };
    let pods = [
        TestPod::requesting(0, 10, 110),
        TestPod::requesting(1, 200, 300),
        shrinking,
    ];
    assert_eq!(victims(&pods, Profile::Plimsoll), [2, 1, 0]);
}

#[test]
fn of_equals_the_youngest_goes() {
    let roster: Vec<_> = [3, 9, 5]
        .map(|secs| PodFacts {
            started_at: crate::model::BootTime(Duration::from_secs(secs)),
            ..TestPod::new(0, 100).facts()
        })
        .into();
    let snapshot = Snapshot {
        pods: vec![TestPod::new(0, 100).figures(); 3],
        ..Snapshot::default()
    };
    let need = short_of(Bytes::mib(100));
    for profile in [Profile::Plimsoll, Profile::Kubelet] {
        let order = order_of(&roster, &snapshot, &need, profile);
        assert_eq!(order.iter().map(|r| r.pod).collect::<Vec<_>>(), [1, 2, 0]);
    }
}

#[test]
fn class_breaks_ties_only() {
    let classed = |number, class| TestPod {
        class: Some(class),
        ..TestPod::requesting(number, 10, 110)
    };
    let pods = [
        classed(0, QosClass::Guaranteed),
        classed(1, QosClass::BestEffort),
        classed(2, QosClass::Burstable),
        TestPod {
            class: Some(QosClass::Guaranteed),
            ..TestPod::requesting(3, 10, 111)
        },
    ];
    assert_eq!(victims(&pods, Profile::Plimsoll), [3, 1, 2, 0]);
}

#[test]
fn each_gate_names_itself() {
    let hog = TestPod::new(0, 500);
    let pods = [
        TestPod {
            shield: Some(Shield::Protected),
            barred: Some(Barred::Ending),
            ..TestPod::new(1, 50)
        },
        TestPod {
            unreadable: true,
            ..TestPod::new(2, 500)
        },
        TestPod {
            empty: true,
            ..TestPod::new(3, 500)
        },
        TestPod::new(4, 63),
        TestPod {
            barred: Some(Barred::Spent),
            ..TestPod::new(5, 500)
        },
        TestPod::requesting(6, 600, 500),
        hog,
    ];
    assert_eq!(victims(&pods, Profile::Plimsoll), [0]);
    let expected = [
        (1, Barred::Shielded),
        (2, Barred::NoFigures),
        (3, Barred::Unpopulated),
        (4, Barred::FreesTooLittle),
        (5, Barred::Spent),
        (6, Barred::WithinRequest),
    ];
    for (number, barred) in expected {
        assert_eq!(reason(&pods, number), Some(barred), "pod {number}");
    }
}

#[test]
fn a_large_deficit_asks_for_more_than_the_least() {
    let need = short_of(Bytes::mib(10_000));
    let pods = [TestPod::new(0, 99), TestPod::new(1, 100)];
    let (_, order) = ranked(&pods, &NodeFigures::default(), &need, Profile::Plimsoll);
    let barred: Vec<_> = order.iter().map(|r| (r.pod, r.barred)).collect();
    assert_eq!(barred, [(1, None), (0, Some(Barred::FreesTooLittle))]);
}

#[test]
fn within_request_goes_only_when_nobody_else_is_to_blame() {
    let within = TestPod::requesting(0, 400, 300);
    let with = |other: TestPod| reason(&[within, other], 0);
    let held = Some(Barred::WithinRequest);
    let over = |barred| TestPod {
        barred,
        ..TestPod::new(1, 300)
    };
    assert_eq!(with(TestPod::requesting(1, 400, 300)), None);
    assert_eq!(with(over(None)), held);
    assert_eq!(with(over(Some(Barred::Ending))), held, "its memory is on its way");
    assert_eq!(with(over(Some(Barred::Spent))), None);
    let small = TestPod {
        barred: Some(Barred::Ending),
        ..TestPod::new(1, 60)
    };
    assert_eq!(with(small), None, "its end will not do");
    assert_eq!(with(TestPod::new(1, 5)), None, "5 MiB do not run a node out");
    let shielded = |anon| TestPod {
        shield: Some(Shield::Critical),
        ..TestPod::new(1, anon)
    };
    assert_eq!(with(shielded(99)), None);
    assert_eq!(with(shielded(100)), held, "it has all that is missing");
}

#[test]
fn what_is_in_swap_is_freeable_when_swap_is_short() {
    let swapped = TestPod {
        charge: Charge {
            anon: Bytes::mib(10),
            swap: Bytes::mib(800),
            ..Charge::default()
        },
        ..TestPod::new(0, 0)
    };
    let pods = [swapped, TestPod::new(1, 200)];
    let first = |swap_free, deficit| {
        let node = NodeFigures {
            swap: Bytes::mib(1000),
            swap_free: Bytes::mib(swap_free),
            ..NodeFigures::default()
        };
        let need = short_of(Bytes::mib(deficit));
        ranked(&pods, &node, &need, Profile::Plimsoll).1[0]
    };
    for (swap_free, deficit) in [(100, 70), (300, 300)] {
        let short = first(swap_free, deficit);
        assert_eq!((short.pod, short.freeable), (0, Bytes::mib(810)));
    }
    let ample = first(301, 300);
    assert_eq!((ample.pod, ample.freeable), (1, Bytes::mib(200)));
}

#[test]
fn shared_memory_goes_with_the_volumes_and_not_with_the_processes() {
    let hog = TestPod {
        charge: Charge {
            anon: Bytes::mib(1),
            shmem: Bytes::mib(239),
            ..Charge::default()
        },
        ..TestPod::new(0, 0)
    };
    let pods = [TestPod::new(1, 100), hog];
    let (_, order) = ranked(
        &pods,
        &NodeFigures::default(),
        &short_of(Bytes::mib(100)),
        Profile::Plimsoll,
    );
    let first = order[0];
    assert_eq!(first.pod, 1);
    assert_eq!(first.freeable, Bytes::mib(240));
    assert_eq!(first.freed_by_kill, Bytes::mib(1));
}

#[test]
fn disk_inodes_and_tasks_have_their_own_figures() {
    let roster: Vec<_> = [(0, 50), (1, 0)]
        .map(|(number, storage)| PodFacts {
            storage_request: Bytes::mib(storage),
            ..TestPod::new(number, 100).facts()
        })
        .into();
    let mut snapshot = Snapshot {
        pods: [(200, 10, 7), (160, 90, 3)]
            .map(|(mib, inodes, tasks)| PodFigures {
                storage: Some(StorageUse {
                    used: Bytes::mib(mib),
                    inodes,
                }),
                tasks,
                ..TestPod::new(0, 100).figures()
            })
            .into(),
        ..Snapshot::default()
    };
    let first = |signal, profile| {
        let need = Need {
            signal: Some(signal),
            threshold: 5,
            observed: 1,
            ..short_of(Bytes(0))
        };
        let first = order_of(&roster, &snapshot, &need, profile)[0];
        assert_eq!(first.barred, None);
        (first.pod, first.excess.0, first.freeable.0, first.freed_by_kill.0)
    };
    let ours = |signal| first(signal, Profile::Plimsoll);
    let mib = |n: u64| Bytes::mib(n).0;
    assert_eq!(ours(Signal::NodefsAvailable), (1, mib(160), mib(160), 0));
    assert_eq!(ours(Signal::ImagefsInodesFree), (1, 90, 90, 0));
    assert_eq!(ours(Signal::PidAvailable), (0, 7, 7, 7));
    let kubelets = |signal| first(signal, Profile::Kubelet).0;
    assert_eq!(kubelets(Signal::NodefsAvailable), 1);
    assert_eq!(kubelets(Signal::PidAvailable), 0);
    // Without the bytes that are taken from inodes there, the order would be the other one.
    let more_inodes = StorageUse {
        used: Bytes::mib(1),
        inodes: 100,
    };
    snapshot.pods[0].storage = Some(more_inodes);
    let need = Need {
        signal: Some(Signal::NodefsInodesFree),
        ..short_of(Bytes(0))
    };
    assert_eq!(order_of(&roster, &snapshot, &need, Profile::Kubelet)[0].pod, 1);
}

#[test]
fn kubelet_takes_the_unknown_first_and_never_looks_at_what_it_frees() {
    let pods = [
        TestPod::new(0, 500),
        TestPod {
            unreadable: true,
            priority: 1000,
            ..TestPod::new(1, 0)
        },
        TestPod::requesting(2, 100, 90),
        TestPod {
            priority: -1,
            ..TestPod::new(3, 5)
        },
        TestPod {
            shield: Some(Shield::Critical),
            ..TestPod::new(4, 900)
        },
    ];
    assert_eq!(
        order(&pods, Profile::Kubelet),
        [
            (1, None),
            (3, None),
            (0, None),
            (2, None),
            (4, Some(Barred::Shielded))
        ]
    );
}

#[test]
fn the_terms_explain_the_order() {
    let pods = [TestPod {
        priority: 7,
        ..TestPod::requesting(0, 100, 300)
    }];
    let (roster, order) = ranked(
        &pods,
        &NodeFigures::default(),
        &short_of(Bytes(1)),
        Profile::Plimsoll,
    );
    let terms: Vec<_> = terms(&order[0], &roster).collect();
    let value = |name| terms.iter().find(|term| term.name == name).unwrap().value;
    assert_eq!(value("overRequest"), 1.0);
    assert_eq!(value("priority"), 7.0);
    assert_eq!(value("excess"), f64::from(200 << 20));
    assert_eq!(value("freeable"), f64::from(300 << 20));
}
