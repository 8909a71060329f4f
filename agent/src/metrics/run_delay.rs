//! From the probe's buckets, powers of two in nanoseconds, to the histogram's, in seconds.
//!
//! Every second bound is kept: a factor of four between bounds is enough to tell a millisecond from ten, and the
//! number of series, a Prometheus server's cost, is halved.
//!
//! # Properties
//! - No wait is lost or counted twice; bounds rise and the last is infinite.

/// log2 of the first bucket's bound in nanoseconds.
const FIRST_BOUND_LOG2: i32 = 12;

/// Upper bounds in seconds with the count of each bucket alone. The last of `counts` has no bound.
pub(super) fn buckets(counts: &[u64]) -> Vec<(f64, u64)> {
    let bounded = counts.len().saturating_sub(1);
    let mut buckets = Vec::with_capacity(bounded / 2 + 2);
    let mut carried = 0;
    for (index, count) in (0_i32..).zip(&counts[..bounded]) {
        carried += count;
        if index % 2 == 0 {
            buckets.push((2_f64.powi(FIRST_BOUND_LOG2 + index) / 1e9, carried));
            carried = 0;
        }
    }
    buckets.push((f64::INFINITY, carried + counts.last().copied().unwrap_or(0)));
    buckets
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sixteen_buckets_become_nine() {
        let counts: Vec<u64> = (1..=16).collect();
        let buckets = buckets(&counts);
        assert_eq!(buckets.len(), 9);
        assert_eq!(buckets[0], (4.096e-6, 1));
        assert_eq!(buckets[1], (1.6384e-5, 2 + 3));
        assert_eq!(buckets[7], (0.067_108_864, 14 + 15));
        assert_eq!(buckets[8], (f64::INFINITY, 16));
    }

    proptest! {
        #[test]
        fn every_wait_is_counted_once(counts in proptest::collection::vec(0_u64..1 << 40, 0..24)) {
            let buckets = buckets(&counts);
            prop_assert_eq!(buckets.iter().map(|b| b.1).sum::<u64>(), counts.iter().sum::<u64>());
            prop_assert!(buckets.is_sorted_by(|a, b| a.0 < b.0));
            prop_assert_eq!(buckets.last().map(|b| b.0), Some(f64::INFINITY));
        }
    }
}
