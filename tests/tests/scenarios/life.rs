//! Pods come, run, change and go.

use std::collections::BTreeSet;

use plimsoll::model::{ControlFile, ExitStatus, PodPhase};
use plimsoll_tests::node::{DEAF, FakeNode};

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
    assert!((2..=999).contains(&spec.oom_score_adj.0), "{:?}", spec.oom_score_adj);
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
