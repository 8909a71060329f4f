//! The milder rungs: reclaim, throttle, less CPU for BestEffort.
//!
//! **Rules.** A rung is entered when it is on, when it can help, and when it was not tried on the same pod just now; it ends
//! at its deadline or when nothing is short, whichever comes first. None of them is a state to rest in.
//!
//! # Properties
//! - Nothing stays in force for longer than its deadline and one look.
//! - A pod is reclaimed from, and throttled, at most once in a rest; so whoever flaps around a threshold does not make the
//!   ladder flap.

use std::time::Duration;

use super::Scratch;
use super::shortage::{Level, Shortage};
use super::signals::is_memory;
use super::victim::View;
use crate::decide::rank::Profile;
use crate::model::pressure::{Act, Domain, Rung, Signal};
use crate::model::{Bytes, QosClass};
use crate::state::pressure::CONFIDENT;

/// Less than this is not worth a reclaim.
const WORTH: Bytes = Bytes::mib(16);
/// With less time than this they only lose it.
const TIME: Duration = Duration::from_secs(3);
/// Pods from which is reclaimed in one shortage, at most.
const RECLAIMS: usize = 4;
/// To put memory into swap takes seconds.
const SWAPPING: Duration = Duration::from_secs(5);
/// Growth from which on a pod is worth throttling, in bytes a second.
const GROWS: f64 = 1_048_576.0;
/// CPU time of BestEffort pods from which on taking it away may help, in thousandths of a CPU.
const BUSY: u64 = 500;
/// So much of it they keep: a quarter, and never less than a tenth of a CPU.
const KEPT: u64 = 100;

impl View<'_> {
    /// What has to be put back: its deadline is over, or nothing is short.
    pub(super) fn release(&self, short: bool) -> Option<Act> {
        let in_force = &self.state.in_force;
        let over = in_force
            .throttled
            .iter()
            .find(|throttle| !short || self.now >= throttle.until);
        if let Some(throttle) = over
            && let Some(pod) = self.roster.iter().position(|pod| pod.cgroup == throttle.cgroup)
        {
            return Some(Act::Unthrottle { pod });
        }
        let cpu = in_force.cpu.filter(|cpu| !short || self.now >= cpu.until);
        cpu.map(|_| Act::ReleaseCpu)
    }

    /// The next of the milder rungs, if one can help.
    pub(super) fn milder(&self, shortage: &Shortage, scratch: &mut Scratch) -> Option<Act> {
        if !is_memory(shortage.need.signal) || shortage.level == Level::Urgent {
            return None;
        }
        if shortage.need.exhausted_in.is_some_and(|left| left < TIME) {
            return None;
        }
        self.reclaim(shortage)
            .or_else(|| self.throttle(shortage, scratch))
            .or_else(|| self.suppress())
    }

    /// Whether a milder rung is in force whose effect has to be waited for.
    pub(super) fn is_waiting(&self) -> bool {
        let in_force = &self.state.in_force;
        in_force.reclaim.is_some() || !in_force.throttled.is_empty()
    }

    /// Cache first, the largest first; and what pods over their request have that could be in swap.
    fn reclaim(&self, shortage: &Shortage) -> Option<Act> {
        let in_force = &self.state.in_force;
        if !self.policy.rungs.reclaim.on || in_force.reclaim.is_some() {
            return None;
        }
        let need = &shortage.need;
        let tried = in_force.tried(Rung::Reclaim, self.state.short_since.unwrap_or(self.now));
        if tried >= RECLAIMS {
            return None;
        }
        // MemAvailable has the cache in it already: to drop it would cost its owner and gain nothing.
        let counted = need.domain == Domain::Node
            && need.signal != Some(Signal::PressureMemoryFull)
            && self.policy.profile == Profile::Plimsoll;
        let time = need.exhausted_in.is_none_or(|left| left >= SWAPPING);
        let swap = Bytes(if time {
            self.snapshot.node.swap_free.0 / 2
        } else {
            0
        });
        let figures = self.roster.iter().zip(&self.snapshot.pods).enumerate();
        let worth = figures.filter_map(|(pod, (facts, figures))| {
            let charge = figures.charge.map(|charge| charge.total()).unwrap_or_default();
            let excess = charge.saturating_sub(facts.request).min(swap);
            let cache = if counted { Bytes(0) } else { figures.reclaimable };
            let gain = cache.saturating_add(excess);
            let may = in_force.may(facts.cgroup, Rung::Reclaim, self.now);
            let worth = gain >= WORTH && figures.populated && may;
            worth.then_some((pod, gain, facts.cgroup))
        });
        let (pod, gain, _) = worth.max_by_key(|(_, gain, cgroup)| (*gain, *cgroup))?;
        let bytes = gain.min(shortage.need.deficit.max(WORTH));
        Some(Act::Reclaim { pod, bytes })
    }

    /// The pod that would go next, or one that grows faster: it stands still while the rest is decided.
    fn throttle(&self, shortage: &Shortage, scratch: &mut Scratch) -> Option<Act> {
        if !self.policy.rungs.throttle.on || !self.policy.rungs.evict.on && !self.policy.rungs.kill.on {
            return None;
        }
        let in_force = &self.state.in_force;
        // One at a time, and once in a shortage: each would put off by its deadline what has to come.
        if in_force.tried(Rung::Throttle, self.state.short_since.unwrap_or(self.now)) > 0 {
            return None;
        }
        self.order(&shortage.need, scratch);
        let grows = scratch.order.iter().filter(|ranked| {
            ranked.barred.is_none()
                && ranked.excess > Bytes(0)
                && ranked.growth >= GROWS
                && ranked.confidence >= CONFIDENT
        });
        let fastest = grows.max_by(|a, b| a.growth.total_cmp(&b.growth))?;
        let (facts, figures) = (
            self.roster.get(fastest.pod)?,
            self.snapshot.pods.get(fastest.pod)?,
        );
        let may =
            in_force.may(facts.cgroup, Rung::Throttle, self.now) && in_force.throttle(facts.cgroup).is_none();
        // Below its own tripwire there is nothing to add to it.
        let tighter = facts.high.at().is_none_or(|high| figures.current < high);
        (may && tighter).then_some(Act::Throttle {
            pod: fastest.pod,
            high: figures.current,
        })
    }

    /// CPU feeds the pressure where BestEffort pods are busy and most of what grows is theirs.
    fn suppress(&self) -> Option<Act> {
        if !self.policy.rungs.suppress_cpu.on || !self.state.in_force.may_suppress(self.now) {
            return None;
        }
        let pods = self.roster.iter().zip(&self.snapshot.pods);
        let best_effort = pods.filter(|(facts, _)| facts.class == QosClass::BestEffort);
        let busy: u64 = best_effort.map(|(_, figures)| figures.cpu_milli).sum();
        let theirs = self.state.level_growth(self.roster, QosClass::BestEffort);
        let all = self.state.node_growth();
        let feeds = theirs.is_confident()
            && all.bytes_per_second > 0.0
            && theirs.bytes_per_second > all.bytes_per_second / 2.0;
        (busy >= BUSY && feeds).then_some(Act::SuppressCpu {
            milli: (busy / 4).max(KEPT),
        })
    }
}
