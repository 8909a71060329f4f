//! Node-pressure eviction: what is watched, from where on something has to be done, and how far that may go.

mod from_config;
mod policy;

pub use policy::{
    Budget, EvictionPolicy, OomPriority, RungPolicy, Rungs, Threshold, ThresholdValue, Thresholds,
};
