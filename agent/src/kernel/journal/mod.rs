//! The journal: what was decided about memory, on disk, bounded.
//!
//! **Problem.** After a pod was killed somebody asks why, perhaps after the agent or the machine was stopped in the very
//! moment; and whoever writes that down must not hold up the kill. **How.** Records are lines with a checksum each
//! ([`codec`]) in numbered *segments* of an eighth of the journal's size; a new segment is begun when the last one is full,
//! and the oldest go. A worker writes and syncs ([`JournalWorker`]); who hands over a record never waits. What must be
//! known after a stop in the middle of a kill stands in a slot of its own ([`Slot`]).
//!
//! Whoever has the journal open has its directory to itself. It is the agent's own: mode 0700, and links in it are not
//! followed.
//!
//! # Properties
//! - After a stop at any byte all records before the last one are there, and the next one is written behind them.
//! - The segments never have more than the given size together, by more than one record.
//! - A write that fails leaves no half record behind.

mod codec;
#[cfg(test)]
mod killed;
mod read;
mod slot;
#[cfg(test)]
mod tests;
mod worker;

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::fault;
use crate::model::Bytes;
pub use codec::{Decoded, decode, encode};
pub use read::{JournalText, read_journal};
pub use slot::Slot;
pub use worker::{Counted, Handed, JournalWorker};

/// What the segments' names end with.
const SUFFIX: &str = ".journal";
/// How many segments a full journal has.
const SEGMENTS: u64 = 8;
/// How long the lock is waited for: a process that a killed agent was just starting has it until it runs its own program.
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: u32 = 50;

/// The journal could not be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
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
    /// Another agent writes there.
    #[error("another agent keeps its journal in {path:?}: give each a journalDir of its own")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
}

