//! What the programs and test targets of this crate share.

pub mod agent;
pub mod bench;
pub mod demo;
pub mod load;
pub mod node;
pub mod pressure;
pub mod prometheus;
pub mod race;
pub mod vectors;
