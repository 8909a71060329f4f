//! What a running agent costs with 250 pods, how fast it acts, and that it does not grow.
//!
//! The pods are real processes in real cgroups. Where the cgroup tree has no controllers the agent places pods
//! without limits, which changes neither the number of its records nor of its series.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use crate::agent::Agent;

use super::{Bench, Figure, Figures, percentile};

/// The agent's root cgroup in this benchmark.
const ROOT: &str = "plimsoll-bench";
/// Pods on the node.
const PODS: usize = 250;
/// Cgroups that somebody else makes.
const DISCOVERED: usize = 200;
/// Pods that come and go.
const CHURN: usize = 10_000;
/// The first of them, after which the agent has all the memory that it needs.
const WARM: usize = 1000;
/// After this long the agent has given back what it does not need; it does so once a minute.
const GIVEN_BACK: Duration = Duration::from_secs(65);
/// Pods that come and go at once.
const BATCH: usize = 200;
/// How long one step may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn figures(bench: &Bench) -> Figures {
    let directory = env::temp_dir().join(format!("plimsoll-bench-{}", std::process::id()));
    let mut agent = Agent::new(&bench.program, &directory, ROOT, "maxPods: 1000\n")?;
    agent.start()?;
    let tree = bench.mount.join(ROOT);
    let measured = measure(&agent, &tree);
    agent.kill()?;
    fs::write(tree.join("cgroup.kill"), "1")?;
    remove(&tree)?;
    fs::remove_dir_all(&directory)?;
    measured
}

fn measure(agent: &Agent, tree: &Path) -> Figures {
    agent.wait_for(PATIENCE, |_| true)?;
    let mut latencies = Vec::new();
    for n in 0..PODS {
        let begun = Instant::now();
        add(agent, n)?;
        wait_until(|| Ok(is_running(tree, n)))?;
        latencies.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let mut figures = vec![
        Figure::alone(
            "manifest written to process running, median",
            percentile(&mut latencies, 50),
            "ms",
        ),
        Figure::alone(
            "manifest written to process running, p99",
            percentile(&mut latencies, 99),
            "ms",
        ),
    ];
    thread::sleep(Duration::from_secs(5));
    let pid = agent.pid().ok_or("the agent does not run")?;
    let (before, begun) = (cpu_ticks(pid)?, Instant::now());
    thread::sleep(Duration::from_secs(20));
    let percent = (cpu_ticks(pid)? - before) / begun.elapsed().as_secs_f64();
    figures.push(Figure::alone(
        format!("agent's CPU, idle at {PODS} pods"),
        percent,
        "%",
    ));
    figures.push(Figure::alone(
        format!("agent's RSS at {PODS} pods"),
        rss_mib(pid)?,
        "MiB",
    ));
    let first = scrape(agent, 50)?;
    figures.push(Figure::alone(
        format!("/metrics at {PODS} pods, median"),
        first.median_ms,
        "ms",
    ));
    figures.extend(discovery(agent, tree)?);
    churn(agent, tree, PODS..PODS + WARM)?;
    thread::sleep(GIVEN_BACK);
    let warm_rss = rss_mib(pid)?;
    churn(agent, tree, PODS + WARM..PODS + CHURN)?;
    thread::sleep(GIVEN_BACK);
    let last = scrape(agent, 50)?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let [series_before, series_after] = [first.series, last.series].map(|n| n as f64);
    let name = |what: &str| format!("{what} after {CHURN} pods came and went");
    // Beside the first of them, which had the most pods at once already: what more came after those is growth.
    figures.push(Figure::beside(
        name("agent's RSS"),
        rss_mib(pid)?,
        "MiB",
        warm_rss,
    ));
    figures.push(Figure::beside(name("series"), series_after, "", series_before));
    figures.push(Figure::beside(
        name("/metrics, median"),
        last.median_ms,
        "ms",
        first.median_ms,
    ));
    Ok(figures)
}

/// Pods come and go in batches beside the lasting ones.
fn churn(agent: &Agent, tree: &Path, pods: Range<usize>) -> io::Result<()> {
    for first in pods.step_by(BATCH) {
        for n in first..first + BATCH {
            add(agent, n)?;
        }
        wait_until(|| Ok((first..first + BATCH).all(|n| is_running(tree, n))))?;
        for n in first..first + BATCH {
            fs::remove_file(agent.pods().join(format!("{n}.yaml")))?;
        }
        wait_until(|| Ok((first..first + BATCH).all(|n| !pod_directory(tree, n).exists())))?;
    }
    Ok(())
}

fn uid(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

fn add(agent: &Agent, n: usize) -> io::Result<()> {
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{ name: bench-{n}, uid: {uid} }}\nspec:\n  \
         terminationGracePeriodSeconds: 1\n  containers:\n    - name: main\n      command: [sleep, '1000000']\n",
        uid = uid(n)
    );
    let hidden = agent.pods().join(format!(".{n}.tmp"));
    fs::write(&hidden, manifest)?;
    fs::rename(hidden, agent.pods().join(format!("{n}.yaml")))
}

