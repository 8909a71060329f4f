//! `plimsoll explain`: why a pod's containers run where they do, or why they do not run.
//!
//! **How.** All of it is in the running agent's report; here it is found by name and put in the order in which one asks: does
//! it run, on which CPUs and why, what does the kernel say to that, was it alone there, what else holds it.
//!
//! # Properties
//! - A name fits one pod of one namespace, or nothing is told.
//! - Every text is shown escaped, and whole: long ones on several lines.

#[cfg(test)]
mod tests;

use serde::Serialize;

use super::pressure_words::{barred, decision, need, outcome, stages};
use super::table::lay_out;
use super::words::{astray, foreign, moment, nodes, span};
use crate::model::pressure::{DecisionRecord, RankedPod};
use crate::model::{
    Bytes, CgroupLimits, ContainerCpus, ContainerPhase, ContainerReport, GrantReport, Limit, NodeReport,
    PodReport, PodUid, Shown,
};

/// The namespace of pods that name none.
const DEFAULT: &str = "default";
/// How long a line of text may get, its label left out.
const WIDTH: usize = 110;

/// What was asked for.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Found {
    /// Pods with the containers that were asked for; several only while one takes another's place.
    pods: Vec<PodReport>,
    /// Where they stand among those who would go first when memory runs out, from 1.
    ranks: Vec<Rank>,
    /// What was decided about them, oldest first.
    decisions: Vec<DecisionRecord>,
}

/// A pod's place in the order of victims.
#[derive(Debug, PartialEq, Serialize)]
struct Rank {
    place: usize,
    pod: RankedPod,
}

impl Found {
    fn of(report: &NodeReport, pods: Vec<PodReport>) -> Self {
        let meant = |uid: &PodUid| pods.iter().any(|pod| pod.uid == *uid);
        let pressure = report.pressure.as_ref();
        let order = pressure.map_or(&[][..], |pressure| &pressure.order);
        let ranks = (1..).zip(order).filter(|(_, ranked)| meant(&ranked.uid));
        let decisions = pressure.map_or(&[][..], |pressure| &pressure.decisions);
        let about = |record: &&DecisionRecord| record.pod.as_ref().is_some_and(|(uid, ..)| meant(uid));
        Self {
            ranks: ranks
                .map(|(place, pod)| Rank {
                    place,
                    pod: pod.clone(),
                })
                .collect(),
            decisions: decisions.iter().filter(about).cloned().collect(),
            pods,
        }
    }
}

/// One way to read what was asked for.
type Reading<'t> = (&'t str, &'t str, Option<&'t str>);

/// The pods that are meant by `POD[/CONTAINER]` with or without a namespace, which may also stand in front.
pub(super) fn find(report: &NodeReport, target: &str, namespace: Option<&str>) -> Result<Found, String> {
    let parts: Vec<&str> = target.split('/').collect();
    let readings: Vec<Reading<'_>> = match (namespace, parts.as_slice()) {
        (_, [pod]) => vec![(namespace.unwrap_or(DEFAULT), pod, None)],
        (Some(namespace), [pod, container]) => vec![(namespace, pod, Some(container))],
        (None, [first, second]) => vec![(DEFAULT, first, Some(second)), (first, second, None)],
        (None, [namespace, pod, container]) => vec![(namespace, pod, Some(container))],
        _ => {
            return Err(format!(
                "{} names no pod: it is POD, POD/CONTAINER, NAMESPACE/POD or NAMESPACE/POD/CONTAINER",
                Shown(target)
            ));
        }
    };
    let mut found = readings.iter().map(|reading| pods(report, *reading));
    let mut found = found.by_ref().filter(|pods| !pods.is_empty());
    match (found.next(), found.next()) {
        (Some(pods), None) => Ok(Found::of(report, pods)),
        (Some(_), Some(_)) => Err(format!(
            "{} is both a container of a pod in the namespace {DEFAULT} and a pod: name the namespace with --namespace",
            Shown(target)
        )),
        (None, _) => Err(absent(report, &readings)),
    }
}

fn pods(report: &NodeReport, (namespace, name, container): Reading<'_>) -> Vec<PodReport> {
    let named = |pod: &&PodReport| pod.namespace.as_str() == namespace && pod.name.as_str() == name;
    let narrowed = |pod: &PodReport| {
        let wanted = |c: &&ContainerReport| container.is_none_or(|wanted| c.name.as_str() == wanted);
        let containers: Vec<_> = pod.containers.iter().filter(wanted).cloned().collect();
        let there = container.is_none() || !containers.is_empty();
        there.then(|| PodReport {
            containers,
            ..pod.clone()
        })
    };
    report.pods.iter().filter(named).filter_map(narrowed).collect()
}

