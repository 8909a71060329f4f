//! Scenarios of a pod's life, step by step.

use super::*;
use crate::decide::fixtures;
use crate::model::{
    Container, ContainerKind, ContainerPhase, EnvVar, ExitStatus, Pod, ProcessIdentity, Quantity,
    RestartPolicy,
};
use crate::state::containers::ContainerEvent;

pub(super) fn name(text: &str) -> ContainerName {
    ContainerName::parse(text).unwrap()
}

pub(super) fn secs(n: u64) -> BootTime {
    BootTime(Duration::from_secs(n))
}

pub(super) fn container(text: &str, kind: ContainerKind) -> Container {
    fixtures::init(text, kind, "", "")
}

pub(super) fn pod(init: Vec<Container>, apps: Vec<Container>, policy: RestartPolicy) -> Pod {
    Pod {
        init_containers: init,
        restart_policy: policy,
        ..fixtures::pod("p", apps)
    }
}

/// A pod, the time, and a short way to say what happens.
struct Story {
    run: PodRun,
    now: BootTime,
    pid: u32,
}

impl Story {
    fn new(init: &[(&str, ContainerKind)], apps: &[&str], policy: RestartPolicy) -> Self {
        let init = init.iter().map(|(name, kind)| container(name, *kind)).collect();
        let apps = apps
            .iter()
            .map(|name| container(name, ContainerKind::App))
            .collect();
        Self {
            run: PodRun::new(pod(init, apps, policy), None),
            now: secs(100),
            pid: 0,
        }
    }

    fn at(&mut self, seconds: u64) -> &mut Self {
        self.now = secs(100 + seconds);
        self
    }

    /// What is decided now, as `+start`, `-terminate`, `!kill`, and when it wants to look again.
    fn does(&mut self) -> (String, Option<u64>) {
        let step = step(&mut self.run, self.now);
        let shown = step.actions.iter().map(|action| match action {
            Action::Start(name) => format!("+{name}"),
            Action::Terminate(name) => format!("-{name}"),
            Action::KillCgroup(name) => format!("!{name}"),
        });
        (
            shown.collect::<Vec<_>>().join(" "),
            step.wake_at.map(|at| at.since(secs(100)).as_secs()),
        )
    }

    #[track_caller]
    fn expect(&mut self, actions: &str, wake_at: Option<u64>) -> &mut Self {
        assert_eq!(self.does(), (actions.to_owned(), wake_at));
        self
    }

    fn fact(&mut self, container: &str, event: ContainerEvent) -> &mut Self {
        self.run.apply(&name(container), event, self.now);
        self
    }

    fn started(&mut self, container: &str) -> &mut Self {
        self.pid += 1;
        let process = ProcessIdentity {
            pid: self.pid,
            start_ticks: 7,
        };
        self.fact(container, ContainerEvent::Started(process))
    }

    fn process(&self, container: &str) -> ProcessIdentity {
        match self.run.containers[&name(container)].run {
            Run::Running { process, .. } => process,
            other => panic!("{container} does not run: {other:?}"),
        }
    }

    /// Its first process ends and leaves an empty cgroup.
    fn exits(&mut self, container: &str, status: ExitStatus) -> &mut Self {
        let process = self.process(container);
        self.fact(container, ContainerEvent::Exited(process, status));
        self.fact(container, ContainerEvent::Cleared)
    }

    fn phase(&self, container: &str) -> String {
        match container_phase(&self.run, &name(container), self.now).unwrap() {
            ContainerPhase::Waiting { reason, .. } => reason,
            ContainerPhase::Running { adopted, .. } => format!("Running {adopted}"),
            ContainerPhase::Terminated { exit_code, reason } => format!("{reason} {exit_code:?}"),
        }
    }

    fn pod_phase(&mut self) -> PodPhase {
        step(&mut self.run.clone(), self.now).phase
    }
}

use ContainerKind::{Init, Sidecar};
use ExitStatus::{Code, Signal, Unknown};

