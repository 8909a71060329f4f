//! Pods are evicted.

use std::collections::BTreeSet;
use std::time::Duration;

use plimsoll::model::{CgroupId, PodPhase};
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
