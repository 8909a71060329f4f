//! From milli-CPUs to what the kernel's CPU controller takes.
//!
//! **Terms.** *Shares* are cgroup v1's unit, 1 024 a CPU, in which Kubernetes still thinks; *weight* is cgroup v2's,
//! 1 to 10 000 with 100 as the default; *quota* is the CPU time allowed in one period. There are two ways from
//! shares to weight: kubelet stretches 2…262 144 linearly over 1…10 000 at the levels that it owns; runtimes
//! (runc from 1.3.2, crun from 1.23) use a curve that maps one CPU's 1 024 shares to the default 100.
//!
//! # Properties
//! - Shares, weights (both forms) and quotas never fall when milli-CPUs rise.
//! - A weight is within 1…10 000; a quota is absent or at least 1 ms.

use crate::model::{CpuPeriod, CpuQuota, CpuShares, CpuWeight, MilliCpu};

const MIN_SHARES: u64 = 2;
const MAX_SHARES: u64 = 262_144;
const SHARES_PER_CPU: u64 = 1024;
const MAX_WEIGHT: u64 = 10_000;
/// The kernel accepts no shorter quota.
const MIN_QUOTA_US: u64 = 1000;

/// CFS shares of `cpu`; nothing gets the least, 2.
#[must_use]
pub fn shares(cpu: MilliCpu) -> CpuShares {
    let shares = u128::from(cpu.0) * u128::from(SHARES_PER_CPU) / 1000;
    let shares = u64::try_from(shares).unwrap_or(MAX_SHARES);
    CpuShares(shares.clamp(MIN_SHARES, MAX_SHARES))
}

/// The weight of `shares` at the levels that kubelet owns: node, QoS class and pod.
#[must_use]
pub fn linear_weight(shares: CpuShares) -> CpuWeight {
    let above = shares.0.clamp(MIN_SHARES, MAX_SHARES) - MIN_SHARES;
    CpuWeight(1 + above * (MAX_WEIGHT - 1) / (MAX_SHARES - MIN_SHARES))
}

/// The weight of `shares` at the container's level, as runtimes compute it: `10^((l² + 125·l)/612 − 7/34)`
/// with `l = log2(shares)`, rounded up.
#[must_use]
pub fn container_weight(shares: CpuShares) -> CpuWeight {
    if shares.0 <= MIN_SHARES {
        return CpuWeight(1);
    }
    if shares.0 >= MAX_SHARES {
        return CpuWeight(MAX_WEIGHT);
    }
    #[expect(clippy::cast_precision_loss, reason = "shares are below 2^18 here")]
    let log = (shares.0 as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "shares within (2, 262144) give a weight within (1, 10000)"
    )]
    let weight = 10_f64.powf(exponent).ceil() as u64;
    CpuWeight(weight.clamp(1, MAX_WEIGHT))
}

/// The CPU time that `cpu` is worth in each `period`, at least 1 ms; no quota for nothing.
#[must_use]
pub fn quota(cpu: MilliCpu, period: CpuPeriod) -> Option<CpuQuota> {
    if cpu.0 == 0 {
        return None;
    }
    let quota = u128::from(cpu.0) * u128::from(period.0) / 1000;
    let quota = u64::try_from(quota).unwrap_or(u64::MAX);
    Some(CpuQuota(quota.max(MIN_QUOTA_US)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn container_weights_are_those_of_the_runtimes() {
        let expected = [
            (10, 4),
            (50, 11),
            (100, 17),
            (250, 35),
            (500, 59),
            (1000, 100),
            (2000, 174),
            (4000, 303),
            (8000, 532),
            (16_000, 942),
            (32_000, 1681),
            (64_000, 3023),
            (128_000, 5478),
            (256_000, 10_000),
        ];
        for (milli, weight) in expected {
            assert_eq!(
                container_weight(shares(MilliCpu(milli))),
                CpuWeight(weight),
                "{milli}m"
            );
        }
        assert_eq!(container_weight(shares(MilliCpu(0))), CpuWeight(1));
    }

    proptest! {
        #[test]
        fn conversions_rise_and_stay_in_range(a in 0_u64..300_000, more in 0_u64..300_000, period in 1000_u64..1_000_000) {
            let (a, b) = (MilliCpu(a), MilliCpu(a + more));
            let period = CpuPeriod(period);
            prop_assert!(shares(a) <= shares(b));
            for weight in [linear_weight, container_weight] {
                prop_assert!(weight(shares(a)) <= weight(shares(b)));
                prop_assert!((1..=10_000).contains(&weight(shares(a)).0));
            }
            prop_assert!(quota(a, period) <= quota(b, period));
            prop_assert!(quota(b, period).is_none_or(|q| q.0 >= 1000));
        }

        #[test]
        fn no_amount_overflows(milli: u64, period: u64) {
            prop_assert!(shares(MilliCpu(milli)).0 <= 262_144);
            prop_assert!(quota(MilliCpu(milli), CpuPeriod(period)).is_none_or(|q| q.0 >= 1000));
        }
    }
}
