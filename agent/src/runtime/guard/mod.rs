//! The guard: what stands between memory pressure and the kernel's OOM killer.

pub mod core;
mod ports;
