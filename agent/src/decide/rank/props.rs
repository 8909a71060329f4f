//! The properties of the orders, over pods of all kinds.

use proptest::prelude::*;

use super::fixtures::{TestPod, order, ranked, short_of};
use super::*;
use crate::model::QosClass;
use crate::model::pressure::{Charge, NodeFigures, Shield};

/// Amounts that are often the same, so that ties are met.
fn mib() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(100), 1_u64..2000]
}

fn charge() -> impl Strategy<Value = Charge> {
    let parts = [mib().boxed(), mib().boxed(), mib().boxed(), (0_u64..80).boxed()];
    parts.prop_map(|[anon, swap, shmem, kernel]| Charge {
        anon: Bytes::mib(anon),
        swap: Bytes::mib(swap),
        shmem: Bytes::mib(shmem),
        slab_unreclaimable: Bytes::mib(kernel),
        page_tables: Bytes::mib(kernel / 2),
        kernel_stack: Bytes(0),
        sock: Bytes::mib(kernel),
    })
}

/// One value often, the others now and then.
fn mostly<T: Clone + std::fmt::Debug + 'static>(usual: T, others: Vec<T>) -> impl Strategy<Value = T> {
    prop_oneof![3 => Just(usual), 1 => prop::sample::select(others)]
}

fn pods() -> impl Strategy<Value = Vec<TestPod>> {
    let class = prop::option::of(prop::sample::select(QosClass::ALL.to_vec()));
    let barred = mostly(
        None,
        [Barred::Ending, Barred::Spent, Barred::Budget].map(Some).into(),
    );
    let shield = mostly(
        None,
        [Shield::Critical, Shield::StaticCritical, Shield::Protected]
            .map(Some)
            .into(),
    );
    // Whole MiB a second, and quarters of certainty, so that what growth adds is exact.
    let growth = (-50_i32..200, 0_u8..5).prop_map(|(mib, quarters)| Growth {
        bytes_per_second: f64::from(mib) * f64::from(1 << 20),
        confidence: f64::from(quarters) / 4.0,
    });
    let flags = (mostly(false, vec![true]), mostly(false, vec![true]));
    let one = (class, -1..2_i32, mib(), charge(), flags, growth, shield, barred).prop_map(
        |(class, priority, request, charge, (unreadable, empty), growth, shield, barred)| TestPod {
            class,
            priority,
            request,
            charge,
            unreadable,
            empty,
            growth,
            shield,
            barred,
            ..TestPod::default()
        },
    );
    prop::collection::vec(one, 1..12).prop_map(|mut pods| {
        pods.iter_mut()
            .enumerate()
            .for_each(|(number, pod)| pod.number = number);
        pods
    })
}

fn profile() -> impl Strategy<Value = Profile> {
    prop::sample::select(vec![Profile::Kubelet, Profile::Plimsoll])
}

fn scaled(pod: &TestPod, by: u64) -> TestPod {
    let times = |bytes: Bytes| Bytes(bytes.0 * by);
    let Charge {
        anon,
        swap,
        shmem,
        slab_unreclaimable,
        page_tables,
        kernel_stack,
        sock,
    } = pod.charge;
    TestPod {
        request: pod.request * by,
        charge: Charge {
            anon: times(anon),
            swap: times(swap),
            shmem: times(shmem),
            slab_unreclaimable: times(slab_unreclaimable),
            page_tables: times(page_tables),
            kernel_stack: times(kernel_stack),
            sock: times(sock),
        },
        growth: Growth {
            bytes_per_second: pod.growth.bytes_per_second * by as f64,
            ..pod.growth
        },
        ..*pod
    }
}

fn place(order: &[(usize, Option<Barred>)], number: usize) -> usize {
    order.iter().position(|(n, _)| *n == number).unwrap()
}

