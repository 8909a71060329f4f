//! The agent ends and comes back; pods end and do not.

use std::fs;

use plimsoll::model::PodPhase;

use super::{Host, NO_PROBES, adopted, find, lives, process, run, until};

const SLEEPER: &str =
    "containers: [{name: main, command: [sleep, '1000'], resources: {limits: {memory: 64Mi}}}]";
const MAIN: &str = "burstable/poduid-web/main";

#[test]
#[ignore = "needs a machine of its own"]
fn pods_outlive_the_agent_and_the_next_one_adopts_them() {
    let mut host = Host::running();
    let before = host.start("web", SLEEPER);
    for (killed, record_lost) in [(false, false), (true, false), (true, true)] {
        if killed {
            host.agent.kill().unwrap();
        } else {
            let status = host.agent.stop().unwrap();
            assert_eq!(status.code(), Some(0), "{}", host.log_since(0));
        }
        if record_lost {
            fs::remove_dir_all(host.directory.join("state")).unwrap();
        }
        assert!(host.agent.status().is_err(), "nobody answers");
        assert!(lives(before));
        assert_eq!(host.members(MAIN), [before.pid]);
        host.agent.start().unwrap();
        let report = host.wait_running(&["web"]);
        assert_eq!(process(&report, "web"), before);
        assert!(adopted(&report, "web"));
        assert_eq!(find(&report, "web").unwrap().containers[0].restarts, 0);
    }
    // The one that adopted it supervises it, though it is not its parent.
    fs::write(host.cgroup(MAIN).join("cgroup.kill"), "1").unwrap();
    host.wait(|report| find(report, "web").is_some_and(|pod| pod.containers[0].restarts == 1));
    let report = host.wait_running(&["web"]);
    assert_ne!(process(&report, "web"), before);
    assert!(!adopted(&report, "web"));
}

#[test]
#[ignore = "needs a machine of its own"]
fn a_pod_that_ended_for_good_is_not_placed_again_by_the_next_agent() {
    let mut host = Host::running();
    let trace = host.directory.join("trace");
    let command = format!("[sh, -c, 'echo ran >> {}']", trace.display());
    host.add(
        "job",
        &format!("restartPolicy: Never, containers: [{{name: main, command: {command}}}]"),
    );
    let over = |phase| move |report: &_| find(report, "job").is_some_and(|pod| pod.phase == phase);
    host.wait(over(PodPhase::Succeeded));
    let place = host.cgroup("besteffort/poduid-job");
    until("its cgroups are gone", || !place.exists());
    host.agent.kill().unwrap();
    let before = host.log_since(0).len();
    host.agent.start().unwrap();
    // One that comes after it has been through every pass that it could have been in.
    host.start("late", SLEEPER);
    host.wait(over(PodPhase::Succeeded));
    assert!(!place.exists());
    assert_eq!(fs::read_to_string(&trace).unwrap(), "ran\n");
    let log = host.log_since(before);
    assert!(!log.contains("poduid-job"), "its cgroups came and went:\n{log}");
}

#[test]
#[ignore = "needs a machine of its own"]
fn one_pass_places_and_leaves() {
    let host = Host::new(NO_PROBES);
    host.add("web", SLEEPER);
    let once = || {
        let mut command = host.agent.command("run");
        command.arg("--once");
        run(command)
    };
    let (status, said) = once();
    assert_eq!(status, Some(0), "{said}");
    let members = host.members(MAIN);
    assert_eq!(members.len(), 1, "{said}");
    assert_eq!(host.read(MAIN, "memory.max"), "67108864");
    assert!(!host.directory.join("admin.sock").exists());
    host.add("web", &SLEEPER.replace("64Mi", "96Mi"));
    let (status, said) = once();
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(host.members(MAIN), members);
    assert_eq!(host.read(MAIN, "memory.max"), "100663296");
}

#[test]
#[ignore = "needs a machine of its own"]
fn processes_that_ignore_signals_or_fork_go_with_their_pod() {
    let mut host = Host::new(&format!("{NO_PROBES}podPidsLimit: 40\n"));
    host.agent.start().unwrap();
    let web = host.start("web", SLEEPER);
    let spec = |script: &str| {
        format!(
            "terminationGracePeriodSeconds: 2, containers: [{{name: main, command: [sh, -c, \"{script}\"], \
             resources: {{limits: {{cpu: 200m}}}}}}]"
        )
    };
    host.add("deaf", &spec("trap '' TERM; while true; do sleep 1; done"));
    host.add(
        "forks",
        &spec("trap '' TERM; f() { f & f & sleep 0.2; }; while true; do f; done"),
    );
    host.wait_running(&["deaf", "forks"]);
    until("it forks", || {
        host.members("burstable/poduid-forks/main").len() > 5
    });
    host.remove("deaf");
    host.remove("forks");
    host.wait(|report| find(report, "deaf").is_none() && find(report, "forks").is_none());
    for pod in ["burstable/poduid-deaf", "burstable/poduid-forks"] {
        until("its cgroups are gone", || !host.cgroup(pod).exists());
    }
    assert_eq!(host.members(MAIN), [web.pid]);
}
