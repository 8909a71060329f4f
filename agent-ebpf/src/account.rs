//! Arithmetic that programs and agent share.
//!
//! # Properties
//! - [`delay_bucket`] is monotone and below [`DELAY_BUCKETS`].
//! - A delay in bucket `i`, the last one aside, is below [`bucket_bound_nsec`]`(i)` and, the first one aside, not
//!   below `bucket_bound_nsec(i - 1)`.
//! - [`place_of`] is below 2 to the power of [`PLACES_BITS`].

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

/// A CPU has 2 to this power places for totals of cgroups at hand.
pub const PLACES_BITS: u32 = 7;

/// The place of a cgroup's totals among those at hand, the same on every CPU.
///
/// Ids of cgroups lie apart by steps, since each file of their directories takes one too. Fibonacci hashing spreads
/// them; folded once before, they spread with the steps too that alone would bring it near a whole number of turns.
#[inline(always)]
#[must_use]
pub const fn place_of(cgroup: u64) -> usize {
    let folded = cgroup ^ (cgroup >> PLACES_BITS);
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - PLACES_BITS)) as usize
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

    #[test]
    fn ids_in_steps_of_any_size_share_few_places() {
        for step in 1..400 {
            let mut taken = [0; 1 << PLACES_BITS];
            for n in 0..taken.len() as u64 {
                taken[place_of(4_711 + n * step)] += 1;
            }
            assert!(taken.iter().all(|n| *n <= 8), "steps of {step}: {taken:?}");
        }
    }
}
