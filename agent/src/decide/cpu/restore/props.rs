//! The properties, for facts that agree and for facts that contradict each other in any way.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::decide::cpu::{Reservation, StaticOptions, WhyShared};
use crate::decide::numa::TopologyPolicy;
use crate::model::{CpuId, Shape};
use crate::state::cpus::checkpoint::Pin;

const PODS: [&str; 4] = ["p0", "p1", "p2", "p3"];
const CONTAINERS: [&str; 3] = ["a", "b", "c"];

/// Facts that own what they consist of.
#[derive(Debug, Clone)]
struct Owned {
    checkpoint: Option<CpuCheckpoint>,
    live: BTreeMap<PodUid, BTreeMap<ContainerName, Live>>,
    wanted: BTreeMap<PodUid, WantedPod>,
    policy: StaticPolicy,
    machine: MachineMark,
}

impl Owned {
    fn restore(&self) -> Restored {
        restore(&Facts {
            checkpoint: self.checkpoint.as_ref(),
            live: &self.live,
            wanted: &self.wanted,
            topology: self.policy.topology(),
            policy: Some(&self.policy),
            machine: &self.machine,
        })
    }

    /// What is known after the agent did what came out.
    fn after(&self, restored: &Restored) -> Self {
        let assignments = &restored.assignments;
        let under = under(Some(&self.policy), &self.machine);
        let none = BTreeMap::new();
        let mut after = self.clone();
        after.checkpoint = Some(CpuCheckpoint::of(assignments, &none, under, None, 7));
        for (pod, live) in &mut after.live {
            for (name, live) in live {
                let held = assignments.held(pod, name);
                live.exclusive = held.is_some();
                live.effective = held.unwrap_or(assignments.shared()).clone();
            }
        }
        after
    }
}

fn policy() -> impl Strategy<Value = StaticPolicy> {
    let shape = (1..3_u32, 1..3_u32, 1..4_u32, 1..3_u32);
    let made = (shape, any::<[bool; 5]>(), 0..3_usize);
    made.prop_filter_map(
        "no such policy",
        |((sockets, nodes, cores, threads), on, reserved)| {
            let topology = Shape {
                sockets,
                nodes,
                l3s: 1,
                cores,
                threads,
            };
            let options = StaticOptions {
                full_pcpus_only: on[0],
                strict_full_pcpus: on[0] && on[1],
                strict_cpu_reservation: on[2],
                distribute_cpus_across_numa: on[3],
                distribute_cpus_across_cores: on[4] && !on[0] && !on[3],
                ..StaticOptions::default()
            };
            let reservation = Reservation::Count(reserved);
            StaticPolicy::new(topology.build(), options, &reservation, TopologyPolicy::None).ok()
        },
    )
}

/// Any CPUs, of which some may not be there.
fn cpus() -> impl Strategy<Value = CpuSet> {
    let some = prop::collection::btree_set(0..26_u32, 0..6);
    let all = Just((0..24).collect::<BTreeSet<u32>>());
    let cpus = prop_oneof![9 => some, 1 => all];
    cpus.prop_map(|cpus| cpus.into_iter().filter_map(CpuId::new).collect())
}

fn by_container<T: std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = BTreeMap<PodUid, BTreeMap<ContainerName, T>>> {
    let place = (0..PODS.len(), 0..CONTAINERS.len());
    prop::collection::vec((place, value), 0..8).prop_map(|list| {
        let mut map: BTreeMap<PodUid, BTreeMap<ContainerName, T>> = BTreeMap::new();
        for ((pod, container), value) in list {
            let pod = map.entry(PodUid::parse(PODS[pod]).unwrap()).or_default();
            pod.insert(ContainerName::parse(CONTAINERS[container]).unwrap(), value);
        }
        map
    })
}

fn wanted() -> impl Strategy<Value = BTreeMap<PodUid, WantedPod>> {
    let wish = prop_oneof![
        4 => (1..6_usize).prop_map(Wish::Exclusive),
        1 => Just(Wish::Shared(WhyShared::Zero)),
    ];
    let kind = prop_oneof![
        Just(ContainerKind::Init),
        Just(ContainerKind::Sidecar),
        Just(ContainerKind::App)
    ];
    let pod = (
        any::<bool>(),
        prop::collection::vec((kind, wish), 1..=CONTAINERS.len()),
    );
    prop::collection::vec(prop::option::weighted(0.8, pod), PODS.len()).prop_map(|pods| {
        let pods = pods.into_iter().zip(PODS);
        pods.filter_map(|(pod, uid)| {
            let (admitted, containers) = pod?;
            let containers = containers.into_iter().zip(CONTAINERS);
            let containers = containers.map(|((kind, wish), name)| WantedContainer {
                name: ContainerName::parse(name).unwrap(),
                kind,
                wish,
            });
            let containers = containers.collect();
            Some((PodUid::parse(uid).unwrap(), WantedPod { admitted, containers }))
        })
        .collect()
    })
}

