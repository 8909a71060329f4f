//! Whether the kernel would take whom the order has first.

use serde::Serialize;

use super::eligible;
use crate::decide::badness::kernel_choice;
use crate::model::Bytes;
use crate::model::pressure::{ProcessFigures, Ranked};

/// The kernel's choice beside the order's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Agreement {
    /// The kernel would take a process of the first pod that may be taken.
    Same,
    /// It would take one of this pod, or one outside the pods.
    Other(Option<usize>),
    /// No pod may be taken, or the kernel would find nobody.
    Nobody,
}

/// Compares the two, over all `processes` of a domain of so much memory.
#[must_use]
pub fn agreement(order: &[Ranked], processes: &[ProcessFigures], total: Bytes) -> Agreement {
    let (Some(top), Some(chosen)) = (eligible(order, processes).next(), kernel_choice(processes, total))
    else {
        return Agreement::Nobody;
    };
    let owner = processes.get(chosen).and_then(|process| process.owner);
    match owner.map(|owner| owner.pod) {
        Some(pod) if pod == top => Agreement::Same,
        other => Agreement::Other(other),
    }
}
