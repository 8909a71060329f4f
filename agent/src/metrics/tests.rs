//! What is served, held against the table and the report.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::families::{ALL, Kind};
use super::*;
use crate::model::sample::{decision_record, exclusive_pod, exclusive_report, pod, pressure, report};
use crate::model::{Bytes, ControlFile, CpuPeriod, Limit, PodReport, QosClass};

fn metrics(pods: Vec<PodReport>) -> (watch::Sender<Arc<NodeReport>>, Metrics) {
    let (sender, reports) = watch::channel(Arc::new(report(pods)));
    let metrics = Metrics::new(reports);
    let counters = metrics.counters();
    counters.written(ControlFile::CpuMax);
    counters.write_failed(ControlFile::MemoryMax, "EBUSY");
    counters.drifted(ControlFile::CpuWeight);
    counters.events("cgroup_made", 2);
    counters.events_lost("ring_buffer", 1);
    counters.pod_refused("OutOfcpu");
    counters.cpu_granted();
    counters.cpu_clean(Duration::from_micros(1200));
    counters.cpu_changed("gone_cpus");
    counters.container_ended("OOMKilled");
    counters.oom_killed(QosClass::BestEffort, 1);
    counters.pass_done(Duration::from_millis(2));
    let record = decision_record(1);
    let pressure = counters.pressure();
    pressure.decided(&record);
    pressure.steered(Steering::Raise, 2);
    (sender, metrics)
}

/// Label names by name of the sample, from a text of either format.
fn samples(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let labels = line
            .split_once('{')
            .map_or("", |(_, rest)| rest.rsplit_once('}').unwrap().0);
        let labels = labels
            .split(',')
            .filter_map(|label| label.split_once('=').map(|(name, _)| name.to_owned()));
        found.insert(name.to_owned(), labels.collect());
    }
    found
}

#[test]
fn what_is_served_is_the_table() {
    let (sender, metrics) = metrics(Vec::new());
    let pods = vec![pod("web-0", "shop/web"), exclusive_pod("cache", "2-3")];
    let mut told = exclusive_report(pods);
    told.pressure = Some(pressure());
    sender.send(Arc::new(told)).unwrap();
    let text = metrics.scrape(Format::Classic).unwrap();
    let mut found = samples(text.as_str());
    for family in ALL {
        let mut labels: BTreeSet<_> = family.labels.iter().map(|&l| l.to_owned()).collect();
        let name = family.name();
        assert!(
            text.as_str().contains(&format!("# HELP {name} {}", family.help)),
            "{name}"
        );
        if family.kind == Kind::Histogram {
            assert!(found.remove(&format!("{name}_sum")).is_some(), "{name}");
            assert!(found.remove(&format!("{name}_count")).is_some(), "{name}");
            labels.insert("le".to_owned());
            assert_eq!(found.remove(&format!("{name}_bucket")), Some(labels), "{name}");
        } else {
            assert_eq!(found.remove(&name), Some(labels), "{name}");
        }
    }
    assert!(found.is_empty(), "not in the table: {found:?}");
}

