//! Input from outside, facts out: manifests, cgroup files, eBPF. Nothing here chooses.

pub mod pods;
//! IO in, facts out, no choices.

pub mod cgroup_stats;
pub mod cgroup_tree;
pub mod parse;
