//! Sets of NUMA nodes, and the wish of one resource to be placed on such a set.
//!
//! **Terms.** A *mask* is a set of at most 64 nodes in one word. Bit *i* stands for the machine's *i*-th NUMA node in
//! ascending order of the kernel's node numbers, so that a machine with nodes 0, 8 and 252 (POWER9 with GPUs) fits and
//! keeps kubelet's order of masks; on all machines with dense numbers bit and number are the same. A mask is *narrower*
//! than another if it has fewer nodes, or as many and is smaller as a number.
//!
//! # Properties
//! - Union, intersection and difference are those of sets; [`NumaMask::nodes`] ascends.
//! - Of two different masks exactly one is narrower.

use std::fmt::{self, Write};

/// A set of NUMA nodes by their position among the machine's nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NumaMask(u64);

impl NumaMask {
    /// The most nodes that a mask can tell apart.
    pub const MOST_NODES: usize = 64;
    /// No node.
    pub const EMPTY: Self = Self(0);

    /// The set whose bits these are.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The first `count` nodes; all 64 if there are more.
    #[must_use]
    pub const fn first(count: usize) -> Self {
        if count >= Self::MOST_NODES {
            Self(u64::MAX)
        } else {
            Self((1 << count) - 1)
        }
    }

    /// The node at `position` alone; nothing from position 64 on.
    #[must_use]
    pub const fn single(position: usize) -> Self {
        if position >= Self::MOST_NODES {
            Self(0)
        } else {
            Self(1 << position)
        }
    }

    /// One bit a node.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// How many nodes.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether there is no node.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the node at `position` is in the set.
    #[must_use]
    pub const fn contains(self, position: usize) -> bool {
        position < Self::MOST_NODES && self.0 >> position & 1 == 1
    }

    /// Nodes of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Nodes of either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Nodes of this one that are not of the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether every node is one of `other`.
    #[must_use]
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Sorts masks by how narrow they are, the narrowest first.
    #[must_use]
    pub const fn width(self) -> (u32, u64) {
        (self.0.count_ones(), self.0)
    }

    /// Positions of the nodes, ascending.
    pub fn nodes(self) -> impl Iterator<Item = usize> + Clone {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let position = rest.trailing_zeros();
            // Of an empty rest: 64 zeros, and no bit to clear.
            rest &= rest.checked_sub(1)?;
            usize::try_from(position).ok()
        })
    }

    /// The set of the nodes with these numbers of the kernel's, given those of the machine in ascending order; none if
    /// the machine lacks one of them.
    #[must_use]
    pub fn of_numbers(numbers: impl IntoIterator<Item = u32>, machine: &[u32]) -> Option<Self> {
        let mut set = Self::EMPTY;
        for number in numbers {
            set = set.or(Self::single(machine.binary_search(&number).ok()?));
        }
        Some(set)
    }

    /// The kernel's numbers of the nodes, given those of the machine in ascending order.
    pub fn numbers(self, machine: &[u32]) -> impl Iterator<Item = u32> {
        self.nodes().filter_map(|position| machine.get(position).copied())
    }

    /// The kernel's node numbers as it writes lists (`0-2,8`), given those of the machine in ascending order.
    ///
    /// Positions that the machine does not have are left out. Empty for no node.
    #[must_use]
    pub fn list(self, numbers: &[u32]) -> String {
        let mut chosen = self.numbers(numbers).peekable();
        let mut text = String::new();
        while let Some(first) = chosen.next() {
            let mut last = first;
            while let Some(next) = chosen.next_if(|&next| last.checked_add(1) == Some(next)) {
                last = next;
            }
            let comma = if text.is_empty() { "" } else { "," };
            text.push_str(&if first == last {
                format!("{comma}{first}")
            } else {
                format!("{comma}{first}-{last}")
            });
        }
        text
    }
}

impl FromIterator<usize> for NumaMask {
    /// The nodes at these positions; those from 64 on are left out.
    fn from_iter<I: IntoIterator<Item = usize>>(positions: I) -> Self {
        positions
            .into_iter()
            .fold(Self::EMPTY, |mask, position| mask.or(Self::single(position)))
    }
}

impl fmt::Display for NumaMask {
    /// The positions as a list, `{}` for no node.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dense: Vec<u32> = (0..64).collect();
        f.write_char('{')?;
        f.write_str(&self.list(&dense))?;
        f.write_char('}')
    }
}

/// Where one resource of a container or pod could be placed, as kubelet's topology manager has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TopologyHint {
    /// The nodes; `None`: it does not matter.
    pub mask: Option<NumaMask>,
    /// No smaller set of nodes could ever serve.
    pub preferred: bool,
}

impl TopologyHint {
    /// Any node, and that is as good as it gets.
    pub const ANY: Self = Self {
        mask: None,
        preferred: true,
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_are_the_kernels() {
        let mask = |bits| NumaMask::from_bits(bits);
        assert_eq!(mask(0).list(&[0, 1]), "");
        assert_eq!(mask(0b1).list(&[0]), "0");
        assert_eq!(mask(0b1_0111).list(&[0, 1, 2, 3, 4]), "0-2,4");
        // Node numbers with holes: adjacent positions are no range.
        assert_eq!(mask(0b111).list(&[0, 8, 252]), "0,8,252");
        assert_eq!(mask(0b110).list(&[0]), "");
        assert_eq!(mask(u64::MAX).to_string(), "{0-63}");
        assert_eq!(NumaMask::EMPTY.to_string(), "{}");
    }

    #[test]
    fn numbers_come_back() {
        let machine = [0, 8, 252];
        let mask = NumaMask::of_numbers([252, 0], &machine).unwrap();
        assert_eq!(mask, NumaMask::from_bits(0b101));
        assert_eq!(mask.numbers(&machine).collect::<Vec<_>>(), [0, 252]);
        assert_eq!(NumaMask::of_numbers([1], &machine), None);
        assert_eq!(NumaMask::of_numbers([], &machine), Some(NumaMask::EMPTY));
    }

    #[test]
    fn positions_from_64_on_are_nothing() {
        assert!(NumaMask::single(64).is_empty());
        assert!(!NumaMask::first(64).contains(64));
        assert_eq!(NumaMask::first(64).count(), 64);
        assert_eq!(NumaMask::first(0), NumaMask::EMPTY);
    }

    proptest! {
        #[test]
        fn it_is_a_set(a: u64, b: u64, position in 0_usize..70) {
            let set = |bits| NumaMask::from_bits(bits).nodes().collect::<BTreeSet<_>>();
            let (x, y) = (NumaMask::from_bits(a), NumaMask::from_bits(b));
            prop_assert!(x.nodes().is_sorted());
            prop_assert_eq!(set(x.and(y).bits()), &set(a) & &set(b));
            prop_assert_eq!(set(x.or(y).bits()), &set(a) | &set(b));
            prop_assert_eq!(set(x.without(y).bits()), &set(a) - &set(b));
            prop_assert_eq!(x.contains(position), set(a).contains(&position));
            prop_assert_eq!(x.is_within(y), set(a).is_subset(&set(b)));
            prop_assert_eq!(x.nodes().collect::<NumaMask>(), x);
            prop_assert_eq!(u32::try_from(set(a).len()).unwrap(), x.count());
            prop_assert_eq!(x.width().cmp(&y.width()).is_eq(), a == b);
        }
    }
}
