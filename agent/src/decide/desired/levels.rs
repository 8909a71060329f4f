//! The levels above the pods, and the agent's own cgroup.

use crate::decide::allocatable::{allocatable, amount};
use crate::decide::conversions::{linear_weight, shares};
use crate::decide::policy::{AgentShare, MemoryQosMode};
use crate::decide::qos::qos_class;
use crate::decide::resources::{cpu, pod_requests};
use crate::model::{Bytes, ControlFile, CpuWeight, HugePageSize, KnobValue, Limit, MilliCpu, QosClass};

use super::memory::{Protection, root_tripwire};
use super::pod_config::pod_config;
use super::{Builder, Inputs, huge_page_limits, lists, memory_limit};

/// What the pods of one class come to.
#[derive(Clone, Copy, Default)]
struct Sum {
    cpu: MilliCpu,
    protection: Protection,
}

/// Adds root, QoS levels and agent.
pub(super) fn add(builder: &mut Builder, inputs: &Inputs) {
    let layout = &inputs.policy.layout;
    let [guaranteed, burstable, best_effort] = QosClass::ALL.map(|class| sum(inputs, class));
    let agent = inputs.policy.agent.map_or(Protection::default(), own_protection);
    let protected = guaranteed
        .protection
        .plus(burstable.protection)
        .plus(best_effort.protection);
    let (pods, best_effort_protection) = match inputs.policy.memory_qos.mode {
        MemoryQosMode::Off | MemoryQosMode::Sound => (protected, best_effort.protection),
        // All protection hard, `memory.low` at no level above Burstable: what makes it void there.
        MemoryQosMode::Kubelet => {
            let min = guaranteed.protection.min.saturating_add(burstable.protection.low);
            (Protection { min, low: Bytes(0) }, Protection::default())
        }
    };
    add_root(builder, inputs, pods.plus(agent));

    for (class, cpu, protection) in [
        (QosClass::Burstable, burstable.cpu, burstable.protection),
        (QosClass::BestEffort, MilliCpu(0), best_effort_protection),
    ] {
        let mut knobs = vec![weight(cpu)];
        knobs.extend(protection.knobs());
        knobs.extend(huge_page_limits(inputs.node, |_| Limit::Max));
        let path = layout.qos(class);
        knobs.extend(lists(inputs.cpusets, &path));
        builder.cgroup(path, knobs);
    }

    if let Some(share) = inputs.policy.agent {
        let path = layout.agent();
        let mut knobs = vec![weight(share.cpu)];
        knobs.extend(own_protection(share).knobs());
        knobs.extend(lists(inputs.cpusets, &path));
        builder.cgroup(path, knobs);
    }
}

fn own_protection(share: AgentShare) -> Protection {
    Protection {
        min: share.memory,
        low: Bytes(0),
    }
}

fn add_root(builder: &mut Builder, inputs: &Inputs, protection: Protection) {
    let node = inputs.node;
    let left = allocatable(node, inputs.policy);
    let enforced = inputs.policy.enforce_node_allocatable;
    let (cpu, memory, pids) = if enforced {
        (left.cpu, left.usable_memory, left.pids)
    } else {
        (node.cpu, node.memory, node.pids)
    };
    // The agent lives below the root and uses what was reserved, so it comes on top of the pods' memory.
    let agent = inputs.policy.agent.map_or(Bytes(0), |share| share.memory);
    let memory = memory.saturating_add(agent).min(node.memory);
    let huge_pages = |size: HugePageSize| Limit::At(left.huge_pages.get(&size).copied().unwrap_or_default());
    let mut knobs = vec![
        weight(cpu),
        (ControlFile::MemoryMax, KnobValue::Memory(Limit::At(memory))),
        (ControlFile::PidsMax, KnobValue::Count(Limit::At(pids))),
    ];
    knobs.extend(protection.knobs());
    knobs.extend(huge_page_limits(node, huge_pages));
    let path = inputs.policy.layout.qos(QosClass::Guaranteed);
    let threshold = amount(inputs.policy.eviction_hard_memory, node.memory);
    let high = root_tripwire(inputs.policy.memory_qos, memory, threshold)
        .filter(|_| enforced && !inputs.lifted.contains(&path));
    knobs.push(memory_limit(ControlFile::MemoryHigh, high));
    builder.cgroup(path, knobs);
}

fn sum(inputs: &Inputs, class: QosClass) -> Sum {
    let pods = inputs.pods.iter().filter(|pod| qos_class(pod) == class);
    pods.fold(Sum::default(), |sum, pod| {
        let requests = pod_requests(pod);
        Sum {
            cpu: MilliCpu(sum.cpu.0.saturating_add(cpu(&requests).0)),
            protection: sum.protection.plus(pod_config(pod, inputs.policy).protection),
        }
    })
}

fn weight(cpu: MilliCpu) -> (ControlFile, KnobValue) {
    let weight: CpuWeight = linear_weight(shares(cpu));
    (ControlFile::CpuWeight, KnobValue::Weight(weight))
}
