//! Pure functions from facts and policy to plans: no IO, no clock, no logging.

pub mod desired;
pub mod plan;
