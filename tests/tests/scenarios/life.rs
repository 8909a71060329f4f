//! Pods come, run, change and go.

use std::collections::BTreeSet;

use plimsoll::model::{ControlFile, ExitStatus, PodPhase};
use plimsoll_tests::node::{DEAF, FakeNode, STUCK};

const SLEEPER: &str = "containers: [{name: main, command: [sleep]}]";

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_pod_is_placed_with_every_value_and_then_started() {
    let mut node = FakeNode::new();
    node.add(
        "web",
        "containers: [{name: main, command: [sleep], resources: {requests: {cpu: 500m, memory: 64Mi}, \
         limits: {cpu: '1', memory: 128Mi}}}]",
    );
    assert_eq!(node.phase("web"), PodPhase::Running);
    let (pod, main) = ("burstable/poduid-web", "burstable/poduid-web/main");
    assert_eq!(node.pod_cgroups(), set(&[pod, main]));
    let running = node.machine.running();
    assert_eq!(running.len(), 1);
    assert_eq!(running[0].1.to_string(), main);
    let values = [
        (pod, ControlFile::CpuMax, "100000 100000"),
        (main, ControlFile::CpuMax, "100000 100000"),
        (main, ControlFile::CpuWeight, "59"),
        (pod, ControlFile::MemoryMax, "134217728"),
        (main, ControlFile::MemoryMax, "134217728"),
        (main, ControlFile::MemoryLow, "67108864"),
        (pod, ControlFile::MemoryLow, "67108864"),
        ("burstable", ControlFile::MemoryLow, "67108864"),
        (main, ControlFile::MemorySwapMax, "0"),
        (main, ControlFile::MemoryOomGroup, "1"),
    ];
    for (path, file, value) in values {
        assert_eq!(node.read(path, file), value, "{path}/{file}");
    }
    let (_, spec) = node.machine.processes.running().remove(0);
    assert_eq!(spec.oom_score_adj, node.container("web", "main").oom_score_adj);
    assert!(
        (2..=999).contains(&spec.oom_score_adj.0),
        "{:?}",
        spec.oom_score_adj
    );
}

#[test]
fn a_removed_pod_gets_its_signal_and_takes_everything_with_it() {
    let mut node = FakeNode::new();
    node.add("web", SLEEPER);
    let log = node.container("web", "main").log_path.unwrap();
    assert!(std::path::Path::new(&log).exists() && node.has_record("web"));
    node.remove("web");
    assert_eq!(node.machine.running(), []);
    assert!(node.find("web").is_none());
    assert_eq!(node.pod_cgroups(), set(&[]));
    assert!(!std::path::Path::new(&log).exists() && !node.has_record("web"));
}

#[test]
fn a_process_that_ignores_sigterm_is_killed_when_its_grace_is_over() {
    let mut node = FakeNode::new();
    node.add(
        "web",
        &format!("terminationGracePeriodSeconds: 7, containers: [{{name: main, command: [{DEAF}]}}]"),
    );
    node.remove("web");
    node.seconds(6);
    assert_eq!(node.machine.running().len(), 1);
    node.seconds(1);
    assert_eq!(node.machine.running(), []);
    node.seconds(1);
    assert!(node.find("web").is_none());
    assert_eq!(node.pod_cgroups(), set(&[]));
}

#[test]
fn a_container_that_ends_again_and_again_backs_off() {
    let mut node = FakeNode::new();
    node.add("web", SLEEPER);
    for wait in [0, 10, 20, 40, 80, 160, 300, 300] {
        node.seconds(1);
        node.exit("web", "main", ExitStatus::Code(1));
        if wait > 0 {
            assert_eq!(node.state("web", "main"), "CrashLoopBackOff");
            node.seconds(wait - 1);
            assert_eq!(node.machine.running(), [], "before {wait} s");
            node.seconds(1);
        }
        assert_eq!(node.state("web", "main"), "Running", "after {wait} s");
    }
    assert_eq!(node.container("web", "main").restarts, 8);
    node.seconds(600);
    node.exit("web", "main", ExitStatus::Code(1));
    assert_eq!(node.state("web", "main"), "Running", "ten minutes are health");
}

