//! What would become of pods on a machine, live or captured; nothing is done.

use anyhow::Context;

use crate::config::Config;
use crate::decide::allocatable::allocatable;
use crate::decide::allotment::Allotment;
use crate::decide::managers::managers;
use crate::decide::numa::Resource;
use crate::decide::policy::PlacementPolicy;
use crate::decide::rehearsal::rehearse;
use crate::model::{AllocatableReport, Bytes, NodeFreeMemory, PlacementReport, ProposedMove};
use crate::observe::pods::PodSet;
use crate::observe::supply::Supply;

/// Where the pods would go.
///
/// # Errors
/// The configuration does not fit the machine.
pub fn plan(config: &Config, supply: &Supply, set: &PodSet) -> anyhow::Result<PlacementReport> {
    let policy = PlacementPolicy::from_config(config).context("cgroupRoot")?;
    let topology = &supply.cpus.topology;
    let memory = supply.memory.as_deref().unwrap_or_default();
    let managers = managers(config, &policy, &supply.cpus, &supply.capacity, memory)?;
    let allocatable = allocatable(&supply.capacity, &policy);
    let pods: Vec<_> = set.pods.values().map(|sourced| &sourced.pod).collect();
    let rehearsal = rehearse(Allotment::new(managers, topology.clone()), &pods, &allocatable);
    let allotment = &rehearsal.allotment;
    let free = allotment.managers().memory.as_ref();
    let free = free
        .map(|memory| memory.free(Resource::Memory))
        .unwrap_or_default();
    let nodes = topology.numa_nodes().iter().map(|node| node.id);
    let policy = allotment.managers().cpus.as_ref();
    let moves = policy.map(|policy| policy.defragment(allotment.assignments()));
    let proposed = moves.into_iter().flatten().filter_map(|moved| {
        let pod = &set.pods.get(&moved.pod)?.pod;
        Some(ProposedMove {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            container: moved.container,
            from: moved.from,
            to: moved.to,
            free_nodes: moved.then.nodes,
            free_cores: moved.then.cores,
        })
    });
    let moves = proposed.collect();
    Ok(PlacementReport {
        reserved: allotment.reserved(),
        shared: allotment.shared(),
        pods: rehearsal.pods,
        manifest_errors: set.errors.iter().map(ToString::to_string).collect(),
        allocatable: AllocatableReport {
            cpu: allocatable.cpu,
            memory: supply.memory.is_some().then_some(allocatable.memory),
            pods: allocatable.pods,
        },
        free_memory: nodes
            .zip(free)
            .map(|(node, free)| NodeFreeMemory {
                node,
                free: Bytes(free),
            })
            .collect(),
        moves,
    })
}