#[test]
fn values_are_those_of_the_report() {
    let (_sender, metrics) = metrics(vec![pod("web-0", "shop/web")]);
    let text = metrics.scrape(Format::OpenMetrics).unwrap();
    let text = text.as_str();
    let labels = "container=\"main\",id=\"/plimsoll/burstable/poduid-web-0/main\",image=\"shop/web\",name=\"main\",\
                  namespace=\"shop\",pod=\"web-0\"";
    let own = "container=\"main\",namespace=\"shop\",pod=\"web-0\"";
    for line in [
        format!("container_cpu_usage_seconds_total{{{labels},cpu=\"total\"}} 1.5"),
        format!("container_memory_working_set_bytes{{{labels}}} 12582912"),
        format!("container_spec_memory_limit_bytes{{{labels}}} 25165824"),
        format!("container_spec_cpu_quota{{{labels}}} 50000"),
        format!("container_spec_cpu_shares{{{labels}}} 2597"),
        format!("container_cpu_cfs_throttled_seconds_total{{{labels}}} 0.25"),
        format!("plimsoll_container_oom_score_adj{{{own}}} -998.0"),
        format!("plimsoll_cgroup_run_queue_delay_seconds_sum{{{own}}} 0.03"),
        format!("plimsoll_cgroup_run_queue_delay_seconds_count{{{own}}} 16"),
        format!("plimsoll_cgroup_run_queue_delay_seconds_bucket{{le=\"+Inf\",{own}}} 16"),
        "plimsoll_cgroup_write_errors_total{errno=\"EBUSY\",file=\"memory.max\"} 1".to_owned(),
        "plimsoll_probe_attached{probe=\"cpu\"} 1".to_owned(),
        "# TYPE container_cpu_usage_seconds counter".to_owned(),
        "# UNIT container_cpu_usage_seconds seconds".to_owned(),
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn no_limit_is_0_where_cadvisor_has_it_and_absent_elsewhere() {
    let mut pod = pod("web-0", "i");
    for cgroup in [&mut pod.cgroup, &mut pod.containers[0].cgroup] {
        cgroup.limits.memory_max = Some(Limit::Max);
        cgroup.limits.swap_max = Some(Limit::At(Bytes(0)));
        cgroup.limits.cpu_max = Some((Limit::Max, CpuPeriod::DEFAULT));
    }
    let (_sender, metrics) = metrics(vec![pod]);
    let text = metrics.scrape(Format::Classic).unwrap();
    let values = |name: &str| -> Vec<&str> {
        let lines = text
            .as_str()
            .lines()
            .filter(|line| line.starts_with(&format!("{name}{{")));
        lines.map(|line| line.rsplit(' ').next().unwrap()).collect()
    };
    assert_eq!(values("container_spec_memory_limit_bytes"), ["0", "0"]);
    assert_eq!(values("container_spec_cpu_quota"), [""; 0]);
    assert_eq!(values("container_spec_cpu_period"), ["100000", "100000"]);
    assert_eq!(values("container_spec_memory_swap_limit_bytes"), [""; 0]);
    assert_eq!(values("plimsoll_cgroup_memory_swap_max_bytes"), ["0", "0"]);
    assert_eq!(values("plimsoll_cgroup_memory_max_bytes"), [""; 0]);
}

#[test]
fn a_pod_that_is_gone_leaves_nothing_behind() {
    let (sender, metrics) = metrics(vec![pod("web-0", "i"), pod("web-1", "i")]);
    let before = metrics.scrape(Format::OpenMetrics).unwrap().as_str().len();
    for round in 0..200 {
        let pods = (0..50).map(|i| pod(&format!("p-{round}-{i}"), "i")).collect();
        sender.send(Arc::new(report(pods))).unwrap();
        assert!(
            metrics
                .scrape(Format::OpenMetrics)
                .unwrap()
                .as_str()
                .contains(&format!("p-{round}-49"))
        );
    }
    sender
        .send(Arc::new(report(vec![pod("web-0", "i"), pod("web-1", "i")])))
        .unwrap();
    let after = metrics.scrape(Format::OpenMetrics).unwrap();
    assert_eq!(after.as_str().len(), before);
}

#[test]
fn exclusive_cpus_are_told_by_node_container_and_kind() {
    let (sender, metrics) = metrics(Vec::new());
    let pods = vec![pod("web-0", "i"), exclusive_pod("cache", "2-5")];
    sender.send(Arc::new(exclusive_report(pods))).unwrap();
    let text = metrics.scrape(Format::OpenMetrics).unwrap();
    let own = "container=\"main\",namespace=\"shop\",pod=\"cache\"";
    for line in [
        "plimsoll_cpus{kind=\"exclusive\",numa_node=\"0\"} 2".to_owned(),
        "plimsoll_cpus{kind=\"shared\",numa_node=\"0\"} 1".to_owned(),
        "plimsoll_cpus{kind=\"reserved\",numa_node=\"0\"} 1".to_owned(),
        "plimsoll_cpus{kind=\"shared\",numa_node=\"1\"} 2".to_owned(),
        format!("plimsoll_container_exclusive_cpus{{{own}}} 4"),
        format!("plimsoll_container_foreign_cpu_seconds_total{{{own},kind=\"system\"}} 0.15"),
        format!("plimsoll_container_foreign_cpu_seconds_total{{{own},kind=\"kernel_threads\"}} 0.7"),
        format!("plimsoll_container_foreign_cpu_window_seconds_total{{{own}}} 1000.0"),
        "plimsoll_exclusive_cpu_kernel_thread_seconds_total{name=\"kworker\"} 0.3".to_owned(),
        "plimsoll_cpu_grants_total 1".to_owned(),
        "plimsoll_cpu_grant_clean_seconds_count 1".to_owned(),
        "plimsoll_cpu_changes_total{change=\"gone_cpus\"} 1".to_owned(),
    ] {
        assert!(
            text.as_str().lines().any(|l| l == line),
            "{line} is not in\n{}",
            text.as_str()
        );
    }
    let of_web =
        |line: &str| line.contains("web-0") && line.contains("_cpu") && line.contains("plimsoll_container");
    assert!(!text.as_str().lines().any(of_web));
}

#[test]
fn without_exclusive_cpus_there_is_no_series_of_them() {
    let (sender, metrics) = metrics(vec![pod("web-0", "i")]);
    let plain = metrics.scrape(Format::OpenMetrics).unwrap().as_str().to_owned();
    for family in [
        "plimsoll_cpus",
        "plimsoll_container_exclusive_cpus",
        "plimsoll_container_foreign",
        "plimsoll_exclusive_cpu",
    ] {
        assert!(!plain.contains(family), "{family}");
    }
    for round in 0..20 {
        let pods = vec![pod("web-0", "i"), exclusive_pod(&format!("cache-{round}"), "2-3")];
        sender.send(Arc::new(exclusive_report(pods))).unwrap();
        let text = metrics.scrape(Format::OpenMetrics).unwrap();
        assert_eq!(text.as_str().matches("_foreign_cpu_seconds_total{").count(), 5);
    }
    sender.send(Arc::new(report(vec![pod("web-0", "i")]))).unwrap();
    assert_eq!(metrics.scrape(Format::OpenMetrics).unwrap().as_str(), plain);
}

#[test]
fn kernel_threads_are_bounded_and_each_name_is_one_series() {
    let (sender, metrics) = metrics(Vec::new());
    let mut told = exclusive_report(Vec::new());
    let threads = &mut told.cpus.as_mut().unwrap().kernel_threads;
    *threads = (0..10_000)
        .map(|i| (format!("kworker/{i}"), Duration::from_secs(1)))
        .collect();
    threads[0].0 = "x\u{1}".to_owned();
    threads[1].0 = "x\u{2}".to_owned();
    sender.send(Arc::new(told)).unwrap();
    let text = metrics.scrape(Format::Classic).unwrap();
    let series = |line: &&str| line.starts_with("plimsoll_exclusive_cpu_kernel_thread_seconds_total{");
    let lines: Vec<_> = text.as_str().lines().filter(series).collect();
    assert_eq!(lines.len(), 63);
    assert!(
        lines
            .iter()
            .any(|line| line.ends_with("{name=\"x\u{fffd}\"} 2.0")),
        "{lines:?}"
    );
}

#[test]
fn a_hostile_text_stays_in_its_label() {
    let evil = "x\"} 1\nplimsoll_forged{a=\"\\\u{1b}[2J\r\u{0}\u{85}";
    let long = "y".repeat(5000);
    let mut refused = pod("web-1", &long);
    refused.reason = Some(evil.to_owned());
    let (_sender, metrics) = metrics(vec![pod("web-0", evil), refused]);
    for format in [Format::OpenMetrics, Format::Classic] {
        let text = metrics.scrape(format).unwrap();
        let text = text.as_str();
        assert!(!text.lines().any(|line| line.starts_with("plimsoll_forged")));
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'));
        assert!(text.lines().all(|line| line.len() < 1000));
        assert!(text.contains("image=\"x\\\"} 1\u{fffd}plimsoll_forged{a=\\\"\\\\"));
    }
}

#[test]
fn the_format_follows_the_accept_header() {
    let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                      text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert_eq!(Format::accepted(Some(prometheus)), Format::OpenMetrics);
    assert_eq!(Format::accepted(Some("text/plain")), Format::Classic);
    assert_eq!(
        Format::accepted(Some("application/openmetrics-text;q=0, */*")),
        Format::Classic
    );
    assert_eq!(Format::accepted(None), Format::Classic);
}
