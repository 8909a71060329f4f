//! Pods that were taken: what has come back of their memory, and who is never taken again.
//!
//! **Terms.** A *victim* was sent a signal. It *settles* until its memory is back or its time is over. One that ended with
//! less than a quarter of what was predicted is *spent*, with a cause.
//!
//! # Properties
//! - A cgroup that was taken once is never taken again; one that was asked to end may be killed once.
//! - Whatever happens, a victim's time ends, but for one that was only thought of, which holds until nothing is short.
//! - No more than the budget's pods are taken within its time; killing one that was asked to end is no second one.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::pressure::{Charge, Domain, PodFacts, PodFigures, Signal, Snapshot, SpentCause};
use crate::model::{BootTime, Bytes, CgroupId};

/// Victims that are remembered for the budget.
const REMEMBERED: usize = 16;
/// Signalling, waking and deciding, and freeing a gibibyte, at most.
///
/// Source: measured, 40 to 70 ms a GiB to the last process's end.
const FIXED: Duration = Duration::from_millis(16);
const PER_GIB: Duration = Duration::from_millis(70);

/// How long it takes until so much memory of a killed pod is free.
#[must_use]
pub fn time_to_free(bytes: Bytes) -> Duration {
    let freeing = (PER_GIB.as_nanos() * u128::from(bytes.0)) >> 30;
    FIXED + Duration::from_nanos(u64::try_from(freeing).unwrap_or(u64::MAX))
}

/// How a pod was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Taking {
    /// Somebody else ends it; it only has to be waited for.
    Leaving,
    /// It was asked to end.
    Evicted,
    /// It was killed.
    Killed,
}

/// A pod that was taken and has not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Victim {
    /// Its cgroup.
    pub cgroup: CgroupId,
    /// How.
    pub taking: Taking,
    /// Where memory was short.
    pub domain: Domain,
    /// What was short.
    pub signal: Option<Signal>,
    /// When.
    pub begun: BootTime,
    /// Until when it is waited for.
    pub deadline: BootTime,
    /// What its end should free.
    pub predicted: Bytes,
    /// Its memory before.
    pub before: Charge,
    /// Its `memory.current` before.
    pub current: Bytes,
    /// What has come back so far.
    pub freed: Bytes,
    /// Whether a process of it lives.
    pub populated: bool,
    /// When none was left.
    pub empty: Option<BootTime>,
    /// When half of what was predicted was back.
    pub half: Option<BootTime>,
    /// Whether it was only thought of: `--dry-run`.
    pub dry: bool,
}

impl Victim {
    /// Whether its time is over with processes left.
    #[must_use]
    pub fn is_overdue(&self, now: BootTime) -> bool {
        self.populated && now >= self.deadline && !self.dry
    }

    fn look(&mut self, figures: Option<&PodFigures>, now: BootTime) {
        let freed = match figures {
            None => self.predicted,
            Some(PodFigures {
                charge: Some(charge), ..
            }) => self.before.total().saturating_sub(charge.total()),
            // What was in swap cannot be seen any more; it goes with the processes.
            Some(PodFigures {
                current, populated, ..
            }) => {
                let swap = if *populated { Bytes(0) } else { self.before.swap };
                self.current.saturating_sub(*current).saturating_add(swap)
            }
        };
        self.freed = self.freed.max(freed);
        self.populated = figures.is_some_and(|figures| figures.populated);
        if !self.populated {
            self.empty.get_or_insert(now);
        }
        if self.freed.0 >= self.predicted.0 / 2 {
            self.half.get_or_insert(now);
        }
    }

    fn cause(&self, figures: Option<&PodFigures>) -> SpentCause {
        let left = figures.and_then(|figures| figures.charge).unwrap_or(self.before);
        if self.populated {
            SpentCause::Uninterruptible
        } else if left.shmem.0 > left.total().0 / 2 {
            SpentCause::Tmpfs
        } else if left.anon.0 > left.total().0 / 2 {
            SpentCause::Shared
        } else {
            SpentCause::Unknown
        }
    }
}

/// How a victim's time ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settled {
    /// The victim as it was seen last.
    pub victim: Victim,
    /// Why too little came back, if that is so.
    pub spent: Option<SpentCause>,
    /// When that was known.
    pub at: BootTime,
}

/// A pod that is not taken again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    /// Its cgroup.
    pub cgroup: CgroupId,
    /// Why too little came back of it, if that is so.
    pub spent: Option<SpentCause>,
}

/// All victims.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Victims {
    under_way: Vec<Victim>,
    taken: Vec<Taken>,
    recent: VecDeque<BootTime>,
    settled: VecDeque<Settled>,
}

impl Victims {
    /// See [`PressureState::copy_from`](super::PressureState::copy_from).
    pub(super) fn copy_from(&mut self, other: &Self) {
        let Self {
            under_way,
            taken,
            recent,
            settled,
        } = other;
        self.under_way.clone_from(under_way);
        self.taken.clone_from(taken);
        self.recent.clone_from(recent);
        self.settled.clone_from(settled);
    }

