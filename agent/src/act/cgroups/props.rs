//! Real plans for random pods, carried out on the fake while operations fail, cgroups vanish and the agent is killed.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::decide::cpusets::Cpusets;
use crate::decide::desired::{DesiredTree, Inputs, desired_tree};
use crate::decide::fixtures::{all_controllers, node, valid_pods};
use crate::decide::plan::plan;
use crate::decide::policy::PlacementPolicy;
use crate::kernel::cgroup_fs::{FakeCgroupFs, Stubbornness};
use crate::model::{ActualTree, Pod};
use crate::observe::cgroup_tree::{Extent, read_tree};

const NOW: BootTime = BootTime(Duration::from_secs(100));

fn tree(pods: &[Pod], available: &BTreeSet<Controller>) -> DesiredTree {
    desired_tree(&Inputs {
        pods: &pods.iter().collect::<Vec<_>>(),
        node: &node(),
        policy: &PlacementPolicy::default(),
        available,
        lifted: &BTreeSet::new(),
        cpusets: &Cpusets::default(),
    })
}

/// What goes wrong while a tree is being brought about.
#[derive(Debug, Clone)]
enum Trouble {
    /// Some operations, by their number, are refused.
    Refusals(Vec<(usize, i32)>),
    /// The agent is killed after so many operations.
    Killed(usize),
    /// Somebody removes a cgroup, by its number, between the reading and the writing.
    Vanishes(prop::sample::Index),
}

fn trouble() -> impl Strategy<Value = Trouble> {
    let errno = prop::sample::select(&[libc::EBUSY, libc::EINVAL, libc::EIO, libc::ENOSPC, libc::EPERM][..]);
    prop_oneof![
        3 => prop::collection::vec((0..60_usize, errno), 1..6).prop_map(Trouble::Refusals),
        1 => (0..60_usize).prop_map(Trouble::Killed),
        1 => any::<prop::sample::Index>().prop_map(Trouble::Vanishes),
    ]
}

/// One life of the agent on a node.
struct Agent<'a> {
    fs: &'a FakeCgroupFs,
    removals: Removals,
}

impl<'a> Agent<'a> {
    fn new(fs: &'a FakeCgroupFs) -> Self {
        Self {
            fs,
            removals: Removals::default(),
        }
    }

    fn observe(&self, desired: &DesiredTree) -> ActualTree {
        let extent = Extent {
            files: desired.files().into_iter().collect(),
            levels: 3,
        };
        read_tree(self.fs, &extent).unwrap()
    }

    fn pass(&mut self, desired: &DesiredTree) -> ApplyReport {
        let steps = plan(desired, &self.observe(desired));
        let report = apply(self.fs, &steps, usize::MAX, &mut self.removals, NOW);
        self.removals.poll(self.fs, NOW, Duration::ZERO);
        report
    }

    /// Passes without trouble until nothing is left to do.
    fn settle(&mut self, desired: &DesiredTree) -> Result<(), TestCaseError> {
        for _ in 0..6 {
            if plan(desired, &self.observe(desired)).is_empty() && self.removals.is_empty() {
                let wanted: BTreeSet<_> = desired.cgroups.keys().cloned().collect();
                prop_assert_eq!(self.fs.paths(), wanted);
                return Ok(());
            }
            let report = self.pass(desired);
            prop_assert!(report.failed.is_empty(), "{:?}", report.failed);
        }
        Err(TestCaseError::fail("it does not converge"))
    }
}

/// The part of a tree that is one pod's; the containers that a plan removed left out.
fn of_pod(tree: &ActualTree, pod: &CgroupPath, desired: &DesiredTree) -> ActualTree {
    let mut part = tree.clone();
    part.cgroups
        .retain(|path, _| path.is_within(pod) && desired.cgroups.contains_key(path));
    part
}

/// A process in every container that has a place.
fn populate(fs: &FakeCgroupFs, desired: &DesiredTree) {
    for path in desired.cgroups.keys().filter(|path| path.depth() == 3) {
        let process = if path.to_string().len() % 2 == 0 {
            Stubbornness::Dies
        } else {
            Stubbornness::Forks(1)
        };
        fs.spawn(path, process).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_pod_is_placed_whole_or_left_as_it_was_and_in_the_end_all_are_placed(
        lives in prop::collection::vec((valid_pods(4), trouble()), 1..4),
    ) {
        let have = all_controllers();
        let fs = FakeCgroupFs::new(have.clone());
        let mut agent = Agent::new(&fs);
        for (pods, trouble) in &lives {
            let desired = tree(pods, &have);
            let before = agent.observe(&desired);
            let steps = plan(&desired, &before);
            match trouble {
                Trouble::Refusals(refusals) => {
                    refusals.iter().for_each(|(nth, errno)| fs.fail_at(*nth, *errno));
                }
                Trouble::Killed(nth) => fs.crash_at(*nth),
                Trouble::Vanishes(index) => {
                    let leaves: Vec<_> = fs.paths().into_iter().filter(|path| path.depth() == 3).collect();
                    if !leaves.is_empty() {
                        fs.vanish(index.get(&leaves));
                    }
                }
            }
            let report = apply(&fs, &steps, usize::MAX, &mut agent.removals, NOW);
            if let Trouble::Killed(_) = trouble {
                fs.restart();
                agent = Agent::new(&fs);
            } else {
                fs.restart();
                prop_assert_eq!(report.done.len() + report.failed.len() + report.overtaken.len(), steps.len());
                let after = agent.observe(&desired);
                let left = plan(&desired, &after);
                for scope in report.done.iter().filter(|scope| matches!(scope, Scope::Pod(_))) {
                    let undone_twice = left.iter().any(|step| step.scope == *scope
                        && step.ops.iter().any(|op| !matches!(op, CgroupOp::Remove { .. })));
                    prop_assert!(!undone_twice || matches!(trouble, Trouble::Vanishes(_)), "{scope:?} is not done");
                }
                for failed in report.failed.iter().chain(&report.overtaken) {
                    let Scope::Pod(pod) = &failed.scope else { continue };
                    if failed.left_over.is_empty() && !matches!(trouble, Trouble::Vanishes(_)) {
                        prop_assert_eq!(
                            of_pod(&after, pod, &desired), of_pod(&before, pod, &desired),
                            "{}", failed.error
                        );
                    }
                }
            }
            agent.settle(&desired)?;
            populate(&fs, &desired);
        }
    }
}
