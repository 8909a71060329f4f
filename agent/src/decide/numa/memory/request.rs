//! What containers and pods ask of the memory manager.

use std::collections::BTreeMap;

use crate::decide::numa::Resource;
use crate::decide::qos::qos_class;
use crate::decide::resources;
use crate::model::{Bytes, Container, Pod, QosClass, ResourceList};

/// Amounts of memory, by the kind of pages.
pub type Request = BTreeMap<Resource, Bytes>;

/// What a container of the pod asks for by itself; nothing if the pod has no part in this.
#[must_use]
pub fn of_container(pod: &Pod, container: &Container) -> Request {
    if takes_part(pod) {
        request(&container.resources.requests)
    } else {
        Request::new()
    }
}

/// The most that the pod's containers use at one time; nothing if the pod has no part in this.
#[must_use]
pub fn of_pod(pod: &Pod) -> Request {
    if takes_part(pod) {
        request(&resources::aggregate_requests(pod))
    } else {
        Request::new()
    }
}

/// As in kubelet, only Guaranteed pods whose resources are given by container.
fn takes_part(pod: &Pod) -> bool {
    pod.resources.is_none() && qos_class(pod) == QosClass::Guaranteed
}

fn request(list: &ResourceList) -> Request {
    let huge_pages = resources::huge_pages(list).map(|(size, amount)| (Resource::HugePages(size), amount));
    let all = huge_pages.chain([(Resource::Memory, resources::memory(list))]);
    all.filter(|(_, amount)| amount.0 > 0).collect()
}
