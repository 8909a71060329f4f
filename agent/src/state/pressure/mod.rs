//! What is remembered of memory pressure: how fast things grow, what is crossed since when, who was taken, what the ladder
//! has in force.
//!
//! **Problem.** One look at the machine says how much is left, not how fast it goes; and whoever has just killed a pod
//! must neither kill the next before that one's memory is back nor begin anew after a restart. **How.** All memory of the
//! guard is this one value: it can be stored and read back, so that a restart goes on where it was and a journal can be
//! replayed. Nothing in here decides.
//!
//! # Properties
//! - After it was warmed up with a roster, taking in figures allocates nothing.
//! - A cgroup that was made again under the same name starts from nothing.

mod costs;
mod in_force;
mod lead;
mod standing;
mod trend;
mod victims;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::pressure::{NodeFigures, PodFacts, PodFigures, Snapshot};
use crate::model::{BootTime, Bytes, CgroupId, QosClass};

pub use costs::{Cost, Costs, SPAN};
pub use in_force::{InForce, REST, Reclaim, Suppression, Throttle};
pub use lead::{CALM, Lead, STAYS};
pub use standing::{Standing, Standings};
pub use trend::{CLOSEST, CONFIDENT, Growth, SAMPLES, Trend};
pub use victims::{Settled, Taken, Taking, Victim, Victims, time_to_free};

/// What is remembered of one pod.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodMemory {
    cgroup: CgroupId,
    trend: Trend,
    events: Option<u64>,
    limited: Option<BootTime>,
}

/// All memory of the guard.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PressureState {
    /// How thresholds stand.
    pub standings: Standings,
    /// Who was taken.
    pub victims: Victims,
    /// What the ladder has in force.
    pub in_force: InForce,
    /// What it costs.
    pub costs: Costs,
    /// Since when something is short.
    pub short_since: Option<BootTime>,
    gone: Trend,
    unavailable: Trend,
    root: Trend,
    outside: Trend,
    pods: Vec<PodMemory>,
}

/// Memory of the pods' root that does not come back by itself.
#[must_use]
pub fn root_charge(node: &NodeFigures) -> Bytes {
    node.root_current.saturating_sub(node.root_reclaimable)
}

/// Memory that is used, and not by pods.
#[must_use]
pub fn outside(node: &NodeFigures) -> Bytes {
    let used = node.capacity.saturating_sub(node.available);
    used.saturating_sub(root_charge(node))
}

impl PressureState {
    /// One with room for so many pods.
    #[must_use]
    pub fn with_capacity(pods: usize) -> Self {
        let mut state = Self {
            costs: Costs::with_capacity(),
            ..Self::default()
        };
        state.reserve(pods);
        state
    }

    /// Makes room for so many pods, so that no look at them allocates.
    pub fn reserve(&mut self, pods: usize) {
        self.pods.reserve(pods.saturating_sub(self.pods.len()));
        self.victims.reserve(pods);
        self.in_force.reserve(pods);
    }

    /// Becomes the same as another, without an allocation where there is room for its pods.
    pub fn copy_from(&mut self, other: &Self) {
        let Self {
            standings,
            victims,
            in_force,
            costs,
            short_since,
            gone,
            unavailable,
            root,
            outside,
            pods,
        } = other;
        self.standings.copy_from(standings);
        self.victims.copy_from(victims);
        self.in_force.copy_from(in_force);
        self.costs.copy_from(costs);
        self.pods.clone_from(pods);
        self.short_since = *short_since;
        (self.gone, self.unavailable) = (*gone, *unavailable);
        (self.root, self.outside) = (*root, *outside);
    }

    /// Takes in the figures of a moment.
    pub fn observe(&mut self, roster: &[PodFacts], snapshot: &Snapshot, now: BootTime) {
        let node = &snapshot.node;
        let unavailable = node.capacity.saturating_sub(node.available);
        let in_swap = node.swap.saturating_sub(node.swap_free);
        self.gone.push(now, unavailable.saturating_add(in_swap).0);
        self.unavailable.push(now, unavailable.0);
        self.root.push(now, root_charge(node).0);
        self.outside.push(now, outside(node).0);
        self.costs.observe(node, now);
        self.follow(roster);
        for (memory, figures) in self.pods.iter_mut().zip(&snapshot.pods) {
            if let Some(charge) = &figures.charge {
                memory.trend.push(now, charge.total().0);
            }
            let events = figures.high_events.saturating_add(figures.max_events);
            if memory.events.is_some_and(|before| events > before) {
                memory.limited = Some(now);
            }
            memory.events = Some(events);
        }
        let there = |cgroup| roster.iter().any(|pod| pod.cgroup == cgroup);
        self.in_force.settle(now, there);
    }

    /// Forgets what was remembered of the figures of other pods than these; they keep their order.
    pub fn keep(&mut self, kept: impl Fn(CgroupId) -> bool) {
        self.pods.retain(|memory| kept(memory.cgroup));
    }