    pub(super) fn reserve(&mut self, pods: usize) {
        self.under_way.reserve(pods.saturating_sub(self.under_way.len()));
        self.taken.reserve(pods.saturating_sub(self.taken.len()));
        self.recent.reserve(REMEMBERED.saturating_sub(self.recent.len()));
        self.settled.reserve(pods.saturating_sub(self.settled.len()));
    }

    /// Those that have not settled.
    #[must_use]
    pub fn under_way(&self) -> &[Victim] {
        &self.under_way
    }

    /// The one of a cgroup that has not settled.
    #[must_use]
    pub fn find(&self, cgroup: CgroupId) -> Option<&Victim> {
        self.under_way.iter().find(|victim| victim.cgroup == cgroup)
    }

    /// Whether a cgroup was taken before, and why that freed too little, if so.
    #[must_use]
    pub fn taken(&self, cgroup: CgroupId) -> Option<&Taken> {
        self.taken.iter().find(|taken| taken.cgroup == cgroup)
    }

    /// Whether some pod that is still there was taken and freed too little.
    #[must_use]
    pub fn any_spent(&self) -> bool {
        self.taken.iter().any(|taken| taken.spent.is_some())
    }

    /// How many pods were taken within the last `within`.
    #[must_use]
    pub fn recent(&self, within: Duration, now: BootTime) -> usize {
        self.recent.iter().filter(|at| now.since(**at) < within).count()
    }

    /// A pod was taken, or is killed that was asked to end before.
    pub fn begin(&mut self, victim: Victim) {
        let known = self
            .under_way
            .iter()
            .position(|known| known.cgroup == victim.cgroup);
        let hastened = known.map(|at| self.under_way.swap_remove(at));
        if victim.taking != Taking::Leaving {
            if self.taken(victim.cgroup).is_none() {
                self.taken.push(Taken {
                    cgroup: victim.cgroup,
                    spent: None,
                });
            }
            if hastened.is_none() {
                if self.recent.len() >= REMEMBERED {
                    self.recent.pop_front();
                }
                self.recent.push_back(victim.begun);
            }
        }
        self.under_way.push(victim);
    }

    /// The kernel refused to take a pod: it goes on, and is not tried again.
    pub fn failed(&mut self, cgroup: CgroupId) {
        self.under_way.retain(|victim| victim.cgroup != cgroup);
        match self.taken.iter_mut().find(|taken| taken.cgroup == cgroup) {
            Some(taken) => taken.spent = Some(SpentCause::Unknown),
            None => self.taken.push(Taken {
                cgroup,
                spent: Some(SpentCause::Unknown),
            }),
        }
    }

    /// Looks at all that have not settled. `over` says whether the shortage for which a victim was taken is over;
    /// `kills` whether one that was asked to end and did not will be killed.
    pub fn settle(
        &mut self,
        roster: &[PodFacts],
        snapshot: &Snapshot,
        kills: bool,
        over: impl Fn(&Victim) -> bool,
        now: BootTime,
    ) {
        let place = |cgroup| roster.iter().position(|pod| pod.cgroup == cgroup);
        let figures = |cgroup| place(cgroup).and_then(|place| snapshot.pods.get(place));
        let (settled, taken) = (&mut self.settled, &mut self.taken);
        self.under_way.retain_mut(|victim| {
            let figures = figures(victim.cgroup);
            victim.look(figures, now);
            if victim.dry {
                return figures.is_some() && victim.populated && !over(victim);
            }
            let is_back = match victim.signal {
                // Tasks are gone with the last of them; of what is on a disk nothing is known here.
                Some(Signal::PidAvailable) => true,
                Some(signal) if !signal.is_memory() => false,
                _ => victim.freed.0 >= victim.predicted.0 - victim.predicted.0 / 8,
            };
            if !victim.populated && (is_back || over(victim)) {
                tell(settled, victim, None, now);
                return false;
            }
            if now < victim.deadline {
                return true;
            }
            if victim.populated && victim.taking == Taking::Evicted && kills {
                return true;
            }
            let measured = victim.signal.is_none_or(Signal::is_memory) || victim.populated;
            let little = measured && victim.freed.0 < victim.predicted.0 / 4;
            let spent = little.then(|| victim.cause(figures));
            if let Some(taken) = taken.iter_mut().find(|taken| taken.cgroup == victim.cgroup) {
                taken.spent = spent;
            }
            tell(settled, victim, spent, now);
            false
        });
        self.taken.retain(|taken| place(taken.cgroup).is_some());
    }

    /// Hands over the oldest victim that has settled since.
    pub fn take_settled(&mut self) -> Option<Settled> {
        self.settled.pop_front()
    }
}

fn tell(settled: &mut VecDeque<Settled>, victim: &Victim, spent: Option<SpentCause>, at: BootTime) {
    if victim.taking != Taking::Leaving && settled.len() < settled.capacity() {
        settled.push_back(Settled {
            victim: *victim,
            spent,
            at,
        });
    }
}