#[test]
fn restart_policies_decide_what_starts_again() {
    for (policy, status, again, phase) in [
        ("Never", ExitStatus::Code(0), false, PodPhase::Succeeded),
        ("Never", ExitStatus::Signal(11), false, PodPhase::Failed),
        ("OnFailure", ExitStatus::Code(0), false, PodPhase::Succeeded),
        ("OnFailure", ExitStatus::Code(3), true, PodPhase::Running),
        ("Always", ExitStatus::Code(0), true, PodPhase::Running),
    ] {
        let mut node = FakeNode::new();
        node.add("job", &format!("restartPolicy: {policy}, {SLEEPER}"));
        node.exit("job", "main", status);
        node.seconds(20);
        assert_eq!(!node.machine.running().is_empty(), again, "{policy} {status:?}");
        assert_eq!(node.phase("job"), phase, "{policy} {status:?}");
    }
}

#[test]
fn init_containers_and_sidecars_come_first_and_in_order() {
    let mut node = FakeNode::new();
    node.add(
        "web",
        "initContainers: [{name: one, command: [sleep]}, {name: side, restartPolicy: Always, command: [sleep]}, \
         {name: two, command: ['true']}], containers: [{name: main, command: [sleep]}]",
    );
    let running = |node: &FakeNode| -> Vec<String> {
        let running = node.machine.running().into_iter();
        running.map(|(_, path)| path.name().unwrap().to_owned()).collect()
    };
    assert_eq!(running(&node), ["one"]);
    assert_eq!(node.phase("web"), PodPhase::Pending);
    node.exit("web", "one", ExitStatus::Code(1));
    assert_eq!(
        running(&node),
        ["one"],
        "an init container that failed comes again"
    );
    node.exit("web", "one", ExitStatus::Code(0));
    assert_eq!(running(&node), ["side", "main"]);
    assert_eq!(node.state("web", "two"), "Completed");
    node.exit("web", "side", ExitStatus::Code(0));
    assert_eq!(
        running(&node),
        ["main", "side"],
        "a sidecar comes again, and its pod runs on"
    );
}

#[test]
fn a_pod_that_ended_for_good_leaves_its_place_to_others() {
    let mut node = FakeNode::new();
    let spec = "restartPolicy: Never, containers: [{name: main, command: [sleep], resources: {requests: {cpu: '3'}}}]";
    node.add("first", spec);
    node.add("second", spec);
    let refused = node.pod("second");
    assert_eq!(
        (refused.phase, refused.reason.as_deref()),
        (PodPhase::Failed, Some("OutOfcpu"))
    );
    node.exit("first", "main", ExitStatus::Code(0));
    assert_eq!(node.phase("first"), PodPhase::Succeeded);
    assert_eq!(node.state("second", "main"), "Running");
    let only = set(&["burstable/poduid-second", "burstable/poduid-second/main"]);
    assert_eq!(node.pod_cgroups(), only);

    node.restart_agent();
    assert_eq!(
        node.pod_cgroups(),
        only,
        "a pod that is over gets no place at a restart of the agent"
    );
    assert_eq!(node.phase("first"), PodPhase::Succeeded);
    assert_eq!(node.pod("first").reason, None);
    assert_eq!(
        node.counter("plimsoll_container_exits_total{reason=\"Completed\"}"),
        0.0,
        "it ended before"
    );
    node.remove("first");
    assert!(node.find("first").is_none());
}

