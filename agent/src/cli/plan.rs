//! `plimsoll plan`: what would be placed where, and why not.
//!
//! **How.** A line a pod and below it one a container, in the order in which pods are decided on; refusals and their numbers;
//! what is left; and the map of `plimsoll cpus` with the owners that the CPUs would have.
//!
//! # Properties
//! - Each CPU has one owner in the map. CPUs that an init container leaves to a later one are shown as the later one's.

#[cfg(test)]
mod tests;

use serde::Serialize;

use super::cpus::{self, Owners};
use super::table::lay_out;
use crate::model::{CpuOwner, CpuSet, MachineCpus, PlacementReport, PodPlacement, Shown};

/// The report with the map.
#[derive(Debug, Serialize)]
pub(super) struct Plan<'r> {
    #[serde(flatten)]
    report: &'r PlacementReport,
    machine: cpus::Tree,
}

/// For programs.
pub(super) fn tree<'r>(report: &'r PlacementReport, machine: &MachineCpus) -> Plan<'r> {
    Plan {
        report,
        machine: cpus::tree(machine, &owners(report, machine)),
    }
}

/// Whether every pod has a place, and every manifest can be used.
pub(super) fn fits(report: &PlacementReport) -> bool {
    report.manifest_errors.is_empty() && report.pods.iter().all(|pod| pod.refusal.is_none())
}

/// Who would own which CPU.
fn owners(report: &PlacementReport, machine: &MachineCpus) -> Owners {
    let mut owners = Owners::new();
    for cpu in machine.topology.cpus().iter() {
        owners.insert(cpu, CpuOwner::Shared);
    }
    for cpu in report.reserved.iter() {
        owners.insert(cpu, CpuOwner::Reserved);
    }
    for pod in &report.pods {
        for container in &pod.containers {
            let name = format!("{}/{}/{}", pod.namespace, pod.name, container.name);
            for cpu in container.cpus.iter().flat_map(CpuSet::iter) {
                owners.insert(cpu, CpuOwner::Exclusive(name.clone()));
            }
        }
    }
    owners
}

/// For people.
pub(super) fn show(report: &PlacementReport, machine: &MachineCpus, wide: bool) -> String {
    let heading = ["NAMESPACE/NAME", "CLASS", "PLACE", "CPUS", "MEMS", "WHY"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    report.pods.iter().for_each(|pod| rows.extend(of_pod(pod)));
    let mut text = lay_out(&rows, &[]);
    text.push('\n');
    for pod in &report.pods {
        if let Some(refusal) = &pod.refusal {
            let container = refusal.container.as_ref();
            let container = container.map_or(String::new(), |name| format!("/{name}"));
            text.push_str(&format!(
                "refused: {}/{}{container}: {}: {}\n",
                pod.namespace,
                pod.name,
                refusal.reason,
                Shown(&refusal.message)
            ));
        }
    }
    for error in &report.manifest_errors {
        text.push_str(&format!("cannot be used: {error}\n"));
    }
    text.push_str(&left(report));
    for moved in &report.moves {
        text.push_str(&format!(
            "could move: {}/{}/{} from {} to {}, then {} NUMA nodes and {} cores are free as a whole\n",
            moved.namespace,
            moved.pod,
            moved.container,
            moved.from,
            moved.to,
            moved.free_nodes,
            moved.free_cores
        ));
    }
    text.push('\n');
    text.push_str(&cpus::show(machine, &owners(report, machine), wide));
    text
}

fn of_pod(pod: &PodPlacement) -> Vec<Vec<String>> {
    let place = match &pod.refusal {
        None => "fits".to_owned(),
        Some(refusal) => refusal.reason.clone(),
    };
    let name = format!("{}/{}", pod.namespace, pod.name);
    let mut rows = vec![vec![name, pod.class.to_string(), place]];
    rows.extend(pod.containers.iter().map(|container| {
        let (place, cpus) = match &container.cpus {
            Some(cpus) => ("exclusive", cpus.to_string()),
            None => ("shared", "-".to_owned()),
        };
        let mems = container.mems.as_ref().map(|nodes| {
            let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
            nodes.join(",")
        });
        vec![
            format!("  {}", container.name),
            String::new(),
            place.to_owned(),
            cpus,
            mems.unwrap_or_else(|| "-".to_owned()),
            container.why.clone(),
        ]
    }));
    rows
}

/// What is allocatable, and what nobody has.
fn left(report: &PlacementReport) -> String {
    let allocatable = &report.allocatable;
    let memory = match allocatable.memory {
        Some(memory) => format!("memory {memory}"),
        None => "memory not told by the capture, and not checked".to_owned(),
    };
    let list = |name: &str, set: &CpuSet| {
        let named = if set.is_empty() {
            "none".to_owned()
        } else {
            set.to_string()
        };
        format!("{name}: {} CPUs ({named})\n", set.len())
    };
    let mut text = format!(
        "allocatable: cpu {}m, {memory}, {} pods\n{}{}",
        allocatable.cpu.0,
        allocatable.pods,
        list("reserved", &report.reserved),
        list("shared pool", &report.shared),
    );
    for node in &report.free_memory {
        text.push_str(&format!(
            "NUMA node {}: {} of memory free\n",
            node.node, node.free
        ));
    }
    text
}
