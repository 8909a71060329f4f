//! Giving, changing and taking back on a machine of 2 nodes with 4 cores of 2 threads each.

use proptest::prelude::*;

use super::*;
use crate::decide::fixtures::{STATIC, simple, two_nodes, whole};

fn node(text: &str) -> Allotment {
    two_nodes().allotment(text)
}

#[test]
fn a_change_keeps_what_the_container_keeps_and_says_why() {
    let mut node = node(STATIC);
    let (before, after) = (whole("a", 2), whole("a", 4));
    let had = node.admit(&before).unwrap()[0].cpus.clone().unwrap();
    let grown = node.update(&before, &after).unwrap().remove(0);
    assert!(had.is_subset(&grown.cpus.unwrap()));
    assert!(grown.why.starts_with("had "), "{}", grown.why);
    let shared = simple("a", "cpu=1500m memory=1Gi", "cpu=1500m memory=1Gi");
    let given_back = node.update(&after, &shared).unwrap().remove(0);
    assert_eq!(given_back.cpus, None);
    assert_eq!(node.shared().len(), 16);
}

#[test]
fn with_nothing_left_to_share_the_reserved_cpus_serve() {
    let strict = format!("{STATIC}cpuManagerPolicyOptions: {{strict-cpu-reservation: \"true\"}}\n");
    let mut node = node(&strict);
    assert_eq!(node.shared().to_string(), "1-7,9-15");
    node.admit(&whole("all", 14)).unwrap();
    assert!(node.assignments().shared().is_empty());
    assert_eq!(node.shared().to_string(), "0,8");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_given_is_what_is_asked_for_and_nobody_elses(
        changes in prop::collection::vec((0_usize..4, 0_usize..7), 1..20),
        memory: bool,
    ) {
        let memory = if memory {
            "memoryManagerPolicy: Static\nsystemReserved: {memory: 1Gi}\n\
             reservedMemory: [{numaNode: 0, limits: {memory: 1Gi}}]\n"
        } else {
            ""
        };
        let mut node = node(&format!("{STATIC}{memory}"));
        let mut pods: BTreeMap<usize, Pod> = BTreeMap::new();
        for (number, cpus) in changes {
            let before = node.clone();
            let uid = PodUid::parse(&format!("uid-p{number}")).unwrap();
            let wanted = whole(&format!("p{number}"), cpus.max(1));
            let answer = match pods.get(&number) {
                Some(_) if cpus == 0 => {
                    pods.remove(&number);
                    let stay = pods.values().map(|pod| pod.uid.clone()).collect();
                    node.retain(&stay);
                    prop_assert!(node.assignments().pods().get(&uid).is_none());
                    continue;
                }
                Some(known) => node.update(known, &wanted),
                None => node.admit(&wanted),
            };
            match answer {
                Ok(given) => {
                    prop_assert_eq!(given[0].cpus.as_ref().map(CpuSet::len), Some(cpus.max(1)));
                    pods.insert(number, wanted);
                }
                Err(_) => prop_assert_eq!(&node, &before),
            }
            let mut all = node.shared();
            for pod in pods.values() {
                let held = node.assignments().held_by_pod(&pod.uid);
                prop_assert!(held.is_disjoint(&all) && held.is_disjoint(&node.reserved()));
                all |= &held;
            }
            prop_assert_eq!(&all, node.topology().cpus());
        }
        node.retain(&BTreeSet::new());
        prop_assert_eq!(node, self::node(&format!("{STATIC}{memory}")));
    }
}
