//! Properties of the memory manager over random pods that come and go.

use proptest::prelude::*;

use super::tests::{container, gib, manager, pod_uid};
use super::*;
use crate::decide::numa::Candidates;
use crate::model::TopologyHint;

#[derive(Debug, Clone)]
enum Step {
    Add {
        pod: u8,
        name: u8,
        kind: ContainerKind,
        gib: u64,
        hint: TopologyHint,
    },
    Remove {
        pod: u8,
        name: u8,
    },
    RemovePod(u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    let kind = prop::sample::select(vec![
        ContainerKind::Init,
        ContainerKind::Sidecar,
        ContainerKind::App,
    ]);
    let hint = (prop::option::of(any::<u16>()), any::<bool>()).prop_map(|(bits, preferred)| TopologyHint {
        mask: bits.map(|bits| NumaMask::from_bits(u64::from(bits))),
        preferred,
    });
    prop_oneof![
        6 => (0_u8..4, 0_u8..3, kind, 0_u64..12, hint)
            .prop_map(|(pod, name, kind, gib, hint)| Step::Add { pod, name, kind, gib, hint }),
        1 => (0_u8..4, 0_u8..3).prop_map(|(pod, name)| Step::Remove { pod, name }),
        1 => (0_u8..4).prop_map(Step::RemovePod),
    ]
}

/// Everything that always holds.
fn check(manager: &MemoryManager, allocatable: &[u64]) -> Result<(), TestCaseError> {
    let mut held = vec![0; allocatable.len()];
    let mut serves = vec![None; allocatable.len()];
    for (_, _, holding) in manager.holdings() {
        let taken: u64 = holding.taken.iter().map(|(_, _, amount)| amount).sum();
        let asked = holding.request[&Resource::Memory].0;
        prop_assert!(taken == asked || holding.kind == ContainerKind::Init && taken < asked);
        for &(node, _, amount) in &holding.taken {
            prop_assert!(holding.mask.contains(node));
            held[node] += amount;
        }
        for node in holding.mask.nodes() {
            prop_assert!(serves[node].is_none_or(|mask| mask == holding.mask), "two groups");
            serves[node] = Some(holding.mask);
        }
    }
    for ((held, free), gib) in held.iter().zip(manager.free(Resource::Memory)).zip(allocatable) {
        prop_assert_eq!(held + free, gib << 30);
    }
    Ok(())
}

proptest! {
    #[test]
    fn nodes_give_what_they_have_to_one_group_and_get_it_back(
        allocatable in prop::collection::vec(0_u64..16, 1..12),
        steps in prop::collection::vec(any_step(), 0..40),
    ) {
        let empty = manager(&allocatable);
        let mut manager = empty.clone();
        for step in steps {
            let before = manager.clone();
            match step {
                Step::Add { pod, name, kind, gib: amount, hint } => {
                    let (pod, name) = (pod_uid(&format!("p{pod}")), container(&format!("c{name}")));
                    let request = if amount == 0 { Request::new() } else { gib(amount) };
                    let known = before.holding(&pod, &name).is_some();
                    match manager.allocate(&pod, &name, kind, &request, hint) {
                        Err(_) => prop_assert_eq!(&manager, &before),
                        Ok(None) => prop_assert!(amount == 0),
                        Ok(Some(mask)) => {
                            prop_assert_eq!(manager.holding(&pod, &name).map(|h| h.mask), Some(mask));
                            let asked = hint.mask.unwrap_or_default();
                            prop_assert!(known || !hint.preferred || asked.is_within(mask));
                            let first = !known && before.pods.get(&pod).is_none_or(BTreeMap::is_empty);
                            if first {
                                let mut undone = manager.clone();
                                undone.release_pod(&pod);
                                prop_assert_eq!(undone, before);
                            }
                        }
                    }
                }
                Step::Remove { pod, name } => {
                    manager.release(&pod_uid(&format!("p{pod}")), &container(&format!("c{name}")));
                }
                Step::RemovePod(pod) => manager.release_pod(&pod_uid(&format!("p{pod}"))),
            }
            check(&manager, &allocatable)?;
        }
        for pod in 0..4 {
            manager.release_pod(&pod_uid(&format!("p{pod}")));
        }
        prop_assert_eq!(manager, empty);
    }

    #[test]
    fn every_hint_can_be_granted(
        allocatable in prop::collection::vec(1_u64..16, 1..12),
        steps in prop::collection::vec(any_step(), 0..12),
        amount in 1_u64..30,
    ) {
        let mut manager = manager(&allocatable);
        for step in steps {
            if let Step::Add { pod, name, kind, gib: amount, hint } = step {
                let (pod, name) = (pod_uid(&format!("p{pod}")), container(&format!("c{name}")));
                // Refused or not: any state will do.
                drop(manager.allocate(&pod, &name, kind, &gib(amount + 1), hint));
            }
        }
        let (pod, name, request) = (pod_uid("new"), container("c"), gib(amount));
        let candidates = Candidates::new(&manager.numa, &manager.room(&request));
        let hints = manager.hints(&pod, Some(&name), &request, &candidates);
        let choices = hints[0].choices.clone().unwrap_or_default();
        let narrow = choices.iter().filter(|h| h.preferred).filter_map(|h| h.mask).map(NumaMask::count);
        prop_assert!(narrow.clone().min() == narrow.max());
        for hint in choices {
            let mut tried = manager.clone();
            let mask = tried.allocate(&pod, &name, ContainerKind::App, &request, hint);
            prop_assert_eq!(mask, Ok(hint.mask));
            check(&tried, &allocatable)?;
        }
    }
}

proptest! {
    /// In the order of UIDs and names, which here is that of the manifest.
    #[test]
    fn what_was_held_is_held_again_by_an_agent_started_anew(
        allocatable in prop::collection::vec(1_u64..16, 1..8),
        wishes in prop::collection::vec((0_u8..4, 1_u64..12, any::<u8>(), any::<bool>()), 0..12),
    ) {
        let empty = manager(&allocatable);
        let mut old = empty.clone();
        for (n, (pod, amount, bits, is_init)) in wishes.into_iter().enumerate() {
            let hint = TopologyHint { mask: Some(NumaMask::from_bits(u64::from(bits))), preferred: false };
            let kind = if is_init { ContainerKind::Init } else { ContainerKind::App };
            let (pod, name) = (pod_uid(&format!("p{pod}")), container(&format!("c{n:02}")));
            old.allocate(&pod, &name, kind, &gib(amount), hint).ok();
        }
        let mut new = empty;
        for (pod, name, holding) in old.holdings() {
            let missing = new.restore(pod, name, holding.kind, &holding.request, holding.mask);
            prop_assert_eq!(missing, Ok(Missing::new()));
        }
        check(&new, &allocatable)?;
        let masks = |manager: &MemoryManager| -> Vec<_> {
            manager.holdings().map(|(pod, name, held)| (pod.clone(), name.clone(), held.mask)).collect()
        };
        prop_assert_eq!(masks(&new), masks(&old));
        let sum = |manager: &MemoryManager| manager.free(Resource::Memory).iter().sum::<u64>();
        prop_assert_eq!(sum(&new), sum(&old));
        // And putting it down twice is putting it down once.
        let once = new.clone();
        for (pod, name, holding) in old.holdings() {
            new.restore(pod, name, holding.kind, &holding.request, holding.mask).unwrap();
        }
        prop_assert_eq!(new, once);
    }
}
