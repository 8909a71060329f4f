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

/// Kills `victim`, which has to be `wanted`. `evidence` is called before the signal.
pub fn kill<K: Killing>(
    killer: &mut K,
    victim: &K::Victim,
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
    KillOutcome::Signalled {
        at,
        how,
        lifted: killer.lift_cpu(victim),
        release: killer.release(victim),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::clock::FakeClock;
    use crate::kernel::pressure::{FakeKiller, KillStep};
    use crate::model::Bytes;

    #[test]
    fn evidence_comes_first_and_the_signal_before_all_that_may_take_time() {
        let mut killer = FakeKiller::default();
        let victim = killer.add(3, Bytes::mib(1), Bytes::mib(2));
        killer.limit_cpu(victim, 2);
        let mut written = 0;
        let outcome = kill(&mut killer, &victim, victim.0, &FakeClock::default(), || {
            written += 1;
        });
        let expected = KillOutcome::Signalled {
            at: BootTime::default(),
            how: Signalled::AtOnce,
            lifted: Ok(2),
            release: Ok(()),
        };
        assert_eq!((outcome, written), (expected, 1));
        let steps: Vec<_> = killer.steps.iter().map(|(step, _)| *step).collect();
        assert_eq!(steps, [KillStep::Signal, KillStep::LiftCpu, KillStep::Release]);
        assert!(killer.is_released(victim));
        killer.settle();
        assert_eq!(killer.current(&victim), Ok(Some(Bytes::mib(2))));
    }

    #[test]
    fn who_is_another_or_gone_is_not_killed_and_leaves_no_evidence() {
        let mut killer = FakeKiller::default();
        let (victim, other) = (
            killer.add(1, Bytes(1), Bytes(0)),
            killer.add(1, Bytes(1), Bytes(0)),
        );
        let clock = FakeClock::default();
        let never = || panic!("there is nothing to prove");
        let outcome = kill(&mut killer, &other, victim.0, &clock, never);
        assert_eq!(outcome, KillOutcome::Another(other.0));
        killer.remove(victim);
        assert_eq!(
            kill(&mut killer, &victim, victim.0, &clock, never),
            KillOutcome::Gone
        );
        assert!(killer.steps.is_empty());
        assert_eq!(killer.populated(&other), Ok(true));
    }

    #[test]
    fn an_old_kernel_is_asked_for_each_process() {
        let mut killer = FakeKiller::old();
        let victim = killer.add(3, Bytes(1), Bytes(0));
        let outcome = kill(&mut killer, &victim, victim.0, &FakeClock::default(), || ());
        assert!(matches!(
            outcome,
            KillOutcome::Signalled {
                how: Signalled::OneByOne(3),
                ..
            }
        ));
    }
}
