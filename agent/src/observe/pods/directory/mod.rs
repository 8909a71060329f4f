//! A directory of manifests, as it changes.
//!
//! **What is read.** Regular files, or links to them, whose names end in `.yaml`, `.yml` or `.json` and do not begin
//! with a dot: editors' temporary files have other names. Files above [`MAX_FILE_BYTES`] are refused unread. A file
//! is read again when its stamp changed or inotify named it, and not while somebody has it open and has written to
//! it.
//!
//! **What goes away.** A file that was removed takes its pods with it; one that cannot be read or used now keeps
//! them ([`super::set`]). A directory that is not there is an error and takes nothing: its pods keep running. When
//! it is made again, as a deployment tool would, it fills up file by file, so files count as present at once but as
//! absent only when it has been quiet for [`SETTLE`].
//!
//! **How to use it.** Poll the descriptor; when it is readable, [`drain`](PodDirectory::drain), and if that says so,
//! [`rescan`](PodDirectory::rescan) after [`DEBOUNCE`]; rescan also at [`next_look`](PodDirectory::next_look) and now
//! and then (links into other directories are not watched).
//!
//! # Properties
//! - Whatever the files contain, reading ends, and errors of one file do not touch the pods of another.
//! - Looking again without a change changes nothing and reads nothing.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{ManifestError, Position};
use super::set::{PodChange, PodSet, diff, merge, succeed};
use super::{Manifests, read_manifests};
use crate::kernel::dir_watch::{DirWatch, WatchError};
use crate::kernel::files::{self, DirectoryId, FileError, FileStamp, Listed};

/// The longest file that is read: far above any pod, far below what would hurt the agent.
pub const MAX_FILE_BYTES: u64 = 1 << 20;
/// How long to wait for further changes after one, before looking.
pub const DEBOUNCE: Duration = Duration::from_millis(10);
/// How long a directory that was made again must be quiet before files that are not there count as removed.
pub const SETTLE: Duration = Duration::from_secs(2);

/// The manifests of one directory.
#[derive(Debug)]
pub struct PodDirectory {
    path: PathBuf,
    node_name: String,
    watch: DirWatch,
    /// Names that inotify gave since the last look.
    touched: BTreeSet<OsString>,
    /// The path may lead to another directory than the one that was last looked at, even one with its number.
    moved: bool,
    /// Read everything, whatever the stamps say.
    lost: bool,
    /// The directory that was last looked at.
    identity: Option<DirectoryId>,
    /// Set while absence does not count: when the directory last changed.
    settling_since: Option<Duration>,
    files: BTreeMap<String, KnownFile>,
    /// About the directory, or about files whose names cannot be used.
    own_errors: Vec<ManifestError>,
    set: PodSet,
}

#[derive(Debug)]
struct KnownFile {
    /// None when the file could not even be looked at.
    stamp: Option<FileStamp>,
    manifests: Manifests,
}

impl PodDirectory {
    /// Begins to watch `path`, which need not exist, and knows of no pods before the first rescan. `node_name`
    /// enters the UIDs of pods that have none.
    ///
    /// # Errors
    /// The kernel refuses to watch.
    pub fn open(path: &Path, node_name: &str) -> Result<Self, WatchError> {
        Ok(Self {
            watch: DirWatch::new(path)?,
            path: path.to_owned(),
            node_name: node_name.to_owned(),
            touched: BTreeSet::new(),
            moved: false,
            lost: false,
            identity: None,
            settling_since: None,
            files: BTreeMap::new(),
            own_errors: Vec::new(),
            set: PodSet::default(),
        })
    }

    /// Takes note of what changed. True when a rescan may find something new.
    ///
    /// # Errors
    /// The kernel refuses to read its notifications.
    pub fn drain(&mut self) -> Result<bool, WatchError> {
        let changes = self.watch.drain()?;
        self.moved |= changes.moved;
        self.lost |= changes.lost;
        self.touched.extend(
            changes
                .names
                .into_iter()
                .filter(|name| is_manifest_name(name.as_encoded_bytes())),
        );
        Ok(self.moved || self.lost || !self.touched.is_empty())
    }

    /// Looks at the directory at the time `now` (on any clock that does not go back) and says what changed.
    ///
    /// # Errors
    /// The kernel refuses to watch. The set of pods is as before then.
    pub fn rescan(&mut self, now: Duration) -> Result<Vec<PodChange>, WatchError> {
        self.drain()?;
        self.own_errors.clear();
        if self.moved || files::directory_id(&self.path).ok() != self.identity {
            self.watch.aim()?;
        }
        let listed = files::directory_id(&self.path).and_then(|identity| {
            let listed = files::list(&self.path, is_manifest_name)?;
            Ok((identity, listed))
        });
        match listed {
            Ok((identity, listed)) => self.look_at(identity, listed, now),
            Err(error) => {
                self.moved = true;
                self.directory_error(
                    format!("cannot be read: {error}"),
                    "make it readable; its pods keep running",
                );
            }
        }
        self.touched.clear();
        self.lost = false;
        let mut set = merge(
            &self.set,
            self.files.iter().map(|(name, file)| (name, &file.manifests)),
        );
        set.errors.append(&mut self.own_errors);
        set.errors
            .sort_by(|a, b| (&a.file, a.document, a.at).cmp(&(&b.file, b.document, b.at)));
        set.complete = set.errors.is_empty();
        let changes = diff(&self.set, &set);
        self.set = set;
        Ok(changes)
    }

