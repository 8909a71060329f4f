//! Properties of merging, against the plain way of trying every combination.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::tests::{hint, machine, manager, room};
use super::*;

/// Every combination, one after the other, compared as kubelet compares; the reference.
fn naive(manager: &TopologyManager, hints: &[Hints]) -> TopologyHint {
    let all = manager.nodes.all();
    let single = manager.policy == TopologyPolicy::SingleNumaNode;
    let lists: Vec<Vec<TopologyHint>> = hints
        .iter()
        .map(|hints| match &hints.choices {
            None => vec![TopologyHint::ANY],
            Some(choices) if choices.is_empty() => vec![hint(None, false)],
            Some(choices) => choices.clone(),
        })
        .map(|mut list| {
            list.retain(|h| !single || h.preferred && h.mask.is_none_or(|m| m.count() == 1));
            list
        })
        .collect();
    let most = lists
        .iter()
        .filter_map(|list| list.iter().filter_map(|h| h.mask).map(NumaMask::count).min())
        .max()
        .unwrap_or(0);

    let mut combinations = vec![Vec::new()];
    for list in &lists {
        combinations = combinations
            .iter()
            .flat_map(|head: &Vec<TopologyHint>| {
                list.iter()
                    .map(move |h| head.iter().copied().chain([*h]).collect())
            })
            .collect();
    }
    let mut best: Option<TopologyHint> = None;
    for combination in combinations {
        let masks: Vec<_> = combination.iter().filter_map(|h| h.mask).collect();
        let merged = masks.iter().fold(all, |merged, mask| merged.and(*mask));
        if merged.is_empty() {
            continue;
        }
        let preferred = combination.iter().all(|h| h.preferred) && masks.windows(2).all(|w| w[0] == w[1]);
        let candidate = hint(Some(merged), preferred);
        if best.is_none_or(|best| replaces(manager, most, best, candidate)) {
            best = Some(candidate);
        }
    }
    let best = best.unwrap_or(hint(Some(all), false));
    if single && best.mask == Some(all) {
        return hint(None, best.preferred);
    }
    best
}

/// Whether the candidate takes the place of what was best so far.
fn replaces(manager: &TopologyManager, most: u32, best: TopologyHint, candidate: TopologyHint) -> bool {
    let (Some(old), Some(new)) = (best.mask, candidate.mask) else {
        panic!("merged hints have masks");
    };
    if best.preferred != candidate.preferred {
        return candidate.preferred;
    }
    let average = |mask: NumaMask| {
        let pairs = mask.nodes().flat_map(|a| mask.nodes().map(move |b| (a, b)));
        let sum: f64 = pairs.map(|(a, b)| f64::from(manager.nodes.distance(a, b))).sum();
        sum / f64::from(mask.count() * mask.count())
    };
    let fitter = if old.count() != new.count() {
        new.count() < old.count()
    } else if manager.prefer_closest
        && manager.policy != TopologyPolicy::SingleNumaNode
        && average(old) != average(new)
    {
        average(new) < average(old)
    } else {
        new.bits() < old.bits()
    };
    if best.preferred || old.count() > most {
        return fitter;
    }
    if old.count() == most {
        return new.count() == most && fitter;
    }
    if new.count() > most {
        return false;
    }
    new.count() > old.count() || (new.count() == old.count() && fitter)
}

fn any_hint(nodes: usize) -> impl Strategy<Value = TopologyHint> {
    let bits = 1..=NumaMask::first(nodes).bits();
    (prop::option::weighted(0.95, bits), any::<bool>())
        .prop_map(|(bits, preferred)| hint(bits.map(NumaMask::from_bits), preferred))
}

fn any_lists(nodes: usize, longest: usize) -> impl Strategy<Value = Vec<Hints>> {
    let list = prop::option::weighted(0.9, prop::collection::vec(any_hint(nodes), 0..longest));
    let hints = list.prop_map(|choices| Hints {
        resource: Resource::Cpu,
        choices,
    });
    prop::collection::vec(hints, 0..4)
}

fn any_policy() -> impl Strategy<Value = TopologyPolicy> {
    prop::sample::select(vec![
        TopologyPolicy::BestEffort,
        TopologyPolicy::Restricted,
        TopologyPolicy::SingleNumaNode,
    ])
}

fn any_manager(most_nodes: usize) -> impl Strategy<Value = TopologyManager> {
    (1..=most_nodes, any_policy(), any::<bool>()).prop_flat_map(|(nodes, policy, prefer_closest)| {
        prop::collection::vec(10_u32..13, nodes * nodes).prop_map(move |distances| TopologyManager {
            prefer_closest,
            ..manager(policy, machine(nodes, &distances))
        })
    })
}

