//! Plan in, effects out: never a choice of its own, and nothing is believed until it was read back.

pub mod cgroups;
pub mod kill;
pub mod launch;
pub mod partition;
pub mod remove;
pub mod undo;
