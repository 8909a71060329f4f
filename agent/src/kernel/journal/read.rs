//! Reading a journal: all of its segments, or one file that somebody copied.
//!
//! # Properties
//! - Nothing is written, and nothing waited for.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::Dir;

use super::{JournalError, SUFFIX, decode, name, refused};
use crate::kernel::files::{FileError, read_bounded};

/// The largest segment that is read: many times an eighth of the largest journal that makes sense.
const LARGEST: u64 = 1 << 30;

/// What a journal holds.
#[derive(Debug, Default)]
pub struct JournalText {
    /// The JSON of its records, oldest first.
    pub records: Vec<Vec<u8>>,
    /// Lines that are no records.
    pub damaged: u64,
    /// Bytes of half a record at the end.
    pub torn: u64,
}

/// Reads a journal's directory, or one of its files.
///
/// # Errors
/// The kernel's refusal, or a file that is no regular one or too large.
pub fn read_journal(path: &Path) -> Result<JournalText, FileError> {
    let files = match segments_at(path) {
        Some(files) => files,
        None => vec![path.to_owned()],
    };
    let mut text = JournalText::default();
    for file in files {
        let (bytes, _) = match read_bounded(&file, LARGEST) {
            Ok(read) => read,
            // Its turn to be removed came since it was listed.
            Err(error) if error.is_missing() && file != path => continue,
            Err(error) => return Err(error),
        };
        let decoded = decode(&bytes);
        text.damaged += decoded.damaged;
        text.torn = (bytes.len() - decoded.whole) as u64;
        text.records
            .extend(decoded.records.into_iter().map(<[u8]>::to_vec));
    }
    Ok(text)
}

/// The segments of a directory; none where the path is something else, or cannot be read, which reading it as a file
/// will tell.
fn segments_at(path: &Path) -> Option<Vec<PathBuf>> {
    let dir = File::open(path)
        .ok()
        .filter(|file| file.metadata().is_ok_and(|m| m.is_dir()))?;
    let segments = segments(&dir, path).ok()?;
    Some(
        segments
            .into_iter()
            .map(|(number, _)| path.join(name(number)))
            .collect(),
    )
}

/// Number and size of each segment, oldest first.
pub(super) fn segments(dir: &File, path: &Path) -> Result<Vec<(u64, u64)>, JournalError> {
    let fail = |errno: rustix::io::Errno| refused("list", path)(errno.into());
    let mut segments = Vec::new();
    for entry in Dir::read_from(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let Ok(found) = entry.file_name().to_str() else {
            continue;
        };
        let number = found.strip_suffix(SUFFIX).and_then(|number| number.parse().ok());
        let Some(number) = number.filter(|number| name(*number) == found) else {
            continue;
        };
        let stat = rustix::fs::statat(dir, found, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
        segments.push((number, u64::try_from(stat.st_size).unwrap_or_default()));
    }
    segments.sort_unstable();
    Ok(segments)
}

/// The bytes of one segment.
pub(super) fn segment(path: &Path, number: u64) -> Result<Vec<u8>, JournalError> {
    let file = path.join(name(number));
    match read_bounded(&file, LARGEST) {
        Ok((bytes, _)) => Ok(bytes),
        Err(error) => Err(refused("read", &file)(std::io::Error::other(error))),
    }
}
