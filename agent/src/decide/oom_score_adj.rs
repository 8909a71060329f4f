//! The `oom_score_adj` of a container's processes, as kubelet computes it.
//!
//! The kernel adds `oom_score_adj` thousandths of the node's memory to a process's own size when it looks for a
//! victim. A Burstable container therefore gets 1 000 less the share of the node that it requested: using what
//! was requested makes all containers equally bad, using more makes them worse.
//!
//! # Properties
//! - Guaranteed < Burstable < BestEffort, always.
//! - A larger memory request never makes a container a better victim.

use crate::model::{Bytes, Container, ContainerKind, OomScoreAdj, Pod, QosClass};

use super::qos::qos_class;
use super::resources::aggregate_requests;

/// The agent itself, and everything that the node cannot live without.
pub const AGENT: OomScoreAdj = OomScoreAdj(-999);

const GUARANTEED: i64 = -997;
const BURSTABLE_MIN: i64 = 3;
const BURSTABLE_MAX: i64 = 999;
const BEST_EFFORT: i16 = 1000;

const NODE_CRITICAL_CLASS: &str = "system-node-critical";
/// From this priority on a pod is critical: `system-cluster-critical` and above.
const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// Whether the cluster or the node depends on `pod`.
#[must_use]
pub fn is_critical(pod: &Pod) -> bool {
    pod.is_static || pod.priority >= CRITICAL_PRIORITY
}

/// The value for `container` of `pod`, which must be one of the pod's, on a node with `capacity` of memory.
#[must_use]
pub fn oom_score_adj(pod: &Pod, container: &Container, capacity: Bytes) -> OomScoreAdj {
    let kubelets = kubelet_value(pod, container, capacity);
    let in_band = match qos_class(pod) {
        QosClass::Burstable => kubelets.min(BURSTABLE_MAX),
        QosClass::Guaranteed | QosClass::BestEffort => kubelets,
    };
    OomScoreAdj(i16::try_from(in_band).unwrap_or(BEST_EFFORT))
}

/// kubelet's value, which leaves the band of its class, and even the kernel's range, when the containers of a
/// Burstable pod request more memory than the pod itself does. The API server accepts no such pod.
#[must_use]
pub fn kubelet_value(pod: &Pod, container: &Container, capacity: Bytes) -> i64 {
    if is_critical(pod) && pod.priority_class_name.as_deref() == Some(NODE_CRITICAL_CLASS) {
        return GUARANTEED;
    }
    match qos_class(pod) {
        QosClass::Guaranteed => return GUARANTEED,
        QosClass::BestEffort => return BEST_EFFORT.into(),
        QosClass::Burstable => {}
    }
    let unclaimed = unclaimed_per_container(pod);
    let for_request = |request: i64| {
        let share = 1000 * i128::from(request.saturating_add(unclaimed)) / i128::from(capacity.0.max(1));
        i64::try_from(1000 - share).unwrap_or(BURSTABLE_MIN)
    };
    let mut value = for_request(memory_request(container));
    if container.kind == ContainerKind::Sidecar {
        // A sidecar must not be a better victim than the application container that is most at risk.
        let least = pod.containers.iter().map(memory_request).min().unwrap_or(0);
        value = value.min(for_request(least));
    }
    match value.max(BURSTABLE_MIN) {
        1000 => BURSTABLE_MAX,
        value => value,
    }
}

/// Memory that the pod requests beyond its containers, in equal parts.
fn unclaimed_per_container(pod: &Pod) -> i64 {
    let Some(request) = pod.resources.as_ref().and_then(|r| r.requests.get("memory")) else {
        return 0;
    };
    if !request.is_positive() {
        return 0;
    }
    let claimed = aggregate_requests(pod).get("memory").map_or(0, |q| q.value());
    let containers = i64::try_from(pod.all_containers().count()).unwrap_or(i64::MAX);
    request.value().saturating_sub(claimed) / containers.max(1)
}

fn memory_request(container: &Container) -> i64 {
    container
        .resources
        .requests
        .get("memory")
        .map_or(0, |q| q.value())
}
