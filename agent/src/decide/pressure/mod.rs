//! What to do about a shortage: the mildest thing that works, in time.
//!
//! **Problem.** Memory runs out, and whoever acts on every sign of it kills for nothing, and whoever waits for certainty is
//! too late. **Terms.** See [`crate::model::pressure`]. A *victim* is a pod that is evicted or killed; it *settles* until its
//! memory is back.
//!
//! **How.** [`decide`] looks for the worst [shortage] and what it costs, and takes the lowest rung of the ladder that can
//! help in the time that is left: reclaim, throttle, less CPU for BestEffort, evict, kill. It gives one act at a time; the
//! caller has [`still_holds`] check it against fresh figures, notes it with [`begin`], and does it.
//!
//! | what is short | with a cost | time left | rungs |
//! |---|---|---|---|
//! | soft threshold within its grace, or a hard one without a cost or only brushed | – | – | reclaim, throttle, CPU |
//! | soft threshold for its grace | – | – | then evict, with grace |
//! | hard threshold, or the pods' root at its `memory.high` | yes | enough | the same, grace cut to the time |
//! | the same, or memory gone before a victim's is back | yes | none | kill; evict with its volumes what is mostly tmpfs |
//!
//! # Properties
//! - When nothing is short nothing is done, but what is in force is put back.
//! - Stall alone never takes a pod. Without a cost no pod is killed.
//! - While a killed pod settles no other is taken; one that was asked to end is killed when time runs out.
//! - A soft threshold's victim, with its grace, never delays what a hard one asks for.
//! - A cgroup that was taken is never taken again; a shielded pod is never in an act.
//! - `dry_run` is not looked at.
//! - Warmed up, nothing is allocated.

mod begin;
mod ladder;
mod outlook;
mod recheck;
mod shortage;
mod signals;
mod victim;

#[cfg(test)]
mod props;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use begin::{begin, leaving};
pub use outlook::{Outlook, outlook};
pub use recheck::still_holds;

use crate::decide::eviction::EvictionPolicy;
use crate::model::pressure::{Act, Decision, Domain, Need, PodFacts, Ranked, Signal, Snapshot};
use crate::model::{BootTime, Bytes, Limit};
use crate::state::pressure::{PressureState, Taking, Victim};
use shortage::{Level, Shortage, time_needed, worst};
use signals::is_memory;
use victim::View;

/// Less grace than this is none.
const LEAST_GRACE: Duration = Duration::from_secs(1);
/// A pod was stopped by its own limit within this time.
const LIMITED: Duration = Duration::from_secs(1);

/// Room for the order of victims, used again and again.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    /// Pods, the best victim first, as of the last decision that had to choose.
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
    #[error("the pod has ended")]
    Gone,
    /// The shortage is over.
    #[error("the shortage is over")]
    NotShort,
    /// Another pod is the better victim by now.
    #[error("another pod is on top of the order")]
    NotOnTop,
}

/// What to do now, by figures that [`PressureState::observe`] has taken in.
pub fn decide(
    roster: &[PodFacts],
    snapshot: &Snapshot,
    policy: &EvictionPolicy,
    state: &mut PressureState,
    scratch: &mut Scratch,
    now: BootTime,
) -> Decision {
    signals::note(policy, &snapshot.node, state, now);
    let shortage = worst(snapshot, policy, state, now);
    let (fine, kills) = (shortage.is_none(), policy.rungs.kill.on);
    state.victims.settle(roster, snapshot, kills, |_| fine, now);
    state.short_since = shortage.map(|_| state.short_since.unwrap_or(now));
    let view = View {
        roster,
        snapshot,
        policy,
        state,
        now,
    };
    if let Some(shortage) = shortage
        && shortage.level >= Level::Soft
        && let Some(decision) = view.take(&shortage, scratch)
    {
        return decision;
    }
    if let Some(decision) = view.overdue(shortage.as_ref()) {
        return decision;
    }
    let need = shortage.map(|shortage| shortage.need);
    if let Some(act) = view.release(need.is_some()) {
        let need = need.unwrap_or_else(|| view.no_need());
        return Decision::Act { need, act };
    }
    let Some(shortage) = shortage else {
        return view
            .limited()
            .map_or(Decision::Fine, |need| Decision::Wait { need });
    };
    let need = shortage.need;
    match view.milder(&shortage, scratch) {
        Some(act) => Decision::Act { need, act },
        None => Decision::Wait { need },
    }
}

