//! How fast a figure grows, and how sure that is.
//!
//! **Problem.** Figures come at odd moments: every second in calm, every ten milliseconds near the edge, twice within a
//! millisecond when an event and a timer fall together, and not at all while a file cannot be read. The kernel charges
//! memory in batches, so that from close by a slow leak is a flight of steps. **How.** An exponentially weighted mean of the
//! slopes between samples, and of their spread; one over all samples, and one over samples half a second apart, which is
//! asked where the first is unsure. A sample that follows the last one too closely is left out; after a long gap it begins
//! anew.
//!
//! # Properties
//! - Fewer than [`SAMPLES`] samples have no confidence.
//! - A figure that moves evenly has its slope exactly, however the samples lie.
//! - The confidence is within 0 to 1, and lower the more the slopes differ.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::BootTime;

/// Samples before there is any confidence.
pub const SAMPLES: u32 = 3;
/// The weight of the newest slope: the memory is of about five samples, however densely they lie.
const WEIGHT: f64 = 0.4;
/// Samples closer than this tell more of the kernel's batches than of a growth.
pub const CLOSEST: Duration = Duration::from_millis(5);
/// Over this time batches are nothing beside a growth that matters.
const APART: Duration = Duration::from_millis(500);
/// After a gap of this length what was known says nothing any more.
const LONGEST: Duration = Duration::from_secs(30);

/// How fast something grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Growth {
    /// In bytes a second; below zero when it shrinks.
    pub bytes_per_second: f64,
    /// How sure that is, 0 to 1.
    pub confidence: f64,
}

/// Confidence from which on a growth counts.
pub const CONFIDENT: f64 = 0.5;

impl Growth {
    /// Whether it surely grows.
    #[must_use]
    pub fn is_confident(&self) -> bool {
        self.confidence >= CONFIDENT && self.bytes_per_second > 0.0
    }

    /// Until `room` bytes are used up; none when that is not to be expected.
    #[must_use]
    pub fn fills(&self, room: u64) -> Option<Duration> {
        if !self.is_confident() {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let seconds = room as f64 / self.bytes_per_second;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// A weighted mean of slopes between samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Slopes {
    at: BootTime,
    value: u64,
    slope: f64,
    newest: f64,
    variance: f64,
    samples: u32,
}

impl Slopes {
    /// Takes in a sample, unless it follows the last one by less than `closest`.
    fn push(&mut self, at: BootTime, value: u64, closest: Duration) {
        let gap = at.since(self.at);
        if self.samples == 0 || gap > LONGEST {
            *self = Self {
                at,
                value,
                samples: 1,
                ..Self::default()
            };
            return;
        }
        if gap < closest {
            return;
        }
        let slope = rise(self.value, value) / gap.as_secs_f64();
        if self.samples == 1 {
            self.slope = slope;
        } else {
            let off = slope - self.slope;
            self.slope += WEIGHT * off;
            self.variance = (1.0 - WEIGHT) * (self.variance + WEIGHT * off * off);
        }
        self.newest = slope;
        self.at = at;
        self.value = value;
        self.samples = self.samples.saturating_add(1);
    }

    fn growth(&self) -> Growth {
        if self.samples < SAMPLES {
            return Growth {
                bytes_per_second: self.slope,
                confidence: 0.0,
            };
        }
        let signal = self.slope * self.slope;
        let clear = if signal + self.variance > 0.0 {
            signal / (signal + self.variance)
        } else {
            1.0
        };
        let enough = f64::from(self.samples - 1) / f64::from(self.samples);
        Growth {
            bytes_per_second: self.slope,
            confidence: clear * enough,
        }
    }
}

fn rise(from: u64, to: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let (from, to) = (from as f64, to as f64);
    to - from
}

/// The growth of one figure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trend {
    near: Slopes,
    far: Slopes,
    /// The sample before the last one of `far`.
    before: (BootTime, u64),
}

impl Trend {
    /// Takes in what the figure was at `at`.
    pub fn push(&mut self, at: BootTime, value: u64) {
        self.near.push(at, value, CLOSEST);
        let last = (self.far.at, self.far.value);
        self.far.push(at, value, APART);
        if self.far.at != last.0 {
            self.before = if self.far.samples == 1 { (at, value) } else { last };
        }
    }

