//! The agent's own heap.
//!
//! **Problem.** Reading the kernel's types to load the probes takes tens of megabytes for a second. The C library keeps
//! what was freed for later use, and so the agent would hold for good what it needed once.

#![expect(unsafe_code, reason = "the C library's call has no safe form")]

/// Gives memory that is not in use back to the kernel. It takes milliseconds: for after a large piece of work.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes no pointers, is thread-safe, and touches only memory that is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
