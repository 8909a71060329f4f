//! What is short, what it costs, and how urgent that is.
//!
//! **Rules.** A *shortage* is a crossed threshold, the pods' root at its `memory.high`, or memory that will be gone before a
//! victim's would be back. It is *paid for* by a cost: stall that moved, allocations that reclaimed, or memory that runs
//! out. Stall alone is no shortage, and page scanning neither: a pod that only allocates, on a machine without swap, scans
//! nothing. Disk and process ids cost nothing until they are gone, so there the threshold itself is enough.
//!
//! A shortage just below a threshold that leaves time is a *brush*: whoever flaps around a floor is not killed for it. It
//! becomes serious a quarter of the way down, or when memory came down to it from well above within seconds, or when time
//! runs out, or when tasks stand still.

use std::time::Duration;

use super::signals::{crossing, deficit, is_memory, nanos, read, soonest};
use crate::decide::eviction::EvictionPolicy;
use crate::model::pressure::{Domain, Need, NodeFigures, Signal, Snapshot};
use crate::model::{BootTime, Bytes};
use crate::state::pressure::{PressureState, root_charge, time_to_free};

/// Over how much time costs are looked at.
const RECENT: Duration = Duration::from_secs(1);
/// Stall in that time from which on it is a cost.
const STALLED: Duration = Duration::from_millis(10);
/// Stall in that time from which on waiting is worse than acting: a tenth.
const STANDSTILL: Duration = Duration::from_millis(100);
/// Memory that will not be gone within this does not run out.
const FORESEEABLE: Duration = Duration::from_secs(600);
/// With less time than this nothing is waited for, however small the victim.
const URGENT: Duration = Duration::from_millis(400);
/// However large a victim is, its first pages are free long before its last.
const LONGEST_NEED: Duration = Duration::from_secs(1);

/// How far one may go against a shortage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// A soft threshold is crossed, its grace is not over; or it costs nothing yet, or is a brush: the milder rungs.
    Mild,
    /// A soft threshold was crossed for its grace: eviction.
    Soft,
    /// Hard, with a cost, and time left: eviction.
    Hard,
    /// Hard, with a cost, and no time: kill.
    Urgent,
}

/// A shortage.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shortage {
    pub(super) need: Need,
    pub(super) level: Level,
    /// Whether what is short is gone soon, by how fast it goes.
    pub(super) running_out: bool,
}

/// What a victim has to be given until its memory is back: waking, deciding, killing, freeing, and that again.
pub(super) fn time_needed(victim: Bytes) -> Duration {
    (2 * time_to_free(victim)).min(LONGEST_NEED)
}

/// The worst shortage there is.
pub(super) fn worst(
    snapshot: &Snapshot,
    policy: &EvictionPolicy,
    state: &PressureState,
    now: BootTime,
) -> Option<Shortage> {
    let node = &snapshot.node;
    let largest = snapshot
        .pods
        .iter()
        .filter_map(|pod| pod.charge)
        .map(|charge| charge.total());
    let look = Look {
        node,
        policy,
        state,
        now,
        needed: time_needed(largest.max().unwrap_or_default()),
    };
    let thresholds = (0..policy.thresholds.len()).filter_map(|place| look.threshold(place));
    let limits = [
        look.root_high(),
        look.running_out(Domain::Node),
        look.running_out(Domain::Pods),
    ];
    // The first of equals stays: memory comes first, in the order of the settings.
    let mut worst: Option<Shortage> = None;
    for shortage in limits.into_iter().flatten().chain(thresholds) {
        if worst.is_none_or(|worst| shortage.rank() > worst.rank()) {
            worst = Some(shortage);
        }
    }
    worst
}

impl Shortage {
    fn rank(&self) -> (Level, bool, bool) {
        (
            self.level,
            is_memory(self.need.signal),
            self.need.signal.is_some(),
        )
    }
}

/// How far below a threshold it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Just below, and not from far.
    Brush,
    /// Well below.
    Deep,
    /// It came from well above within seconds.
    Fell,
}

struct Look<'a> {
    node: &'a NodeFigures,
    policy: &'a EvictionPolicy,
    state: &'a PressureState,
    now: BootTime,
    needed: Duration,
}

