//! The map with the owners that the running agent tells.
//!
//! **How.** Where the agent gives no CPUs away, all of them are shared. Where it does, the report's shared and reserved CPUs
//! are the ground, and what it calls exclusive goes to the containers that have it as their own. Reserved CPUs are shown as
//! reserved, also where shared containers run there; a line below the map says if they do. CPUs that the agent does not
//! know of, such as those that came after it looked, have no known owner.
//!
//! # Properties
//! - A CPU that the agent calls exclusive is shown as some container's, and no other is.
//! - CPUs that an init container left to another one are shown as those of the one that runs.

use serde::Serialize;

use super::{Owners, Tree, show, tree};
use crate::cli::table::lay_out;
use crate::cli::words::{foreign, moment, optional, span};
use crate::model::{
    ContainerPhase, ContainerReport, CpuOwner, CpuSet, GrantReport, MachineCpus, NodeReport, PodReport, Shown,
};

/// The name of an owner that the report does not have; no container can have it.
const NAMELESS: &str = "?";

/// Who tells the owners.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) enum Teller<'r> {
    /// The running agent.
    Agent(&'r NodeReport),
    /// Nobody, with the reason.
    Nobody(&'r str),
}

/// The map for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Live<'r> {
    #[serde(flatten)]
    machine: Tree,
    /// Why no owners are known; null if they are.
    owners_unknown: Option<&'r str>,
    /// Where containers without CPUs of their own run; null where no CPUs are given away.
    shared_pool: Option<&'r CpuSet>,
    containers: Vec<Holder<'r>>,
    changes: &'r [String],
}

/// A container with CPUs of its own.
#[derive(Debug, Serialize)]
struct Holder<'r> {
    container: String,
    cpus: &'r CpuSet,
    /// What the kernel shows.
    has: Option<&'r CpuSet>,
    grant: Option<&'r GrantReport>,
}

/// The map for programs.
pub(in crate::cli) fn live<'r>(machine: &MachineCpus, teller: Teller<'r>) -> Live<'r> {
    let (owners_unknown, cpus) = match teller {
        Teller::Nobody(why) => (Some(why), None),
        Teller::Agent(report) => (None, report.cpus.as_ref()),
    };
    Live {
        machine: tree(machine, &owners(machine, teller)),
        owners_unknown,
        shared_pool: cpus.map(|cpus| &cpus.shared),
        containers: holders(teller),
        changes: cpus.map_or(&[], |cpus| &cpus.changes),
    }
}

/// The map for people; with distances and how containers came by their CPUs if `wide`.
pub(in crate::cli) fn show_live(machine: &MachineCpus, teller: Teller<'_>, wide: bool) -> String {
    let mut text = show(machine, &owners(machine, teller), wide);
    text.push('\n');
    let report = match teller {
        Teller::Nobody(why) => {
            text.push_str(&format!("Owners are not known: {}.\n", Shown(why)));
            return text;
        }
        Teller::Agent(report) => report,
    };
    let Some(cpus) = &report.cpus else {
        text.push_str("All containers share all CPUs: the agent gives none away (cpuManagerPolicy: none).\n");
        return text;
    };
    let reserved = if cpus.reserved.is_disjoint(&cpus.shared) {
        ""
    } else {
        ", reserved ones among them"
    };
    text.push_str(&format!(
        "Containers without CPUs of their own run on {}{reserved}.\n",
        cpus.shared
    ));
    for change in &cpus.changes {
        text.push_str(&format!("changed: {}\n", Shown(change)));
    }
    let holders = holders(teller);
    if wide && !holders.is_empty() {
        text.push('\n');
        text.push_str(&grants(&holders));
    }
    text
}

fn grants(holders: &[Holder<'_>]) -> String {
    let heading = ["CONTAINER", "CPUS", "GRANTED", "CLEAN-AFTER", "FOREIGN", "OF"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(holders.iter().map(|holder| {
        let time = holder.grant.and_then(|grant| grant.foreign.as_ref());
        vec![
            holder.container.clone(),
            holder.cpus.to_string(),
            optional(holder.grant.map(|grant| moment(grant.granted_at))),
            optional(holder.grant.and_then(|grant| grant.clean_after).map(span)),
            optional(time.map(foreign)),
            optional(time.map(|time| span(time.window))),
        ]
    }));
    lay_out(&rows, &[])
}

/// Those who have CPUs to themselves.
fn holders(teller: Teller<'_>) -> Vec<Holder<'_>> {
    let Teller::Agent(report) = teller else {
        return Vec::new();
    };
    let mut holders = Vec::new();
    for (pod, container) in containers(report) {
        if let Some(told) = &container.cpus
            && let Some(cpus) = &told.own
        {
            holders.push(Holder {
                container: name(pod, container),
                cpus,
                has: told.has.as_ref(),
                grant: told.grant.as_ref(),
            });
        }
    }
    holders
}

fn containers(report: &NodeReport) -> impl Iterator<Item = (&PodReport, &ContainerReport)> {
    let pods = report.pods.iter();
    pods.flat_map(|pod| pod.containers.iter().map(move |container| (pod, container)))
}

fn name(pod: &PodReport, container: &ContainerReport) -> String {
    format!("{}/{}/{}", pod.namespace, pod.name, container.name)
}

fn owners(machine: &MachineCpus, teller: Teller<'_>) -> Owners {
    let mut owners = Owners::new();
    let Teller::Agent(report) = teller else {
        return owners;
    };
    let Some(cpus) = &report.cpus else {
        let all = machine.topology.cpus().iter();
        return all.map(|cpu| (cpu, CpuOwner::Shared)).collect();
    };
    let nameless = CpuOwner::Exclusive(NAMELESS.to_owned());
    for (set, owner) in [
        (&cpus.shared, CpuOwner::Shared),
        (&cpus.reserved, CpuOwner::Reserved),
        (&cpus.exclusive, nameless),
    ] {
        owners.extend(set.iter().map(|cpu| (cpu, owner.clone())));
    }
    let runs = |container: &ContainerReport| matches!(container.phase, ContainerPhase::Running { .. });
    // Who runs comes last, over those who had the same CPUs before.
    for running in [false, true] {
        for (pod, container) in containers(report).filter(|(_, container)| runs(container) == running) {
            let own = container.cpus.as_ref().and_then(|told| told.own.as_ref());
            let owner = CpuOwner::Exclusive(name(pod, container));
            for cpu in own.iter().flat_map(|own| own.iter_common(&cpus.exclusive)) {
                owners.insert(cpu, owner.clone());
            }
        }
    }
    owners
}