    /// The pods that something is under way with.
    pub fn in_use(&self) -> impl Iterator<Item = CgroupId> + '_ {
        let victims = self.victims.under_way().iter().map(|victim| victim.cgroup);
        let throttled = self.in_force.throttled.iter().map(|throttle| throttle.cgroup);
        let reclaimed = self.in_force.reclaim.iter().map(|reclaim| reclaim.cgroup);
        victims.chain(throttled).chain(reclaimed)
    }

    /// Puts what is known of pods into the order of the roster.
    fn follow(&mut self, roster: &[PodFacts]) {
        let same = self.pods.len() == roster.len()
            && (self.pods.iter().zip(roster)).all(|(memory, pod)| memory.cgroup == pod.cgroup);
        if same {
            return;
        }
        self.reserve(roster.len());
        for (place, pod) in roster.iter().enumerate() {
            let known = (place..self.pods.len()).find(|at| self.pods[*at].cgroup == pod.cgroup);
            match known {
                Some(at) => self.pods.swap(place, at),
                None => {
                    let memory = PodMemory {
                        cgroup: pod.cgroup,
                        trend: Trend::default(),
                        events: None,
                        limited: None,
                    };
                    self.pods.push(memory);
                    let last = self.pods.len() - 1;
                    self.pods.swap(place, last);
                }
            }
        }
        self.pods.truncate(roster.len());
    }

    /// How fast a pod's charge grows.
    #[must_use]
    pub fn growth(&self, cgroup: CgroupId) -> Growth {
        let memory = self.pods.iter().find(|memory| memory.cgroup == cgroup);
        memory.map(|memory| memory.trend.growth()).unwrap_or_default()
    }

    /// The same, by the pod's place in the roster.
    #[must_use]
    pub fn growth_at(&self, pod: usize) -> Growth {
        let memory = self.pods.get(pod);
        memory.map(|memory| memory.trend.growth()).unwrap_or_default()
    }

    /// When a pod was last stopped by its own `memory.high` or `memory.max`.
    #[must_use]
    pub fn limited_at(&self, pod: usize) -> Option<BootTime> {
        self.pods.get(pod).and_then(|memory| memory.limited)
    }

    /// How fast all pods of a class grow together; as sure as the growths it is made of, by their size.
    #[must_use]
    pub fn level_growth(&self, roster: &[PodFacts], class: QosClass) -> Growth {
        let (mut sum, mut sure, mut size) = (0.0, 0.0, 0.0);
        for (memory, pod) in self.pods.iter().zip(roster) {
            if pod.class == class {
                let growth = memory.trend.growth();
                sum += growth.bytes_per_second;
                sure += growth.confidence * growth.bytes_per_second.abs();
                size += growth.bytes_per_second.abs();
            }
        }
        Growth {
            bytes_per_second: sum,
            confidence: if size > 0.0 { sure / size } else { 0.0 },
        }
    }

    /// How fast the machine's memory goes, swap included.
    #[must_use]
    pub fn node_growth(&self) -> Growth {
        self.gone.growth()
    }

    /// How fast `MemAvailable` falls.
    #[must_use]
    pub fn available_fall(&self) -> Growth {
        self.unavailable.growth()
    }

    /// Until `MemAvailable` would be gone if it went on as between the last two looks; none when it did not fall.
    #[must_use]
    pub fn gone_at_newest(&self, node: &NodeFigures) -> Option<Duration> {
        let newest = Growth {
            bytes_per_second: self.unavailable.newest(),
            confidence: 1.0,
        };
        newest.fills(node.available.0)
    }

    /// How fast the charge of the pods' root grows.
    #[must_use]
    pub fn root_growth(&self) -> Growth {
        self.root.growth()
    }

    /// How fast that grows which is outside the pods.
    #[must_use]
    pub fn outside_growth(&self) -> Growth {
        self.outside.growth()
    }

    /// Until the machine's memory is gone, swap included.
    #[must_use]
    pub fn node_exhausted_in(&self, node: &NodeFigures) -> Option<Duration> {
        let room = node.available.saturating_add(node.swap_free);
        self.node_growth().fills(room.0)
    }

    /// Until the pods' root is at its `memory.max`.
    #[must_use]
    pub fn root_exhausted_in(&self, node: &NodeFigures) -> Option<Duration> {
        let room = node.root_max.at()?.saturating_sub(root_charge(node));
        self.root_growth().fills(room.0)
    }

    /// Until a class's pods would have used up what the machine has left.
    #[must_use]
    pub fn level_exhausted_in(
        &self,
        roster: &[PodFacts],
        class: QosClass,
        node: &NodeFigures,
    ) -> Option<Duration> {
        let room = node.available.saturating_add(node.swap_free);
        self.level_growth(roster, class).fills(room.0)
    }

    /// Until a pod is at its own `memory.max`.
    #[must_use]
    pub fn pod_exhausted_in(&self, pod: usize, facts: &PodFacts, figures: &PodFigures) -> Option<Duration> {
        let used = figures.current.saturating_sub(figures.reclaimable);
        let room = facts.max.at()?.saturating_sub(used);
        self.growth_at(pod).fills(room.0)
    }
}
