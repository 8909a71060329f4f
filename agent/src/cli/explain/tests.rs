//! Names that fit, names that do not, and what is told of a container in each state.

use proptest::prelude::*;

use super::*;
use crate::model::sample::{exclusive_pod, exclusive_report, pod, pressure, report};
use crate::model::{CpuSet, Namespace};

/// `cache` with CPUs of its own and `web`, both in the namespace `shop`.
fn node() -> NodeReport {
    exclusive_report(vec![exclusive_pod("cache", "2-3"), pod("web", "i")])
}

fn moved(mut pod: PodReport, namespace: &str) -> PodReport {
    pod.namespace = Namespace::parse(namespace).unwrap();
    pod
}

fn names(found: &Found) -> Vec<String> {
    let name = |pod: &PodReport| format!("{}/{}", pod.namespace, pod.name);
    found.pods.iter().map(name).collect()
}

#[test]
fn a_pod_is_found_as_other_commands_show_it() {
    let node = node();
    for (target, namespace) in [
        ("cache", Some("shop")),
        ("cache/main", Some("shop")),
        ("shop/cache", None),
        ("shop/cache/main", None),
    ] {
        let found = find(&node, target, namespace).unwrap();
        assert_eq!(names(&found), ["shop/cache"], "{target}");
        assert_eq!(found.pods[0].containers.len(), 1, "{target}");
    }
    let report = report(vec![moved(pod("web", "i"), "default"), pod("web", "i")]);
    for target in ["web", "web/main", "default/web"] {
        assert_eq!(
            names(&find(&report, target, None).unwrap()),
            ["default/web"],
            "{target}"
        );
    }
}

#[test]
fn a_pods_decisions_are_told_with_their_figures() {
    let mut node = report(vec![pod("hog", "i"), pod("web-0", "i")]);
    node.pressure = Some(pressure());
    let told = |target| show(&node, &find(&node, target, Some("shop")).unwrap());
    let hog = told("hog");
    assert!(
        hog.contains("  victim") && hog.contains("1; overRequest 1, priority 0,"),
        "{hog}"
    );
    assert_eq!(
        hog.lines().filter(|line| line.starts_with("decision")).count(),
        2,
        "{hog}"
    );
    for part in ["60.0Mi, below 100Mi", "freed 690Mi", "empty +40.0ms"] {
        assert!(hog.contains(part), "{part} is not in\n{hog}");
    }
    let decided = |line: &&str| line.starts_with("  decided") && line.ends_with(" kill");
    assert_eq!(hog.lines().filter(decided).count(), 2, "{hog}");
    let web = told("web-0");
    assert!(
        web.contains("none: critical or protected") && !web.contains("decision"),
        "{web}"
    );
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    let report = node();
    assert_eq!(
        find(&report, "cache", None).unwrap_err(),
        "the agent has no pod default/cache; it has shop/cache with main"
    );
    assert_eq!(
        find(&report, "shop/cache/side", None).unwrap_err(),
        "the agent has no container side in a pod shop/cache; it has shop/cache with main"
    );
    assert_eq!(
        find(&report, "a/b", None).unwrap_err(),
        "the agent has no container b in a pod default/a and no pod a/b"
    );
    for wrong in ["a/b/c/d", ""] {
        assert!(find(&report, wrong, None).is_err(), "{wrong}");
    }
    assert!(find(&report, "shop/cache/main", Some("shop")).is_err());
}

#[test]
fn of_two_meanings_none_is_taken() {
    let container = moved(pod("shop", "i"), "default");
    let mut named = pod("main", "i");
    named.containers[0].restarts = 7;
    let report = report(vec![container, named]);
    let error = find(&report, "shop/main", None).unwrap_err();
    assert!(error.contains("--namespace"), "{error}");
    let found = find(&report, "main", Some("shop")).unwrap();
    assert_eq!(found.pods[0].containers[0].restarts, 7);
}

fn shown(report: &NodeReport, target: &str) -> String {
    show(report, &find(report, target, None).unwrap())
}

#[test]
fn an_exclusive_container_is_told_with_everything_that_was_measured() {
    let mut report = node();
    let limits = &mut report.pods[0].containers[0].cgroup.limits;
    limits.cpu_max = limits.cpu_max.map(|(_, period)| (Limit::Max, period));
    let text = shown(&report, "shop/cache");
    for line in [
        "pod               shop/cache",
        "  class           Guaranteed",
        "container         main",
        "  state           running as process 42",
        "  CPUs            2-3: 2 of its own",
        "  why             packed: whole cores 2-3",
        "  kernel shows    2-3",
        "  memory of NUMA  0",
        "  granted         Sun, 13 Sep 2020 12:26:40 GMT",
        "  clean           1.2ms later nobody else's task was seen there",
        "  foreign time    0.02%+0.10%k of 1000.0s",
        "                  other pods 50.0ms, system 150.0ms, kernel threads 700.0ms, interrupts 100.0ms, soft interrupts \
         200.0ms",
        "  limits          cpu.weight 100, cpu.max max 100000, pids.max 100",
        "                  memory.min 0B, memory.low 16.0Mi, memory.high 20.0Mi, memory.max 24.0Mi, memory.swap.max 1.00Mi",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    report.pods[0].containers[0].cpus.as_mut().unwrap().has = CpuSet::parse("2-5").ok();
    assert!(shown(&report, "shop/cache").contains("kernel shows    2-5, which differs\n"));
}

#[test]
fn others_are_told_why_they_share_or_wait() {
    let mut report = node();
    let text = shown(&report, "shop/web/main");
    assert!(text.contains("  CPUs            shared\n"), "{text}");
    assert!(text.contains("  kernel shows    0-1,4-7\n"), "{text}");
    let web = &mut report.pods[1];
    let numbers = "cpu, requested: 100000, used: 100, capacity: 2000 ".repeat(20);
    web.reason = Some("OutOfcpu".to_owned());
    web.message = Some(numbers.clone());
    web.containers[0].cpus = None;
    let text = shown(&report, "shop/web");
    assert!(text.contains("  state    Running, OutOfcpu\n"), "{text}");
    assert!(text.contains("  CPUs     none: it was not let in"), "{text}");
    let told: Vec<&str> = text.split_whitespace().collect();
    let wanted: Vec<&str> = numbers.split_whitespace().collect();
    assert!(
        told.windows(wanted.len()).any(|part| part == wanted),
        "cut: {text}"
    );
    report.cpus = None;
    report.pods[1].containers[0].cgroup.limits = CgroupLimits::default();
    let text = shown(&report, "shop/web");
    assert!(text.contains("  limits   none read\n"), "{text}");
    assert!(text.contains("cpuManagerPolicy: none"), "{text}");
}

proptest! {
    #[test]
    fn no_text_adds_a_line_or_reaches_the_terminal_raw(text in "(?s).{0,400}", target in "(?s).{0,40}") {
        let mut report = node();
        let pod = &mut report.pods[0];
        pod.reason = Some(text.clone());
        pod.containers[0].cpus.as_mut().unwrap().why = text.clone();
        pod.containers[0].phase = ContainerPhase::Waiting { reason: text.clone(), message: String::new() };
        let shown = shown(&report, "shop/cache");
        prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n'));
        prop_assert_eq!(shown.lines().filter(|line| line.starts_with("container")).count(), 1);
        if let Err(error) = find(&report, &target, None) {
            prop_assert!(!error.contains(char::is_control), "{error:?}");
        }
    }
}
