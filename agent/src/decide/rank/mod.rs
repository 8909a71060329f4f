//! The order of victims: who goes first when something is short.
//!
//! **Problem.** A pod must go, and it should be the one that a thoughtful operator would have chosen: the one that takes
//! more than it asked for, not the largest, not the one of the lowest class, and not one whose end would help nobody.
//! **Terms.** *Charge*, *excess*: see [`crate::model::pressure`]. *Urgency*: excess, and what the charge will grow within
//! the horizon, as far as that is sure. *Floor*: what a pod's end has to free to be worth it. *Barred*: not a victim now;
//! barred pods come last, each with its reason.
//!
//! **How.** [`Profile::Plimsoll`] takes pods over their request, of whatever class, before any within; among those the one of
//! the lowest priority, and among equals the most urgent one. Page cache is not charged, shared memory is. Being within the
//! request bars a pod as long as one that is over could go, or is on its way out, or when the shielded pods' excess alone
//! makes up for all that is missing. Class only breaks ties. [`Profile::Kubelet`] is kubelet's order to the letter.
//! [`rank`] allocates nothing when the order has room for all pods.
//!
//! # Properties
//! - The order of the pods in the roster changes nothing, in either profile.
//! - Either profile's comparison is a total order.
//! - All usages, requests and the deficit times the same number give the same order.
//! - The number of processes over which a pod's memory is spread changes nothing.
//! - A higher request never brings a pod nearer to its end.
//! - A shielded pod is never picked.
//! - No pod within its request is picked while one over it may be.

mod kubelet;
mod plimsoll;
mod resource;

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod props;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::Bytes;
use crate::model::pressure::{Barred, Need, PodFacts, PodFigures, Ranked, Snapshot, Term};
use crate::state::pressure::Growth;
use resource::Resource;

/// Whose judgement the order follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Profile {
    /// kubelet's: usage above request, priority, amount above request; usage has active page cache in it, and a pod
    /// without figures goes first.
    Kubelet,
    /// Our own.
    #[default]
    Plimsoll,
}

/// What the order rests on.
#[derive(Clone, Copy)]
pub struct RankInputs<'a> {
    /// The pods.
    pub roster: &'a [PodFacts],
    /// Their figures, in the same order; those missing at the end count as unreadable.
    pub snapshot: &'a Snapshot,
    /// Growth of a pod's charge, by its place in the roster.
    pub growth: &'a dyn Fn(usize) -> Growth,
    /// What is short.
    pub need: &'a Need,
    /// Why a pod may not be taken now, for reasons that are not in its figures: it ends, it was spent, the budget is.
    pub barred: &'a dyn Fn(usize) -> Option<Barred>,
    /// How far ahead growth counts.
    pub horizon: Duration,
}

impl RankInputs<'_> {
    fn figures(&self, pod: usize) -> PodFigures {
        self.snapshot.pods.get(pod).copied().unwrap_or_default()
    }
}

/// Puts all pods of the roster in `order`, the best victim first and barred ones last.
pub fn rank(inputs: &RankInputs, profile: Profile, order: &mut Vec<Ranked>) {
    let short = Resource::of(inputs.need, &inputs.snapshot.node);
    order.clear();
    order.extend((0..inputs.roster.len()).map(|pod| one(inputs, profile, short, pod)));
    match profile {
        Profile::Kubelet => {
            order.sort_unstable_by(|a, b| kubelet::compare(inputs, short, a, b));
        }
        Profile::Plimsoll => {
            plimsoll::hold_back(order, short.missing(inputs.need), short.floor(inputs.need));
            order.sort_unstable_by(|a, b| plimsoll::compare(inputs.roster, a, b));
        }
    }
}

fn one(inputs: &RankInputs, profile: Profile, short: Resource, pod: usize) -> Ranked {
    let facts = &inputs.roster[pod];
    let figures = inputs.figures(pod);
    let charge = match profile {
        Profile::Kubelet => kubelet::usage(short, &figures),
        Profile::Plimsoll => short.charge(&figures),
    };
    let excess = Bytes(charge.unwrap_or_default()).saturating_sub(Bytes(short.request(facts)));
    // Growth is known of memory only.
    let growth = match short {
        Resource::Memory { .. } => (inputs.growth)(pod),
        Resource::Space | Resource::Inodes | Resource::Tasks => Growth::default(),
    };
    let sure = growth.bytes_per_second.max(0.0) * growth.confidence.clamp(0.0, 1.0);
    let mut ranked = Ranked {
        pod,
        barred: facts.shield.map(|_| Barred::Shielded),
        charge: Bytes(charge.unwrap_or_default()),
        excess,
        growth: growth.bytes_per_second,
        confidence: growth.confidence,
        urgency: excess.0 as f64 + sure * inputs.horizon.as_secs_f64(),
        freeable: Bytes(short.freed_by_end(&figures)),
        freed_by_kill: Bytes(short.freed_by_kill(&figures)),
    };
    ranked.barred = ranked.barred.or_else(|| (inputs.barred)(pod));
    if profile == Profile::Plimsoll {
        let known = charge.is_some();
        let floor = short.floor(inputs.need);
        ranked.barred = ranked
            .barred
            .or_else(|| plimsoll::gate(&figures, known, ranked.freeable, floor));
    }
    ranked
}

/// Among pods that are equal in all that the profile looks at, the youngest goes first, having least to lose; then the
/// one of the smaller UID, for want of better.
fn tie_break(roster: &[PodFacts], a: &Ranked, b: &Ranked) -> Ordering {
    let (a, b) = (&roster[a.pod], &roster[b.pod]);
    let age = b.started_at.cmp(&a.started_at);
    age.then_with(|| a.uid.cmp(&b.uid))
}

/// The parts of a pod's score in the order in which they count, and what they are made of.
pub fn terms(ranked: &Ranked, roster: &[PodFacts]) -> impl Iterator<Item = Term> + use<> {
    let facts = roster.get(ranked.pod);
    let amount = |bytes: Bytes| bytes.0 as f64;
    let terms = [
        ("overRequest", f64::from(ranked.excess > Bytes(0))),
        ("priority", facts.map_or(0.0, |facts| facts.priority.into())),
        ("urgency", ranked.urgency),
        ("charge", amount(ranked.charge)),
        ("excess", amount(ranked.excess)),
        ("growth", ranked.growth),
        ("confidence", ranked.confidence),
        ("freeable", amount(ranked.freeable)),
        ("freedByKill", amount(ranked.freed_by_kill)),
    ];
    terms.into_iter().map(|(name, value)| Term { name, value })
}
