//! kubelet's order, to the letter, its oddities included.
//!
//! Source: Kubernetes 1.36, `pkg/kubelet/eviction/helpers.go`. kubelet ranks critical pods like any other and refuses
//! them afterwards; here they are barred. It counts processes where we count tasks.

use std::cmp::Ordering;

use crate::model::Bytes;
use crate::model::pressure::{PodFigures, Ranked};

use super::RankInputs;
use super::resource::Resource;

/// What kubelet holds against the request; none makes a pod the first to go. Where only the cgroup's whole usage could
/// be read, that stands for the working set, which is never more.
pub(super) fn usage(short: Resource, figures: &PodFigures) -> Option<u64> {
    match short {
        Resource::Memory { .. } if figures.charge.is_none() => figures.known().then_some(figures.current.0),
        Resource::Memory { .. } => Some(figures.working_set.0),
        Resource::Space | Resource::Inodes | Resource::Tasks => short.charge(figures),
    }
}

/// Who goes first: the barred last; one without figures; one above its request; the lower priority; more above the request.
pub(super) fn compare(inputs: &RankInputs, short: Resource, a: &Ranked, b: &Ranked) -> Ordering {
    let key = |ranked: &Ranked| {
        let facts = &inputs.roster[ranked.pod];
        let usage = usage(short, &inputs.figures(ranked.pod));
        // For inodes kubelet subtracts the request of space from their number.
        let subtracted = match short {
            Resource::Inodes => facts.storage_request.0,
            Resource::Memory { .. } | Resource::Space | Resource::Tasks => short.request(facts),
        };
        let above = usage.map(|usage| i128::from(usage) - i128::from(subtracted));
        // Of process ids there is no request to be above.
        let over = short != Resource::Tasks && ranked.excess > Bytes(0);
        (
            ranked.barred.is_some(),
            usage.is_some(),
            !over,
            facts.priority,
            -above.unwrap_or(0),
        )
    };
    key(a)
        .cmp(&key(b))
        .then_with(|| super::tie_break(inputs.roster, a, b))
}
