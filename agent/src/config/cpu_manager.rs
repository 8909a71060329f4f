//! Who gets CPUs of their own: the CPU manager's policy and its options, and which of them exclude each other.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::load;
use super::topology_manager::TopologyPolicy;
use crate::model::{PartitionKind, Topology};

/// Who gets CPUs of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CpuManagerPolicy {
    /// Nobody.
    #[default]
    None,
    /// Containers of Guaranteed pods that ask for whole CPUs.
    Static,
}

/// Whether containers' own CPUs are cpuset partitions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CpusetPartition {
    /// They are not.
    #[default]
    None,
    /// Partitions in which the scheduler balances the load.
    Root,
    /// Partitions without load balancing.
    Isolated,
}

impl CpusetPartition {
    /// The kind to make, if any.
    #[must_use]
    pub const fn kind(self) -> Option<PartitionKind> {
        match self {
            Self::None => None,
            Self::Root => Some(PartitionKind::Root),
            Self::Isolated => Some(PartitionKind::Isolated),
        }
    }
}

/// kubelet's `cpuManagerPolicyOptions`, and two of our own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct StaticOptions {
    /// Only whole cores are given, so that no other container runs on a sibling.
    #[serde(deserialize_with = "load::switch")]
    pub full_pcpus_only: bool,
    /// Over several NUMA nodes, each gives as much as the others.
    #[serde(deserialize_with = "load::switch")]
    pub distribute_cpus_across_numa: bool,
    /// Aligned means: in the sockets of the chosen NUMA nodes.
    #[serde(deserialize_with = "load::switch")]
    pub align_by_socket: bool,
    /// Each CPU on another core, as long as there are any.
    #[serde(deserialize_with = "load::switch")]
    pub distribute_cpus_across_cores: bool,
    /// Shared containers do not run on reserved CPUs either.
    #[serde(deserialize_with = "load::switch")]
    pub strict_cpu_reservation: bool,
    /// Stay within as few last-level caches as possible.
    #[serde(deserialize_with = "load::switch")]
    pub prefer_align_cpus_by_uncorecache: bool,
    /// Ours: keep the promise of `full-pcpus-only` where kubelet breaks it. With reserved CPUs that split cores, kubelet
    /// may give out the siblings; with this the choice is made again among whole cores, or refused.
    #[serde(deserialize_with = "load::switch")]
    pub strict_full_pcpus: bool,
    /// Ours: a container that by itself is as in a Guaranteed pod gets exclusive CPUs also in another pod, or in one with
    /// pod-level resources.
    #[serde(deserialize_with = "load::switch")]
    pub mixed_pods: bool,
}

/// Why options cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// There is no such option.
    #[error("unknown CPU manager option {name:?}: it is one of {known}")]
    Unknown {
        /// Its name.
        name: String,
        /// All names.
        known: String,
    },
    /// A value that is neither true nor false.
    #[error("CPU manager option {name} is {value:?}: it must be true or false")]
    Value {
        /// The option.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// Two options that contradict each other.
    #[error("CPU manager options {first} and {second} exclude each other")]
    Exclusive {
        /// One.
        first: &'static str,
        /// The other one.
        second: &'static str,
    },
    /// An option without the one that it strengthens.
    #[error("CPU manager option {name} needs {needed}")]
    Needs {
        /// The option.
        name: &'static str,
        /// What it needs.
        needed: &'static str,
    },
    /// Sockets cannot be honoured where only one NUMA node may be used.
    #[error(
        "CPU manager option align-by-socket and topology manager policy single-numa-node exclude each other"
    )]
    SocketsOverNodes,
    /// Sockets are no more than NUMA nodes here.
    #[error(
        "CPU manager option align-by-socket cannot be used on a machine with more sockets ({sockets}) than NUMA nodes ({nodes})"
    )]
    NodesOverSockets {
        /// Sockets of the machine.
        sockets: usize,
        /// NUMA nodes with CPUs.
        nodes: usize,
    },
}

const FULL_PCPUS: &str = "full-pcpus-only";
const ACROSS_NUMA: &str = "distribute-cpus-across-numa";
const BY_SOCKET: &str = "align-by-socket";
const ACROSS_CORES: &str = "distribute-cpus-across-cores";
const STRICT_RESERVATION: &str = "strict-cpu-reservation";
const BY_CACHE: &str = "prefer-align-cpus-by-uncorecache";
const STRICT_FULL_PCPUS: &str = "strict-full-pcpus";
const MIXED_PODS: &str = "mixed-pods";

