//! Arithmetic that programs and agent share.
//!
//! # Properties
//! - [`delay_bucket`] is monotone and below [`DELAY_BUCKETS`].
//! - A delay in bucket `i`, the last one aside, is below [`bucket_bound_nsec`]`(i)` and, the first one aside, not
//!   below `bucket_bound_nsec(i - 1)`.

/// Buckets of the run-queue delay histogram.
pub const DELAY_BUCKETS: usize = 16;

/// The first bucket holds delays below 2 to this power nanoseconds (4.096 µs), each further one twice as much.
pub const FIRST_BUCKET_BITS: u32 = 12;

/// The bucket that counts a delay.
///
/// Compares by halves: BPF has no instruction that counts leading zeros, and most delays end at the first test.
#[inline(always)]
#[must_use]
pub const fn delay_bucket(nsec: u64) -> usize {
    let mut rest = nsec >> FIRST_BUCKET_BITS;
    if rest == 0 {
        return 0;
    }
    if rest >= 1 << (DELAY_BUCKETS - 2) {
        return DELAY_BUCKETS - 1;
    }
    let mut bucket = 1;
    if rest >= 1 << 8 {
        bucket += 8;
        rest >>= 8;
    }
    if rest >= 1 << 4 {
        bucket += 4;
        rest >>= 4;
    }
    if rest >= 1 << 2 {
        bucket += 2;
        rest >>= 2;
    }
    if rest >= 1 << 1 {
        bucket += 1;
    }
    bucket
}

/// The upper bound of a bucket in nanoseconds, exclusive; none for the last one.
#[must_use]
pub const fn bucket_bound_nsec(bucket: usize) -> Option<u64> {
    if bucket + 1 < DELAY_BUCKETS {
        Some(1 << (FIRST_BUCKET_BITS as usize + bucket))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_delay_lies_within_the_bounds_of_its_bucket() {
        let edges = (0..64).flat_map(|bit| {
            let power = 1_u64 << bit;
            [power - 1, power, power + 1, power + power / 2]
        });
        for nsec in edges.chain([u64::MAX]) {
            let bucket = delay_bucket(nsec);
            assert!(bucket < DELAY_BUCKETS);
            if let Some(bound) = bucket_bound_nsec(bucket) {
                assert!(nsec < bound, "{nsec} in {bucket}");
            }
            if let Some(below) = bucket.checked_sub(1).and_then(bucket_bound_nsec) {
                assert!(nsec >= below, "{nsec} in {bucket}");
            }
        }
    }

    #[test]
    fn a_longer_delay_never_lands_in_a_lower_bucket() {
        let mut last = 0;
        for nsec in (0..300_000_000).step_by(997) {
            let bucket = delay_bucket(nsec);
            assert!(bucket >= last);
            last = bucket;
        }
        assert_eq!(last, DELAY_BUCKETS - 1);
    }
}
