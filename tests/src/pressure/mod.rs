//! A machine under memory pressure that only exists in memory, with the agent's real guard on it.
//!
//! **Problem.** Whom the guard takes, when, and what it leaves alone must hold for thousands of machines, in the order of
//! events of a real one. **How.** [`machine`] models memory, reclaim, stall and the kernel's killer; [`world`] is that
//! machine as the guard's ports; [`run`](run::run) plays a [`scenario`] with a seed and judges it: random bystanders, rates, kill
//! latencies, delays of each wake and read. Same seed, same run.

#![expect(
    clippy::unwrap_used,
    reason = "a fixture: what goes wrong in here fails the test"
)]

pub mod chance;
pub mod machine;
pub mod pod;
pub mod run;
pub mod scenario;
pub mod world;
