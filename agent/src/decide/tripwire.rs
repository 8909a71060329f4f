//! A deadline on `memory.high`.
//!
//! **Problem.** `memory.high` makes a container that allocates beyond it wait for reclaim. When nothing can be
//! reclaimed it waits on and on, neither working nor killed. **How.** `memory.high` is a tripwire: it may slow a
//! cgroup down while it is decided what to do, for [`DEADLINE`]. A cgroup that stands over it for so long has it
//! lifted, and `memory.max` decides, which kills within the pod that is to blame. Once the cgroup has well fallen
//! below (an eighth), it is armed again.
//!
//! # Properties
//! - No cgroup that stays over its tripwire keeps it for longer than the deadline and one observation.
//! - A cgroup that was below at any observation within the deadline keeps it.
//! - Only cgroups that are wanted, with a limit, are remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{BootTime, Bytes, CgroupPath, ControlFile, KnobValue, Limit};

use super::desired::DesiredTree;

/// How long a cgroup may stand over its tripwire: many times what it takes to decide, kill and free (about a third
/// of a second for 2 GiB), and short for whoever waits.
pub const DEADLINE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    /// Over it since then.
    Tripped(BootTime),
    /// Lifted; it stood there.
    Lifted(Bytes),
}

/// The tripwires that went off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tripwires {
    wires: BTreeMap<CgroupPath, Wire>,
}

impl Tripwires {
    /// Takes note of the usage of cgroups at `now`; `usage` gives none for a cgroup that was not read. Says whether
    /// [`lifted`](Self::lifted) has changed, so that the tree must be planned anew.
    pub fn observe(
        &mut self,
        now: BootTime,
        desired: &DesiredTree,
        usage: impl Fn(&CgroupPath) -> Option<Bytes>,
    ) -> bool {
        let before = self.lifted();
        self.wires.retain(|path, _| desired.cgroups.contains_key(path));
        for (path, cgroup) in &desired.cgroups {
            let high = match cgroup.knobs.get(&ControlFile::MemoryHigh) {
                Some(KnobValue::Memory(Limit::At(high))) => Some(*high),
                _ => None,
            };
            let wire = self.wires.get(path).copied();
            // Most cgroups have neither, and asking for the usage of all costs more than the rest of this.
            if wire.is_none() && high.is_none() {
                continue;
            }
            let Some(usage) = usage(path) else { continue };
            match (wire, high) {
                (Some(Wire::Lifted(high)), _) if usage.0 < high.0 - high.0 / 8 => {
                    self.wires.remove(path);
                }
                (Some(Wire::Tripped(since)), Some(high)) if usage >= high => {
                    if now.since(since) >= DEADLINE {
                        self.wires.insert(path.clone(), Wire::Lifted(high));
                    }
                }
                (None, Some(high)) if usage >= high => {
                    self.wires.insert(path.clone(), Wire::Tripped(now));
                }
                (Some(Wire::Tripped(_)), _) => {
                    self.wires.remove(path);
                }
                (Some(Wire::Lifted(_)) | None, _) => {}
            }
        }
        self.lifted() != before
    }

    /// Cgroups whose `memory.high` is to be lifted: [`Inputs::lifted`](super::desired::Inputs).
    #[must_use]
    pub fn lifted(&self) -> BTreeSet<CgroupPath> {
        let lifted = self
            .wires
            .iter()
            .filter(|(_, wire)| matches!(wire, Wire::Lifted(_)));
        lifted.map(|(path, _)| path.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decide::cpusets::Cpusets;
    use crate::decide::desired::{Inputs, desired_tree};
    use crate::decide::fixtures::{all_controllers, node, simple};
    use crate::decide::policy::PlacementPolicy;

    const CONTAINER: &str = "burstable/poduid-b/main";

    fn tree(tripwires: &Tripwires, with_pod: bool) -> DesiredTree {
        let pod = simple("b", "memory=256Mi", "memory=2Gi");
        let pods = if with_pod { vec![&pod] } else { Vec::new() };
        desired_tree(&Inputs {
            pods: &pods,
            node: &node(),
            policy: &PlacementPolicy::default(),
            available: &all_controllers(),
            lifted: &tripwires.lifted(),
            cpusets: &Cpusets::default(),
        })
    }

    fn seconds(n: u64) -> BootTime {
        BootTime(Duration::from_secs(n))
    }

    /// Observes the container at that usage, as the runtime would.
    fn at(tripwires: &mut Tripwires, second: u64, mib: u64) -> bool {
        let desired = tree(tripwires, true);
        tripwires.observe(seconds(second), &desired, |path| {
            (path.to_string() == CONTAINER).then_some(Bytes::mib(mib))
        })
    }

    #[test]
    fn a_tripwire_is_lifted_at_its_deadline_and_armed_again_well_below() {
        let mut tripwires = Tripwires::default();
        assert!(!at(&mut tripwires, 0, 1728));
        assert!(!at(&mut tripwires, 4, 1800));
        assert!(at(&mut tripwires, 5, 1800));
        assert!(
            tripwires
                .lifted()
                .iter()
                .any(|path| path.to_string() == CONTAINER)
        );
        assert!(!at(&mut tripwires, 6, 1700), "just below is not well below");
        assert!(at(&mut tripwires, 7, 1500));
        assert_eq!(tripwires, Tripwires::default());
    }

    #[test]
    fn a_cgroup_that_goes_is_forgotten() {
        let mut tripwires = Tripwires::default();
        at(&mut tripwires, 0, 1800);
        at(&mut tripwires, 9, 1800);
        let desired = tree(&tripwires, false);
        assert!(tripwires.observe(seconds(10), &desired, |_| None));
        assert_eq!(tripwires, Tripwires::default());
    }

    proptest! {
        #[test]
        fn lifted_exactly_when_over_throughout_the_deadline(over in prop::collection::vec(any::<bool>(), 1..40)) {
            let mut tripwires = Tripwires::default();
            let mut since = None;
            for (second, over) in (0..).zip(over) {
                at(&mut tripwires, second, if over { 1900 } else { 100 });
                since = over.then(|| since.unwrap_or(second));
                let due = since.is_some_and(|since| seconds(second).since(seconds(since)) >= DEADLINE);
                prop_assert_eq!(!tripwires.lifted().is_empty(), due);
            }
        }
    }
}
