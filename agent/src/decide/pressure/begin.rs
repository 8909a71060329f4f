//! What an act leaves in memory when it is done, so that the next decision knows of it.

use std::time::Duration;

use super::signals::is_memory;
use crate::decide::eviction::EvictionPolicy;
use crate::model::pressure::{Act, Domain, Need, PodFacts, PodFigures, Snapshot};
use crate::model::{BootTime, Bytes};
use crate::state::pressure::{PressureState, Reclaim, Suppression, Taking, Throttle, Victim, time_to_free};

/// How long volumes take to go once the last process has ended.
const CLEANUP: Duration = Duration::from_secs(2);
/// The same for what is on disk.
///
/// Source: kubelet, `podCleanupTimeout`.
const DISK_CLEANUP: Duration = Duration::from_secs(30);

/// Takes note of an act that is about to be done; `dry` when it is only thought of. To be called before the act, so that
/// whoever starts again in the middle of it finishes it.
#[expect(
    clippy::too_many_arguments,
    reason = "all that a decision rests on, and the decision"
)]
pub fn begin(
    need: &Need,
    act: &Act,
    roster: &[PodFacts],
    snapshot: &Snapshot,
    policy: &EvictionPolicy,
    state: &mut PressureState,
    dry: bool,
    now: BootTime,
) {
    let rung = policy.rungs.of(act.rung());
    let pod = act
        .pod()
        .and_then(|pod| Some((roster.get(pod)?, snapshot.pods.get(pod)?)));
    match (*act, pod) {
        (Act::Reclaim { bytes, .. }, Some((facts, figures))) => {
            let reclaim = Reclaim {
                cgroup: facts.cgroup,
                asked: bytes,
                before: figures.current,
                until: now.after(rung.deadline),
            };
            state.in_force.reclaiming(reclaim, now);
        }
        (Act::Throttle { high, .. }, Some((facts, _))) => {
            let throttle = Throttle {
                cgroup: facts.cgroup,
                high,
                until: now.after(rung.deadline),
            };
            state.in_force.throttled(throttle, now);
        }
        (Act::Unthrottle { .. }, Some((facts, _))) => state.in_force.unthrottled(facts.cgroup),
        (Act::SuppressCpu { milli }, _) => {
            state.in_force.suppressed(Suppression {
                milli,
                until: now.after(rung.deadline),
            });
        }
        (Act::ReleaseCpu, _) => state.in_force.cpu = None,
        (Act::Evict { grace, .. }, Some((facts, figures))) => {
            let mut victim = victim(need, facts, figures, Taking::Evicted, policy, dry, now);
            let cleanup = if is_memory(need.signal) {
                CLEANUP
            } else {
                DISK_CLEANUP
            };
            victim.deadline = victim.deadline.after(grace).after(cleanup);
            state.victims.begin(victim);
        }
        (Act::Kill { .. }, Some((facts, figures))) => {
            let victim = victim(need, facts, figures, Taking::Killed, policy, dry, now);
            state.victims.begin(victim);
        }
        (_, None) => {}
    }
}

fn victim(
    need: &Need,
    facts: &PodFacts,
    figures: &PodFigures,
    taking: Taking,
    policy: &EvictionPolicy,
    dry: bool,
    now: BootTime,
) -> Victim {
    let before = figures.charge.unwrap_or_default();
    let predicted = match (taking, figures.charge) {
        (_, None) => figures.current,
        // Files stay when processes end.
        (Taking::Killed, Some(charge)) => charge.total().saturating_sub(charge.shmem),
        (Taking::Evicted | Taking::Leaving, Some(charge)) => charge.total(),
    };
    let settle = policy.rungs.kill.deadline.max(3 * time_to_free(predicted));
    Victim {
        cgroup: facts.cgroup,
        taking,
        domain: need.domain,
        signal: need.signal,
        begun: now,
        deadline: now.after(settle),
        predicted,
        before,
        current: figures.current,
        freed: Bytes(0),
        populated: figures.populated,
        empty: None,
        half: None,
        dry,
    }
}

/// Takes note of a pod that somebody else ends, until `until` at the latest: it is waited for before another is taken.
pub fn leaving(
    facts: &PodFacts,
    figures: &PodFigures,
    policy: &EvictionPolicy,
    state: &mut PressureState,
    until: BootTime,
    now: BootTime,
) {
    if state.victims.find(facts.cgroup).is_some() {
        return;
    }
    let need = Need {
        domain: Domain::Node,
        signal: None,
        observed: 0,
        threshold: 0,
        deficit: Bytes(0),
        exhausted_in: None,
        stalled: Duration::ZERO,
    };
    let victim = victim(&need, facts, figures, Taking::Leaving, policy, false, now);
    state.victims.begin(Victim {
        deadline: until,
        ..victim
    });
}
