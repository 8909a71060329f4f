//! A value of an interface file, with the kernel's own rules of writing and reading it.
//!
//! # Properties
//! - What a value renders, it accepts when read back.
//! - A memory limit accepts what the kernel makes of it: rounded down to whole pages, and `max` for more pages than
//!   the kernel counts.
//! - A list accepts what the kernel makes of it: the same numbers, whatever the ranges.

use std::collections::BTreeSet;
use std::fmt;

use super::control_file::ControlFile;
use super::cpu_set::CpuSet;
use super::units::{Bytes, CpuPeriod, CpuQuota, CpuWeight, Limit};

/// Linux's page size on every machine the agent is built for.
const PAGE: u64 = 4096;

/// The kernel's `PAGE_COUNTER_MAX`: as many pages are no limit any more.
const MOST_PAGES: u64 = i64::MAX.unsigned_abs() / PAGE;

/// Of huge pages the largest whole number below that; the largest huge pages are of 16 GiB.
const MOST_HUGE: u64 = MOST_PAGES - (16 << 30) / PAGE;

/// What to write into an interface file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnobValue {
    /// `cpu.weight`.
    Weight(CpuWeight),
    /// `cpu.max`: quota in each period.
    CpuMax(Limit<CpuQuota>, CpuPeriod),
    /// A memory limit or protection, or a hugetlb limit.
    Memory(Limit<Bytes>),
    /// A count, as in `pids.max`.
    Count(Limit<u64>),
    /// A switch, as in `memory.oom.group`.
    Switch(bool),
    /// `cpuset.cpus`; empty for the parent's.
    Cpus(CpuSet),
    /// `cpuset.mems`, by the kernel's numbers; empty for the parent's.
    NumaNodes(BTreeSet<u32>),
}

impl KnobValue {
    /// Whether `read`, the file's content, is this value.
    #[must_use]
    pub fn accepts(&self, read: &str) -> bool {
        let read = read.trim();
        match self {
            Self::Memory(Limit::At(bytes)) => {
                let whole_pages = bytes.0 / PAGE * PAGE;
                if bytes.0 / PAGE >= MOST_PAGES {
                    return read == "max";
                }
                read.parse::<u64>()
                    .is_ok_and(|n| n == bytes.0 || n == whole_pages)
            }
            // Of huge pages the kernel keeps the largest whole number of them, and shows that.
            Self::Memory(Limit::Max) => {
                read == "max" || read.parse::<u64>().is_ok_and(|n| n / PAGE >= MOST_HUGE)
            }
            Self::CpuMax(..) => read.split_whitespace().eq(self.to_string().split_whitespace()),
            Self::Cpus(cpus) => CpuSet::parse(read).is_ok_and(|read| read == *cpus),
            Self::NumaNodes(nodes) => CpuSet::parse(read).is_ok_and(|read| {
                // The kernel writes both kinds of list alike, and has fewer nodes than CPUs.
                read.iter().map(u32::from).eq(nodes.iter().copied())
            }),
            _ => read == self.to_string(),
        }
    }
}

impl KnobValue {
    /// What the kernel puts into `file` of a fresh cgroup; none for a file that takes no such value.
    #[must_use]
    pub const fn kernel_default(file: ControlFile) -> Option<&'static str> {
        match file {
            ControlFile::CpuWeight => Some("100"),
            ControlFile::CpuMax => Some("max 100000"),
            ControlFile::MemoryMin | ControlFile::MemoryLow | ControlFile::MemoryOomGroup => Some("0"),
            ControlFile::MemoryHigh
            | ControlFile::MemoryMax
            | ControlFile::MemorySwapMax
            | ControlFile::PidsMax
            | ControlFile::HugetlbMax(_)
            | ControlFile::HugetlbRsvdMax(_) => Some("max"),
            ControlFile::CpusetCpus | ControlFile::CpusetMems => Some(""),
            _ => None,
        }
    }

    /// How much this value allows or protects, to compare with others of the same file; none for weights and
    /// switches, which only matter among siblings, and for lists.
    #[must_use]
    pub fn amount(&self) -> Option<u128> {
        self.amount_of(&self.to_string())
    }

    /// [`amount`](Self::amount) of what was read from the same file; none when it cannot be understood.
    #[must_use]
    pub fn amount_of(&self, read: &str) -> Option<u128> {
        let mut words = read.split_whitespace();
        let first = words.next()?;
        match self {
            Self::Weight(_) | Self::Switch(_) | Self::Cpus(_) | Self::NumaNodes(_) => None,
            _ if first == "max" => Some(u128::MAX),
            Self::Memory(_) | Self::Count(_) => first.parse().ok(),
            Self::CpuMax(..) => {
                let quota: u128 = first.parse().ok()?;
                let period: u128 = words.next()?.parse().ok()?;
                quota.checked_mul(1 << 32)?.checked_div(period)
            }
        }
    }
}

impl fmt::Display for KnobValue {
    /// The text to write into the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weight(weight) => weight.0.fmt(f),
            Self::CpuMax(Limit::At(quota), period) => write!(f, "{} {}", quota.0, period.0),
            Self::CpuMax(Limit::Max, period) => write!(f, "max {}", period.0),
            Self::Memory(Limit::At(bytes)) => bytes.0.fmt(f),
            Self::Count(Limit::At(count)) => count.fmt(f),
            Self::Memory(Limit::Max) | Self::Count(Limit::Max) => f.write_str("max"),
            Self::Switch(on) => u8::from(*on).fmt(f),
            Self::Cpus(cpus) => cpus.fmt(f),
            Self::NumaNodes(nodes) => {
                let words: Vec<_> = nodes.iter().map(u32::to_string).collect();
                f.write_str(&words.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::CpuId;

    #[test]
    fn a_memory_limit_accepts_the_kernels_rounding_and_nothing_else() {
        let limit = KnobValue::Memory(Limit::At(Bytes(100_000_001)));
        assert!(limit.accepts("99999744\n") && limit.accepts("100000001\n"));
        assert!(!limit.accepts("max\n") && !limit.accepts("99995648\n") && !limit.accepts(""));
        let beyond_counting = KnobValue::Memory(Limit::At(Bytes(u64::MAX)));
        assert!(beyond_counting.accepts("max\n"));
        let none = KnobValue::Memory(Limit::Max);
        assert!(
            none.accepts("max\n") && none.accepts("9223372036854771712\n") && !none.accepts("1073741824\n")
        );
    }

    proptest! {
        #[test]
        fn a_value_accepts_what_it_renders(
            quota in 1000_u64..,
            bytes: u64,
            count: u64,
            on: bool,
            list in prop::collection::btree_set(0_u32..64, 0..9),
        ) {
            let cpus = list.iter().filter_map(|&cpu| CpuId::new(cpu)).collect();
            for value in [
                KnobValue::CpuMax(Limit::At(CpuQuota(quota)), CpuPeriod::DEFAULT),
                KnobValue::CpuMax(Limit::Max, CpuPeriod::DEFAULT),
                KnobValue::Memory(Limit::At(Bytes(bytes / 2))),
                KnobValue::Memory(Limit::Max),
                KnobValue::Count(Limit::At(count)),
                KnobValue::Switch(on),
                KnobValue::Cpus(cpus),
                KnobValue::NumaNodes(list),
            ] {
                let file_content = format!("{value}\n");
                prop_assert!(value.accepts(&file_content));
            }
        }
    }
}