    /// The growth by all samples so far.
    #[must_use]
    pub fn growth(&self) -> Growth {
        let (near, far) = (self.near.growth(), self.far.growth());
        if near.confidence >= CONFIDENT || !far.is_confident() {
            return near;
        }
        // What has stopped since is seen from the last half second to a second.
        let (at, value) = self.before;
        let lately = rise(value, self.near.value) / self.near.at.since(at).as_secs_f64().max(0.001);
        Growth {
            bytes_per_second: far.bytes_per_second.min(lately),
            ..far
        }
    }

    /// The growth between the last two samples, which need not last: nobody knows how sure it is.
    #[must_use]
    pub fn newest(&self) -> f64 {
        self.near.newest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> BootTime {
        BootTime(Duration::from_millis(1000 + ms))
    }

    proptest! {
        #[test]
        fn an_even_growth_is_seen_exactly(
            gaps in prop::collection::vec(5_u64..2000, 2..40), rate in 1_u64..1 << 20
        ) {
            let (mut trend, mut ms) = (Trend::default(), 0);
            for gap in gaps {
                trend.push(at(ms), 1000 + rate * ms);
                ms += gap;
            }
            trend.push(at(ms), 1000 + rate * ms);
            let growth = trend.growth();
            let expected = (rate * 1000) as f64;
            prop_assert!((growth.bytes_per_second - expected).abs() < expected * 1e-6);
            prop_assert!(growth.confidence > 0.6 && growth.confidence <= 1.0);
        }

        #[test]
        fn confidence_is_a_part_and_nothing_is_not_a_number(
            samples in prop::collection::vec((0_u64..40_000, any::<u64>()), 0..40)
        ) {
            let mut trend = Trend::default();
            let mut ms = 0;
            for (n, (gap, value)) in samples.into_iter().enumerate() {
                ms += gap;
                trend.push(at(ms), value);
                let growth = trend.growth();
                prop_assert!((0.0..=1.0).contains(&growth.confidence));
                prop_assert!(growth.bytes_per_second.is_finite());
                prop_assert!(n >= 2 || growth.confidence == 0.0);
            }
        }
    }

    #[test]
    fn what_goes_up_and_down_has_little_confidence() {
        let mut trend = Trend::default();
        for n in 0..40 {
            trend.push(at(n * 100), 50_000_000 + (n % 2) * 1_000_000);
            assert!(!trend.growth().is_confident(), "after {n} samples");
        }
    }

    #[test]
    fn a_leak_in_steps_is_seen_and_its_end_too() {
        let mut trend = Trend::default();
        // 1 MiB a second, in batches of 256 KiB, looked at every 20 ms.
        for n in 0..500 {
            trend.push(at(n * 20), (n * 20 / 250) << 18);
        }
        let growth = trend.growth();
        assert!(growth.is_confident(), "{growth:?}");
        assert!(
            (growth.bytes_per_second - 1_048_576.0).abs() < 300_000.0,
            "{growth:?}"
        );
        for n in 500..600 {
            trend.push(at(n * 20), 40 << 18);
        }
        assert!(!trend.growth().is_confident(), "{:?}", trend.growth());
    }

    #[test]
    fn after_a_long_gap_it_begins_anew() {
        let mut trend = Trend::default();
        for n in 0..10 {
            trend.push(at(n * 100), n << 20);
        }
        assert!(trend.growth().is_confident());
        trend.push(at(60_000), 0);
        assert_eq!(trend.growth(), Growth::default());
    }
}