fn facts() -> impl Strategy<Value = Owned> {
    let pin = (cpus(), 0..3_u64).prop_map(|(cpus, granted)| Pin {
        cpus,
        granted,
        ..Pin::default()
    });
    let live = (cpus(), any::<bool>()).prop_map(|(effective, exclusive)| Live { effective, exclusive });
    let file = (by_container(pin), cpus(), any::<[bool; 4]>(), cpus());
    let file = prop::option::weighted(0.8, file);
    (policy(), file, by_container(live), wanted()).prop_map(|(policy, file, live, wanted)| {
        let machine = MachineMark::of(policy.topology(), Some("this".to_owned()));
        let checkpoint = file.map(|(pods, reserved, same, shared)| {
            let (mark, now, _) = under(Some(&policy), &machine);
            CpuCheckpoint {
                policy: if same[0] { mark } else { PolicyMark::default() },
                reserved: if same[1] { now } else { reserved },
                machine: MachineMark {
                    machine_id: Some(if same[2] { "this" } else { "other" }.to_owned()),
                    layout: machine.layout ^ u32::from(same[3]),
                    ..machine.clone()
                },
                shared,
                pods,
            }
        });
        Owned {
            checkpoint,
            live,
            wanted,
            policy,
            machine,
        }
    })
}

/// The containers of a pod that may run when the one at `place` does, of those after it.
fn at_a_time(pod: &WantedPod, place: usize) -> &[WantedContainer] {
    match pod.containers[place].kind {
        ContainerKind::Init => &[],
        ContainerKind::Sidecar | ContainerKind::App => &pod.containers[place + 1..],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_is_doubled_lost_or_out_of_place(facts in facts()) {
        let restored = facts.restore();
        let assignments = &restored.assignments;
        let policy = &facts.policy;
        let mut seen = assignments.shared().clone();
        let strict = policy.options().strict_cpu_reservation;
        prop_assert!(!strict || seen.is_disjoint(policy.reserved()));
        for (pod, containers) in assignments.pods() {
            let held = assignments.held_by_pod(pod);
            prop_assert!(seen.is_disjoint(&held), "of two pods, or shared and held");
            seen |= &held;
            for (name, cpus) in containers {
                let live = facts.live.get(pod).and_then(|live| live.get(name));
                let reserved = cpus & policy.reserved();
                let ran_there = live.map(|live| live.effective.clone()).unwrap_or_default();
                prop_assert!(reserved.is_subset(&ran_there), "reserved CPUs {} for {}", reserved, name);
                let wanted = facts.wanted.get(pod);
                let place = wanted.and_then(|pod| pod.containers.iter().position(|c| c.name == *name));
                let (Some(wanted), Some(place)) = (wanted, place) else {
                    prop_assert!(live.is_some(), "it neither runs nor is wanted");
                    continue;
                };
                prop_assert!(cpus.len() <= wanted.containers[place].wish.count());
                prop_assert!(live.is_some() || cpus.len() == wanted.containers[place].wish.count());
                for after in at_a_time(wanted, place) {
                    let other = assignments.held(pod, &after.name).cloned().unwrap_or_default();
                    prop_assert!(cpus.is_disjoint(&other), "{} and {}", name, after.name);
                }
            }
        }
        if strict {
            seen |= policy.reserved();
        }
        prop_assert_eq!(&seen, policy.topology().cpus());
    }

    #[test]
    fn put_in_again_it_comes_out_again(facts in facts()) {
        let first = facts.restore();
        let again = facts.after(&first).restore();
        prop_assert_eq!(&again.assignments, &first.assignments);
        for change in &again.changes {
            prop_assert!(change.stands(), "{}", change);
        }
        let standing = |restored: &Restored| restored.changes.iter().filter(|c| c.stands()).count();
        prop_assert_eq!(standing(&again), standing(&first));
    }

    #[test]
    fn what_runs_alone_keeps_what_it_has(facts in facts()) {
        let restored = facts.restore();
        let online = facts.policy.topology().cpus();
        for (pod, wanted) in &facts.wanted {
            for container in &wanted.containers {
                let live = facts.live.get(pod).and_then(|live| live.get(&container.name));
                let Some(live) = live.filter(|live| live.exclusive) else { continue };
                let mut own = &live.effective & online;
                if own.len() > container.wish.count() {
                    continue;
                }
                for (other, all) in &facts.live {
                    for (name, live) in all {
                        if (other, name) != (pod, &container.name) {
                            own -= &live.effective;
                        }
                    }
                }
                let kept = restored.assignments.held(pod, &container.name).cloned().unwrap_or_default();
                prop_assert!(own.is_subset(&kept), "{} of {} lost of {}", &own - &kept, container.name, own);
            }
        }
    }

    #[test]
    fn every_label_is_known_and_every_change_says_whose_it_is(facts in facts()) {
        for change in facts.restore().changes {
            prop_assert!(Change::LABELS.contains(&change.label()));
            if let Change::Container { pod, container, .. } = &change {
                let text = change.to_string();
                prop_assert!(text.starts_with(&format!("container {container} of pod {pod}: ")), "{}", text);
            }
        }
    }
}
