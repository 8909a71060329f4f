//! Pods on a machine of 2 nodes with 4 cores of 2 threads each.

use proptest::prelude::*;

use super::*;
use crate::decide::fixtures::{STATIC, container, init, pod, simple, two_nodes, valid_pods};
use crate::model::{ContainerKind, CpuSet, PodRefusal, QosClass};

fn rehearsed(text: &str, pods: &[Pod]) -> Rehearsal {
    let machine = two_nodes();
    let (policy, managers) = machine.configured(text);
    let allocatable = crate::decide::allocatable::allocatable(&machine.capacity, &policy);
    let pods: Vec<_> = pods.iter().collect();
    let allotment = Allotment::new(managers.unwrap(), machine.cpus.topology);
    rehearse(allotment, &pods, &allocatable)
}

fn whole(name: &str, cpus: u32, gib: u32) -> Pod {
    let amounts = format!("cpu={cpus} memory={gib}Gi");
    simple(name, &amounts, &amounts)
}

fn refusal<'r>(rehearsal: &'r Rehearsal, name: &str) -> Option<&'r PodRefusal> {
    let found = rehearsal.pods.iter().find(|pod| pod.name.as_str() == name);
    found.unwrap().refusal.as_ref()
}

#[test]
fn guaranteed_pods_get_cpus_and_the_others_are_told_why_not() {
    let pods = [
        whole("db", 6, 1),
        simple("part", "cpu=1500m memory=1Gi", "cpu=1500m memory=1Gi"),
        simple("web", "cpu=1", ""),
    ];
    let rehearsal = rehearsed(STATIC, &pods);
    let of = |n: usize| rehearsal.pods[n].containers[0].clone();
    assert_eq!(of(0).cpus.map(|cpus| cpus.len()), Some(6));
    assert!(
        of(0).why.contains("14 were free (6, 8 by NUMA node)"),
        "{}",
        of(0).why
    );
    assert_eq!(of(1).cpus, None);
    assert_eq!(
        of(1).why,
        "it requests 1500m CPU, which is no whole number of CPUs"
    );
    assert_eq!(rehearsal.pods[2].class, QosClass::Burstable);
    assert_eq!(
        of(2).why,
        "the pod is Burstable, only Guaranteed pods get exclusive CPUs"
    );
    assert_eq!(rehearsal.allotment.assignments().shared().len(), 10);
    let none = rehearsed("", &pods);
    assert_eq!(none.pods[0].containers[0].why, "cpuManagerPolicy is none");
}

#[test]
fn a_refused_pod_takes_nothing_from_those_after_it() {
    let text = format!("{STATIC}topologyManagerPolicy: single-numa-node\n");
    let pods = [
        whole("a", 9, 1),
        whole("b", 8, 1),
        whole("c", 6, 1),
        whole("d", 1, 1),
    ];
    let rehearsal = rehearsed(&text, &pods);
    let [a, d] = ["a", "d"].map(|name| refusal(&rehearsal, name).cloned().unwrap());
    assert_eq!(a.reason, "TopologyAffinityError");
    assert_eq!(a.container.map(|name| name.to_string()), Some("main".to_owned()));
    assert_eq!(d.reason, "OutOfcpu");
    assert!(
        d.message
            .ends_with("requested: 1000, used: 14000, capacity: 14000"),
        "{}",
        d.message
    );
    assert_eq!((refusal(&rehearsal, "b"), refusal(&rehearsal, "c")), (None, None));
    // The reserved CPUs are what is left to share.
    assert_eq!(
        rehearsal.allotment.assignments().shared(),
        &rehearsal.allotment.reserved()
    );
}

#[test]
fn whole_cores_only_is_a_refusal_with_its_numbers() {
    let text = format!("{STATIC}cpuManagerPolicyOptions: {{full-pcpus-only: \"true\"}}\n");
    let rehearsal = rehearsed(&text, &[whole("odd", 3, 1)]);
    let odd = refusal(&rehearsal, "odd").unwrap();
    assert_eq!(odd.reason, "SMTAlignmentError");
    assert!(odd.message.starts_with("3 CPUs are wanted"), "{}", odd.message);
}

