//! Many pods at once: some a turn, and everybody else is heard in between.

use std::time::Duration;

use plimsoll::model::{ControlFile, ExitStatus, PodPhase, Shape};
use plimsoll_tests::node::FakeNode;

const SLEEPER: &str = "restartPolicy: Always, containers: [{name: main, command: [sleep]}]";
const CONFIG: &str = "maxPods: 500\n";
const PODS: usize = 200;
/// What one turn may place or start, at most: far less than all, however exactly it is set.
const FEW: usize = 20;
const EINVAL: i32 = 22;

fn node() -> FakeNode {
    let shape = Shape {
        sockets: 1,
        nodes: 1,
        l3s: 1,
        cores: 4,
        threads: 1,
    };
    FakeNode::of(CONFIG, shape)
}

fn name(pod: usize) -> String {
    format!("batch-{pod}")
}

fn begin(node: &mut FakeNode) {
    let pods: Vec<_> = (0..PODS).map(name).collect();
    node.add_all(pods.iter().map(|name| (name.as_str(), SLEEPER)));
}

/// Turns until nothing waits any more, and how many they were.
fn turns(node: &mut FakeNode) -> usize {
    for turns in 0..2 * PODS {
        let (running, places) = (node.machine.running().len(), node.pod_cgroups().len());
        if !node.turn() {
            return turns;
        }
        assert!(node.machine.running().len() <= running + FEW);
        // A cgroup for the pod, and one for its container.
        assert!(node.pod_cgroups().len() <= places + 2 * FEW);
    }
    panic!("turns without end");
}

#[test]
fn a_batch_is_started_in_turns_and_all_of_it() {
    let mut node = node();
    begin(&mut node);
    let first = node.machine.running().len();
    assert!((2..=FEW).contains(&first), "{first}");
    assert!(turns(&mut node) >= PODS / FEW - 1);
    assert_eq!(node.machine.running().len(), PODS);
    for pod in node.report().pods {
        assert_eq!(
            (pod.phase, pod.message),
            (PodPhase::Running, None),
            "{}",
            pod.name
        );
    }
    // Each was started once, and nothing is left to do.
    node.seconds(60);
    assert_eq!(node.counter("plimsoll_container_starts_total"), PODS as f64);
}

#[test]
fn who_ends_or_is_evicted_while_a_batch_waits_is_heard_at_once() {
    let mut node = node();
    node.add("web", SLEEPER);
    node.add("zz-hog", SLEEPER);
    let hog = node.pod("zz-hog").cgroup.id.unwrap();
    begin(&mut node);
    assert!(node.evict("zz-hog", hog, Duration::ZERO, "no memory"));
    let hog_runs = |node: &FakeNode| {
        let running = node.machine.running();
        running.iter().any(|(_, path)| path.to_string().contains("hog"))
    };
    assert!(!hog_runs(&node), "it has to go before others come");
    node.exit("web", "main", ExitStatus::Code(1));
    assert_eq!(node.container("web", "main").restarts, 1);
    assert!(
        node.machine.running().len() < PODS / 2,
        "the batch is not through"
    );
    turns(&mut node);
    node.seconds(30);
    assert_eq!(node.phase("zz-hog"), PodPhase::Failed);
    // The batch, and the one that is started again.
    assert_eq!(node.machine.running().len(), PODS + 1);
}

#[test]
fn pods_in_trouble_take_nobodys_turn() {
    let mut node = node();
    let broken = 2 * FEW;
    for pod in 0..broken {
        // The ones that come first, by any order of names.
        let at = format!("{}/main", name(100 + pod));
        node.machine
            .refuse(&at, ControlFile::CpuWeight, EINVAL, usize::MAX);
    }
    begin(&mut node);
    turns(&mut node);
    assert_eq!(node.machine.running().len(), PODS - broken);
    node.machine.refuse_nothing();
    node.seconds(2);
    turns(&mut node);
    assert_eq!(node.machine.running().len(), PODS);
}

#[test]
fn a_change_of_all_pods_takes_turns_too_and_restarts_nobody() {
    let mut node = node();
    begin(&mut node);
    turns(&mut node);
    let before = node.machine.running();
    node.kill_agent();
    node.configure(&format!("{CONFIG}podPidsLimit: 77\n"));
    node.start_agent();
    let limited = |node: &FakeNode| {
        let pods = node
            .pod_cgroups()
            .into_iter()
            .filter(|path| !path.ends_with("/main"));
        pods.filter(|pod| node.read(pod, ControlFile::PidsMax) == "77")
            .count()
    };
    assert!(limited(&node) < PODS / 2, "{}", limited(&node));
    turns(&mut node);
    assert_eq!(limited(&node), PODS);
    node.seconds(60);
    assert_eq!(node.machine.running(), before);
}
