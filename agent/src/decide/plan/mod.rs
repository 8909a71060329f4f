//! The steps from the tree as it is to the tree as it should be.
//!
//! **Problem.** Hundreds of files have to change while pods run, and the agent may be killed between any two
//! writes. **How.** Only what differs is written, in this order:
//!
//! 1. the levels above the pods: make, enable controllers, then raise what has to rise, parents first, each in a
//!    step of its own;
//! 2. pods that are no longer wanted go, which frees what they held;
//! 3. pod by pod, those that only give up something first: make and enable top-down, lower bottom-up, raise
//!    top-down;
//! 4. the levels above the pods: lower what has to fall, children first.
//!
//! Within a cgroup a limit rises before what must stay below it (`memory.high`, protections) and falls after it.
//! What is not ours (a cgroup that a container made inside its own, a name that is no pod's) is left alone.
//!
//! # Properties
//! - The plan is empty exactly when nothing differs; carrying it out leaves nothing that differs.
//! - Stopped after any operation, the next plan still reaches the same tree.
//! - A cgroup is made after its parent, and written only when the controller is enabled above it.
//! - If before and after no protection exceeds the parent's, none does in between; the same holds for
//!   `memory.high` against `memory.max` of the same cgroup.
//! - A pod's operations are one step.

mod diff;
#[cfg(test)]
mod props;

use std::collections::BTreeSet;

pub use crate::model::{ActualCgroup, ActualTree};
use crate::model::{CgroupPath, ControlFile, Controller, KnobValue, Place};

use super::desired::DesiredTree;
use diff::{Diff, Direction};

/// What a step is about, and so what must be undone together when one of its operations fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The levels above the pods, and the agent's own cgroup.
    Tree,
    /// The pod whose cgroup this is, with its containers.
    Pod(CgroupPath),
}

/// Operations that belong together. Steps are carried out in order, and so are the operations of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Whom it is about.
    pub scope: Scope,
    /// What to do; never empty.
    pub ops: Vec<CgroupOp>,
}

/// One operation; each is safe on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupOp {
    /// Make the cgroup.
    Create {
        /// Where.
        path: CgroupPath,
    },
    /// Enable controllers for the children.
    Enable {
        /// Of which cgroup.
        path: CgroupPath,
        /// Which ones are missing.
        controllers: BTreeSet<Controller>,
    },
    /// Write one interface file and read it back.
    Write {
        /// Of which cgroup.
        path: CgroupPath,
        /// Which file.
        file: ControlFile,
        /// The new value.
        value: KnobValue,
        /// What stood there, to put back when a later operation of the step fails; none for a new cgroup.
        previous: Option<String>,
    },
    /// Kill what is left inside and remove the cgroup with everything below.
    Remove {
        /// Where.
        path: CgroupPath,
    },
}

impl CgroupOp {
    /// The cgroup that it is about.
    #[must_use]
    pub const fn path(&self) -> &CgroupPath {
        match self {
            Self::Create { path }
            | Self::Enable { path, .. }
            | Self::Write { path, .. }
            | Self::Remove { path } => path,
        }
    }
}

/// The steps that turn `actual` into `desired`.
#[must_use]
pub fn plan(desired: &DesiredTree, actual: &ActualTree) -> Vec<Step> {
    let diff = Diff { desired, actual };
    let levels: Vec<_> = diff.wanted(|place| !matches!(place, Place::Pod(..) | Place::Container(..)));
    // A value that one level cannot have must not undo what the others got, so each is a step.
    let tree = |ops: Vec<CgroupOp>| Step {
        scope: Scope::Tree,
        ops,
    };
    let mut steps = vec![tree(
        levels.iter().flat_map(|path| diff.structure(path)).collect(),
    )];
    steps.extend(levels.iter().map(|path| tree(diff.writes(path, Direction::Up))));
    steps.extend(diff.unwanted_pods().into_iter().map(|path| Step {
        scope: Scope::Pod(path.clone()),
        ops: vec![CgroupOp::Remove { path }],
    }));

    let pods = diff.wanted(|place| matches!(place, Place::Pod(..)));
    let (growing, shrinking): (Vec<_>, Vec<_>) = pods
        .into_iter()
        .map(|pod| pod_step(&diff, pod))
        .partition(|(raises_protection, _)| *raises_protection);
    steps.extend(shrinking.into_iter().chain(growing).map(|(_, step)| step));

    let falling = levels.iter().rev();
    steps.extend(falling.map(|path| tree(diff.writes(path, Direction::Down))));
    steps.retain(|step| !step.ops.is_empty());
    steps
}

/// The step of one pod, and whether it raises a protection.
fn pod_step(diff: &Diff, pod: &CgroupPath) -> (bool, Step) {
    let cgroups = diff.wanted_within(pod);
    let mut ops: Vec<_> = diff
        .unwanted_containers(pod)
        .into_iter()
        .map(|path| CgroupOp::Remove { path })
        .collect();
    ops.extend(cgroups.iter().flat_map(|path| diff.structure(path)));
    ops.extend(
        cgroups
            .iter()
            .rev()
            .flat_map(|path| diff.writes(path, Direction::Down)),
    );
    let raises: Vec<_> = cgroups
        .iter()
        .flat_map(|path| diff.writes(path, Direction::Up))
        .collect();
    let raises_protection = raises.iter().any(|op| {
        matches!(
            op,
            CgroupOp::Write {
                file: ControlFile::MemoryMin | ControlFile::MemoryLow,
                ..
            }
        )
    });
    ops.extend(raises);
    let scope = Scope::Pod(pod.clone());
    (raises_protection, Step { scope, ops })
}
