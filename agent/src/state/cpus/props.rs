//! The properties of assignments, under grants and releases in any order.

use proptest::prelude::*;

use super::CpuAssignments;
use crate::model::{ContainerName, CpuId, CpuSet, PodUid};

const CPUS: u32 = 12;

fn some_cpus() -> impl Strategy<Value = CpuSet> {
    // Some of them do not exist.
    let cpus = prop::collection::btree_set(0..CPUS + 2, 0..6);
    cpus.prop_map(|cpus| cpus.into_iter().filter_map(CpuId::new).collect())
}

proptest! {
    #[test]
    fn cpus_are_neither_lost_nor_doubled(
        steps in prop::collection::vec((0..3_usize, 0..2_usize, prop::option::of(some_cpus())), 0..20)
    ) {
        let all: CpuSet = (0..CPUS).filter_map(CpuId::new).collect();
        let pods = ["p", "q", "r"].map(|uid| PodUid::parse(uid).unwrap());
        let containers = ["a", "b"].map(|name| ContainerName::parse(name).unwrap());
        let mut assignments = CpuAssignments::new(all.clone());
        for (pod, container, cpus) in steps {
            let (pod, container) = (&pods[pod], &containers[container]);
            let before = assignments.clone();
            match cpus {
                None => {
                    let released = assignments.release(pod);
                    prop_assert_eq!(released, before.held_by_pod(pod));
                }
                Some(cpus) => {
                    let possible = cpus.is_subset(&(before.shared() | &before.held_by_pod(pod)));
                    let granted = assignments.grant(pod, container, cpus.clone()).is_ok();
                    prop_assert_eq!(granted, possible);
                    if granted {
                        prop_assert_eq!(assignments.held(pod, container), Some(&cpus));
                    } else {
                        prop_assert_eq!(&assignments, &before);
                    }
                }
            }
            let mut seen = assignments.shared().clone();
            for pod in &pods {
                let held = assignments.held_by_pod(pod);
                prop_assert!(seen.is_disjoint(&held));
                seen |= &held;
            }
            prop_assert_eq!(&seen, &all);
        }
        for pod in &pods {
            assignments.release(pod);
        }
        prop_assert_eq!(assignments, CpuAssignments::new(all));
    }
}
