//! Killing what is in a cgroup where the kernel has no `cgroup.kill` (before 5.14).
//!
//! **Problem.** A pid that was read may belong to another process by the time it is signalled. **How.** The pids are
//! read, a pidfd is taken for each, and the list is read again: a pid still listed then is a member of this cgroup
//! now, whichever process it was before, and the pidfd holds that very process.

use std::collections::BTreeSet;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::{CgroupError, CgroupFs, CgroupOperation};
use crate::model::{CgroupPath, ControlFile};

/// Sends SIGKILL to each process of the cgroup and its descendants, once. One that forks meanwhile needs another
/// call: the caller repeats it until the cgroup is empty.
pub(super) fn one_by_one(fs: &dyn CgroupFs, path: &CgroupPath) -> Result<(), CgroupError> {
    for name in fs.children(path).map_err(|e| error(path, e))? {
        if let Ok(child) = path.child(&name) {
            match one_by_one(fs, &child) {
                Err(error) if !error.is_gone() => return Err(error),
                _ => {}
            }
        }
    }
    let members = |fs: &dyn CgroupFs| -> Result<BTreeSet<i32>, CgroupError> {
        let procs = fs.read(path, ControlFile::Procs).map_err(|e| error(path, e))?;
        Ok(procs.lines().filter_map(|line| line.parse().ok()).collect())
    };
    let mut held = Vec::new();
    for raw in members(fs)? {
        // 0 stands for a process outside our pid namespace: it has no name here.
        let Some(pid) = Pid::from_raw(raw) else { continue };
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => held.push((raw, pidfd)),
            Err(Errno::SRCH) => {}
            Err(errno) => return Err(refused(path, errno)),
        }
    }
    let still = members(fs)?;
    for (_, pidfd) in held.iter().filter(|(pid, _)| still.contains(pid)) {
        match rustix::process::pidfd_send_signal(pidfd, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => return Err(refused(path, errno)),
        }
    }
    Ok(())
}

/// The same refusal, said of the killing.
pub(super) fn error(path: &CgroupPath, error: CgroupError) -> CgroupError {
    CgroupError {
        operation: CgroupOperation::Kill,
        path: path.clone(),
        ..error
    }
}

fn refused(path: &CgroupPath, errno: Errno) -> CgroupError {
    CgroupError::of_cgroup(CgroupOperation::Kill, path, errno.into())
}
