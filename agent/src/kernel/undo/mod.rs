//! What was there before the agent changed it, on disk, so that it can be put back by whoever comes after.
//!
//! **Problem.** On a node that kubelet runs the agent changes files of cgroups that are not its own, and it may be killed
//! between any two of these writes, or uninstalled. What was there is nowhere but here. **How.** A change is announced, with
//! what is there and what will be, before the file is written; once it was read back, what the kernel made of the value is
//! kept instead ([`UndoJournal::settle`]). These are lines with a checksum each, as in the [journal](super::journal); the
//! last one about a file counts. When most lines are superseded the file is written anew under another name and renamed.
//!
//! It is not synced: after the machine's next start no cgroup is there any more, and the file carries the start's id.
//! Whoever has it open has the directory to itself; reading it needs nothing ([`read_undo`]).
//!
//! # What holds
//! - After an end at any instruction every file that has a value of the agent's is there with what it had before.
//! - What was there before the first change stays, however often the file is changed.
//! - A damaged line takes no other with it; what is half written was not yet done.
//! - Nothing is written for what is known already, and nothing stays about what was put back.

mod file;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::fault;
use super::journal::{encode, lock_directory};
use crate::model::{CgroupId, CgroupPath, ChangedValue, Channel, ControlFile};
pub use file::read_undo;
use file::{Contents, NAME};

/// The directory below `stateDir`.
pub const UNDO: &str = "undo";
/// The format of the lines.
const VERSION: u32 = 1;
/// Values of one file that were announced and not settled, at most; the oldest go.
const MOST_PENDING: usize = 16;
/// So many superseded lines are no reason yet to write the file anew.
const SPARE_LINES: usize = 256;

/// The journal of changes could not be used.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// The kernel refused.
    #[error("cannot {operation} {path:?}: {source}")]
    Refused {
        /// What was being done, as a verb.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// An agent runs.
    #[error("an agent is at work: it notes its changes in {path:?}")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
}

