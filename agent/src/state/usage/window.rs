//! A ring of recent samples, and percentiles over it.
//!
//! # Properties
//! - A percentile is one of the samples, and percentiles rise with their rank.
//! - Only the newest `LENGTH` samples count.

/// How many samples are kept: two minutes at one a second.
pub(super) const LENGTH: usize = 120;

/// Recent samples of one figure.
#[derive(Debug, Clone, Default)]
pub struct Window {
    samples: Vec<u64>,
    next: usize,
}

/// Percentiles of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    /// The median.
    pub p50: u64,
    /// The 95th percentile.
    pub p95: u64,
    /// The 99th percentile.
    pub p99: u64,
}

impl Window {
    /// Adds a sample; the oldest one makes room when the window is full.
    pub fn push(&mut self, sample: u64) {
        if self.samples.len() < LENGTH {
            self.samples.push(sample);
        } else {
            self.samples[self.next] = sample;
        }
        self.next = (self.next + 1) % LENGTH;
    }

    /// Percentiles by nearest rank; none without samples.
    #[must_use]
    pub fn percentiles(&self) -> Option<Percentiles> {
        if self.samples.is_empty() {
            return None;
        }
        let mut sorted = self.samples.clone();
        sorted.sort_unstable();
        let rank = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).saturating_sub(1)];
        Some(Percentiles {
            p50: rank(50),
            p95: rank(95),
            p99: rank(99),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn percentiles_are_recent_samples_in_order(samples in proptest::collection::vec(0_u64..1000, 1..300)) {
            let mut window = Window::default();
            samples.iter().for_each(|s| window.push(*s));
            let recent = &samples[samples.len().saturating_sub(LENGTH)..];
            let found = window.percentiles().unwrap();
            prop_assert!(found.p50 <= found.p95 && found.p95 <= found.p99);
            for percentile in [found.p50, found.p95, found.p99] {
                prop_assert!(recent.contains(&percentile));
            }
            let at_or_below = recent.iter().filter(|s| **s <= found.p50).count();
            prop_assert!(at_or_below * 2 >= recent.len());
        }
    }
}
