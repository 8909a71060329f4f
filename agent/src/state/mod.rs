//! What the agent remembers: pure values, with time passed in.

pub mod usage;
