//! What a decision rested on, less the pods that had no part in it.
//!
//! **Problem.** On a node with five hundred pods all of them together are 400 KiB in each record, and a burst of decisions
//! would push a week of others out of the journal. **How.** Kept are the first pods of the order and those that are under
//! way. Whether that is enough is not argued but tried: where today's rules, which have just decided, come to something else
//! without the others, nothing is left out.
//!
//! # Properties
//! - What is kept comes to the same verdict as the whole.
//! - Pods keep their order, and each its figures and what was remembered of it.

use std::collections::BTreeSet;

use super::{DecisionInputs, Verdict, again};
use crate::decide::pressure::outlook;
use crate::model::CgroupId;

/// Pods that are kept, besides those under way: far more than are ever taken for one shortage.
pub const KEPT: usize = 32;

impl DecisionInputs {
    /// The same with the first `most` pods of the order, and those under way; the whole, where that is not enough.
    #[must_use]
    pub fn pared(self, most: usize) -> Self {
        if self.roster.len() <= most {
            return self;
        }
        let order = outlook(&self.roster, &self.snapshot, &self.policy, &self.state, self.now).order;
        let first = order
            .iter()
            .take(most)
            .filter_map(|ranked| self.roster.get(ranked.pod));
        let mut kept: BTreeSet<CgroupId> = first.map(|pod| pod.cgroup).collect();
        kept.extend(self.state.in_use());
        let pared = self.only(&kept);
        let verdict = |inputs: &Self| Verdict::of(&again(inputs), &inputs.roster);
        if verdict(&pared) == verdict(&self) {
            pared
        } else {
            self
        }
    }

    /// The same with these pods only.
    fn only(&self, kept: &BTreeSet<CgroupId>) -> Self {
        let is_kept = |cgroup: CgroupId| kept.contains(&cgroup);
        let mut snapshot = self.snapshot.clone();
        let mut places = self.roster.iter();
        // Figures may end before the roster does.
        snapshot
            .pods
            .retain(|_| places.next().is_some_and(|pod| is_kept(pod.cgroup)));
        let mut state = self.state.clone();
        state.keep(is_kept);
        let mut roster = self.roster.clone();
        roster.retain(|pod| is_kept(pod.cgroup));
        Self {
            left_out: self.left_out + self.roster.len() - roster.len(),
            roster,
            snapshot,
            state,
            policy: self.policy.clone(),
            now: self.now,
        }
    }
}
