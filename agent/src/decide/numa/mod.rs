//! The topology manager: on which NUMA nodes a container or pod goes, when several resources each have a say.
//!
//! **Problem.** CPUs and memory of one container should come from the same few NUMA nodes. Each resource knows which
//! sets of nodes could serve it; something has to find the set that serves all of them, and to say whether that is
//! good enough to let the pod in.
//!
//! **Terms.** A *hint* is one set of nodes that could serve one resource, *preferred* if no smaller set could ever
//! serve it. *Merging* takes one hint of each resource and keeps the nodes they share. The *policy* says what is good
//! enough, the *scope* whether each container is placed by itself or the pod as one.
//!
//! **How.** The rules are kubelet's (`cm/topologymanager`, Kubernetes 1.36), and so are the answers, up to 8 nodes.
//! Kubelet tries every combination of hints, (2ⁿ − 1)ᵖ for n nodes and p resources. Here [`merge`] uses that the order
//! of merged hints is total, so that only *which sets can come out* matters, not how: the preferred ones are those
//! that all resources prefer, and the others are found by counting supersets. Above 8 nodes, where all 2ⁿ sets cannot
//! be listed, [`candidates`] proposes the sensible ones and the merge keeps a bounded number of them.
//!
//! # Properties
//! - Up to 8 nodes the result is that of trying all combinations; above, it is that of some combination.
//! - A merged mask has a node, and only nodes of the machine.
//! - No policy but `none` and `best-effort` lets in what is not preferred; `single-numa-node` gives at most one node.
//! - The work is bounded by the number of hints, of resources and of nodes, for any input up to 64 nodes.

pub mod admit;
pub mod candidates;
pub mod memory;
mod merge;
mod options;
mod reach;

#[cfg(test)]
mod props;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use crate::model::{HugePageSize, NumaMask, Topology, TopologyHint};

pub use crate::config::{TopologyOptions, TopologyPolicy, TopologyScope};
pub use candidates::{Candidates, Room};
pub use merge::{Merged, Voice};
pub use options::TooManyNodes;

/// A word of the configuration that names no policy or scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown topology manager {kind} {word:?}: it is one of {known}")]
pub struct UnknownWord {
    kind: &'static str,
    word: String,
    known: String,
}

impl TopologyPolicy {
    const ALL: [(&'static str, Self); 4] = [
        ("none", Self::None),
        ("best-effort", Self::BestEffort),
        ("restricted", Self::Restricted),
        ("single-numa-node", Self::SingleNumaNode),
    ];
}

impl TopologyScope {
    const ALL: [(&'static str, Self); 2] = [("container", Self::Container), ("pod", Self::Pod)];
}

impl FromStr for TopologyPolicy {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        lookup("policy", word, &Self::ALL)
    }
}

impl FromStr for TopologyScope {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        lookup("scope", word, &Self::ALL)
    }
}

fn lookup<T: Copy>(kind: &'static str, word: &str, known: &[(&'static str, T)]) -> Result<T, UnknownWord> {
    let found = known.iter().find(|(name, _)| *name == word);
    found.map(|&(_, value)| value).ok_or_else(|| UnknownWord {
        kind,
        word: word.to_owned(),
        known: known.iter().map(|&(name, _)| name).collect::<Vec<_>>().join(", "),
    })
}

impl fmt::Display for TopologyPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            Self::ALL
                .iter()
                .find(|(_, p)| p == self)
                .map_or("", |(name, _)| name),
        )
    }
}

impl fmt::Display for TopologyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            Self::ALL
                .iter()
                .find(|(_, s)| s == self)
                .map_or("", |(name, _)| name),
        )
    }
}

/// The machine's NUMA nodes, as far as choosing among them goes. Masks hold their indices in the [`Topology`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumaNodes {
    count: usize,
    /// Row by row, in the firmware's unit.
    distances: Vec<u32>,
}

impl NumaNodes {
    /// The nodes of a machine, which has 1 to 64 of them.
    #[must_use]
    pub fn of(topology: &Topology) -> Self {
        let count = topology.numa_nodes().len();
        let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
        Self {
            count,
            distances: pairs.map(|(from, to)| topology.distance(from, to)).collect(),
        }
    }

    /// How many.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// All of them.
    #[must_use]
    pub const fn all(&self) -> NumaMask {
        NumaMask::first(self.count)
    }

    /// From one node to another, in the firmware's unit.
    fn distance(&self, from: usize, to: usize) -> u32 {
        self.distances.get(from * self.count + to).copied().unwrap_or(0)
    }

    /// The sum of distances over all ordered pairs of a set, each node with itself too. Of sets of one size the one
    /// with the smaller sum has the smaller average, by which kubelet compares.
    fn spread(&self, mask: NumaMask) -> u64 {
        mask.nodes()
            .flat_map(|from| mask.nodes().map(move |to| u64::from(self.distance(from, to))))
            .sum()
    }
}

/// A resource that has a say in the placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Exclusive CPUs.
    Cpu,
    /// Memory in normal pages.
    Memory,
    /// Memory in huge pages.
    HugePages(HugePageSize),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Memory => f.write_str("memory"),
            Self::HugePages(HugePageSize(bytes)) => match bytes {
                n if *n >= 1 << 30 => write!(f, "hugepages-{}Gi", n >> 30),
                n if *n >= 1 << 20 => write!(f, "hugepages-{}Mi", n >> 20),
                n => write!(f, "hugepages-{}Ki", n >> 10),
            },
        }
    }
}

/// Everything that one resource has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hints {
    /// Which one.
    pub resource: Resource,
    /// The sets that could serve it, empty if none can; `None`: it does not matter where.
    pub choices: Option<Vec<TopologyHint>>,
}

/// A topology manager as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopologyManager {
    /// What is good enough.
    pub policy: TopologyPolicy,
    /// What is placed as one.
    pub scope: TopologyScope,
    /// Of sets with as many nodes, the ones closest together (`prefer-closest-numa-nodes`). Without effect on
    /// `single-numa-node`, as in kubelet.
    pub prefer_closest: bool,
    /// The machine.
    pub nodes: NumaNodes,
}
