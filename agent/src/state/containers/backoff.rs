//! How long a container that ends again and again must wait.
//!
//! As kubelet has it: the first restart comes at once; the waits after it are 10 s, doubled each time up to
//! 5 min, and counted from the end of the last run. A run of 10 min (twice the longest wait) clears the record.
//! Source: kubelet's `doBackOff` and client-go's `flowcontrol.Backoff`.
//!
//! # Properties
//! - A wait is zero or between 10 s and 5 min, and never shorter than the one before until it is cleared.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The first wait that is not zero.
pub const FIRST: Duration = Duration::from_secs(10);
/// The longest wait.
pub const LONGEST: Duration = Duration::from_secs(300);
/// A run of this length counts as health.
pub const HEALTHY: Duration = Duration::from_secs(600);

/// The wait that follows the next end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Backoff(Duration);

impl Backoff {
    /// From the end of a run to the next start.
    #[must_use]
    pub const fn wait(self) -> Duration {
        self.0
    }

    /// The record after a restart.
    #[must_use]
    pub fn restarted(self) -> Self {
        Self(self.0.saturating_mul(2).clamp(FIRST, LONGEST))
    }

    /// The record after a run of `length`.
    #[must_use]
    pub fn ran(self, length: Duration) -> Self {
        if length >= HEALTHY { Self::default() } else { self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_from_ten_seconds_to_five_minutes() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = std::iter::repeat_with(|| {
            let wait = backoff.wait();
            backoff = backoff.ran(Duration::from_secs(1)).restarted();
            wait.as_secs()
        })
        .take(9)
        .collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(backoff.ran(HEALTHY - Duration::from_nanos(1)), backoff);
        assert_eq!(backoff.ran(HEALTHY).wait(), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn a_wait_is_in_bounds_and_grows_until_cleared(runs in prop::collection::vec(0_u64..1200, 0..40)) {
            let mut backoff = Backoff::default();
            for seconds in runs {
                let before = backoff.wait();
                let after = backoff.ran(Duration::from_secs(seconds));
                prop_assert!(after.wait().is_zero() == (before.is_zero() || seconds >= 600));
                backoff = after.restarted();
                prop_assert!(backoff.wait() >= FIRST && backoff.wait() <= LONGEST);
                prop_assert!(seconds >= 600 || backoff.wait() >= before);
            }
        }
    }
}
