//! Fields that are good by themselves and cannot be together.
//!
//! # Properties
//! - Each refusal names the field, or the option, that is to be changed, so that the reader can be shown its place.

use super::{
    Config, CpuManagerPolicy, CpusetPartition, MemoryManagerPolicy, NodeAllocatable, StaticOptions, eviction,
};
use crate::model::Quantity;

/// Fields that cannot be together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conflict {
    /// The field or option to look at; one of a map as `field/key`.
    pub(super) at: String,
    /// What is wrong, and what to write instead.
    pub(super) problem: String,
}

pub(super) fn conflict(at: impl Into<String>, problem: impl Into<String>) -> Result<(), Conflict> {
    Err(Conflict {
        at: at.into(),
        problem: problem.into(),
    })
}

/// Whether the fields can be together.
pub(super) fn check(config: &Config) -> Result<(), Conflict> {
    let enforced = &config.enforce_node_allocatable;
    if enforced.contains(&NodeAllocatable::None) && enforced.len() > 1 {
        return conflict(
            "enforceNodeAllocatable",
            "enforceNodeAllocatable has `none` beside others: write [none] or leave it out",
        );
    }
    cpus(config)?;
    memory(config)?;
    eviction::check(config)
}

fn cpus(config: &Config) -> Result<(), Conflict> {
    let options = &config.cpu_manager_policy_options;
    if config.cpu_manager_policy == CpuManagerPolicy::None && *options != StaticOptions::default() {
        return conflict(
            "cpuManagerPolicyOptions",
            "cpuManagerPolicy none has no options: set cpuManagerPolicy to static, or leave them out",
        );
    }
    if config.cpu_manager_policy == CpuManagerPolicy::None && config.cpuset_partition != CpusetPartition::None
    {
        return conflict(
            "cpusetPartition",
            "cpusetPartition is for containers with CPUs of their own, and cpuManagerPolicy none gives none: set \
             cpuManagerPolicy to static, or cpusetPartition to none",
        );
    }
    let checked = options
        .check()
        .and_then(|()| options.check_under(config.topology_manager_policy));
    if let Err(error) = checked {
        return conflict(error.option(), error.to_string());
    }
    let nothing = Quantity::default();
    let reserved = !config.reserved_system_cpus.is_empty()
        || config.system_reserved.cpu > nothing
        || config.kube_reserved.cpu > nothing;
    if config.cpu_manager_policy == CpuManagerPolicy::Static && !reserved {
        return conflict(
            "cpuManagerPolicy",
            "cpuManagerPolicy is static and no CPU is reserved, so that pods could take the last one: set \
             reservedSystemCPUs, or cpu of systemReserved or kubeReserved",
        );
    }
    Ok(())
}

fn memory(config: &Config) -> Result<(), Conflict> {
    let reservations = &config.reserved_memory;
    for (n, reservation) in reservations.iter().enumerate() {
        let node = reservation.numa_node;
        if reservations[..n].iter().any(|earlier| earlier.numa_node == node) {
            return conflict(
                "reservedMemory",
                format!("reservedMemory names NUMA node {node} twice: write one entry a node"),
            );
        }
    }
    let nothing = Quantity::default();
    let reserved = reservations.iter().any(|r| r.limits.memory > nothing);
    if config.memory_manager_policy == MemoryManagerPolicy::Static && !reserved {
        return conflict(
            "memoryManagerPolicy",
            "memoryManagerPolicy is Static and reservedMemory keeps none: say for each NUMA node how much of \
             systemReserved and kubeReserved memory lies there",
        );
    }
    Ok(())
}