/// Why nothing was found, with what there is instead.
fn absent(report: &NodeReport, readings: &[Reading<'_>]) -> String {
    let alike = |pod: &&PodReport| readings.iter().any(|(_, name, _)| pod.name.as_str() == *name);
    let told = |pod: &PodReport| {
        let containers: Vec<_> = pod.containers.iter().map(|c| c.name.as_str()).collect();
        format!("{}/{} with {}", pod.namespace, pod.name, containers.join(", "))
    };
    let there: Vec<String> = report.pods.iter().filter(alike).map(told).collect();
    let wanted: Vec<String> = readings
        .iter()
        .map(|(namespace, name, container)| match container {
            Some(container) => format!("container {container} in a pod {namespace}/{name}"),
            None => format!("pod {namespace}/{name}"),
        })
        .collect();
    let wanted = wanted.join(" and no ");
    if there.is_empty() {
        format!("the agent has no {}", Shown(&wanted))
    } else {
        format!("the agent has no {}; it has {}", Shown(&wanted), there.join("; "))
    }
}

/// For people.
pub(super) fn show(report: &NodeReport, found: &Found) -> String {
    let mut rows = Vec::new();
    for pod in &found.pods {
        of_pod(pod, &mut rows);
        for rank in found.ranks.iter().filter(|rank| rank.pod.uid == pod.uid) {
            of_rank(rank, &mut rows);
        }
        for container in &pod.containers {
            rows.push(Vec::new());
            of_container(report, container, &mut rows);
        }
    }
    for record in &found.decisions {
        rows.push(Vec::new());
        of_decision(record, &mut rows);
    }
    lay_out(&rows, &[])
}

type Rows = Vec<Vec<String>>;

/// A label with a text; what is too long for a line goes on in the next ones.
fn tell(rows: &mut Rows, label: &str, text: &str) {
    let mut line = String::new();
    let mut label = label.to_owned();
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + word.chars().count() >= WIDTH {
            rows.push(vec![std::mem::take(&mut label), std::mem::take(&mut line)]);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    rows.push(vec![label, line]);
}

fn of_pod(pod: &PodReport, rows: &mut Rows) {
    let mut state = format!("{:?}", pod.phase);
    if let Some(reason) = &pod.reason {
        state.push_str(&format!(", {reason}"));
    }
    tell(rows, "pod", &format!("{}/{}", pod.namespace, pod.name));
    tell(rows, "  class", &pod.qos.to_string());
    tell(rows, "  state", &state);
    if let Some(message) = &pod.message {
        tell(rows, "  because", message);
    }
    limits(&pod.cgroup.limits, rows);
}

/// Where a pod stands when memory runs out, with the parts of its score.
fn of_rank(rank: &Rank, rows: &mut Rows) {
    let place = rank
        .pod
        .barred
        .map_or_else(|| rank.place.to_string(), |why| format!("none: {}", barred(why)));
    let terms: Vec<_> = rank
        .pod
        .terms
        .iter()
        .map(|term| format!("{} {}", term.name, term.value))
        .collect();
    tell(rows, "  victim", &format!("{place}; {}", terms.join(", ")));
}

/// A decision with the figures that it rested on.
fn of_decision(record: &DecisionRecord, rows: &mut Rows) {
    tell(
        rows,
        "decision",
        &format!("#{}, {}", record.number, moment(record.wall)),
    );
    tell(rows, "  short of", &need(&record.need));
    tell(rows, "  decided", &decision(record));
    tell(rows, "  why", &record.why);
    tell(rows, "  outcome", &outcome(&record.outcome));
    tell(rows, "  stages", &stages(&record.times));
}

fn of_container(report: &NodeReport, container: &ContainerReport, rows: &mut Rows) {
    tell(rows, "container", container.name.as_str());
    let (state, because) = match &container.phase {
        ContainerPhase::Waiting { reason, message } => (format!("waiting, {reason}"), message.as_str()),
        ContainerPhase::Running { process, adopted } => {
            let adopted = if *adopted { ", found running" } else { "" };
            (format!("running as process {}{adopted}", process.pid), "")
        }
        ContainerPhase::Terminated { exit_code, reason } => {
            let code = exit_code.map_or("not known".to_owned(), |code| code.to_string());
            (format!("ended, {reason}, exit code {code}"), "")
        }
    };
    tell(rows, "  state", &state);
    if !because.is_empty() {
        tell(rows, "  because", because);
    }
    match &container.cpus {
        Some(cpus) => of_cpus(container, cpus, rows),
        None if report.cpus.is_none() => {
            tell(
                rows,
                "  CPUs",
                "all: none are given away (cpuManagerPolicy: none)",
            );
        }
        None => tell(rows, "  CPUs", "none: it was not let in"),
    }
    limits(&container.cgroup.limits, rows);
}

fn of_cpus(container: &ContainerReport, cpus: &ContainerCpus, rows: &mut Rows) {
    let own = match &cpus.own {
        Some(own) => format!("{own}: {} of its own", own.len()),
        None => "shared".to_owned(),
    };
    tell(rows, "  CPUs", &own);
    if let Some(partition) = &cpus.partition {
        tell(rows, "  partition", &Shown(partition).to_string());
    }
    if !cpus.why.is_empty() {
        tell(rows, "  why", &cpus.why);
    }
    let shows = match &cpus.has {
        Some(has) if astray(cpus, &container.cgroup).is_some() => format!("{has}, which differs"),
        Some(has) => has.to_string(),
        None => "no CPUs".to_owned(),
    };
    tell(rows, "  kernel shows", &shows);
    let memory = cpus.memory_nodes.as_deref().map(nodes);
    tell(rows, "  memory of NUMA", memory.as_deref().unwrap_or("all nodes"));
    if let Some(grant) = &cpus.grant {
        of_grant(grant, rows);
    }
}

fn of_grant(grant: &GrantReport, rows: &mut Rows) {
    tell(rows, "  granted", &moment(grant.granted_at));
    let clean = match grant.clean_after {
        Some(after) => format!("{} later nobody else's task was seen there", span(after)),
        None => "not seen: others are there yet, or it had them before the agent started".to_owned(),
    };
    tell(rows, "  clean", &clean);
    let Some(time) = &grant.foreign else {
        tell(rows, "  foreign time", "not counted");
        return;
    };
    let kinds = [
        ("other pods", time.pods),
        ("system", time.system),
        ("kernel threads", time.kernel_threads),
        ("interrupts", time.irq),
        ("soft interrupts", time.softirq),
    ];
    let kinds = kinds.map(|(kind, used)| format!("{kind} {}", span(used)));
    let told = format!("{} of {}", foreign(time), span(time.window));
    tell(rows, "  foreign time", &told);
    tell(rows, "", &kinds.join(", "));
}

/// The limits that the kernel has, by the names of their files.
fn limits(limits: &CgroupLimits, rows: &mut Rows) {
    fn written<T: ToString>(limit: Limit<T>) -> String {
        limit.at().map_or_else(|| "max".to_owned(), |at| at.to_string())
    }
    let bytes = |limit: Option<Limit<Bytes>>| limit.map(written);
    let quota = limits.cpu_max.map(|(quota, period)| {
        let quota = quota.at().map(|quota| quota.0.to_string());
        format!("{} {}", quota.as_deref().unwrap_or("max"), period.0)
    });
    let of_cpu = [
        ("cpu.weight", limits.cpu_weight.map(|weight| weight.0.to_string())),
        ("cpu.max", quota),
        ("pids.max", limits.pids_max.map(written)),
    ];
    let of_memory = [
        ("memory.min", bytes(limits.memory_min)),
        ("memory.low", bytes(limits.memory_low)),
        ("memory.high", bytes(limits.memory_high)),
        ("memory.max", bytes(limits.memory_max)),
        ("memory.swap.max", bytes(limits.swap_max)),
    ];
    let line = |files: &[(&str, Option<String>)]| {
        let there = files
            .iter()
            .filter_map(|(file, value)| Some((file, value.as_ref()?)));
        let told: Vec<String> = there.map(|(file, value)| format!("{file} {value}")).collect();
        told.join(", ")
    };
    let lines = [line(&of_cpu), line(&of_memory)];
    let mut label = "  limits";
    for line in lines.iter().filter(|line| !line.is_empty()) {
        tell(rows, label, line);
        label = "";
    }
    if !label.is_empty() {
        tell(rows, label, "none read");
    }
}
