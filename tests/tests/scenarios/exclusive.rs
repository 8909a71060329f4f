//! Containers with CPUs of their own, on a node of 2 NUMA nodes with 4 cores of 2 threads each.

use std::time::Duration;

use plimsoll::kernel::cgroup_fs::{CgroupFs as _, FakeKernel};
use plimsoll::model::{
    CgroupPath, ControlFile, CpuId, CpuSet, ExitStatus, Intruder, MilliCpu, PodPhase, Stranger,
};
use plimsoll_tests::node::{FakeNode, STATIC, TWO_NODES};

fn own(cpus: usize) -> String {
    let amounts = format!("{{cpu: {cpus}, memory: 64Mi}}");
    format!(
        "containers: [{{name: main, command: [sleep], resources: {{requests: {amounts}, limits: {amounts}}}}}]"
    )
}

const SHARED: &str = "containers: [{name: main, command: [sleep]}]";
const SHARED_GUARANTEED: &str = "containers: [{name: main, command: [sleep], resources: \
                                 {limits: {cpu: 500m, memory: 64Mi}}}]";

fn has(node: &FakeNode, path: &str) -> String {
    node.read(path, ControlFile::CpusetCpusEffective)
}

#[test]
fn others_leave_before_the_container_starts_and_come_back_after_it() {
    let mut node = FakeNode::of(STATIC, TWO_NODES);
    node.add("web", SHARED);
    node.add("part", SHARED_GUARANTEED);
    let [web, part] = ["besteffort/poduid-web/main", "poduid-part/main"];
    assert_eq!(
        (has(&node, web), has(&node, part)),
        ("0-15".into(), "0-15".into())
    );
    node.add("db", &own(4));
    assert_eq!(node.state("db", "main"), "Running");
    let db = "poduid-db/main";
    assert_eq!(has(&node, db), "1-2,9-10");
    assert_eq!(
        (has(&node, web), has(&node, part)),
        ("0,3-8,11-15".into(), "0,3-8,11-15".into())
    );
    // Nobody throttles a container that can take nothing from others.
    assert_eq!(node.read(db, ControlFile::CpuMax), "max 100000");
    assert_eq!(node.read("poduid-db", ControlFile::CpuMax), "max 100000");
    assert_eq!(node.read(part, ControlFile::CpuMax), "50000 100000");
    node.remove("db");
    assert_eq!(
        (has(&node, web), has(&node, part)),
        ("0-15".into(), "0-15".into())
    );
}

#[test]
fn one_that_does_not_fit_is_refused_and_takes_nothing() {
    let mut node = FakeNode::of(
        &format!("{STATIC}topologyManagerPolicy: single-numa-node\n"),
        TWO_NODES,
    );
    node.add("wide", &own(9));
    assert_eq!(node.phase("wide"), PodPhase::Failed);
    assert_eq!(node.pod("wide").reason.as_deref(), Some("TopologyAffinityError"));
    assert_eq!(
        node.counter("plimsoll_pods_refused_total{reason=\"TopologyAffinityError\"}"),
        1.0
    );
    node.add("db", &own(7));
    assert_eq!(node.state("db", "main"), "Running");
}

#[test]
fn a_container_waits_until_the_others_have_left() {
    let mut node = FakeNode::of(STATIC, TWO_NODES);
    node.add("web", SHARED);
    node.machine
        .refuse("besteffort", ControlFile::CpusetCpus, 16, 1000);
    node.add("db", &own(2));
    assert_eq!(node.pod("db").reason.as_deref(), Some("WaitingForCpus"));
    assert_eq!(
        node.pod("db").message.as_deref(),
        Some("besteffort/poduid-web/main still has CPUs 1,9")
    );
    assert_eq!(node.machine.running().len(), 1);
    node.machine.refuse_nothing();
    node.pass();
    assert_eq!(node.state("db", "main"), "Running");
}

#[test]
fn growing_waits_for_nothing_that_it_has_and_shrinking_gives_back() {
    let mut node = FakeNode::of(STATIC, TWO_NODES);
    node.add("web", SHARED);
    node.add("db", &own(2));
    let process = node.process("db", "main");
    node.add("db", &own(4));
    assert_eq!(node.process("db", "main"), process);
    assert_eq!(has(&node, "poduid-db/main"), "1-2,9-10");
    assert_eq!(has(&node, "besteffort/poduid-web/main"), "0,3-8,11-15");
    node.add("db", &own(2));
    let kept = CpuSet::parse(&has(&node, "poduid-db/main")).unwrap();
    assert_eq!((node.process("db", "main"), kept.len()), (process, 2));
    let pool = CpuSet::parse(&has(&node, "besteffort/poduid-web/main")).unwrap();
    assert_eq!((pool.len(), pool.is_disjoint(&kept)), (14, true));
    // More than there is: it runs on as it was.
    node.add("db", &own(15));
    assert_eq!(node.pod("db").reason.as_deref(), Some("PodResizePending"));
    assert_eq!(has(&node, "poduid-db/main"), kept.to_string());
}

