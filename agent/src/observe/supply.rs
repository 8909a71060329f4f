//! What a machine has to give, for planning: a live one tells all of it, a capture what its files tell.
//!
//! # Properties
//! - What is not told is none, and never a guess.

use crate::kernel::node_facts::Machine;
use crate::model::{Bytes, MachineCpus, MilliCpu, NodeCapacity, NumaMemory};
use crate::observe::node::{self, CapacityError};
use crate::observe::{cpu_topology, numa_memory};

/// CPUs, amounts and memory by NUMA node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supply {
    /// How the CPUs lie.
    pub cpus: MachineCpus,
    /// The amounts. Memory that is not told is without bound.
    pub capacity: NodeCapacity,
    /// Memory of each NUMA node, if it is told.
    pub memory: Option<Vec<NumaMemory>>,
}

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
pub enum SupplyError {
    /// The CPUs.
    #[error(transparent)]
    Cpus(#[from] cpu_topology::CpuTopologyError),
    /// The amounts.
    #[error(transparent)]
    Capacity(#[from] CapacityError),
}

/// What this machine has.
///
/// # Errors
/// A file is missing, unreadable or strange.
pub fn live(machine: &Machine) -> Result<Supply, SupplyError> {
    let cpus = cpu_topology::read(machine)?;
    Ok(Supply {
        capacity: node::capacity(machine)?,
        memory: Some(numa_memory::read(machine, &cpus.topology)?),
        cpus,
    })
}

/// What a captured machine has. Its memory is that of its NUMA nodes, if a node's `meminfo` was captured.
///
/// # Errors
/// A file is missing that tells of CPUs, or one is strange.
pub fn captured(machine: &Machine) -> Result<Supply, SupplyError> {
    let cpus = cpu_topology::read(machine)?;
    let topology = &cpus.topology;
    let meminfo = |id: u32| format!("/sys/devices/system/node/node{id}/meminfo");
    let tells = topology
        .numa_nodes()
        .iter()
        .any(|node| machine.size(&meminfo(node.id)).is_some());
    let memory = if tells {
        Some(numa_memory::read(machine, topology)?)
    } else {
        None
    };
    let count = u64::try_from(topology.cpus().len()).unwrap_or(u64::MAX);
    let mut capacity = NodeCapacity {
        cpu: MilliCpu(count.saturating_mul(1000)),
        memory: Bytes(u64::MAX),
        ..NodeCapacity::default()
    };
    if let Some(nodes) = &memory {
        capacity.memory = nodes.iter().fold(Bytes(0), |sum, n| sum.saturating_add(n.total));
        for (&size, &amount) in nodes.iter().flat_map(|node| &node.huge_pages) {
            let sum = capacity.huge_pages.entry(size).or_default();
            *sum = sum.saturating_add(amount);
        }
    }
    Ok(Supply {
        cpus,
        capacity,
        memory,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPUS: &str = "cpu/online: 0-1\ncpu/present: 0-1\ncpu/possible: 0-1\ncpu/cpu0/topology/core_cpus_list: 0\n\
                        cpu/cpu1/topology/core_cpus_list: 1\ncpu/cpu[0-1]/topology/physical_package_id: 0\n\
                        cpu/cpu[0-1]/topology/package_cpus_list: 0-1\n";

    fn of(text: &str) -> Result<Supply, String> {
        let machine = cpu_topology::capture::machine(text).unwrap();
        captured(&machine).map_err(|error| error.to_string())
    }

    #[test]
    fn a_capture_tells_memory_only_if_it_was_captured() {
        let silent = of(CPUS).unwrap();
        assert_eq!((silent.capacity.cpu, silent.memory), (MilliCpu(2000), None));
        let nodes = "node/online: 0-1\nnode/node[0-1]/meminfo: Node 0 MemTotal: 1024 kB\n\
                     node/node0/cpulist: 0\nnode/node1/cpulist: 1\n\
                     node/node0/distance: 10 20\nnode/node1/distance: 20 10\n";
        let told = of(&format!("{CPUS}{nodes}")).unwrap();
        assert_eq!(told.memory.map(|nodes| nodes.len()), Some(2));
        assert_eq!(told.capacity.memory, Bytes::mib(2));
        let strange = of(&format!("{CPUS}{nodes}node/node1/meminfo: much\n")).unwrap_err();
        assert!(strange.contains("node1/meminfo does not read"), "{strange}");
    }

    #[test]
    fn this_machine_tells_all() {
        let supply = live(&Machine::default()).unwrap();
        assert!(supply.memory.is_some_and(|nodes| !nodes.is_empty()));
    }
}
