//! What the agent remembers across its own restarts: one record for each pod, below `stateDir`.
//!
//! **Problem.** The agent may be killed between any two instructions, and the record is what tells a container
//! from a stranger's process afterwards. Half a record is worse than none; a record from before a reboot names
//! pids and times that mean nothing. **How.** A record is written whole under another name and renamed over the
//! old one; it is not synced to disk, for it carries the boot's id and is of no use after the next boot. What cannot
//! be read is reported and put aside as `*.corrupt`, where it can be looked at, and the agent goes on without it.
//!
//! # What holds
//! - After a crash of the agent at any instruction a record is the last one saved or the one before, never a mixture.
//! - A record that is the same as the last one saved is not written again.
//! - Loading never fails because of a record's content.

use std::collections::HashMap;
use std::fs::{DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::kernel::node_facts::{BOOT_ID, boot_id};
use crate::model::PodUid;

#[cfg(test)]
mod tests;

/// The format of the records; another one is put aside.
const VERSION: u32 = 1;
/// The largest record that is read: many times what the largest manifest makes.
const LARGEST: u64 = 16 << 20;
/// The directory below `stateDir`.
const PODS: &str = "pods";

/// A record or its directory that could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path:?}: {source}")]
pub struct StateError {
    /// What was being done, as a verb.
    pub operation: &'static str,
    /// To what.
    pub path: PathBuf,
    /// The kernel's answer, or what is wrong with the content.
    pub source: io::Error,
}

/// What was found.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The records of this boot.
    pub records: Vec<(PodUid, T)>,
    /// Records that could not be read and were put aside, each with the reason.
    pub put_aside: Vec<StateError>,
    /// How many were from another boot and were removed.
    pub other_boot: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<T> {
    version: u32,
    boot_id: String,
    uid: PodUid,
    record: T,
}

/// What can be told of a record before its content is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    version: u32,
    boot_id: String,
}

/// The directory of records.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    dir: OwnedFd,
    boot_id: String,
    /// What was saved last, by its hash.
    saved: HashMap<PodUid, u64>,
}

impl StateDir {
    /// Opens `<state_dir>/pods`, which is made if it is missing and must be the agent's own, closed to others.
    ///
    /// # Errors
    /// The kernel's refusal; `EPERM` for a directory that others own or may enter.
    pub fn open(state_dir: &Path) -> Result<Self, StateError> {
        let boot_id = boot_id().map_err(|e| error("read", Path::new(BOOT_ID), e))?;
        Self::open_in_boot(state_dir, &boot_id)
    }

    fn open_in_boot(state_dir: &Path, boot_id: &str) -> Result<Self, StateError> {
        let path = state_dir.join(PODS);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|e| error("make", &path, e))?;
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&path, flags, Mode::empty()).map_err(|e| error("open", &path, e))?;
        let stat = rustix::fs::fstat(&dir).map_err(|e| error("open", &path, e))?;
        let open_to_others = Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO);
        if stat.st_uid != rustix::process::geteuid().as_raw() || open_to_others {
            return Err(error("use", &path, Errno::PERM));
        }
        Ok(Self {
            path,
            dir,
            boot_id: boot_id.to_owned(),
            saved: HashMap::new(),
        })
    }

    /// Saves a pod's record; false when it is the one saved last.
    ///
    /// # Errors
    /// The kernel's refusal; the record before it then still stands.
    pub fn save<T: Serialize>(&mut self, uid: &PodUid, record: &T) -> Result<bool, StateError> {
        let name = file_name(uid);
        let fail = |e: io::Error| error("save", &self.path.join(&name), e);
        let envelope = Envelope {
            version: VERSION,
            boot_id: self.boot_id.clone(),
            uid: uid.clone(),
            record,
        };
        let content = serde_json::to_vec(&envelope).map_err(|e| fail(e.into()))?;
        let hash = hash_of(&content);
        if self.saved.get(uid) == Some(&hash) {
            return Ok(false);
        }
        self.replace(&name, &content).map_err(fail)?;
        self.saved.insert(uid.clone(), hash);
        Ok(true)
    }

    /// Removes a pod's record; one that is not there is no error.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn remove(&mut self, uid: &PodUid) -> Result<(), StateError> {
        self.saved.remove(uid);
        self.unlink(&file_name(uid))
    }

    /// Reads all records, in the order of their UIDs. Those from another boot and half-written ones are removed.
    ///
    /// # Errors
    /// The directory cannot be read, or what is to be put aside cannot be renamed.
    pub fn load<T: DeserializeOwned>(&mut self) -> Result<Loaded<T>, StateError> {
        let mut loaded = Loaded {
            records: Vec::new(),
            put_aside: Vec::new(),
            other_boot: 0,
        };
        for name in self.names()? {
            if name.ends_with(".part") {
                self.unlink(&name)?;
            }
            let Some(uid) = name.strip_suffix(".json") else {
                continue;
            };
            match self.read(&name, uid) {
                Ok(Some((uid, record))) => loaded.records.push((uid, record)),
                Ok(None) => {
                    self.unlink(&name)?;
                    loaded.other_boot += 1;
                }
                Err(source) => {
                    let aside = format!("{name}.corrupt");
                    rustix::fs::renameat(&self.dir, name.as_str(), &self.dir, aside.as_str())
                        .map_err(|e| error("put aside", &self.path.join(&name), e))?;
                    loaded
                        .put_aside
                        .push(error("read", &self.path.join(&name), source));
                }
            }
        }
        Ok(loaded)
    }

    /// One record; none when it is from another boot.
    fn read<T: DeserializeOwned>(&mut self, name: &str, uid: &str) -> io::Result<Option<(PodUid, T)>> {
        let uid = PodUid::parse(uid).map_err(invalid)?;
        // Without waiting, should a FIFO have come to stand there.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.dir, name, flags, Mode::empty())?);
        let mut content = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut content)?;
        if content.len() as u64 > LARGEST {
            return Err(invalid(format!("it has over {LARGEST} bytes")));
        }
        let header: Header = serde_json::from_slice(&content)?;
        if header.boot_id != self.boot_id {
            return Ok(None);
        }
        if header.version != VERSION {
            return Err(invalid(format!(
                "its format is {}, not {VERSION}",
                header.version
            )));
        }
        let envelope: Envelope<T> = serde_json::from_slice(&content)?;
        if envelope.uid != uid {
            return Err(invalid(format!("it is the record of {}", envelope.uid)));
        }
        self.saved.insert(uid.clone(), hash_of(&content));
        Ok(Some((uid, envelope.record)))
    }

    fn names(&self) -> Result<Vec<String>, StateError> {
        let fail = |e: Errno| error("list", &self.path, e);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.dir).map_err(fail)? {
            // A name that is no text is none of ours.
            names.extend(entry.map_err(fail)?.file_name().to_str().ok().map(str::to_owned));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let part = format!("{name}.part");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut file = File::from(rustix::fs::openat(&self.dir, part.as_str(), flags, mode)?);
        file.write_all(content)?;
        rustix::fs::renameat(&self.dir, part.as_str(), &self.dir, name)?;
        Ok(())
    }

    fn unlink(&self, name: &str) -> Result<(), StateError> {
        match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(error("remove", &self.path.join(name), errno)),
        }
    }
}

fn file_name(uid: &PodUid) -> String {
    format!("{uid}.json")
}

/// Only compared within this process, so that the hash may differ from one build to the next.
fn hash_of(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn error(operation: &'static str, path: &Path, source: impl Into<io::Error>) -> StateError {
    StateError {
        operation,
        path: path.to_owned(),
        source: source.into(),
    }
}