#[test]
fn init_containers_and_sidecars_come_in_order_and_then_the_application() {
    let mut story = Story::new(
        &[("i", Init), ("s", Sidecar), ("j", Init)],
        &["a", "b"],
        RestartPolicy::Always,
    );
    story.expect("+i", None).started("i").expect("", None);
    assert_eq!(
        (story.phase("a").as_str(), story.pod_phase()),
        ("PodInitializing", PodPhase::Pending)
    );
    story.exits("i", Code(0)).expect("+s", None);
    story
        .started("s")
        .expect("+j", None)
        .started("j")
        .exits("j", Code(0))
        .expect("+a +b", None);
    story.started("a");
    assert_eq!(story.pod_phase(), PodPhase::Pending);
    story.started("b");
    assert_eq!(
        (story.pod_phase(), story.phase("i").as_str()),
        (PodPhase::Running, "Completed Some(0)")
    );
}

#[test]
fn a_crashing_container_backs_off_and_a_healthy_one_starts_afresh() {
    let mut story = Story::new(&[], &["a"], RestartPolicy::Always);
    story
        .expect("+a", None)
        .started("a")
        .at(1)
        .exits("a", Code(1))
        .expect("+a", None);
    story
        .started("a")
        .at(2)
        .exits("a", Signal(11))
        .expect("", Some(12));
    assert_eq!(
        (story.phase("a").as_str(), story.pod_phase()),
        ("CrashLoopBackOff", PodPhase::Running)
    );
    story.at(11).expect("", Some(12)).at(12).expect("+a", None);
    story
        .started("a")
        .at(13)
        .exits("a", Code(0))
        .expect("", Some(33))
        .at(40)
        .expect("+a", None);
    story.started("a").at(640).exits("a", Code(1)).expect("+a", None);
    assert_eq!(story.run.containers[&name("a")].restarts(), 3);
}

#[test]
fn what_a_first_process_leaves_behind_is_killed_before_the_restart() {
    let mut story = Story::new(&[], &["a"], RestartPolicy::Always);
    story.expect("+a", None).started("a");
    let process = story.process("a");
    story.fact("a", ContainerEvent::Exited(process, Code(0)));
    story
        .expect("!a", Some(1))
        .expect("", Some(1))
        .at(1)
        .expect("!a", Some(2));
    story.fact("a", ContainerEvent::Cleared).expect("+a", None);
}

#[test]
fn policies_decide_what_starts_again_and_what_the_pod_becomes() {
    for (policy, status, phase, again) in [
        (RestartPolicy::OnFailure, Code(0), PodPhase::Succeeded, ""),
        (RestartPolicy::OnFailure, Code(3), PodPhase::Running, "+a"),
        (RestartPolicy::OnFailure, Unknown, PodPhase::Running, "+a"),
        (RestartPolicy::Never, Code(0), PodPhase::Succeeded, ""),
        (RestartPolicy::Never, Signal(9), PodPhase::Failed, ""),
        (RestartPolicy::Always, Code(0), PodPhase::Running, "+a"),
    ] {
        let mut story = Story::new(&[], &["a"], policy);
        story.expect("+a", None).started("a").exits("a", status);
        assert_eq!(story.pod_phase(), phase, "{policy:?} {status:?}");
        story.expect(again, None);
    }
}

#[test]
fn an_init_container_that_fails_under_never_fails_the_pod() {
    let mut story = Story::new(&[("s", Sidecar), ("i", Init)], &["a"], RestartPolicy::Never);
    story
        .expect("+s", None)
        .started("s")
        .expect("+i", None)
        .started("i")
        .exits("i", Code(1));
    assert_eq!(story.pod_phase(), PodPhase::Failed);
    story
        .expect("-s", Some(30))
        .exits("s", Signal(15))
        .expect("", None);
    let mut story = Story::new(&[("i", Init)], &["a"], RestartPolicy::OnFailure);
    story
        .expect("+i", None)
        .started("i")
        .exits("i", Code(1))
        .expect("+i", None);
}

