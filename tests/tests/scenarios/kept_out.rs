//! Pods come to a node that is short of something.

use plimsoll::model::PodPhase;
use plimsoll::model::pressure::Conditions;
use plimsoll_tests::node::FakeNode;

const SLEEPER: &str = "containers: [{name: main, command: [sleep]}]";
const ASKS: &str = "containers: [{name: main, command: [sleep], resources: {requests: {memory: 64Mi}}}]";
const CRITICAL: &str = "priority: 2000000000, containers: [{name: main, command: [sleep]}]";
const TOLERATES: &str = "tolerations: [{key: node.kubernetes.io/memory-pressure, operator: Exists}], \
                         containers: [{name: main, command: [sleep]}]";

const FINE: Conditions = Conditions {
    memory: false,
    disk: false,
    pid: false,
};
const MEMORY: Conditions = Conditions { memory: true, ..FINE };
const DISK: Conditions = Conditions { disk: true, ..FINE };

fn add_all(node: &mut FakeNode) {
    for (name, spec) in [
        ("best-effort", SLEEPER),
        ("burstable", ASKS),
        ("tolerates", TOLERATES),
    ] {
        node.add(name, spec);
    }
    node.add_in("kube-system", "critical", CRITICAL);
    node.seconds(5);
}

fn kept_out(node: &FakeNode) -> Vec<String> {
    let pods = node.report().pods;
    let failed = pods.iter().filter(|pod| pod.phase == PodPhase::Failed);
    failed
        .map(|pod| {
            assert_eq!(pod.reason.as_deref(), Some("Evicted"));
            format!("{}: {}", pod.name, pod.message.as_deref().unwrap_or_default())
        })
        .collect()
}

#[test]
fn short_of_memory_it_takes_no_more_best_effort_pods() {
    let mut node = FakeNode::new();
    node.add("runs", SLEEPER);
    node.set_conditions(MEMORY);
    add_all(&mut node);
    assert_eq!(
        kept_out(&node),
        ["best-effort: The node had condition: [MemoryPressure]."]
    );
    assert_eq!(node.phase("runs"), PodPhase::Running, "who is there stays");
    assert_eq!(node.machine.running().len(), 4);
    assert!(
        node.pod_cgroups()
            .iter()
            .all(|path| !path.contains("best-effort"))
    );
    // Nobody else would make it anew.
    node.set_conditions(FINE);
    node.seconds(5);
    assert_eq!(kept_out(&node), [] as [&str; 0]);
    assert_eq!(node.phase("best-effort"), PodPhase::Running);
    assert!(node.pod("best-effort").reason.is_none());
}

#[test]
fn short_of_disk_it_takes_critical_pods_alone() {
    let mut node = FakeNode::new();
    node.set_conditions(DISK);
    add_all(&mut node);
    assert_eq!(
        kept_out(&node),
        ["best-effort", "burstable", "tolerates"]
            .map(|name| format!("{name}: The node had condition: [DiskPressure]."))
    );
    assert_eq!(node.phase("critical"), PodPhase::Running);
}

#[test]
fn an_agent_started_again_keeps_what_runs_and_keeps_out_what_does_not() {
    let mut node = FakeNode::new();
    node.add("runs", SLEEPER);
    node.set_conditions(MEMORY);
    node.kill_agent();
    node.start_agent();
    node.set_conditions(MEMORY);
    node.seconds(5);
    assert_eq!(node.phase("runs"), PodPhase::Running);
    node.add("late", SLEEPER);
    node.seconds(5);
    assert_eq!(
        kept_out(&node),
        ["late: The node had condition: [MemoryPressure]."]
    );
}

#[test]
fn what_is_kept_out_takes_no_room() {
    let mut node = FakeNode::new();
    node.set_conditions(DISK);
    let asks = |priority: &str| {
        format!(
            "{priority}containers: [{{name: main, command: [sleep], resources: {{requests: {{cpu: '3'}}}}}}]"
        )
    };
    node.add("large", &asks("priority: 1000, "));
    node.add_in("kube-system", "critical", &asks("priority: 2000000000, "));
    node.seconds(5);
    assert_eq!(node.phase("critical"), PodPhase::Running);
    assert_eq!(node.pod("large").reason.as_deref(), Some("Evicted"));
}
