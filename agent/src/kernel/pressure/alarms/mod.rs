//! What wakes the guard.
//!
//! **Problem.** Memory can be gone within a tenth of a second. Whoever looks every second is late, and whoever looks every
//! millisecond is a burden. **How.** One `epoll` set of the guard's own. The thread sleeps in [`Alarms::wait`] until
//! - `memory.events` or `memory.events.local` of a watched cgroup changes: a limit was met, the OOM killer ran;
//! - tasks of a cgroup, or of the machine, waited for memory longer than a trigger allows ([`Window`]);
//! - a cgroup's last process ended, or a process that is watched;
//! - a probe has events;
//! - another thread calls [`Waker::wake`];
//! - a time is over.
//!
//! The descriptors are the alarms' own: a file that somebody else reads through the same descriptor is rearmed by that
//! and would not wake.
//!
//! # Properties
//! - [`Alarms::wait`] allocates nothing.
//! - A cgroup that is gone is told once and is not watched any more; it can never keep the thread awake.
//! - Only triggers that the kernel has armed are waited for.

mod psi;
#[cfg(test)]
mod tests;
mod waker;

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::cgroup::{MemoryCgroup, read_start};
use super::parse;
use crate::model::CgroupId;
use psi::{Kind, Trigger};

pub use psi::Window;
pub use waker::Waker;

/// Alarms that one call of [`Alarms::wait`] can give; more come with the next.
const BATCH: usize = 64;

/// The machine's pressure file.
const MACHINE: &str = "/proc/pressure/memory";

/// Counters of `memory.events`, or of `memory.events.local`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    /// `memory.high` was exceeded.
    pub high: u64,
    /// `memory.max` was about to be.
    pub max: u64,
    /// Times that allocations failed at the limit.
    pub oom: u64,
    /// Processes that the OOM killer took. Members of a group count twice.
    pub oom_kill: u64,
    /// Groups that it took as a whole.
    pub oom_group_kill: u64,
}

impl MemoryEvents {
    /// Reads the file's content; what is not in it is 0.
    pub(super) fn read(content: &[u8]) -> Self {
        let mut events = Self::default();
        for (key, value) in parse::flat_keyed(content) {
            match key {
                b"high" => events.high = value,
                b"max" => events.max = value,
                b"oom" => events.oom = value,
                b"oom_kill" => events.oom_kill = value,
                b"oom_group_kill" => events.oom_group_kill = value,
                _ => {}
            }
        }
        events
    }
}

/// Why the thread is awake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// Another thread asks for it.
    Woken,
    /// Counters of a cgroup have changed.
    Memory {
        /// Which.
        cgroup: CgroupId,
        /// Its own counters, not those of its descendants too.
        local: bool,
        /// As they were.
        before: MemoryEvents,
        /// As they are.
        now: MemoryEvents,
    },
    /// Tasks waited for memory longer than the trigger allows.
    Stalled {
        /// Of which cgroup; none for the machine.
        cgroup: Option<CgroupId>,
        /// Whether no task of it ran meanwhile.
        full: bool,
        /// All time of this kind so far.
        total: Duration,
        /// So much of it since this trigger's event before.
        moved: Duration,
    },
    /// A cgroup got its first process, or lost its last.
    Populated {
        /// Which.
        cgroup: CgroupId,
        /// Whether it has processes.
        populated: bool,
    },
    /// A process has ended. It is not watched any more.
    Exited {
        /// As it was called to [`Alarms::watch_process`].
        key: u64,
    },
    /// A probe has events; they must be taken before the next wait, or it returns at once.
    Probe,
    /// A cgroup was removed. It is not watched any more.
    Gone {
        /// Which.
        cgroup: CgroupId,
    },
}

/// What of a cgroup wakes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watch {
    /// `memory.events`, of it and its descendants.
    pub events: bool,
    /// `memory.events.local`, of it alone.
    pub local_events: bool,
    /// Pressure triggers.
    pub stalls: bool,
    /// Its first process and its last.
    pub populated: bool,
}

impl Watch {
    /// All of it.
    pub const ALL: Self = Self {
        events: true,
        local_events: true,
        stalls: true,
        populated: true,
    };
}

/// Why something wakes not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot watch {file}: {errno}")]
pub struct NotArmed {
    /// The file.
    pub file: &'static str,
    /// The kernel's refusal.
    pub errno: Errno,
}

/// What became of a wish to be woken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Armed {
    /// The trigger for `some`, if there is one.
    pub some: Option<Window>,
    /// The trigger for `full`, if there is one.
    pub full: Option<Window>,
    /// What wakes not, though it was wished.
    pub refused: Vec<NotArmed>,
}

#[derive(Debug)]
enum What {
    Waker,
    Probe,
    Process { key: u64 },
    Events { local: bool, seen: MemoryEvents },
    Populated { seen: bool },
    Stalls(Trigger),
}

