//! The properties of the policy, over pods that come and go.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Reservation, StaticOptions, StaticPolicy, Wishes};
use crate::decide::fixtures::{container, init, pod};
use crate::decide::numa::{NumaNodes, TopologyManager, TopologyPolicy, TopologyScope};
use crate::model::{ContainerKind, CpuSet, Pod, Shape};
use crate::state::cpus::CpuAssignments;

fn options() -> impl Strategy<Value = StaticOptions> {
    any::<[bool; 8]>()
        .prop_map(|flags| StaticOptions {
            full_pcpus_only: flags[0],
            distribute_cpus_across_numa: flags[1],
            align_by_socket: flags[2],
            distribute_cpus_across_cores: flags[3],
            strict_cpu_reservation: flags[4],
            prefer_align_cpus_by_uncorecache: flags[5],
            strict_full_pcpus: flags[6],
            mixed_pods: flags[7],
        })
        .prop_filter("they exclude each other", |options| options.check().is_ok())
}

fn node() -> impl Strategy<Value = (StaticPolicy, TopologyManager)> {
    let shape = (1..3_u32, 1..4_u32, 1..3_u32, 1..4_u32, 1..3_u32);
    let policy = prop_oneof![
        Just(TopologyPolicy::None),
        Just(TopologyPolicy::BestEffort),
        Just(TopologyPolicy::Restricted),
        Just(TopologyPolicy::SingleNumaNode),
    ];
    (
        shape,
        options(),
        policy,
        any::<[bool; 2]>(),
        any::<prop::sample::Index>(),
    )
        .prop_filter_map(
            "no such policy",
            |(
                (sockets, nodes, l3s, cores, threads),
                options,
                policy,
                [pod_scope, prefer_closest],
                reserved,
            )| {
                let topology = Shape {
                    sockets,
                    nodes,
                    l3s,
                    cores,
                    threads,
                }
                .build();
                let manager = TopologyManager {
                    policy,
                    scope: if pod_scope {
                        TopologyScope::Pod
                    } else {
                        TopologyScope::Container
                    },
                    prefer_closest,
                    nodes: NumaNodes::of(&topology),
                };
                let reserved = Reservation::Count(reserved.index(topology.cpus().len()));
                let policy = StaticPolicy::new(topology, options, &reserved, policy).ok()?;
                Some((policy, manager))
            },
        )
}

/// A Guaranteed pod whose containers ask for so many half CPUs.
fn asking(number: usize, containers: &[(usize, u8)]) -> Pod {
    let mut made = pod(&format!("p{number}"), Vec::new());
    for (n, (halves, kind)) in containers.iter().enumerate() {
        let asks = format!("cpu={}m memory=64Mi", (halves + 1) * 500);
        let name = format!("c{n}");
        match kind {
            0 => made
                .init_containers
                .push(init(&name, ContainerKind::Init, &asks, &asks)),
            1 => made
                .init_containers
                .push(init(&name, ContainerKind::Sidecar, &asks, &asks)),
            _ => made.containers.push(container(&name, &asks, &asks)),
        }
    }
    made
}

fn check(policy: &StaticPolicy, assignments: &CpuAssignments) -> Result<(), TestCaseError> {
    let mut seen = CpuSet::EMPTY;
    for containers in assignments.pods().values() {
        let mut of_pod = CpuSet::EMPTY;
        containers.values().for_each(|cpus| of_pod |= cpus);
        prop_assert!(seen.is_disjoint(&of_pod), "two pods hold the same");
        seen |= &of_pod;
    }
    prop_assert!(seen.is_disjoint(policy.reserved()) && seen.is_disjoint(assignments.shared()));
    let all = policy.start();
    prop_assert_eq!(&(&seen | assignments.shared()), all.shared());
    Ok(())
}

proptest! {
    #[test]
    fn pods_come_and_go_and_nothing_is_lost_or_doubled(
        (policy, manager) in node(),
        steps in prop::collection::vec(
            (prop::collection::vec((0..9_usize, 0..4_u8), 1..4), prop::option::of(any::<prop::sample::Index>())), 1..8
        )
    ) {
        let mut assignments = policy.start();
        let mut there = Vec::new();
        for (number, (containers, leaves)) in steps.iter().enumerate() {
            let pod = asking(number, containers);
            let before = assignments.clone();
            let outcome = policy.admit(&manager, &assignments, &pod);
            prop_assert_eq!(&outcome, &policy.admit(&manager, &assignments, &pod), "the same again");
            prop_assert_eq!(&assignments, &before);
            if let Ok(admitted) = outcome {
                let wishes = Wishes::of(&pod, policy.options().mixed_pods);
                let wanted: Vec<_> = pod
                    .all_containers()
                    .enumerate()
                    .filter(|(n, _)| wishes.container(*n).count() > 0)
                    .map(|(n, c)| (c.name.clone(), wishes.container(n).count()))
                    .collect();
                let got: Vec<_> = admitted.grants.iter().map(|g| (g.container.clone(), g.cpus.len())).collect();
                prop_assert_eq!(got, wanted);
                let mut running = CpuSet::EMPTY;
                for (grant, kind) in admitted.grants.iter().filter_map(|grant| {
                    let container = pod.all_containers().find(|c| c.name == grant.container)?;
                    Some((grant, container.kind))
                }) {
                    prop_assert!(running.is_disjoint(&grant.cpus), "two that run at a time hold the same");
                    if kind != ContainerKind::Init {
                        running |= &grant.cpus;
                    }
                    if policy.options().strict_full_pcpus {
                        prop_assert_eq!(policy.whole_cores(&grant.cpus), grant.cpus.clone());
                    }
                }
                assignments = admitted.applied(&assignments).unwrap();
                prop_assert_eq!(assignments.shared(), &admitted.shared);
                there.push(pod.uid.clone());
            }
            check(&policy, &assignments)?;
            if let Some(leaves) = leaves.filter(|_| !there.is_empty()) {
                let pod = there.swap_remove(leaves.index(there.len()));
                assignments.release(&pod);
                check(&policy, &assignments)?;
            }
        }
        let left: BTreeSet<_> = assignments.pods().keys().cloned().collect();
        for pod in left {
            assignments.release(&pod);
        }
        prop_assert_eq!(assignments, policy.start());
    }
}