#[test]
fn sidecars_end_after_the_others_in_reverse_order() {
    let mut story = Story::new(
        &[("s", Sidecar), ("t", Sidecar)],
        &["a", "b"],
        RestartPolicy::Always,
    );
    story
        .expect("+s", None)
        .started("s")
        .expect("+t", None)
        .started("t")
        .expect("+a +b", None);
    story.started("a").started("b");
    story.run.request_stop(story.now, None);
    story
        .expect("-a -b", Some(30))
        .at(5)
        .exits("a", Signal(15))
        .expect("", Some(30));
    story
        .at(6)
        .exits("b", Code(0))
        .expect("-t", Some(30))
        .exits("t", Code(0))
        .expect("-s", Some(30));
    // The pod's time is over: what still runs is killed.
    story.at(30).expect("!s", Some(31)).exits("s", Signal(9));
    assert!(step(&mut story.run, story.now).finished);

    let mut story = Story::new(&[("s", Sidecar), ("t", Sidecar)], &["a"], RestartPolicy::Always);
    story
        .expect("+s", None)
        .started("s")
        .expect("+t", None)
        .started("t")
        .expect("+a", None)
        .started("a");
    story.run.request_stop(story.now, Some(Duration::from_secs(10)));
    story.expect("-a", Some(10));
    // Whose turn never came gets its signal when the time is over, and the shortest grace.
    story
        .at(10)
        .expect("-s -t !a", Some(11))
        .at(12)
        .expect("!s !t !a", Some(13));
}

#[test]
fn a_finished_job_takes_its_sidecars_with_it() {
    let mut story = Story::new(&[("s", Sidecar)], &["a"], RestartPolicy::OnFailure);
    story
        .expect("+s", None)
        .started("s")
        .expect("+a", None)
        .started("a");
    story.exits("s", Code(0)).expect("+s", None).started("s");
    story.exits("a", Code(0)).expect("-s", Some(30));
    assert_eq!(story.pod_phase(), PodPhase::Running);
    story.exits("s", Signal(15)).expect("", None);
    assert_eq!(story.pod_phase(), PodPhase::Succeeded);
}

#[test]
fn a_changed_container_is_replaced_and_changed_resources_are_not_a_change() {
    for policy in [RestartPolicy::Always, RestartPolicy::Never] {
        let mut story = Story::new(&[], &["a", "b"], policy);
        story.expect("+a +b", None).started("a").started("b");
        let mut pod = story.run.pod.clone();
        pod.containers[1]
            .resources
            .limits
            .insert("memory".to_owned(), Quantity::parse("1Gi").unwrap());
        story.run.update(pod.clone(), None);
        story.expect("", None);
        pod.containers[0].env.push(EnvVar {
            name: "A".to_owned(),
            value: "1".to_owned(),
        });
        story.run.update(pod, None);
        story
            .expect("-a", Some(30))
            .at(1)
            .exits("a", Signal(15))
            .expect("+a", None);
        story.started("a").expect("", None);
    }
}

#[test]
fn a_removed_container_ends_and_is_forgotten_and_a_new_one_starts() {
    let mut story = Story::new(&[], &["a", "b"], RestartPolicy::Always);
    story.expect("+a +b", None).started("a").started("b");
    let mut pod = story.run.pod.clone();
    pod.containers[1] = container("c", ContainerKind::App);
    story.run.update(pod, None);
    story
        .expect("+c -b", Some(30))
        .started("c")
        .exits("b", Signal(15))
        .expect("", None);
    assert!(!story.run.containers.contains_key(&name("b")));
}

#[test]
fn a_failed_start_is_told_and_backs_off() {
    let mut story = Story::new(&[], &["a"], RestartPolicy::Always);
    story
        .expect("+a", None)
        .fact("a", ContainerEvent::StartFailed("no such file".to_owned()));
    assert_eq!(story.phase("a"), "StartError");
    story
        .expect("+a", None)
        .fact("a", ContainerEvent::StartFailed("no such file".to_owned()))
        .expect("", Some(10));
    let phase = container_phase(&story.run, &name("a"), story.now).unwrap();
    let ContainerPhase::Waiting { reason, message } = phase else {
        panic!("{phase:?}");
    };
    assert_eq!(reason, "CrashLoopBackOff");
    assert!(
        message.contains("back-off 10s") && message.contains("no such file"),
        "{message}"
    );
}

