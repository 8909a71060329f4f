//! Leads the kernel's OOM killer to the pod that the order of victims has first, by `oom_score_adj`.
//!
//! **Problem.** Where the agent comes too late, the kernel chooses, and by a formula in which requests, priorities and pods
//! do not occur ([`super::badness`]): it takes the large innocent process before the pod of many small ones. **How.** While
//! memory is short the processes of the *top* pod, the first in the order that may be taken and has a process that may be
//! killed, are made to come before all others, the smallest of them before the largest of those: first by raising theirs, and
//! if that is not enough, by lowering those of the *rivals* that still come first, a little further than needed so that they can
//! grow. All processes of a container that started with the same value are written together; forks inherit it. A rival once
//! lowered stays so until it is over, or until its own turn comes.
//!
//! **Modes.** [`Mode::Bands`] stays inside the values that kubelet gives a class: Burstable pods move between 3 and 999, all
//! others stay where they are. It brings the right one forward among Burstable pods, and a Burstable one before a BestEffort
//! one unless the latter's processes are larger by what the bands are apart, a thousandth of the memory. It can do nothing
//! about the order among BestEffort pods, which all have 1 000 and go by size; it cannot bring forward a Guaranteed pod, which
//! has −997; nor lower a BestEffort pod beside it. [`Mode::Ranked`] can do all that. Neither writes processes outside the
//! pods, so one of those with a high value of its own may still be taken first; neither makes a process unkillable, or
//! touches one that is. Going below the value of the start takes `CAP_SYS_RESOURCE`.
//!
//! # Properties
//! - Ranked: whom the kernel would take is in the top pod, where those outside the pods have values of zero or less.
//! - Ranked: every process of the top pod comes before every process of another.
//! - The processes of a shielded pod never get more than they started with; with bands, nor less.
//! - With bands nothing leaves the band of its class.
//! - What was written is not written again, and nothing is written where the top pod comes first as it is.
//! - In a container a value stands for one start: processes with different ones never get the same.
//! - Restoring gives back exactly the values of the start, and then has nothing left to do.

mod agreement;
mod group;
mod span;

#[cfg(test)]
mod props;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use agreement::{Agreement, agreement};

use super::badness::{badness, point};
use crate::model::pressure::{Owner, PodFacts, ProcessFigures, Ranked};
use crate::model::{Bytes, OomScoreAdj};
use group::{Group, gather, steerable};
use span::span;

/// Points that a rival is lowered beyond what is needed: room to grow by a hundredth of all memory before the next write.
const SLACK: i64 = 10;

/// How far values may be moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Inside the band of the pod's class.
    #[default]
    Bands,
    /// Freely.
    Ranked,
}

/// What steering rests on.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The pods.
    pub roster: &'a [PodFacts],
    /// The order of victims.
    pub order: &'a [Ranked],
    /// All processes of the domain that is out of memory, those outside the pods included.
    pub processes: &'a [ProcessFigures],
    /// The domain's memory, as the kernel counts it: see [`super::badness`].
    pub total: Bytes,
    /// How far values may be moved.
    pub mode: Mode,
    /// The pod that is to come first, where that is not to be the first of [`eligible`]: see
    /// [`Lead`](crate::state::pressure::Lead).
    pub front: Option<usize>,
}

/// Why a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Why {
    /// It is the top pod's, and another's process would come first.
    First,
    /// It would come before a process of the top pod.
    Behind,
    /// There is no reason any more for it to have another value than at the start.
    Restored,
}

/// One value for some processes of a container: see [`targets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// Whose processes.
    pub owner: Owner,
    /// Those of them that started with this value.
    pub start: OomScoreAdj,
    /// What they have; none where they differ.
    pub from: Option<OomScoreAdj>,
    /// What they get.
    pub to: OomScoreAdj,
    /// Why.
    pub why: Why,
    /// Badness in pages, before the write, of the process that is the reason: the smallest of the top pod's, the
    /// largest of a rival's.
    pub badness: i64,
    /// Badness in pages that it has to be above, as the top pod's, or below.
    pub against: i64,
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            badness, against, to, ..
        } = self;
        write!(f, "oom_score_adj ")?;
        if let Some(from) = self.from {
            write!(f, "{from} ")?;
        }
        write!(f, "to {to}: ")?;
        match self.why {
            Why::First => write!(
                f,
                "the pod is the first victim, and its smallest process has a badness of {badness} pages beside {against} of \
                 another's"
            ),
            Why::Behind => write!(
                f,
                "its largest process has a badness of {badness} pages beside {against} of the first victim's smallest"
            ),
            Why::Restored => write!(f, "as at its start"),
        }
    }
}

