//! Waking a thread from another.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::EventfdFlags;

/// Wakes the thread that waits for the alarms, from any other.
#[derive(Debug, Clone)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// One that wakes whoever waits for it to be readable.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(Arc::new(rustix::event::eventfd(0, flags)?)))
    }

    /// Takes note that the thread is awake.
    pub fn awake(&self) {
        // The only refusal is EAGAIN: it had not been woken.
        _ = rustix::io::read(&*self.0, &mut [0_u8; 8]);
    }

    /// Ends the current wait, or the next. Never blocks.
    pub fn wake(&self) {
        // The only refusal is EAGAIN, with the counter at its end: then the thread is to be woken anyway.
        _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
