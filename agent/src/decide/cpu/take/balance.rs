//! Which of the nodes give CPUs, and which give more than the others, so that the nodes end up evenly free.
//!
//! **Terms.** Of the nodes, in their order, `k` are *chosen* and give their share. Some of these, the *givers*, take
//! turns at giving one more group each, in their order, those that have none left sitting out, until the rest is given.
//! Balance is the sum of squares of what stays free on all nodes; with a fixed total that orders as the standard
//! deviation does, which kubelet uses, and stays exact.
//!
//! **How.** Kubelet tries each set of nodes with each set of givers, which takes for ever on many nodes. A choice here is
//! made node by node instead. What matters of the nodes already decided is only how many were chosen, how many groups
//! they gave, and whether the last turn has ended; of all ways to get there only the best is kept. That is done for each
//! number of full turns. Of equally balanced choices kubelet's first one wins: the first set of nodes in lexicographic
//! order, the most givers, the first set of givers in lexicographic order. It finds the same as trying all.
//!
//! The work is `k·rest²` a node, so that above [`MOST_EXACT`] nodes, where kubelet's search would not end within a
//! day, a simpler rule takes over: the nodes with the most free, and the rest group by group from whoever has the most
//! left. That is at least as even, but another choice.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Most nodes for which kubelet's own choice is found.
const MOST_EXACT: usize = 16;

/// A NUMA node with free CPUs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    /// How many are free.
    pub(super) free: usize,
}

/// Who gives what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Split {
    /// CPUs that each chosen node gives.
    pub(super) share: usize,
    /// By node: how many groups it gives on top, if it is chosen.
    more: Vec<Option<usize>>,
}

impl Split {
    /// How many groups the node at `position` gives on top of its share, if it is chosen.
    pub(super) fn more_of(&self, position: usize) -> Option<usize> {
        self.more.get(position).copied().flatten()
    }
}

/// Splits `groups` groups of `group` CPUs between `k` of `nodes`; nothing if no `k` of them can give that much.
pub(super) fn split(nodes: &[Node], k: usize, groups: usize, group: usize) -> Option<Split> {
    let problem = Problem {
        k,
        share: groups / k * group,
        rest: groups % k,
        group,
    };
    if nodes.len() > MOST_EXACT {
        return problem.freest_first(nodes);
    }
    let most_spare = nodes.iter().filter_map(|node| problem.spare(*node)).max()?;
    // At least one giver gives more than the full turns, and nobody more than everything.
    let turns = 0..problem.rest.min(most_spare + 1).max(1);
    let (turns, best) = turns
        .filter_map(|turns| Some((turns, problem.best(nodes, turns)?)))
        .min_by_key(|(_, way)| *way)?;
    Some(problem.told(nodes, turns, best))
}

#[derive(Debug, Clone, Copy)]
struct Problem {
    /// Nodes to choose.
    k: usize,
    /// CPUs of each.
    share: usize,
    /// Groups beyond the shares.
    rest: usize,
    /// CPUs of a group.
    group: usize,
}

/// A way to decide on some of the nodes; the smaller the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    /// Sum of squares of what stays free.
    unevenness: u64,
    /// Chosen nodes as bits, the first node highest, inverted: of sets of one size the first one is least.
    chosen: u16,
    /// The number of givers, counted down.
    givers_left: u16,
    /// Givers as bits, as with the chosen.
    givers: u16,
}

impl Way {
    const START: Self = Self {
        unevenness: 0,
        chosen: u16::MAX,
        givers_left: u16::MAX,
        givers: u16::MAX,
    };
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Out,
    Chosen,
    Giver(usize),
}

/// The bit of the node at `position`.
fn bit(position: usize) -> u16 {
    1 << (MOST_EXACT - 1 - position)
}

impl Problem {
    /// Groups that a node has beyond its share; nothing if it cannot give its share.
    fn spare(self, node: Node) -> Option<usize> {
        Some(node.free.checked_sub(self.share)? / self.group)
    }

    /// What a giver with `spare` groups gives when `turns` turns were full and the last one has reached it, or not.
    fn gift(spare: usize, turns: usize, in_last_turn: bool) -> usize {
        spare.min(turns + usize::from(in_last_turn))
    }

