//! SIGKILL to every process of a subtree, where the kernel has no `cgroup.kill`.
//!
//! **Problem.** A pid that was read may belong to another process by the time it is signalled, and a process that is not
//! signalled yet may fork. **How.** A pidfd is taken for each pid, and the list is read again: a pid still listed is a member
//! now, whoever it was before, and the pidfd holds that very process. That is repeated until no process is new.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::members::{each_cgroup, each_process};

/// Processes taken hold of at a time.
const CHUNK: usize = 256;
/// Rounds, at most: what still makes processes then is signalled by the next attempt.
const ROUNDS: usize = 64;

/// Room for the work, made beforehand.
#[derive(Debug)]
pub(super) struct Hands {
    held: Vec<(i32, Option<OwnedFd>)>,
}

impl Hands {
    pub(super) fn new() -> Self {
        Self {
            held: Vec::with_capacity(CHUNK),
        }
    }

    /// Kills; gives how many processes were signalled. Allocates nothing.
    pub(super) fn kill(&mut self, dir: BorrowedFd<'_>) -> Result<u32, Errno> {
        let mut signalled = 0;
        for _ in 0..ROUNDS {
            let mut news = 0;
            each_cgroup(dir, &mut |cgroup| {
                news += self.kill_members(cgroup)?;
                Ok(())
            })?;
            if news == 0 {
                break;
            }
            signalled += news;
        }
        Ok(signalled)
    }

    /// Kills members of the cgroup itself that are not dying yet, some of them where there are many.
    fn kill_members(&mut self, cgroup: BorrowedFd<'_>) -> Result<u32, Errno> {
        self.held.clear();
        let held = &mut self.held;
        each_process(cgroup, &mut |pid| {
            if held.len() < CHUNK && !is_dying(pid) {
                let pidfd = Pid::from_raw(pid)
                    .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
                held.push((pid, pidfd));
            }
        })?;
        held.sort_unstable_by_key(|(pid, _)| *pid);
        let mut killed = 0;
        let mut refused = None;
        each_process(cgroup, &mut |pid| {
            let Ok(at) = held.binary_search_by_key(&pid, |(held, _)| *held) else {
                return;
            };
            let Some(pidfd) = held[at].1.take() else { return };
            match rustix::process::pidfd_send_signal(&pidfd, Signal::KILL) {
                Ok(()) => killed += 1,
                Err(Errno::SRCH) => {}
                Err(errno) => refused = Some(errno),
            }
        })?;
        held.clear();
        refused.map_or(Ok(killed), Err)
    }
}

/// Whether SIGKILL is pending for the process, or it ends already: then there is nothing more to send. What cannot be
/// read is taken as not dying.
fn is_dying(pid: i32) -> bool {
    let mut buffer = [0; 2048];
    let Ok(status) = super::super::scores::read_of(pid, c"status", &mut buffer) else {
        return false;
    };
    super::super::parse::lines(status).any(|line| {
        line.starts_with(b"State:\tZ")
            || line.starts_with(b"State:\tX")
            || (line.starts_with(b"SigPnd:") || line.starts_with(b"ShdPnd:")) && kill_is_in(line)
    })
}

/// Whether SIGKILL, signal 9, is in the mask at the end of the line: bit 8, in the third digit from the right.
fn kill_is_in(line: &[u8]) -> bool {
    let digit = line.len().checked_sub(3).and_then(|at| line.get(at));
    digit.is_some_and(|digit| char::from(*digit).to_digit(16).is_some_and(|bits| bits & 1 != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_kill_is_seen_in_the_mask() {
        assert!(kill_is_in(b"ShdPnd:\t0000000000000100"));
        assert!(kill_is_in(b"SigPnd:\t0000000000004f23"));
        assert!(!kill_is_in(b"SigPnd:\t0000000000004e23"));
        assert!(!kill_is_in(b"x"));
        assert!(!is_dying(std::process::id().cast_signed()));
    }
}
