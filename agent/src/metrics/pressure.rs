//! Memory pressure: what was decided and how fast (counters), and how things stand (from the report).
//!
//! **How.** Who decides hands over each record twice: as the decision was made ([`PressureCounters::decided`]), and when it
//! is known what came of it ([`PressureCounters::settled`]). None of this is on the way from an alarm to a signal.
//!
//! # Properties
//! - All label values are from closed sets, but the kinds of alarms, of which at most [`KINDS`] are told; nothing here grows
//!   with pods.
//! - A decision is counted once, whether its outcome is known at once or later.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family as Series;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::counters::add;
use super::encode::{Labels, Value, describe, foreign, sample, single};
use super::families as f;
use crate::model::pressure::{
    Barred, DecisionRecord, Exhaustion, Outcome, PressureReport, Rung, Signal, SpentCause,
};
use crate::model::{Bytes, NodeReport};

/// How many kinds of alarms are told.
const KINDS: usize = 16;
/// Bounds in seconds: close around what the stages must reach (1 ms, 10 ms), up to a pod's grace.
const BOUNDS: [f64; 17] = [
    1e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

/// Where the kernel ran out of memory when it killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelKill {
    /// Within one pod, at its own limit: the pod's affair.
    Pod,
    /// In the pods' root or on the machine: the agent was too late.
    Node,
}

/// Why `oom_score_adj` of a process was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steering {
    /// The process should go before others.
    Raise,
    /// Others should go before it.
    Lower,
    /// The pressure is over.
    Restore,
}

impl Steering {
    const ALL: [Self; 3] = [Self::Raise, Self::Lower, Self::Restore];

