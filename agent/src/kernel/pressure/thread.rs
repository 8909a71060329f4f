//! The standing of the guard's thread: it runs before others, and its memory is not taken away.
//!
//! Each part may be refused, and the rest is done; the answer says what is missing, in words for the log.

#![expect(unsafe_code, reason = "sched_setscheduler(2) has no safe form")]

use std::io;

use rustix::mm::MlockAllFlags;
use rustix::process::{Resource, Rlimit};

/// What was reached.
#[derive(Debug, Default)]
pub struct Standing {
    /// Why the thread does not run as real-time.
    pub not_real_time: Option<io::Error>,
    /// Why memory is not locked.
    pub not_locked: Option<io::Error>,
}

impl Standing {
    /// What is missing, for a person.
    pub fn missing(&self) -> impl Iterator<Item = String> {
        let real_time = self.not_real_time.as_ref().map(|error| {
            format!(
                "the guard runs at usual priority, since SCHED_FIFO was refused: {error} (needs CAP_SYS_NICE)"
            )
        });
        let locked = self.not_locked.as_ref().map(|error| {
            format!("the guard's memory may be taken away, since mlockall was refused: {error} (needs CAP_IPC_LOCK)")
        });
        real_time.into_iter().chain(locked)
    }
}

/// Makes the calling thread real-time, at the lowest priority of those, and locks the whole process's memory: pages stay
/// once they were touched. So the guard has to go through its work once, without acting, before it counts on that.
///
/// What the thread starts runs at usual priority again.
#[must_use]
pub fn raise() -> Standing {
    let param = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameter is valid for the call, which keeps no pointer; 0 is the calling thread.
    let result = unsafe {
        libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const param)
    };
    let not_real_time = (result != 0).then(io::Error::last_os_error);
    // On fault: the stacks of all threads and all of the program would otherwise be made resident at once.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    let not_locked = rustix::mm::mlockall(flags).err().map(io::Error::from);
    Standing {
        not_real_time,
        not_locked,
    }
}

/// Raises the number of descriptors that the process may have to `wanted`, or as far as it may; gives the number.
#[must_use]
pub fn allow_descriptors(wanted: u64) -> u64 {
    let now = rustix::process::getrlimit(Resource::Nofile);
    // No limit at all is enough.
    let Some(current) = now.current else {
        return u64::MAX;
    };
    if current >= wanted {
        return current;
    }
    let above = Rlimit {
        current: Some(wanted),
        maximum: now.maximum.map(|maximum| maximum.max(wanted)),
    };
    if rustix::process::setrlimit(Resource::Nofile, above).is_ok() {
        return wanted;
    }
    // Without CAP_SYS_RESOURCE only up to the hard limit.
    let reachable = now.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let within = Rlimit {
        current: Some(reachable),
        maximum: now.maximum,
    };
    match rustix::process::setrlimit(Resource::Nofile, within) {
        Ok(()) => reachable,
        Err(_) => current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_raised_and_never_lowered() {
        let before = allow_descriptors(0);
        let raised = allow_descriptors(before.saturating_add(1));
        assert!(raised >= before);
        assert_eq!(allow_descriptors(0), raised);
    }

    #[test]
    fn what_is_refused_is_said_with_its_remedy() {
        let refused = || Some(io::Error::from_raw_os_error(libc::EPERM));
        let standing = Standing {
            not_real_time: refused(),
            not_locked: refused(),
        };
        let words: Vec<_> = standing.missing().collect();
        assert!(
            words[0].contains("CAP_SYS_NICE") && words[1].contains("CAP_IPC_LOCK"),
            "{words:?}"
        );
        assert_eq!(Standing::default().missing().count(), 0);
    }
}
