//! The cgroups and processes of a subtree, without an allocation.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::super::cgroup::open_in;
use super::super::parse;

/// Levels below a pod that are looked at. A container may nest cgroups; nobody nests this deep for good reason.
const DEEPEST: usize = 16;

/// Calls `each` with the directory of the cgroup and of every cgroup below, parents first. A cgroup that goes away meanwhile
/// is skipped.
pub(crate) fn each_cgroup(
    dir: BorrowedFd<'_>,
    each: &mut dyn FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
) -> Result<(), Errno> {
    walk(dir, DEEPEST, each)
}

fn walk(
    dir: BorrowedFd<'_>,
    levels: usize,
    each: &mut dyn FnMut(BorrowedFd<'_>) -> Result<(), Errno>,
) -> Result<(), Errno> {
    each(dir)?;
    if levels == 0 {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // The directory may be held as a mere place, which cannot be listed.
    let listed = rustix::fs::openat(dir, c".", flags, Mode::empty())?;
    let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 4096];
    let mut entries = RawDir::new(&listed, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(Errno::NOENT | Errno::NODEV) => break,
            Err(errno) => return Err(errno),
        };
        let name = entry.file_name();
        if entry.file_type() != FileType::Directory || name == c"." || name == c".." {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let walked =
            open_in(listed.as_fd(), name, flags).and_then(|child| walk(child.as_fd(), levels - 1, each));
        match walked {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Calls `each` with every process that is a member of the cgroup itself, once.
pub(crate) fn each_process(dir: BorrowedFd<'_>, each: &mut dyn FnMut(i32)) -> Result<(), Errno> {
    let procs = open_in(dir, c"cgroup.procs", OFlags::RDONLY)?;
    let mut buffer = [0; 4096];
    let mut kept = 0;
    loop {
        let n = rustix::io::retry_on_intr(|| rustix::io::read(&procs, &mut buffer[kept..]))?;
        if n == 0 {
            return Ok(());
        }
        let filled = kept + n;
        // The last line may go on in the next piece.
        let whole = buffer[..filled]
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        parse::pids(&buffer[..whole]).for_each(&mut *each);
        buffer.copy_within(whole..filled, 0);
        kept = filled - whole;
    }
}
