//! A real Prometheus scrapes the agent's server; `promtool` reads what it serves.
//!
//! Where the programs are from, and what happens without them: [`plimsoll_tests::prometheus`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test target: a failure is the message"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use plimsoll::metrics::server::{Served, serve_metrics};
use plimsoll::metrics::{Format, Health, KernelKill, Metrics};
use plimsoll::model::sample::{decision_record, exclusive_pod, exclusive_report, pod, pressure, report};
use plimsoll::model::{BootTime, Bytes, ControlFile, NodeReport, PodReport, QosClass};
use plimsoll_tests::prometheus::program;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// How long a scrape may take to show; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(90);

/// A text that would forge a series if it were not escaped.
const HOSTILE: &str = "x\"} 1\nplimsoll_forged{pod=\"\\\t{{$labels}}é";
/// The same as a label shows it.
const HOSTILE_SHOWN: &str = "x\"} 1\u{fffd}plimsoll_forged{pod=\"\\\u{fffd}{{$labels}}é";

/// Four pods: one large, one with hostile texts, one with CPUs to itself.
fn pods() -> Vec<PodReport> {
    let mut hog = pod("hog", "shop/hog");
    hog.containers[0].cgroup.memory.as_mut().unwrap().working_set = Bytes::mib(700);
    let mut hostile = pod("hostile", HOSTILE);
    hostile.reason = Some(HOSTILE.to_owned());
    vec![
        pod("web-0", "shop/web"),
        hog,
        hostile,
        exclusive_pod("cache", "2-3"),
    ]
}

fn metrics(
    pods: Vec<PodReport>,
) -> (
    watch::Sender<Arc<NodeReport>>,
    watch::Receiver<Arc<NodeReport>>,
    Metrics,
) {
    let mut told = exclusive_report(pods);
    told.pressure = Some(pressure());
    let (sender, reports) = watch::channel(Arc::new(told));
    let metrics = Metrics::new(reports.clone());
    let counters = metrics.counters();
    counters.pass_done(Duration::from_millis(3));
    counters.written(ControlFile::CpuMax);
    counters.write_failed(ControlFile::MemoryMax, "EBUSY");
    counters.drifted(ControlFile::CpuWeight);
    counters.events("cgroup_made", 2);
    counters.events_lost("ring_buffer", 1);
    counters.pod_refused("OutOfcpu");
    counters.cpu_granted();
    counters.cpu_clean(Duration::from_millis(1));
    counters.cpu_changed("cpus_gone");
    counters.container_started();
    counters.container_ended("OOMKilled");
    counters.oom_killed(QosClass::BestEffort, 1);
    counters.pressure().decided(&decision_record(1));
    counters.pressure().kernel_killed(KernelKill::Node, 2);
    (sender, reports, metrics)
}