fn with_lists(most_nodes: usize, longest: usize) -> impl Strategy<Value = (TopologyManager, Vec<Hints>)> {
    any_manager(most_nodes).prop_flat_map(move |manager| {
        let lists = any_lists(manager.nodes.count(), longest);
        (Just(manager), lists)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn up_to_8_nodes_it_is_the_best_of_all_combinations((manager, hints) in with_lists(8, 9)) {
        let merged = manager.merge(&hints);
        prop_assert_eq!(merged.hint, naive(&manager, &hints));
    }
}

proptest! {
    #[test]
    fn the_outcome_is_on_the_machine_and_as_the_policy_wants((manager, hints) in with_lists(64, 200)) {
        let merged = manager.merge(&hints);
        if let Some(mask) = merged.hint.mask {
            prop_assert!(!mask.is_empty() && mask.is_within(manager.nodes.all()));
            if manager.policy == TopologyPolicy::SingleNumaNode {
                prop_assert!(!merged.admitted || mask.count() == 1);
            }
        }
        let strict = manager.policy != TopologyPolicy::BestEffort;
        prop_assert_eq!(merged.admitted, merged.hint.preferred || !strict);
        for hints in hints.iter().filter(|_| merged.hint.preferred) {
            let any = TopologyHint::ANY;
            let serves = |h: &TopologyHint| *h == any || Some(h.mask) == Some(merged.hint.mask) && h.preferred;
            let own = hints.choices.as_ref().is_none_or(|choices| choices.iter().any(serves));
            prop_assert!(own || merged.hint.mask.is_none(), "{:?} {:?}", hints, merged);
        }
    }

    #[test]
    fn on_any_machine_some_combination_comes_to_the_outcome((manager, hints) in with_lists(64, 7)) {
        prop_assume!(manager.policy != TopologyPolicy::SingleNumaNode);
        let all = manager.nodes.all();
        let mut reached = BTreeSet::from([all]);
        for choices in hints.iter().filter_map(|hints| hints.choices.as_ref()).filter(|c| !c.is_empty()) {
            let masks = choices.iter().map(|hint| hint.mask.unwrap_or(all));
            reached = masks.flat_map(|mask| reached.iter().map(move |r| r.and(mask)).collect::<Vec<_>>()).collect();
        }
        reached.remove(&NumaMask::EMPTY);
        let mask = manager.merge(&hints).hint.mask.unwrap();
        prop_assert!(reached.contains(&mask) || reached.is_empty() && mask == all);
    }

    #[test]
    fn a_mask_that_all_resources_have_is_found_on_any_machine(
        (manager, mut hints) in with_lists(64, 100),
        bits: u64,
    ) {
        let mask = NumaMask::from_bits(bits).and(manager.nodes.all());
        prop_assume!(!mask.is_empty() && manager.policy != TopologyPolicy::SingleNumaNode);
        for choices in hints.iter_mut().filter_map(|hints| hints.choices.as_mut()) {
            choices.iter_mut().for_each(|hint| hint.preferred = false);
            choices.push(hint(Some(mask), true));
        }
        let merged = manager.merge(&hints);
        let all_free = hints.iter().all(|hints| hints.choices.is_none());
        prop_assert!(merged.hint.preferred);
        prop_assert_eq!(merged.hint.mask, Some(if all_free { manager.nodes.all() } else { mask }));
    }

    #[test]
    fn candidates_are_sound_and_bounded(
        nodes in 1_usize..=64,
        rooms in prop::collection::vec(prop::collection::vec(0_u64..5, 64), 0..3),
        need in 1_u64..100,
    ) {
        let machine = machine(nodes, &[]);
        let candidates = Candidates::new(&machine, &room(&rooms));
        let masks = candidates.masks();
        prop_assert!(masks.iter().all(|m| !m.is_empty() && m.is_within(machine.all())));
        prop_assert!(masks.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!((0..nodes).all(|node| masks.contains(&NumaMask::single(node))));
        prop_assert!(masks.contains(&machine.all()));
        let most = if nodes <= 8 { 255 } else { nodes * nodes + 25 * nodes * rooms.len() };
        prop_assert!(masks.len() <= most);
        for room in &rooms {
            let sums = candidates.sums(room);
            for (mask, sum) in masks.iter().zip(&sums) {
                prop_assert_eq!(*sum, mask.nodes().map(|node| room[node]).sum::<u64>());
            }
            let mut most: Vec<u64> = room[..nodes].to_vec();
            most.sort_unstable_by(|a, b| b.cmp(a));
            let fewest = (1..=nodes).find(|&n| most[..n].iter().sum::<u64>() >= need);
            let found = masks.iter().zip(&sums).filter(|(_, sum)| **sum >= need);
            let found = found.map(|(mask, _)| mask.count() as usize).min();
            prop_assert_eq!(found, fewest);
        }
    }
}
