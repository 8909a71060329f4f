//! Merging what all resources say into one set of nodes, and whether that lets the pod in.
//!
//! **Rules** (kubelet's `HintMerger`). A combination takes one hint of each resource and keeps the nodes that all share.
//! It is preferred if every hint in it is and all their masks are equal. Combinations without a node do not count.
//! Preferred ones go before others. Among preferred ones the narrowest wins, or with *prefer closest*, of those with
//! equally many nodes the one with the smallest average distance. Among others, let *n* be the most nodes that any
//! resource needs at least: best is a mask of n nodes, then one of fewer, the most first, then one of more, the fewest
//! first; ties as before. If nothing counts, the result is all nodes, not preferred. For the policy `single-numa-node`
//! only preferred hints of one node take part, and a result of all nodes means that it does not matter.
//!
//! Since this order is total, the result does not depend on the order in which combinations are tried.

use std::cmp::Reverse;
use std::fmt;

use super::reach;
use super::{Hints, NumaNodes, Resource, TopologyManager, TopologyPolicy};
use crate::model::{NumaMask, TopologyHint};

/// What one resource had to say, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voice {
    /// Which one.
    pub resource: Resource,
    /// Sets of nodes that could serve it; `None`: it does not matter.
    pub choices: Option<usize>,
    /// How many of them are preferred.
    pub preferred: usize,
    /// The fewest nodes of a set that could serve it.
    pub narrowest: Option<u32>,
}

/// The outcome of merging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// By which policy.
    pub policy: TopologyPolicy,
    /// Where to place, and whether all resources prefer it.
    pub hint: TopologyHint,
    /// Whether the policy lets the pod in.
    pub admitted: bool,
    /// What it came from.
    pub voices: Vec<Voice>,
}

impl TopologyManager {
    /// Merges what the resources say. Nodes that the machine does not have do not count.
    #[must_use]
    pub fn merge(&self, hints: &[Hints]) -> Merged {
        let hint = match self.policy {
            // Nobody asks for hints then; kubelet's empty hint has no mask and is not preferred.
            TopologyPolicy::None => TopologyHint {
                mask: None,
                preferred: false,
            },
            TopologyPolicy::BestEffort | TopologyPolicy::Restricted => self.best(hints),
            TopologyPolicy::SingleNumaNode => self.single(hints),
        };
        Merged {
            policy: self.policy,
            hint,
            admitted: hint.preferred
                || matches!(self.policy, TopologyPolicy::None | TopologyPolicy::BestEffort),
            voices: hints.iter().map(voice).collect(),
        }
    }

    fn best(&self, hints: &[Hints]) -> TopologyHint {
        let closest = self.prefer_closest.then_some(&self.nodes);
        if let Some(mask) = preferred(&self.nodes, hints, |_| true, |mask| fitness(closest, mask)) {
            return TopologyHint {
                mask: Some(mask),
                preferred: true,
            };
        }
        let most = hints.iter().filter_map(narrowest).max().unwrap_or(0);
        let lists: Vec<_> = hints.iter().map(|hints| masks(&self.nodes, hints)).collect();
        let best = reach::best(self.nodes.count(), &lists, |mask| {
            let count = mask.count();
            let (class, fewer) = match count.cmp(&most) {
                std::cmp::Ordering::Equal => (0, Reverse(0)),
                std::cmp::Ordering::Less => (1, Reverse(count)),
                std::cmp::Ordering::Greater => (2, Reverse(0)),
            };
            (class, fewer, fitness(closest, mask))
        });
        TopologyHint {
            mask: Some(best.unwrap_or(self.nodes.all())),
            preferred: false,
        }
    }

    fn single(&self, hints: &[Hints]) -> TopologyHint {
        let best = preferred(&self.nodes, hints, |mask| mask.count() == 1, NumaMask::width);
        TopologyHint {
            mask: best.filter(|&mask| mask != self.nodes.all()),
            preferred: best.is_some(),
        }
    }
}