#[derive(Debug)]
struct Source {
    cgroup: Option<CgroupId>,
    /// None where `what` has it.
    fd: Option<OwnedFd>,
    what: What,
}

impl Source {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.what {
            What::Stalls(trigger) => Some(trigger.fd.as_fd()),
            _ => self.fd.as_ref().map(AsFd::as_fd),
        }
    }
}

/// The set of what wakes.
pub struct Alarms {
    epoll: OwnedFd,
    waker: Waker,
    /// The place of a source is what the kernel gives back with its event.
    sources: Vec<Option<Source>>,
    alarms: Vec<Alarm>,
}

impl Alarms {
    /// Nothing wakes yet but [`Waker`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let waker = Waker::new()?;
        let mut alarms = Self {
            epoll,
            waker: waker.clone(),
            sources: Vec::new(),
            alarms: Vec::with_capacity(BATCH),
        };
        let own = waker.as_fd().try_clone_to_owned()?;
        alarms.add(None, Some(own), What::Waker, EventFlags::IN)?;
        Ok(alarms)
    }

    /// What another thread wakes this one with.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Watches a cgroup, in place of what was watched of it before. What the kernel refuses is in the answer, the rest
    /// wakes.
    pub fn watch(&mut self, cgroup: &MemoryCgroup, watch: Watch) -> Armed {
        self.forget(cgroup.id());
        let mut armed = Armed::default();
        let id = Some(cgroup.id());
        let mut note = |file, result: Result<(), Errno>| {
            if let Err(errno) = result {
                armed.refused.push(NotArmed { file, errno });
            }
        };
        if watch.events {
            note(
                "memory.events",
                self.watch_events(cgroup, c"memory.events", false),
            );
        }
        if watch.local_events {
            let watched = self.watch_events(cgroup, c"memory.events.local", true);
            note("memory.events.local", watched);
        }
        if watch.populated {
            note("cgroup.events", self.watch_populated(cgroup));
        }
        if watch.stalls {
            let open = || cgroup.open(c"memory.pressure", OFlags::RDWR | OFlags::NONBLOCK);
            self.watch_stalls(id, "memory.pressure", open, &mut armed);
        }
        armed
    }

    /// Watches the machine's memory pressure.
    pub fn watch_machine(&mut self) -> Armed {
        let mut armed = Armed::default();
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = || rustix::fs::open(MACHINE, flags, Mode::empty());
        self.watch_stalls(None, MACHINE, open, &mut armed);
        armed
    }

    /// Watches a process until it ends; `key` is the caller's.
    ///
    /// # Errors
    /// The kernel's.
    pub fn watch_process(&mut self, key: u64, pidfd: OwnedFd) -> io::Result<()> {
        Ok(self.add(None, Some(pidfd), What::Process { key }, EventFlags::IN)?)
    }

    /// Watches a probe's ring.
    ///
    /// # Errors
    /// The kernel's.
    pub fn watch_probe(&mut self, ring: BorrowedFd<'_>) -> io::Result<()> {
        let own = ring.try_clone_to_owned()?;
        Ok(self.add(None, Some(own), What::Probe, EventFlags::IN)?)
    }

    /// Watches a cgroup no more.
    pub fn forget(&mut self, cgroup: CgroupId) {
        for at in 0..self.sources.len() {
            let its_own = self.sources[at]
                .as_ref()
                .is_some_and(|s| s.cgroup == Some(cgroup));
            if its_own {
                self.remove(at);
            }
        }
    }

    /// How many descriptors wake.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sources.iter().flatten().count()
    }

    /// Whether nothing wakes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sleeps until something wakes, or for so long; without a time, until something wakes. No alarm means that the time is
    /// over, or a signal came. Allocates nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait(&mut self, at_most: Option<Duration>) -> io::Result<&[Alarm]> {
        self.alarms.clear();
        let timeout = at_most.map(|time| Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(time.subsec_nanos()),
        });
        let nothing = Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        };
        let mut events = [nothing; BATCH];
        let ready = match epoll::wait(&self.epoll, &mut events[..], timeout.as_ref()) {
            Ok(ready) => ready,
            Err(Errno::INTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        for Event { flags: _, data } in events.into_iter().take(ready) {
            let at = usize::try_from(data.u64()).unwrap_or(usize::MAX);
            // Removed while this batch was looked through: its cgroup is gone.
            let Some(Some(source)) = self.sources.get_mut(at) else {
                continue;
            };
            match look(source) {
                Ok(alarm) => self.alarms.extend(alarm),
                Err(_) => {
                    // ENODEV: removed. Anything else would wake again and again for nothing.
                    if let Some(cgroup) = source.cgroup {
                        self.forget(cgroup);
                        self.alarms.push(Alarm::Gone { cgroup });
                    } else {
                        self.remove(at);
                    }
                    continue;
                }
            }
            if let Some(Some(source)) = self.sources.get(at)
                && matches!(source.what, What::Process { .. })
            {
                self.remove(at);
            }
        }
        Ok(&self.alarms)
    }

    fn watch_events(&mut self, cgroup: &MemoryCgroup, file: &CStr, local: bool) -> Result<(), Errno> {
        let fd = cgroup.open(file, OFlags::RDONLY)?;
        // Reading arms it: without, the first wait would return at once.
        let seen = read_events(fd.as_fd())?;
        let what = What::Events { local, seen };
        self.add(Some(cgroup.id()), Some(fd), what, EventFlags::PRI)
    }

    fn watch_populated(&mut self, cgroup: &MemoryCgroup) -> Result<(), Errno> {
        let fd = cgroup.open(c"cgroup.events", OFlags::RDONLY)?;
        let seen = read_populated(fd.as_fd())?;
        let what = What::Populated { seen };
        self.add(Some(cgroup.id()), Some(fd), what, EventFlags::PRI)
    }

    fn watch_stalls(
        &mut self,
        cgroup: Option<CgroupId>,
        file: &'static str,
        open: impl Fn() -> Result<OwnedFd, Errno>,
        armed: &mut Armed,
    ) {
        for kind in [Kind::Some, Kind::Full] {
            let added = Trigger::arm(kind, &open).and_then(|(trigger, window)| {
                self.add(cgroup, None, What::Stalls(trigger), EventFlags::PRI)?;
                Ok(window)
            });
            match added {
                Ok(window) if kind == Kind::Some => armed.some = Some(window),
                Ok(window) => armed.full = Some(window),
                Err(errno) => armed.refused.push(NotArmed { file, errno }),
            }
        }
    }

    fn add(
        &mut self,
        cgroup: Option<CgroupId>,
        fd: Option<OwnedFd>,
        what: What,
        flags: EventFlags,
    ) -> Result<(), Errno> {
        let free = self.sources.iter().position(Option::is_none);
        let at = free.unwrap_or(self.sources.len());
        let source = Source { cgroup, fd, what };
        let waited_for = source.fd().ok_or(Errno::BADF)?;
        epoll::add(&self.epoll, waited_for, EventData::new_u64(at as u64), flags)?;
        if at == self.sources.len() {
            self.sources.push(Some(source));
        } else {
            self.sources[at] = Some(source);
        }
        Ok(())
    }

    fn remove(&mut self, at: usize) {
        if let Some(source) = self.sources.get_mut(at).and_then(Option::take)
            && let Some(fd) = source.fd()
        {
            // A descriptor of which there is a second one elsewhere would stay in the set when this one is closed. That it
            // is not in the set is the only refusal there is.
            _ = epoll::delete(&self.epoll, fd);
        }
    }
}

