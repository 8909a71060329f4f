//! What is remembered of files that others overwrote.
//!
//! Times are since boot and passed in. What there is to remember is bounded: one history for each file, of which a few
//! moments are kept, and files of cgroups that are gone are forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{BootTime, CgroupId, FileKind};

/// A file of one cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DriftKey {
    /// The cgroup.
    pub cgroup: CgroupId,
    /// The file.
    pub file: FileKind,
}

/// How it went with one file so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriftHistory {
    /// When the value was written again, oldest first; those within the window count.
    pub rewrites: Vec<BootTime>,
    /// Not before then it is written again.
    pub not_before: BootTime,
    /// When it was last seen to be changed by somebody else.
    pub changed: Option<BootTime>,
    /// What was there then.
    pub seen: Option<String>,
    /// Given up, when, and how often before without its having held since.
    pub given_up: Option<BootTime>,
    /// How often it was given up.
    pub times_given_up: u32,
}

impl DriftHistory {
    /// Notes what is there, which somebody else wrote; `event` when it is known to have been written just now, even if the
    /// same.
    pub fn note(&mut self, seen: &str, event: bool, now: BootTime) {
        if event || self.seen.as_deref() != Some(seen) {
            self.changed = Some(now);
            self.seen = Some(seen.to_owned());
        }
    }

    /// How long nobody else has changed it.
    #[must_use]
    pub fn quiet(&self, now: BootTime) -> Duration {
        self.changed.map_or(Duration::MAX, |changed| now.since(changed))
    }

    /// Forgets writes before `since`.
    pub fn forget_before(&mut self, since: BootTime) {
        self.rewrites.retain(|at| *at >= since);
    }
}

/// The histories of all files that were ever overwritten.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriftMemory {
    files: BTreeMap<DriftKey, DriftHistory>,
}

impl DriftMemory {
    /// That of one file, a new one if there was none.
    pub fn history(&mut self, key: DriftKey) -> &mut DriftHistory {
        self.files.entry(key).or_default()
    }

    /// Forgets one file: what is wanted of it has changed, so that it is another matter.
    pub fn forget(&mut self, key: DriftKey) {
        self.files.remove(&key);
    }

    /// Forgets the cgroups that are not among these.
    pub fn keep(&mut self, there: &BTreeSet<CgroupId>) {
        self.files.retain(|key, _| there.contains(&key.cgroup));
    }

    /// The files that are given up now.
    pub fn given_up(&self) -> impl Iterator<Item = DriftKey> {
        let files = self.files.iter();
        files.filter_map(|(key, history)| history.given_up.map(|_| *key))
    }

    /// How many files have a history.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether nothing was ever overwritten.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_another_value_or_an_event() {
        let at = |seconds| BootTime(Duration::from_secs(seconds));
        let mut history = DriftHistory::default();
        assert_eq!(history.quiet(at(9)), Duration::MAX);
        history.note("1", false, at(10));
        history.note("1", false, at(20));
        assert_eq!(history.quiet(at(21)), Duration::from_secs(11));
        history.note("1", true, at(30));
        assert_eq!(history.changed, Some(at(30)));
        history.note("2", false, at(40));
        assert_eq!(history.changed, Some(at(40)));
    }

    #[test]
    fn files_of_cgroups_that_are_gone_are_forgotten() {
        let key = |id| DriftKey {
            cgroup: CgroupId(id),
            file: FileKind::CpuWeight,
        };
        let mut memory = DriftMemory::default();
        for id in [1, 2] {
            memory.history(key(id)).given_up = Some(BootTime::default());
        }
        memory.keep(&BTreeSet::from([CgroupId(2)]));
        assert_eq!(memory.given_up().collect::<Vec<_>>(), [key(2)]);
        memory.forget(key(2));
        assert!(memory.is_empty());
    }
}