impl OptionsError {
    /// The option that is to be changed.
    pub(super) fn option(&self) -> &str {
        match self {
            Self::Unknown { name, .. } => name,
            Self::Value { name, .. } | Self::Needs { name, .. } => name,
            Self::Exclusive { second, .. } => second,
            Self::SocketsOverNodes | Self::NodesOverSockets { .. } => BY_SOCKET,
        }
    }
}

impl StaticOptions {
    /// Reads options by name, values `true` or `false` as kubelet has them.
    ///
    /// # Errors
    /// A name is unknown, a value is neither, or two options exclude each other.
    pub fn parse(options: &BTreeMap<String, String>) -> Result<Self, OptionsError> {
        let mut read = Self::default();
        for (name, value) in options {
            let mut fields = read.fields();
            let Some((name, field)) = fields.iter_mut().find(|(known, _)| known == name) else {
                return Err(OptionsError::Unknown {
                    name: name.clone(),
                    known: fields.map(|(known, _)| known).join(", "),
                });
            };
            **field = value.parse().map_err(|_| OptionsError::Value {
                name,
                value: value.clone(),
            })?;
        }
        read.check()?;
        Ok(read)
    }

    /// The names of those that are on.
    #[must_use]
    pub fn names(mut self) -> Vec<&'static str> {
        let on = self.fields().into_iter().filter(|(_, on)| **on);
        on.map(|(name, _)| name).collect()
    }

    fn fields(&mut self) -> [(&'static str, &mut bool); 8] {
        [
            (FULL_PCPUS, &mut self.full_pcpus_only),
            (ACROSS_NUMA, &mut self.distribute_cpus_across_numa),
            (BY_SOCKET, &mut self.align_by_socket),
            (ACROSS_CORES, &mut self.distribute_cpus_across_cores),
            (STRICT_RESERVATION, &mut self.strict_cpu_reservation),
            (BY_CACHE, &mut self.prefer_align_cpus_by_uncorecache),
            (STRICT_FULL_PCPUS, &mut self.strict_full_pcpus),
            (MIXED_PODS, &mut self.mixed_pods),
        ]
    }

    /// Whether the options can be together.
    ///
    /// # Errors
    /// Two exclude each other, or one needs another.
    pub fn check(&self) -> Result<(), OptionsError> {
        let across_cores = self.distribute_cpus_across_cores;
        let across_numa = self.distribute_cpus_across_numa;
        let by_cache = self.prefer_align_cpus_by_uncorecache;
        for (both, first, second) in [
            (self.full_pcpus_only && across_cores, FULL_PCPUS, ACROSS_CORES),
            (across_numa && across_cores, ACROSS_NUMA, ACROSS_CORES),
            (by_cache && across_cores, BY_CACHE, ACROSS_CORES),
            (by_cache && across_numa, BY_CACHE, ACROSS_NUMA),
        ] {
            if both {
                return Err(OptionsError::Exclusive { first, second });
            }
        }
        if self.strict_full_pcpus && !self.full_pcpus_only {
            return Err(OptionsError::Needs {
                name: STRICT_FULL_PCPUS,
                needed: FULL_PCPUS,
            });
        }
        Ok(())
    }

    /// Whether the options can be under this policy of the topology manager.
    ///
    /// # Errors
    /// `align-by-socket` with `single-numa-node`.
    pub fn check_under(&self, policy: TopologyPolicy) -> Result<(), OptionsError> {
        if self.align_by_socket && policy == TopologyPolicy::SingleNumaNode {
            return Err(OptionsError::SocketsOverNodes);
        }
        Ok(())
    }

    /// Whether the options can be on this machine, under this policy of the topology manager.
    ///
    /// # Errors
    /// `align-by-socket` with `single-numa-node`, or where there are more sockets than NUMA nodes.
    pub fn check_on(&self, topology: &Topology, policy: TopologyPolicy) -> Result<(), OptionsError> {
        self.check_under(policy)?;
        if !self.align_by_socket {
            return Ok(());
        }
        let (sockets, nodes) = (topology.sockets().len(), topology.nodes_with_cpus());
        if sockets > nodes {
            return Err(OptionsError::NodesOverSockets { sockets, nodes });
        }
        Ok(())
    }
}
