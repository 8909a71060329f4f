//! What is printed, and with which exit status.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::decide::eviction::EvictionPolicy;
use crate::decide::pressure::{Scratch, decide};
use crate::decide::rank::fixtures::TestPod;
use crate::decide::replay::{self as again, DecisionInputs, JournalEntry, Rested};
use crate::kernel::journal::encode;
use crate::model::pressure::{Decision, DecisionRecord, NodeFigures, Snapshot};
use crate::model::sample::{decision_record, exclusive_pod, exclusive_report, pod, report};
use crate::model::{BootTime, Bytes, ContainerPhase, CpuSet, ProbeReport};
use crate::observe::node::{CgroupMount, NodeFacts};
use crate::state::pressure::PressureState;

/// A node that has everything.
fn able() -> NodeFacts {
    let words = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect::<BTreeSet<_>>();
    NodeFacts {
        kernel_release: "6.12.107".to_owned(),
        kernel_version: (6, 12),
        btf: Some(Bytes::mib(6)),
        cgroup2: Some(CgroupMount {
            path: "/sys/fs/cgroup".to_owned(),
            options: words(&["nsdelegate", "memory_recursiveprot"]),
        }),
        controllers_at: "/sys/fs/cgroup".to_owned(),
        controllers: words(&["cpu", "cpuset", "memory", "io", "pids", "hugetlb"]),
        pressure: words(&["cpu", "io", "memory"]),
        capabilities: u64::MAX,
        is_root: true,
        ..NodeFacts::default()
    }
}

fn verdicts(checks: &[Check], verdict: Verdict) -> Vec<&str> {
    let found = checks.iter().filter(|check| check.verdict == verdict);
    found.map(|check| check.name.as_str()).collect()
}

#[test]
fn a_node_that_has_everything_passes() {
    let checks = checks(&able(), &[]);
    assert!(
        checks.iter().all(|check| check.verdict == Verdict::Ok),
        "{checks:#?}"
    );
    assert!(check::show(&checks).ends_with("\nPods can be placed on this node.\n"));
}

#[test]
fn each_lack_has_its_verdict_and_a_way_out() {
    type Lack = fn(&mut NodeFacts);
    let cases: [(&str, Verdict, Lack); 10] = [
        ("kernel", Verdict::Missing, |f| f.kernel_version = (5, 10)),
        ("tested kernel", Verdict::Warn, |f| f.kernel_version = (5, 19)),
        ("BTF", Verdict::Warn, |f| f.btf = None),
        ("PSI", Verdict::Warn, |f| f.pressure.clear()),
        ("cgroup v2", Verdict::Missing, |f| f.cgroup2 = None),
        ("controller memory", Verdict::Missing, |f| {
            f.controllers.remove("memory");
        }),
        ("controller hugetlb", Verdict::Warn, |f| {
            f.controllers.remove("hugetlb");
        }),
        ("root", Verdict::Warn, |f| f.is_root = false),
        ("CAP_BPF", Verdict::Warn, |f| f.capabilities &= !(1 << 39)),
        ("CAP_SYS_RESOURCE", Verdict::Warn, |f| {
            f.capabilities &= !(1 << 24);
        }),
    ];
    for (name, verdict, lack) in cases {
        let mut facts = able();
        lack(&mut facts);
        let checks = checks(&facts, &[]);
        assert!(verdicts(&checks, verdict).contains(&name), "{name}: {checks:#?}");
        for check in checks {
            assert_eq!(
                check.verdict == Verdict::Ok,
                check.how_to_get.is_empty(),
                "{check:?}"
            );
        }
    }
}

#[test]
fn a_controller_held_by_v1_is_told_with_its_mount() {
    let mut facts = able();
    facts.controllers.clear();
    facts
        .v1_controllers
        .insert("memory".to_owned(), "/sys/fs/cgroup/memory".to_owned());
    facts
        .v1_controllers
        .insert("blkio".to_owned(), "/sys/fs/cgroup/blkio".to_owned());
    let checks = checks(&facts, &[]);
    let text = check::show(&checks);
    assert!(
        text.contains("held by cgroup v1 at /sys/fs/cgroup/memory"),
        "{text}"
    );
    assert!(
        text.contains("held by cgroup v1 at /sys/fs/cgroup/blkio"),
        "{text}"
    );
    assert!(
        text.ends_with("Pods cannot be placed on this node: controller cpu, controller memory missing.\n")
    );
}