/// A node with two containers on CPUs of their own and one that shares.
fn busy() -> FakeNode {
    let mut node = FakeNode::of(STATIC, TWO_NODES);
    node.add("web", SHARED);
    node.add("db", &own(4));
    node.add("queue", &own(2));
    node
}

fn places(node: &FakeNode) -> [String; 3] {
    [
        "besteffort/poduid-web/main",
        "poduid-db/main",
        "poduid-queue/main",
    ]
    .map(|path| has(node, path))
}

#[test]
fn whatever_is_left_of_the_file_a_restarted_agent_keeps_every_container_where_it_is() {
    type Loss = (&'static str, fn(&FakeNode));
    let losses: [Loss; 4] = [
        ("nothing", |_| {}),
        ("the file", |node| {
            std::fs::remove_file(node.checkpoint()).unwrap();
        }),
        ("its sense", |node| {
            std::fs::write(node.checkpoint(), "{").unwrap();
        }),
        ("a record", |node| node.lose_record("db")),
    ];
    for (lost, lose) in losses {
        let mut node = busy();
        let (before, db) = (places(&node), node.process("db", "main"));
        node.kill_agent();
        lose(&node);
        node.start_agent();
        node.seconds(3);
        assert_eq!(places(&node), before, "lost: {lost}");
        assert_eq!(node.process("db", "main"), db);
        node.add("late", &own(2));
        assert_eq!(places(&node)[1..], before[1..], "lost: {lost}");
        assert_eq!(node.state("late", "main"), "Running");
    }
}

#[test]
fn a_container_that_is_down_has_its_cpus_again_after_a_restart() {
    let mut node = busy();
    let before = places(&node);
    // The first end is followed by a start at once, the second by one after 10 seconds.
    node.exit("db", "main", ExitStatus::Code(1));
    node.exit("db", "main", ExitStatus::Code(1));
    assert_eq!(node.state("db", "main"), "CrashLoopBackOff");
    node.restart_agent();
    node.add("late", &own(4));
    node.seconds(15);
    assert_eq!(node.state("db", "main"), "Running");
    assert_eq!(places(&node)[1..], before[1..]);
}

#[test]
fn without_the_policy_everybody_has_everything_again() {
    let mut node = busy();
    node.kill_agent();
    node.configure("");
    node.start_agent();
    node.pass();
    assert_eq!(places(&node), ["0-15", "0-15", "0-15"]);
    node.kill_agent();
    node.configure(STATIC);
    node.start_agent();
    node.seconds(2);
    let [web, db, queue] = places(&node).map(|cpus| CpuSet::parse(&cpus).unwrap());
    assert_eq!((db.len(), queue.len(), web.len()), (4, 2, 10));
    assert!(db.is_disjoint(&queue) && web.is_disjoint(&db) && web.is_disjoint(&queue));
}

#[test]
fn a_task_of_another_pod_that_is_still_there_is_waited_for_and_the_systems_are_not() {
    let mut node = FakeNode::of(STATIC, TWO_NODES);
    let stranger = |kind| Intruder {
        cpu: CpuId::new(1).unwrap(),
        kind,
        pid: 70,
        tid: 70,
        comm: "burn".to_owned(),
        cgroup: None,
    };
    node.strangers = vec![stranger(Stranger::Pod)];
    node.add("db", &own(2));
    assert_eq!(node.machine.running(), []);
    node.strangers = vec![stranger(Stranger::System), stranger(Stranger::KernelThread)];
    node.advance(Duration::from_millis(3));
    assert_eq!(node.state("db", "main"), "Running");
    let grant = node.container("db", "main").cpus.unwrap().grant.unwrap();
    assert_eq!(grant.clean_after, Some(Duration::from_millis(1)));
}

#[test]
fn a_list_that_somebody_widens_is_narrowed_within_a_pass() {
    let mut node = FakeNode::of(STATIC, TWO_NODES);
    node.add("db", &own(2));
    // Many others, so that the slices of the read-back take long to come around.
    for number in 0..50 {
        node.add(&format!("web{number}"), SHARED);
    }
    for path in ["poduid-db/main", "poduid-db", "besteffort"] {
        let before = has(&node, path);
        node.meddle(path, ControlFile::CpusetCpus, "0-15");
        node.pass();
        assert_eq!(has(&node, path), before, "{path}");
    }
}

#[test]
fn a_cpu_that_goes_is_replaced_where_it_was_somebodys_own_and_may_come_back() {
    let mut node = busy();
    let [_, db, queue] = places(&node);
    assert_eq!(db, "1-2,9-10");
    let process = node.process("db", "main");
    let before = node.report().allocatable_cpu;
    node.set_online("2", false);
    node.seconds(2);
    let [web, now, still] = places(&node).map(|cpus| CpuSet::parse(&cpus).unwrap());
    let kept = CpuSet::parse("1,9-10").unwrap();
    assert!(kept.is_subset(&now) && now.len() == 4, "{now}");
    assert_eq!((node.process("db", "main"), still.to_string()), (process, queue));
    assert!(web.is_disjoint(&now) && web.len() == 9, "{web}");
    assert_eq!(node.report().allocatable_cpu, MilliCpu(before.0 - 1000));
    assert!(
        node.report()
            .cpus
            .unwrap()
            .changes
            .iter()
            .any(|change| change.contains("2 online: false"))
    );
    node.set_online("2", true);
    node.seconds(2);
    assert_eq!(CpuSet::parse(&places(&node)[0]).unwrap().len(), 10);
    assert_eq!(node.report().allocatable_cpu, before);
    assert_eq!(node.machine.together(), Vec::<String>::new());
}

#[test]
fn partitions_are_made_follow_the_cpus_and_end_with_them() {
    let isolated = format!("{STATIC}cpusetPartition: isolated\n");
    let mut node = FakeNode::of(&isolated, TWO_NODES);
    node.add("web", SHARED);
    node.add("db", &own(2));
    let db = "poduid-db/main";
    let partition = |node: &FakeNode| node.container("db", "main").cpus.unwrap().partition;
    assert_eq!(node.read(db, ControlFile::CpusetPartition), "isolated");
    assert_eq!(partition(&node).as_deref(), Some("isolated"));
    assert_eq!(has(&node, ""), "0,2-8,10-15");
    node.restart_agent();
    assert_eq!(
        (node.state("db", "main"), partition(&node).as_deref()),
        ("Running (adopted)".into(), Some("isolated"))
    );
    node.add("db", &own(4));
    assert_eq!(
        (has(&node, db), has(&node, "")),
        ("1-2,9-10".into(), "0,3-8,11-15".into())
    );
    assert_eq!(node.read(db, ControlFile::CpusetPartition), "isolated");
    node.remove("db");
    assert_eq!(
        (has(&node, ""), node.read("", ControlFile::CpusetCpusExclusive)),
        ("0-15".into(), String::new())
    );
    assert!(node.machine.cgroups.lost_cpus().is_empty());
}

#[test]
fn a_refused_partition_is_told_with_the_kernels_reason_and_the_container_runs_without() {
    let isolated = format!("{STATIC}cpusetPartition: isolated\n");
    let mut node = FakeNode::on(&isolated, TWO_NODES, FakeKernel::Linux6_1);
    node.add("db", &own(2));
    assert_eq!(node.state("db", "main"), "Running");
    let told = node.container("db", "main").cpus.unwrap().partition.unwrap();
    assert!(told.contains("Parent is not a partition root"), "{told}");
    assert_eq!(
        node.read("poduid-db/main", ControlFile::CpusetPartition),
        "member"
    );
}

#[test]
fn a_cgroup_that_somebody_makes_anew_gets_its_cpus_within_a_pass() {
    let mut node = busy();
    for number in 0..50 {
        node.add(&format!("web{number}"), SHARED);
    }
    let before = places(&node);
    let db = CgroupPath::parse("poduid-db/main").unwrap();
    node.machine.remove(&db);
    node.machine.cgroups.create(&db).unwrap();
    node.pass();
    assert_eq!(node.state("db", "main"), "Running");
    assert_eq!(places(&node)[1..], before[1..]);
    assert_eq!(node.machine.together(), Vec::<String>::new());
}

#[test]
fn a_change_that_waits_for_cpus_gets_those_of_a_pod_that_goes() {
    let mut node = FakeNode::of(STATIC, TWO_NODES);
    node.add("db", &own(7));
    node.add("queue", &own(7));
    let process = node.process("db", "main");
    node.add("db", &own(9));
    assert_eq!(node.pod("db").reason.as_deref(), Some("PodResizePending"));
    node.remove("queue");
    node.pass();
    assert_eq!(
        (node.pod("db").reason, node.process("db", "main")),
        (None, process)
    );
    let has = CpuSet::parse(&has(&node, "poduid-db/main")).unwrap();
    assert_eq!(has.len(), 9);
}

#[test]
fn a_pod_that_comes_again_and_again_gets_its_cpus_each_time() {
    let mut node = FakeNode::of(STATIC, TWO_NODES);
    node.add("web", SHARED);
    for _ in 0..5 {
        node.add("db", &own(2));
        assert_eq!(
            (node.state("db", "main"), has(&node, "poduid-db/main")),
            ("Running".into(), "1,9".into())
        );
        node.remove("db");
        assert!(node.find("db").is_none());
    }
}
