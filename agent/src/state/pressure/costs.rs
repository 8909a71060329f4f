//! What a shortage costs: time in which tasks waited for memory, and allocations that had to reclaim; and how much there
//! was before.
//!
//! # Properties
//! - A counter that falls (another source, another boot) has moved by nothing.
//! - The memory is bounded: the last ten seconds, at most one entry every tenth of a second.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::pressure::NodeFigures;
use crate::model::{BootTime, Bytes};

/// How far back is known.
pub const SPAN: Duration = Duration::from_secs(10);
/// The least time between two entries.
const STEP: Duration = Duration::from_millis(100);
const ENTRIES: usize = 104;

/// Counters at a moment, or by how much they moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Some task of the machine waited.
    pub some: Duration,
    /// Every task did.
    pub full: Duration,
    /// Some task below the pods' root waited.
    pub root_some: Duration,
    /// Every task there did.
    pub root_full: Duration,
    /// Times background reclaim was woken.
    pub kswapd_wakes: u64,
    /// Allocations that reclaimed themselves.
    pub direct_reclaims: u64,
}

impl Cost {
    fn of(node: &NodeFigures) -> Self {
        Self {
            some: node.some,
            full: node.full,
            root_some: node.root_some,
            root_full: node.root_full,
            kswapd_wakes: node.kswapd_wakes,
            direct_reclaims: node.direct_reclaims,
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            some: self.some.saturating_sub(before.some),
            full: self.full.saturating_sub(before.full),
            root_some: self.root_some.saturating_sub(before.root_some),
            root_full: self.root_full.saturating_sub(before.root_full),
            kswapd_wakes: self.kswapd_wakes.saturating_sub(before.kswapd_wakes),
            direct_reclaims: self.direct_reclaims.saturating_sub(before.direct_reclaims),
        }
    }
}

/// The counters of the last ten seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Costs {
    past: VecDeque<(BootTime, Cost, Bytes)>,
    now: Option<(BootTime, Cost)>,
}

impl Costs {
    /// See [`PressureState::copy_from`](super::PressureState::copy_from).
    pub(super) fn copy_from(&mut self, other: &Self) {
        let Self { past, now } = other;
        self.past.clone_from(past);
        self.now = *now;
    }

    pub(super) fn with_capacity() -> Self {
        Self {
            past: VecDeque::with_capacity(ENTRIES),
            now: None,
        }
    }

    /// Takes in the machine's figures.
    pub fn observe(&mut self, node: &NodeFigures, now: BootTime) {
        let cost = Cost::of(node);
        self.now = Some((now, cost));
        if self.past.back().is_some_and(|(at, ..)| now.since(*at) < STEP) {
            return;
        }
        // One entry older than the span stays, so that the span is whole.
        while self.past.len() >= ENTRIES || self.past.get(1).is_some_and(|(at, ..)| now.since(*at) >= SPAN) {
            self.past.pop_front();
        }
        self.past.push_back((now, cost, node.available));
    }

    /// By how much the counters moved within the last `span`, and over how much time that was seen; nothing without two
    /// readings.
    #[must_use]
    pub fn within(&self, span: Duration) -> (Cost, Duration) {
        let Some((now, cost)) = self.now else {
            return Default::default();
        };
        let before = self.past.iter().rev().find(|(at, ..)| now.since(*at) >= span);
        match before.or(self.past.front()) {
            Some((at, before, _)) => (cost.since(*before), now.since(*at)),
            None => Default::default(),
        }
    }

    /// By how much the counters moved since a moment, as far back as is known.
    #[must_use]
    pub fn since(&self, moment: BootTime) -> Cost {
        let now = self.now.map_or(moment, |(now, _)| now);
        self.within(now.since(moment)).0
    }

    /// The most that `MemAvailable` was within the last ten seconds.
    #[must_use]
    pub fn peak_available(&self) -> Bytes {
        let past = self.past.iter().map(|(_, _, available)| *available);
        past.max().unwrap_or_default()
    }

    /// The part of the last ten seconds in which every task waited, in millionths.
    #[must_use]
    pub fn full_millionths(&self) -> u64 {
        let (cost, _) = self.within(SPAN);
        let part = cost.full.as_nanos() * 1_000_000 / SPAN.as_nanos();
        u64::try_from(part).unwrap_or(u64::MAX).min(1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(tenths: u64) -> BootTime {
        BootTime(Duration::from_millis(100 * tenths))
    }

    #[test]
    fn the_part_of_time_is_of_ten_seconds_and_counters_never_run_back() {
        let mut costs = Costs::with_capacity();
        let capacity = costs.past.capacity();
        for tenth in 0..400 {
            let node = NodeFigures {
                full: Duration::from_millis(20 * tenth),
                direct_reclaims: tenth,
                ..NodeFigures::default()
            };
            costs.observe(&node, second(tenth));
        }
        assert_eq!(costs.full_millionths(), 200_000);
        assert_eq!(costs.within(Duration::from_secs(1)).0.direct_reclaims, 10);
        assert_eq!(costs.since(second(389)).direct_reclaims, 10);
        costs.observe(&NodeFigures::default(), second(401));
        assert_eq!(costs.full_millionths(), 0);
        assert_eq!(costs.past.capacity(), capacity);
    }
}
