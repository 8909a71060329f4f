//! What the agent does for itself and to nobody else: its own place, its one root, its figures without probes.

use std::fs;
use std::path::Path;

use plimsoll::model::PodPhase;

use super::{Host, MOUNT, NO_PROBES, find, remove_tree, run, until};

const SLEEPER: &str =
    "containers: [{name: main, command: [sleep, '1000'], resources: {limits: {memory: 64Mi}}}]";
const MAIN: &str = "burstable/poduid-web/main";

fn oom_score_adj(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    text.trim_end().to_owned()
}

#[test]
#[ignore = "needs a machine of its own"]
fn the_agent_protects_itself_and_hands_its_protection_to_nobody() {
    let host = Host::running();
    let script = "sleep 1000 & (sleep 1000 & wait) & wait";
    host.start(
        "web",
        &format!(
            "containers: [{{name: main, command: [sh, -c, '{script}'], resources: {{requests: {{memory: 64Mi}}}}}}]"
        ),
    );
    let agent = host.agent.pid().unwrap();
    assert_eq!(oom_score_adj(agent), "-999");
    let own = fs::read_to_string(format!("/proc/{agent}/cgroup")).unwrap();
    let own = own
        .trim_end()
        .strip_prefix(&format!("0::/{}/", host.root))
        .unwrap();
    assert!(!own.contains("pod") && host.members(own) == [agent], "{own}");
    assert_eq!(host.read(own, "memory.min"), "33554432");
    assert!(
        host.read("", "memory.min").parse::<u64>().unwrap() >= 33_554_432,
        "or it protects nothing"
    );

    until("its children run", || host.members(MAIN).len() >= 4);
    let report = host.wait_running(&["web"]);
    let score = find(&report, "web").unwrap().containers[0]
        .oom_score_adj
        .0
        .to_string();
    for pid in host.members(MAIN) {
        assert_eq!(oom_score_adj(pid), score);
    }
    assert!(score.parse::<i32>().unwrap() > 0);
}

#[test]
#[ignore = "needs a machine of its own"]
fn a_dry_run_says_what_it_would_do_and_touches_nothing() {
    let host = Host::new(NO_PROBES);
    host.add("web", SLEEPER);
    let cgroups = fs::read_dir(MOUNT).unwrap().count();
    let enabled = fs::read_to_string(Path::new(MOUNT).join("cgroup.subtree_control")).unwrap();
    let mut command = host.agent.command("run");
    command.args(["--once", "--dry-run"]);
    let (status, said) = run(command);
    assert_eq!(status, Some(0), "{said}");
    for part in [
        format!("make    {MAIN}"),
        format!("write   {MAIN}/memory.max = 67108864"),
    ] {
        assert!(said.contains(&part), "{part:?} is missing:\n{said}");
    }
    assert_eq!(fs::read_dir(MOUNT).unwrap().count(), cgroups);
    assert_eq!(
        fs::read_to_string(Path::new(MOUNT).join("cgroup.subtree_control")).unwrap(),
        enabled
    );
    let mut left: Vec<_> = fs::read_dir(&host.directory)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["plimsoll.yaml", "pods"]);
}

#[test]
#[ignore = "needs a machine of its own"]
fn a_second_agent_is_refused_and_the_first_one_does_not_notice() {
    let host = Host::running();
    host.start("web", SLEEPER);
    let before = host.members(MAIN);
    let (status, said) = run(host.agent.command("run"));
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("another agent runs already"), "{said}");

    // Neither when it only shares the tree.
    let config = fs::read_to_string(host.directory.join("plimsoll.yaml")).unwrap();
    let other = host.directory.join("other.yaml");
    let config = config
        .replace("admin.sock", "other.sock")
        .replace("/state", "/other-state");
    fs::write(&other, format!("{}\n", config.replace("metricsBindAddress", "#"))).unwrap();
    let mut command = std::process::Command::new(super::PROGRAM);
    command.args(["run", "--once", "--config"]).arg(&other);
    let (status, said) = run(command);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("another agent"), "{said}");
    assert_eq!(host.members(MAIN), before);
    host.start("late", SLEEPER);
}

#[test]
#[ignore = "needs a machine of its own"]
fn a_root_below_a_delegated_cgroup_is_all_that_is_touched() {
    let outer = Path::new(MOUNT).join("delegated");
    fs::create_dir(&outer).unwrap();
    for above in [Path::new(MOUNT), &outer] {
        fs::write(above.join("cgroup.subtree_control"), "+cpu +memory +pids").unwrap();
    }
    let files = || {
        [
            "cpu.max",
            "memory.max",
            "memory.min",
            "memory.low",
            "pids.max",
            "cgroup.subtree_control",
        ]
        .map(|file| fs::read_to_string(outer.join(file)).unwrap())
    };
    let before = files();
    {
        let mut host = Host::below("delegated/", NO_PROBES);
        host.agent.start().unwrap();
        let web = host.start("web", SLEEPER);
        assert_eq!(host.members(MAIN), [web.pid]);
        assert_eq!(host.read(MAIN, "memory.max"), "67108864");
        assert_eq!(files(), before);
        host.remove("web");
        until("its cgroups are gone", || {
            !host.cgroup("burstable/poduid-web").exists()
        });
    }
    assert!(remove_tree(&outer));
}

#[test]
#[ignore = "needs a machine of its own"]
fn without_probes_the_files_figures_are_served() {
    let host = Host::running();
    host.start("web", SLEEPER);
    let has_figure = |text: &str, name: &str| {
        let mut lines = text.lines().filter(|line| line.starts_with(name));
        lines.any(|line| line.contains("pod=\"web\"") && !line.ends_with(" 0") && !line.ends_with(" 0.0"))
    };
    let report = host.wait(|report| {
        let text = host.agent.get("/metrics").unwrap_or_default();
        let names = [
            "container_cpu_usage_seconds_total",
            "container_memory_working_set_bytes",
        ];
        !report.probes.is_empty() && names.iter().all(|name| has_figure(&text, name))
    });
    assert!(
        report.probes.iter().all(|probe| !probe.attached),
        "{:?}",
        report.probes
    );
    assert_eq!(find(&report, "web").unwrap().phase, PodPhase::Running);
    assert!(host.agent.get("/healthz").is_ok() && host.agent.get("/readyz").is_ok());
}

#[test]
#[ignore = "needs a machine of its own"]
fn this_node_passes_the_check() {
    // One probe has all that a probe needs of the kernel, and the others take seconds under emulation.
    let host = Host::new(
        "probes: {usage: false, stalls: false, oom: false, lifecycle: false, foreign: false, writes: false}\n",
    );
    let (status, said) = run(host.agent.command("check"));
    assert_eq!(status, Some(0), "{said}");
    for part in ["memory", "BTF"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!host.cgroup("").exists(), "a check touches nothing");
}
