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

/// Whether `resource` is limited for the pod as a whole: by every container, or by the pod itself.
#[must_use]
pub fn all_limit(pod: &Pod, resource: &str) -> bool {
    let limited = |resources: &Resources| resources.limits.get(resource).is_some_and(|q| q.is_positive());
    pod.resources.as_ref().is_some_and(limited) || pod.all_containers().all(|c| limited(&c.resources))
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
