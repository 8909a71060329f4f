//! Recorded decisions, read from a journal and made again.
//!
//! # Properties
//! - Every decision of the file is in the report once, as it was told last, or is counted as unreadable.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::decide::replay::{JournalEntry, Verdict, again};
use crate::kernel::files::FileError;
use crate::kernel::journal::read_journal;
use crate::model::pressure::DecisionRecord;

/// What a journal holds.
#[derive(Debug, Default)]
pub struct RecordedDecisions {
    /// Decisions by their numbers, each with what it rested on where that is there.
    entries: BTreeMap<u64, JournalEntry>,
    /// Lines that are no records, or of another version.
    pub unreadable: u64,
    /// Bytes of half a record at the end.
    pub torn: u64,
}

impl RecordedDecisions {
    /// Reads a journal's directory, or one of its files.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let text = read_journal(path)?;
        let mut read = Self {
            unreadable: text.damaged,
            torn: text.torn,
            ..Self::default()
        };
        for json in &text.records {
            match serde_json::from_slice::<JournalEntry>(json) {
                Ok(entry) => read.add(entry),
                Err(_) => read.unreadable += 1,
            }
        }
        Ok(read)
    }

    fn add(&mut self, entry: JournalEntry) {
        let number = entry.record.number;
        let before = self.entries.remove(&number).and_then(|before| before.inputs);
        let inputs = entry.inputs.or(before);
        self.entries.insert(number, JournalEntry { inputs, ..entry });
    }

    /// The decisions, oldest first.
    #[must_use]
    pub fn records(&self) -> Vec<DecisionRecord> {
        self.entries.values().map(|entry| entry.record.clone()).collect()
    }

    /// All of it, decided by today's rules.
    #[must_use]
    pub fn replay(&self) -> ReplayReport {
        let replayed = |entry: &JournalEntry| {
            let inputs = entry.inputs.as_ref()?;
            let then = Verdict::recorded(&entry.record);
            let now = Verdict::of(&again(inputs), &inputs.roster);
            Some(Replayed {
                record: entry.record.clone(),
                differs: then != now,
                then,
                now,
            })
        };
        let decisions: Vec<_> = self.entries.values().filter_map(replayed).collect();
        let pared = |entry: &&JournalEntry| entry.inputs.as_ref().is_some_and(|inputs| inputs.left_out > 0);
        ReplayReport {
            pared: self.entries.values().filter(pared).count(),
            without_inputs: self.entries.len() - decisions.len(),
            unreadable: self.unreadable,
            torn: self.torn,
            decisions,
        }
    }
}

/// One decision, then and now.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replayed {
    /// As it was recorded.
    pub record: DecisionRecord,
    /// What was decided then.
    pub then: Verdict,
    /// What would be decided now.
    pub now: Verdict,
    /// Whether that is something else.
    pub differs: bool,
}

/// What came of a replay.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayReport {
    /// Decisions that were made again.
    pub decisions: Vec<Replayed>,
    /// How many of them without the pods that had no part in what was decided then.
    pub pared: usize,
    /// How many could not be, since what they rested on is not there.
    pub without_inputs: usize,
    /// Lines that are no records, or of another version.
    pub unreadable: u64,
    /// Bytes of half a record at the end.
    pub torn: u64,
}

impl ReplayReport {
    /// How many would come out differently.
    #[must_use]
    pub fn differing(&self) -> usize {
        self.decisions.iter().filter(|replayed| replayed.differs).count()
    }
}
