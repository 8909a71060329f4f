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
