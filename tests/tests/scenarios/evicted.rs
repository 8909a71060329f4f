//! Pods are evicted.

use std::collections::BTreeSet;
use std::time::Duration;

use plimsoll::model::{CgroupId, ControlFile, MilliCpu, PodPhase};
use plimsoll_tests::node::{DEAF, FakeNode};

const SLEEPER: &str = "containers: [{name: main, command: [sleep]}]";
const AT_ONCE: Duration = Duration::ZERO;

fn cgroup(node: &FakeNode, pod: &str) -> CgroupId {
    node.pod(pod).cgroup.id.unwrap()
}

#[test]
fn an_evicted_pod_ends_for_good_and_says_why() {
    let mut node = FakeNode::new();
    node.add("hog", &format!("restartPolicy: Always, {SLEEPER}"));
    node.add("web", SLEEPER);
    let id = cgroup(&node, "hog");
    assert!(node.evict("hog", id, AT_ONCE, "uses 400Mi, asks for 64Mi"));
    node.seconds(600);
    let hog = node.pod("hog");
    assert_eq!(hog.phase, PodPhase::Failed);
    assert_eq!(hog.reason.as_deref(), Some("Evicted"));
    assert_eq!(hog.message.as_deref(), Some("uses 400Mi, asks for 64Mi"));
    assert!(node.pod_cgroups().iter().all(|path| !path.contains("hog")));
    assert_eq!(node.phase("web"), PodPhase::Running);
    assert_eq!(node.machine.running().len(), 1);
    // It is known until nobody asks for it any more, and begins anew for a new manifest.
    node.remove("hog");
    node.seconds(1);
    assert!(node.find("hog").is_none() && !node.has_record("hog"));
    node.add("hog", SLEEPER);
    assert_eq!(node.phase("hog"), PodPhase::Running);
}

#[test]
fn an_agent_started_again_leaves_it_evicted() {
    for while_it_ends in [false, true] {
        let mut node = FakeNode::new();
        node.add(
            "hog",
            &format!("terminationGracePeriodSeconds: 60, containers: [{{name: main, command: [{DEAF}]}}]"),
        );
        let id = cgroup(&node, "hog");
        assert!(node.evict("hog", id, Duration::from_secs(5), "no memory"));
        node.seconds(if while_it_ends { 1 } else { 10 });
        assert_eq!(node.machine.running().len(), usize::from(while_it_ends));
        node.restart_agent();
        node.seconds(10);
        assert_eq!(node.machine.running(), []);
        assert_eq!(node.phase("hog"), PodPhase::Failed);
        assert_eq!(node.pod("hog").reason.as_deref(), Some("Evicted"));
        assert_eq!(node.pod_cgroups(), BTreeSet::new());
    }
}

#[test]
fn what_it_held_is_free_for_others() {
    let mut node = FakeNode::new();
    let asks = |cpu| {
        format!("containers: [{{name: main, command: [sleep], resources: {{requests: {{cpu: '{cpu}'}}}}}}]")
    };
    node.add("hog", &asks(3));
    node.add("next", &asks(3));
    assert_eq!(node.pod("next").reason.as_deref(), Some("OutOfcpu"));
    let id = cgroup(&node, "hog");
    assert!(node.evict("hog", id, AT_ONCE, "no memory"));
    node.seconds(5);
    assert_eq!(node.phase("next"), PodPhase::Running);
}

#[test]
fn another_instance_is_left_alone() {
    let mut node = FakeNode::new();
    node.add("hog", SLEEPER);
    let id = cgroup(&node, "hog");
    node.remove("hog");
    node.seconds(3);
    node.add("hog", SLEEPER);
    assert!(!node.evict("hog", id, AT_ONCE, "no memory"));
    node.seconds(5);
    assert_eq!(node.phase("hog"), PodPhase::Running);
}

#[test]
fn less_cpu_for_its_class_does_not_hold_up_a_victim() {
    let mut node = FakeNode::new();
    let deaf = format!("terminationGracePeriodSeconds: 60, containers: [{{name: main, command: [{DEAF}]}}]");
    let asks =
        format!("containers: [{{name: main, command: [{DEAF}], resources: {{requests: {{memory: 64Mi}}}}}}]");
    let cpu = |node: &FakeNode| node.read("besteffort", ControlFile::CpuMax).trim().to_owned();
    node.add("hog", &deaf);
    node.add("other", SLEEPER);
    node.add("burstable", &asks);
    node.hold_best_effort(Some(MilliCpu(250)));
    assert_eq!(cpu(&node), "25000 100000");
    let (hog, burstable) = (cgroup(&node, "hog"), cgroup(&node, "burstable"));
    assert!(node.evict("burstable", burstable, Duration::from_secs(5), "no memory"));
    assert_eq!(cpu(&node), "25000 100000", "it is of another class");
    assert!(node.evict("hog", hog, Duration::from_secs(5), "no memory"));
    assert_eq!(cpu(&node), "max 100000");
    node.seconds(2);
    assert_eq!(cpu(&node), "max 100000", "it is still there");
    node.seconds(10);
    assert_eq!(cpu(&node), "25000 100000", "the rung is still in force");
    assert_eq!(node.phase("other"), PodPhase::Running);
    node.hold_best_effort(None);
    assert_eq!(cpu(&node), "max 100000");
}

#[test]
fn an_agent_started_again_gives_best_effort_its_cpu_back() {
    let mut node = FakeNode::new();
    node.add("web", SLEEPER);
    node.hold_best_effort(Some(MilliCpu(250)));
    node.kill_agent();
    node.start_agent();
    node.seconds(1);
    let limit = node.read("besteffort", ControlFile::CpuMax);
    assert_eq!(limit.trim(), "max 100000");
}