fn refused(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> UndoError {
    move |source| UndoError::Refused {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundUndo {
    /// Whether there is a file at all.
    pub there: bool,
    /// The changes of this boot that were not put back, in the order in which they were first made.
    pub changes: Vec<ChangedValue>,
    /// Lines that are none.
    pub damaged: u64,
    /// Bytes of a line that was half written.
    pub cut: u64,
    /// Whether it was of another boot, and so is of nothing that is there.
    pub other_boot: bool,
    /// Why it cannot be used as a whole; it is put aside when the journal is opened.
    pub unusable: Option<String>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    /// The first one.
    Begin {
        version: u32,
        boot: String,
    },
    Changed(ChangedValue),
    /// It was put back, or its cgroup is gone.
    Forgotten {
        id: CgroupId,
        file: ControlFile,
    },
}

/// The journal of changes, open for writing.
#[derive(Debug)]
pub struct UndoJournal {
    path: PathBuf,
    /// Locked for as long as this is there.
    dir: File,
    file: File,
    boot: String,
    contents: Contents,
    size: u64,
    /// Lines in the file.
    lines: usize,
}

impl UndoJournal {
    /// Opens the journal below `state_dir`, which is made if it is missing, and takes over what is there.
    ///
    /// # Errors
    /// [`UndoError::InUse`], or the kernel's refusal.
    pub fn open(state_dir: &Path) -> Result<(Self, FoundUndo), UndoError> {
        let boot = file::boot()?;
        Self::open_in_boot(state_dir, &boot)
    }

    fn open_in_boot(state_dir: &Path, boot: &str) -> Result<(Self, FoundUndo), UndoError> {
        let path = state_dir.join(UNDO);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(refused("make", &path))?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&path, flags, Mode::empty());
        let dir = File::from(dir.map_err(|errno| refused("open", &path)(errno.into()))?);
        lock_directory(&dir).map_err(|error| match error {
            TryLockError::WouldBlock => UndoError::InUse { path: path.clone() },
            TryLockError::Error(source) => refused("lock", &path)(source),
        })?;
        let (contents, mut found) = file::load(&dir, &path, boot)?;
        if found.unusable.is_some() {
            file::put_aside(&dir, &path)?;
        }
        found.changes = contents.in_order();
        let (file, size) = file::replace(&dir, &path, boot, &contents)?;
        let journal = Self {
            lines: contents.len() + 1,
            path,
            dir,
            file,
            boot: boot.to_owned(),
            contents,
            size,
        };
        Ok((journal, found))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.path.join(NAME)
    }

    /// The changes that were not put back, in the order in which they were first made.
    #[must_use]
    pub fn changes(&self) -> Vec<ChangedValue> {
        self.contents.in_order()
    }

    /// Writes down that `value` is about to be written where `before` is. What was there before the first change counts.
    ///
    /// # Errors
    /// The kernel's refusal: then the file must not be written.
    pub fn announce(
        &mut self,
        cgroup: &CgroupPath,
        id: CgroupId,
        file: ControlFile,
        channel: Channel,
        before: &str,
        value: &str,
    ) -> Result<(), UndoError> {
        let (before, value) = (before.trim_end(), value.trim_end());
        let mut change = match self.contents.get(id, file) {
            Some(known) if known.ours.iter().any(|ours| ours == value) => return Ok(()),
            Some(known) => known.clone(),
            None => ChangedValue {
                cgroup: cgroup.clone(),
                id,
                file,
                channel,
                before: before.to_owned(),
                ours: Vec::new(),
            },
        };
        change.ours.push(value.to_owned());
        let surplus = change.ours.len().saturating_sub(MOST_PENDING);
        change.ours.drain(..surplus);
        self.append(Line::Changed(change))
    }

    /// Writes down what the kernel shows after the value was written: no other is there any more. What is as before is
    /// forgotten.
    ///
    /// # Errors
    /// The kernel's refusal: then more is kept than need be, which does no harm.
    pub fn settle(&mut self, id: CgroupId, file: ControlFile, shown: &str) -> Result<(), UndoError> {
        let shown = shown.trim_end();
        let Some(known) = self.contents.get(id, file) else {
            return Ok(());
        };
        if known.before == shown {
            return self.forget(id, file);
        }
        if known.ours == [shown] {
            return Ok(());
        }
        let ours = vec![shown.to_owned()];
        let change = ChangedValue {
            ours,
            ..known.clone()
        };
        self.append(Line::Changed(change))
    }

    /// Forgets a change: it was put back, or is somebody else's by now.
    ///
    /// # Errors
    /// The kernel's refusal: then it stays.
    pub fn forget(&mut self, id: CgroupId, file: ControlFile) -> Result<(), UndoError> {
        if self.contents.get(id, file).is_none() {
            return Ok(());
        }
        self.append(Line::Forgotten { id, file })
    }

    /// Forgets the changes of cgroups that are not among these.
    ///
    /// # Errors
    /// The kernel's refusal: then some stay, which does no harm.
    pub fn keep(&mut self, there: &BTreeSet<CgroupId>) -> Result<(), UndoError> {
        let gone: Vec<_> = self
            .changes()
            .into_iter()
            .filter(|change| !there.contains(&change.id))
            .collect();
        gone.into_iter()
            .try_for_each(|change| self.forget(change.id, change.file))
    }

    /// Removes the file, and the directory if nothing else is in it, when there is nothing to undo; tells whether.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn remove_if_empty(self) -> Result<bool, UndoError> {
        if self.contents.len() > 0 {
            return Ok(false);
        }
        rustix::fs::unlinkat(&self.dir, NAME, AtFlags::empty())
            .map_err(|errno| refused("remove", &self.path())(errno.into()))?;
        match rustix::fs::rmdir(&self.path) {
            // What was put aside is for people to look at.
            Ok(()) | Err(Errno::NOTEMPTY) => Ok(true),
            Err(errno) => Err(refused("remove", &self.path)(errno.into())),
        }
    }

    /// Writes a line, and only then takes it as said.
    fn append(&mut self, line: Line) -> Result<(), UndoError> {
        let mut bytes = Vec::new();
        let json = serde_json::to_vec(&line);
        encode(
            &json.map_err(|error| refused("encode", &self.path())(error.into()))?,
            &mut bytes,
        );
        // In two pieces, so that an end between them leaves half of it.
        let (half, rest) = bytes.split_at(bytes.len() / 2);
        let written = self.file.write_all(half).and_then(|()| {
            fault::point("undo.half-written");
            self.file.write_all(rest)
        });
        if let Err(source) = written {
            self.file
                .set_len(self.size)
                .map_err(refused("cut", &self.path()))?;
            return Err(refused("write", &self.path())(source));
        }
        fault::point("undo.written");
        self.size += bytes.len() as u64;
        self.lines += 1;
        self.contents.take(line);
        if self.lines > 2 * self.contents.len() + SPARE_LINES {
            (self.file, self.size) = file::replace(&self.dir, &self.path, &self.boot, &self.contents)?;
            self.lines = self.contents.len() + 1;
        }
        Ok(())
    }
}

impl Drop for UndoJournal {
    fn drop(&mut self) {
        // Closing alone would leave the lock to a process that is just being started. If it fails, closing must do.
        self.dir.unlock().ok();
    }
}
