//! Whether the agent works: has the reconcile loop come round, and lately?
//!
//! Time is passed in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model::BootTime;

/// How many periods a pass may be late before the agent is not ready.
const LATE_PERIODS: u32 = 10;
/// After how long without a pass the agent counts as hung, for a supervisor to restart it.
const HUNG: Duration = Duration::from_secs(60);

/// Why the agent is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// The first pass is not done.
    #[error("not ready: the first reconcile pass is not done")]
    Starting,
    /// The last pass is long ago.
    #[error("not ready: the last reconcile pass ended {} s ago", ago.as_secs())]
    Stalled {
        /// How long.
        ago: Duration,
    },
}

/// When the last pass ended; shared between the loop and the server.
#[derive(Debug)]
pub struct Health {
    /// Milliseconds plus one; 0 while no pass is done.
    last_pass: AtomicU64,
    late: Duration,
}

impl Health {
    /// Health of a loop with this period, before its first pass.
    #[must_use]
    pub fn new(period: Duration) -> Self {
        Self {
            last_pass: AtomicU64::new(0),
            late: period.saturating_mul(LATE_PERIODS),
        }
    }

    /// A pass ended at `now`.
    pub fn pass_done(&self, now: BootTime) {
        let millis = u64::try_from(now.0.as_millis()).unwrap_or(u64::MAX - 1);
        self.last_pass.store(millis + 1, Ordering::Relaxed);
    }

    /// Whether pods are being looked after.
    ///
    /// # Errors
    /// [`NotReady`] with the reason.
    pub fn ready(&self, now: BootTime) -> Result<(), NotReady> {
        match self.since_pass(now) {
            None => Err(NotReady::Starting),
            Some(ago) if ago > self.late => Err(NotReady::Stalled { ago }),
            Some(_) => Ok(()),
        }
    }

    /// Whether the agent should be left running. A first pass that takes long, as with many pods to start, is no
    /// reason to restart it.
    ///
    /// # Errors
    /// [`NotReady::Stalled`] when the loop hangs.
    pub fn alive(&self, now: BootTime) -> Result<(), NotReady> {
        match self.since_pass(now) {
            Some(ago) if ago > self.late.max(HUNG) => Err(NotReady::Stalled { ago }),
            _ => Ok(()),
        }
    }

    fn since_pass(&self, now: BootTime) -> Option<Duration> {
        let millis = self.last_pass.load(Ordering::Relaxed).checked_sub(1)?;
        Some(now.0.saturating_sub(Duration::from_millis(millis)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_follows_the_passes() {
        let health = Health::new(Duration::from_secs(1));
        let secs = Duration::from_secs;
        let at = |s| BootTime(secs(s));
        assert_eq!(health.ready(at(0)), Err(NotReady::Starting));
        assert_eq!(health.alive(at(1000)), Ok(()));
        health.pass_done(at(0));
        assert_eq!(health.ready(at(10)), Ok(()));
        assert_eq!(health.ready(at(11)), Err(NotReady::Stalled { ago: secs(11) }));
        assert_eq!(health.alive(at(60)), Ok(()));
        assert_eq!(health.alive(at(61)), Err(NotReady::Stalled { ago: secs(61) }));
        health.pass_done(at(61));
        assert_eq!(health.ready(at(62)), Ok(()));
    }
}