    const fn name(self) -> &'static str {
        match self {
            Self::Raise => "raise",
            Self::Lower => "lower",
            Self::Restore => "restore",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RungLabel {
    rung: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EvictionSignal {
    eviction_signal: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Scope {
    scope: &'static str,
}

type Stages = Series<Stage, Histogram, fn() -> Histogram>;

/// The counters. Clones count together.
#[derive(Debug, Clone)]
pub struct PressureCounters {
    stages: Stages,
    decisions: Series<OutcomeLabel, Counter>,
    acts: Series<RungLabel, Counter>,
    spent: Series<Cause, Counter>,
    nobody: Series<Reason, Counter>,
    freed: Series<RungLabel, Counter>,
    evictions: Series<EvictionSignal, Gauge<u64, AtomicU64>>,
    missed: Counter,
    kernel_kills: Series<Scope, Counter>,
    steered: Series<Reason, Counter>,
}

impl PressureCounters {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let counters = Self {
            stages: Series::new_with_constructor(|| Histogram::new(BOUNDS)),
            decisions: Series::default(),
            acts: Series::default(),
            spent: Series::default(),
            nobody: Series::default(),
            freed: Series::default(),
            evictions: Series::default(),
            missed: Counter::default(),
            kernel_kills: Series::default(),
            steered: Series::default(),
        };
        // A rule on an increase needs the zero before it.
        for rung in Rung::ALL {
            counters.acts.get_or_create_owned(&rung_label(rung));
            counters.freed.get_or_create_owned(&rung_label(rung));
        }
        for outcome in [
            "relieved", "spent", "stale", "nobody", "failed", "dry_run", "watched",
        ] {
            counters.decisions.get_or_create_owned(&OutcomeLabel { outcome });
        }
        for cause in CAUSES {
            counters.spent.get_or_create_owned(&Cause {
                cause: cause_name(cause),
            });
        }
        for reason in BARRED {
            counters.nobody.get_or_create_owned(&Reason {
                reason: barred_name(reason),
            });
        }
        for signal in Signal::ALL {
            let eviction_signal = signal.name();
            counters
                .evictions
                .get_or_create_owned(&EvictionSignal { eviction_signal });
        }
        for scope in ["pod", "node"] {
            counters.kernel_kills.get_or_create_owned(&Scope { scope });
        }
        for reason in Steering::ALL {
            counters.steered.get_or_create_owned(&Reason {
                reason: reason.name(),
            });
        }
        add(registry, &f::PRESSURE_STAGE, counters.stages.clone());
        add(registry, &f::PRESSURE_DECISIONS, counters.decisions.clone());
        add(registry, &f::PRESSURE_ACTS, counters.acts.clone());
        add(registry, &f::PRESSURE_SPENT, counters.spent.clone());
        add(registry, &f::PRESSURE_NOBODY, counters.nobody.clone());
        add(registry, &f::PRESSURE_FREED, counters.freed.clone());
        add(registry, &f::EVICTIONS, counters.evictions.clone());
        add(registry, &f::MISSED_KERNEL_OOM, counters.missed.clone());
        add(registry, &f::KERNEL_OOM_KILLS, counters.kernel_kills.clone());
        add(registry, &f::OOM_PRIORITY_WRITES, counters.steered.clone());
        counters
    }

    /// A decision was made. One whose outcome is known already needs no [`Self::settled`].
    pub fn decided(&self, record: &DecisionRecord) {
        let times = &record.times;
        if let Some(onset) = times.onset {
            self.stage("wake", times.woken.since(onset));
        }
        self.stage("read", times.read.since(times.woken));
        self.stage("decide", times.decided.since(times.read));
        if let Some(signalled) = times.signalled {
            self.stage("signal", signalled.since(times.decided));
        }
        let done = matches!(
            record.outcome,
            Outcome::Begun | Outcome::Relieved { .. } | Outcome::Spent { .. }
        );
        if let Some(rung) = record.rung.filter(|_| done) {
            self.acts.get_or_create_owned(&rung_label(rung)).inc();
            if let (Rung::Evict | Rung::Kill, Some(signal)) = (rung, record.need.signal) {
                let eviction_signal = signal.name();
                self.evictions
                    .get_or_create_owned(&EvictionSignal { eviction_signal })
                    .inc();
            }
        }
        if record.outcome != Outcome::Begun {
            self.settled(record);
        }
    }

    /// A decision was left, since things had changed right before the act.
    pub fn stale(&self) {
        let outcome = "stale";
        self.decisions
            .get_or_create_owned(&OutcomeLabel { outcome })
            .inc();
    }

    /// It is known what came of a decision.
    pub fn settled(&self, record: &DecisionRecord) {
        let times = &record.times;
        for (stage, at) in [("empty", times.empty), ("free", times.freed)] {
            if let (Some(at), Some(signalled)) = (at, times.signalled) {
                self.stage(stage, at.since(signalled));
            }
        }
        let outcome = match &record.outcome {
            Outcome::Begun => return,
            Outcome::DryRun => "dry_run",
            Outcome::Watched => "watched",
            Outcome::Relieved { freed } => {
                self.freed(record.rung, *freed);
                "relieved"
            }
            Outcome::Spent { freed, cause, .. } => {
                self.freed(record.rung, *freed);
                let cause = cause_name(*cause);
                self.spent.get_or_create_owned(&Cause { cause }).inc();
                "spent"
            }
            Outcome::Stale { .. } => "stale",
            Outcome::Nobody { why } => {
                let reason = barred_name(*why);
                self.nobody.get_or_create_owned(&Reason { reason }).inc();
                "nobody"
            }
            Outcome::Failed { .. } => "failed",
        };
        self.decisions
            .get_or_create_owned(&OutcomeLabel { outcome })
            .inc();
    }

    fn stage(&self, stage: &'static str, took: Duration) {
        self.stages
            .get_or_create_owned(&Stage { stage })
            .observe(took.as_secs_f64());
    }

    fn freed(&self, rung: Option<Rung>, freed: Bytes) {
        if let Some(rung) = rung {
            self.freed.get_or_create_owned(&rung_label(rung)).inc_by(freed.0);
        }
    }

    /// The kernel's OOM killer took `count` processes at once. For want of the machine's memory that is one kill that the
    /// agent missed, however many processes it took.
    pub fn kernel_killed(&self, scope: KernelKill, count: u64) {
        let name = match scope {
            KernelKill::Pod => "pod",
            KernelKill::Node => "node",
        };
        self.kernel_kills
            .get_or_create_owned(&Scope { scope: name })
            .inc_by(count);
        if scope == KernelKill::Node && count > 0 {
            self.missed.inc();
        }
    }

    /// `oom_score_adj` of so many processes was written.
    pub fn steered(&self, why: Steering, count: u64) {
        let reason = why.name();
        self.steered.get_or_create_owned(&Reason { reason }).inc_by(count);
    }
}

const fn rung_label(rung: Rung) -> RungLabel {
    RungLabel {
        rung: rung_name(rung),
    }
}

/// As labels are written here, in lower case.
const fn rung_name(rung: Rung) -> &'static str {
    match rung {
        Rung::SuppressCpu => "suppress_cpu",
        other => other.name(),
    }
}

const CAUSES: [SpentCause; 4] = [
    SpentCause::Tmpfs,
    SpentCause::Uninterruptible,
    SpentCause::Shared,
    SpentCause::Unknown,
];

const fn cause_name(cause: SpentCause) -> &'static str {
    match cause {
        SpentCause::Tmpfs => "tmpfs",
        SpentCause::Uninterruptible => "uninterruptible",
        SpentCause::Shared => "shared",
        SpentCause::Unknown => "unknown",
    }
}

const BARRED: [Barred; 9] = [
    Barred::Shielded,
    Barred::NoFigures,
    Barred::Unpopulated,
    Barred::FreesTooLittle,
    Barred::WithinRequest,
    Barred::Ending,
    Barred::Spent,
    Barred::Budget,
    Barred::OutsidePods,
];

const fn barred_name(why: Barred) -> &'static str {
    match why {
        Barred::Shielded => "shielded",
        Barred::NoFigures => "no_figures",
        Barred::Unpopulated => "unpopulated",
        Barred::FreesTooLittle => "frees_too_little",
        Barred::WithinRequest => "within_request",
        Barred::Ending => "ending",
        Barred::Spent => "spent",
        Barred::Budget => "budget",
        Barred::OutsidePods => "outside_pods",
    }
}

