//! One cgroup, held by its directory.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::parse;
use crate::model::CgroupId;

/// A cgroup's open directory and its identity. While it is held, its inode number goes to no other cgroup.
#[derive(Debug)]
pub struct MemoryCgroup {
    dir: OwnedFd,
    id: CgroupId,
    /// `cgroup.kill`; opened beforehand, since opening takes memory of the kernel. None where there is none.
    kill: Option<OwnedFd>,
    /// `cgroup.events`.
    events: OwnedFd,
}

impl MemoryCgroup {
    /// Holds the cgroup whose directory this is (of [`CgroupFs::open_dir`](crate::kernel::cgroup_fs::CgroupFs::open_dir)).
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(dir: OwnedFd) -> std::io::Result<Self> {
        let id = CgroupId(rustix::fs::fstat(&dir)?.st_ino);
        let kill = match open_in(dir.as_fd(), c"cgroup.kill", OFlags::WRONLY) {
            Ok(kill) => Some(kill),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno.into()),
        };
        let events = open_in(dir.as_fd(), c"cgroup.events", OFlags::RDONLY)?;
        Ok(Self {
            dir,
            id,
            kill,
            events,
        })
    }

    /// Kills every process of it and of its descendants. Allocates nothing.
    pub(super) fn kill(&self) -> Result<(), Errno> {
        let kill = self.kill.as_ref().ok_or(Errno::NOENT)?;
        rustix::io::retry_on_intr(|| rustix::io::pwrite(kill, b"1", 0)).map(drop)
    }

    /// Whether it has processes.
    pub(super) fn populated(&self) -> Result<bool, Errno> {
        let mut buffer = [0; 128];
        let content = read_start(self.events.as_fd(), &mut buffer)?;
        Ok(parse::key(content, b"populated") == Some(1))
    }

    /// Its identity.
    #[must_use]
    pub const fn id(&self) -> CgroupId {
        self.id
    }

    /// Opens one of its files. Allocates nothing.
    pub(super) fn open(&self, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
        open_in(self.dir.as_fd(), name, flags)
    }
}

impl AsFd for MemoryCgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Opens what is directly in a directory; no link is followed.
pub(super) fn open_in(dir: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let inside = ResolveFlags::BENEATH
        .union(ResolveFlags::NO_SYMLINKS)
        .union(ResolveFlags::NO_MAGICLINKS);
    rustix::io::retry_on_intr(|| {
        rustix::fs::openat2(dir, name, flags | OFlags::CLOEXEC, Mode::empty(), inside)
    })
}

/// Reads a file from its start into `buffer`, as much as fits.
pub(super) fn read_start<'a>(fd: BorrowedFd<'_>, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = &mut buffer[filled..];
        match rustix::io::retry_on_intr(|| rustix::io::pread(fd, &mut *rest, filled as u64))? {
            // An interface file is one record: what did not fill the buffer is all there is.
            0 => break,
            n if n < rest.len() => {
                filled += n;
                break;
            }
            n => filled += n,
        }
    }
    Ok(&buffer[..filled])
}
