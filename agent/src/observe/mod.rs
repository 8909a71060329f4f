//! Input from outside, facts out: manifests, cgroup files, eBPF. Nothing here chooses.

pub mod cgroup_stats;
pub mod cgroup_tree;
pub mod parse;
pub mod pods;
//! What goes on: IO in, facts out, no choices.

pub mod node;
