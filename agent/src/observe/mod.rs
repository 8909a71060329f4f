//! What goes on: IO in, facts out, no choices.

pub mod cgroup_stats;
pub mod cgroup_tree;
pub mod cpu_topology;
pub mod cpu_watch;
pub mod discovery;
pub mod kubelet_cpus;
pub mod node;
pub mod numa_memory;
pub mod parse;
pub mod pods;
pub mod probes;
pub mod running;
pub mod supply;
pub mod undo;
