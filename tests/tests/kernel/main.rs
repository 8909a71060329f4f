//! Tests against the kernel itself: as root, in the VM lab (`cargo xtask vm`), which runs them with `--ignored`.
//!
//! Plain `cargo test` runs what the machine at hand allows and ignores the rest.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test target: a failure is the message"
)]

mod agent;
mod cgroups;
mod contract;
mod cpu_hotplug;
mod cpusets;
mod differential;
mod pressure;
#[path = "../native/probes/mod.rs"]
mod probes;
mod probes_memory;
mod probes_parity;
mod probes_writes;
mod process;
mod support;
