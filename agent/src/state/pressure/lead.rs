//! Whom the kernel's choice is led to, and for how long.
//!
//! **Problem.** Two pods of about the same size are first in turn, and memory is short, is not, and is: each time all
//! processes of both would be written anew. **How.** Who was brought to the front stays there for [`STAYS`], unless he may
//! not be taken any more; and leading goes on until memory has been fine for [`CALM`].
//!
//! # Properties
//! - The front changes at most once in [`STAYS`], but for those that may not be taken any more.
//! - A pod that is first for longer than that is in front.
//! - Leading begins at once, and ends [`CALM`] after memory was short last.

use std::time::Duration;

use crate::model::{BootTime, CgroupId};

/// For how long the one in front stays there.
pub const STAYS: Duration = Duration::from_secs(5);
/// For how long memory has to be fine before processes get their own values back.
pub const CALM: Duration = Duration::from_secs(20);

/// Whom, and since when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lead {
    front: Option<(CgroupId, BootTime)>,
    short: Option<BootTime>,
}

impl Lead {
    /// Whether the kernel is led now, where memory is short or is not.
    pub fn is_on(&mut self, short: bool, now: BootTime) -> bool {
        if short {
            self.short = Some(now);
        }
        let on = self.short.is_some_and(|at| short || now.since(at) < CALM);
        if !on {
            *self = Self::default();
        }
        on
    }

    /// Who is in front now, of those who may be: the first of them, or who was there before.
    pub fn front(&mut self, eligible: impl Iterator<Item = CgroupId>, now: BootTime) -> Option<CgroupId> {
        let stays = self.front.filter(|(_, since)| now.since(*since) < STAYS);
        let (mut first, mut still) = (None, None);
        for cgroup in eligible {
            first = first.or(Some(cgroup));
            still = still.or(stays.filter(|(front, _)| *front == cgroup));
            if still.is_some() || stays.is_none() {
                break;
            }
        }
        self.front = still.or_else(|| {
            let first = first?;
            // Who was there and is first again stays as if he had just come.
            Some((first, now))
        });
        self.front.map(|(cgroup, _)| cgroup)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: CgroupId = CgroupId(1);
    const B: CgroupId = CgroupId(2);

    fn at(seconds: u64) -> BootTime {
        BootTime(Duration::from_secs(1000 + seconds))
    }

    #[test]
    fn the_one_in_front_stays_unless_he_may_not_be_taken() {
        let mut lead = Lead::default();
        assert_eq!(lead.front([A, B].into_iter(), at(0)), Some(A));
        for second in 1..5 {
            assert_eq!(lead.front([B, A].into_iter(), at(second)), Some(A));
        }
        assert_eq!(lead.front([B, A].into_iter(), at(5)), Some(B));
        assert_eq!(
            lead.front([A].into_iter(), at(6)),
            Some(A),
            "at once: the other is gone"
        );
        assert_eq!(lead.front([].into_iter(), at(7)), None);
        assert_eq!(lead.front([B].into_iter(), at(7)), Some(B));
    }

    #[test]
    fn leading_outlasts_a_moment_of_plenty() {
        let mut lead = Lead::default();
        assert!(!lead.is_on(false, at(0)), "memory was never short");
        assert!(lead.is_on(true, at(1)) && lead.is_on(false, at(20)));
        assert!(lead.is_on(true, at(22)) && lead.is_on(false, at(41)));
        assert!(!lead.is_on(false, at(42)) && !lead.is_on(false, at(43)));
        assert!(lead.is_on(true, at(44)));
    }

    proptest! {
        #[test]
        fn the_front_changes_once_in_a_while(firsts in prop::collection::vec((0..3_u64, 0..3_u64), 1..60)) {
            let mut lead = Lead::default();
            let mut now = 0;
            let mut before: Option<(CgroupId, u64)> = None;
            for (first, wait) in firsts {
                now += wait;
                let order = (0..3).map(|n| CgroupId((first + n) % 3));
                let front = lead.front(order, at(now)).unwrap();
                match before {
                    Some((was, since)) if was != front => {
                        prop_assert!(now - since >= STAYS.as_secs());
                        prop_assert_eq!(front, CgroupId(first));
                        before = Some((front, now));
                    }
                    None => before = Some((front, now)),
                    Some(_) => {}
                }
            }
        }
    }
}
