//! Quantities with their units: memory, CPU time, CPU shares and weights, limits, OOM scores.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount of memory in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// `n` mebibytes.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// The sum, held at the largest amount.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, held at zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Bytes {
    /// Three significant digits with a binary unit: `512B`, `1.50Gi`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
        let mut shift = 0;
        while shift < 60 && self.0 >> shift >= 1024 {
            shift += 10;
        }
        if shift == 0 {
            return write!(f, "{}B", self.0);
        }
        #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
        let scaled = self.0 as f64 / (1_u64 << shift) as f64;
        let decimals = if scaled < 10.0 {
            2
        } else {
            usize::from(scaled < 100.0)
        };
        write!(f, "{scaled:.decimals$}{}", UNITS[shift / 10 - 1])
    }
}

/// CPU time per time in thousandths of a CPU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MilliCpu(pub u64);

/// cgroup v1's `cpu.shares`, in which the Container Runtime Interface still speaks: 2 to 262 144, 1 024 a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuShares(pub u64);

/// cgroup v2's `cpu.weight`: 1 to 10 000, 100 by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CpuWeight(pub u64);

/// CPU time allowed in one [`CpuPeriod`], in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CpuQuota(pub u64);

/// The length of a CFS bandwidth period, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CpuPeriod(pub u64);

impl CpuPeriod {
    /// The kernel's default and kubelet's: 100 ms.
    pub const DEFAULT: Self = Self(100_000);
}

/// A bound, or the kernel's `max`: no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Limit<T> {
    /// At most this.
    At(T),
    /// No bound.
    #[default]
    Max,
}

impl<T> Limit<T> {
    /// The bound, if there is one.
    pub fn at(self) -> Option<T> {
        match self {
            Self::At(value) => Some(value),
            Self::Max => None,
        }
    }
}

/// A process's `oom_score_adj`: −1 000 (never killed) to 1 000 (killed first).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OomScoreAdj(pub i16);

impl fmt::Display for OomScoreAdj {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_print_three_digits_and_a_unit() {
        let shown: Vec<_> = [0, 1023, 1024, 1536, 10 << 20, 100 << 30, u64::MAX]
            .map(|n| Bytes(n).to_string())
            .into();
        assert_eq!(
            shown,
            ["0B", "1023B", "1.00Ki", "1.50Ki", "10.0Mi", "100Gi", "16.0Ei"]
        );
    }
}
