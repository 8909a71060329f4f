//! Plimsoll, a node agent.

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