#[test]
fn a_probe_that_is_not_attached_says_why() {
    let probe = ProbeReport {
        name: "stalls".to_owned(),
        attached: false,
        reason: Some("EPERM".to_owned()),
    };
    let checks = checks(&able(), &[probe]);
    assert_eq!(verdicts(&checks, Verdict::Warn), ["probe stalls"]);
    assert!(check::show(&checks).contains("warn     probe stalls:\n         EPERM; cgroup files"));
}

#[test]
fn status_fits_a_terminal_and_lines_up() {
    let mut second = pod("a-pod-with-a-longer-name", "i");
    second.reason = Some("OutOfcpu".to_owned());
    second.message = Some("cpu requested 5, to give 3.8".to_owned());
    let text = status::show(&report(vec![pod("web-0", "i"), second]), false);
    let lines: Vec<_> = text.lines().collect();
    let at = |line: &str, part: &str| {
        line.find(part)
            .unwrap_or_else(|| panic!("{part} is not in {line}"))
    };
    assert_eq!(
        at(lines[0], "CGROUP"),
        at(lines[1], "burstable/poduid-web-0"),
        "{text}"
    );
    assert_eq!(at(lines[0], "PHASE"), at(lines[2], "Running"), "{text}");
    assert_eq!(at(lines[0], "OOM") + 3, at(lines[2], "-998") + 4, "{text}");
    for part in ["250m", "12.0Mi", "500m/24.0Mi", "Burstable"] {
        assert!(lines[1].contains(part), "{part}: {text}");
    }
    assert!(
        lines[3].contains("OutOfcpu") && lines[2].starts_with("  main"),
        "{text}"
    );
    assert!(
        text.contains("pod shop/a-pod-with-a-longer-name: cpu requested 5, to give 3.8"),
        "{text}"
    );
    let short = status::show(&report(vec![pod("web-0", "i")]), false);
    assert!(at(short.lines().next().unwrap(), "CGROUP") <= 80, "{short}");
}

#[test]
fn wide_status_has_more_columns() {
    let text = status::show(&report(vec![pod("web-0", "i")]), true);
    let heading = text.lines().next().unwrap();
    for column in ["PEAK", "RUN-DELAY", "WEIGHT", "PID", "ID"] {
        assert!(heading.contains(column), "{text}");
    }
    assert!(text.lines().nth(2).unwrap().contains("0.030s"), "{text}");
    assert!(heading.ends_with("CGROUP"));
}

