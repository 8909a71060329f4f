//! The kernel's cgroup file system, beneath one directory descriptor.
//!
//! **How.** The root is opened once as `O_PATH`. Every other open is one `openat2` relative to it with
//! `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV`: the kernel refuses to leave the
//! tree, whatever stands in it and whoever changes it meanwhile. No file is ever created; a value is one write.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::error::{CgroupError, CgroupOperation};
use super::kept::KeptFile;
use super::{CgroupFs, kill};
use crate::model::{CgroupId, CgroupPath, ControlFile};

const INSIDE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// `CGROUP2_SUPER_MAGIC` of `linux/magic.h`.
const CGROUP2_MAGIC: u64 = 0x6367_7270;

/// Content of an interface file is read in pieces of this size; nearly all fit in one.
const PIECE: usize = 4096;

/// The kernel's cgroup v2 file system below one directory.
#[derive(Debug)]
pub struct RealCgroupFs {
    root: OwnedFd,
}

impl RealCgroupFs {
    /// Opens the tree below `root`.
    ///
    /// # Errors
    /// The directory cannot be opened, or (`EMEDIUMTYPE`) is not on a cgroup v2 file system.
    pub fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Self::from_dir(rustix::fs::open(root, flags, Mode::empty())?)
    }

    /// The tree below the cgroup `path`, as a root of its own.
    ///
    /// # Errors
    /// There is no such cgroup, or it cannot be opened.
    pub fn below(&self, path: &CgroupPath) -> Result<Self, CgroupError> {
        Ok(Self {
            root: self.open_dir(path)?,
        })
    }

    fn from_dir(root: OwnedFd) -> io::Result<Self> {
        let magic = rustix::fs::fstatfs(&root)?.f_type;
        if u64::try_from(magic) != Ok(CGROUP2_MAGIC) {
            return Err(Errno::MEDIUMTYPE.into());
        }
        Ok(Self { root })
    }

    /// Keeps an interface file open, for many cheap reads.
    ///
    /// # Errors
    /// The kernel's refusal, as for a read.
    pub fn keep(&self, path: &CgroupPath, file: ControlFile) -> Result<KeptFile, CgroupError> {
        let fd = self
            .open_file(path, file, OFlags::RDONLY)
            .map_err(|errno| self.file_error(path, file, None, errno))?;
        Ok(KeptFile::new(path.clone(), file, fd))
    }

    pub(super) fn dir(&self, path: &CgroupPath) -> Result<OwnedFd, Errno> {
        self.beneath(&relative(path), OFlags::PATH | OFlags::DIRECTORY)
    }

    pub(super) fn file_error(
        &self,
        path: &CgroupPath,
        file: ControlFile,
        value: Option<&str>,
        errno: Errno,
    ) -> CgroupError {
        // A removed directory that is still open (the root) can be found, but has no files.
        CgroupError::of_file(path, file, value, errno.into(), || {
            self.open_file(path, ControlFile::Procs, OFlags::PATH).is_ok()
        })
    }

    fn beneath(&self, relative: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        rustix::io::retry_on_intr(|| {
            rustix::fs::openat2(
                &self.root,
                relative,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                INSIDE,
            )
        })
    }

    fn open_file(&self, path: &CgroupPath, file: ControlFile, flags: OFlags) -> Result<OwnedFd, Errno> {
        let name = file.name();
        if path.depth() == 0 {
            self.beneath(&name, flags)
        } else {
            self.beneath(&format!("{path}/{name}"), flags)
        }
    }

    fn try_read(&self, path: &CgroupPath, file: ControlFile) -> Result<String, Errno> {
        let fd = self.open_file(path, file, OFlags::RDONLY)?;
        let mut content = Vec::with_capacity(PIECE);
        loop {
            let filled = content.len();
            content.resize(filled + PIECE, 0);
            let n = rustix::io::retry_on_intr(|| rustix::io::read(&fd, &mut content[filled..]))?;
            content.truncate(filled + n);
            // All but the list of processes are written by the kernel as one record: short is the end.
            if n == 0 || (n < PIECE && file != ControlFile::Procs) {
                return String::from_utf8(content).map_err(|_| Errno::ILSEQ);
            }
        }
    }

    fn try_write(&self, path: &CgroupPath, file: ControlFile, value: &str) -> Result<(), Errno> {
        let mut flags = OFlags::WRONLY;
        if matches!(file, ControlFile::MemoryHigh | ControlFile::MemoryMax) {
            // Since Linux 6.16: set the limit and leave reclaiming to those who allocate. The write would otherwise
            // take seconds when the usage is above the new limit.
            flags |= OFlags::NONBLOCK;
        }
        let fd = self.open_file(path, file, flags)?;
        // A write of nothing does not reach the kernel's handler; an empty list is an empty line.
        let value = if value.is_empty() { "\n" } else { value };
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&fd, value.as_bytes()))?;
        if written == value.len() {
            Ok(())
        } else {
            Err(Errno::IO) // the rest in a second write would be a second value
        }
    }

    fn try_remove(&self, path: &CgroupPath) -> Result<(), Errno> {
        let (parent, name) = parent_and_name(path)?;
        rustix::fs::unlinkat(self.dir(&parent)?, name, AtFlags::REMOVEDIR)
    }

    fn try_children(&self, path: &CgroupPath) -> Result<Vec<String>, Errno> {
        let fd = self.beneath(&relative(path), OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut names = Vec::new();
        for entry in Dir::new(fd)? {
            let entry = entry?;
            if entry.file_type() == FileType::Directory {
                match entry.file_name().to_str() {
                    Ok("." | "..") => {}
                    Ok(name) => names.push(name.to_owned()),
                    // Not UTF-8, so none of ours; listing it would need a name that no path can hold.
                    Err(_) => {}
                }
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn try_id(&self, path: &CgroupPath) -> Result<CgroupId, Errno> {
        Ok(CgroupId(rustix::fs::fstat(self.dir(path)?)?.st_ino))
    }
}

/// Removes everything below the open directory, without paths: neither names nor depth matter.
fn empty_out(dir: OwnedFd) -> Result<(), Errno> {
    let mut entries = Dir::new(dir)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() != FileType::Directory || name == c"." || name == c".." {
            continue;
        }
        let here = entries.fd()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let removed = match rustix::fs::openat(here, name, flags, Mode::empty()) {
            Ok(child) => empty_out(child).and_then(|()| rustix::fs::unlinkat(here, name, AtFlags::REMOVEDIR)),
            Err(errno) => Err(errno),
        };
        match removed {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The path as `openat2` takes it: the root itself is `.`.
fn relative(path: &CgroupPath) -> String {
    if path.depth() == 0 {
        ".".to_owned()
    } else {
        path.to_string()
    }
}

/// The directory to make or remove `path` in, and its name there; the root itself can be neither made nor removed.
pub(super) fn parent_and_name(path: &CgroupPath) -> Result<(CgroupPath, &str), Errno> {
    path.parent().zip(path.name()).ok_or(Errno::BUSY)
}

/// What came of removing `path`: one that is gone already is removed.
pub(super) fn removed(path: &CgroupPath, result: Result<(), Errno>) -> Result<(), CgroupError> {
    match result {
        Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Ok(()),
        Err(errno) => Err(CgroupError::of_cgroup(
            CgroupOperation::Remove,
            path,
            errno.into(),
        )),
    }
}

impl CgroupFs for RealCgroupFs {
    fn create(&self, path: &CgroupPath) -> Result<CgroupId, CgroupError> {
        let make = || {
            let (parent, name) = parent_and_name(path)?;
            match rustix::fs::mkdirat(self.dir(&parent)?, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => self.try_id(path),
                Err(errno) => Err(errno),
            }
        };
        make().map_err(|errno| CgroupError::of_cgroup(CgroupOperation::Create, path, errno.into()))
    }

    fn remove(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        removed(path, self.try_remove(path))
    }

    fn remove_tree(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        let emptied = self
            .beneath(&relative(path), OFlags::RDONLY | OFlags::DIRECTORY)
            .and_then(empty_out);
        removed(path, emptied.and_then(|()| self.try_remove(path)))
    }

    fn children(&self, path: &CgroupPath) -> Result<Vec<String>, CgroupError> {
        self.try_children(path)
            .map_err(|errno| CgroupError::of_cgroup(CgroupOperation::List, path, errno.into()))
    }

    fn id(&self, path: &CgroupPath) -> Result<CgroupId, CgroupError> {
        self.try_id(path)
            .map_err(|errno| CgroupError::of_cgroup(CgroupOperation::Open, path, errno.into()))
    }

    fn read(&self, path: &CgroupPath, file: ControlFile) -> Result<String, CgroupError> {
        self.try_read(path, file)
            .map_err(|errno| self.file_error(path, file, None, errno))
    }

    fn write(&self, path: &CgroupPath, file: ControlFile, value: &str) -> Result<(), CgroupError> {
        self.try_write(path, file, value)
            .map_err(|errno| self.file_error(path, file, Some(value), errno))
    }

    fn kill(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        match self.write(path, ControlFile::Kill, "1") {
            Err(error) if error.fault == super::Fault::NoSuchFile => kill::one_by_one(self, path),
            Err(error) => Err(kill::error(path, error)),
            Ok(()) => Ok(()),
        }
    }

    fn open_dir(&self, path: &CgroupPath) -> Result<OwnedFd, CgroupError> {
        self.dir(path)
            .map_err(|errno| CgroupError::of_cgroup(CgroupOperation::Open, path, errno.into()))
    }
}
