//! Killing one victim.
//!
//! **Problem.** Between the decision and the signal the victim may have gone, and under its name another may have come; and
//! the agent may die at any step. **How.** Evidence first; then the cgroup is looked at once more through its own
//! directory; then the signal; then its CPU limits go, so that it can die; then its memory is released by others. What fails
//! after the signal is told, and undoes nothing: the victim dies anyway, only later.
//!
//! # Properties
//! - No signal without evidence, and none to another cgroup than the decision names.
//! - Up to the signal nothing is allocated.

#[cfg(test)]
mod tests;

use crate::kernel::clock::Clock;
use crate::kernel::pressure::{KillError, Killing, Signalled};
use crate::model::{BootTime, CgroupId};

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillOutcome {
    /// It was killed; it is dead once its cgroup has no process.
    Signalled {
        /// When the signal was sent.
        at: BootTime,
        /// How.
        how: Signalled,
        /// CPU limits that were lifted, or why not all were.
        lifted: Result<u32, KillError>,
        /// Whether its memory is being released, or why not.
        release: Result<(), KillError>,
    },
    /// It was gone before.
    Gone,
    /// What stands there now is another cgroup.
    Another(CgroupId),
    /// The kernel refused the signal.
    Refused(KillError),
}

/// Kills `victim`, which has to be `wanted`. `evidence` is called before the signal. `above` is the cgroup above it whose
/// CPU the agent itself may have limited.
pub fn kill<K: Killing>(
    killer: &mut K,
    victim: &K::Victim,
    above: Option<&K::Victim>,
    wanted: CgroupId,
    clock: &impl Clock,
    evidence: impl FnOnce(),
) -> KillOutcome {
    match killer.identity(victim) {
        Ok(found) if found == wanted => {}
        Ok(found) => return KillOutcome::Another(found),
        Err(error) if error.is_gone() => return KillOutcome::Gone,
        Err(error) => return KillOutcome::Refused(error),
    }
    evidence();
    let how = match killer.signal(victim) {
        Ok(how) => how,
        Err(error) if error.is_gone() => return KillOutcome::Gone,
        Err(error) => return KillOutcome::Refused(error),
    };
    let at = clock.now();
    // Both are tried, whatever becomes of the other.
    let (level, own) = (
        above.map_or(Ok(false), |above| killer.lift_cpu_above(above)),
        killer.lift_cpu(victim),
    );
    KillOutcome::Signalled {
        at,
        how,
        lifted: level.and_then(|level| own.map(|own| own + u32::from(level))),
        release: killer.release(victim),
    }
}
