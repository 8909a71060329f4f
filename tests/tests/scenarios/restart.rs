//! The agent is killed and started again.

use plimsoll::model::{ControlFile, ExitStatus};
use plimsoll_tests::node::{DEAF, FakeNode};

const SLEEPER: &str = "containers: [{name: main, command: [sleep]}, {name: other, command: [sleep]}]";

/// A node on which `web` runs and the agent does not, maybe with the pod's record lost.
fn away_from_web(lost: bool) -> FakeNode {
    let mut node = FakeNode::new();
    node.add("web", SLEEPER);
    let before = node.machine.running();
    node.kill_agent();
    assert_eq!(node.machine.running(), before);
    if lost {
        node.lose_record("web");
    }
    node
}

#[test]
fn what_runs_is_adopted_and_not_started_again() {
    for lost in [false, true] {
        let mut node = away_from_web(lost);
        let before = node.machine.running();
        node.start_agent();
        node.seconds(30);
        assert_eq!(node.machine.running(), before, "record lost: {lost}");
        assert_eq!(node.state("web", "main"), "Running (adopted)");
        assert_eq!(node.container("web", "main").restarts, 0);
        // It is supervised as before.
        node.exit("web", "main", ExitStatus::Code(1));
        node.seconds(1);
        assert_eq!(node.state("web", "main"), "Running");
        assert_eq!(node.state("web", "other"), "Running (adopted)");
    }
}

#[test]
fn a_pod_without_its_record_keeps_its_place_against_a_newcomer() {
    let mut node = FakeNode::new();
    let spec = |priority: &str| {
        format!(
            "{priority}containers: [{{name: main, command: [sleep], resources: {{requests: {{cpu: '3'}}}}}}]"
        )
    };
    node.add("old", &spec(""));
    let before = node.machine.running();
    node.kill_agent();
    node.lose_record("old");
    node.add("new", &spec("priority: 1000, "));
    node.start_agent();
    assert_eq!(node.machine.running(), before);
    assert_eq!(node.pod("new").reason.as_deref(), Some("OutOfcpu"));
}

#[test]
fn what_ended_meanwhile_is_started_again() {
    let mut node = FakeNode::new();
    node.add("web", SLEEPER);
    let main = node.process("web", "main");
    node.kill_agent();
    node.machine.end(main, ExitStatus::Code(0));
    node.start_agent();
    node.seconds(1);
    assert_ne!(node.process("web", "main"), main);
    assert_eq!(node.state("web", "other"), "Running (adopted)");
}

#[test]
fn a_stop_that_had_begun_goes_on_with_the_same_grace() {
    let mut node = FakeNode::new();
    node.add(
        "web",
        &format!("terminationGracePeriodSeconds: 20, containers: [{{name: main, command: [{DEAF}]}}]"),
    );
    node.remove("web");
    node.seconds(5);
    node.kill_agent();
    node.seconds(5);
    node.start_agent();
    node.seconds(9);
    assert_eq!(node.machine.running().len(), 1);
    node.seconds(2);
    assert_eq!(node.machine.running(), []);
    assert!(node.find("web").is_none() && node.pod_cgroups().is_empty() && !node.has_record("web"));
}

#[test]
fn a_pod_removed_while_the_agent_was_away_is_stopped() {
    for lost in [false, true] {
        let mut node = away_from_web(lost);
        node.remove("web");
        node.start_agent();
        node.seconds(2);
        assert_eq!(node.machine.running(), []);
        assert!(node.pod_cgroups().is_empty(), "record lost: {lost}");
    }
}

#[test]
fn a_pod_whose_manifest_broke_while_the_agent_was_away_runs_on() {
    for lost in [false, true] {
        let mut node = away_from_web(lost);
        let before = node.machine.running();
        node.write("web.yaml", "kind: Pod\nmetadata: [");
        node.start_agent();
        node.seconds(60);
        assert_eq!(node.machine.running(), before, "record lost: {lost}");
        assert_eq!(node.report().manifest_errors.len(), 1);
        node.add("web", SLEEPER);
        node.seconds(5);
        assert_eq!(node.machine.running(), before);
        assert!(node.report().manifest_errors.is_empty());
        node.remove("web");
        node.seconds(2);
        assert_eq!(node.machine.running(), []);
    }
}

#[test]
fn what_was_spared_goes_once_every_manifest_can_be_read() {
    let mut node = away_from_web(true);
    node.write("web.yaml", "kind: Pod\nmetadata: [");
    node.start_agent();
    node.seconds(60);
    assert_eq!(node.machine.running().len(), 2);
    node.remove("web");
    node.seconds(2);
    assert_eq!(node.machine.running(), []);
    assert!(node.pod_cgroups().is_empty());
}

#[test]
fn values_that_changed_while_the_agent_was_away_are_set_before_anything_starts() {
    let mut node = FakeNode::new();
    let limited = "containers: [{name: main, command: [sleep], resources: {limits: {memory: 64Mi}}}]";
    node.add("web", limited);
    node.kill_agent();
    node.meddle("burstable/poduid-web/main", ControlFile::MemoryMax, "max");
    let (process, _) = node.machine.running().remove(0);
    node.machine.end(process, ExitStatus::Code(1));
    node.machine
        .refuse("main", ControlFile::MemoryMax, 22, usize::MAX);
    node.start_agent();
    node.seconds(5);
    assert_eq!(node.machine.running(), [], "its limit could not be set");
    node.machine.refuse_nothing();
    node.seconds(15);
    assert_eq!(node.machine.running().len(), 1);
    assert_eq!(
        node.read("burstable/poduid-web/main", ControlFile::MemoryMax),
        "67108864"
    );
}