#[test]
fn memory_and_cpus_come_from_one_node() {
    let text = format!(
        "{STATIC}topologyManagerPolicy: restricted\nmemoryManagerPolicy: Static\nsystemReserved: {{memory: 2Gi}}\n\
         reservedMemory: [{{numaNode: 0, limits: {{memory: 2Gi}}}}]\n"
    );
    let rehearsal = rehearsed(&text, &[whole("a", 2, 7), whole("b", 2, 7)]);
    // Node 0 has 6 GiB to give, node 1 has 8.
    let a = &rehearsal.pods[0].containers[0];
    assert_eq!(a.mems, Some(vec![1]));
    assert!(
        a.cpus.as_ref().unwrap().iter().all(|cpu| cpu.index() % 8 >= 4),
        "{a:?}"
    );
    assert!(refusal(&rehearsal, "b").is_some());
    // Memory alone is given without a CPU manager too.
    let alone = text.replace("static", "none");
    let rehearsal = rehearsed(&alone, &[whole("a", 2, 7)]);
    assert_eq!(rehearsal.pods[0].containers[0].mems, Some(vec![1]));
}

/// Pods that ask for whole CPUs, some with an init container.
fn whole_pods() -> impl Strategy<Value = Vec<Pod>> {
    prop::collection::vec((1_u32..6, prop::option::of(1_u32..6)), 0..8).prop_map(|sizes| {
        let amounts = |cpus: u32| format!("cpu={cpus} memory=1Gi");
        sizes
            .into_iter()
            .enumerate()
            .map(|(n, (app, first))| {
                let app = container("app", &amounts(app), &amounts(app));
                let mut made = pod(&format!("whole{n}"), vec![app]);
                made.init_containers.extend(
                    first.map(|cpus| init("first", ContainerKind::Init, &amounts(cpus), &amounts(cpus))),
                );
                made
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn no_cpu_has_two_owners(
        pods in (whole_pods(), valid_pods(3)).prop_map(|(mut pods, more)| { pods.extend(more); pods }),
        policy in prop::sample::select(vec!["none", "best-effort", "restricted", "single-numa-node"]),
        scope in prop::sample::select(vec!["container", "pod"]),
        full in any::<bool>(),
    ) {
        let text = format!(
            "{STATIC}cpuManagerPolicyOptions: {{full-pcpus-only: {full}}}\ntopologyManagerPolicy: {policy}\n\
             topologyManagerScope: {scope}\n"
        );
        let rehearsal = rehearsed(&text, &pods);
        let reversed: Vec<_> = pods.iter().rev().cloned().collect();
        prop_assert_eq!(&rehearsal, &rehearsed(&text, &reversed));

        let mut owned = &rehearsal.allotment.reserved() | rehearsal.allotment.assignments().shared();
        prop_assert!(rehearsal.allotment.reserved().is_subset(rehearsal.allotment.assignments().shared()));
        for placement in &rehearsal.pods {
            prop_assert!(placement.refusal.is_none() || placement.containers.is_empty());
            let source = pods.iter().find(|pod| pod.name == placement.name).unwrap();
            let mut of_pod = CpuSet::EMPTY;
            for (container, asked) in placement.containers.iter().zip(source.all_containers()) {
                let Some(cpus) = &container.cpus else { continue };
                let milli = asked.resources.requests["cpu"].milli_value();
                prop_assert_eq!(i128::try_from(cpus.len()).unwrap() * 1000, i128::from(milli));
                of_pod |= cpus;
            }
            prop_assert!(owned.is_disjoint(&of_pod), "{placement:?}");
            owned |= &of_pod;
        }
        prop_assert_eq!(owned.len(), 16);
    }
}