/// Finds out what happened, and rearms the source.
fn look(source: &mut Source) -> Result<Option<Alarm>, Errno> {
    let fd = source.fd.as_ref().map(AsFd::as_fd);
    Ok(match (&mut source.what, source.cgroup, fd) {
        (What::Waker, _, Some(fd)) => {
            let mut count = [0; 8];
            match rustix::io::read(fd, &mut count) {
                Ok(_) => Some(Alarm::Woken),
                Err(Errno::AGAIN) => None,
                Err(errno) => return Err(errno),
            }
        }
        (What::Probe, ..) => Some(Alarm::Probe),
        (What::Process { key }, ..) => Some(Alarm::Exited { key: *key }),
        (What::Events { local, seen }, Some(cgroup), Some(fd)) => {
            let now = read_events(fd)?;
            let before = std::mem::replace(seen, now);
            // `low` and what later kernels count are of no concern.
            (before != now).then_some(Alarm::Memory {
                cgroup,
                local: *local,
                before,
                now,
            })
        }
        (What::Populated { seen }, Some(cgroup), Some(fd)) => {
            let populated = read_populated(fd)?;
            let before = std::mem::replace(seen, populated);
            // `frozen` is in the same file.
            (before != populated).then_some(Alarm::Populated { cgroup, populated })
        }
        (What::Stalls(trigger), cgroup, _) => trigger.event()?.map(|(total, moved)| Alarm::Stalled {
            cgroup,
            full: trigger.kind == Kind::Full,
            total,
            moved,
        }),
        _ => None,
    })
}

fn read_events(fd: BorrowedFd<'_>) -> Result<MemoryEvents, Errno> {
    let mut buffer = [0; 512];
    Ok(MemoryEvents::read(read_start(fd, &mut buffer)?))
}

fn read_populated(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut buffer = [0; 128];
    Ok(parse::key(read_start(fd, &mut buffer)?, b"populated") == Some(1))
}
