//! The file of the journal of changes: read, and written anew.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{FoundUndo, Line, UNDO, UndoError, VERSION, refused};
use crate::kernel::fault;
use crate::kernel::journal::{decode, encode};
use crate::kernel::node_facts::{BOOT_ID, boot_id};
use crate::model::{CgroupId, ChangedValue, ControlFile};

pub(super) const NAME: &str = "changes";
const PART: &str = "changes.part";
const ASIDE: &str = "changes.unusable";
/// The largest file that is read: many times what all files of the most cgroups make.
const LARGEST: u64 = 64 << 20;

/// The changes, by file.
#[derive(Debug, Default)]
pub(super) struct Contents {
    changes: BTreeMap<(CgroupId, ControlFile), (u64, ChangedValue)>,
    /// The number of the next one.
    next: u64,
}

impl Contents {
    pub(super) fn get(&self, id: CgroupId, file: ControlFile) -> Option<&ChangedValue> {
        self.changes.get(&(id, file)).map(|(_, change)| change)
    }

    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    pub(super) fn take(&mut self, line: Line) {
        match line {
            Line::Begin { .. } => {}
            Line::Forgotten { id, file } => {
                self.changes.remove(&(id, file));
            }
            Line::Changed(change) => {
                let key = (change.id, change.file);
                // It keeps its place among the others.
                let number = self.changes.get(&key).map_or(self.next, |(number, _)| *number);
                self.next = self.next.max(number + 1);
                self.changes.insert(key, (number, change));
            }
        }
    }

    pub(super) fn in_order(&self) -> Vec<ChangedValue> {
        let mut changes: Vec<_> = self.changes.values().collect();
        changes.sort_by_key(|(number, _)| *number);
        changes.into_iter().map(|(_, change)| change.clone()).collect()
    }
}

/// The id of the machine's start.
pub(super) fn boot() -> Result<String, UndoError> {
    boot_id().map_err(refused("read", Path::new(BOOT_ID)))
}

/// What is written down below `state_dir`, without opening the journal: nothing is made, locked or changed.
///
/// # Errors
/// The kernel's refusal.
pub fn read_undo(state_dir: &Path) -> Result<FoundUndo, UndoError> {
    let path = state_dir.join(UNDO);
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = match rustix::fs::open(&path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(FoundUndo::default()),
        dir => File::from(dir.map_err(|errno| refused("open", &path)(errno.into()))?),
    };
    let (contents, mut found) = load(&dir, &path, &boot()?)?;
    found.changes = contents.in_order();
    Ok(found)
}

/// Reads the file; what it is worth is told.
pub(super) fn load(dir: &File, path: &Path, boot: &str) -> Result<(Contents, FoundUndo), UndoError> {
    let mut found = FoundUndo::default();
    let bytes = match read(dir) {
        Err(Errno::NOENT) => return Ok((Contents::default(), found)),
        // Not a file, or a link: none of ours, and put aside.
        Err(errno @ (Errno::LOOP | Errno::ISDIR | Errno::NXIO)) => {
            found.there = true;
            found.unusable = Some(format!("it cannot be read: {errno}"));
            return Ok((Contents::default(), found));
        }
        bytes => bytes.map_err(|errno| refused("read", &path.join(NAME))(errno.into()))?,
    };
    found.there = true;
    let contents = understand(&bytes, boot, &mut found);
    Ok((contents, found))
}

fn understand(bytes: &[u8], boot: &str, found: &mut FoundUndo) -> Contents {
    let mut contents = Contents::default();
    if bytes.len() as u64 > LARGEST {
        found.unusable = Some(format!("it has more than {LARGEST} bytes"));
        return contents;
    }
    let decoded = decode(bytes);
    found.damaged = decoded.damaged;
    found.cut = (bytes.len() - decoded.whole) as u64;
    let mut records = decoded.records.into_iter();
    match records.next().map(serde_json::from_slice::<Line>) {
        // It is renamed into place with its first line, so that an empty one was not written by an agent.
        None => found.unusable = Some("it has no first line".to_owned()),
        Some(Ok(Line::Begin { version, boot: of })) if version == VERSION => {
            found.other_boot = of != boot;
        }
        Some(Ok(Line::Begin { version, .. })) => {
            found.unusable = Some(format!("its format is {version}, not {VERSION}"));
        }
        Some(Ok(_) | Err(_)) => found.unusable = Some("its first line is damaged".to_owned()),
    }
    if found.unusable.is_some() || found.other_boot {
        return contents;
    }
    for record in records {
        match serde_json::from_slice(record) {
            Ok(line) => contents.take(line),
            Err(_) => found.damaged += 1,
        }
    }
    contents
}

fn read(dir: &File) -> Result<Vec<u8>, Errno> {
    // Without waiting, should a FIFO have come to stand there.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(dir, NAME, flags, Mode::empty())?);
    let mut bytes = Vec::new();
    let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
    read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(bytes)
}

/// Renames what cannot be used, over what was put aside before.
pub(super) fn put_aside(dir: &File, path: &Path) -> Result<PathBuf, UndoError> {
    rustix::fs::renameat(dir, NAME, dir, ASIDE)
        .map_err(|errno| refused("put aside", &path.join(NAME))(errno.into()))?;
    Ok(path.join(ASIDE))
}

/// Writes the file anew with these changes; gives it open for appending, with its size.
pub(super) fn replace(
    dir: &File,
    path: &Path,
    boot: &str,
    contents: &Contents,
) -> Result<(File, u64), UndoError> {
    let error = |operation| move |source: io::Error| refused(operation, &path.join(PART))(source);
    let begin = Line::Begin {
        version: VERSION,
        boot: boot.to_owned(),
    };
    let changes = contents.in_order().into_iter().map(Line::Changed);
    let mut bytes = Vec::new();
    for line in std::iter::once(begin).chain(changes) {
        let json = serde_json::to_vec(&line).map_err(|e| error("encode")(e.into()))?;
        encode(&json, &mut bytes);
    }
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(dir, PART, flags, Mode::RUSR | Mode::WUSR);
    let mut file = File::from(opened.map_err(|errno| error("create")(errno.into()))?);
    fault::point("undo.part-created");
    file.write_all(&bytes).map_err(error("write"))?;
    fault::point("undo.part-written");
    rustix::fs::renameat(dir, PART, dir, NAME).map_err(|errno| error("rename")(errno.into()))?;
    fault::point("undo.renamed");
    Ok((file, bytes.len() as u64))
}