impl View<'_> {
    /// Evicts or kills, or says why not; none when the milder rungs have their turn.
    fn take(&self, shortage: &Shortage, scratch: &mut Scratch) -> Option<Decision> {
        let need = shortage.need;
        let wait = Some(Decision::Wait { need });
        let (rungs, urgent) = (&self.policy.rungs, shortage.level == Level::Urgent);
        let under_way = self.state.victims.under_way();
        if under_way
            .iter()
            .any(|victim| victim.taking == Taking::Killed || victim.dry)
        {
            return wait;
        }
        // How much of a disk or of the process ids comes back is only known when it is back.
        if !is_memory(need.signal) && !under_way.is_empty() {
            return self.overdue(Some(shortage)).or(wait);
        }
        if let Some(ending) = self.worth_waiting_for(need.deficit) {
            let left = ending.deadline.since(self.now);
            let in_time = need.exhausted_in.is_none_or(|gone| gone > left) && !is_standing_still(shortage);
            if !urgent || in_time || !rungs.kill.on {
                return self.overdue(Some(shortage)).or(wait);
            }
            if let Some(pod) = self.place(ending) {
                let act = Act::Kill { pod };
                return Some(Decision::Act { need, act });
            }
        }
        if !urgent {
            if let Some(act) = self.milder(shortage, scratch) {
                return Some(Decision::Act { need, act });
            }
            if self.is_waiting() && is_memory(need.signal) {
                return None;
            }
        }
        let may_kill = rungs.kill.on && shortage.level > Level::Soft;
        if !rungs.evict.on && !may_kill {
            return None;
        }
        let ranked = match self.victim(shortage, scratch) {
            Ok(ranked) => ranked,
            Err(why) => return Some(Decision::Nobody { need, why }),
        };
        let act = self.way(shortage, &ranked)?;
        Some(Decision::Act { need, act })
    }

    /// Evict or kill.
    fn way(&self, shortage: &Shortage, ranked: &Ranked) -> Option<Act> {
        let pod = ranked.pod;
        let (rungs, facts) = (&self.policy.rungs, self.roster.get(pod)?);
        let charge = self
            .snapshot
            .pods
            .get(pod)
            .and_then(|pod| pod.charge)
            .unwrap_or_default();
        let volumes = is_memory(shortage.need.signal) && charge.shmem.0 > charge.total().0 / 2;
        let grace = match shortage.level {
            Level::Soft => self.policy.max_pod_grace.unwrap_or(facts.grace),
            Level::Hard => {
                let left = shortage.need.exhausted_in.unwrap_or(rungs.evict.deadline) / 2;
                let left = left.saturating_sub(time_needed(ranked.freeable));
                left.min(facts.grace).min(rungs.evict.deadline)
            }
            Level::Urgent if is_memory(shortage.need.signal) || !rungs.evict.on => Duration::ZERO,
            // Nothing on a disk comes back sooner for a kill.
            Level::Urgent => match shortage.need.signal {
                Some(Signal::PidAvailable) => Duration::ZERO,
                _ => facts.grace.min(rungs.evict.deadline),
            },
            Level::Mild => return None,
        };
        let evict = Act::Evict { pod, grace };
        let hasty = shortage.level > Level::Soft && grace < LEAST_GRACE && !volumes;
        match (rungs.evict.on, rungs.kill.on) {
            (true, true) => Some(if hasty { Act::Kill { pod } } else { evict }),
            (true, false) => Some(evict),
            // What only its volumes' end can free is not helped by a kill.
            (false, true) => (shortage.level > Level::Soft && !volumes).then_some(Act::Kill { pod }),
            (false, false) => None,
        }
    }

    /// The pod that is on its way out and has most to give back, if that is worth anything.
    fn worth_waiting_for(&self, deficit: Bytes) -> Option<&Victim> {
        let left = |victim: &Victim| victim.predicted.saturating_sub(victim.freed);
        let least = self.policy.least.min(deficit.max(Bytes(1)));
        let ending = self.state.victims.under_way().iter();
        let ending = ending.filter(|victim| left(victim) >= least && self.place(victim).is_some());
        ending.max_by_key(|victim| (left(victim), victim.cgroup))
    }

    fn place(&self, victim: &Victim) -> Option<usize> {
        let place = self.roster.iter().position(|pod| pod.cgroup == victim.cgroup)?;
        let shielded = victim.taking == Taking::Leaving && self.roster[place].shield.is_some();
        (!shielded && !victim.dry).then_some(place)
    }

    /// One that was asked to end and did not in its time.
    fn overdue(&self, shortage: Option<&Shortage>) -> Option<Decision> {
        if !self.policy.rungs.kill.on {
            return None;
        }
        let mut under_way = self.state.victims.under_way().iter();
        let late =
            under_way.find(|victim| victim.taking == Taking::Evicted && victim.is_overdue(self.now))?;
        let pod = self.place(late)?;
        let need = shortage.map_or_else(|| self.no_need(), |shortage| shortage.need);
        Some(Decision::Act {
            need,
            act: Act::Kill { pod },
        })
    }

    /// A pod at its own limit, where the machine is fine: its `memory.max` decides.
    fn limited(&self) -> Option<Need> {
        let pods = self.roster.iter().zip(&self.snapshot.pods).enumerate();
        let mut limited = pods.filter_map(|(pod, (facts, figures))| {
            let at = self.state.limited_at(pod)?;
            let limit = match (facts.high, facts.max) {
                (Limit::At(high), _) => high,
                (Limit::Max, max) => max.at()?,
            };
            let stands = self.now.since(at) < LIMITED && figures.current.0 >= limit.0 - limit.0 / 32;
            stands.then(|| Need {
                domain: Domain::Pod(pod),
                signal: None,
                observed: figures.current.0,
                threshold: limit.0,
                deficit: Bytes(0),
                exhausted_in: self.state.pod_exhausted_in(pod, facts, figures),
                stalled: figures.stalled,
            })
        });
        limited.next()
    }

    /// Nothing is short: why something is put back.
    fn no_need(&self) -> Need {
        Need {
            domain: Domain::Node,
            signal: None,
            observed: self.snapshot.node.available.0,
            threshold: 0,
            deficit: Bytes(0),
            exhausted_in: self.state.node_exhausted_in(&self.snapshot.node),
            stalled: Duration::ZERO,
        }
    }
}

/// Urgent for another reason than that memory runs out: tasks wait and wait.
fn is_standing_still(shortage: &Shortage) -> bool {
    shortage.level == Level::Urgent && !shortage.running_out
}