#[test]
fn the_oom_killer_is_named_whether_its_record_comes_before_the_exit_or_after() {
    for late in [false, true] {
        let mut story = Story::new(&[], &["a"], RestartPolicy::Never);
        story.expect("+a", None).started("a").at(1);
        let killed = ContainerEvent::OomKilled(story.now);
        if late {
            story.exits("a", Signal(9)).fact("a", killed);
        } else {
            story.fact("a", killed).exits("a", Signal(9));
        }
        assert_eq!(story.phase("a"), "OOMKilled Some(137)");
    }
    let mut story = Story::new(&[], &["a"], RestartPolicy::Never);
    let killed = ContainerEvent::OomKilled(secs(101));
    story
        .expect("+a", None)
        .started("a")
        .at(1)
        .fact("a", killed)
        .exits("a", Code(2));
    assert_eq!(
        story.phase("a"),
        "Error Some(2)",
        "a child was killed, the container ended by itself"
    );
}

#[test]
fn an_agent_started_again_adopts_what_runs_and_notices_what_ended() {
    let mut story = Story::new(&[("i", Init)], &["a", "b", "c"], RestartPolicy::Always);
    story
        .expect("+i", None)
        .started("i")
        .exits("i", Code(0))
        .expect("+a +b +c", None)
        .started("a")
        .started("b");
    let record = serde_json::to_string(&story.run).unwrap();
    let (a, missed) = (
        story.process("a"),
        ProcessIdentity {
            pid: 99,
            start_ticks: 10_000,
        },
    );
    story.run = serde_json::from_str(&record).unwrap();
    let asked: Vec<_> = story
        .run
        .unconfirmed()
        .map(|(name, process)| (name.to_string(), process.map(|p| p.pid)))
        .collect();
    let expected = [("a", Some(2)), ("b", Some(3)), ("c", None), ("i", None)];
    assert_eq!(asked, expected.map(|(name, pid)| (name.to_owned(), pid)));
    story
        .fact("i", ContainerEvent::Lost)
        .fact("a", ContainerEvent::Adopted(a))
        .fact("b", ContainerEvent::Lost);
    // The agent was killed between the launch and the record.
    story.fact("c", ContainerEvent::Adopted(missed));
    story.expect("!b", Some(1));
    assert_eq!(
        (story.phase("a").as_str(), story.phase("c").as_str()),
        ("Running true", "Running true")
    );
    assert_eq!(story.phase("b"), "ContainerStatusUnknown None");
    story
        .fact("b", ContainerEvent::Cleared)
        .expect("+b", None)
        .started("b")
        .expect("", None);
}

#[test]
fn unknown_processes_in_the_cgroup_are_killed_before_the_start() {
    let mut story = Story::new(&[], &["a"], RestartPolicy::Never);
    story
        .expect("+a", None)
        .fact("a", ContainerEvent::Occupied)
        .expect("!a", Some(1));
    story
        .fact("a", ContainerEvent::Cleared)
        .expect("+a", None)
        .started("a")
        .expect("", None);
}

#[test]
fn a_second_wish_to_stop_can_only_hasten_it() {
    let mut story = Story::new(&[], &["a"], RestartPolicy::Always);
    story.expect("+a", None).started("a");
    story.run.request_stop(story.now, None);
    story
        .at(1)
        .run
        .request_stop(secs(101), Some(Duration::from_secs(60)));
    story.expect("-a", Some(30));
    story
        .at(5)
        .run
        .request_stop(secs(105), Some(Duration::from_secs(5)));
    story.expect("", Some(10)).at(10).expect("!a", Some(11));
}