#[test]
fn wide_status_tells_who_has_cpus_and_who_else_used_them() {
    let mut pods = vec![exclusive_pod("cache", "2-3"), pod("web-0", "i")];
    pods.push(exclusive_pod(
        "many",
        &(10..200)
            .step_by(2)
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
            .join(","),
    ));
    let mut report = exclusive_report(pods);
    report.cpus.as_mut().unwrap().changes = vec!["CPU 9 went offline".to_owned()];
    let text = status::show(&report, true);
    let lines: Vec<_> = text.lines().collect();
    let at = lines[0].find("CPUS").unwrap();
    assert!(lines[0].ends_with("CGROUP"), "{text}");
    let row = |line: &str| {
        line[at..]
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(row(lines[0])[..3], ["CPUS", "MEMS", "FOREIGN"]);
    assert_eq!(row(lines[1]).len(), 1, "a pod has none itself: {text}");
    assert_eq!(row(lines[2])[..3], ["2-3", "0", "0.02%+0.10%k"]);
    assert_eq!(row(lines[4])[..3], ["shared", "-", "-"]);
    assert_eq!(row(lines[6])[..3], ["95", "CPUs", "0"]);
    assert!(text.ends_with("\ncpus: CPU 9 went offline\n"), "{text}");
    assert!(!text.contains("the kernel shows"), "{text}");
    assert!(!status::show(&report, false).contains("FOREIGN"));

    report.pods[0].containers[0].cpus.as_mut().unwrap().has = CpuSet::parse("2-4").ok();
    for wide in [false, true] {
        let text = status::show(&report, wide);
        let line = "\ncontainer shop/cache main: its own CPUs are 2-3, the kernel shows 2-4\n";
        assert!(text.contains(line), "{text}");
    }
    report.pods[0].containers[0].cgroup.id = None;
    assert!(!status::show(&report, true).contains("the kernel shows"));
}

#[test]
fn nothing_in_a_report_reaches_the_terminal_unescaped() {
    let evil = "\x1b]0;owned\x07\r\nnode forged";
    let mut pod = pod("web-0", evil);
    pod.reason = Some(evil.to_owned());
    pod.message = Some(evil.to_owned());
    pod.containers[0].phase = ContainerPhase::Waiting {
        reason: evil.to_owned(),
        message: evil.to_owned(),
    };
    let mut report = report(vec![pod]);
    report.manifest_errors = vec![evil.to_owned()];
    report.cpus = exclusive_report(Vec::new()).cpus;
    report.cpus.as_mut().unwrap().changes = vec![evil.to_owned()];
    report.node_name = evil.to_owned();
    report.probes[0].attached = false;
    report.probes[0].reason = Some(evil.to_owned());
    for wide in [false, true] {
        let text = status::show(&report, wide);
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        assert!(
            !text.lines().any(|line| line.starts_with("node forged")),
            "{text}"
        );
    }
}

#[test]
fn a_dry_run_changes_what_is_done_about_memory_and_nothing_else() {
    let dry_run = |arguments: &[&str]| match Options::try_parse_from(arguments).unwrap().command {
        Command::Run { once, dry_run, .. } => (once, dry_run),
        other => panic!("{other:?}"),
    };
    assert_eq!(dry_run(&["plimsoll", "run"]), (false, false));
    assert_eq!(dry_run(&["plimsoll", "run", "--dry-run"]), (false, true));
    assert_eq!(dry_run(&["plimsoll", "run", "--dry-run", "--once"]), (true, true));
    assert!(!adjusted(Config::default(), false, None).memory_pressure.dry_run);
    let mut expected = Config::default();
    expected.memory_pressure.dry_run = true;
    let rehearsed = adjusted(Config::default(), true, None);
    assert_eq!(format!("{rehearsed:?}"), format!("{expected:?}"));
    assert!(
        adjusted(rehearsed, false, None).memory_pressure.dry_run,
        "as the file has it"
    );
}

#[test]
fn a_node_name_that_is_given_stands_in_the_stead_of_the_files() {
    let given = |arguments: &[&str]| match Options::try_parse_from(arguments)?.command {
        Command::Run { node_name, .. } => Ok::<_, clap::Error>(node_name),
        other => panic!("{other:?}"),
    };
    assert_eq!(given(&["plimsoll", "run"]).unwrap(), None);
    let name = given(&["plimsoll", "run", "--node-name", "n1.example"]).unwrap();
    let config = adjusted(Config::default(), false, name);
    assert_eq!(config.node_name.as_ref().unwrap().as_str(), "n1.example");
    let kept = adjusted(config, false, None);
    assert_eq!(kept.node_name.unwrap().as_str(), "n1.example");
    let refused = given(&["plimsoll", "run", "--node-name", "Node_1"]).unwrap_err();
    assert!(refused.to_string().contains("nodeName \"Node_1\""), "{refused}");
}

#[test]
fn exit_status_tells_what_was_wrong() {
    let run = |arguments: &[&str]| main(arguments.iter().map(OsString::from));
    assert_eq!(run(&["plimsoll", "no-such-command"]), USAGE);
    assert_eq!(run(&["plimsoll", "config"]), USAGE);
    assert_eq!(
        run(&["plimsoll", "config", "--check", "/nonexistent/plimsoll.yaml"]),
        USAGE
    );
    assert_eq!(
        run(&["plimsoll", "status", "--socket", "/nonexistent/plimsoll.sock"]),
        UNAVAILABLE
    );
    assert_eq!(
        run(&[
            "plimsoll",
            "explain",
            "pod",
            "--socket",
            "/nonexistent/plimsoll.sock"
        ]),
        UNAVAILABLE
    );
    assert_eq!(run(&["plimsoll", "explain"]), USAGE);
    assert_eq!(
        run(&["plimsoll", "cpus", "--socket", "/nonexistent/plimsoll.sock"]),
        DONE,
        "the machine is there without an agent"
    );
    assert_eq!(
        run(&["plimsoll", "cpus", "--config", "/nonexistent/plimsoll.yaml"]),
        USAGE
    );
    assert_eq!(
        run(&["plimsoll", "cpus", "--topology", "f", "--socket", "s"]),
        USAGE
    );
    assert_eq!(run(&["plimsoll", "version"]), DONE);
    assert_eq!(run(&["plimsoll", "--help"]), DONE);
    let dir = tempfile::tempdir().unwrap();
    let capture = dir.path().join("machine");
    for (text, status) in [
        ("cpu/online: 0-3\n", DONE),
        ("cpu/online 0-3\n", USAGE),
        ("cpu/online: none\n", FAILED),
    ] {
        std::fs::write(&capture, text).unwrap();
        let topology = capture.to_str().unwrap();
        assert_eq!(
            run(&["plimsoll", "cpus", "-o", "json", "--topology", topology]),
            status,
            "{text}"
        );
    }
    let file = dir.path().join("plimsoll.yaml");
    for (text, status) in [("maxPods: 0\n", USAGE), ("maxPods: 7\n", DONE)] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(
            run(&["plimsoll", "config", "--check", file.to_str().unwrap()]),
            status,
            "{text}"
        );
    }
}

