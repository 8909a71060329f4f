//! What was decided about memory, as a person reads it.
//!
//! # Properties
//! - Every figure is in the unit of its signal.

use std::time::Duration;

use super::words::span;
use crate::model::pressure::{
    Act, Barred, DecisionRecord, Domain, KillTimes, Need, Outcome, Signal, SpentCause,
};
use crate::model::{BootTime, Bytes, Namespace, PodName, PodUid};

/// A pod as other commands name it.
pub(super) fn pod((_, namespace, name): &(PodUid, Namespace, PodName)) -> String {
    format!("{namespace}/{name}")
}

/// A figure of a signal; of a limit in the kernel, bytes.
pub(super) fn figure(signal: Option<Signal>, value: u64) -> String {
    match signal {
        Some(Signal::NodefsInodesFree | Signal::ImagefsInodesFree) => format!("{value} inodes"),
        Some(Signal::PidAvailable) => format!("{value} tasks"),
        #[expect(
            clippy::cast_precision_loss,
            reason = "millionths, of which there is a million"
        )]
        Some(Signal::PressureMemoryFull) => format!("{:.1}%", value as f64 / 10_000.0),
        Some(Signal::TimeToExhaustion) => span(Duration::from_nanos(value)),
        _ => Bytes(value).to_string(),
    }
}

/// What was short, with its numbers.
pub(super) fn need(need: &Need) -> String {
    let domain = match need.domain {
        Domain::Node => "the machine",
        Domain::Pods => "the pods' root",
        Domain::Pod(_) => "a pod at its own limit",
    };
    let signal = need.signal.map_or("its limit", Signal::name);
    let side = match need.signal {
        Some(Signal::PressureMemoryFull) => "above",
        _ => "below",
    };
    let (observed, threshold) = (
        figure(need.signal, need.observed),
        figure(need.signal, need.threshold),
    );
    let mut told = format!("{domain}, {signal}: {observed}, {side} {threshold}");
    if need.deficit > Bytes(0) {
        told.push_str(&format!("; {} to come free", need.deficit));
    }
    if let Some(after) = need.exhausted_in {
        told.push_str(&format!("; gone in {}", span(after)));
    }
    if !need.stalled.is_zero() {
        told.push_str(&format!("; stalled for {}", span(need.stalled)));
    }
    told
}

/// What is done.
pub(super) fn act(act: Act) -> String {
    match act {
        Act::Reclaim { bytes, .. } => format!("reclaim {bytes}"),
        Act::Throttle { high, .. } => format!("throttle at {high}"),
        Act::Unthrottle { .. } => "end throttling".to_owned(),
        Act::SuppressCpu { milli } => format!("leave BestEffort {milli}m CPU"),
        Act::ReleaseCpu => "give BestEffort its CPU back".to_owned(),
        Act::Evict { grace, .. } => format!("evict within {}", span(grace)),
        Act::Kill { .. } => "kill".to_owned(),
    }
}

/// Why a pod, or every pod, is no victim.
pub(super) const fn barred(why: Barred) -> &'static str {
    match why {
        Barred::Shielded => "critical or protected",
        Barred::NoFigures => "no figures",
        Barred::Unpopulated => "no process",
        Barred::FreesTooLittle => "frees too little",
        Barred::WithinRequest => "within its request",
        Barred::Ending => "ends already",
        Barred::Spent => "spent: freed too little before",
        Barred::Budget => "budget of kills used up",
        Barred::OutsidePods => "memory goes outside the pods",
    }
}

const fn cause(cause: SpentCause) -> &'static str {
    match cause {
        SpentCause::Tmpfs => "its files in a tmpfs stay",
        SpentCause::Uninterruptible => "a process waits in the kernel and cannot die",
        SpentCause::Shared => "others share its memory",
        SpentCause::Unknown => "nobody knows why",
    }
}

/// What came of it.
pub(super) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::DryRun => "not done: dry run".to_owned(),
        Outcome::Watched => "watched".to_owned(),
        Outcome::Begun => "under way".to_owned(),
        Outcome::Relieved { freed } => format!("freed {freed}"),
        Outcome::Spent {
            freed,
            predicted,
            cause: why,
        } => {
            format!("spent: freed {freed} of {predicted}, {}", cause(*why))
        }
        Outcome::Stale { reason } => format!("left: {reason}"),
        Outcome::Nobody { why } => format!("nobody: {}", barred(*why)),
        Outcome::Failed { error } => format!("failed: {error}"),
    }
}

/// How long each stage took, from the first that is known.
pub(super) fn stages(times: &KillTimes) -> String {
    let stages: [(&str, Option<BootTime>, Option<BootTime>); 6] = [
        ("woken", times.onset, Some(times.woken)),
        ("read", Some(times.woken), Some(times.read)),
        ("decided", Some(times.read), Some(times.decided)),
        ("signalled", Some(times.decided), times.signalled),
        ("empty", times.signalled, times.empty),
        ("half freed", times.signalled, times.freed),
    ];
    let told = stages.iter().filter_map(|(name, from, to)| {
        let took = to.as_ref()?.since(*from.as_ref()?);
        Some(format!("{name} +{}", span(took)))
    });
    told.collect::<Vec<_>>().join(", ")
}

/// What was decided, in few words.
pub(super) fn decision(record: &DecisionRecord) -> String {
    record.act.map_or_else(|| "nothing".to_owned(), act)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sample::decision_record;

    #[test]
    fn figures_are_in_their_signals_units() {
        for (signal, value, told) in [
            (Some(Signal::MemoryAvailable), 100 << 20, "100Mi"),
            (None, 5, "5B"),
            (Some(Signal::NodefsInodesFree), 7, "7 inodes"),
            (Some(Signal::PidAvailable), 7, "7 tasks"),
            (Some(Signal::PressureMemoryFull), 205_000, "20.5%"),
            (Some(Signal::TimeToExhaustion), 1_500_000_000, "1.5s"),
        ] {
            assert_eq!(figure(signal, value), told);
        }
        let mut full = decision_record(1).need;
        full.signal = Some(Signal::PressureMemoryFull);
        assert!(need(&full).contains("above"), "{}", need(&full));
    }

    #[test]
    fn a_decision_is_told_with_its_numbers_and_stages() {
        let record = decision_record(1);
        assert_eq!(
            need(&record.need),
            "the machine, memory.available: 60.0Mi, below 100Mi; 140Mi to come free; gone in 700.0ms; stalled for 12.0ms"
        );
        assert_eq!(
            stages(&record.times),
            "woken +1.0ms, read +2.0ms, decided +1.0ms, signalled +1.0ms, empty +40.0ms, half freed +47.0ms"
        );
        assert_eq!(outcome(&record.outcome), "freed 690Mi");
        let spent = Outcome::Spent {
            freed: Bytes(0),
            predicted: Bytes::mib(5),
            cause: SpentCause::Tmpfs,
        };
        assert_eq!(
            outcome(&spent),
            "spent: freed 0B of 5.00Mi, its files in a tmpfs stay"
        );
    }
}
