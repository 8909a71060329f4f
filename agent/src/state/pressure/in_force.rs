//! What the milder rungs of the ladder have in force, and since when.
//!
//! # Properties
//! - A pod is throttled once at a time, and everything in force has a moment at which it ends.
//! - What was in force is not tried again on the same pod before its rest is over.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::pressure::Rung;
use crate::model::{BootTime, Bytes, CgroupId};

/// For how long a pod is left alone by a rung that was tried on it.
pub const REST: Duration = Duration::from_secs(30);

/// A pod whose `memory.high` was put to what it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttle {
    /// Whose.
    pub cgroup: CgroupId,
    /// Where.
    pub high: Bytes,
    /// When it has to end.
    pub until: BootTime,
}

/// A reclaim under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reclaim {
    /// From whom.
    pub cgroup: CgroupId,
    /// How much was asked for.
    pub asked: Bytes,
    /// What the pod used before.
    pub before: Bytes,
    /// Until when its effect is waited for.
    pub until: BootTime,
}

/// Less CPU for BestEffort pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suppression {
    /// How much they were left, in thousandths of a CPU.
    pub milli: u64,
    /// When it has to end.
    pub until: BootTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Rest {
    cgroup: CgroupId,
    rung: Rung,
    begun: BootTime,
    until: BootTime,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InForce {
    /// Throttled pods.
    pub throttled: Vec<Throttle>,
    /// The reclaim under way.
    pub reclaim: Option<Reclaim>,
    /// The suppression of CPU.
    pub cpu: Option<Suppression>,
    rests: Vec<Rest>,
    cpu_rests: BootTime,
}

impl InForce {
    /// See [`PressureState::copy_from`](super::PressureState::copy_from).
    pub(super) fn copy_from(&mut self, other: &Self) {
        let Self {
            throttled,
            reclaim,
            cpu,
            rests,
            cpu_rests,
        } = other;
        self.throttled.clone_from(throttled);
        self.rests.clone_from(rests);
        (self.reclaim, self.cpu, self.cpu_rests) = (*reclaim, *cpu, *cpu_rests);
    }

    pub(super) fn reserve(&mut self, pods: usize) {
        self.throttled.reserve(pods.saturating_sub(self.throttled.len()));
        self.rests.reserve((2 * pods).saturating_sub(self.rests.len()));
    }

    /// Whether a rung may be tried on a pod now.
    #[must_use]
    pub fn may(&self, cgroup: CgroupId, rung: Rung, now: BootTime) -> bool {
        let rests = |rest: &Rest| rest.cgroup == cgroup && rest.rung == rung && now < rest.until;
        !self.rests.iter().any(rests)
    }

    /// How many pods a rung was tried on since a moment, as far as they are still there.
    #[must_use]
    pub fn tried(&self, rung: Rung, since: BootTime) -> usize {
        let tried = |rest: &&Rest| rest.rung == rung && rest.begun >= since;
        self.rests.iter().filter(tried).count()
    }

    /// Whether BestEffort's CPU may be cut now.
    #[must_use]
    pub fn may_suppress(&self, now: BootTime) -> bool {
        self.cpu.is_none() && now >= self.cpu_rests
    }

    /// How a pod is throttled.
    #[must_use]
    pub fn throttle(&self, cgroup: CgroupId) -> Option<&Throttle> {
        self.throttled.iter().find(|throttle| throttle.cgroup == cgroup)
    }

    /// A pod is throttled from now on.
    pub fn throttled(&mut self, throttle: Throttle, now: BootTime) {
        self.unthrottled(throttle.cgroup);
        self.throttled.push(throttle);
        self.rest(throttle.cgroup, Rung::Throttle, now, throttle.until.after(REST));
    }

    /// A pod is not throttled any more.
    pub fn unthrottled(&mut self, cgroup: CgroupId) {
        self.throttled.retain(|throttle| throttle.cgroup != cgroup);
    }

    /// A reclaim was begun.
    pub fn reclaiming(&mut self, reclaim: Reclaim, now: BootTime) {
        self.reclaim = Some(reclaim);
        self.rest(reclaim.cgroup, Rung::Reclaim, now, reclaim.until.after(REST));
    }

    /// BestEffort's CPU was cut.
    pub fn suppressed(&mut self, suppression: Suppression) {
        self.cpu_rests = suppression.until.after(REST);
        self.cpu = Some(suppression);
    }

    fn rest(&mut self, cgroup: CgroupId, rung: Rung, begun: BootTime, until: BootTime) {
        let known = self
            .rests
            .iter_mut()
            .find(|rest| rest.cgroup == cgroup && rest.rung == rung);
        match known {
            Some(rest) => (rest.begun, rest.until) = (begun, until),
            None => self.rests.push(Rest {
                cgroup,
                rung,
                begun,
                until,
            }),
        }
    }

    /// Forgets what is over, and the pods of which `there` does not know. A throttled pod that is there is not forgotten:
    /// its `memory.high` has to be put back first.
    pub(super) fn settle(&mut self, now: BootTime, there: impl Fn(CgroupId) -> bool) {
        self.rests.retain(|rest| now < rest.until && there(rest.cgroup));
        self.throttled.retain(|throttle| there(throttle.cgroup));
        if self
            .reclaim
            .is_some_and(|reclaim| now >= reclaim.until || !there(reclaim.cgroup))
        {
            self.reclaim = None;
        }
    }
}
