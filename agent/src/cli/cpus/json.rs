//! The map as a tree, for programs.

use serde::Serialize;

use super::{Owners, Section, owner, sections};
use crate::model::{CpuId, CpuOwner, CpuSet, MachineCpus};

/// The machine.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Tree {
    online: CpuSet,
    offline: CpuSet,
    isolated: CpuSet,
    nohz_full: CpuSet,
    kinds: Vec<Kind>,
    numa_nodes: Vec<Node>,
    sockets: Vec<Socket>,
}

#[derive(Debug, Serialize)]
struct Kind {
    name: String,
    cpus: CpuSet,
}

/// A NUMA node, with or without CPUs; distances are in the order of the nodes.
#[derive(Debug, Serialize)]
struct Node {
    id: u32,
    cpus: CpuSet,
    distances: Vec<u32>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Socket {
    id: u32,
    numa_nodes: Vec<NodeOfSocket>,
}

/// The part of a node that lies in the socket.
#[derive(Debug, Serialize)]
struct NodeOfSocket {
    id: u32,
    caches: Vec<Cache>,
}

/// The part of a last-level cache that lies in the node.
#[derive(Debug, Serialize)]
struct Cache {
    id: u32,
    cores: Vec<Vec<Thread>>,
}

#[derive(Debug, Serialize)]
struct Thread {
    cpu: CpuId,
    owner: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
}

/// The machine and the owners of its CPUs.
pub(in crate::cli) fn tree(cpus: &MachineCpus, owners: &Owners) -> Tree {
    let topology = &cpus.topology;
    let nodes = topology.numa_nodes();
    let mut sockets: Vec<Socket> = Vec::new();
    for section in sections(topology) {
        let socket = part(
            &mut sockets,
            |s| s.id == section.socket.id,
            || Socket {
                id: section.socket.id,
                numa_nodes: Vec::new(),
            },
        );
        let node = part(
            &mut socket.numa_nodes,
            |n| n.id == section.numa.id,
            || NodeOfSocket {
                id: section.numa.id,
                caches: Vec::new(),
            },
        );
        node.caches.push(cache(&section, owners));
    }
    Tree {
        online: topology.cpus().clone(),
        offline: cpus.offline.clone(),
        isolated: cpus.isolated.clone(),
        nohz_full: cpus.nohz_full.clone(),
        kinds: cpus
            .kinds
            .iter()
            .map(|kind| Kind {
                name: kind.name.clone(),
                cpus: kind.cpus.clone(),
            })
            .collect(),
        numa_nodes: nodes
            .iter()
            .enumerate()
            .map(|(from, node)| Node {
                id: node.id,
                cpus: node.cpus.clone(),
                distances: (0..nodes.len()).map(|to| topology.distance(from, to)).collect(),
            })
            .collect(),
        sockets,
    }
}

/// The last part if it is the wanted one, else a new one. Sections come in order, so that it can be no earlier one.
fn part<T>(parts: &mut Vec<T>, wanted: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> &mut T {
    let at = match parts.last() {
        Some(last) if wanted(last) => parts.len() - 1,
        _ => {
            parts.push(new());
            parts.len() - 1
        }
    };
    &mut parts[at]
}

fn cache(section: &Section<'_>, owners: &Owners) -> Cache {
    let thread = |cpu| {
        let (owner, container) = match owner(owners, cpu) {
            CpuOwner::Unknown => ("unknown", None),
            CpuOwner::Shared => ("shared", None),
            CpuOwner::Reserved => ("reserved", None),
            CpuOwner::Exclusive(name) => ("exclusive", Some(name.clone())),
        };
        Thread {
            cpu,
            owner,
            container,
        }
    };
    let cores = section.cores.iter();
    Cache {
        id: section.l3.id,
        cores: cores.map(|core| core.cpus.iter().map(thread).collect()).collect(),
    }
}
