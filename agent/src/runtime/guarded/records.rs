//! Records of decisions, from when they are made until it is known what came of them.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{info, warn};

use super::super::decisions::Decisions;
use super::super::guard::outbox::News;
use super::words;
use crate::decide::replay::{DecisionInputs, JournalEntry, KEPT};
use crate::metrics::PressureCounters;
use crate::model::pressure::{Act, Decision, DecisionRecord, Domain, JournalReport, Outcome, PodFacts, Rung};
use crate::model::{BootTime, CgroupId};
use crate::state::pressure::Settled;

/// Records of which the outcome is not known yet, at most; the oldest go first.
const OPEN: usize = 64;

struct Open {
    record: DecisionRecord,
    cgroup: Option<CgroupId>,
}

/// The records.
pub(super) struct Records {
    decisions: Decisions,
    open: BTreeMap<u64, Open>,
}

impl Records {
    pub(super) fn new(decisions: Decisions) -> Self {
        Self {
            decisions,
            open: BTreeMap::new(),
        }
    }

    /// Whether something is still to be said about this pod.
    pub(super) fn is_about(&self, cgroup: CgroupId) -> bool {
        self.open.values().any(|open| open.cgroup == Some(cgroup))
    }

    /// The latest decisions, oldest first.
    pub(super) fn latest(&self) -> Vec<DecisionRecord> {
        self.decisions.latest().cloned().collect()
    }

    pub(super) fn journal(&self) -> JournalReport {
        self.decisions.report()
    }

    /// A decision was made; gives why, in a sentence.
    pub(super) fn decided(
        &mut self,
        news: &News,
        pod: Option<&PodFacts>,
        wall: Duration,
        counters: &PressureCounters,
    ) -> Option<String> {
        let News::Decided {
            number,
            decision,
            figures,
            times,
            dry,
            ..
        } = news
        else {
            return None;
        };
        let (need, act, outcome) = match *decision {
            Decision::Fine => return None,
            Decision::Wait { need } => (need, None, Outcome::Watched),
            Decision::Nobody { need, why } => (need, None, Outcome::Nobody { why }),
            Decision::Act { need, act } if *dry => (need, Some(act), Outcome::DryRun),
            Decision::Act { need, act } => (need, Some(act), Outcome::Begun),
        };
        let why = words::why(&need, act, pod, figures.as_ref());
        let record = DecisionRecord {
            number: *number,
            wall,
            need,
            act,
            rung: act.map(Act::rung),
            pod: pod.map(|pod| (pod.uid.clone(), pod.namespace.clone(), pod.name.clone())),
            why: why.clone(),
            times: *times,
            outcome,
        };
        let name = pod.map(|pod| pod.name.as_str()).unwrap_or_default();
        match (&record.outcome, need.domain) {
            (Outcome::Watched, Domain::Pod(_)) => info!(number, pod = name, "{why}"),
            _ => warn!(number, pod = name, act = record.rung.map(Rung::name), "{why}"),
        }
        // What is begun is counted once it is done, with the time of the signal.
        if record.outcome != Outcome::Begun {
            counters.decided(&record);
        }
        self.write(&record);
        if record.outcome == Outcome::Begun {
            if self.open.len() >= OPEN {
                self.open.pop_first();
            }
            let cgroup = pod.map(|pod| pod.cgroup);
            self.open.insert(*number, Open { record, cgroup });
        }
        Some(why)
    }

    /// It was done.
    pub(super) fn done(&mut self, number: u64, at: BootTime, counters: &PressureCounters) {
        let Some(open) = self.open.get_mut(&number) else {
            return;
        };
        let takes = matches!(open.record.rung, Some(Rung::Evict | Rung::Kill));
        open.record.times.signalled = Some(at).filter(|_| takes);
        counters.decided(&open.record);
        if !takes {
            // Its outcome shows in what comes next.
            self.open.remove(&number);
        }
    }

    /// A decision was left, since things had changed.
    pub(super) fn stale(&self, counters: &PressureCounters) {
        counters.stale();
    }

    /// It could not be done.
    pub(super) fn refused(&mut self, number: u64, error: String, counters: &PressureCounters) {
        if let Some(Open { mut record, .. }) = self.open.remove(&number) {
            record.outcome = Outcome::Failed { error };
            counters.decided(&record);
            self.write(&record);
        }
    }

    /// A victim's time is over.
    pub(super) fn settled(&mut self, number: Option<u64>, settled: &Settled, counters: &PressureCounters) {
        let victim = &settled.victim;
        let Some(Open { mut record, .. }) = number.and_then(|number| self.open.remove(&number)) else {
            info!(
                cgroup = victim.cgroup.0,
                freed = victim.freed.0,
                "a kill of an agent before this one is over"
            );
            return;
        };
        record.times.empty = victim.empty;
        record.times.freed = victim.half;
        record.outcome = match settled.spent {
            None => Outcome::Relieved { freed: victim.freed },
            Some(cause) => Outcome::Spent {
                freed: victim.freed,
                predicted: victim.predicted,
                cause,
            },
        };
        let took = settled.at.since(victim.begun);
        info!(number = record.number, outcome = ?record.outcome, ?took, "a victim's time is over");
        counters.settled(&record);
        self.write(&record);
    }

    /// What a decision rested on, for the journal.
    pub(super) fn rested_on(&mut self, number: u64, inputs: DecisionInputs) {
        let known = self.decisions.latest().find(|record| record.number == number);
        if let Some(record) = known.cloned() {
            self.decisions.record(JournalEntry {
                record,
                inputs: Some(inputs.pared(KEPT)),
            });
        }
    }

    fn write(&mut self, record: &DecisionRecord) {
        self.decisions.record(JournalEntry {
            record: record.clone(),
            inputs: None,
        });
    }
}
