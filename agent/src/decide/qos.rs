//! A pod's QoS class.
//!
//! The class follows from `cpu` and `memory` requests and limits alone, number for number as kubelet computes it
//! (its `ComputePodQOS`). An amount of zero counts as absent. When the pod has resources of its own
//! (`spec.resources`), only these count.
//!
//! # Properties
//! - A pod is Guaranteed only if CPU and memory are both limited, with requests equal to the limits.
//! - Resources other than CPU and memory never change the class.

use std::collections::BTreeMap;

use crate::model::{Pod, QosClass, Quantity, ResourceList};

const COUNTED: [&str; 2] = ["cpu", "memory"];

/// The class of `pod`, from its requests and limits as they stand.
#[must_use]
pub fn qos_class(pod: &Pod) -> QosClass {
    let mut requests = Sums::default();
    let mut limits = Sums::default();
    let mut all_limited = true;
    match &pod.resources {
        Some(resources) => {
            requests.add(&resources.requests);
            // A pod with requests alone is told from a Guaranteed one by its sums below.
            all_limited = limits.add(&resources.limits) == COUNTED.len() || resources.limits.is_empty();
        }
        None => {
            for container in pod.all_containers() {
                requests.add(&container.resources.requests);
                all_limited &= limits.add(&container.resources.limits) == COUNTED.len();
            }
        }
    }
    if requests.0.is_empty() && limits.0.is_empty() {
        QosClass::BestEffort
    } else if all_limited && requests == limits {
        QosClass::Guaranteed
    } else {
        QosClass::Burstable
    }
}

#[derive(Default, PartialEq)]
struct Sums(BTreeMap<&'static str, Quantity>);

impl Sums {
    /// Adds the amounts that count and says how many there were.
    fn add(&mut self, list: &ResourceList) -> usize {
        let mut found = 0;
        for name in COUNTED {
            if let Some(amount) = list.get(name).filter(|amount| amount.is_positive()) {
                let sum = self.0.entry(name).or_default();
                *sum = sum.saturating_add(*amount);
                found += 1;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decide::fixtures::{container, init, pod, resources, simple, valid_pod};
    use crate::model::ContainerKind;

    const FULL: &str = "cpu=100m memory=100Mi";

    #[test]
    fn containers_decide() {
        let full = || container("a", FULL, FULL);
        let with_init = |kind, requests, limits| {
            let mut pod = pod("p", vec![full()]);
            pod.init_containers.push(init("i", kind, requests, limits));
            pod
        };
        let cases = [
            (simple("p", FULL, FULL), QosClass::Guaranteed),
            (simple("p", "", ""), QosClass::BestEffort),
            (
                simple("p", "hugepages-2Mi=2Mi", "hugepages-2Mi=2Mi"),
                QosClass::BestEffort,
            ),
            (simple("p", "cpu=0 memory=0", ""), QosClass::BestEffort),
            (simple("p", "cpu=0 memory=0", FULL), QosClass::Burstable),
            (simple("p", "memory=1Gi", "memory=1Gi"), QosClass::Burstable),
            (simple("p", "cpu=1", "cpu=1"), QosClass::Burstable),
            (simple("p", FULL, "cpu=100m memory=200Mi"), QosClass::Burstable),
            (simple("p", FULL, "cpu=0.1 memory=102400Ki"), QosClass::Guaranteed),
            (
                pod("p", vec![full(), container("b", "", "")]),
                QosClass::Burstable,
            ),
            (with_init(ContainerKind::Init, FULL, FULL), QosClass::Guaranteed),
            (
                with_init(ContainerKind::Sidecar, FULL, FULL),
                QosClass::Guaranteed,
            ),
            (with_init(ContainerKind::Init, "cpu=1", ""), QosClass::Burstable),
        ];
        for (pod, class) in cases {
            assert_eq!(qos_class(&pod), class, "{:?}", pod.containers);
        }
    }

    #[test]
    fn a_pods_own_resources_decide_alone() {
        let cases = [
            (FULL, FULL, QosClass::Guaranteed),
            (FULL, "", QosClass::Burstable),
            ("", FULL, QosClass::Burstable),
            (FULL, "memory=100Mi", QosClass::Burstable),
            ("memory=1Gi", "memory=1Gi", QosClass::Burstable),
            ("", "", QosClass::BestEffort),
        ];
        for (requests, limits, class) in cases {
            for mut pod in [simple("p", "", ""), simple("p", "cpu=1", "cpu=2")] {
                pod.resources = Some(resources(requests, limits));
                assert_eq!(qos_class(&pod), class, "{requests} / {limits}");
            }
        }
    }

    proptest! {
        #[test]
        fn guaranteed_means_limited_to_what_is_requested(pod in valid_pod(0)) {
            let every = pod.all_containers().all(|c| COUNTED.iter().all(|name| {
                let limit = c.resources.limits.get(*name);
                limit.is_some_and(|q| q.is_positive()) && limit == c.resources.requests.get(*name)
            }));
            prop_assert_eq!(qos_class(&pod) == QosClass::Guaranteed, every);
        }

        #[test]
        fn other_resources_change_nothing(pod in valid_pod(0), amount in 0_u64..9) {
            let mut more = pod.clone();
            for container in more.containers.iter_mut().chain(&mut more.init_containers) {
                let amount = Quantity::parse(&amount.to_string()).unwrap();
                for name in ["ephemeral-storage", "hugepages-2Mi", "example.com/gpu"] {
                    container.resources.requests.insert(name.to_owned(), amount);
                    container.resources.limits.insert(name.to_owned(), amount);
                }
            }
            prop_assert_eq!(qos_class(&pod), qos_class(&more));
        }
    }
}
