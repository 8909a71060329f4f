//! The look right before an act: does what was decided still hold?

use super::shortage::{Level, worst};
use super::signals::is_memory;
use super::victim::View;
use super::{Scratch, Stale};
use crate::decide::eviction::EvictionPolicy;
use crate::model::pressure::{Act, Decision, PodFacts, Rung, Snapshot};
use crate::model::{BootTime, CgroupId};
use crate::state::pressure::PressureState;

/// Whether a decision still holds by figures read right before the act; `victim` is the cgroup of the pod that it was made
/// about. What puts something back always holds.
///
/// # Errors
/// What has changed.
#[expect(
    clippy::too_many_arguments,
    reason = "all that a decision rests on, and the decision"
)]
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
    let Decision::Act { need, act } = decision else {
        return Ok(());
    };
    let view = View {
        roster,
        snapshot: fresh,
        policy,
        state,
        now,
    };
    if let Some(pod) = act.pod() {
        let facts = roster.get(pod);
        if facts.map(|facts| facts.cgroup) != victim {
            return Err(Stale::Recreated);
        }
        let figures = fresh.pods.get(pod);
        if figures.is_none_or(|figures| !figures.populated) && is_taking(*act) {
            return Err(Stale::Gone);
        }
    }
    if matches!(act, Act::Unthrottle { .. } | Act::ReleaseCpu) {
        return Ok(());
    }
    // One that was asked to end and did not is killed whether or not anything is short by now.
    let before = victim.and_then(|cgroup| state.victims.find(cgroup));
    if before.is_some_and(|before| before.is_overdue(now)) {
        return Ok(());
    }
    let shortage = worst(fresh, policy, state, now).ok_or(Stale::NotShort)?;
    if !is_taking(*act) {
        return Ok(());
    }
    if shortage.level == Level::Mild || is_memory(shortage.need.signal) != is_memory(need.signal) {
        return Err(Stale::NotShort);
    }
    if before.is_some() {
        return Ok(());
    }
    let best = view.victim(&shortage, scratch).map_err(|_| Stale::NotOnTop)?;
    let ours = scratch.order.iter().find(|ranked| Some(ranked.pod) == act.pod());
    // Of two that are about the same either may go; to change one's mind each time would take neither.
    let close =
        ours.is_some_and(|ours| ours.barred.is_none() && ours.excess.0 > best.excess.0 - best.excess.0 / 8);
    if Some(best.pod) == act.pod() || close {
        Ok(())
    } else {
        Err(Stale::NotOnTop)
    }
}

fn is_taking(act: Act) -> bool {
    matches!(act.rung(), Rung::Evict | Rung::Kill)
}
