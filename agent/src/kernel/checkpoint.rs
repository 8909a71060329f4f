//! One file that holds what the agent must still know after it was killed: written whole or not at all.
//!
//! **Problem.** The agent, or the machine, may stop between any two instructions. What is found afterwards must be all of
//! one state, and a file that is not (a full disk, a flipped bit, an editor, another version of the agent) must be told
//! from one that is, and must not keep the agent from starting.
//!
//! **How.** The content is one JSON value in an envelope with the format's version and a CRC-32 of the content's very
//! bytes. CRC-32 finds every burst of up to 32 wrong bits and misses one in 4·10⁹ of the others; the file is the agent's
//! own, so that nothing stronger is needed. It is written under another name, synced, renamed over the old one, and the
//! directory is synced. What cannot be used is put aside under a name that says why and is free, and never deleted.
//!
//! Whoever has the file open has the state directory to itself: a second one is refused ([`CheckpointError::InUse`]).
//! That is a `flock` of the directory, of which nothing is left behind. A process that a killed agent was just starting has
//! it too until it runs its own program, which is waited for.
//!
//! # What holds
//! - After an end at any instruction the file is the last one saved or the one before, never a mixture.
//! - A content that is the same as the one in the file is not written again.
//! - Loading never fails because of the file.

mod error;
#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::fault;
pub use error::{CheckpointError, Found, Unusable};

/// The file of exclusive CPUs, below `stateDir`.
pub const CPUS: &str = "cpus.json";
/// The format of the envelope and of what is in it.
const VERSION: u32 = 1;
/// The largest file that is read: many times what the most pods on the largest machine make.
const LARGEST: u64 = 16 << 20;
/// How long the lock is waited for: much longer than a process takes from its fork to its own program.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the lock is tried meanwhile.
const TRIES: u32 = 50;
/// How many files of one kind are put aside; then the file stays and is overwritten.
const MOST_ASIDE: u32 = 100;

/// What was found, and where it is now.
#[derive(Debug)]
pub struct Loaded<T> {
    /// What was found.
    pub found: Found<T>,
    /// Where an unusable file was put, or why it could not be.
    pub put_aside: Option<Result<PathBuf, CheckpointError>>,
}

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    version: u32,
    /// Of the bytes of `content`.
    crc32: u32,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// What all versions have in common.
#[derive(Deserialize)]
struct Header {
    version: u32,
}

/// The file.
#[derive(Debug)]
pub struct CheckpointFile {
    path: PathBuf,
    name: &'static str,
    /// Locked for as long as this is there.
    dir: File,
    /// What is in the file, as far as this knows.
    saved: Option<Vec<u8>>,
    /// Whether it has to outlive the machine's stop, and not only the agent's.
    synced: bool,
}

