//! The eBPF programs in this machine's kernel: as root, with the objects built (`cargo xtask test` does both).
//!
//! Each test makes cgroups of its own in the cgroup v2 hierarchy and removes them. Figures that need the memory
//! controller, and programs that need attachable functions, are tested in the VM, which runs these here too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test target: a failure is the message"
)]

mod probes;
