//! Input from outside, facts out: manifests, cgroup files, eBPF. Nothing here chooses.

pub mod pods;
