//! Plimsoll, a node agent: pods into cgroup v2 hierarchies, watched by eBPF, told to Prometheus.
//!
//! ```text
//!         pods ──────────────► decide::desired ─► decide::admission ─► decide::plan ─► act::cgroups
//!   observe (manifests)          QoS tree, knobs    requests, room       ordered writes    (read back)
//!                                                                                             │
//!         kernel ─► state::usage ─────────────────────────────────────────► status, metrics ◄─┘
//!   observe (eBPF, cgroup files)   one record a cgroup
//! ```
//!
//! - [`observe`]: IO in, facts out, no choices.
//! - [`state`]: what the agent remembers; pure values, time passed in.
//! - [`decide`]: pure functions, facts and policy to plans; no IO, no clock, no async, no logging.
//! - [`act`]: plan in, effects out; never chooses, and reads back every write.
//! - [`kernel`]: the only door to files, system calls and clocks; real and fake behind one trait, one contract for both.
//! - [`runtime`]: wires the stages; holds no rule of its own. [`metrics`] and [`cli`] tell; [`config`] is told.
//! - [`model`]: the vocabulary that all of them speak.
//!
//! The kernel keeps the truth: limits and protections live in cgroup files, so they hold while the agent is away, and
//! an agent that starts reads them back and converges. A test (`tests/tests/walls.rs`) holds the walls between the
//! modules.

pub mod act;
pub mod cli;
pub mod config;
pub mod decide;
pub mod kernel;
pub mod metrics;
pub mod model;
pub mod observe;
pub mod runtime;
pub mod state;
