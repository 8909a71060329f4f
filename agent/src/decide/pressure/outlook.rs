//! How things stand, for those who ask: what is short, who would go first if memory were short now, how thresholds stand.

use std::time::Duration;

use super::Scratch;
use super::shortage::worst;
use super::signals::{crossing, read};
use super::victim::View;
use crate::decide::eviction::EvictionPolicy;
use crate::model::pressure::{Domain, Need, PodFacts, Ranked, Snapshot, ThresholdReport};
use crate::model::{BootTime, Bytes};
use crate::state::pressure::PressureState;

/// How things stand.
#[derive(Debug, Clone)]
pub struct Outlook {
    /// What is short, if anything is.
    pub need: Option<Need>,
    /// All pods, the best victim first: by what is short, or as if the machine's memory were.
    pub order: Vec<Ranked>,
    /// The thresholds.
    pub thresholds: Vec<ThresholdReport>,
}

/// How things stand, by figures that [`PressureState::observe`] has taken in. This does allocate.
#[must_use]
pub fn outlook(
    roster: &[PodFacts],
    snapshot: &Snapshot,
    policy: &EvictionPolicy,
    state: &PressureState,
    now: BootTime,
) -> Outlook {
    let view = View {
        roster,
        snapshot,
        policy,
        state,
        now,
    };
    let node = &snapshot.node;
    let need = worst(snapshot, policy, state, now).map(|shortage| shortage.need);
    let supposed = Need {
        domain: Domain::Node,
        signal: None,
        observed: node.available.0,
        threshold: 0,
        deficit: Bytes(0),
        exhausted_in: state.node_exhausted_in(node),
        stalled: Duration::ZERO,
    };
    let mut scratch = Scratch::with_capacity(roster.len());
    view.order(need.as_ref().unwrap_or(&supposed), &mut scratch);
    let thresholds = policy.thresholds.iter().enumerate().map(|(place, threshold)| {
        let reading = read(threshold.signal, node, policy.profile, state);
        let crossing = reading.map(|reading| crossing(threshold, reading));
        let standing = state.standings.get(place);
        ThresholdReport {
            signal: threshold.signal,
            grace: threshold.grace,
            at: crossing.map_or(0, |crossing| crossing.at),
            observed: crossing.map(|crossing| crossing.observed),
            met_since: standing
                .filter(|standing| standing.is_met(now))
                .and_then(|standing| standing.since),
        }
    });
    Outlook {
        need,
        thresholds: thresholds.collect(),
        order: scratch.order,
    }
}
