//! The running agent's journal of decisions: numbers that go on over restarts, the latest ones at hand, the rest on disk.
//!
//! # Properties
//! - A number is never given twice, as long as the journal's last two segments are there.
//! - Handing a record over neither waits nor fails; without a journal the latest ones are still at hand.

use std::collections::VecDeque;
use std::sync::Arc;

use tracing::{error, info, warn};

use crate::config::Config;
use crate::decide::replay::JournalEntry;
use crate::kernel::journal::{Counted, Journal, JournalError, JournalWorker};
use crate::model::Bytes;
use crate::model::pressure::{DecisionRecord, JournalReport};

/// How many decisions are at hand for `plimsoll events` and `plimsoll explain`.
const AT_HAND: usize = 200;

/// The journal and the latest decisions.
#[derive(Debug)]
pub struct Decisions {
    worker: Option<JournalWorker<JournalEntry>>,
    counted: Option<Arc<Counted>>,
    problem: Option<String>,
    path: String,
    next: u64,
    latest: VecDeque<DecisionRecord>,
}

impl Decisions {
    /// Opens the journal of `config`. One that cannot be used is logged and told in the report: the agent decides on.
    #[must_use]
    pub fn open(config: &Config) -> Self {
        let path = config.journal_dir.display().to_string();
        let mut decisions = Self {
            worker: None,
            counted: None,
            problem: None,
            path,
            next: 1,
            latest: VecDeque::with_capacity(AT_HAND),
        };
        if let Err(problem) = decisions.begin(config) {
            error!(%problem, "no journal of decisions is kept");
            decisions.problem = Some(problem.to_string());
        }
        decisions
    }

    fn begin(&mut self, config: &Config) -> Result<(), JournalError> {
        // Each decision is there twice: as it was made, and as it came out.
        let (journal, found) =
            Journal::open(&config.journal_dir, config.journal_max_size.get(), 2 * AT_HAND)?;
        if found.cut > 0 {
            warn!(bytes = found.cut, path = %self.path, "the journal ended in half a record, which is cut off");
        }
        if found.damaged > 0 {
            warn!(lines = found.damaged, path = %self.path, "lines of the journal are damaged and passed over");
        }
        for json in &found.latest {
            match serde_json::from_slice::<JournalEntry>(json) {
                Ok(entry) => self.keep(entry.record),
                Err(error) => {
                    warn!(%error, path = %self.path, "a record of the journal is of another version");
                }
            }
        }
        let refused = |error: JournalError| error!(%error, "a decision is missing in the journal");
        let worker = JournalWorker::start(journal, refused).map_err(|source| JournalError::Refused {
            operation: "start a worker for",
            path: config.journal_dir.to_path_buf(),
            source,
        })?;
        info!(path = %self.path, next = self.next, "decisions are kept");
        self.counted = Some(worker.counted());
        self.worker = Some(worker);
        Ok(())
    }

    /// The number of the next decision; each call gives another one.
    pub fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// A decision was made, or its outcome is known.
    pub fn record(&mut self, entry: JournalEntry) {
        self.keep(entry.record.clone());
        if let Some(worker) = &self.worker {
            // What is lost is counted, and told by a metric.
            worker.hand_over(entry);
        }
    }

    fn keep(&mut self, record: DecisionRecord) {
        self.next = self.next.max(record.number.saturating_add(1));
        match self.latest.iter_mut().find(|known| known.number == record.number) {
            Some(known) => *known = record,
            None => {
                if self.latest.len() == AT_HAND {
                    self.latest.pop_front();
                }
                self.latest.push_back(record);
            }
        }
    }

    /// The latest decisions, oldest first, each as it was told last.
    pub fn latest(&self) -> impl Iterator<Item = &DecisionRecord> {
        self.latest.iter()
    }

    /// How the journal stands.
    #[must_use]
    pub fn report(&self) -> JournalReport {
        let counted = |of: fn(&Counted) -> u64| self.counted.as_deref().map_or(0, of);
        JournalReport {
            path: self.path.clone(),
            problem: self.problem.clone(),
            written: counted(Counted::written),
            lost: counted(Counted::lost),
            size: Bytes(counted(Counted::bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::model::pressure::Outcome;
    use crate::model::sample::decision_record;

    fn open(dir: &std::path::Path) -> Decisions {
        let text = format!("journalDir: {}\n", dir.display());
        Decisions::open(&config::parse(&text, "test.yaml").unwrap())
    }

    fn entry(number: u64, outcome: Outcome) -> JournalEntry {
        JournalEntry {
            record: DecisionRecord {
                outcome,
                ..decision_record(number)
            },
            inputs: None,
        }
    }

    #[test]
    fn numbers_and_outcomes_outlive_the_agent() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut decisions = open(&path);
        let first = decisions.number();
        decisions.record(entry(first, Outcome::Begun));
        let second = decisions.number();
        decisions.record(entry(second, Outcome::Begun));
        decisions.record(entry(first, Outcome::DryRun));
        drop(decisions);
        let mut decisions = open(&path);
        let latest: Vec<_> = decisions
            .latest()
            .map(|r| (r.number, r.outcome.clone()))
            .collect();
        assert_eq!(latest, [(1, Outcome::DryRun), (2, Outcome::Begun)]);
        assert_eq!(decisions.number(), 3);
        assert!(decisions.report().size > Bytes(0) && decisions.report().problem.is_none());
    }

    #[test]
    fn without_a_journal_decisions_are_still_told() {
        let mut decisions = open(std::path::Path::new("/proc/journal"));
        assert!(decisions.report().problem.unwrap().contains("/proc/journal"));
        for _ in 0..=AT_HAND {
            let number = decisions.number();
            decisions.record(entry(number, Outcome::Begun));
        }
        assert_eq!(decisions.latest().count(), AT_HAND);
        assert_eq!(decisions.latest().next().unwrap().number, 2);
    }
}
