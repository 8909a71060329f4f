//! From the names that an object needs to the numbers it gets.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_ebpf::facts::{ABSENT, Fact, Need};

use super::Btf;

/// Facts that BTF does not have, under the names that [`Fact::Given`] uses.
pub type Given = BTreeMap<&'static str, u32>;

/// What was found of an object's facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// One number a need, in their order.
    pub numbers: Vec<u32>,
    /// Groups that are off, with the first name that this kernel does not have.
    pub missing: BTreeMap<&'static str, &'static str>,
}

impl Btf<'_> {
    /// Looks up what an object needs. A group of which one fact is missing is [`ABSENT`] as a whole.
    #[must_use]
    pub fn resolve(&self, needs: &'static [Need], given: &Given) -> Resolved {
        let found: Vec<Option<u32>> = needs.iter().map(|need| self.look_up(need.fact, given)).collect();
        let mut missing = BTreeMap::new();
        for (need, number) in needs.iter().zip(&found) {
            if number.is_none_or(|n| n == ABSENT) {
                missing.entry(need.group).or_insert(name_of(need.fact));
            }
        }
        let off: BTreeSet<_> = missing.keys().copied().collect();
        let numbers = needs
            .iter()
            .zip(found)
            .map(|(need, number)| number.filter(|_| !off.contains(need.group)).unwrap_or(ABSENT))
            .collect();
        Resolved { numbers, missing }
    }

    fn look_up(&self, fact: Fact, given: &Given) -> Option<u32> {
        match fact {
            Fact::Offset(paths) => paths.iter().find_map(|path| self.offset(path)),
            Fact::Length(path) => self.length(path),
            Fact::Enumerator(name) => self.enumerator(name),
            Fact::Given(name) => given.get(name).copied(),
            Fact::Block(paths) => in_steps(paths.iter().map(|path| self.offset(path)), 8),
            Fact::Sequence(names) => in_steps(names.iter().map(|name| self.enumerator(name)), 1),
        }
    }
}

/// The first number, when each further one is `step` above the one before.
fn in_steps(mut numbers: impl Iterator<Item = Option<u32>>, step: u32) -> Option<u32> {
    let first = numbers.next()??;
    let mut expected = first;
    for number in numbers {
        expected = expected.checked_add(step)?;
        if number? != expected {
            return None;
        }
    }
    Some(first)
}

fn name_of(fact: Fact) -> &'static str {
    match fact {
        Fact::Offset(names) | Fact::Block(names) | Fact::Sequence(names) => {
            names.first().copied().unwrap_or_default()
        }
        Fact::Length(name) | Fact::Enumerator(name) | Fact::Given(name) => name,
    }
}
