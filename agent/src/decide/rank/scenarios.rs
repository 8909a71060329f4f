//! The victims of well-known situations, by the figures of the moment in which something has to be done.

use super::fixtures::{TestPod, ranked, short_of};
use super::*;
use crate::model::QosClass;
use crate::model::pressure::{Charge, NodeFigures, Shield};

/// A situation, its pods, and which of them goes.
type Situation = (&'static str, Vec<TestPod>, Result<usize, Option<Barred>>);

fn growing(pod: TestPod, mib_per_second: u32) -> TestPod {
    TestPod {
        growth: Growth {
            bytes_per_second: f64::from(mib_per_second << 20),
            confidence: 1.0,
        },
        ..pod
    }
}

fn with(pod: TestPod, charge: Charge) -> TestPod {
    TestPod {
        charge: Charge {
            anon: pod.charge.anon,
            ..charge
        },
        ..pod
    }
}

fn guaranteed(pod: TestPod) -> TestPod {
    TestPod {
        class: Some(QosClass::Guaranteed),
        ..pod
    }
}

fn shielded(pod: TestPod) -> TestPod {
    TestPod {
        shield: Some(Shield::Protected),
        ..pod
    }
}

fn barred(barred: Barred, pod: TestPod) -> TestPod {
    TestPod {
        barred: Some(barred),
        ..pod
    }
}

fn situations() -> Vec<Situation> {
    let shmem = |mib| Charge {
        shmem: Bytes::mib(mib),
        ..Charge::default()
    };
    let kernel = |mib: u64| Charge {
        slab_unreclaimable: Bytes::mib(mib / 2),
        page_tables: Bytes::mib(mib / 4),
        sock: Bytes::mib(mib / 4),
        ..Charge::default()
    };
    let request = TestPod::requesting;
    let best_effort = TestPod::new;
    let priority = |priority, pod| TestPod { priority, ..pod };
    vec![
        (
            "a hog over its request beside an idle one",
            vec![request(0, 64, 500), request(1, 400, 300)],
            Ok(0),
        ),
        (
            "a slow leak beside a larger pod that stays within its request",
            vec![growing(best_effort(0, 120), 1), request(1, 600, 550)],
            Ok(0),
        ),
        (
            "a burst within the request beside a smaller pod over its own",
            vec![growing(request(0, 800, 760), 100), request(1, 50, 150)],
            Ok(1),
        ),
        (
            "many small processes beside one large",
            vec![
                TestPod {
                    tasks: 400,
                    largest_process: 1,
                    ..request(0, 32, 400)
                },
                TestPod {
                    tasks: 1,
                    largest_process: 300,
                    ..request(1, 320, 300)
                },
            ],
            Ok(0),
        ),
        (
            "a tmpfs of 239 MiB beside an innocent of 60",
            vec![
                with(request(0, 32, 1), shmem(239)),
                request(1, 64, 60),
                request(2, 64, 70),
            ],
            Ok(0),
        ),
        (
            "a Guaranteed pod over its request by page tables and sockets beside a BestEffort of 5 MiB",
            vec![
                guaranteed(with(request(0, 300, 290), kernel(120))),
                best_effort(1, 5),
            ],
            Ok(0),
        ),
        (
            "a Burstable hog beside tiny BestEffort pods",
            vec![best_effort(1, 6), request(0, 64, 500), best_effort(2, 9)],
            Ok(0),
        ),
        (
            "a high priority over its request, a low one within",
            vec![
                priority(1000, request(0, 100, 400)),
                priority(0, request(1, 400, 300)),
            ],
            Ok(0),
        ),
        (
            "two hogs of one priority: the larger excess",
            vec![request(1, 100, 300), request(0, 100, 500)],
            Ok(0),
        ),
        (
            "two hogs, of which the more important is the larger",
            vec![priority(1, request(1, 100, 500)), request(0, 100, 300)],
            Ok(0),
        ),
        (
            "a hog that was spent: the next",
            vec![barred(Barred::Spent, request(1, 100, 900)), request(0, 100, 300)],
            Ok(0),
        ),
        (
            "a hog that ends already: nobody new",
            vec![barred(Barred::Ending, best_effort(1, 900)), request(0, 400, 300)],
            Err(Some(Barred::WithinRequest)),
        ),
        (
            "a protected pod is the only hog: nobody",
            vec![shielded(request(1, 100, 900)), request(0, 400, 300)],
            Err(Some(Barred::WithinRequest)),
        ),
        (
            "only zombies are left of the largest: the next",
            vec![
                TestPod {
                    empty: true,
                    ..best_effort(1, 900)
                },
                best_effort(0, 200),
            ],
            Ok(0),
        ),
        (
            "one that could not be read: another",
            vec![
                TestPod {
                    unreadable: true,
                    ..best_effort(1, 0)
                },
                best_effort(0, 200),
            ],
            Ok(0),
        ),
        ("no pods", Vec::new(), Err(None)),
    ]
}

#[test]
fn the_right_one_goes_whatever_the_order_of_the_roster() {
    let node = NodeFigures::default();
    let need = short_of(Bytes::mib(100));
    for (name, mut pods, expected) in situations() {
        for _ in 0..pods.len().max(1) {
            let (_, order) = ranked(&pods, &node, &need, Profile::Plimsoll);
            let first = order.first().map_or(Err(None), |first| match first.barred {
                None => Ok(pods[first.pod].number),
                barred => Err(barred),
            });
            assert_eq!(first, expected, "{name}");
            let turn = pods.len().min(1);
            pods.rotate_left(turn);
        }
    }
}
