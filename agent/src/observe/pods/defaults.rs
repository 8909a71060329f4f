//! What the API server fills in before a node sees a pod, as far as it matters to the node.
//!
//! - A container's request that is not given is its limit (`SetDefaults_Pod`).
//! - With pod-level limits, a pod-level limit on huge pages that is not given is what the containers may use
//!   together, and a pod-level request that is not given is what the containers ask for together, or else the
//!   pod-level limit (`defaultHugePagePodLimits`, `defaultPodRequests`).
//! - The two built-in priority classes set the priority (admission plug-in `Priority`).
//!
//! # Properties
//! - Doing it twice is doing it once.
//! - Nothing that was given is changed.

use crate::model::{Container, ContainerKind, Pod, Quantity, ResourceList, Resources};

/// The built-in priority classes and their priorities.
pub(super) const SYSTEM_CLASSES: [(&str, i32); 2] = [
    ("system-node-critical", 2_000_001_000),
    ("system-cluster-critical", 2_000_000_000),
];

pub(super) fn apply(pod: &mut Pod) {
    for container in pod.init_containers.iter_mut().chain(&mut pod.containers) {
        let Resources { requests, limits } = &mut container.resources;
        fill(requests, &*limits);
    }
    if let Some(mut resources) = pod.resources.take() {
        if !resources.limits.is_empty() {
            let limits = aggregate(pod, |container| &container.resources.limits);
            fill(
                &mut resources.limits,
                limits.iter().filter(|(name, _)| is_huge_pages(name)),
            );
            let requests = aggregate(pod, |container| &container.resources.requests);
            let supported = |(name, _): &(&String, &Quantity)| is_pod_level(name);
            fill(&mut resources.requests, requests.iter().filter(supported));
            fill(&mut resources.requests, resources.limits.iter().filter(supported));
        }
        pod.resources = Some(resources);
    }
    if pod.priority == 0 {
        let class = pod.priority_class_name.as_deref();
        let system = SYSTEM_CLASSES.iter().find(|(name, _)| Some(*name) == class);
        pod.priority = system.map_or(0, |(_, priority)| *priority);
    }
}

/// Adds what is missing.
fn fill<'a>(list: &mut ResourceList, from: impl IntoIterator<Item = (&'a String, &'a Quantity)>) {
    for (name, quantity) in from {
        list.entry(name.clone()).or_insert(*quantity);
    }
}

/// Whether a resource can be set for a pod as a whole.
pub(super) fn is_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || is_huge_pages(name)
}

/// Whether a resource is huge pages of some size.
pub(super) fn is_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// What the containers need at once: the application with all sidecars, or, if that is more, one init container
/// with the sidecars before it.
pub(super) fn aggregate(pod: &Pod, of: impl Fn(&Container) -> &ResourceList) -> ResourceList {
    let mut sidecars = ResourceList::new();
    let mut initialising = ResourceList::new();
    for container in &pod.init_containers {
        let mut now = sidecars.clone();
        add(&mut now, of(container));
        if container.kind == ContainerKind::Sidecar {
            sidecars = now.clone();
        }
        for (name, quantity) in now {
            let most = initialising.entry(name).or_insert(quantity);
            *most = quantity.max(*most);
        }
    }
    let mut needed = sidecars;
    for container in &pod.containers {
        add(&mut needed, of(container));
    }
    for (name, quantity) in initialising {
        let most = needed.entry(name).or_insert(quantity);
        *most = quantity.max(*most);
    }
    needed
}

fn add(list: &mut ResourceList, more: &ResourceList) {
    for (name, quantity) in more {
        let sum = list.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*quantity);
    }
}
