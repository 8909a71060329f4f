//! The pods of a report as a table.

use std::time::Duration;

use super::table::lay_out;
use super::words::{NOTHING, astray, foreign, nodes, optional};
use crate::model::{
    Bytes, CgroupReport, ContainerPhase, ContainerReport, CpuSet, Limit, MilliCpu, NodeReport, PodPhase,
    PodReport, Shown,
};

const NARROW: &[&str] = &[
    "NAMESPACE/NAME",
    "CLASS",
    "PHASE",
    "CPU",
    "MEM",
    "LIMIT",
    "OOM",
    "RESTARTS",
    "CGROUP",
];
const WIDE: &[&str] = &[
    "PEAK",
    "RUN-DELAY",
    "THROTTLED",
    "WEIGHT",
    "MIN",
    "LOW",
    "HIGH",
    "SWAP",
    "TASKS",
    "PID",
    "ID",
];
/// Columns of numbers.
const RIGHT: &[usize] = &[3, 4, 5, 6, 7];
/// Further ones of wide output where anybody may have CPUs or memory to itself.
const PLACE: &[&str] = &["CPUS", "MEMS", "FOREIGN"];
/// The longest list of CPUs that is a cell of the table.
const LONGEST_LIST: usize = 20;

/// The whole report for a person: a line for each pod, below it one for each container, then the node.
pub(super) fn show(report: &NodeReport, wide: bool) -> String {
    let placed = wide && places(report);
    let mut heading: Vec<String> = NARROW.iter().map(|&h| h.to_owned()).collect();
    if wide {
        // The cgroup, of any length, stays last.
        let more = WIDE.iter().map(|&h| h.to_owned());
        let placed = PLACE.iter().filter(|_| placed).map(|&h| h.to_owned());
        heading.splice(NARROW.len() - 1..NARROW.len() - 1, more.chain(placed));
    }
    let mut rows = vec![heading];
    for pod in &report.pods {
        let mut push = |line: &Line, cgroup: &CgroupReport, container| {
            let mut cells = row(line, cgroup, container, wide);
            if placed {
                cells.extend(place(container));
            }
            cells.push(cgroup.path.to_string());
            rows.push(cells);
        };
        push(&Line::of_pod(pod), &pod.cgroup, None);
        for container in &pod.containers {
            push(&Line::of_container(container), &container.cgroup, Some(container));
        }
    }
    let right: Vec<usize> = RIGHT
        .iter()
        .copied()
        .chain(NARROW.len() - 1..NARROW.len() - 1 + if wide { WIDE.len() } else { 0 })
        .collect();
    let mut text = if report.pods.is_empty() {
        "no pods\n".to_owned()
    } else {
        lay_out(&rows, &right)
    };
    text.push_str(&node(report));
    text
}

/// What differs between a pod's line and a container's.
struct Line {
    name: String,
    class: String,
    phase: String,
    oom_score_adj: String,
    restarts: u32,
}

impl Line {
    fn of_pod(pod: &PodReport) -> Self {
        let phase = match pod.phase {
            PodPhase::Pending => "Pending",
            PodPhase::Running => "Running",
            PodPhase::Succeeded => "Succeeded",
            PodPhase::Failed => "Failed",
        };
        Self {
            name: format!("{}/{}", pod.namespace, pod.name),
            class: pod.qos.to_string(),
            phase: pod.reason.clone().unwrap_or_else(|| phase.to_owned()),
            oom_score_adj: String::new(),
            restarts: pod.containers.iter().map(|c| c.restarts).sum(),
        }
    }

    fn of_container(container: &ContainerReport) -> Self {
        let phase = match &container.phase {
            ContainerPhase::Waiting { reason, .. } | ContainerPhase::Terminated { reason, .. } => {
                reason.clone()
            }
            ContainerPhase::Running { adopted: true, .. } => "Adopted".to_owned(),
            ContainerPhase::Running { adopted: false, .. } => "Running".to_owned(),
        };
        Self {
            name: format!("  {}", container.name),
            class: String::new(),
            phase,
            oom_score_adj: container.oom_score_adj.to_string(),
            restarts: container.restarts,
        }
    }
}

