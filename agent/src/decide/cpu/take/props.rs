//! The properties of taking CPUs, and the search for balance against trying everything.

use proptest::prelude::*;

use super::balance::{self, Node};
use super::{Strategy as Order, Taken, distributed, packed};
use crate::model::{CpuSet, Shape, Topology};

fn machine() -> impl Strategy<Value = Topology> {
    (1..4_u32, 1..5_u32, 1..3_u32, 1..5_u32, 1..3_u32).prop_map(|(sockets, nodes, l3s, cores, threads)| {
        Shape {
            sockets,
            nodes,
            l3s,
            cores,
            threads,
        }
        .build()
    })
}

/// A machine, and some of its CPUs.
fn partly_free() -> impl Strategy<Value = (Topology, CpuSet)> {
    machine().prop_flat_map(|topology| {
        let flags = prop::collection::vec(prop::bool::weighted(0.7), topology.cpus().len());
        flags.prop_map(move |flags| {
            let free = topology.cpus().iter().zip(flags).filter(|(_, free)| *free);
            let free = free.map(|(cpu, _)| cpu).collect();
            (topology.clone(), free)
        })
    })
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Packed), Just(Order::Spread)]
}

fn check(free: &CpuSet, count: usize, taken: Option<&Taken>) -> Result<(), TestCaseError> {
    prop_assert_eq!(taken.is_some(), count <= free.len());
    let Some(taken) = taken else { return Ok(()) };
    prop_assert_eq!(taken.cpus.len(), count);
    prop_assert!(taken.cpus.is_subset(free));
    let mut seen = CpuSet::EMPTY;
    for step in &taken.steps {
        prop_assert!(!step.cpus.is_empty() && seen.is_disjoint(&step.cpus));
        seen |= &step.cpus;
    }
    prop_assert_eq!(&seen, &taken.cpus);
    Ok(())
}

proptest! {
    #[test]
    fn exactly_the_wanted_number_is_taken_from_what_is_free(
        (topology, free) in partly_free(), part in 0.0..1.1_f64, order in order(), by_cache: bool, group in 1..3_usize
    ) {
        #[expect(
            clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss,
            reason = "some number about as large as what is free"
        )]
        let count = (free.len() as f64 * part) as usize;
        let taken = packed(&topology, &free, count, order, by_cache);
        check(&free, count, taken.as_ref().ok())?;
        prop_assert_eq!(&taken, &packed(&topology, &free, count, order, by_cache));
        let taken = distributed(&topology, &free, count, group, order);
        check(&free, count, taken.as_ref().ok())?;
        prop_assert_eq!(&taken, &distributed(&topology, &free, count, group, order));
    }

    #[test]
    fn packed_keeps_cores_whole((topology, _) in partly_free(), part in 0..100_usize) {
        let all = topology.cpus();
        let count = all.len() * part / 100;
        let taken = packed(&topology, all, count, Order::Packed, false).unwrap().cpus;
        let split = topology.cores().iter().filter(|core| {
            !core.cpus.is_subset(&taken) && !core.cpus.is_disjoint(&taken)
        });
        prop_assert_eq!(split.count(), usize::from(count % topology.threads_per_core() != 0));
    }

    #[test]
    fn the_search_finds_what_trying_everything_finds(
        free in prop::collection::vec(1..12_usize, 1..7), groups in 1..20_usize, group in 1..3_usize
    ) {
        let nodes: Vec<_> = free.iter().map(|free| Node { free: *free }).collect();
        for k in 1..=nodes.len().min(groups) {
            let found = balance::split(&nodes, k, groups, group);
            let expected = by_trying(&free, k, groups, group);
            prop_assert_eq!(
                found.map(|split| (0..free.len()).map(|n| split.more_of(n)).collect::<Vec<_>>()),
                expected,
                "{} nodes of {:?}", k, free
            );
        }
    }

    #[test]
    fn many_nodes_end_up_at_least_as_even(
        free in prop::collection::vec(4..40_usize, 17..20), groups in 20..60_usize
    ) {
        let k = 15;
        let share = groups / k;
        let unevenness = |split: &balance::Split, free: &[usize]| -> usize {
            let left = free.iter().enumerate().map(|(n, free)| {
                free - split.more_of(n).map_or(0, |more| split.share + more)
            });
            left.map(|left| left * left).sum()
        };
        let nodes: Vec<_> = free.iter().map(|free| Node { free: *free }).collect();
        let simple = balance::split(&nodes, k, groups, 1).unwrap();
        // The exact search over the sixteen with the most, among which its choice must be too.
        let mut most = free.clone();
        most.sort_unstable();
        let (rest, most) = most.split_at(free.len() - 16);
        let nodes: Vec<_> = most.iter().map(|free| Node { free: *free }).collect();
        prop_assume!(share <= most[1]);
        let exact = balance::split(&nodes, k, groups, 1).unwrap();
        let untouched: usize = rest.iter().map(|left| left * left).sum();
        prop_assert!(unevenness(&simple, &free) <= unevenness(&exact, most) + untouched);
    }
}

/// Subsets of `of` with `size` members, in lexicographic order.
fn subsets(of: &[usize], size: usize) -> Vec<Vec<usize>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (at, first) in of.iter().enumerate() {
        for mut rest in subsets(&of[at + 1..], size - 1) {
            rest.insert(0, *first);
            all.push(rest);
        }
    }
    all
}

/// Every set of `k` nodes with every set of givers, the first of the most even ones.
fn by_trying(free: &[usize], k: usize, groups: usize, group: usize) -> Option<Vec<Option<usize>>> {
    let positions: Vec<_> = (0..free.len()).collect();
    let (share, rest) = (groups / k * group, groups % k);
    let mut best: Option<(usize, Vec<Option<usize>>)> = None;
    for chosen in subsets(&positions, k) {
        if chosen.iter().any(|n| free[*n] < share) {
            continue;
        }
        let mut left = free.to_vec();
        chosen.iter().for_each(|n| left[*n] -= share);
        let able: Vec<_> = chosen.iter().copied().filter(|n| left[*n] >= group).collect();
        let sizes = if rest == 0 { 0..=0 } else { 1..=able.len() };
        for givers in sizes.rev().flat_map(|size| subsets(&able, size)) {
            let (mut left, mut more, mut missing) = (left.clone(), vec![None; free.len()], rest);
            chosen.iter().for_each(|n| more[*n] = Some(0));
            while missing > 0 && givers.iter().any(|n| left[*n] >= group) {
                for n in &givers {
                    if missing > 0 && left[*n] >= group {
                        left[*n] -= group;
                        more[*n] = more[*n].map(|more| more + 1);
                        missing -= 1;
                    }
                }
            }
            let unevenness = left.iter().map(|left| left * left).sum();
            if missing == 0 && best.as_ref().is_none_or(|(least, _)| unevenness < *least) {
                best = Some((unevenness, more));
            }
        }
    }
    best.map(|(_, more)| more)
}
