//! What a pod as a whole requests and may use.
//!
//! **Problem.** Containers of a pod do not all run at once: ordinary init containers run one after the other
//! before the application, sidecars run from their place in the order to the end. **How.** Kubernetes' rule: a
//! pod needs the larger of application and sidecars together, and of each init container together with the
//! sidecars started before it. Amounts given for the pod itself replace the result; overhead is added last (to
//! limits only where there is one). Sums are exact; rounding happens once, at the end.
//!
//! # Properties
//! - A pod requests at least what its application containers and sidecars request together.

use crate::model::{
    Bytes, Container, ContainerKind, HugePageSize, MilliCpu, Pod, Quantity, ResourceList, Resources,
};

/// What `pod` requests, overhead included.
#[must_use]
pub fn pod_requests(pod: &Pod) -> ResourceList {
    let mut requests = aggregate_requests(pod);
    replace(&mut requests, pod.resources.as_ref().map(|r| &r.requests));
    add(&mut requests, &pod.overhead);
    requests
}

/// What `pod` may use; a resource that nobody limits is absent. Whether the sum is a limit on the whole pod
/// depends on whether every container has one: see [`all_limit`].
#[must_use]
pub fn pod_limits(pod: &Pod) -> ResourceList {
    let mut limits = aggregate(pod, |resources| &resources.limits);
    replace(&mut limits, pod.resources.as_ref().map(|r| &r.limits));
    for (name, limit) in &mut limits {
        if let Some(overhead) = pod.overhead.get(name).filter(|_| limit.is_positive()) {
            *limit = limit.saturating_add(*overhead);
        }
    }
    limits
}

/// What the containers of `pod` request together, without pod-level amounts and overhead.
#[must_use]
pub fn aggregate_requests(pod: &Pod) -> ResourceList {
    aggregate(pod, |resources| &resources.requests)
}

/// Whether `resource` is limited for the pod as a whole: by every container, or by the pod itself. As kubelet has
/// it, an init container without a limit passes if a sidecar before it has one.
#[must_use]
pub fn all_limit(pod: &Pod, resource: &str) -> bool {
    let limited = |resources: &Resources| resources.limits.get(resource).is_some_and(|q| q.is_positive());
    let mut beside_limited_sidecar = false;
    let init_limited = pod.init_containers.iter().all(|init| {
        let own = limited(&init.resources);
        beside_limited_sidecar |= own && init.kind == ContainerKind::Sidecar;
        own || beside_limited_sidecar
    });
    pod.resources.as_ref().is_some_and(limited)
        || init_limited && pod.containers.iter().all(|app| limited(&app.resources))
}

/// The amount of `cpu` in `list`; nothing when absent.
#[must_use]
pub fn cpu(list: &ResourceList) -> MilliCpu {
    MilliCpu(list.get("cpu").map_or(0, |q| non_negative(q.milli_value())))
}

/// The amount of `memory` in `list`; nothing when absent.
#[must_use]
pub fn memory(list: &ResourceList) -> Bytes {
    Bytes(list.get("memory").map_or(0, |q| non_negative(q.value())))
}

/// The amount of `ephemeral-storage` in `list`; nothing when absent.
#[must_use]
pub fn storage(list: &ResourceList) -> Bytes {
    Bytes(
        list.get("ephemeral-storage")
            .map_or(0, |q| non_negative(q.value())),
    )
}

/// Huge pages in `list`, by size.
pub fn huge_pages(list: &ResourceList) -> impl Iterator<Item = (HugePageSize, Bytes)> {
    list.iter().filter_map(|(name, amount)| {
        let size = Quantity::parse(name.strip_prefix("hugepages-")?).ok()?;
        Some((
            HugePageSize(non_negative(size.value())),
            Bytes(non_negative(amount.value())),
        ))
    })
}

