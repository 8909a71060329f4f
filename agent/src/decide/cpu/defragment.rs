//! What could move so that whole cores and NUMA nodes become free. Only proposed: nothing here moves a container.
//!
//! **Problem.** As pods come and go, what is free ends up in pieces: half cores, and a little on every node. **How.** Each
//! container in turn is thought away and chosen for again. The move that gains most is noted and the search goes on from
//! there, until no single move gains anything or each container has been moved once on average.
//!
//! # Properties
//! - Each move is possible when those before it have been made, and gains something.
//! - Every container keeps its number of CPUs, none gets reserved ones, and no two pods get the same.

use std::collections::BTreeMap;

use super::hints::Offer;
use super::policy::StaticPolicy;
use crate::model::{ContainerName, CpuSet, PodUid};
use crate::state::cpus::CpuAssignments;

/// How much of what is free is in one piece; more is better, and free nodes count before cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wholeness {
    /// NUMA nodes of whose CPUs, the reserved ones aside, all are free.
    pub nodes: usize,
    /// Cores all of whose CPUs are free.
    pub cores: usize,
}

/// A container that could move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Its pod.
    pub pod: PodUid,
    /// The container.
    pub container: ContainerName,
    /// What it holds.
    pub from: CpuSet,
    /// What it could hold instead.
    pub to: CpuSet,
    /// What is whole once it has moved.
    pub then: Wholeness,
}

impl StaticPolicy {
    /// What of the free CPUs is in one piece.
    #[must_use]
    pub fn wholeness(&self, assignments: &CpuAssignments) -> Wholeness {
        let free = self.free(assignments.shared());
        let nodes = self.topology().numa_nodes().iter();
        let whole = nodes.filter(|node| {
            let to_give = &node.cpus - self.reserved();
            !to_give.is_empty() && to_give.is_subset(&free)
        });
        let cores = self.topology().cores().iter();
        Wholeness {
            nodes: whole.count(),
            cores: cores.filter(|core| core.cpus.is_subset(&free)).count(),
        }
    }

    /// Moves, in that order, after which more is whole.
    #[must_use]
    pub fn defragment(&self, assignments: &CpuAssignments) -> Vec<Move> {
        let mut now = assignments.clone();
        let mut moves = Vec::new();
        let most: usize = now.pods().values().map(BTreeMap::len).sum();
        while moves.len() < most {
            let before = self.wholeness(&now);
            let better = self
                .moves(&now)
                .into_iter()
                .filter(|(moved, _)| moved.then > before);
            let Some((moved, then)) = better.max_by_key(|(moved, _)| moved.then) else {
                break;
            };
            moves.push(moved);
            now = then;
        }
        moves
    }

    /// Where each container would be if it were chosen for again, and what the assignments were then.
    fn moves(&self, now: &CpuAssignments) -> Vec<(Move, CpuAssignments)> {
        let containers = now.pods().iter().flat_map(|(pod, containers)| {
            let several =
                |cpus: &CpuSet| containers.values().filter(|held| !held.is_disjoint(cpus)).count() > 1;
            // What an init container left to others of its pod does not move alone.
            let alone = containers.iter().filter(move |(_, cpus)| !several(cpus));
            alone.map(move |(container, cpus)| (pod, container, cpus))
        });
        let moved = containers.filter_map(|(pod, container, from)| {
            let free = self.free(now.shared());
            let offer = Offer {
                free: &free,
                again: from,
            };
            let (to, _) = self.choose(offer, from.len(), None).ok()?;
            let mut then = now.clone();
            then.grant(pod, container, to.clone()).ok()?;
            let moved = Move {
                pod: pod.clone(),
                container: container.clone(),
                from: from.clone(),
                to,
                then: self.wholeness(&then),
            };
            Some((moved, then))
        });
        moved.collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decide::cpu::{Reservation, StaticOptions};
    use crate::decide::numa::TopologyPolicy;
    use crate::model::Shape;

    fn policy() -> StaticPolicy {
        let shape = Shape {
            sockets: 1,
            nodes: 2,
            l3s: 1,
            cores: 4,
            threads: 2,
        };
        let reserved = Reservation::Count(1);
        StaticPolicy::new(
            shape.build(),
            StaticOptions::default(),
            &reserved,
            TopologyPolicy::None,
        )
        .unwrap()
    }

    fn set(list: &str) -> CpuSet {
        CpuSet::parse(list).unwrap()
    }

    fn name() -> ContainerName {
        ContainerName::parse("main").unwrap()
    }

    fn uid(n: usize) -> PodUid {
        PodUid::parse(&format!("p{n}")).unwrap()
    }

    #[test]
    fn the_last_pod_on_a_node_makes_it_whole() {
        let policy = policy();
        let mut assignments = policy.start();
        assignments.grant(&uid(0), &name(), set("1-2,9-10")).unwrap();
        assignments.grant(&uid(1), &name(), set("5,13")).unwrap();
        assert_eq!(policy.wholeness(&assignments), Wholeness { nodes: 0, cores: 4 });
        let moves = policy.defragment(&assignments);
        assert_eq!(moves.len(), 1);
        let Move {
            pod, from, to, then, ..
        } = &moves[0];
        assert_eq!(
            (pod, from.to_string(), to.to_string()),
            (&uid(1), "5,13".to_owned(), "3,11".to_owned())
        );
        assert_eq!(*then, Wholeness { nodes: 1, cores: 4 });
    }

    #[test]
    fn nothing_moves_where_nothing_is_gained() {
        let policy = policy();
        assert_eq!(policy.defragment(&policy.start()), []);
        let mut assignments = policy.start();
        assignments.grant(&uid(0), &name(), set("1,9")).unwrap();
        assert_eq!(policy.defragment(&assignments), []);
    }

    proptest! {
        #[test]
        fn every_move_can_be_made_and_gains(owners in prop::collection::vec(0..6_usize, 15)) {
            let policy = policy();
            let mut assignments = policy.start();
            let free = policy.free(assignments.shared());
            for owner in 1..6 {
                let cpus = free.iter().zip(&owners).filter(|(_, of)| **of == owner);
                let cpus: CpuSet = cpus.map(|(cpu, _)| cpu).collect();
                if !cpus.is_empty() {
                    assignments.grant(&uid(owner), &name(), cpus).unwrap();
                }
            }
            let mut now = policy.wholeness(&assignments);
            for Move { pod, container, from, to, then } in policy.defragment(&assignments) {
                prop_assert_eq!(assignments.held(&pod, &container), Some(&from));
                prop_assert!(to.len() == from.len() && to.is_disjoint(policy.reserved()));
                assignments.grant(&pod, &container, to).unwrap();
                prop_assert_eq!(policy.wholeness(&assignments), then);
                prop_assert!(then > now);
                now = then;
            }
        }
    }
}