proptest! {
    #[test]
    fn the_order_of_the_roster_changes_nothing(
        (pods, shuffled) in pods().prop_flat_map(|pods| (Just(pods.clone()), Just(pods).prop_shuffle())),
        profile in profile(),
    ) {
        prop_assert_eq!(order(&pods, profile), order(&shuffled, profile));
    }

    #[test]
    fn every_pod_is_there_once_and_the_barred_ones_come_last(pods in pods(), profile in profile()) {
        let order = order(&pods, profile);
        let mut numbers: Vec<_> = order.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        prop_assert_eq!(numbers, (0..pods.len()).collect::<Vec<_>>());
        prop_assert!(order.is_sorted_by_key(|(_, barred)| barred.is_some()));
    }

    #[test]
    fn either_comparison_is_a_total_order(pods in pods(), short_of_swap: bool) {
        let roster: Vec<_> = pods.iter().map(TestPod::facts).collect();
        let node = NodeFigures {
            swap: Bytes::mib(1000),
            swap_free: if short_of_swap { Bytes(0) } else { Bytes::mib(900) },
            ..NodeFigures::default()
        };
        let need = short_of(Bytes::mib(100));
        let snapshot = Snapshot { node, pods: pods.iter().map(TestPod::figures).collect() };
        let inputs = RankInputs {
            roster: &roster,
            snapshot: &snapshot,
            growth: &|pod| pods[pod].growth,
            need: &need,
            barred: &|pod| pods[pod].barred,
            horizon: Duration::from_secs(8),
        };
        let short = Resource::of(&need, &node);
        for profile in [Profile::Kubelet, Profile::Plimsoll] {
            let mut all: Vec<_> = (0..pods.len()).map(|pod| one(&inputs, profile, short, pod)).collect();
            if profile == Profile::Plimsoll {
                plimsoll::hold_back(&mut all, short.missing(&need), short.floor(&need));
            }
            let compare = |a: &Ranked, b: &Ranked| match profile {
                Profile::Kubelet => kubelet::compare(&inputs, short, a, b),
                Profile::Plimsoll => plimsoll::compare(&roster, a, b),
            };
            for a in &all {
                for b in &all {
                    prop_assert_eq!(compare(a, b), compare(b, a).reverse());
                    prop_assert_eq!(compare(a, b) == Ordering::Equal, a.pod == b.pod);
                    for c in &all {
                        if compare(a, b).is_lt() && compare(b, c).is_lt() {
                            prop_assert!(compare(a, c).is_lt());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn everything_times_the_same_gives_the_same_order(
        pods in pods(), by in 2_u64..9, deficit in 6400_u64..400_000, profile in profile()
    ) {
        // With a deficit that large the floor is a part of it, and grows with it.
        let before = ranked(&pods, &NodeFigures::default(), &short_of(Bytes::mib(deficit)), profile).1;
        let larger: Vec<_> = pods.iter().map(|pod| scaled(pod, by)).collect();
        let need = short_of(Bytes::mib(deficit * by));
        let after = ranked(&larger, &NodeFigures::default(), &need, profile).1;
        let order = |ranked: &[Ranked]| ranked.iter().map(|r| (r.pod, r.barred)).collect::<Vec<_>>();
        prop_assert_eq!(order(&before), order(&after));
    }

    #[test]
    fn the_number_of_processes_changes_nothing(
        pods in pods(), split in any::<prop::sample::Index>(), n in 1_u64..10_000, profile in profile()
    ) {
        let mut other = pods.clone();
        let pod = &mut other[split.index(pods.len())];
        pod.tasks = n;
        pod.largest_process = pod.charge.anon.0 / n;
        prop_assert_eq!(order(&pods, profile), order(&other, profile));
    }

    #[test]
    fn a_higher_request_never_brings_the_end_nearer(
        pods in pods(), which in any::<prop::sample::Index>(), more in mib(), profile in profile()
    ) {
        let which = which.index(pods.len());
        let mut other = pods.clone();
        // Its class is told apart from its request.
        other[which].class = Some(pods[which].class());
        other[which].request += more;
        let (before, after) = (order(&pods, profile), order(&other, profile));
        prop_assert!(place(&after, which) >= place(&before, which), "{before:?} {after:?}");
    }

    #[test]
    fn a_shielded_pod_is_never_picked(pods in pods(), profile in profile()) {
        for (number, barred) in order(&pods, profile) {
            prop_assert_eq!(pods[number].shield.is_some(), barred == Some(Barred::Shielded));
        }
    }

    #[test]
    fn nobody_within_its_request_is_picked_while_another_may_be(pods in pods()) {
        let order = order(&pods, Profile::Plimsoll);
        let over = |number: usize| pods[number].charge.total() > Bytes::mib(pods[number].request);
        let mut free = order.iter().filter(|(_, barred)| barred.is_none()).map(|(n, _)| over(*n));
        let first = free.next();
        prop_assert!(free.all(|over| Some(over) == first));
    }

    #[test]
    fn room_for_all_pods_is_room_enough(pods in pods(), profile in profile()) {
        let roster: Vec<_> = pods.iter().map(TestPod::facts).collect();
        let snapshot = Snapshot { pods: pods.iter().map(TestPod::figures).collect(), ..Snapshot::default() };
        let need = short_of(Bytes::mib(100));
        let inputs = RankInputs {
            roster: &roster,
            snapshot: &snapshot,
            growth: &|pod| pods[pod].growth,
            need: &need,
            barred: &|pod| pods[pod].barred,
            horizon: Duration::from_secs(8),
        };
        let mut order = Vec::with_capacity(pods.len());
        let buffer = order.as_ptr();
        rank(&inputs, profile, &mut order);
        prop_assert_eq!(order.as_ptr(), buffer);
    }
}
