//! Noticing changes of a directory (inotify), also when the directory itself goes away and comes back.
//!
//! **How.** One inotify instance watches the directory and the closest ancestor that exists. A watch is for an
//! inode, not for a path: after the directory was deleted, renamed or replaced, [`DirWatch::aim`] moves the watches
//! to what the path leads to now. Between a file's first write and its close, its name is reported as being
//! written, so that nobody reads half a file.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// A watch that could not be set up or read.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {path:?}: {errno}")]
pub struct WatchError {
    operation: &'static str,
    path: PathBuf,
    errno: Errno,
}

/// What happened since the last look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files that appeared, disappeared, or were written and closed.
    pub names: BTreeSet<OsString>,
    /// The directory itself, or one above it, may be another one now: aim again.
    pub moved: bool,
    /// Some notifications were lost: look at everything.
    pub lost: bool,
}

/// A watched directory.
#[derive(Debug)]
pub struct DirWatch {
    inotify: OwnedFd,
    path: PathBuf,
    directory: Option<i32>,
    ancestor: Option<i32>,
    writing: BTreeSet<OsString>,
}

impl DirWatch {
    /// Watches `path`, which need not exist.
    ///
    /// # Errors
    /// The kernel has no inotify instance left for us, or refuses to watch.
    pub fn new(path: &Path) -> Result<Self, WatchError> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|errno| refused("make an inotify instance for", path, errno))?;
        let mut watch = Self {
            inotify,
            path: path.to_owned(),
            directory: None,
            ancestor: None,
            writing: BTreeSet::new(),
        };
        watch.aim()?;
        Ok(watch)
    }

    /// Watches what the path leads to now. To be called before each look at the directory that follows a move.
    ///
    /// # Errors
    /// The kernel refuses to watch.
    pub fn aim(&mut self) -> Result<(), WatchError> {
        let content = WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::MOVE
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        let above = WatchFlags::CREATE | WatchFlags::MOVE | WatchFlags::DELETE | WatchFlags::MOVE_SELF;
        // The ancestor first: what appears in it between the two is reported then.
        let mut ancestor = None;
        for path in self.path.ancestors().skip(1) {
            // The parent of a relative path of one component.
            let path = if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                path
            };
            ancestor = self.add(path, above | WatchFlags::DELETE_SELF)?;
            if ancestor.is_some() {
                break;
            }
        }
        let directory = self.add(&self.path, content)?;
        for stale in [self.ancestor, self.directory].into_iter().flatten() {
            if Some(stale) != ancestor && Some(stale) != directory {
                match inotify::remove_watch(&self.inotify, stale) {
                    // It went away with its directory.
                    Ok(()) | Err(Errno::INVAL) => {}
                    Err(errno) => return Err(refused("stop watching", &self.path, errno)),
                }
            }
        }
        if directory != self.directory {
            self.writing.clear();
        }
        (self.ancestor, self.directory) = (ancestor, directory);
        Ok(())
    }

    /// Takes what was reported since the last call; to be called when the descriptor is readable.
    ///
    /// # Errors
    /// The kernel refuses to read.
    pub fn drain(&mut self) -> Result<Changes, WatchError> {
        let mut changes = Changes::default();
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(changes),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(refused("read the changes of", &self.path, errno)),
            };
            let flags = event.events();
            let name = event
                .file_name()
                .map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                changes.lost = true;
                changes.moved = true;
                self.writing.clear();
                continue;
            }
            let of_self =
                ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED | ReadFlags::UNMOUNT;
            if Some(event.wd()) != self.directory {
                // Anything above: only what may be on the way to the directory matters.
                let on_the_way = name.is_none_or(|name| self.path.iter().any(|part| part == name));
                changes.moved |= on_the_way && Some(event.wd()) == self.ancestor;
            } else if flags.intersects(of_self) {
                changes.moved = true;
            } else if let Some(name) = name {
                if flags.contains(ReadFlags::MODIFY) {
                    self.writing.insert(name);
                } else {
                    if flags.intersects(
                        ReadFlags::CLOSE_WRITE
                            | ReadFlags::DELETE
                            | ReadFlags::MOVED_FROM
                            | ReadFlags::MOVED_TO,
                    ) {
                        self.writing.remove(&name);
                    }
                    changes.names.insert(name);
                }
            }
        }
    }

    /// Whether somebody has written to this file and not closed it yet.
    #[must_use]
    pub fn is_being_written(&self, name: &OsStr) -> bool {
        self.writing.contains(name)
    }

    /// A watch's number; `None` if the directory is not there.
    fn add(&self, path: &Path, events: WatchFlags) -> Result<Option<i32>, WatchError> {
        match inotify::add_watch(&self.inotify, path, events | WatchFlags::ONLYDIR) {
            Ok(watch) => Ok(Some(watch)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(refused("watch", path, errno)),
        }
    }
}

fn refused(operation: &'static str, path: &Path, errno: Errno) -> WatchError {
    WatchError {
        operation,
        path: path.to_owned(),
        errno,
    }
}

impl AsFd for DirWatch {
    /// Readable when there are changes.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
