//! Since when thresholds are crossed, and when they last were.
//!
//! # Properties
//! - A threshold counts as met only after it was crossed at every look for its grace.
//! - A threshold that was met stays so until its signal is beyond it by the margin: around the threshold nothing flaps.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::BootTime;
use crate::model::pressure::Signal;

/// How one threshold stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Its signal and grace, by which it is known again when settings change.
    pub signal: Signal,
    /// Its grace.
    pub grace: Duration,
    /// Since when it is crossed.
    pub since: Option<BootTime>,
    /// When it was last seen met.
    pub last: Option<BootTime>,
}

impl Standing {
    /// Whether it was crossed for all of its grace.
    #[must_use]
    pub fn is_met(&self, now: BootTime) -> bool {
        self.since.is_some_and(|since| now.since(since) >= self.grace)
    }
}

/// How all thresholds stand, in their order in the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Standings(Vec<Standing>);

impl Standings {
    /// See [`PressureState::copy_from`](super::PressureState::copy_from).
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.0.clone_from(&other.0);
    }

    /// Makes room for these thresholds, and forgets others.
    pub fn adopt(&mut self, thresholds: impl ExactSizeIterator<Item = (Signal, Duration)> + Clone) {
        let same = self.0.len() == thresholds.len()
            && (self.0.iter().zip(thresholds.clone()))
                .all(|(known, (signal, grace))| known.signal == signal && known.grace == grace);
        if same {
            return;
        }
        let old = std::mem::take(&mut self.0);
        self.0 = thresholds
            .map(|(signal, grace)| {
                let known = old
                    .iter()
                    .find(|known| known.signal == signal && known.grace == grace);
                known.copied().unwrap_or(Standing {
                    signal,
                    grace,
                    since: None,
                    last: None,
                })
            })
            .collect();
    }

    /// Takes note of the threshold at `place`: `crossed` is its signal beyond it, `recovered` well on the good side.
    pub fn note(&mut self, place: usize, crossed: bool, recovered: bool, now: BootTime) {
        let Some(standing) = self.0.get_mut(place) else {
            return;
        };
        if crossed {
            standing.since.get_or_insert(now);
            if standing.is_met(now) {
                standing.last = Some(now);
            }
        } else if recovered || !standing.is_met(now) {
            standing.since = None;
        }
    }

    /// How the threshold at `place` stands.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&Standing> {
        self.0.get(place)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Standing> {
        self.0.iter()
    }

    /// Signals that are to be told as short: crossed now, or last seen so within the transition period.
    pub fn conditions(&self, transition: Duration, now: BootTime) -> impl Iterator<Item = Signal> {
        let told = move |standing: &&Standing| {
            standing.is_met(now) || standing.last.is_some_and(|last| now.since(last) < transition)
        };
        self.0.iter().filter(told).map(|standing| standing.signal)
    }
}
