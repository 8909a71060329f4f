//! From the configuration to the managers of one machine: who decides on CPUs, NUMA nodes and memory.
//!
//! **Problem.** A configuration that is good by itself may not fit the machine: reserved CPUs that are not there, NUMA
//! nodes that it does not have, more kept back than there is. **How.** All of it is checked here, once, before a pod is
//! looked at; what comes out cannot fail for these reasons any more.
//!
//! # Properties
//! - Where CPUs are given, at least one can be, and reserved ones never are.
//! - A refusal carries the numbers of both sides.

use super::cpu::{PolicyError, Reservation, ReservationError, StaticPolicy};
use super::numa::memory::{MemoryError, MemoryManager, NodeMemory};
use super::numa::{Resource, TooManyNodes, TopologyManager};
use super::policy::PlacementPolicy;
use crate::config::{Config, CpuManagerPolicy, MemoryManagerPolicy};
use crate::model::{Bytes, MachineCpus, MilliCpu, NodeCapacity, NumaMemory, Topology};

/// The managers of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Managers {
    /// Who gives CPUs; nobody under the policy `none`.
    pub cpus: Option<StaticPolicy>,
    /// Who aligns them with memory.
    pub topology: TopologyManager,
    /// Who binds memory to NUMA nodes; nobody under the policy `None`.
    pub memory: Option<MemoryManager>,
}

