//! Scenarios: the agent's engine over a pod's life, on a node that only exists in memory.
//!
//! Manifests go in as files, the fake node is what the kernel would be, and what is asserted is the node's state or the
//! agent's report, never a call.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test target: a failure is the message"
)]

mod batch;
mod evicted;
mod exclusive;
mod kept_out;
mod killed;
mod life;
mod pressure;
mod random;
mod restart;
mod trouble;