/// Allocates nothing until there is an error.
fn refused(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> JournalError {
    move |source| JournalError::Refused {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// What was found when a journal was opened.
#[derive(Debug, Default)]
pub struct FoundJournal {
    /// The JSON of the latest records, oldest first.
    pub latest: Vec<Vec<u8>>,
    /// Bytes of a record that was half written, now cut off.
    pub cut: u64,
    /// Lines of the last segments that are no records; they stay.
    pub damaged: u64,
}

/// The journal, open for writing.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// Locked for as long as this is there.
    dir: File,
    most: u64,
    /// Number and size of each segment, oldest first; the last one is written to.
    segments: Vec<(u64, u64)>,
    file: File,
}

impl Journal {
    /// Opens the journal in a directory, which is made if it is missing, cuts off what was half written, and reads the
    /// `latest` records of the last two segments.
    ///
    /// # Errors
    /// The kernel's refusal, or another agent has it open.
    pub fn open(path: &Path, most: Bytes, latest: usize) -> Result<(Self, FoundJournal), JournalError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(refused("make", path))?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty());
        let dir = File::from(dir.map_err(|errno| refused("open", path)(errno.into()))?);
        lock(&dir, path)?;
        let mut segments = read::segments(&dir, path)?;
        let mut found = FoundJournal::default();
        let mut texts = Vec::new();
        for (n, (number, size)) in segments.iter_mut().rev().take(2).enumerate() {
            let bytes = read::segment(path, *number)?;
            let decoded = decode(&bytes);
            found.damaged += decoded.damaged;
            if n == 0 && decoded.whole < bytes.len() {
                found.cut = (bytes.len() - decoded.whole) as u64;
                *size = decoded.whole as u64;
            }
            texts.push(
                decoded
                    .records
                    .into_iter()
                    .map(<[u8]>::to_vec)
                    .collect::<Vec<_>>(),
            );
        }
        found.latest = texts.into_iter().rev().flatten().collect();
        found.latest.drain(..found.latest.len().saturating_sub(latest));
        if segments.is_empty() {
            segments.push((1, 0));
        }
        let (number, size) = segments.last().copied().unwrap_or((1, 0));
        let file = append_to(&dir, path, number)?;
        let name = path.join(name(number));
        file.set_len(size).map_err(refused("cut", &name))?;
        let journal = Self {
            path: path.to_owned(),
            dir,
            most: most.0,
            segments,
            file,
        };
        Ok((journal, found))
    }

    /// Writes a record, after those that are there. It is not on disk before [`Self::sync`].
    ///
    /// # Errors
    /// The kernel's refusal; the record then is not there.
    pub fn append(&mut self, json: &[u8]) -> Result<(), JournalError> {
        let mut line = Vec::with_capacity(json.len() + 16);
        encode(json, &mut line);
        let length = line.len() as u64;
        if self.last().1 > 0 && self.last().1 + length > self.most / SEGMENTS {
            self.begin()?;
        }
        self.make_room(length)?;
        let (number, size) = self.last();
        // In two pieces, so that an end between them leaves half of it.
        let (half, rest) = line.split_at(line.len() / 2);
        let written = self.file.write_all(half).and_then(|()| {
            fault::point("journal.half-written");
            self.file.write_all(rest)
        });
        if let Err(source) = written {
            let path = self.path.join(name(number));
            self.file.set_len(size).map_err(refused("cut", &path))?;
            return Err(refused("write", &path)(source));
        }
        if let Some(last) = self.segments.last_mut() {
            last.1 += length;
        }
        Ok(())
    }

    /// Waits until everything written is on disk.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn sync(&self) -> Result<(), JournalError> {
        self.file
            .sync_data()
            .map_err(refused("sync", &self.path.join(name(self.last().0))))
    }

    /// Bytes of all segments together.
    #[must_use]
    pub fn size(&self) -> Bytes {
        Bytes(self.segments.iter().map(|(_, size)| size).sum())
    }

    fn last(&self) -> (u64, u64) {
        self.segments.last().copied().unwrap_or((1, 0))
    }

    /// Begins the next segment; what is in the last one goes to disk.
    fn begin(&mut self) -> Result<(), JournalError> {
        self.sync()?;
        let number = self.last().0 + 1;
        self.file = append_to(&self.dir, &self.path, number)?;
        self.segments.push((number, 0));
        self.dir.sync_all().map_err(refused("sync", &self.path))
    }

    /// Removes the oldest segments until so many bytes more fit; the last one stays.
    fn make_room(&mut self, length: u64) -> Result<(), JournalError> {
        while self.segments.len() > 1 && self.size().0 + length > self.most {
            let oldest = name(self.segments[0].0);
            match rustix::fs::unlinkat(&self.dir, oldest.as_str(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(refused("remove", &self.path.join(&oldest))(errno.into())),
            }
            self.segments.remove(0);
        }
        Ok(())
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Closing alone would leave the lock to a process that is just being started. If it fails, closing must do.
        self.dir.unlock().ok();
    }
}

fn name(number: u64) -> String {
    format!("{number:010}{SUFFIX}")
}

/// Locks a directory, with patience.
pub(super) fn lock_directory(dir: &File) -> Result<(), TryLockError> {
    let mut locked = dir.try_lock();
    for _ in 0..TRIES {
        if !matches!(locked, Err(TryLockError::WouldBlock)) {
            break;
        }
        std::thread::sleep(PATIENCE / TRIES);
        locked = dir.try_lock();
    }
    locked
}

fn lock(dir: &File, path: &Path) -> Result<(), JournalError> {
    lock_directory(dir).map_err(|error| match error {
        TryLockError::WouldBlock => JournalError::InUse {
            path: path.to_owned(),
        },
        TryLockError::Error(source) => refused("lock", path)(source),
    })
}

fn append_to(dir: &File, path: &Path, number: u64) -> Result<File, JournalError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let name = name(number);
    let file = rustix::fs::openat(dir, name.as_str(), flags, Mode::RUSR | Mode::WUSR);
    file.map(File::from)
        .map_err(|errno| refused("open", &path.join(&name))(errno.into()))
}
