//! The five acts, in order.

use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use plimsoll::model::{ContainerPhase, PodPhase};

use super::facts::{
    cgroup_file, claim, container, container_of, cpu_from_file, is_alive, pod, process, processes, runs,
};
use super::pods::LASTING;
use super::{Claim, Stage, pods, show};

/// How long anything may take; under software emulation the machine is some twenty times slower.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a scrape must have.
const FAMILIES: [&str; 5] = [
    "container_cpu_usage_seconds_total",
    "container_memory_working_set_bytes",
    "plimsoll_pod_info",
    "plimsoll_cgroup_run_queue_delay_seconds",
    "plimsoll_probe_attached",
];

pub(super) fn all(stage: &mut Stage) -> Claim {
    placed(stage)?;
    watched(stage)?;
    limited(stage)?;
    adopted(stage)?;
    scraped(stage)
}

/// Act 1: the pods run where they should, with the values that the kernel shows.
fn placed(stage: &mut Stage) -> Claim {
    show::heading("1. Placed: every pod in its class's cgroup, values as the kernel has them");
    pods::write_lasting(&stage.agent.pods())?;
    let begun = Instant::now();
    stage.agent.start()?;
    let report = stage
        .agent
        .wait_for(PATIENCE, |r| LASTING.iter().all(|(name, _)| runs(r, name)))?;
    println!("  running after {:.1?}\n", begun.elapsed());
    let mut rows = Vec::new();
    for (name, class) in LASTING {
        let pod = pod(&report, name)?;
        claim(pod.qos.as_str() == class, || {
            format!("{name} is {}, not {class}", pod.qos)
        })?;
        let container = container(pod)?;
        for (what, cgroup) in [
            (format!("pod {name}"), &pod.cgroup.path),
            (container.name.to_string(), &container.cgroup.path),
        ] {
            let read =
                |file: &str| cgroup_file(stage, &cgroup.to_string(), file).unwrap_or_else(|e| e.to_string());
            rows.push([
                what,
                cgroup.to_string(),
                read("cpu.weight"),
                read("cpu.max"),
                read("memory.min"),
                read("memory.low"),
                read("memory.max"),
            ]);
        }
        let identity = process(container)?;
        let home = fs::read_to_string(format!("/proc/{}/cgroup", identity.pid))?;
        claim(home.contains(&container.cgroup.path.to_string()), || {
            format!("{name}'s process is in {home}")
        })?;
        let adj = fs::read_to_string(format!("/proc/{}/oom_score_adj", identity.pid))?;
        claim(adj.trim() == container.oom_score_adj.to_string(), || {
            format!("{name}'s oom_score_adj is {adj}")
        })?;
    }
    show::table(
        [
            "",
            "cgroup",
            "cpu.weight",
            "cpu.max",
            "memory.min",
            "memory.low",
            "memory.max",
        ],
        &rows,
    );
    let burner = pod(&report, "burner")?;
    let quota = cgroup_file(stage, &burner.cgroup.path.to_string(), "cpu.max")?;
    claim(quota == "30000 100000", || {
        format!("a limit of 300m is cpu.max {quota:?}")
    })?;
    let low = cgroup_file(stage, "burstable", "memory.low")?;
    claim(low.parse::<u64>().is_ok_and(|n| n >= 64 << 20), || {
        format!("burstable/memory.low is {low}: the pod's protection would be void")
    })
}

/// Act 2: eBPF's figures beside the cgroup files' own.
fn watched(stage: &mut Stage) -> Claim {
    show::heading("2. Watched: CPU, run-queue delay and memory from eBPF, beside the cgroup files");
    let report = stage.agent.wait_for(PATIENCE, |r| !r.probes.is_empty())?;
    for probe in &report.probes {
        let state = probe.reason.as_deref().unwrap_or("attached");
        println!("  probe {:<10} {state}", probe.name);
    }
    claim(report.probes.iter().any(|p| p.attached), || {
        "no probe is attached".to_owned()
    })?;
    println!();
    thread::sleep(Duration::from_secs(5));
    let mut rows = Vec::new();
    for (name, _) in LASTING {
        let before = cpu_from_file(stage, &report, name)?;
        let report = stage.agent.status()?;
        let after = cpu_from_file(stage, &report, name)?;
        let pod = pod(&report, name)?;
        let (Some(cpu), Some(memory)) = (&pod.cgroup.cpu, &pod.cgroup.memory) else {
            return Err(format!("{name} has no figures").into());
        };
        let current = cgroup_file(stage, &pod.cgroup.path.to_string(), "memory.current")?;
        rows.push([
            name.to_owned(),
            cpu.rate.map_or_else(|| "-".to_owned(), |r| format!("{}m", r.0)),
            format!("{:.2?}", cpu.total),
            format!("{after:.2?}"),
            cpu.run_delay
                .map_or_else(|| "-".to_owned(), |d| format!("{d:.2?}")),
            cpu.run_delay_count
                .map_or_else(|| "-".to_owned(), |n| n.to_string()),
            memory.current.to_string(),
            current
                .parse::<u64>()
                .map_or(current, |n| plimsoll::model::Bytes(n).to_string()),
        ]);
        // The agent samples once a second, and a slice that still runs is not counted yet.
        let slack = Duration::from_millis(2500);
        claim(cpu.total <= after + slack && cpu.total + slack >= before, || {
            format!(
                "{name}: the agent says {:?} of CPU, the file {before:?} to {after:?}",
                cpu.total
            )
        })?;
    }
    show::table(
        [
            "pod",
            "CPU",
            "CPU time",
            "(file)",
            "run delay",
            "waits",
            "memory",
            "(file)",
        ],
        &rows,
    );
    let burner = pod(&stage.agent.status()?, "burner")?.clone();
    let total = burner.cgroup.cpu.map(|c| c.total).unwrap_or_default();
    claim(total > Duration::from_millis(500), || {
        format!("the burner used only {total:?}")
    })?;
    let cache = pod(&stage.agent.status()?, "cache")?.clone();
    let held = cache.cgroup.memory.map(|m| m.current.0).unwrap_or_default();
    claim(held > 30_000_000, || format!("the cache holds only {held} bytes"))
}

