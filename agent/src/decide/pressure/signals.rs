//! What the signals say, and which thresholds are crossed.
//!
//! # Properties
//! - A signal that cannot be read is never crossed.
//! - Once crossed, a threshold counts until its signal is beyond it by the margin.

use std::time::Duration;

use crate::decide::eviction::{EvictionPolicy, Threshold};
use crate::decide::rank::Profile;
use crate::model::pressure::{FilesystemFigures, NodeFigures, Signal};
use crate::model::{BootTime, Bytes};
use crate::state::pressure::{PressureState, root_charge};

/// What a signal says, in its own unit, and the most that it can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) observed: u64,
    pub(super) capacity: u64,
}

/// Reads a signal; none where the machine does not have it.
pub(super) fn read(
    signal: Signal,
    node: &NodeFigures,
    profile: Profile,
    state: &PressureState,
) -> Option<Reading> {
    let space = |fs: FilesystemFigures| (fs.available.0, fs.capacity.0);
    let inodes = |fs: FilesystemFigures| (fs.inodes_free, fs.inodes);
    let (observed, capacity) = match signal {
        Signal::MemoryAvailable => {
            let available = match profile {
                Profile::Kubelet => node.capacity.saturating_sub(node.working_set),
                Profile::Plimsoll => node.available,
            };
            (available.0, node.capacity.0)
        }
        Signal::AllocatableMemoryAvailable => {
            let max = node.root_max.at()?;
            let used = match profile {
                Profile::Kubelet => node.root_current.saturating_sub(node.root_inactive_file),
                Profile::Plimsoll => root_charge(node),
            };
            (max.saturating_sub(used).0, max.0)
        }
        Signal::NodefsAvailable => space(node.nodefs?),
        Signal::NodefsInodesFree => inodes(node.nodefs?),
        Signal::ImagefsAvailable => space(node.imagefs?),
        Signal::ImagefsInodesFree => inodes(node.imagefs?),
        Signal::PidAvailable => (node.tasks_max.saturating_sub(node.tasks), node.tasks_max),
        Signal::PressureMemoryFull => (state.costs.full_millionths(), 1_000_000),
        Signal::TimeToExhaustion => {
            let left = soonest(state.node_exhausted_in(node), state.root_exhausted_in(node));
            (left.map_or(u64::MAX, nanos), u64::MAX)
        }
    };
    (capacity > 0).then_some(Reading { observed, capacity })
}

/// The earlier of two moments, either of which may never come.
pub(super) fn soonest(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A threshold beside what its signal says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crossing {
    pub(super) observed: u64,
    /// The threshold in the signal's unit.
    pub(super) at: u64,
    /// So far beyond it nothing is short any more.
    pub(super) margin: u64,
    pub(super) crossed: bool,
    pub(super) recovered: bool,
}

pub(super) fn crossing(threshold: &Threshold, reading: Reading) -> Crossing {
    let Reading { observed, capacity } = reading;
    let at = threshold.at.of(capacity);
    let minimum = threshold
        .minimum_reclaim
        .map_or(0, |minimum| minimum.of(capacity));
    // The lower one goes than the minimum reclaim asks for, the more often one comes back.
    let margin = minimum.max(at / 8);
    let rises = threshold.signal == Signal::PressureMemoryFull;
    let (crossed, recovered) = if rises {
        (observed > at, observed <= at / 2)
    } else {
        (observed < at, observed >= at.saturating_add(margin))
    };
    Crossing {
        observed,
        at,
        margin,
        crossed,
        recovered,
    }
}

/// Takes note of every threshold.
pub(super) fn note(policy: &EvictionPolicy, node: &NodeFigures, state: &mut PressureState, now: BootTime) {
    let known = policy
        .thresholds
        .iter()
        .map(|threshold| (threshold.signal, threshold.grace));
    state.standings.adopt(known);
    for (place, threshold) in policy.thresholds.iter().enumerate() {
        let reading = read(threshold.signal, node, policy.profile, state);
        let (crossed, recovered) = reading.map_or((false, true), |reading| {
            let crossing = crossing(threshold, reading);
            (crossing.crossed, crossing.recovered)
        });
        state.standings.note(place, crossed, recovered, now);
    }
}

/// Whether memory is what is short; a limit in the kernel, which has no signal, is one of memory.
pub(super) fn is_memory(signal: Option<Signal>) -> bool {
    signal.is_none_or(Signal::is_memory)
}

/// The memory that a crossed threshold wants to have back.
pub(super) fn deficit(signal: Signal, crossing: &Crossing, least: Bytes) -> Bytes {
    match signal {
        Signal::MemoryAvailable | Signal::AllocatableMemoryAvailable => Bytes(
            crossing
                .at
                .saturating_add(crossing.margin)
                .saturating_sub(crossing.observed),
        ),
        Signal::PressureMemoryFull | Signal::TimeToExhaustion => least,
        _ => Bytes(0),
    }
}
