//! Our own order: gates, and the comparison of those who pass.

use std::cmp::Ordering;

use crate::model::Bytes;
use crate::model::pressure::{Barred, PodFacts, PodFigures, Ranked};

/// Why a pod's figures make it no victim.
pub(super) fn gate(figures: &PodFigures, known: bool, freeable: Bytes, floor: u64) -> Option<Barred> {
    if !known {
        Some(Barred::NoFigures)
    } else if !figures.populated {
        Some(Barred::Unpopulated)
    } else if freeable.0 < floor {
        Some(Barred::FreesTooLittle)
    } else {
        None
    }
}

/// Bars the pods within their request where somebody else is to blame for what is `missing`: a pod over its request that
/// may go, or goes already, or would go if the budget were not spent, and frees at least `floor`; or the shielded pods,
/// where their excess is all that is missing. One that was spent, or frees too little, or cannot be read, is no reason to
/// let the node run out.
pub(super) fn hold_back(order: &mut [Ranked], missing: u64, floor: u64) {
    let over = |ranked: &&Ranked| ranked.excess > Bytes(0) && ranked.freeable.0 >= floor;
    let to_go = order
        .iter()
        .filter(over)
        .any(|ranked| matches!(ranked.barred, None | Some(Barred::Ending | Barred::Budget)));
    let shielded = order
        .iter()
        .filter(|ranked| ranked.barred == Some(Barred::Shielded))
        .fold(Bytes(0), |sum, ranked| sum.saturating_add(ranked.excess));
    let shielded_to_blame = shielded > Bytes(0) && shielded.0 >= missing;
    if !to_go && !shielded_to_blame {
        return;
    }
    let within = order
        .iter_mut()
        .filter(|ranked| ranked.barred.is_none() && ranked.excess == Bytes(0));
    within.for_each(|ranked| ranked.barred = Some(Barred::WithinRequest));
}

/// Who goes first. Those who are only held back come before those who could not go even then.
pub(super) fn compare(roster: &[PodFacts], a: &Ranked, b: &Ranked) -> Ordering {
    let standing = |ranked: &Ranked| match ranked.barred {
        None => 0,
        Some(Barred::WithinRequest) => 1,
        Some(_) => 2,
    };
    let over = |ranked: &Ranked| ranked.excess > Bytes(0);
    let (of_a, of_b) = (&roster[a.pod], &roster[b.pod]);
    (standing(a).cmp(&standing(b)))
        .then_with(|| over(b).cmp(&over(a)))
        .then_with(|| of_a.priority.cmp(&of_b.priority))
        .then_with(|| b.urgency.total_cmp(&a.urgency))
        .then_with(|| b.freeable.cmp(&a.freeable))
        .then_with(|| of_b.class.cmp(&of_a.class))
        .then_with(|| super::tie_break(roster, a, b))
}