/// Act 3: the pod that outgrew its limit was killed inside it, and the record names it.
fn limited(stage: &mut Stage) -> Claim {
    show::heading("3. Limited: a container beyond its memory limit, and the record that names it");
    pods::write_leak(&stage.agent.pods())?;
    let report = stage.agent.wait_for(PATIENCE, |r| !r.oom_kills.is_empty())?;
    let record = report.oom_kills.first().ok_or("no OOM record")?;
    let Some((_, namespace, name, container)) = &record.container else {
        return Err(format!("the record names no container: {record:?}").into());
    };
    println!(
        "  OOM kill: {namespace}/{name} container {container}, process {} ({}), trigger {}, usage {}, limit {}",
        record.pid.map_or_else(|| "unknown".to_owned(), |p| p.to_string()),
        record.comm,
        record
            .trigger_pid
            .map_or_else(|| "unknown".to_owned(), |p| format!("process {p}")),
        record
            .usage
            .map_or_else(|| "unknown".to_owned(), |b| b.to_string()),
        record
            .limit
            .and_then(plimsoll::model::Limit::at)
            .map_or_else(|| "unknown".to_owned(), |b| b.to_string()),
    );
    claim(name.as_str() == "leak" && container.as_str() == "grower", || {
        format!("the wrong one: {record:?}")
    })?;
    let watched = report.probes.iter().any(|p| p.name == "oom" && p.attached);
    claim(!watched || record.pid.is_some() && record.usage.is_some(), || {
        format!("the probe saw it, and the record lacks what it saw: {record:?}")
    })?;
    let report = stage.agent.wait_for(PATIENCE, |r| {
        pod(r, "leak").is_ok_and(|p| p.phase == PodPhase::Failed)
    })?;
    let phase = &container_of(&report, "leak")?.phase;
    println!("  leak: {phase:?}");
    claim(
        matches!(phase, ContainerPhase::Terminated { reason, .. } if reason == "OOMKilled"),
        || format!("the container's end is told as {phase:?}"),
    )?;
    LASTING
        .iter()
        .try_for_each(|(name, _)| claim(runs(&report, name), || format!("{name} suffered for it")))
}

/// Act 4: the agent killed and started again; every process goes on and is adopted.
fn adopted(stage: &mut Stage) -> Claim {
    show::heading("4. Adopted: the agent killed with SIGKILL and started again");
    let before = processes(&stage.agent.status()?)?;
    stage.agent.kill()?;
    for (name, identity) in &before {
        claim(is_alive(*identity), || {
            format!("{name}'s process {} died with the agent", identity.pid)
        })?;
    }
    let begun = Instant::now();
    stage.agent.start()?;
    let report = stage
        .agent
        .wait_for(PATIENCE, |r| LASTING.iter().all(|(name, _)| runs(r, name)))?;
    let after = processes(&report)?;
    let rows: Vec<_> = before
        .iter()
        .zip(&after)
        .map(|((name, was), (_, is))| [name.clone(), was.pid.to_string(), is.pid.to_string()])
        .collect();
    show::table(["pod", "process before", "process after"], &rows);
    println!("  answering again after {:.1?}", begun.elapsed());
    claim(before == after, || "a process was replaced".to_owned())?;
    for (name, _) in LASTING {
        let container = container_of(&report, name)?;
        claim(
            matches!(container.phase, ContainerPhase::Running { adopted: true, .. })
                && container.restarts == 0,
            || format!("{name} was not adopted: {:?}", container.phase),
        )?;
    }
    Ok(())
}

/// Act 5: what Prometheus would scrape, once the probes are attached again.
fn scraped(stage: &mut Stage) -> Claim {
    show::heading("5. Scraped: GET /metrics");
    stage.agent.wait_for(PATIENCE, |r| !r.probes.is_empty())?;
    let deadline = Instant::now() + PATIENCE;
    let text = loop {
        let text = stage.agent.get("/metrics")?;
        match FAMILIES.iter().find(|family| series(&text, family).is_none()) {
            None => break text,
            Some(family) if Instant::now() > deadline => return Err(format!("no series of {family}").into()),
            Some(_) => thread::sleep(Duration::from_millis(200)),
        }
    };
    for family in FAMILIES {
        println!("  {}", series(&text, family).unwrap_or_default());
    }
    println!(
        "  … {} series",
        text.lines().filter(|l| !l.starts_with('#')).count()
    );
    Ok(())
}

/// A series of that family: the burner's, where series are per pod.
fn series<'a>(text: &'a str, family: &str) -> Option<&'a str> {
    text.lines()
        .find(|l| l.starts_with(family) && (family == "plimsoll_probe_attached" || l.contains("burner")))
}

/// Stops the agent and removes every cgroup and process of the demo.
pub(super) fn tidy_up(stage: &mut Stage) -> Claim {
    stage.agent.kill()?;
    if !stage.tree.exists() {
        return Ok(());
    }
    let deadline = Instant::now() + PATIENCE;
    fs::write(stage.tree.join("cgroup.kill"), "1")?;
    while let Err(error) = remove_tree(&stage.tree) {
        if Instant::now() > deadline {
            return Err(format!("cannot remove {}: {error}", stage.tree.display()).into());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn remove_tree(directory: &PathBuf) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}
