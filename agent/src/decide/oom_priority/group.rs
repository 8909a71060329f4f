//! Processes of one container that started with the same value.

use std::ops::RangeInclusive;

use super::{Why, Write};
use crate::decide::badness::{NEVER, size};
use crate::model::OomScoreAdj;
use crate::model::pressure::{Owner, ProcessFigures};

/// Some processes, what they have, and what they should have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) owner: Owner,
    pub(super) start: OomScoreAdj,
    /// None where they differ.
    now: Option<OomScoreAdj>,
    /// Pages of the smallest process.
    smallest: i64,
    /// Pages of the largest.
    pub(super) largest: i64,
    pub(super) wanted: OomScoreAdj,
    why: Why,
    badness: i64,
    against: i64,
}

/// Whether a process may be written: the kernel looks at it, and nobody has made it unkillable.
pub(super) fn steerable(process: &ProcessFigures) -> bool {
    !process.exempt && process.start != NEVER && process.oom_score_adj != NEVER
}

/// Puts the processes of the first `pods` pods of the roster into groups.
pub(super) fn gather(
    processes: &[ProcessFigures],
    pods: usize,
    members: &mut Vec<usize>,
    groups: &mut Vec<Group>,
) {
    let owner = |n: usize| processes[n].owner.filter(|owner| owner.pod < pods);
    members.clear();
    members.extend((0..processes.len()).filter(|&n| owner(n).is_some() && steerable(&processes[n])));
    members.sort_unstable_by_key(|&n| (owner(n), processes[n].start));
    groups.clear();
    for process in members.iter().map(|&n| &processes[n]) {
        let Some(owner) = process.owner else { continue };
        let pages = size(process);
        match groups.last_mut() {
            Some(last) if (last.owner, last.start) == (owner, process.start) => {
                last.now = last.now.filter(|now| *now == process.oom_score_adj);
                last.smallest = last.smallest.min(pages);
                last.largest = last.largest.max(pages);
            }
            _ => groups.push(Group {
                owner,
                start: process.start,
                now: Some(process.oom_score_adj),
                smallest: pages,
                largest: pages,
                wanted: process.start,
                why: Why::Restored,
                badness: 0,
                against: 0,
            }),
        }
    }
}

impl Group {
    /// Begins with what they have, where that is a value that steering could have given: inside the `span`, and on the side
    /// of the start on which the top pod's, or the others', are moved. Else with the value of the start.
    pub(super) fn keep(&mut self, span: Option<RangeInclusive<i16>>, is_top: Option<bool>) {
        let (Some(span), Some(is_top)) = (span, is_top) else {
            return;
        };
        let kept = self.now.filter(|now| {
            let own_side = if is_top {
                *now >= self.start
            } else {
                *now <= self.start
            };
            own_side && span.contains(&now.0)
        });
        self.wanted = kept.unwrap_or(self.start);
    }

    /// Badness of the smallest process with the value that is wanted.
    pub(super) fn least(&self, point: i64) -> i64 {
        self.smallest + i64::from(self.wanted.0) * point
    }

    /// Badness of the largest.
    pub(super) fn most(&self, point: i64) -> i64 {
        self.largest + i64::from(self.wanted.0) * point
    }

    pub(super) fn move_to(&mut self, value: i16, why: Why, badness: i64, against: i64) {
        self.wanted = OomScoreAdj(value);
        (self.why, self.badness, self.against) = (why, badness, against);
    }

    /// What is to be written, unless they have it.
    pub(super) fn write(&self) -> Option<Write> {
        (self.now != Some(self.wanted)).then_some(Write {
            owner: self.owner,
            start: self.start,
            from: self.now,
            to: self.wanted,
            why: self.why,
            badness: self.badness,
            against: self.against,
        })
    }
}
