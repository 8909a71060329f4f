//! Whether records of CPUs and nodes can be true together.

use std::collections::BTreeMap;

use super::{CpuRecord, NumaRecord, Topology};
use crate::model::cpu_set::CpuId;

/// Why records are no topology.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopologyError {
    /// There is no record.
    #[error("there is no CPU")]
    NoCpu,
    /// A CPU has two records.
    #[error("CPU {cpu} is listed twice")]
    CpuTwice {
        /// The CPU.
        cpu: CpuId,
    },
    /// SMT siblings that do not lie together.
    #[error("CPUs {a} and {b} share core {core}, but not a {kind}: {of_a} and {of_b}")]
    CoreApart {
        /// A CPU of the core.
        a: CpuId,
        /// Its sibling.
        b: CpuId,
        /// The core's number.
        core: u32,
        /// What they do not share.
        kind: &'static str,
        /// The first one's.
        of_a: u32,
        /// The second one's.
        of_b: u32,
    },
    /// A CPU's node is not among the nodes.
    #[error("CPU {cpu} is in NUMA node {node}, which does not exist")]
    NoSuchNode {
        /// The CPU.
        cpu: CpuId,
        /// The node it names.
        node: u32,
    },
    /// A node has two records.
    #[error("NUMA node {node} is listed twice")]
    NodeTwice {
        /// The node.
        node: u32,
    },
    /// More nodes than a mask has bits.
    #[error("there are {nodes} NUMA nodes, at most {most} are supported")]
    TooManyNodes {
        /// How many there are.
        nodes: usize,
        /// How many there may be.
        most: usize,
    },
    /// A node's distances are not one for each node.
    #[error("NUMA node {node} has {told} distances, there are {nodes} nodes")]
    DistanceCount {
        /// The node.
        node: u32,
        /// How many distances it has.
        told: usize,
        /// How many nodes there are.
        nodes: usize,
    },
    /// A node that is nearer than the node itself, or at no distance.
    #[error("the distance from NUMA node {from} to {to} is {distance}, to itself {own}")]
    Nearer {
        /// The node.
        from: u32,
        /// The other one.
        to: u32,
        /// Their distance.
        distance: u32,
        /// The node's to itself.
        own: u32,
    },
}

/// Checks records in the order of their CPUs against each other and the nodes.
pub(super) fn records(records: &[CpuRecord], nodes: &[NumaRecord]) -> Result<(), TopologyError> {
    if records.is_empty() {
        return Err(TopologyError::NoCpu);
    }
    if let Some(pair) = records.windows(2).find(|pair| pair[0].cpu == pair[1].cpu) {
        return Err(TopologyError::CpuTwice { cpu: pair[0].cpu });
    }
    let mut first_of = BTreeMap::new();
    for record in records {
        let first = *first_of.entry(record.core).or_insert(*record);
        together(&first, record)?;
        if nodes.binary_search_by_key(&record.numa, |node| node.id).is_err() {
            return Err(TopologyError::NoSuchNode {
                cpu: record.cpu,
                node: record.numa,
            });
        }
    }
    Ok(())
}

/// Checks that two CPUs of one core share everything larger.
fn together(a: &CpuRecord, b: &CpuRecord) -> Result<(), TopologyError> {
    let kinds = [
        ("last-level cache", a.l3, b.l3),
        ("die", a.die, b.die),
        ("NUMA node", a.numa, b.numa),
        ("socket", a.socket, b.socket),
    ];
    match kinds.into_iter().find(|(_, of_a, of_b)| of_a != of_b) {
        None => Ok(()),
        Some((kind, of_a, of_b)) => Err(TopologyError::CoreApart {
            a: a.cpu,
            b: b.cpu,
            core: a.core,
            kind,
            of_a,
            of_b,
        }),
    }
}

/// Checks nodes in the order of their numbers.
pub(super) fn nodes(nodes: &[NumaRecord]) -> Result<(), TopologyError> {
    if nodes.len() > Topology::MOST_NUMA_NODES {
        return Err(TopologyError::TooManyNodes {
            nodes: nodes.len(),
            most: Topology::MOST_NUMA_NODES,
        });
    }
    if let Some(pair) = nodes.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(TopologyError::NodeTwice { node: pair[0].id });
    }
    for (index, node) in nodes.iter().enumerate() {
        let Some(own) = node.distances.get(index).copied() else {
            if node.distances.is_empty() {
                continue;
            }
            return Err(count_of(node, nodes));
        };
        if node.distances.len() != nodes.len() {
            return Err(count_of(node, nodes));
        }
        let nearer = node.distances.iter().position(|d| *d < own || *d == 0);
        if let Some(to) = nearer {
            return Err(TopologyError::Nearer {
                from: node.id,
                to: nodes[to].id,
                distance: node.distances[to],
                own,
            });
        }
    }
    Ok(())
}

fn count_of(node: &NumaRecord, nodes: &[NumaRecord]) -> TopologyError {
    TopologyError::DistanceCount {
        node: node.id,
        told: node.distances.len(),
        nodes: nodes.len(),
    }
}