fn pod_directory(tree: &Path, n: usize) -> PathBuf {
    tree.join(format!("besteffort/pod{}", uid(n)))
}

fn is_running(tree: &Path, n: usize) -> bool {
    fs::read(pod_directory(tree, n).join("main/cgroup.procs")).is_ok_and(|procs| !procs.is_empty())
}

pub(super) fn wait_until(done: impl Fn() -> io::Result<bool>) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !done()? {
        if Instant::now() > deadline {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("not done within {PATIENCE:?}"),
            ));
        }
        thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// CPU time of a process in clock ticks, of which Linux has 100 a second.
fn cpu_ticks(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<_> = stat
        .rsplit_once(") ")
        .map_or("", |(_, rest)| rest)
        .split(' ')
        .collect();
    Ok([11, 12]
        .iter()
        .filter_map(|n| fields.get(*n)?.parse::<f64>().ok())
        .sum())
}

fn rss_mib(pid: u32) -> io::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(|l| l.trim().strip_suffix(" kB"))
        .and_then(|n| n.trim().parse::<f64>().ok());
    kib.map(|n| n / 1024.0)
        .ok_or_else(|| io::Error::other("no VmRSS"))
}

struct Scrape {
    median_ms: f64,
    series: usize,
}

fn scrape(agent: &Agent, times: usize) -> io::Result<Scrape> {
    let mut samples = Vec::new();
    let mut series = 0;
    for _ in 0..times {
        let begun = Instant::now();
        let text = agent.get("/metrics")?;
        samples.push(begun.elapsed().as_secs_f64() * 1e3);
        series = text.lines().filter(|l| !l.starts_with('#')).count();
    }
    Ok(Scrape {
        median_ms: percentile(&mut samples, 50),
        series,
    })
}

/// Upper bounds of the median and the 99th percentile of cgroup_mkdir → known, from the agent's own histogram over
/// cgroups that somebody else makes.
fn discovery(agent: &Agent, tree: &Path) -> io::Result<Vec<Figure>> {
    let before = known_within(&agent.get("/metrics")?);
    for n in 0..DISCOVERED {
        let cgroup = tree.join(format!("bench-{n}"));
        fs::create_dir(&cgroup)?;
        thread::sleep(Duration::from_millis(5));
        fs::remove_dir(cgroup)?;
    }
    let after = known_within(&agent.get("/metrics")?);
    let counts: Vec<_> = before
        .iter()
        .zip(&after)
        .map(|((bound, before), (_, after))| (*bound, after - before))
        .collect();
    let total = counts.last().map_or(0.0, |(_, count)| *count);
    let at = |share: f64| {
        counts
            .iter()
            .find(|(_, count)| total > 0.0 && *count >= total * share)
    };
    Ok([("median", 0.5), ("p99", 0.99)]
        .into_iter()
        .filter_map(|(name, share)| {
            Some(Figure::alone(
                format!("cgroup_mkdir to known, {name} at most"),
                at(share)?.0 * 1e6,
                "us",
            ))
        })
        .collect())
}

/// The histogram of cgroup_mkdir → known: upper bounds in seconds, and how many were known within.
fn known_within(metrics: &str) -> Vec<(f64, f64)> {
    const FAMILY: &str = "plimsoll_cgroup_discovery_seconds_bucket{le=\"";
    metrics
        .lines()
        .filter_map(|l| l.strip_prefix(FAMILY)?.split_once("\"} "))
        .filter_map(|(bound, count)| Some((bound.parse().ok()?, count.parse().ok()?)))
        .collect()
}

pub(super) fn remove(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    wait_until(|| match fs::remove_dir(directory) {
        Err(error) if error.raw_os_error() == Some(16) => Ok(false),
        other => other.map(|()| true),
    })
}
