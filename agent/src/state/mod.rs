//! What the agent remembers: pure values, with time passed in.

pub mod containers;
pub mod cpus;
pub mod drift;
pub mod pressure;
pub mod usage;
