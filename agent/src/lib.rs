//! Plimsoll, a node agent.

pub mod act;
pub mod config;
pub mod decide;
pub mod kernel;
pub mod metrics;
pub mod model;
pub mod observe;
pub mod state;