/// The processes that a write is for.
pub fn targets<'a>(
    write: &Write,
    processes: &'a [ProcessFigures],
) -> impl Iterator<Item = &'a ProcessFigures> + use<'a> {
    let Write { owner, start, .. } = *write;
    let theirs = move |process: &&ProcessFigures| process.owner == Some(owner) && process.start == start;
    processes
        .iter()
        .filter(|process| steerable(process))
        .filter(theirs)
}

/// Finds the values that are to be written; keeps its buffers from one time to the next.
#[derive(Debug, Clone, Default)]
pub struct Steering {
    members: Vec<usize>,
    groups: Vec<Group>,
    writes: Vec<Write>,
}

impl Steering {
    /// One that allocates nothing for up to so many processes.
    #[must_use]
    pub fn with_capacity(processes: usize) -> Self {
        Self {
            members: Vec::with_capacity(processes),
            groups: Vec::with_capacity(processes),
            writes: Vec::with_capacity(processes),
        }
    }

    /// What to write so that the top pod's processes come first, as far as the mode allows it.
    pub fn steer(&mut self, inputs: &Inputs) -> &[Write] {
        gather(
            inputs.processes,
            inputs.roster.len(),
            &mut self.members,
            &mut self.groups,
        );
        let front = inputs.front;
        let top = front.or_else(|| eligible(inputs.order, inputs.processes).next());
        let top = top.filter(|_| point(inputs.total) > 0);
        for group in &mut self.groups {
            group.keep(span(group, inputs), top.map(|pod| pod == group.owner.pod));
        }
        if let Some(top) = top {
            lead(&mut self.groups, top, inputs);
        }
        self.write()
    }

    /// What to write so that all have the value of their start again.
    pub fn restore(&mut self, processes: &[ProcessFigures]) -> &[Write] {
        gather(processes, usize::MAX, &mut self.members, &mut self.groups);
        for group in &mut self.groups {
            group.keep(None, None);
        }
        self.write()
    }

    fn write(&mut self) -> &[Write] {
        self.writes.clear();
        self.writes.extend(self.groups.iter().filter_map(Group::write));
        &self.writes
    }
}

/// Brings the processes of `top` before all others.
fn lead(groups: &mut [Group], top: usize, inputs: &Inputs) {
    let point = point(inputs.total);
    let outside = inputs.processes.iter().filter(|process| process.owner.is_none());
    let rivals = groups.iter().filter(|group| group.owner.pod != top);
    let worst = (outside.filter_map(|process| badness(process, inputs.total)))
        .chain(rivals.map(|group| group.most(point)))
        .max();
    let Some(worst) = worst else { return };

    let mut bar = i64::MAX;
    for n in 0..groups.len() {
        if groups[n].owner.pod != top {
            continue;
        }
        let least = groups[n].least(point);
        if least <= worst
            && let Some(span) = span(&groups[n], inputs)
            && let Some(value) = free(groups, n, *span.start(), *span.end())
        {
            groups[n].move_to(value, Why::First, least, worst);
        }
        bar = bar.min(groups[n].least(point));
    }
    for n in 0..groups.len() {
        if groups[n].owner.pod == top {
            continue;
        }
        let most = groups[n].most(point);
        let Some(span) = span(&groups[n], inputs).filter(|_| most >= bar) else {
            continue;
        };
        let enough = (bar - 1 - groups[n].largest).div_euclid(point);
        let lowest = i64::from(*span.start());
        // One that cannot be brought behind is left alone.
        if let Ok(wanted) = i16::try_from((enough - SLACK).max(lowest))
            && enough >= lowest
            && let Some(value) = free(groups, n, *span.start(), wanted)
        {
            groups[n].move_to(value, Why::Behind, most, bar);
        }
    }
}

/// The pods that may be brought to the front, the first in the order first: those that may be taken and have a process
/// that the kernel may kill.
pub fn eligible(order: &[Ranked], processes: &[ProcessFigures]) -> impl Iterator<Item = usize> {
    let unbarred = order.iter().filter(|ranked| ranked.barred.is_none());
    unbarred.map(|ranked| ranked.pod).filter(|pod| {
        let of_pod = |process: &&ProcessFigures| process.owner.is_some_and(|owner| owner.pod == *pod);
        processes.iter().filter(of_pod).any(steerable)
    })
}

/// The highest value from `lowest` to `highest` that stands for no other start of the container.
fn free(groups: &[Group], own: usize, lowest: i16, highest: i16) -> Option<i16> {
    let others = groups.iter().enumerate();
    let others = others.filter(|(n, group)| *n != own && group.owner == groups[own].owner);
    let taken = |value: i16| {
        let stands = |group: &Group| group.start.0 == value || group.wanted.0 == value;
        others.clone().any(|(_, group)| stands(group))
    };
    (lowest..=highest).rev().find(|value| !taken(*value))
}
