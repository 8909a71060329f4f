//! Who goes, if somebody has to: the order of victims and the gates that stand behind it.
//!
//! # Properties
//! - A shielded, spent, ending or empty pod is never named; nor is any when the budget is used up.
//! - A pod within its request is named only when memory runs out, that pod is what fills it, and some pod that was over its
//!   request was taken in vain.

use std::time::Duration;

use super::Scratch;
use super::shortage::Shortage;
use super::signals::is_memory;
use crate::decide::eviction::EvictionPolicy;
use crate::decide::rank::{Profile, RankInputs, rank};
use crate::model::pressure::{Barred, Need, PodFacts, Ranked, Signal, Snapshot};
use crate::model::{BootTime, Bytes};
use crate::state::pressure::{CONFIDENT, PressureState, outside};

/// How far ahead growth counts in the order.
const HORIZON: Duration = Duration::from_secs(10);

/// What everything in here looks at.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) roster: &'a [PodFacts],
    pub(super) snapshot: &'a Snapshot,
    pub(super) policy: &'a EvictionPolicy,
    pub(super) state: &'a PressureState,
    pub(super) now: BootTime,
}

impl View<'_> {
    /// The best victim, or why there is none.
    pub(super) fn victim(&self, shortage: &Shortage, scratch: &mut Scratch) -> Result<Ranked, Barred> {
        self.order(&shortage.need, scratch);
        let best = scratch
            .order
            .iter()
            .find(|ranked| ranked.barred.is_none() && self.helps(&shortage.need, ranked));
        let Some(best) = best else {
            return Err(self.why_nobody(&scratch.order));
        };
        let ours = self.policy.profile == Profile::Plimsoll && is_memory(shortage.need.signal);
        if !ours || best.excess > Bytes(0) {
            return Ok(*best);
        }
        self.last_resort(shortage, &scratch.order)
            .ok_or(if self.is_outside() {
                Barred::OutsidePods
            } else {
                Barred::WithinRequest
            })
    }

    /// Puts all pods in order, barring those that the past speaks against.
    pub(super) fn order(&self, need: &Need, scratch: &mut Scratch) {
        let victims = &self.state.victims;
        let budget = self.policy.budget;
        let used_up = victims.recent(budget.within, self.now) >= budget.victims as usize;
        let barred = |pod: usize| {
            let cgroup = self.roster.get(pod)?.cgroup;
            if victims.find(cgroup).is_some() {
                Some(Barred::Ending)
            } else if victims.taken(cgroup).is_some() {
                Some(Barred::Spent)
            } else {
                used_up.then_some(Barred::Budget)
            }
        };
        let inputs = RankInputs {
            roster: self.roster,
            snapshot: self.snapshot,
            growth: &|pod| self.state.growth_at(pod),
            need,
            barred: &barred,
            horizon: HORIZON,
        };
        let profile = match need.signal {
            signal if is_memory(signal) => self.policy.profile,
            Some(Signal::PidAvailable) => self.policy.profile,
            // Kubelet's order knows of disks; ours would add nothing.
            _ => Profile::Kubelet,
        };
        rank(&inputs, profile, &mut scratch.order);
    }

    /// Process ids have no requests, so that a pod with two tasks is as far over as the one with all of them.
    fn helps(&self, need: &Need, ranked: &Ranked) -> bool {
        let node = &self.snapshot.node;
        need.signal != Some(Signal::PidAvailable)
            || self
                .snapshot
                .pods
                .get(ranked.pod)
                .is_some_and(|pod| pod.tasks >= node.tasks / 10)
    }

    /// The pod within its request that memory runs out for.
    fn last_resort(&self, shortage: &Shortage, order: &[Ranked]) -> Option<Ranked> {
        if !shortage.running_out || !self.state.victims.any_spent() {
            return None;
        }
        let all = self.state.node_growth().bytes_per_second;
        let feeds = |ranked: &&Ranked| {
            ranked.barred.is_none() && ranked.confidence >= CONFIDENT && ranked.growth > all / 2.0
        };
        order
            .iter()
            .filter(feeds)
            .max_by(|a, b| a.growth.total_cmp(&b.growth))
            .copied()
    }

    /// Whether what takes the memory is outside the pods: more than is set aside for that, or, where nothing is, most of
    /// what grows.
    fn is_outside(&self) -> bool {
        let node = &self.snapshot.node;
        match node.root_max.at() {
            Some(max) => outside(node) > node.capacity.saturating_sub(max),
            None => {
                let (all, outside) = (self.state.node_growth(), self.state.outside_growth());
                outside.is_confident() && outside.bytes_per_second > all.bytes_per_second / 2.0
            }
        }
    }

    /// The reason that a person would give: the budget, or what bars the pod that is most over its request, or what is
    /// outside the pods.
    fn why_nobody(&self, order: &[Ranked]) -> Barred {
        if order.iter().any(|ranked| ranked.barred == Some(Barred::Budget)) {
            return Barred::Budget;
        }
        let over = order.iter().filter(|ranked| ranked.excess >= self.policy.least);
        match over
            .max_by_key(|ranked| ranked.excess)
            .and_then(|worst| worst.barred)
        {
            Some(why) => why,
            None if self.is_outside() => Barred::OutsidePods,
            None => {
                let first = order.iter().find_map(|ranked| ranked.barred);
                first.unwrap_or(Barred::OutsidePods)
            }
        }
    }
}
