//! Pure functions from facts and policy to plans: no IO, no clock, no logging.

pub mod admission;
pub mod allocatable;
pub mod allotment;
pub mod badness;
pub mod command;
pub mod conversions;
pub mod cpu;
pub mod cpusets;
pub mod desired;
pub mod drift;
pub mod eviction;
pub mod kept_out;
pub mod lifecycle;
pub mod managers;
pub mod numa;
pub mod oom_priority;

pub mod oom_score_adj;
pub mod ownership;
pub mod plan;
pub mod policy;
pub mod pressure;
pub mod qos;
pub mod rank;
pub mod rehearsal;
pub mod replay;
pub mod resources;
pub mod shield;
pub mod tripwire;
pub mod undo;

#[cfg(test)]
pub(crate) mod fixtures;