impl CheckpointFile {
    /// The file of this name (such as `cpus.json`) in the directory, which is made if it is missing. Nothing is read.
    ///
    /// # Errors
    /// [`CheckpointError::InUse`], or the kernel's refusal to make, open or lock the directory.
    pub fn open(state_dir: &Path, name: &'static str) -> Result<Self, CheckpointError> {
        let refused = |operation| move |source| CheckpointError::refused(operation, state_dir, source);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(state_dir);
        made.map_err(refused("make"))?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(state_dir, flags, Mode::empty());
        let dir = File::from(dir.map_err(|errno| refused("open")(errno.into()))?);
        let mut locked = dir.try_lock();
        for _ in 0..TRIES {
            if !matches!(locked, Err(TryLockError::WouldBlock)) {
                break;
            }
            std::thread::sleep(PATIENCE / TRIES);
            locked = dir.try_lock();
        }
        match locked {
            Ok(()) => Ok(Self {
                path: state_dir.join(name),
                name,
                dir,
                saved: None,
                synced: true,
            }),
            Err(TryLockError::WouldBlock) => Err(CheckpointError::InUse {
                path: state_dir.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(refused("lock")(source)),
        }
    }

    /// The same for what means nothing after the machine's next start: saving it does not wait for the disk. After a power
    /// cut the file may be unusable, and is put aside as such.
    #[must_use]
    pub const fn for_this_boot(mut self) -> Self {
        self.synced = false;
        self
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what is there. A file that cannot be used is put aside.
    pub fn load<T: DeserializeOwned>(&mut self) -> Loaded<T> {
        self.saved = None;
        let found = match self.read() {
            Err(errno) if errno == Errno::NOENT => Found::Missing,
            Err(errno) => Found::Unusable(Unusable::Unreadable(errno)),
            Ok(bytes) => match opened(&bytes) {
                Ok(content) => {
                    self.saved = Some(bytes);
                    Found::Usable(content)
                }
                Err(unusable) => Found::Unusable(unusable),
            },
        };
        let put_aside = match &found {
            Found::Unusable(unusable) => Some(self.put_aside(unusable.suffix())),
            Found::Missing | Found::Usable(_) => None,
        };
        Loaded { found, put_aside }
    }

    /// Saves the content; false when it is what the file has already.
    ///
    /// # Errors
    /// The kernel's refusal. The file then is this one or the one before, and the next call writes again.
    pub fn save<T: Serialize>(&mut self, content: &T) -> Result<bool, CheckpointError> {
        let bytes = sealed(content).map_err(|e| CheckpointError::refused("encode", &self.path, e.into()))?;
        if self.saved.as_ref() == Some(&bytes) {
            return Ok(false);
        }
        self.saved = None;
        self.replace(&bytes)?;
        self.saved = Some(bytes);
        Ok(true)
    }

    fn read(&self) -> Result<Vec<u8>, Errno> {
        // Without waiting, should a FIFO have come to stand there.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.dir, self.name, flags, Mode::empty())?);
        let mut bytes = Vec::new();
        let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
        read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(bytes)
    }

    fn replace(&self, bytes: &[u8]) -> Result<(), CheckpointError> {
        let refused =
            |operation| move |source: io::Error| CheckpointError::refused(operation, &self.path, source);
        let part = format!("{}.part", self.name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.dir, part.as_str(), flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(opened.map_err(|errno| refused("create the successor of")(errno.into()))?);
        fault::point("checkpoint.created");
        // In two pieces, so that an end between them leaves half of it.
        let (half, rest) = bytes.split_at(bytes.len() / 2);
        let written = file.write_all(half).and_then(|()| {
            fault::point("checkpoint.half-written");
            file.write_all(rest)
        });
        written.map_err(refused("write"))?;
        fault::point("checkpoint.written");
        if self.synced {
            file.sync_all().map_err(refused("sync"))?;
        }
        fault::point("checkpoint.synced");
        rustix::fs::renameat(&self.dir, part.as_str(), &self.dir, self.name)
            .map_err(|errno| refused("replace")(errno.into()))?;
        fault::point("checkpoint.renamed");
        if self.synced {
            rustix::fs::fsync(self.dir.as_fd())
                .map_err(|errno| refused("sync the directory of")(errno.into()))?;
        }
        fault::point("checkpoint.durable");
        Ok(())
    }

    /// Renames the file to the first free one of `<name>.<suffix>`, `<name>.<suffix>.2`, and so on.
    fn put_aside(&self, suffix: &str) -> Result<PathBuf, CheckpointError> {
        let first = format!("{}.{suffix}", self.name);
        let more = (2..=MOST_ASIDE).map(|n| format!("{first}.{n}"));
        let mut result = Err(Errno::EXIST);
        for aside in std::iter::once(first.clone()).chain(more) {
            let flags = RenameFlags::NOREPLACE;
            result = rustix::fs::renameat_with(&self.dir, self.name, &self.dir, aside.as_str(), flags);
            match result {
                Ok(()) => return Ok(self.path.with_file_name(aside)),
                Err(errno) if errno == Errno::EXIST => {}
                Err(_) => break,
            }
        }
        result.map_err(|errno| CheckpointError::refused("put aside", &self.path, errno.into()))?;
        Ok(self.path.with_file_name(first))
    }
}

impl Drop for CheckpointFile {
    fn drop(&mut self) {
        // Closing alone would leave the lock to a process that is just being started. If it fails, closing must do.
        self.dir.unlock().ok();
    }
}

/// A content in its envelope.
fn sealed<T: Serialize>(content: &T) -> Result<Vec<u8>, serde_json::Error> {
    let content = serde_json::value::to_raw_value(content)?;
    let mut bytes = serde_json::to_vec(&Envelope {
        version: VERSION,
        crc32: crc32fast::hash(content.get().as_bytes()),
        content: &content,
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The content of an envelope.
fn opened<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unusable> {
    let corrupt = |error: serde_json::Error| Unusable::Corrupt(error.to_string());
    if bytes.len() as u64 > LARGEST {
        return Err(Unusable::Corrupt(format!("it has more than {LARGEST} bytes")));
    }
    let header: Header = serde_json::from_slice(bytes).map_err(corrupt)?;
    match header.version {
        VERSION => {}
        version if version < VERSION => {
            return Err(Unusable::Older {
                version,
                ours: VERSION,
            });
        }
        version => {
            return Err(Unusable::Newer {
                version,
                ours: VERSION,
            });
        }
    }
    let envelope: Envelope<'_> = serde_json::from_slice(bytes).map_err(corrupt)?;
    let crc32 = crc32fast::hash(envelope.content.get().as_bytes());
    if crc32 != envelope.crc32 {
        return Err(Unusable::Corrupt(format!(
            "its checksum is {crc32:08x}, and it says {:08x}",
            envelope.crc32
        )));
    }
    serde_json::from_str(envelope.content.get()).map_err(corrupt)
}