fn row(line: &Line, cgroup: &CgroupReport, container: Option<&ContainerReport>, wide: bool) -> Vec<String> {
    let cpu = cgroup.cpu.as_ref();
    let memory = cgroup.memory.as_ref();
    let limits = &cgroup.limits;
    let limit = format!(
        "{}/{}",
        optional(limits.cpu_max.and_then(|(quota, period)| {
            let micros = quota.at()?.0.saturating_mul(1000);
            Some(cores(MilliCpu(micros / period.0.max(1))))
        })),
        optional(limits.memory_max.and_then(Limit::at)),
    );
    let mut cells = vec![
        line.name.clone(),
        line.class.clone(),
        line.phase.clone(),
        optional(cpu.and_then(|c| c.rate).map(cores)),
        optional(memory.map(|m| m.working_set)),
        if limit == "-/-" { NOTHING.to_owned() } else { limit },
        line.oom_score_adj.clone(),
        line.restarts.to_string(),
    ];
    if wide {
        let bound = |limit: Option<Limit<Bytes>>| {
            optional(limit.map(|limit| limit.at().map_or_else(|| "max".to_owned(), |b| b.to_string())))
        };
        let pid = container.and_then(|c| match c.phase {
            ContainerPhase::Running { process, .. } => Some(process.pid),
            _ => None,
        });
        cells.extend([
            optional(memory.and_then(|m| m.peak)),
            optional(cpu.and_then(|c| c.run_delay).map(seconds)),
            optional(cpu.and_then(|c| c.throttled).map(seconds)),
            optional(limits.cpu_weight.map(|w| w.0)),
            bound(limits.memory_min),
            bound(limits.memory_low),
            bound(limits.memory_high),
            optional(memory.and_then(|m| m.swap)),
            optional(cgroup.tasks),
            optional(pid),
            optional(cgroup.id.map(|id| id.0)),
        ]);
    }
    cells
}

/// Whether CPUs or memory are given to anybody on this node.
fn places(report: &NodeReport) -> bool {
    let mut containers = report.pods.iter().flat_map(|pod| &pod.containers);
    report.cpus.is_some() || containers.any(|container| container.cpus.is_some())
}

/// Where a container may run, and whether it is alone there; nothing of a pod.
fn place(container: Option<&ContainerReport>) -> [String; 3] {
    let Some(container) = container else {
        return [const { String::new() }; 3];
    };
    let cpus = container.cpus.as_ref();
    let grant = cpus.and_then(|cpus| cpus.grant.as_ref());
    let own = |own: &CpuSet| {
        let list = own.to_string();
        if list.len() <= LONGEST_LIST {
            list
        } else {
            format!("{} CPUs", own.len())
        }
    };
    [
        optional(cpus.map(|cpus| cpus.own.as_ref().map_or_else(|| "shared".to_owned(), own))),
        optional(cpus.and_then(|cpus| cpus.memory_nodes.as_deref()).map(nodes)),
        optional(grant.and_then(|grant| grant.foreign.as_ref()).map(foreign)),
    ]
}

/// What is true of the node, and everything that is wrong.
fn node(report: &NodeReport) -> String {
    let attached = report.probes.iter().filter(|p| p.attached).count();
    let mut text = format!(
        "\nnode {}, plimsoll {}, root {}: {} CPUs and {} to give, {attached} of {} probes attached\n",
        Shown(&report.node_name),
        Shown(&report.version),
        Shown(&report.root),
        cores(report.allocatable_cpu),
        report.allocatable_memory,
        report.probes.len(),
    );
    for probe in report.probes.iter().filter(|p| !p.attached) {
        let reason = probe.reason.as_deref().unwrap_or("no reason given");
        text.push_str(&format!("probe {}: {}\n", Shown(&probe.name), Shown(reason)));
    }
    for pod in &report.pods {
        if let Some(message) = &pod.message {
            text.push_str(&format!(
                "pod {}/{}: {}\n",
                pod.namespace,
                pod.name,
                Shown(message)
            ));
        }
        for container in &pod.containers {
            if let ContainerPhase::Waiting { message, .. } = &container.phase
                && !message.is_empty()
            {
                let place = format!("{}/{} {}", pod.namespace, pod.name, container.name);
                text.push_str(&format!("container {place}: {}\n", Shown(message)));
            }
            if let Some(cpus) = &container.cpus
                && let Some((own, has)) = astray(cpus, &container.cgroup)
            {
                let place = format!("{}/{} {}", pod.namespace, pod.name, container.name);
                text.push_str(&format!(
                    "container {place}: its own CPUs are {own}, the kernel shows {has}\n"
                ));
            }
        }
    }
    for change in report.cpus.iter().flat_map(|cpus| &cpus.changes) {
        text.push_str(&format!("cpus: {}\n", Shown(change)));
    }
    for error in &report.manifest_errors {
        text.push_str(&format!("manifest: {}\n", Shown(error)));
    }
    text
}

/// CPUs with as many digits as a person wants: `250m`, `1.5`, `12`.
fn cores(cpu: MilliCpu) -> String {
    match cpu.0 {
        n if n < 1000 => format!("{n}m"),
        n if n < 10_000 => format!("{}.{}", n / 1000, n % 1000 / 100),
        n => (n / 1000).to_string(),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.3}s", duration.as_secs_f64())
}
