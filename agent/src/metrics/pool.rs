//! Text buffers that are used again, so that a scrape every few seconds for months does not churn memory.
//!
//! # Properties
//! - At most [`KEPT`] buffers are kept, and none that is far larger than what it last held.

use std::sync::{Arc, Mutex, PoisonError};

/// One being written, and one still being sent.
const KEPT: usize = 2;

#[derive(Debug, Clone, Default)]
pub(super) struct Pool {
    free: Arc<Mutex<Vec<String>>>,
}

/// A text whose memory returns to the pool.
#[derive(Debug)]
pub struct Pooled {
    text: String,
    home: Pool,
}

impl Pool {
    pub(super) fn take(&self) -> Pooled {
        let text = self.free().pop().unwrap_or_default();
        Pooled {
            text,
            home: self.clone(),
        }
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        // Nothing that panics runs under the lock, and any list of buffers is a good one.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pooled {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn as_mut(&mut self) -> &mut String {
        &mut self.text
    }
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        // After a crowd of pods has gone, its memory goes too.
        if text.capacity() / 4 > text.len() {
            text.shrink_to(text.len() * 2);
        }
        text.clear();
        let mut free = self.home.free();
        if free.len() < KEPT {
            free.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_given_back_after_a_crowd() {
        let pool = Pool::default();
        let mut text = pool.take();
        text.as_mut().push_str(&"x".repeat(1 << 20));
        let large = text.as_mut().as_ptr();
        drop(text);
        let mut text = pool.take();
        assert_eq!(text.as_mut().as_ptr(), large);
        assert_eq!(text.as_str(), "");
        text.as_mut().push_str("small");
        drop(text);
        assert!(pool.take().as_mut().capacity() < 1 << 10);
    }

    #[test]
    fn few_buffers_are_kept() {
        let pool = Pool::default();
        let taken: Vec<_> = (0..10).map(|_| pool.take()).collect();
        drop(taken);
        assert_eq!(pool.free().len(), KEPT);
    }
}