    /// The best way to decide on all nodes with that many full turns.
    fn best(self, nodes: &[Node], turns: usize) -> Option<Way> {
        // By what is left to choose, what is left of the rest, and whether the last turn has ended.
        let width = 2 * (self.rest + 1);
        let at = |chosen: usize, given: usize, ended: bool| chosen * width + 2 * given + usize::from(ended);
        let mut ways = vec![None; (self.k + 1) * width];
        ways[at(0, 0, false)] = Some(Way::START);
        for (position, node) in nodes.iter().enumerate() {
            let to_come = nodes.len() - position - 1;
            let spare = self.spare(*node);
            // From the end, so that a way is not extended by the same node twice.
            for chosen in (0..=self.k.min(position)).rev() {
                for given in (0..=self.rest).rev() {
                    for ended in [true, false] {
                        let Some(way) = ways[at(chosen, given, ended)].take() else {
                            continue;
                        };
                        let mut offer = |role: Role, chosen: usize, given: usize, ended: bool| {
                            let hopeless = given > self.rest || chosen > self.k || chosen + to_come < self.k;
                            if !hopeless {
                                let slot = &mut ways[at(chosen, given, ended)];
                                let way = self.extended(way, position, *node, role);
                                *slot = Some(slot.map_or(way, |other: Way| other.min(way)));
                            }
                        };
                        offer(Role::Out, chosen, given, ended);
                        let Some(spare) = spare else { continue };
                        offer(Role::Chosen, chosen + 1, given, ended);
                        if spare == 0 || self.rest == 0 {
                            continue;
                        }
                        if !ended {
                            let gift = Self::gift(spare, turns, true);
                            offer(Role::Giver(gift), chosen + 1, given + gift, false);
                        }
                        let gift = Self::gift(spare, turns, false);
                        offer(Role::Giver(gift), chosen + 1, given + gift, true);
                    }
                }
            }
        }
        [false, true]
            .into_iter()
            .filter_map(|ended| ways[at(self.k, self.rest, ended)])
            .min()
    }

    fn extended(self, mut way: Way, position: usize, node: Node, role: Role) -> Way {
        let gives = match role {
            Role::Out => 0,
            Role::Chosen => self.share,
            Role::Giver(gift) => self.share + gift * self.group,
        };
        let left = (node.free - gives) as u64;
        way.unevenness += left * left;
        if role != Role::Out {
            way.chosen &= !bit(position);
        }
        if let Role::Giver(_) = role {
            way.givers &= !bit(position);
            way.givers_left -= 1;
        }
        way
    }

    /// The split that a way stands for: what it does not say, who gives in the last turn, follows from the rest.
    fn told(self, nodes: &[Node], turns: usize, way: Way) -> Split {
        let is_giver = |position: usize| way.givers & bit(position) == 0;
        let givers = nodes
            .iter()
            .enumerate()
            .filter(|(position, _)| is_giver(*position));
        let spares = givers.filter_map(|(_, node)| self.spare(*node));
        let in_full_turns: usize = spares.map(|spare| Self::gift(spare, turns, false)).sum();
        let mut in_last_turn = self.rest.saturating_sub(in_full_turns);
        let more = nodes.iter().enumerate().map(|(position, node)| {
            if way.chosen & bit(position) != 0 {
                return None;
            }
            let spare = self.spare(*node).filter(|_| is_giver(position)).unwrap_or(0);
            let gift = Self::gift(spare, turns, in_last_turn > 0);
            in_last_turn -= gift - Self::gift(spare, turns, false);
            Some(gift)
        });
        Split {
            share: self.share,
            more: more.collect(),
        }
    }

    /// The `k` nodes with the most free, and the rest group by group from the one with the most left.
    fn freest_first(self, nodes: &[Node]) -> Option<Split> {
        let mut by_free: Vec<_> = (0..nodes.len()).collect();
        by_free.sort_by_key(|position| Reverse(nodes[*position].free));
        let mut more = vec![None; nodes.len()];
        // What each has left, and of equal ones the first one on top.
        let mut left = BinaryHeap::with_capacity(self.k);
        for position in by_free.into_iter().take(self.k) {
            more[position] = Some(0);
            left.push((nodes[position].free.checked_sub(self.share)?, Reverse(position)));
        }
        for _ in 0..self.rest {
            let (most, Reverse(position)) = left.pop()?;
            left.push((most.checked_sub(self.group)?, Reverse(position)));
            more[position] = more[position].map(|more| more + 1);
        }
        Some(Split {
            share: self.share,
            more,
        })
    }
}
