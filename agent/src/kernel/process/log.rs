//! Log files of containers.
//!
//! **Problem.** A container's output must survive the agent, so it goes into a plain file and not through a pipe
//! that somebody has to read. Nobody stands between the writer and the disk then, and nobody may write to a file
//! that a container has put a link in place of.
//!
//! **How.** `<log directory>/<pod>/<container>.log`, opened for appending only. The pod's directory is the
//! agent's own, closed to everybody else, and neither it nor the file is reached through a symbolic link. Every
//! pass of the agent calls [`LogFiles::enforce_cap`]: a file over half its cap moves, by its last half a cap, to
//! `<container>.log.1` and is cut to nothing. A writer that appends goes on at the new end.
//!
//! # What holds
//! - Right after a pass the two files together have at most the cap. Between passes a container adds what it
//!   can write in that time: `yes` without a pause wrote 1.3 GB in the second between two passes, and taking
//!   that away again took 0.3 s. Who must bound that too puts the log directory on a file system of its own.
//! - A cut loses nothing but what was written between the end of its second, short copy and the truncation.
//!   A tool that renames instead of copying would lose nothing, but the writer would keep the renamed file.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::model::Bytes;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A log file or directory that could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path:?}: {source}")]
pub struct LogError {
    /// What was being done, as a verb.
    pub operation: &'static str,
    /// To what.
    pub path: PathBuf,
    /// The kernel's answer.
    pub source: io::Error,
}

/// A log path in its parts.
struct LogPath<'a> {
    whole: &'a Path,
    base: &'a Path,
    pod: &'a Path,
    file: &'a str,
}

impl<'a> LogPath<'a> {
    fn of(whole: &'a Path) -> Result<Self, LogError> {
        let parts = || {
            let pod_dir = whole.parent()?;
            Some((
                pod_dir.parent()?,
                pod_dir.file_name()?,
                whole.file_name()?.to_str()?,
            ))
        };
        let (base, pod, file) = parts().ok_or_else(|| error("use", whole, Errno::INVAL))?;
        Ok(Self {
            whole,
            base,
            pod: pod.as_ref(),
            file,
        })
    }

    /// The pod's directory, if it is the agent's own and nobody else's.
    fn pod_dir(&self) -> Result<OwnedFd, LogError> {
        let fail = |errno: Errno| error("open the directory of", self.whole, errno);
        // The log directory itself is the configuration's word: it may be reached through links.
        let base =
            rustix::fs::open(self.base, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(fail)?;
        let pod = rustix::fs::openat(&base, self.pod, DIRECTORY, Mode::empty()).map_err(fail)?;
        let stat = rustix::fs::fstat(&pod).map_err(fail)?;
        let open_to_others = Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO);
        if stat.st_uid != rustix::process::geteuid().as_raw() || open_to_others {
            return Err(fail(Errno::PERM));
        }
        Ok(pod)
    }
}

fn error(operation: &'static str, path: &Path, source: impl Into<io::Error>) -> LogError {
    LogError {
        operation,
        path: path.to_owned(),
        source: source.into(),
    }
}

/// Opens a container's log for appending, and makes it and its directories if they are missing.
pub(super) fn open_for_container(path: &Path) -> Result<OwnedFd, LogError> {
    let log = LogPath::of(path)?;
    let make = |e| error("make the directory of", path, e);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(log.base)
        .map_err(make)?;
    match DirBuilder::new().mode(0o700).create(log.base.join(log.pod)) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(make(e)),
        _ => {}
    }
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(log.pod_dir()?, log.file, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|e| error("open", path, e))?;
    let stat = rustix::fs::fstat(&file).map_err(|e| error("open", path, e))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(error("open", path, Errno::INVAL));
    }
    Ok(file)
}

/// What is done with logs beside writing them.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogFiles;

impl LogFiles {
    /// Cuts the container's log at `path` if it has over half of `cap`; says by how much it was cut. A file that
    /// does not exist needs nothing.
    ///
    /// # Errors
    /// The kernel's refusal; the log is then as it was, or in both files.
    pub fn enforce_cap(&self, path: &Path, cap: Bytes) -> Result<Option<Bytes>, LogError> {
        let keep = cap.0 / 2;
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_file() && found.len() > keep => {}
            Ok(_) => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(error("look at", path, e)),
        }
        let log = LogPath::of(path)?;
        let dir = log.pod_dir()?;
        cut(&dir, log.file, keep)
            .map(Some)
            .map_err(|e| error("cut", path, e))
    }

    /// Removes the directory with a pod's logs; one that is gone is no error.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn remove_pod(&self, pod_dir: &Path) -> Result<(), LogError> {
        // It does not follow links: a link in place of the directory is removed, or refused, itself.
        match std::fs::remove_dir_all(pod_dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(error("remove", pod_dir, e)),
            _ => Ok(()),
        }
    }
}

/// Copies the last `keep` bytes of `name` to `name.1` and empties `name`.
fn cut(dir: &OwnedFd, name: &str, keep: u64) -> io::Result<Bytes> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut log = File::from(rustix::fs::openat(dir, name, flags, Mode::empty())?);
    let (older, part) = (format!("{name}.1"), format!("{name}.1.part"));
    match rustix::fs::unlinkat(dir, part.as_str(), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut copy = File::from(rustix::fs::openat(
        dir,
        part.as_str(),
        flags,
        Mode::RUSR | Mode::WUSR,
    )?);
    let size = log.metadata()?.len();
    log.seek(SeekFrom::Start(size.saturating_sub(keep)))?;
    io::copy(&mut (&log).take(keep), &mut copy)?;
    // What came meanwhile: little, and the last thing before the cut. Bounded, as the writer may be as fast.
    io::copy(&mut (&log).take(keep), &mut copy)?;
    rustix::fs::renameat(dir, part.as_str(), dir, older.as_str())?;
    rustix::fs::ftruncate(log.as_fd(), 0)?;
    Ok(Bytes(size))
}
