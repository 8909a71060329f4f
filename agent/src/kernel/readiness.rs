//! Waiting for a file descriptor inside the event loop: a pidfd, the ring buffer, inotify.
//!
//! tokio's `AsyncFd` may only hold a descriptor that stays open and the same for as long as it is registered.
//! [`Readiness`] owns a duplicate of its own, so that whatever the caller does with the original, this holds.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that the event loop watches for being readable.
#[derive(Debug)]
pub struct Readiness {
    fd: AsyncFd<OwnedFd>,
}

impl Readiness {
    /// Watches `fd`. Must be called inside the event loop.
    ///
    /// # Errors
    /// The descriptor cannot be duplicated, or cannot be polled.
    pub fn new(fd: impl AsFd) -> io::Result<Self> {
        let own = fd.as_fd().try_clone_to_owned()?;
        // SAFETY: the descriptor is open, is owned by the `OwnedFd` inside the `AsyncFd` and by nobody else, is
        // never handed out, and so stays the same until the `AsyncFd` is dropped.
        #[expect(unsafe_code, reason = "tokio registers descriptors only on the caller's word")]
        let registered = unsafe { AsyncFd::register_with_interest(own, Interest::READABLE) };
        Ok(Self {
            fd: registered.map_err(io::Error::from)?,
        })
    }

    /// Waits until the descriptor is readable. The caller must then read all there is: readiness is reported
    /// once for each change.
    ///
    /// # Errors
    /// The event loop is shutting down.
    pub async fn readable(&self) -> io::Result<()> {
        let mut ready = self.fd.readable().await?;
        ready.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_write_wakes_the_reader_even_after_the_original_is_closed() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let readiness = Readiness::new(&ours).unwrap();
        let idle = tokio::time::timeout(Duration::from_millis(20), readiness.readable()).await;
        assert!(idle.is_err(), "nothing was written yet");
        drop(ours);
        theirs.write_all(b"x").unwrap();
        tokio::time::timeout(Duration::from_secs(5), readiness.readable())
            .await
            .unwrap()
            .unwrap();
    }
}