/// Writes how things stand.
pub(super) fn encode(report: &NodeReport, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let Some(pressure) = &report.pressure else {
        return Ok(());
    };
    if let Some(agrees) = pressure.kernel.as_ref().and_then(|kernel| kernel.agrees) {
        single(encoder, &f::OOM_AGREEMENT, u64::from(agrees))?;
    }
    exhaustions(pressure, encoder)?;
    thresholds(pressure, encoder)?;
    let mut metric = describe(encoder, &f::RUNGS_IN_FORCE)?;
    for rung in Rung::ALL {
        let count = pressure.in_force.iter().filter(|act| act.rung == rung).count();
        let labels = Labels([("rung", rung_name(rung))]);
        sample(
            &mut metric,
            &f::RUNGS_IN_FORCE,
            &labels,
            u64::try_from(count).unwrap_or(u64::MAX).into(),
        )?;
    }
    single(encoder, &f::KSWAPD_WAKES, pressure.figures.kswapd_wakes)?;
    single(encoder, &f::DIRECT_RECLAIMS, pressure.figures.direct_reclaims)?;
    // Kinds that look the same as labels would be one series twice, for which a scraper refuses the whole answer.
    let mut kinds = BTreeMap::new();
    for (kind, armed) in pressure.alarms.iter().take(KINDS) {
        *kinds.entry(foreign(kind)).or_insert(0_u64) += *armed;
    }
    let mut metric = describe(encoder, &f::ALARMS)?;
    for (kind, armed) in &kinds {
        sample(
            &mut metric,
            &f::ALARMS,
            &Labels([("kind", kind.as_ref())]),
            (*armed).into(),
        )?;
    }
    let journal = &pressure.journal;
    single(encoder, &f::JOURNAL_OPEN, u64::from(journal.problem.is_none()))?;
    single(encoder, &f::JOURNAL_RECORDS, journal.written)?;
    single(encoder, &f::JOURNAL_LOST, journal.lost)?;
    single(encoder, &f::JOURNAL_SIZE, journal.size)
}

