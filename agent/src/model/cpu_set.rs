//! A set of logical CPUs.
//!
//! **Problem.** Assigning CPUs is mostly set arithmetic, done many times in one decision, on machines of 2 to 8 192
//! CPUs. **How.** One bit a CPU in 64-bit words. The words of the first 256 CPUs lie in the value itself, so that on
//! most machines no operation allocates; those above follow in a vector that never ends in a zero word, so that equal
//! sets are equal values.
//!
//! # Properties
//! - Union, intersection and difference are those of sets, and so are the counts and comparisons.
//! - A set is read back from the list it prints, and the list is in the kernel's shortest form.
//! - Equal sets are equal, however they were made.

mod list;
#[cfg(test)]
mod props;

use std::ops::{BitAnd, BitAndAssign, BitOr, BitOrAssign, Sub, SubAssign};

use serde::{Deserialize, Serialize};

pub use list::CpuListError;

/// Words kept in the value itself.
const LOW: usize = 4;
/// Bits of a word.
const BITS: usize = 64;

/// The number of a logical CPU, below [`CpuId::COUNT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct CpuId(u16);

impl CpuId {
    /// How many CPUs there may be: the most that Linux can be built for.
    pub const COUNT: u16 = 8192;

    /// CPU `number`, if it is below [`CpuId::COUNT`].
    #[must_use]
    pub fn new(number: u32) -> Option<Self> {
        u16::try_from(number).ok().filter(|n| *n < Self::COUNT).map(Self)
    }

    /// Its number, to index by.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl TryFrom<u32> for CpuId {
    type Error = CpuListError;

    fn try_from(number: u32) -> Result<Self, CpuListError> {
        Self::new(number).ok_or(CpuListError::TooLarge {
            cpu: number,
            count: Self::COUNT,
        })
    }
}

impl From<CpuId> for u32 {
    fn from(cpu: CpuId) -> Self {
        cpu.0.into()
    }
}

impl std::fmt::Display for CpuId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of logical CPUs. As text and in files it is the kernel's list: `0-3,8`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuSet {
    low: [u64; LOW],
    /// What follows, without zero words at its end.
    high: Vec<u64>,
}

impl CpuSet {
    /// No CPU.
    pub const EMPTY: Self = Self {
        low: [0; LOW],
        high: Vec::new(),
    };

    /// Adds `cpu`; whether it was not in the set.
    pub fn insert(&mut self, cpu: CpuId) -> bool {
        let (at, bit) = place(cpu);
        if at >= LOW && at - LOW >= self.high.len() {
            self.high.resize(at - LOW + 1, 0);
        }
        let word = if at < LOW {
            &mut self.low[at]
        } else {
            &mut self.high[at - LOW]
        };
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Takes `cpu` out; whether it was in the set.
    pub fn remove(&mut self, cpu: CpuId) -> bool {
        let (at, bit) = place(cpu);
        let word = if at < LOW {
            Some(&mut self.low[at])
        } else {
            self.high.get_mut(at - LOW)
        };
        let Some(word) = word else { return false };
        let there = *word & bit != 0;
        *word &= !bit;
        self.trim();
        there
    }

    /// Whether `cpu` is in the set.
    #[must_use]
    pub fn contains(&self, cpu: CpuId) -> bool {
        let (at, bit) = place(cpu);
        self.word(at) & bit != 0
    }

    /// How many CPUs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words().map(ones).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.high.is_empty() && self.low == [0; LOW]
    }

    /// How many CPUs are in both sets, without making their intersection.
    #[must_use]
    pub fn common(&self, other: &Self) -> usize {
        let low = self.low.iter().zip(&other.low).map(|(a, b)| ones(a & b));
        let high = self.high.iter().zip(&other.high).map(|(a, b)| ones(a & b));
        low.sum::<usize>() + high.sum::<usize>()
    }

    /// Whether every CPU of this set is in `other`.
    #[must_use]
    pub fn is_subset(&self, other: &Self) -> bool {
        self.high.len() <= other.high.len()
            && self.low.iter().zip(&other.low).all(|(a, b)| a & !b == 0)
            && self.high.iter().zip(&other.high).all(|(a, b)| a & !b == 0)
    }