    /// The pods and errors of the last rescan.
    #[must_use]
    pub fn pods(&self) -> &PodSet {
        &self.set
    }

    /// When to rescan although nothing may change before, on the clock of `now`.
    #[must_use]
    pub fn next_look(&self) -> Option<Duration> {
        self.settling_since.map(|since| since.saturating_add(SETTLE))
    }

    fn look_at(&mut self, identity: DirectoryId, listed: Vec<Listed>, now: Duration) {
        if self.moved || self.identity.is_some_and(|known| known != identity) {
            self.settling_since = Some(now);
        }
        self.moved = false;
        self.identity = Some(identity);
        let mut present = BTreeSet::new();
        let mut changed = false;
        for Listed { name, stamp } in listed {
            let Some(text) = name.to_str() else {
                let file = name.to_string_lossy();
                let advice = "rename the file";
                self.own_errors.push(ManifestError::of_file(
                    &file,
                    "has a name that is not UTF-8",
                    advice,
                ));
                continue;
            };
            present.insert(text.to_owned());
            let unchanged = self
                .files
                .get(text)
                .is_some_and(|known| known.stamp.is_some() && known.stamp == stamp.as_ref().ok().copied());
            let again = self.lost || self.touched.contains(&name);
            if (unchanged && !again) || self.watch.is_being_written(&name) {
                continue;
            }
            changed |= !unchanged;
            self.read(text, stamp);
        }
        let absent = self.files.keys().filter(|name| !present.contains(*name)).count();
        self.settling_since = match self.settling_since {
            Some(_) if changed => Some(now),
            Some(since) if absent > 0 && now < since.saturating_add(SETTLE) => Some(since),
            _ => None,
        };
        if self.settling_since.is_none() {
            self.files.retain(|name, _| present.contains(name));
        } else if absent > 0 {
            self.directory_error(
                format!("was made again, and {absent} of its files are not there yet"),
                "nothing to do: their pods stop only if it stays so",
            );
        }
    }

    /// Reads one file and keeps what can be kept.
    fn read(&mut self, name: &str, listed: Result<FileStamp, FileError>) {
        let path = self.path.join(name);
        let (stamp, read) = match listed.map(|stamp| (stamp, files::read_bounded(&path, MAX_FILE_BYTES))) {
            Ok((_, Ok((content, stamp)))) => (Some(stamp), parse(name, &content, &self.node_name)),
            Ok((stamp, Err(error))) => (Some(stamp), unreadable(name, &error)),
            Err(error) => (None, unreadable(name, &error)),
        };
        let before = self
            .files
            .remove(name)
            .map(|known| known.manifests.pods)
            .unwrap_or_default();
        let manifests = succeed(&before, read);
        self.files.insert(name.to_owned(), KnownFile { stamp, manifests });
    }

    fn directory_error(&mut self, problem: String, advice: &'static str) {
        let path = self.path.to_string_lossy();
        self.own_errors
            .push(ManifestError::of_file(&path, problem, advice));
    }
}

impl AsFd for PodDirectory {
    /// Readable when there is something to drain.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

/// What a file of this content says.
pub(super) fn parse(name: &str, content: &[u8], node_name: &str) -> Manifests {
    match std::str::from_utf8(content) {
        Ok(text) => read_manifests(name, text, node_name),
        Err(error) => {
            let before = &content[..error.valid_up_to()];
            let line_start = before
                .iter()
                .rposition(|&byte| byte == b'\n')
                .map_or(0, |at| at + 1);
            let at = Position {
                line: before.iter().filter(|&&byte| byte == b'\n').count() + 1,
                column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
            };
            let error = ManifestError {
                at: Some(at),
                ..ManifestError::of_file(name, "is not UTF-8 text", "save it as UTF-8")
            };
            Manifests {
                pods: Vec::new(),
                errors: vec![error],
            }
        }
    }
}

pub(super) fn is_manifest_name(name: &[u8]) -> bool {
    !name.starts_with(b".")
        && [".yaml", ".yml", ".json"]
            .iter()
            .any(|end| name.ends_with(end.as_bytes()))
}

pub(super) fn unreadable(name: &str, error: &FileError) -> Manifests {
    let (problem, advice) = match error {
        FileError::TooLarge { max, .. } => (
            format!("has more than {max} bytes"),
            "split it: one file for each application, say",
        ),
        FileError::NotRegular { .. } => (
            "is no regular file".to_owned(),
            "put a file or a link to one there, or use a name with another ending",
        ),
        FileError::Refused { errno, .. } if error.is_missing() => (
            format!("leads nowhere: {errno}"),
            "it is a link whose target is missing: correct or remove it",
        ),
        FileError::Refused { operation, errno, .. } => (
            format!("cannot be read ({operation}: {errno})"),
            "make it readable for the agent, or remove it",
        ),
    };
    Manifests {
        pods: Vec::new(),
        errors: vec![ManifestError::of_file(name, problem, advice)],
    }
}