#[test]
fn a_pod_that_does_not_fit_is_refused_with_the_numbers_and_comes_when_there_is_room() {
    for (resource, reason, numbers) in [
        (
            "cpu: 2500m",
            "OutOfcpu",
            "cpu, requested: 2500, used: 2500, capacity: 4000",
        ),
        (
            "memory: 5Gi",
            "OutOfmemory",
            "memory, requested: 5368709120, used: 5368709120, capacity: 8417968128",
        ),
    ] {
        let mut node = FakeNode::new();
        let spec = format!(
            "containers: [{{name: main, command: [sleep], resources: {{requests: {{{resource}}}}}}}]"
        );
        node.add("first", &spec);
        let first = node.process("first", "main");
        node.add("second", &spec);
        let refused = node.pod("second");
        assert_eq!(
            (refused.phase, refused.reason.as_deref()),
            (PodPhase::Failed, Some(reason))
        );
        assert_eq!(
            refused.message.unwrap(),
            format!("Node didn't have enough resource: {numbers}")
        );
        node.seconds(30);
        assert_eq!(node.process("first", "main"), first);
        assert_eq!(
            node.counter(&format!("plimsoll_pods_refused_total{{reason=\"{reason}\"}}")),
            1.0
        );
        node.remove("first");
        node.seconds(1);
        assert_eq!(node.state("second", "main"), "Running");
        assert_eq!(node.machine.running().len(), 1);
    }
}

#[test]
fn changed_resources_change_the_values_under_the_running_process() {
    let mut node = FakeNode::new();
    let spec = |cpu: &str, memory: &str| {
        format!(
            "containers: [{{name: main, command: [sleep], resources: {{requests: {{cpu: {cpu}, memory: {memory}}}, \
             limits: {{cpu: {cpu}, memory: {memory}}}}}}}]"
        )
    };
    node.add("web", &spec("500m", "64Mi"));
    let process = node.process("web", "main");
    let main = "poduid-web/main";
    assert_eq!(node.read(main, ControlFile::MemoryMax), "67108864");
    node.add("web", &spec("250m", "96Mi"));
    node.seconds(5);
    assert_eq!(node.process("web", "main"), process);
    assert_eq!(node.container("web", "main").restarts, 0);
    for path in ["poduid-web", main] {
        assert_eq!(node.read(path, ControlFile::MemoryMax), "100663296");
        assert_eq!(node.read(path, ControlFile::CpuMax), "25000 100000");
    }
}

#[test]
fn a_change_that_requests_more_than_there_is_waits_until_there_is_room() {
    let mut node = FakeNode::new();
    let spec = |cpu: &str| {
        format!("containers: [{{name: main, command: [sleep], resources: {{requests: {{cpu: {cpu}}}}}}}]")
    };
    node.add("web", &spec("1"));
    node.add("other", &spec("2500m"));
    let process = node.process("web", "main");
    let weight = node.read("burstable/poduid-web", ControlFile::CpuWeight);
    node.add("web", &spec("2"));
    let pod = node.pod("web");
    assert_eq!(
        (pod.phase, pod.reason.as_deref(), pod.message.as_deref()),
        (
            PodPhase::Running,
            Some("PodResizePending"),
            Some("Node didn't have enough resource: cpu, requested: 2000, used: 2500, capacity: 4000")
        )
    );
    assert_eq!(node.read("burstable/poduid-web", ControlFile::CpuWeight), weight);
    node.remove("other");
    node.seconds(1);
    assert_eq!(node.pod("web").reason, None);
    assert_ne!(node.read("burstable/poduid-web", ControlFile::CpuWeight), weight);
    assert_eq!(node.process("web", "main"), process);
}

#[test]
fn a_changed_command_replaces_the_process_and_a_new_container_joins() {
    let mut node = FakeNode::new();
    node.add(
        "web",
        "containers: [{name: main, command: [sleep, '1']}, {name: old, command: [sleep]}]",
    );
    let before = node.process("web", "main");
    node.add(
        "web",
        "containers: [{name: main, command: [sleep, '2']}, {name: new, command: [sleep]}]",
    );
    node.seconds(2);
    assert_ne!(node.process("web", "main"), before);
    assert_eq!(node.state("web", "new"), "Running");
    assert_eq!(node.machine.running().len(), 2);
    let pod = "besteffort/poduid-web";
    assert_eq!(
        node.pod_cgroups(),
        set(&[pod, &format!("{pod}/main"), &format!("{pod}/new")])
    );
    assert_eq!(
        node.counter("plimsoll_container_exits_total{reason=\"StartError\"}"),
        0.0
    );
}