/// A decision about a hog, made by today's rules on a machine that runs out of memory, with all that it rested on.
fn decided() -> JournalEntry {
    let hog = TestPod::new(1, 900);
    let roster = vec![hog.facts()];
    let policy = EvictionPolicy::default();
    let (mut state, mut scratch) = (PressureState::with_capacity(1), Scratch::default());
    for n in 1..40 {
        let now = BootTime(Duration::from_millis(50 * n));
        let node = NodeFigures {
            at: now,
            capacity: Bytes::mib(1000),
            available: Bytes::mib(200_u64.saturating_sub(6 * n)),
            full: Duration::from_millis(20 * n),
            direct_reclaims: 10 * n,
            ..NodeFigures::default()
        };
        let pods = vec![hog.figures()];
        let snapshot = Snapshot { node, pods };
        state.observe(&roster, &snapshot, now);
        let rested = Rested {
            roster: &roster,
            snapshot: &snapshot,
            policy: &policy,
            state: &state,
            now,
        };
        let inputs = DecisionInputs::from(rested);
        let decision = decide(&roster, &snapshot, &policy, &mut state, &mut scratch, now);
        if let Decision::Act { need, act } = decision
            && act.pod().is_some()
        {
            let record = DecisionRecord {
                need,
                act: Some(act),
                rung: Some(act.rung()),
                pod: again::Verdict::of(&decision, &roster).pod,
                ..decision_record(1)
            };
            return JournalEntry {
                record,
                inputs: Some(inputs),
            };
        }
    }
    panic!("nothing was decided about the hog");
}

#[test]
fn replay_tells_by_its_exit_status_whether_something_differs() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("copy.journal");
    let run = |command: &str, output: &str| {
        let arguments = ["plimsoll", command, file.to_str().unwrap(), "-o", output];
        main(arguments.map(OsString::from))
    };
    assert_eq!(run("replay", "table"), USAGE, "it is not there");
    let write = |entries: &[JournalEntry]| {
        let mut lines = Vec::new();
        for entry in entries {
            encode(&serde_json::to_vec(entry).unwrap(), &mut lines);
        }
        std::fs::write(&file, &lines).unwrap();
        lines
    };
    let same = decided();
    let outcome = JournalEntry {
        inputs: None,
        ..same.clone()
    };
    write(&[same.clone(), outcome.clone()]);
    assert_eq!((run("replay", "table"), run("replay", "json")), (DONE, DONE));
    let mut other = same.clone();
    other.record.pod = decision_record(1).pod;
    let lines = write(&[other]);
    assert_eq!(run("replay", "table"), FAILED, "another pod");
    std::fs::write(&file, &lines[..lines.len() - 1]).unwrap();
    assert_eq!(run("replay", "table"), FAILED, "half a record is none");
    write(&[outcome]);
    assert_eq!(run("replay", "table"), FAILED, "nothing was compared");
    assert_eq!((run("events", "table"), run("events", "json")), (DONE, DONE));
    let named_twice = ["plimsoll", "events", "f", "--socket", "s"];
    assert_eq!(main(named_twice.map(OsString::from)), USAGE);
}

#[test]
fn commands_that_alerts_name_are_there() {
    use clap::CommandFactory;
    let program = options::Options::command();
    let mut named = 0;
    for told in include_str!("../../../config/alerts.yaml")
        .split("`plimsoll ")
        .skip(1)
    {
        let mut words = told.split('`').next().unwrap().split(' ');
        let name = words.next().unwrap();
        let command = program.find_subcommand(name);
        let command = command.unwrap_or_else(|| panic!("there is no `plimsoll {name}`"));
        for option in words.filter_map(|word| word.strip_prefix('-')) {
            assert!(
                command
                    .get_arguments()
                    .any(|a| a.get_short().is_some_and(|s| option == s.to_string())),
                "`plimsoll {name}` has no -{option}"
            );
        }
        named += 1;
    }
    assert!(named > 0);
}