/// Why a configuration does not fit the machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManagersError {
    /// The CPU manager's options or reserved CPUs.
    #[error(transparent)]
    Cpus(#[from] PolicyError),
    /// More NUMA nodes than the topology manager may look at.
    #[error(transparent)]
    Nodes(#[from] TooManyNodes),
    /// Memory is reserved on a NUMA node that is not there.
    #[error("reservedMemory names NUMA node {node}; the machine has {nodes:?}")]
    NoSuchNode {
        /// The node's number.
        node: u32,
        /// The machine's.
        nodes: Vec<u32>,
    },
    /// Nothing would be left.
    #[error("{reserved} of {capacity} memory are reserved; something must be left for pods")]
    AllMemory {
        /// Kept for system and node services.
        reserved: Bytes,
        /// The machine's.
        capacity: Bytes,
    },
    /// Amounts on NUMA nodes.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// The managers that `config` asks for. `memory` has what each NUMA node has, in the order of the topology; without a
/// memory manager it is not looked at.
///
/// # Errors
/// The configuration does not fit the machine.
pub fn managers(
    config: &Config,
    policy: &PlacementPolicy,
    cpus: &MachineCpus,
    capacity: &NodeCapacity,
    memory: &[NumaMemory],
) -> Result<Managers, ManagersError> {
    let topology = &cpus.topology;
    let reserved = [&policy.system_reserved, &policy.kube_reserved];
    let amounts = reserved
        .iter()
        .fold(0_u64, |sum, part| sum.saturating_add(part.cpu.0));
    let reservation =
        Reservation::new(&config.reserved_system_cpus, MilliCpu(amounts)).map_err(PolicyError::from)?;
    let in_memory = reserved
        .iter()
        .fold(Bytes(0), |sum, part| sum.saturating_add(part.memory));
    if in_memory >= capacity.memory {
        return Err(ManagersError::AllMemory {
            reserved: in_memory,
            capacity: capacity.memory,
        });
    }
    let topology_policy = config.topology_manager_policy;
    let manager = config.topology_manager_policy_options.manager(
        topology_policy,
        config.topology_manager_scope,
        topology,
    )?;
    let cpus = match config.cpu_manager_policy {
        CpuManagerPolicy::None => {
            listed_exist(&reservation, topology)?;
            None
        }
        CpuManagerPolicy::Static => Some(StaticPolicy::new(
            topology.clone(),
            config.cpu_manager_policy_options,
            &reservation,
            topology_policy,
        )?),
    };
    let memory = match config.memory_manager_policy {
        MemoryManagerPolicy::None => None,
        MemoryManagerPolicy::Static => {
            let nodes = nodes(config, topology, memory)?;
            let reserved = [(Resource::Memory, in_memory)].into();
            Some(MemoryManager::new(manager.nodes.clone(), &nodes, &reserved)?)
        }
    };
    Ok(Managers {
        cpus,
        topology: manager,
        memory,
    })
}

/// A list that names CPUs is wrong without them, even where nobody gives CPUs.
fn listed_exist(reservation: &Reservation, topology: &Topology) -> Result<(), PolicyError> {
    match reservation {
        Reservation::Cpus(list) if !list.is_subset(topology.cpus()) => Err(ReservationError::NoSuchCpu {
            missing: list - topology.cpus(),
            cpus: topology.cpus().clone(),
        }
        .into()),
        _ => Ok(()),
    }
}

/// What each NUMA node has, and what of it is kept.
fn nodes(
    config: &Config,
    topology: &Topology,
    memory: &[NumaMemory],
) -> Result<Vec<NodeMemory>, ManagersError> {
    let mut nodes: Vec<NodeMemory> = memory
        .iter()
        .map(|has| NodeMemory {
            has: has.clone(),
            ..NodeMemory::default()
        })
        .collect();
    let ids = || topology.numa_nodes().iter().map(|node| node.id);
    for reservation in &config.reserved_memory {
        let node = reservation.numa_node;
        let position = ids().position(|id| id == node);
        let position = position.ok_or_else(|| ManagersError::NoSuchNode {
            node,
            nodes: ids().collect(),
        })?;
        // A machine whose nodes' memory is not known is refused by its count.
        if let Some(kept) = nodes.get_mut(position) {
            let amount = u64::try_from(reservation.limits.memory.value()).unwrap_or(0);
            kept.reserved.insert(Resource::Memory, Bytes(amount));
        }
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::fixtures::{GI, two_nodes};

    fn made(text: &str) -> Result<Managers, String> {
        let (_, managers) = two_nodes().configured(text);
        managers.map_err(|error| error.to_string())
    }

    #[test]
    fn by_default_nobody_gives_anything() {
        let managers = made("").unwrap();
        assert_eq!((managers.cpus, managers.memory), (None, None));
    }

    #[test]
    fn reserved_cpus_come_from_the_list_or_the_amounts() {
        let list = "cpuManagerPolicy: static\nreservedSystemCPUs: 3,11\nsystemReserved: {cpu: 500m}\n";
        let policy = made(list).unwrap().cpus.unwrap();
        assert_eq!(policy.reserved().to_string(), "3,11");
        let amounts = "cpuManagerPolicy: static\nsystemReserved: {cpu: 500m}\nkubeReserved: {cpu: 600m}\n";
        assert_eq!(made(amounts).unwrap().cpus.unwrap().reserved().len(), 2);
    }

    #[test]
    fn memory_is_kept_on_the_nodes_that_are_named() {
        let text = "memoryManagerPolicy: Static\nsystemReserved: {memory: 3Gi}\nreservedMemory:\n\
                    - {numaNode: 1, limits: {memory: 1Gi}}\n- {numaNode: 0, limits: {memory: 2Gi}}\n";
        let memory = made(text).unwrap().memory.unwrap();
        assert_eq!(memory.free(Resource::Memory), [6 * GI, 7 * GI]);
    }

    #[test]
    fn what_does_not_fit_the_machine_is_refused_with_both_numbers() {
        let fixed = "cpuManagerPolicy: static\n";
        let on_node = |node: u32, size: &str| {
            format!(
                "memoryManagerPolicy: Static\nsystemReserved: {{memory: 9Gi}}\nreservedMemory:\n\
                 - {{numaNode: {node}, limits: {{memory: {size}}}}}\n"
            )
        };
        for (text, message) in [
            (
                format!("{fixed}reservedSystemCPUs: 15-17\n"),
                "reserved CPUs 16-17 do not exist; the machine has 0-15",
            ),
            (
                "reservedSystemCPUs: 40\n".to_owned(),
                "reserved CPUs 40 do not exist; the machine has 0-15",
            ),
            (
                format!("{fixed}reservedSystemCPUs: 0-15\n"),
                "16 of 16 CPUs are reserved; at least one must be left for pods",
            ),
            (
                format!("{fixed}kubeReserved: {{cpu: 15500m}}\n"),
                "16 of 16 CPUs are reserved; at least one must be left for pods",
            ),
            (
                "systemReserved: {memory: 10Gi}\nkubeReserved: {memory: 6Gi}\n".to_owned(),
                "16.0Gi of 16.0Gi memory are reserved; something must be left for pods",
            ),
            (
                on_node(2, "9Gi"),
                "reservedMemory names NUMA node 2; the machine has [0, 1]",
            ),
            (
                on_node(0, "9Gi"),
                "memory on NUMA node 0: 9.00Gi reserved, the node has 8.00Gi; lower the reservation or move it to \
                 another node",
            ),
            (
                on_node(0, "1Gi"),
                "memory: 1.00Gi reserved on the NUMA nodes together, but 9.00Gi on the machine (kube and system \
                 reservation and hard eviction threshold); make the two equal",
            ),
        ] {
            assert_eq!(made(&text), Err(message.to_owned()), "{text}");
        }
    }
}
