//! Which containers have which CPUs when the agent starts again.
//!
//! **Problem.** What the file says, what the kernel does and what the configuration now wants may each be another thing:
//! the file is from before a crash, a CPU went offline, an administrator changed a cpuset, a reservation grew. The agent
//! starts in every case, takes no CPU from a running container that may keep it, and says what it changed.
//!
//! **Terms.** A container is *live* if its cgroup has processes. It is *exclusive* if the agent's own record of it says so.
//! A *pin* is what the file promises. A live container of a pod that is not wanted any more is *leaving*.
//!
//! **How.** In this order, so that what is surer is settled first:
//! 1. Live containers keep what they run on: all of their effective cpuset if they are exclusive and it is not more than
//!    they want, otherwise what of it their pin has. CPUs that two claim go to the one whose pin has them, then to the
//!    earlier grant. Reserved CPUs are kept too, for taking them away would disturb what runs; once released they are not
//!    given again.
//! 2. Pins of containers that do not run, and what live ones lack of theirs: as far as online, not reserved, and with
//!    nobody else. After a change of the machine's layout a pin that is spread over more NUMA nodes than necessary is
//!    let go, for it is not what would be chosen.
//! 3. What is still lacking is chosen near to what is kept: free siblings first, then as in a resize
//!    ([`StaticPolicy::resize`]). A live container that cannot have it goes on with fewer, one that does not run has none
//!    and is refused; the latter may make room for the former, so that this is done until nothing changes.
//!
//! Pins of pods that were never let in are only kept whole: admission decides on the rest. Under the policy `none` nobody
//! has CPUs of its own, and every pin is let go.
//!
//! # Properties
//! - Whatever goes in, no CPU is with two pods, or with two containers of a pod that run at a time, or shared and held; all
//!   are online.
//! - Nobody holds more than it wants. A reserved CPU is only with a live container that ran on it before.
//! - A live, exclusive container keeps all of its effective CPUs as far as nobody else claims them and it wants so many.
//! - Where file, kernel and configuration agree nothing changes, and what came out, put in again, comes out again with
//!   nothing to tell but what still stands.

mod change;
mod claim;
mod fill;
mod keep;
#[cfg(test)]
mod props;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use change::{Change, ContainerChange, LetGo, Lost, NodeChange};

use super::policy::StaticPolicy;
use super::wish::{Wish, Wishes};
use crate::model::{ContainerKind, ContainerName, CpuSet, Pod, PodUid, Topology};
use crate::state::cpus::CpuAssignments;
use crate::state::cpus::checkpoint::{CpuCheckpoint, MachineMark, PolicyMark};
use claim::Claims;

/// A container that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// `cpuset.cpus.effective` of its cgroup.
    pub effective: CpuSet,
    /// Whether the agent's record says that it was given these to itself. To be noted only once they were read back: of
    /// a container that was not yet put on CPUs of its own, the effective ones are everybody's.
    pub exclusive: bool,
}

/// A container that is to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedContainer {
    /// Its name.
    pub name: ContainerName,
    /// What it is for.
    pub kind: ContainerKind,
    /// What it wants.
    pub wish: Wish,
}

/// A pod that is to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPod {
    /// Whether it was let in, so that it has a right to its CPUs.
    pub admitted: bool,
    /// Its containers, in the order of the manifest.
    pub containers: Vec<WantedContainer>,
}

impl WantedPod {
    /// A pod as its manifest has it, under the policy's option `mixed-pods`.
    #[must_use]
    pub fn of(pod: &Pod, mixed: bool, admitted: bool) -> Self {
        let wishes = Wishes::of(pod, mixed);
        let containers = pod.all_containers().enumerate();
        Self {
            admitted,
            containers: containers
                .map(|(index, container)| WantedContainer {
                    name: container.name.clone(),
                    kind: container.kind,
                    wish: wishes.container(index),
                })
                .collect(),
        }
    }
}

/// Everything that is known at the start.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The file's content, if it can be used.
    pub checkpoint: Option<&'a CpuCheckpoint>,
    /// The containers that run.
    pub live: &'a BTreeMap<PodUid, BTreeMap<ContainerName, Live>>,
    /// The pods that are to exist.
    pub wanted: &'a BTreeMap<PodUid, WantedPod>,
    /// The CPUs that are online.
    pub topology: &'a Topology,
    /// The policy on them; none under `none`.
    pub policy: Option<&'a StaticPolicy>,
    /// The mark of this machine.
    pub machine: &'a MachineMark,
}

/// What to begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Who has what.
    pub assignments: CpuAssignments,
    /// What is not as the file, the kernel or the configuration had it.
    pub changes: Vec<Change>,
}

/// The policy as the file has it.
#[must_use]
pub fn mark(policy: Option<&StaticPolicy>) -> PolicyMark {
    let options = policy.map(|policy| policy.options().names());
    PolicyMark {
        name: if policy.is_some() { "static" } else { "none" }.to_owned(),
        options: options.into_iter().flatten().map(str::to_owned).collect(),
    }
}

/// What a checkpoint is written under: the policy, the CPUs that it reserves, and the machine.
#[must_use]
pub fn under(policy: Option<&StaticPolicy>, machine: &MachineMark) -> (PolicyMark, CpuSet, MachineMark) {
    let reserved = policy.map_or(CpuSet::EMPTY, |policy| policy.reserved().clone());
    (mark(policy), reserved, machine.clone())
}

/// What to begin with.
#[must_use]
pub fn restore(facts: &Facts<'_>) -> Restored {
    let mut changes = change::of_node(facts);
    let mut assignments = CpuAssignments::new(facts.topology.cpus().clone());
    let Some(policy) = facts.policy else {
        changes.extend(claim::all_let_go(facts));
        return Restored { assignments, changes };
    };
    let mut claims = Claims::new(facts, &mut changes);
    claims.keep_what_runs(policy);
    claims.keep_pins(policy, facts, &mut changes);
    claims.narrow(policy);
    changes.extend(claims.losses(policy));
    let before: Vec<CpuSet> = claims.list.iter().map(|claim| claim.kept.clone()).collect();
    let refusals = claims.fill(policy);
    for claim in claims.list.iter().filter(|claim| !claim.kept.is_empty()) {
        let granted = assignments.grant(&claim.pod, &claim.container, claim.kept.clone());
        debug_assert!(granted.is_ok(), "claims of two pods are kept apart: {granted:?}");
    }
    policy.withhold(&mut assignments);
    changes.extend(claims.told(policy, &before, &refusals));
    if assignments.shared().is_empty() {
        changes.push(Change::Node(NodeChange::NothingShared {
            cpus: facts.topology.cpus().len(),
        }));
    }
    Restored { assignments, changes }
}
