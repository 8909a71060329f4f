//! What to do about a shortage of memory.

use std::time::Duration;

use crate::decide::eviction::EvictionPolicy;
use crate::model::pressure::{Decision, PodFacts, Ranked, Snapshot};
use crate::model::{BootTime, CgroupId};
use crate::state::pressure::PressureState;

/// Room for the order of victims, used again and again.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    /// Pods, the best victim first.
    pub order: Vec<Ranked>,
}

impl Scratch {
    /// Room for so many pods.
    #[must_use]
    pub fn with_capacity(pods: usize) -> Self {
        Self {
            order: Vec::with_capacity(pods),
        }
    }
}

/// Why a decision is not carried out: between it and the act things changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// The pod's cgroup is another one now.
    #[error("the cgroup is another one")]
    Recreated,
    /// The pod has no process or no figures any more.
    #[error("the pod is gone")]
    Gone,
    /// The shortage is over.
    #[error("the shortage is over")]
    NotShort,
    /// Another pod is the better victim by now.
    #[error("another pod is on top of the order")]
    NotOnTop,
}

/// What to do now.
pub fn decide(
    roster: &[PodFacts],
    snapshot: &Snapshot,
    policy: &EvictionPolicy,
    state: &mut PressureState,
    scratch: &mut Scratch,
    now: BootTime,
) -> Decision {
    let _unused = (roster, snapshot, policy, state, scratch, now, Duration::ZERO);
    Decision::Fine
}

/// Whether a decision still holds by figures read right before the act; `victim` is the cgroup of the pod it is about.
///
/// # Errors
/// What has changed.
pub fn still_holds(
    decision: &Decision,
    victim: Option<CgroupId>,
    roster: &[PodFacts],
    fresh: &Snapshot,
    policy: &EvictionPolicy,
    state: &PressureState,
    scratch: &mut Scratch,
    now: BootTime,
) -> Result<(), Stale> {
    let _unused = (decision, victim, roster, fresh, policy, state, scratch, now);
    Ok(())
}