/// The best set that every resource prefers, of those that `admit` admits.
fn preferred<K: Ord>(
    nodes: &NumaNodes,
    hints: &[Hints],
    admit: impl Fn(NumaMask) -> bool,
    key: impl Fn(NumaMask) -> K,
) -> Option<NumaMask> {
    let lists = hints.iter().filter_map(|hints| hints.choices.as_ref());
    // A resource that takes any node puts no bound on the others, even if it also names some.
    let (free, bound): (Vec<_>, Vec<_>) = lists.partition(|choices| choices.contains(&TopologyHint::ANY));
    let liked = |choices: &[TopologyHint]| -> Vec<NumaMask> {
        let liked = choices.iter().filter(|hint| hint.preferred);
        liked
            .filter_map(|hint| hint.mask)
            .filter(|&mask| admit(mask))
            .collect()
    };
    let mut bound = bound.into_iter();
    let mut common = match bound.next() {
        Some(choices) => liked(choices),
        None => {
            let named = free.into_iter().flat_map(|choices| liked(choices));
            named.chain([nodes.all()]).collect()
        }
    };
    for choices in bound {
        let mut liked = liked(choices);
        liked.sort_unstable();
        common.retain(|mask| liked.binary_search(mask).is_ok());
    }
    let on_machine = common.into_iter().map(|mask| mask.and(nodes.all()));
    on_machine
        .filter(|mask| !mask.is_empty())
        .min_by_key(|&mask| key(mask))
}

/// Sorts the better mask first: the one with fewer nodes, then the closer together, then the smaller number.
fn fitness(closest: Option<&NumaNodes>, mask: NumaMask) -> (u32, u64, u64) {
    let (count, bits) = mask.width();
    (count, closest.map_or(0, |nodes| nodes.spread(mask)), bits)
}

/// The fewest nodes that a resource needs at least, if it names any.
fn narrowest(hints: &Hints) -> Option<u32> {
    let choices = hints.choices.iter().flatten();
    choices.filter_map(|hint| hint.mask).map(NumaMask::count).min()
}

/// The sets of a resource, preferred or not. One that does not care, or that nothing serves, leaves the others all nodes.
fn masks(nodes: &NumaNodes, hints: &Hints) -> Vec<NumaMask> {
    match &hints.choices {
        Some(choices) if !choices.is_empty() => choices
            .iter()
            .map(|hint| hint.mask.unwrap_or(nodes.all()).and(nodes.all()))
            .collect(),
        _ => vec![nodes.all()],
    }
}

fn voice(hints: &Hints) -> Voice {
    let choices = hints.choices.as_ref();
    Voice {
        resource: hints.resource,
        choices: choices.map(Vec::len),
        preferred: choices.map_or(0, |choices| choices.iter().filter(|hint| hint.preferred).count()),
        narrowest: narrowest(hints),
    }
}

impl fmt::Display for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.resource)?;
        match (self.choices, self.narrowest) {
            (None, _) => f.write_str("any node"),
            (Some(0), _) => f.write_str("no set of nodes has enough free"),
            (Some(choices), narrowest) => write!(
                f,
                "{choices} possible sets of at least {} nodes, {} of them preferred",
                narrowest.unwrap_or(0),
                self.preferred
            ),
        }
    }
}

impl fmt::Display for Merged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "policy {}: ", self.policy)?;
        match self.hint.mask {
            Some(mask) => write!(f, "NUMA nodes {mask}")?,
            None => f.write_str("no NUMA node")?,
        }
        f.write_str(if self.hint.preferred {
            ", preferred by all"
        } else {
            ", not preferred by all"
        })?;
        for (n, voice) in self.voices.iter().enumerate() {
            let before = if n == 0 { " (" } else { "; " };
            write!(f, "{before}{voice}")?;
        }
        f.write_str(if self.voices.is_empty() { "" } else { ")" })
    }
}
