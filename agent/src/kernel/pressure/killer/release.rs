//! Two threads that take the address spaces of dying processes apart.
//!
//! **Problem.** A dying process frees its memory itself, when it gets to run; `process_mrelease` (Linux 5.15) lets others do
//! it at the same time, and returns only when it is done: 40 to 70 ms for each GiB. **How.** The guard names the victim and
//! goes on. One thread lists the processes, the largest first; both work the list off.
//!
//! A pid of the list may belong to another process by then. That does no harm: the kernel refuses to touch a process that
//! is not dying (`EINVAL`), and one that is dying has no more use for its memory.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use super::members::{each_cgroup, each_process};
use crate::kernel::pressure::cgroup::MemoryCgroup;
use crate::kernel::pressure::scores::read_of;
use crate::kernel::sys;

const THREADS: usize = 2;
/// Victims that can wait.
const VICTIMS: usize = 8;
/// Processes of one victim, the largest of the first ones listed.
const PROCESSES: usize = 1024;
/// A process of which only a part could be taken is tried again so often.
const ATTEMPTS: usize = 5;

/// What was released so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Released {
    /// Victims that were gone through.
    pub victims: u64,
    /// Processes whose memory was taken.
    pub processes: u64,
    /// Processes that had freed it themselves, or were gone.
    pub already: u64,
    /// Processes that the kernel did not touch: not dying, or it has no such call.
    pub refused: u64,
}

#[derive(Debug, Default)]
struct Queue {
    victims: VecDeque<Arc<MemoryCgroup>>,
    /// Processes, with their resident pages; the largest last.
    processes: Vec<(u64, i32)>,
    stop: bool,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    victims: AtomicU64,
    processes: AtomicU64,
    already: AtomicU64,
    refused: AtomicU64,
    unknown_call: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is whole at every moment at which a thread could have panicked.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(super) struct ReleaseThreads {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl ReleaseThreads {
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        {
            let mut queue = shared.lock();
            queue.victims.reserve(VICTIMS);
            queue.processes.reserve(PROCESSES * 2);
        }
        let mut started = Self {
            shared,
            threads: Vec::new(),
        };
        for _ in 0..THREADS {
            let shared = started.shared.clone();
            let thread = std::thread::Builder::new()
                .name("release".to_owned())
                .stack_size(256 << 10)
                .spawn(move || work(&shared))?;
            started.threads.push(thread);
        }
        Ok(started)
    }

    /// Takes the victim on, without waiting.
    pub(super) fn release(&self, victim: &Arc<MemoryCgroup>) -> Result<(), Errno> {
        if self.shared.unknown_call.load(Ordering::Relaxed) {
            return Err(Errno::NOSYS);
        }
        let mut queue = self.shared.lock();
        if queue.victims.len() == VICTIMS {
            return Err(Errno::AGAIN);
        }
        queue.victims.push_back(victim.clone());
        drop(queue);
        self.shared.work.notify_all();
        Ok(())
    }

    pub(super) fn released(&self) -> Released {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Released {
            victims: of(&self.shared.victims),
            processes: of(&self.shared.processes),
            already: of(&self.shared.already),
            refused: of(&self.shared.refused),
        }
    }
}

impl Drop for ReleaseThreads {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so.
            _ = thread.join();
        }
    }
}

fn work(shared: &Shared) {
    let mut listed = Vec::with_capacity(PROCESSES);
    let mut queue = shared.lock();
    loop {
        if queue.stop {
            return;
        }
        if let Some((_, pid)) = queue.processes.pop() {
            drop(queue);
            let count = match release(pid) {
                Ok(true) => &shared.processes,
                Ok(false) => &shared.already,
                Err(errno) => {
                    if errno == Errno::NOSYS {
                        shared.unknown_call.store(true, Ordering::Relaxed);
                    }
                    &shared.refused
                }
            };
            count.fetch_add(1, Ordering::Relaxed);
            queue = shared.lock();
        } else if let Some(victim) = queue.victims.pop_front() {
            drop(queue);
            list(&victim, &mut listed);
            shared.victims.fetch_add(1, Ordering::Relaxed);
            queue = shared.lock();
            let room = PROCESSES.saturating_mul(2).saturating_sub(queue.processes.len());
            queue.processes.extend(listed.iter().rev().take(room));
            queue.processes.sort_unstable();
            shared.work.notify_all();
        } else {
            queue = shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Lists the victim's processes with their resident pages. What cannot be listed frees its memory alone.
fn list(victim: &MemoryCgroup, listed: &mut Vec<(u64, i32)>) {
    listed.clear();
    _ = each_cgroup(victim.as_fd(), &mut |cgroup| {
        each_process(cgroup, &mut |pid| {
            if listed.len() < PROCESSES {
                listed.push((resident_pages(pid).unwrap_or_default(), pid));
            }
        })
    });
    listed.sort_unstable();
}

fn resident_pages(pid: i32) -> Option<u64> {
    const STATM: &CStr = c"statm";
    let mut buffer = [0; 128];
    let statm = read_of(pid, STATM, &mut buffer).ok()?;
    let word = statm.split(|byte| *byte == b' ').nth(1)?;
    super::super::parse::decimal(word)
}

/// Releases a process's memory; false when there was nothing left of it.
fn release(pid: i32) -> Result<bool, Errno> {
    let pid = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
    let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return Ok(false),
        Err(errno) => return Err(errno),
    };
    for attempt in 1..=ATTEMPTS {
        match sys::process_mrelease(pidfd.as_fd()) {
            Ok(()) => return Ok(true),
            Err(Errno::SRCH) => return Ok(false),
            // A part was taken; somebody held the address space for a moment.
            Err(Errno::AGAIN | Errno::INTR) if attempt < ATTEMPTS => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::AGAIN)
}