#[test]
fn a_container_that_an_update_removes_has_its_grace_too() {
    let mut node = FakeNode::new();
    node.add(
        "web",
        &format!("containers: [{{name: main, command: [sleep]}}, {{name: old, command: [{DEAF}]}}]"),
    );
    assert_eq!(node.machine.running().len(), 2);
    node.add("web", SLEEPER);
    node.seconds(29);
    assert_eq!(node.machine.running().len(), 2, "30 s are its grace");
    node.seconds(3);
    assert_eq!(node.machine.running().len(), 1);
    let pod = "besteffort/poduid-web";
    assert_eq!(node.pod_cgroups(), set(&[pod, &format!("{pod}/main")]));
}

#[test]
fn a_pod_that_is_wanted_again_while_it_stops_comes_back() {
    let mut node = FakeNode::new();
    let spec = format!("terminationGracePeriodSeconds: 5, containers: [{{name: main, command: [{DEAF}]}}]");
    node.add("web", &spec);
    let before = node.process("web", "main");
    node.remove("web");
    node.seconds(2);
    node.add("web", &spec);
    assert_eq!(node.process("web", "main"), before, "it is on its way out");
    node.seconds(10);
    assert_ne!(node.process("web", "main"), before);
    assert_eq!(node.machine.running().len(), 1);
    assert_eq!(
        node.container("web", "main").restarts,
        0,
        "it is another instance"
    );
}

#[test]
fn what_the_kernel_holds_keeps_its_cgroup_and_nothing_else() {
    let mut node = FakeNode::new();
    node.add(
        "held",
        &format!("terminationGracePeriodSeconds: 2, containers: [{{name: main, command: [{STUCK}]}}]"),
    );
    node.add("web", SLEEPER);
    let web = node.process("web", "main");
    node.remove("held");
    node.seconds(60);
    assert_eq!(node.process("web", "main"), web);
    assert_eq!(node.machine.running().len(), 2);
    node.add("held", SLEEPER);
    node.seconds(5);
    assert_eq!(
        node.machine.running().len(),
        2,
        "no second instance beside the one that is held"
    );
    node.machine.release_stuck();
    node.seconds(5);
    assert_eq!(node.state("held", "main"), "Running");
    node.remove("held");
    node.seconds(2);
    let pod = "besteffort/poduid-web";
    assert_eq!(node.pod_cgroups(), set(&[pod, &format!("{pod}/main")]));
}

#[test]
fn a_pod_that_changes_its_class_is_another_instance_in_another_place() {
    let mut node = FakeNode::new();
    node.add("web", &SLEEPER.replace("sleep", DEAF));
    let before = node.process("web", "main");
    node.add(
        "web",
        "containers: [{name: main, command: [sleep], resources: {limits: {cpu: '1', memory: 64Mi}}}]",
    );
    node.seconds(29);
    assert_eq!(node.process("web", "main"), before, "30 s are its grace");
    node.seconds(3);
    assert_eq!(node.pod_cgroups(), set(&["poduid-web", "poduid-web/main"]));
    assert_eq!(node.state("web", "main"), "Running");
    assert_eq!(node.machine.running().len(), 1);
}

#[test]
fn a_pod_that_is_over_comes_back_when_its_manifest_wants_it_to() {
    let mut node = FakeNode::new();
    node.add("job", &format!("restartPolicy: Never, {SLEEPER}"));
    node.exit("job", "main", ExitStatus::Code(0));
    assert_eq!(
        (node.phase("job"), node.pod_cgroups()),
        (PodPhase::Succeeded, set(&[]))
    );
    node.add("job", &format!("restartPolicy: Always, {SLEEPER}"));
    node.seconds(20);
    assert_eq!(node.state("job", "main"), "Running");
}