impl Look<'_> {
    fn threshold(&self, place: usize) -> Option<Shortage> {
        let threshold = self.policy.thresholds.get(place)?;
        let signal = threshold.signal;
        let reading = read(signal, self.node, self.policy.profile, self.state)?;
        let crossing = crossing(threshold, reading);
        let standing = self.state.standings.get(place);
        let holds = standing.is_some_and(|standing| standing.is_met(self.now)) && !crossing.recovered;
        if !crossing.crossed && !holds || !self.is_node_wide(signal) {
            return None;
        }
        let domain = self.domain(signal);
        let need = Need {
            domain,
            signal: Some(signal),
            observed: crossing.observed,
            threshold: crossing.at,
            deficit: deficit(signal, &crossing, self.policy.least),
            exhausted_in: self.exhausted_in(domain),
            stalled: self.stalled(domain),
        };
        // Whoever flaps around a floor never was far above it.
        let fell = self
            .state
            .costs
            .peak_available()
            .saturating_sub(self.node.available);
        let depth = match signal {
            Signal::MemoryAvailable | Signal::AllocatableMemoryAvailable if fell.0 >= crossing.at => {
                Depth::Fell
            }
            Signal::MemoryAvailable | Signal::AllocatableMemoryAvailable
                if crossing.observed >= crossing.at - crossing.at / 4 =>
            {
                Depth::Brush
            }
            _ => Depth::Deep,
        };
        // Between the threshold and the margin it is on its way back: nobody has to go any more for that.
        let level = if !crossing.crossed && threshold.minimum_reclaim.is_none() {
            Level::Mild
        } else if threshold.is_hard() {
            self.hard(&need, depth)
        } else if holds {
            Level::Soft
        } else {
            Level::Mild
        };
        Some(self.shortage(need, level))
    }

    /// The pods' root stands at its `memory.high`, which is there to wake the agent.
    fn root_high(&self) -> Option<Shortage> {
        let high = self.node.root_high.at()?;
        if self.node.root_current < high {
            return None;
        }
        let charge = root_charge(self.node);
        let need = Need {
            domain: Domain::Pods,
            signal: None,
            observed: self.node.root_current.0,
            threshold: high.0,
            deficit: Bytes(self.node.root_current.0 - high.0 + high.0 / 16),
            exhausted_in: self.exhausted_in(Domain::Pods),
            stalled: self.stalled(Domain::Pods),
        };
        // Where it is cache that stands there, reclaim is all that is called for.
        let level = if charge.0 < high.0 - high.0 / 4 {
            Level::Mild
        } else {
            self.hard(&need, if charge >= high { Depth::Deep } else { Depth::Brush })
        };
        Some(self.shortage(need, level))
    }

    /// Memory that is gone before a victim's is back, whatever the thresholds say.
    fn running_out(&self, domain: Domain) -> Option<Shortage> {
        let left = self.exhausted_in(domain).filter(|left| *left <= self.needed)?;
        let (room, whole, growth) = match domain {
            Domain::Node => {
                let room = self.node.available.saturating_add(self.node.swap_free);
                (room, self.node.capacity, self.state.node_growth())
            }
            _ => {
                let max = self.node.root_max.at()?;
                (
                    max.saturating_sub(root_charge(self.node)),
                    max,
                    self.state.root_growth(),
                )
            }
        };
        // A steep rise where most of it is free is a start, not an end.
        if room.0 > whole.0 / 4 {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate above zero, held at the bounds"
        )]
        let deficit = (growth.bytes_per_second * self.needed.as_secs_f64()) as u64;
        let need = Need {
            domain,
            signal: Some(Signal::TimeToExhaustion),
            observed: nanos(left),
            threshold: nanos(self.needed),
            deficit: Bytes(deficit).max(self.policy.least),
            exhausted_in: Some(left),
            stalled: self.stalled(domain),
        };
        Some(self.shortage(need, Level::Urgent))
    }

    fn shortage(&self, need: Need, level: Level) -> Shortage {
        let running_out = need
            .exhausted_in
            .is_some_and(|left| left <= self.needed.max(URGENT));
        Shortage {
            need,
            level,
            running_out,
        }
    }

    /// How far one may go where a hard threshold is crossed.
    fn hard(&self, need: &Need, depth: Depth) -> Level {
        if !is_memory(need.signal) {
            return Level::Urgent;
        }
        let (cost, _) = self.state.costs.within(RECENT);
        let (some, full) = match need.domain {
            Domain::Node => (cost.some, cost.full),
            _ => (cost.root_some, cost.root_full),
        };
        // Where the shortage is stall, stall is not its cost.
        let stall = need.signal != Some(Signal::PressureMemoryFull);
        let reclaiming = cost.direct_reclaims > 0 && need.domain == Domain::Node;
        let soon = |within| need.exhausted_in.is_some_and(|left| left <= within);
        let runs_out = match need.signal {
            Some(Signal::MemoryAvailable) => self
                .state
                .available_fall()
                .fills(self.node.available.0)
                .is_some_and(|left| left <= FORESEEABLE),
            _ => soon(FORESEEABLE),
        };
        // A steep fall that has just begun is not sure yet; where it came so far it is sure enough.
        let steep = depth == Depth::Fell
            && self
                .state
                .gone_at_newest(self.node)
                .is_some_and(|left| left <= URGENT.max(4 * self.needed));
        let paid = stall && (some >= STALLED || full >= STALLED / 2) || reclaiming || runs_out || steep;
        let urgent = steep || soon(URGENT.max(4 * self.needed)) || stall && full >= STANDSTILL;
        match (paid, urgent, depth != Depth::Brush) {
            (false, ..) | (true, false, false) => Level::Mild,
            (true, true, _) => Level::Urgent,
            (true, false, true) => Level::Hard,
        }
    }

    /// Whether the machine itself reclaims. Pods that reclaim within their own limits stall as well, and that is their
    /// affair.
    fn is_node_wide(&self, signal: Signal) -> bool {
        if signal != Signal::PressureMemoryFull {
            return true;
        }
        let (cost, _) = self.state.costs.within(RECENT);
        let scarce = self.node.available.0 < self.node.capacity.0 / 10;
        cost.direct_reclaims > 0 || cost.kswapd_wakes > 0 || scarce
    }

    fn domain(&self, signal: Signal) -> Domain {
        match signal {
            Signal::AllocatableMemoryAvailable => Domain::Pods,
            Signal::TimeToExhaustion => {
                let node = self.state.node_exhausted_in(self.node);
                let root = self.state.root_exhausted_in(self.node);
                if root.is_some() && soonest(node, root) == root && node != root {
                    Domain::Pods
                } else {
                    Domain::Node
                }
            }
            _ => Domain::Node,
        }
    }

    fn exhausted_in(&self, domain: Domain) -> Option<Duration> {
        match domain {
            Domain::Node => self.state.node_exhausted_in(self.node),
            Domain::Pods => self.state.root_exhausted_in(self.node),
            Domain::Pod(_) => None,
        }
    }

    fn stalled(&self, domain: Domain) -> Duration {
        let since = self.state.short_since.unwrap_or(self.now);
        let cost = self.state.costs.since(since);
        match domain {
            Domain::Node => cost.some,
            Domain::Pods | Domain::Pod(_) => cost.root_some,
        }
    }
}