#[test]
fn promtool_finds_nothing_to_say() {
    let Some(promtool) = program("promtool") else {
        return;
    };
    let (_sender, _reports, metrics) = metrics(pods());
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = metrics.scrape(Format::Classic).unwrap();
    child.stdin.take().unwrap().write_all(text.as_ref()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && said.is_empty(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

/// A Prometheus server with a store of its own; killed at the end.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill, and waiting reaps it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Prometheus {
    fn start(binary: &Path, target: SocketAddr) -> Self {
        // Prometheus cannot pick a port by itself; one that was free a moment ago may be taken: then try another.
        for _ in 0..5 {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = free.local_addr().unwrap();
            drop(free);
            if let Some(running) = Self::start_at(binary, address, target) {
                return running;
            }
        }
        panic!("Prometheus did not start");
    }

    fn start_at(binary: &Path, address: SocketAddr, target: SocketAddr) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("prometheus.yml");
        fs::write(
            &config,
            format!(
                "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: plimsoll\n  \
                 static_configs: [{{targets: ['{target}']}}]\n"
            ),
        )
        .unwrap();
        let mut child = Command::new(binary)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.path().join("store").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let mut lines = log.lines().map_while(Result::ok);
        let ready = lines.any(|line| {
            said.push_str(&line);
            said.push('\n');
            line.contains("Server is ready to receive web requests")
        });
        // Its log must be read on, or it blocks.
        std::thread::spawn(move || lines.for_each(drop));
        let running = Self {
            child,
            address,
            _directory: directory,
        };
        if !ready {
            eprintln!("{said}");
        }
        ready.then_some(running)
    }

    async fn get(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// The samples that PromQL finds now, each as labels and value.
    async fn query(&self, promql: &str) -> Vec<(Value, f64)> {
        let escaped: String = promql.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = self.get(&format!("/api/v1/query?query={escaped}")).await;
        assert_eq!(answer["status"], "success", "{promql}: {answer}");
        let samples = answer["data"]["result"].as_array().unwrap();
        let sample = |s: &Value| {
            (
                s["metric"].clone(),
                s["value"][1].as_str().unwrap().parse().unwrap(),
            )
        };
        samples.iter().map(sample).collect()
    }

    /// Queries until `good` is true of the samples.
    async fn query_until(&self, promql: &str, good: impl Fn(&[(Value, f64)]) -> bool) -> Vec<(Value, f64)> {
        let asking = async {
            loop {
                let samples = self.query(promql).await;
                if good(&samples) {
                    return samples;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, asking).await;
        match found {
            Ok(samples) => samples,
            Err(_) => panic!(
                "{promql}: {:?}; targets: {}",
                self.query(promql).await,
                self.get("/api/v1/targets").await
            ),
        }
    }
}

#[tokio::test]
async fn prometheus_finds_the_right_pod() {
    let Some(binary) = program("prometheus") else {
        return;
    };
    let (sender, reports, metrics) = metrics(pods());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let served = Arc::new(Served {
        metrics,
        reports,
        asks: mpsc::unbounded_channel().0,
        health: Arc::new(Health::new(Duration::from_secs(1))),
        now: Box::new(|| BootTime(Duration::ZERO)),
    });
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(serve_metrics(listener, served, stopped));
    let prometheus = tokio::task::spawn_blocking(move || Prometheus::start(&binary, target))
        .await
        .unwrap();

    prometheus
        .query_until("up{job=\"plimsoll\"} == 1", |found| found.len() == 1)
        .await;
    let targets = prometheus.get("/api/v1/targets").await;
    assert_eq!(targets["data"]["activeTargets"][0]["lastError"], "", "{targets}");

    let hog = prometheus
        .query("topk(1, container_memory_working_set_bytes{namespace=\"shop\", container!=\"\"})")
        .await;
    assert_eq!(hog.len(), 1, "{hog:?}");
    assert_eq!(hog[0].0["pod"], "hog");
    assert!((hog[0].1 - Bytes::mib(700).0 as f64).abs() < 1.0, "{hog:?}");

    let cpu = prometheus
        .query("sum by (pod) (container_cpu_usage_seconds_total{pod=\"web-0\", container!=\"\"})")
        .await;
    assert!(cpu.len() == 1 && (cpu[0].1 - 1.5).abs() < 1e-9, "{cpu:?}");

    let delay = prometheus
        .query("histogram_quantile(0.5, plimsoll_cgroup_run_queue_delay_seconds_bucket{pod=\"web-0\"})")
        .await;
    // One wait in each of 16 buckets: half of them ended within 2^19 ns.
    assert!(
        delay.len() == 1 && (262e-6..1.05e-3).contains(&delay[0].1),
        "{delay:?}"
    );

    // What an operator's rules on memory pressure ask for.
    for (promql, expected) in [
        (
            "histogram_quantile(1, plimsoll_pressure_stage_seconds_bucket{stage=\"signal\"}) <= bool 0.001",
            1.0,
        ),
        ("plimsoll_missed_kernel_oom_total", 1.0),
        ("plimsoll_oom_agreement", 1.0),
        (
            "min(plimsoll_memory_exhaustion_seconds) by (level) < 1 and on (level) plimsoll_memory_exhaustion_confidence > 0.7",
            0.7,
        ),
        (
            "sum(kubelet_evictions{eviction_signal=\"memory.available\"})",
            1.0,
        ),
        ("plimsoll_journal_records_lost_total > 0", 1.0),
        ("plimsoll_eviction_threshold_met{kind=\"hard\"}", 1.0),
    ] {
        let found = prometheus.query(promql).await;
        assert!(
            found.len() == 1 && (found[0].1 - expected).abs() < 1e-9,
            "{promql}: {found:?}"
        );
    }

    let hostile = prometheus
        .query("container_threads{pod=\"hostile\", container=\"main\"}")
        .await;
    assert_eq!(hostile[0].0["image"], HOSTILE_SHOWN);
    assert_eq!(prometheus.query("plimsoll_forged").await.len(), 0);
    assert_eq!(prometheus.query("plimsoll_pod_info").await.len(), 4);

    // The share of the kernel in the time of a container's own CPUs, as a rule on it would have it.
    let foreign = prometheus
        .query(
            "sum by (pod) (plimsoll_container_foreign_cpu_seconds_total{kind!~\"pods|system\"}) \
             / on (pod) plimsoll_container_foreign_cpu_window_seconds_total",
        )
        .await;
    assert_eq!(foreign.len(), 1, "{foreign:?}");
    assert_eq!(foreign[0].0["pod"], "cache");
    assert!((foreign[0].1 - 0.001).abs() < 1e-9, "{foreign:?}");
    let given = prometheus.query("sum(plimsoll_cpus{kind=\"exclusive\"})").await;
    assert!(given.len() == 1 && (given[0].1 - 2.0).abs() < 1e-9, "{given:?}");

    sender
        .send(Arc::new(report(vec![pod("web-0", "shop/web")])))
        .unwrap();
    prometheus
        .query_until("container_threads{pod=\"hog\"}", <[_]>::is_empty)
        .await;
    assert_eq!(
        prometheus.query("container_threads{pod=\"web-0\"}").await.len(),
        2
    );
}