    /// Whether no CPU is in both sets.
    #[must_use]
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.low.iter().zip(&other.low).all(|(a, b)| a & b == 0)
            && self.high.iter().zip(&other.high).all(|(a, b)| a & b == 0)
    }

    /// Whether any CPU is in all three sets.
    #[must_use]
    pub fn meets(&self, second: &Self, third: &Self) -> bool {
        let mut words = self.words().enumerate();
        words.any(|(at, word)| word & second.word(at) & third.word(at) != 0)
    }

    /// The lowest CPU.
    #[must_use]
    pub fn first(&self) -> Option<CpuId> {
        self.iter().next()
    }

    /// The highest CPU.
    #[must_use]
    pub fn last(&self) -> Option<CpuId> {
        let words = self.words().enumerate().filter(|(_, word)| *word != 0);
        let (at, word) = words.last()?;
        Some(cpu_at(at, u64::BITS - 1 - word.leading_zeros()))
    }

    /// The CPUs in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = CpuId> + '_ {
        self.words().enumerate().flat_map(|(at, word)| Ones { at, word })
    }

    /// The CPUs that are in both sets, in ascending order, without making their intersection.
    pub fn iter_common<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = CpuId> + 'a {
        let words = self.words().enumerate();
        words.flat_map(|(at, word)| Ones {
            at,
            word: word & other.word(at),
        })
    }

    fn word(&self, at: usize) -> u64 {
        if at < LOW {
            self.low[at]
        } else {
            self.high.get(at - LOW).copied().unwrap_or_default()
        }
    }

    fn words(&self) -> impl Iterator<Item = u64> + '_ {
        self.low.iter().chain(&self.high).copied()
    }

    fn trim(&mut self) {
        while self.high.last() == Some(&0) {
            self.high.pop();
        }
    }
}

fn place(cpu: CpuId) -> (usize, u64) {
    (cpu.index() / BITS, 1 << (cpu.index() % BITS))
}

fn ones(word: u64) -> usize {
    word.count_ones() as usize
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "words are only made by inserting a CPU, whose number fits"
)]
fn cpu_at(word: usize, bit: u32) -> CpuId {
    CpuId((word * BITS) as u16 + bit as u16)
}

/// The CPUs of one word.
struct Ones {
    at: usize,
    word: u64,
}

impl Iterator for Ones {
    type Item = CpuId;

    fn next(&mut self) -> Option<CpuId> {
        if self.word == 0 {
            return None;
        }
        let bit = self.word.trailing_zeros();
        self.word &= self.word - 1;
        Some(cpu_at(self.at, bit))
    }
}

impl BitOrAssign<&CpuSet> for CpuSet {
    fn bitor_assign(&mut self, other: &Self) {
        self.low.iter_mut().zip(&other.low).for_each(|(a, b)| *a |= b);
        if self.high.len() < other.high.len() {
            self.high.resize(other.high.len(), 0);
        }
        self.high.iter_mut().zip(&other.high).for_each(|(a, b)| *a |= b);
    }
}

impl BitAndAssign<&CpuSet> for CpuSet {
    fn bitand_assign(&mut self, other: &Self) {
        self.low.iter_mut().zip(&other.low).for_each(|(a, b)| *a &= b);
        self.high.truncate(other.high.len());
        self.high.iter_mut().zip(&other.high).for_each(|(a, b)| *a &= b);
        self.trim();
    }
}

impl SubAssign<&CpuSet> for CpuSet {
    fn sub_assign(&mut self, other: &Self) {
        self.low.iter_mut().zip(&other.low).for_each(|(a, b)| *a &= !b);
        self.high.iter_mut().zip(&other.high).for_each(|(a, b)| *a &= !b);
        self.trim();
    }
}

impl BitOr for &CpuSet {
    type Output = CpuSet;

    fn bitor(self, other: Self) -> CpuSet {
        let mut set = self.clone();
        set |= other;
        set
    }
}

impl BitAnd for &CpuSet {
    type Output = CpuSet;

    fn bitand(self, other: Self) -> CpuSet {
        let mut set = self.clone();
        set &= other;
        set
    }
}

impl Sub for &CpuSet {
    type Output = CpuSet;

    fn sub(self, other: Self) -> CpuSet {
        let mut set = self.clone();
        set -= other;
        set
    }
}

impl Extend<CpuId> for CpuSet {
    fn extend<I: IntoIterator<Item = CpuId>>(&mut self, cpus: I) {
        for cpu in cpus {
            self.insert(cpu);
        }
    }
}

impl FromIterator<CpuId> for CpuSet {
    fn from_iter<I: IntoIterator<Item = CpuId>>(cpus: I) -> Self {
        let mut set = Self::EMPTY;
        set.extend(cpus);
        set
    }
}
