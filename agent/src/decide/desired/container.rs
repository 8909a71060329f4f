//! A container's cgroup, with the values that kubelet asks a runtime for.

use std::collections::BTreeMap;

use crate::decide::allocatable::allocatable;
use crate::decide::conversions::{container_weight, linear_weight, quota, shares};
use crate::decide::oom_score_adj::is_critical;
use crate::decide::policy::{ContainerCpuWeight, MemoryQosMode, SwapBehavior};
use crate::decide::qos::qos_class;
use crate::decide::resources::{cpu, huge_pages, memory};
use crate::model::{
    Bytes, CgroupPath, Container, ControlFile, CpuWeight, KnobValue, Limit, NodeCapacity,
    OOM_GROUP_ANNOTATION, Pod, QosClass, Quantity,
};

use super::memory::{Protection, kubelet_high, protection, tripwire};
use super::pod_config::pod_config;
use super::{Builder, Inputs, cpu_max, huge_page_limits, lists, memory_limit};

/// Adds the container's cgroup.
pub(super) fn add(
    builder: &mut Builder,
    inputs: &Inputs,
    pod: &Pod,
    container: &Container,
    path: CgroupPath,
) {
    let policy = inputs.policy;
    let cpu_limit = limit(pod, container, "cpu");
    let quota = cpu_limit
        .filter(|_| policy.cpu_cfs_quota && !inputs.cpusets.is_exclusive(&path))
        .and_then(|q| quota(cpu(&one("cpu", q)), policy.cpu_cfs_quota_period));
    let memory_max = limit(pod, container, "memory").map(|q| memory(&one("memory", q)));
    let mut knobs = vec![
        (
            ControlFile::CpuWeight,
            KnobValue::Weight(weight(inputs, container, cpu_limit)),
        ),
        cpu_max(quota, policy.cpu_cfs_quota_period),
        memory_limit(ControlFile::MemoryMax, memory_max),
        memory_limit(
            ControlFile::MemoryHigh,
            high(inputs, pod, container, memory_max).filter(|_| !inputs.lifted.contains(&path)),
        ),
        (
            ControlFile::MemorySwapMax,
            KnobValue::Memory(Limit::At(swap(inputs.node, policy.swap_behavior, pod, container))),
        ),
        (
            ControlFile::MemoryOomGroup,
            KnobValue::Switch(oom_group(inputs, pod, container)),
        ),
    ];
    knobs.extend(container_protection(inputs, pod, container).knobs());
    let limits: BTreeMap<_, _> = huge_pages(&container.resources.limits).collect();
    knobs.extend(huge_page_limits(inputs.node, |size| {
        Limit::At(limits.get(&size).copied().unwrap_or_default())
    }));
    knobs.extend(lists(inputs.cpusets, &path));
    builder.cgroup(path, knobs);
}

/// The container's own limit, or else the pod's.
fn limit(pod: &Pod, container: &Container, resource: &str) -> Option<Quantity> {
    let own = container
        .resources
        .limits
        .get(resource)
        .filter(|q| q.is_positive());
    let pods = pod.resources.as_ref().and_then(|r| r.limits.get(resource));
    own.or(pods.filter(|q| q.is_positive())).copied()
}

fn one(resource: &str, amount: Quantity) -> crate::model::ResourceList {
    [(resource.to_owned(), amount)].into()
}

/// From the request, or from the limit where nothing is requested.
fn weight(inputs: &Inputs, container: &Container, cpu_limit: Option<Quantity>) -> CpuWeight {
    let requested = match (container.resources.requests.contains_key("cpu"), cpu_limit) {
        (false, Some(limit)) => cpu(&one("cpu", limit)),
        _ => cpu(&container.resources.requests),
    };
    match inputs.policy.container_cpu_weight {
        ContainerCpuWeight::Curve => container_weight(shares(requested)),
        ContainerCpuWeight::Linear => linear_weight(shares(requested)),
    }
}

fn container_protection(inputs: &Inputs, pod: &Pod, container: &Container) -> Protection {
    let class = qos_class(pod);
    let qos = inputs.policy.memory_qos;
    let own = protection(qos, class, memory(&container.resources.requests));
    match qos.mode {
        MemoryQosMode::Off | MemoryQosMode::Kubelet => own,
        MemoryQosMode::Sound => own.within(pod_config(pod, inputs.policy).protection),
    }
}

fn high(inputs: &Inputs, pod: &Pod, container: &Container, memory_max: Option<Bytes>) -> Option<Bytes> {
    let request = memory(&container.resources.requests);
    let qos = inputs.policy.memory_qos;
    match qos.mode {
        MemoryQosMode::Off => None,
        // What is guaranteed is never throttled, not even a container that lives on its pod's guarantee.
        MemoryQosMode::Sound => {
            tripwire(qos, request, memory_max).filter(|_| qos_class(pod) == QosClass::Burstable)
        }
        MemoryQosMode::Kubelet => {
            let own_limit = memory(&container.resources.limits);
            let usable = allocatable(inputs.node, inputs.policy).usable_memory;
            kubelet_high(qos, request, own_limit, usable)
        }
    }
}

/// The part of the node's swap that goes with the container's part of the node's memory.
fn swap(node: &NodeCapacity, behavior: SwapBehavior, pod: &Pod, container: &Container) -> Bytes {
    let request = container.resources.requests.get("memory");
    let eligible = behavior == SwapBehavior::LimitedSwap
        && qos_class(pod) == QosClass::Burstable
        && !is_critical(pod)
        && request.is_some_and(|q| q.is_positive())
        && request != container.resources.limits.get("memory");
    if !eligible || node.memory.0 == 0 {
        return Bytes(0);
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "kubelet's arithmetic"
    )]
    {
        let part = memory(&container.resources.requests).0 as f64 / node.memory.0 as f64;
        Bytes((part * node.swap.unwrap_or_default().0 as f64) as u64)
    }
}

/// What the container's annotation says, else the pod's, else the node's setting. Other values than `true` and `false`
/// do not get past the manifest's reader, and say nothing.
fn oom_group(inputs: &Inputs, pod: &Pod, container: &Container) -> bool {
    let own = format!("{OOM_GROUP_ANNOTATION}.{}", container.name);
    let said = |key: &str| pod.annotations.get(key).and_then(|value| value.parse().ok());
    said(&own)
        .or_else(|| said(OOM_GROUP_ANNOTATION))
        .unwrap_or(!inputs.policy.single_process_oom_kill)
}
