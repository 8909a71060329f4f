//! Exclusive CPUs: which container gets which, by kubelet's static policy.

pub mod take;
