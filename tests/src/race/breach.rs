//! The moments at which a cgroup goes over its `memory.high`.
//!
//! The kernel counts them and tells whoever waits, but through a thread of its own that has to run first. So that this
//! counts as waiting too, the counter is read again and again here, by a thread of the benchmark, and nobody is asked who
//! is part of what is measured. A breach is seen up to [`PERIOD`] late.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use plimsoll::kernel::clock::{Clock, RealClock};
use plimsoll::kernel::pressure::thread as real_time;
use plimsoll::model::BootTime;

use super::watch::{field, text};

/// From one look to the next.
const PERIOD: Duration = Duration::from_micros(500);
/// A cgroup that stands at its limit goes over it again and again: what follows sooner belongs to the same breach.
const APART: Duration = Duration::from_millis(500);

/// How often a cgroup itself, and not one below, went over its `memory.high`.
pub(super) fn own_breaches(cgroup: &Path) -> u64 {
    field(&text(&cgroup.join("memory.events.local")), "high")
}

/// A thread that looks, until this is dropped.
pub(super) struct Breaches {
    seen: Arc<Mutex<Vec<BootTime>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Breaches {
    /// Looks from now on.
    pub(super) fn of(cgroup: &Path) -> Self {
        let (seen, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (seeing, stopped, cgroup) = (Arc::clone(&seen), Arc::clone(&stop), cgroup.to_owned());
        let thread = thread::spawn(move || {
            // Refused, it was refused to the whole benchmark, which has said so.
            drop(real_time::raise());
            let (mut count, mut latest) = (own_breaches(&cgroup), None);
            while !stopped.load(Ordering::Relaxed) {
                let now = RealClock.now();
                let counted = own_breaches(&cgroup);
                if counted > count {
                    if latest.is_none_or(|at| now.since(at) >= APART) {
                        seeing.lock().unwrap_or_else(PoisonError::into_inner).push(now);
                    }
                    latest = Some(now);
                }
                count = counted;
                // Nothing new can come for so long that the next need not be waited for so closely.
                let rests = latest.is_some_and(|at| now.since(at) < APART / 2);
                thread::sleep(if rests { 20 * PERIOD } else { PERIOD });
            }
        });
        Self {
            seen,
            stop,
            thread: Some(thread),
        }
    }

    /// Those so far, the first of each run of them.
    pub(super) fn seen(&self) -> Vec<BootTime> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Breaches {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("the thread that looks for breaches ended early");
        }
    }
}
