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
pub const CRITICAL_PRIORITY: i32 = 2_000_000_000;

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decide::fixtures::{container, init, list, pod, resources, simple, valid_pod};

    const CAPACITY: Bytes = Bytes(8_000_000_000);

    fn values(pod: &Pod, capacity: u64) -> Vec<i16> {
        let capacity = Bytes(capacity);
        pod.all_containers()
            .map(|c| oom_score_adj(pod, c, capacity).0)
            .collect()
    }

    #[test]
    fn a_burstable_container_is_spared_by_the_share_it_requested() {
        let cases = [
            ("memory=4G", 500),
            ("memory=7999999999", 3),
            ("memory=400M", 950),
            ("memory=1G", 875),
            ("cpu=1", 999),
            ("memory=1", 999),
        ];
        for (requests, value) in cases {
            assert_eq!(
                values(&simple("p", requests, ""), CAPACITY.0),
                [value],
                "{requests}"
            );
        }
        assert_eq!(values(&simple("p", "", ""), CAPACITY.0), [1000]);
        assert_eq!(
            values(&simple("p", "cpu=1 memory=1G", "cpu=1 memory=1G"), CAPACITY.0),
            [-997]
        );
    }

    #[test]
    fn a_sidecar_is_no_better_a_victim_than_the_application() {
        for (request, value) in [("memory=400M", 875), ("memory=4G", 500)] {
            let mut pod = simple("p", "memory=1G", "");
            pod.init_containers
                .push(init("s", ContainerKind::Sidecar, request, ""));
            assert_eq!(values(&pod, CAPACITY.0), [value, 875]);
        }
    }

    #[test]
    fn what_the_pod_requests_beyond_its_containers_is_shared_equally() {
        let mut shared = pod("p", vec![container("a", "memory=1G", ""), container("b", "", "")]);
        shared.resources = Some(resources("memory=2G", ""));
        assert_eq!(values(&shared, 4_000_000_000), [625, 875]);
        shared.containers[1].resources.requests = list("memory=500M");
        shared
            .init_containers
            .push(init("s", ContainerKind::Sidecar, "memory=200M", ""));
        assert_eq!(values(&shared, 4_000_000_000), [850, 725, 850]);
    }

    #[test]
    fn only_the_nodes_own_critical_pods_are_spared() {
        let mut critical = simple("p", "", "");
        critical.priority = CRITICAL_PRIORITY;
        critical.priority_class_name = Some("system-cluster-critical".to_owned());
        assert_eq!(values(&critical, CAPACITY.0), [1000]);
        critical.priority_class_name = Some(NODE_CRITICAL_CLASS.to_owned());
        assert_eq!(values(&critical, CAPACITY.0), [-997]);
        critical.priority = 0;
        assert_eq!(values(&critical, CAPACITY.0), [1000], "anybody can name a class");
    }

    proptest! {
        #[test]
        fn a_class_has_its_band(
            mut pod in valid_pod(0),
            own in prop::option::of(0_u64..9000),
            capacity in 1..u64::MAX,
        ) {
            pod.resources = own.map(|n| resources(&format!("memory={n}Mi"), ""));
            for value in values(&pod, capacity) {
                let band = match qos_class(&pod) {
                    QosClass::Guaranteed => -997..=-997,
                    QosClass::Burstable => 3..=999,
                    QosClass::BestEffort => 1000..=1000,
                };
                prop_assert!(band.contains(&value), "{value}");
            }
        }

        #[test]
        fn a_larger_request_never_exposes(request in 0_u64..16_000, more in 0_u64..16_000) {
            let value = |mib: u64| values(&simple("p", &format!("cpu=1 memory={mib}Mi"), ""), CAPACITY.0);
            prop_assert!(value(request + more) <= value(request));
        }
    }
}
