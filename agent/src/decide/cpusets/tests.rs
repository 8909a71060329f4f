//! Lists on a machine of 2 nodes with 4 cores of 2 threads each.

use super::*;
use crate::decide::fixtures::{STATIC, container, pod, simple, two_nodes, whole};
use crate::model::{CgroupId, PodUid};

fn lists(
    allotment: Option<&Allotment>,
    pods: &[(&Pod, &[ContainerPlacement])],
    actual: &ActualTree,
) -> Cpusets {
    let layout = Layout::default();
    cpusets(&Inputs {
        layout: &layout,
        allotment,
        pods,
        actual,
    })
}

fn shown(sets: &Cpusets) -> Vec<String> {
    sets.cpus
        .iter()
        .map(|(path, cpus)| format!("{path} {cpus}"))
        .collect()
}

/// A tree with these lists, and these effective ones where they are others.
fn tree(cgroups: &[(&str, &str, &str)]) -> ActualTree {
    let cgroup = |(path, list, has): &(&str, &str, &str)| {
        let values = [
            (ControlFile::CpusetCpus, (*list).to_owned()),
            (ControlFile::CpusetCpusEffective, (*has).to_owned()),
        ];
        let cgroup = ActualCgroup {
            id: CgroupId(1),
            enabled: BTreeSet::new(),
            values: values.into(),
            populated: true,
        };
        (CgroupPath::parse(path).unwrap(), cgroup)
    };
    ActualTree {
        cgroups: cgroups.iter().map(cgroup).collect(),
        ..ActualTree::default()
    }
}

#[test]
fn with_nothing_given_out_there_are_no_lists() {
    let node = two_nodes().allotment(STATIC);
    let web = simple("web", "cpu=1", "");
    let sets = lists(Some(&node), &[(&web, &[])], &ActualTree::default());
    assert_eq!(shown(&sets), Vec::<String>::new());
}

#[test]
fn a_grant_is_a_list_for_each_class_and_one_for_the_container() {
    let mut node = two_nodes().allotment(STATIC);
    let (db, part, web) = (
        whole("db", 2),
        simple("part", "cpu=500m memory=1Gi", "cpu=500m memory=1Gi"),
        simple("web", "cpu=1", ""),
    );
    node.admit(&db).unwrap();
    let sets = lists(
        Some(&node),
        &[(&db, &[]), (&part, &[]), (&web, &[])],
        &ActualTree::default(),
    );
    let pool = "0,2-8,10-15";
    assert_eq!(
        shown(&sets),
        [
            format!("agent {pool}"),
            format!("besteffort {pool}"),
            format!("burstable {pool}"),
            "poduid-db 1,9".to_owned(),
            "poduid-db/main 1,9".to_owned(),
            format!("poduid-part {pool}"),
        ]
    );
    let exclusive = |path: &str| sets.is_exclusive(&CgroupPath::parse(path).unwrap());
    assert!(exclusive("poduid-db") && exclusive("poduid-db/main"));
    assert!(!exclusive("poduid-part") && !exclusive("burstable"));
}

#[test]
fn in_a_mixed_pod_each_container_has_its_own_list_and_the_levels_above_have_both() {
    let mut node = two_nodes().allotment(&format!(
        "{STATIC}cpuManagerPolicyOptions: {{mixed-pods: \"true\"}}\n"
    ));
    let mixed = pod(
        "m",
        vec![
            container("own", "cpu=2 memory=1Gi", "cpu=2 memory=1Gi"),
            container("side", "cpu=100m", ""),
        ],
    );
    node.admit(&mixed).unwrap();
    let sets = lists(Some(&node), &[(&mixed, &[])], &ActualTree::default());
    assert_eq!(
        shown(&sets),
        [
            "agent 0,2-8,10-15",
            "besteffort 0,2-8,10-15",
            "burstable/poduid-m/own 1,9",
            "burstable/poduid-m/side 0,2-8,10-15",
        ]
    );
}

#[test]
fn what_others_still_have_is_not_started_on() {
    let mut node = two_nodes().allotment(STATIC);
    let (db, web) = (whole("db", 2), simple("web", "cpu=1", ""));
    node.admit(&db).unwrap();
    let pods: [(&Pod, &[ContainerPlacement]); 2] = [(&db, &[]), (&web, &[])];
    let container = CgroupPath::parse("poduid-db/main").unwrap();
    let layout = Layout::default();
    let mut kernel = tree(&[
        ("burstable", "", "0-15"),
        ("burstable/poduid-web/main", "", "0-15"),
        ("poduid-db/main", "", "1,9"),
    ]);
    let sets = lists(Some(&node), &pods, &kernel);
    let why = sets.held_back(&container, &layout, &kernel).unwrap();
    assert_eq!(why.to_string(), "burstable/poduid-web/main still has CPUs 1,9");
    let web_path = CgroupPath::parse("burstable/poduid-web/main").unwrap();
    let why = sets.held_back(&web_path, &layout, &kernel).unwrap();
    assert_eq!(
        why.to_string(),
        "it would run on CPUs 0-15 instead of 0,2-8,10-15"
    );
    kernel = tree(&[
        ("burstable", "0,2-8,10-15", "0,2-8,10-15"),
        ("burstable/poduid-web/main", "", "0,2-8,10-15"),
        ("poduid-db/main", "", "1,9"),
    ]);
    assert_eq!(sets.held_back(&container, &layout, &kernel), None);
    assert_eq!(sets.held_back(&web_path, &layout, &kernel), None);
}

#[test]
fn a_list_that_is_there_stays_one() {
    let kernel = tree(&[
        ("", "", "0-15"),
        ("burstable", "0-3", "0-3"),
        ("burstable/poduid-web/main", "", "0-3"),
    ]);
    let web = simple("web", "cpu=1", "");
    for node in [None, Some(&two_nodes().allotment(STATIC))] {
        let sets = lists(node, &[(&web, &[])], &kernel);
        assert_eq!(shown(&sets), ["burstable 0-15"]);
    }
}

#[test]
fn memory_is_bound_to_the_nodes_that_were_given() {
    let pod = whole("db", 2);
    let given = [ContainerPlacement {
        name: pod.containers[0].name.clone(),
        cpus: None,
        mems: Some(vec![1]),
        why: String::new(),
    }];
    let sets = lists(
        Some(&two_nodes().allotment(STATIC)),
        &[(&pod, &given)],
        &ActualTree::default(),
    );
    let uid = PodUid::parse("uid-db").unwrap();
    let path = Layout::default().container(QosClass::Guaranteed, &uid, &pod.containers[0].name);
    assert_eq!(sets.mems(&path), [1].into());
    assert!(sets.mems(&CgroupPath::ROOT).is_empty());
}
