//! System calls that no library offers: `clone3` into a cgroup, how a process ended from its pidfd, and the release of a
//! dying process's memory.

#![expect(unsafe_code, reason = "raw system calls; each block says why it is sound")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::model::ExitStatus;

/// From `linux/sched.h`; libc has them too narrow, or not at all, on some targets.
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const CLONE_PIDFD: u64 = 0x1000;

/// `struct clone_args` of `linux/sched.h`, as of Linux 5.7 (`CLONE_ARGS_SIZE_VER2`).
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const _: () = assert!(size_of::<CloneArgs>() == 88);

/// On which side of a clone this is.
#[derive(Debug)]
pub(super) enum Side {
    /// The new process.
    Child,
    /// The old one, with the new one's pid and pidfd (close-on-exec).
    Parent { pid: u32, pidfd: OwnedFd },
}

/// Makes a process with a copy of this one's memory: a member of `cgroup` from its first instant, or, without
/// one, of this process's own cgroup.
///
/// Signal handlers are reset in the child, ignored signals stay ignored; the caller has blocked all signals.
///
/// # Errors
/// The kernel's refusal: `EBUSY` for a cgroup with controllers enabled for children, `EAGAIN` at `pids.max`,
/// `ENODEV` or `ENOENT` for a removed cgroup, `EOPNOTSUPP` for a threaded one.
///
/// # Safety
/// In the child only the calling thread exists, while locks of the allocator and of libc may be held for ever
/// by the others. The child may make nothing but async-signal-safe calls until it executes a program or exits.
pub(super) unsafe fn clone_process(cgroup: Option<BorrowedFd<'_>>) -> io::Result<Side> {
    let mut pidfd: libc::c_int = -1;
    let into = if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 };
    let args = CloneArgs {
        flags: CLONE_CLEAR_SIGHAND | CLONE_PIDFD | into,
        pidfd: (&raw mut pidfd).addr() as u64,
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        cgroup: cgroup.map_or(0, |fd| fd.as_raw_fd().unsigned_abs().into()),
        ..CloneArgs::default()
    };
    // SAFETY: `args` and `pidfd` are valid for the sizes given; without CLONE_VM and with no stack given the
    // child runs on its own copy of this stack, as after fork(2). Raw, because glibc's fork would run handlers.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match u32::try_from(pid) {
        Ok(0) => Ok(Side::Child),
        Ok(pid) => {
            // SAFETY: on success the kernel stored a new descriptor there, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Side::Parent { pid, pidfd })
        }
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// How the process behind `pidfd` ended, when it has been reaped by somebody and the kernel keeps it (since
/// 6.15): `PIDFD_GET_INFO` with `PIDFD_INFO_EXIT`.
pub(super) fn exit_info(pidfd: BorrowedFd<'_>) -> Option<ExitStatus> {
    // SAFETY: the struct is integers only, so all zeroes is a value of it.
    let mut info: libc::pidfd_info = unsafe { std::mem::zeroed() };
    info.mask = u64::from(libc::PIDFD_INFO_EXIT);
    // SAFETY: the request carries the size of `pidfd_info`, and the kernel writes no more than that into it.
    let answer = unsafe { libc::ioctl(pidfd.as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) };
    let known = answer == 0 && info.mask & u64::from(libc::PIDFD_INFO_EXIT) != 0;
    known.then(|| wait_status(info.exit_code))
}

/// Takes the address space of a dying process apart, on this thread (Linux 5.15).
///
/// # Errors
/// `EINVAL`: it is not dying. `ESRCH`: it has no memory any more. `EAGAIN`: a part was taken. `ENOSYS`: no such call.
pub(super) fn process_mrelease(pidfd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: the call takes a descriptor and flags, no memory of ours.
    let answer = unsafe { libc::syscall(libc::SYS_process_mrelease, pidfd.as_raw_fd(), 0) };
    if answer == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// Reads a status as wait(2) packs it: the signal in the low 7 bits, the exit code in the next 8.
pub(super) fn wait_status(packed: i32) -> ExitStatus {
    match packed & 0x7f {
        0 => ExitStatus::Code(packed >> 8 & 0xff),
        signal => ExitStatus::Signal(signal),
    }
}
