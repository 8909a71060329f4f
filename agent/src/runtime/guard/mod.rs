//! The guard: what stands between memory pressure and the kernel's OOM killer.
//!
//! [`core`] is the loop over [`ports`], which knows neither clock nor kernel; [`machine`] is the kernel behind these ports;
//! [`thread`] sleeps and wakes it; [`outbox`] carries its news to the main loop.

pub mod core;
pub(super) mod machine;
pub(super) mod outbox;
mod ports;
pub(super) mod thread;