fn exhaustions(pressure: &PressureReport, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let node = ("node", pressure.exhaustion);
    let classes = pressure
        .exhaustion_by_class
        .iter()
        .map(|(class, after)| (class.as_str(), *after));
    // A class that is there twice would be a series twice.
    let levels: BTreeMap<&str, Exhaustion> = classes.chain([node]).collect();
    let there = || {
        levels
            .iter()
            .filter_map(|(level, exhaustion)| Some((*level, exhaustion.after?, exhaustion)))
    };
    let mut metric = describe(encoder, &f::EXHAUSTION)?;
    for (level, after, _) in there() {
        sample(
            &mut metric,
            &f::EXHAUSTION,
            &Labels([("level", level)]),
            after.into(),
        )?;
    }
    let mut metric = describe(encoder, &f::EXHAUSTION_CONFIDENCE)?;
    for (level, _, exhaustion) in there() {
        let confidence = Value::Number(exhaustion.confidence);
        sample(
            &mut metric,
            &f::EXHAUSTION_CONFIDENCE,
            &Labels([("level", level)]),
            confidence,
        )?;
    }
    Ok(())
}

fn thresholds(pressure: &PressureReport, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let of = |threshold: &crate::model::pressure::ThresholdReport| {
        let kind = if threshold.grace.is_zero() { "hard" } else { "soft" };
        ((threshold.signal.name(), kind), threshold.met_since.is_some())
    };
    let met: BTreeMap<_, _> = pressure.thresholds.iter().map(of).collect();
    let mut metric = describe(encoder, &f::THRESHOLD_MET)?;
    for ((signal, kind), met) in met {
        let labels = Labels([("eviction_signal", signal), ("kind", kind)]);
        sample(&mut metric, &f::THRESHOLD_MET, &labels, u64::from(met).into())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::sample::decision_record;

    fn counts(counters: &PressureCounters) -> (u64, u64, u64) {
        let kill = counters.acts.get_or_create_owned(&rung_label(Rung::Kill)).get();
        let outcome = |outcome| {
            counters
                .decisions
                .get_or_create_owned(&OutcomeLabel { outcome })
                .get()
        };
        (kill, outcome("relieved"), outcome("dry_run"))
    }

    #[test]
    fn a_decision_is_counted_once_however_it_is_told() {
        let counters = PressureCounters::register(&mut Registry::default());
        let settled = decision_record(1);
        let begun = DecisionRecord {
            outcome: Outcome::Begun,
            ..settled.clone()
        };
        counters.decided(&begun);
        assert_eq!(counts(&counters), (1, 0, 0));
        counters.settled(&settled);
        assert_eq!(counts(&counters), (1, 1, 0));
        counters.decided(&settled);
        assert_eq!(counts(&counters), (2, 2, 0));
        let dry = DecisionRecord {
            outcome: Outcome::DryRun,
            ..settled
        };
        counters.decided(&dry);
        assert_eq!(counts(&counters), (2, 2, 1), "nobody was killed");
        let signal = EvictionSignal {
            eviction_signal: Signal::MemoryAvailable.name(),
        };
        assert_eq!(counters.evictions.get_or_create_owned(&signal).get(), 2);
    }

    #[test]
    fn a_kill_of_the_kernels_is_missed_only_if_it_was_the_nodes() {
        let counters = PressureCounters::register(&mut Registry::default());
        counters.kernel_killed(KernelKill::Pod, 3);
        assert_eq!(counters.missed.get(), 0);
        counters.kernel_killed(KernelKill::Node, 4);
        assert_eq!(counters.missed.get(), 1);
        assert_eq!(
            counters
                .kernel_kills
                .get_or_create_owned(&Scope { scope: "node" })
                .get(),
            4
        );
    }
}
