//! More or fewer CPUs for a container that has some, without taking away those it keeps.
//!
//! Kubelet refuses to resize a container with CPUs of its own. Here it *grows* by CPUs on the NUMA nodes it is on, as far
//! as these have any, and *shrinks* to those that the algorithm would take out of what it has. Either way it can go on
//! running: a thread that runs on a CPU that stays is never moved.
//!
//! # Properties
//! - What it has after growing contains what it had; what it has after shrinking is contained in it.
//! - Back at the old number it takes nothing from anybody else.

use std::num::NonZeroUsize;

use super::explain::{Explanation, Grant};
use super::hints::Offer;
use super::policy::StaticPolicy;
use super::refusal::CpuRefusal;
use crate::model::{ContainerName, CpuSet, PodUid};
use crate::state::cpus::CpuAssignments;

impl StaticPolicy {
    /// What `container` of `pod` has with `count` CPUs instead of those it holds.
    ///
    /// # Errors
    /// It holds none, too few are free, or cores would be split that must not be.
    pub fn resize(
        &self,
        assignments: &CpuAssignments,
        pod: &PodUid,
        container: &ContainerName,
        count: NonZeroUsize,
    ) -> Result<Grant, CpuRefusal> {
        let count = count.get();
        let none = CpuSet::EMPTY;
        let only = |free| Offer { free, again: &none };
        let held = assignments.held(pod, container).ok_or(CpuRefusal::HoldsNone)?;
        self.check_multiple(count)?;
        let (cpus, why) = match count.checked_sub(held.len()) {
            Some(0) => (held.clone(), Explanation::Kept),
            Some(more) => {
                let shared = assignments.shared();
                self.check_cores(shared, more)?;
                let free = self.free(shared);
                let (new, why) = self.choose(only(&free), more, Some(self.nodes_of(held)))?;
                (
                    held | &new,
                    Explanation::Grown {
                        had: held.clone(),
                        why: Box::new(why),
                    },
                )
            }
            None => {
                let (kept, why) = self.choose(only(held), count, None)?;
                (
                    kept,
                    Explanation::Shrunk {
                        had: held.clone(),
                        why: Box::new(why),
                    },
                )
            }
        };
        Ok(Grant {
            container: container.clone(),
            cpus,
            why,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decide::cpu::{Reservation, StaticOptions};
    use crate::decide::numa::TopologyPolicy;
    use crate::model::Shape;

    fn policy(options: StaticOptions) -> StaticPolicy {
        let shape = Shape {
            sockets: 2,
            nodes: 2,
            l3s: 1,
            cores: 4,
            threads: 2,
        };
        StaticPolicy::new(
            shape.build(),
            options,
            &Reservation::Count(1),
            TopologyPolicy::None,
        )
        .unwrap()
    }

    fn set(list: &str) -> CpuSet {
        CpuSet::parse(list).unwrap()
    }

    fn holder() -> (PodUid, ContainerName) {
        (PodUid::parse("p").unwrap(), ContainerName::parse("main").unwrap())
    }

    fn resized(policy: &StaticPolicy, held: &str, count: usize) -> Result<Grant, CpuRefusal> {
        let (pod, container) = holder();
        let mut assignments = policy.start();
        assignments.grant(&pod, &container, set(held)).unwrap();
        policy.resize(&assignments, &pod, &container, NonZeroUsize::new(count).unwrap())
    }

    #[test]
    fn growing_stays_on_the_node_and_shrinking_keeps_whole_cores() {
        let policy = policy(StaticOptions::default());
        let grown = resized(&policy, "9,25", 4).unwrap();
        assert_eq!(grown.cpus.to_string(), "8-9,24-25");
        assert_eq!(
            grown.why.to_string(),
            "had 9,25; packed: whole cores 8,24; 29 were free (7, 8, 6, 8 by NUMA node); \
             2 of 2 aligned to NUMA nodes {2}"
        );
        let shrunk = resized(&policy, "8-9,24-26", 3).unwrap();
        assert_eq!(shrunk.cpus.to_string(), "8,24,26");
        assert_eq!(resized(&policy, "9,25", 2).unwrap().why, Explanation::Kept);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let whole = policy(StaticOptions {
            full_pcpus_only: true,
            ..StaticOptions::default()
        });
        let refused = |count| resized(&whole, "9,25", count).unwrap_err();
        assert_eq!(
            refused(3),
            CpuRefusal::NoWholeCores {
                wanted: 3,
                threads: 2
            }
        );
        assert_eq!(refused(32), CpuRefusal::TooFewWholeCores { wanted: 30, free: 28 });
        let (pod, container) = holder();
        let none = whole.resize(&whole.start(), &pod, &container, NonZeroUsize::MIN);
        assert_eq!(none, Err(CpuRefusal::HoldsNone));
    }

    proptest! {
        #[test]
        fn what_stays_stays(numa: bool, whole: bool, start in 1..20_usize, sizes in prop::collection::vec(1..20_usize, 1..6)) {
            let policy = policy(StaticOptions {
                distribute_cpus_across_numa: numa,
                full_pcpus_only: whole,
                strict_full_pcpus: whole,
                ..StaticOptions::default()
            });
            let size = |n: usize| if whole { 2 * n.div_ceil(2) } else { n };
            let (pod, container) = holder();
            let mut assignments = policy.start();
            let first = policy.take(&policy.whole_cores(&policy.free(assignments.shared())), size(start)).unwrap();
            assignments.grant(&pod, &container, first.cpus).unwrap();
            for count in sizes.into_iter().map(size) {
                let held = assignments.held_by_pod(&pod);
                let grant = policy.resize(&assignments, &pod, &container, NonZeroUsize::new(count).unwrap());
                let cpus = grant.unwrap().cpus;
                prop_assert_eq!(cpus.len(), count);
                prop_assert!(cpus.is_subset(&held) || held.is_subset(&cpus));
                prop_assert!(cpus.is_disjoint(policy.reserved()));
                prop_assert!(!whole || policy.whole_cores(&cpus) == cpus);
                assignments.grant(&pod, &container, cpus).unwrap();
            }
            assignments.release(&pod);
            prop_assert_eq!(assignments, policy.start());
        }
    }
}
