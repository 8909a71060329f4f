//! Putting the node back as it was found, with no agent at work.

#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::Context;

use crate::act::undo::{PutBack, put_back};
use crate::decide::undo::{Undoing, undo};
use crate::kernel::cgroup_fs::{CgroupFs, RealCgroupFs, find_mount};
use crate::kernel::undo::{FoundUndo, UndoJournal, read_undo};
use crate::model::{ChangedValue, FoundValue};
use crate::observe::undo::look;

/// What became of one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restored {
    /// What was there before is there again.
    PutBack,
    /// It would be put back; nothing was done.
    WouldBePutBack,
    /// It was there already.
    AlreadyThere,
    /// Somebody else wrote this since: it was left.
    Left(String),
    /// The cgroup is gone, and with it the value.
    Gone,
    /// It could not be put back, for that reason; the next restore tries again.
    Failed(String),
}

/// What came of a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Every change that was written down, the last one first, with what became of it.
    pub changes: Vec<(ChangedValue, Restored)>,
    /// What is strange about what was written down.
    pub notes: Vec<String>,
    /// Whether some of what was written down cannot be read, so that more may have been changed.
    pub partly_unknown: bool,
}

impl RestoreReport {
    /// Whether everything that is still the agent's was put back, or would be.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let failed = |(_, restored): &(_, _)| matches!(restored, Restored::Failed(_));
        !self.partly_unknown && !self.changes.iter().any(failed)
    }
}

/// Puts back what an agent with this state directory changed; only tells of it if `dry_run`.
///
/// # Errors
/// An agent is at work, or the kernel refused to show the state directory or the cgroup file system.
pub fn restore(state_dir: &Path, dry_run: bool) -> anyhow::Result<RestoreReport> {
    let found = read_undo(state_dir)?;
    let mut report = RestoreReport {
        changes: Vec::new(),
        notes: notes(&found),
        partly_unknown: found.unusable.is_some() || found.damaged > 0,
    };
    // What cannot be used is left for people to look at.
    if !found.there || found.unusable.is_some() {
        return Ok(report);
    }
    if found.changes.is_empty() {
        if !dry_run {
            UndoJournal::open(state_dir)?.0.remove_if_empty()?;
        }
        return Ok(report);
    }
    let mount = find_mount()?;
    let fs = RealCgroupFs::open(&mount).with_context(|| format!("open {}", mount.display()))?;
    if dry_run {
        report.changes = rehearse(&fs, found.changes);
        return Ok(report);
    }
    let (mut journal, _) = UndoJournal::open(state_dir)?;
    report.changes = put_all_back(&fs, &mut journal)?;
    journal.remove_if_empty()?;
    Ok(report)
}

fn notes(found: &FoundUndo) -> Vec<String> {
    let unusable = found
        .unusable
        .as_ref()
        .map(|why| format!("what was written down cannot be used: {why}"));
    let damaged = (found.damaged > 0)
        .then(|| format!("{} lines are damaged: what they told is not known", found.damaged));
    let boot = found
        .other_boot
        .then(|| "what was written down is of an earlier boot, and gone with it".to_owned());
    unusable.into_iter().chain(damaged).chain(boot).collect()
}

fn answers(fs: &dyn CgroupFs, changes: Vec<ChangedValue>) -> Vec<(ChangedValue, Undoing)> {
    undo(changes.into_iter().map(|change| {
        let found: FoundValue = look(fs, &change);
        (change, found)
    }))
}

fn rehearse(fs: &dyn CgroupFs, changes: Vec<ChangedValue>) -> Vec<(ChangedValue, Restored)> {
    let answers = answers(fs, changes).into_iter();
    let told = answers.map(|(change, answer)| (change, settled(answer).unwrap_or(Restored::WouldBePutBack)));
    told.collect()
}

fn put_all_back(
    fs: &dyn CgroupFs,
    journal: &mut UndoJournal,
) -> anyhow::Result<Vec<(ChangedValue, Restored)>> {
    let mut done = Vec::new();
    for (change, answer) in answers(fs, journal.changes()) {
        let restored = settled(answer).unwrap_or_else(|| match put_back(fs, &change) {
            PutBack::Done => Restored::PutBack,
            PutBack::Gone => Restored::Gone,
            PutBack::NotByFile(channel) => {
                Restored::Failed(format!("it was set by {channel}, not by its file"))
            }
            PutBack::Refused(why) => Restored::Failed(why),
            PutBack::Differs(now) => Restored::Failed(format!("the kernel shows {now:?} afterwards")),
        });
        if !matches!(restored, Restored::Failed(_)) {
            journal.forget(change.id, change.file)?;
        }
        done.push((change, restored));
    }
    Ok(done)
}

/// What is to be said of an answer after which nothing is done; none of what is put back.
fn settled(answer: Undoing) -> Option<Restored> {
    Some(match answer {
        Undoing::PutBack => return None,
        Undoing::Undone => Restored::AlreadyThere,
        Undoing::Theirs(now) => Restored::Left(now),
        Undoing::Gone => Restored::Gone,
        Undoing::Unknown(why) => Restored::Failed(why),
    })
}