fn non_negative(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn aggregate(pod: &Pod, part: fn(&Resources) -> &ResourceList) -> ResourceList {
    let mut sum = ResourceList::new();
    for container in &pod.containers {
        add(&mut sum, part(&container.resources));
    }
    let mut sidecars = ResourceList::new();
    let mut starting = ResourceList::new();
    for Container { kind, resources, .. } in &pod.init_containers {
        let own = part(resources);
        if *kind == ContainerKind::Sidecar {
            add(&mut sum, own);
            add(&mut sidecars, own);
            raise(&mut starting, &sidecars);
        } else {
            let mut together = sidecars.clone();
            add(&mut together, own);
            raise(&mut starting, &together);
        }
    }
    raise(&mut sum, &starting);
    sum
}

fn add(sum: &mut ResourceList, list: &ResourceList) {
    for (name, amount) in list {
        let entry = sum.entry(name.clone()).or_default();
        *entry = entry.saturating_add(*amount);
    }
}

/// Raises each amount to the one in `list`.
fn raise(to: &mut ResourceList, list: &ResourceList) {
    for (name, amount) in list {
        let entry = to.entry(name.clone()).or_insert(*amount);
        *entry = (*entry).max(*amount);
    }
}

/// Puts pod-level amounts in place of the computed ones, for the resources that may be given for a pod.
fn replace(list: &mut ResourceList, pod_level: Option<&ResourceList>) {
    for (name, amount) in pod_level.into_iter().flatten() {
        if name == "cpu" || name == "memory" || name.starts_with("hugepages-") {
            list.insert(name.clone(), *amount);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decide::fixtures::{container, init, list, pod, resources, simple, valid_pod};

    fn starting(inits: &[(ContainerKind, &str)]) -> Pod {
        let mut pod = pod(
            "p",
            vec![
                container("a", "cpu=300m", ""),
                container("b", "cpu=200m memory=1Gi", ""),
            ],
        );
        for (n, (kind, requests)) in inits.iter().enumerate() {
            pod.init_containers
                .push(init(&format!("i{n}"), *kind, requests, ""));
        }
        pod
    }

    #[test]
    fn init_containers_need_room_beside_the_sidecars_before_them() {
        use ContainerKind::{Init, Sidecar};
        let cases: [(&[_], u64); 4] = [
            (&[(Init, "cpu=400m")], 500),
            (&[(Init, "cpu=600m"), (Init, "cpu=550m")], 600),
            (&[(Sidecar, "cpu=100m"), (Init, "cpu=700m")], 800),
            (&[(Init, "cpu=700m"), (Sidecar, "cpu=100m")], 700),
        ];
        for (inits, milli) in cases {
            assert_eq!(cpu(&pod_requests(&starting(inits))), MilliCpu(milli), "{inits:?}");
        }
    }

    #[test]
    fn the_pods_own_amounts_replace_and_overhead_is_added() {
        let mut pod = starting(&[]);
        pod.resources = Some(resources("cpu=2 example.com/gpu=1", "memory=2Gi"));
        pod.overhead = list("cpu=50m memory=16Mi");
        let requests = pod_requests(&pod);
        assert_eq!(cpu(&requests), MilliCpu(2050));
        assert_eq!(memory(&requests), Bytes::mib(1040));
        assert!(!requests.contains_key("example.com/gpu"), "no resource of a pod");
        let limits = pod_limits(&pod);
        assert_eq!(memory(&limits), Bytes::mib(2064));
        assert_eq!(cpu(&limits), MilliCpu(0), "overhead alone limits nothing");
    }

    #[test]
    fn sums_are_rounded_once() {
        let pod = pod(
            "p",
            vec![
                container("a", "cpu=100500u", ""),
                container("b", "cpu=100500u", ""),
            ],
        );
        assert_eq!(cpu(&pod_requests(&pod)), MilliCpu(201));
    }

    #[test]
    fn a_pod_is_limited_when_everything_in_it_is() {
        let limited = simple("p", "", "cpu=1");
        assert!(all_limit(&limited, "cpu") && !all_limit(&limited, "memory"));
        let mut open = limited.clone();
        open.containers.push(container("b", "", "cpu=0"));
        assert!(!all_limit(&open, "cpu"));
        open.resources = Some(resources("", "cpu=4"));
        assert!(all_limit(&open, "cpu"));
    }

    proptest! {
        #[test]
        fn a_pod_requests_what_runs_together(pod in valid_pod(0)) {
            let together = pod.all_containers().filter(|c| c.kind != ContainerKind::Init);
            let sum: u64 = together.map(|c| memory(&c.resources.requests).0).sum();
            prop_assert!(memory(&pod_requests(&pod)).0 >= sum);
        }
    }
}
