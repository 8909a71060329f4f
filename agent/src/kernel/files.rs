//! Reading files that others write: bounded, and never waiting.
//!
//! **Problem.** A file where a manifest is expected may be gigabytes long, a FIFO that nobody writes to, a device,
//! or change while it is read. **How.** It is opened without waiting, must then be a regular file, and at most a
//! given number of bytes is ever read. Symbolic links are followed, as configuration is often linked into place;
//! what counts is the file behind them.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// Why a file or directory could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The kernel refused.
    #[error("{operation} {path:?}: {errno}")]
    Refused {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        errno: Errno,
    },
    /// A directory, FIFO, socket or device.
    #[error("{path:?} is no regular file")]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// Longer than allowed; it was not read.
    #[error("{path:?} has more than {max} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes allowed.
        max: u64,
    },
}

impl FileError {
    /// Whether the file or directory is not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { errno, .. } if matches!(*errno, Errno::NOENT | Errno::NOTDIR))
    }
}

/// What tells one content of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, u64),
    /// Also set by what sets `modified` back, such as `cp -p`.
    changed: (i64, u64),
}

/// A file of a directory.
#[derive(Debug)]
pub struct Listed {
    /// Its name, which may be anything but `.` and `..`.
    pub name: OsString,
    /// Its stamp, or why there is none (a broken link, no permission).
    pub stamp: Result<FileStamp, FileError>,
}

/// Which directory a path leads to, for telling whether it is still the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectoryId {
    device: u64,
    inode: u64,
}

/// Which directory `path` leads to.
///
/// # Errors
/// The kernel's refusal; [`FileError::is_missing`] also where it is something else than a directory.
pub fn directory_id(path: &Path) -> Result<DirectoryId, FileError> {
    let stat = rustix::fs::stat(path).map_err(refused("find", path))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(refused("open as a directory", path)(Errno::NOTDIR));
    }
    Ok(DirectoryId {
        device: stat.st_dev,
        inode: stat.st_ino,
    })
}

/// The files of a directory whose names `wanted` accepts, in no particular order.
///
/// # Errors
/// The kernel's refusal to read the directory.
pub fn list(path: &Path, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<Listed>, FileError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(refused("open", path))?;
    let mut listed = Vec::new();
    for entry in Dir::read_from(&directory).map_err(refused("list", path))? {
        let entry = entry.map_err(refused("list", path))?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") || !wanted(name.to_bytes()) {
            continue;
        }
        let name_os = std::ffi::OsStr::from_bytes(name.to_bytes());
        let stamp = rustix::fs::statat(&directory, name, AtFlags::empty())
            .map(|stat| stamp(&stat))
            .map_err(refused("find", &path.join(name_os)));
        listed.push(Listed {
            name: name_os.to_owned(),
            stamp,
        });
    }
    Ok(listed)
}

/// The content of a regular file of at most `max` bytes, and the stamp of what was read.
///
/// # Errors
/// The kernel's refusal, or the file is no regular one, or is longer.
pub fn read_bounded(path: &Path, max: u64) -> Result<(Vec<u8>, FileStamp), FileError> {
    // Not waiting for a FIFO's writer; not making a terminal ours.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(refused("open", path))?;
    let stat = rustix::fs::fstat(&file).map_err(refused("find", path))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(FileError::NotRegular {
            path: path.to_owned(),
        });
    }
    let too_large = || FileError::TooLarge {
        path: path.to_owned(),
        max,
    };
    let size = u64::try_from(stat.st_size).unwrap_or_default();
    if size > max {
        return Err(too_large());
    }
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
    // It may grow while it is read.
    std::fs::File::from(file)
        .take(max + 1)
        .read_to_end(&mut content)
        .map_err(|error| refused("read", path)(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    if u64::try_from(content.len()).unwrap_or(u64::MAX) > max {
        return Err(too_large());
    }
    Ok((content, stamp(&stat)))
}

fn stamp(stat: &Stat) -> FileStamp {
    FileStamp {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: stat.st_size,
        modified: (stat.st_mtime, stat.st_mtime_nsec),
        changed: (stat.st_ctime, stat.st_ctime_nsec),
    }
}

fn refused(operation: &'static str, path: &Path) -> impl FnOnce(Errno) -> FileError {
    let path = path.to_owned();
    move |errno| FileError::Refused {
        operation,
        path,
        errno,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"0123456789").unwrap();
        assert_eq!(read_bounded(&path, 10).unwrap().0, b"0123456789");
        assert!(matches!(
            read_bounded(&path, 9),
            Err(FileError::TooLarge { max: 9, .. })
        ));
        // Sparse, so that reading it would show.
        std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(matches!(
            read_bounded(&path, 1 << 20),
            Err(FileError::TooLarge { .. })
        ));
        // Claims to be empty and never ends.
        assert!(matches!(
            read_bounded(Path::new("/proc/self/mem"), 10),
            Err(FileError::Refused { .. })
        ));
        assert!(matches!(
            read_bounded(Path::new("/proc/kallsyms"), 10),
            Err(FileError::TooLarge { .. })
        ));
    }

    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::from_raw_mode(0o600)).unwrap();
        for path in [fifo.as_path(), dir.path(), Path::new("/dev/zero")] {
            assert!(
                matches!(read_bounded(path, 10), Err(FileError::NotRegular { .. })),
                "{path:?}"
            );
        }
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(read_bounded(&link, 10).unwrap_err().is_missing());
        assert!(directory_id(&fifo).unwrap_err().is_missing());
    }

    #[test]
    fn a_stamp_changes_with_the_content_and_a_listing_names_what_it_could_not_look_at() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "1").unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("b")).unwrap();
        std::fs::write(dir.path().join("c"), "").unwrap();
        let look = || {
            let mut listed = list(dir.path(), |name| name != b"c").unwrap();
            listed.sort_by(|a, b| a.name.cmp(&b.name));
            assert_eq!(listed.len(), 2);
            assert!(listed[1].stamp.as_ref().unwrap_err().is_missing());
            *listed[0].stamp.as_ref().unwrap()
        };
        let first = look();
        assert_eq!(first, look());
        assert_eq!(first, read_bounded(&dir.path().join("a"), 10).unwrap().1);
        std::fs::write(dir.path().join("a"), "12").unwrap();
        assert_ne!(first, look());
    }
}
