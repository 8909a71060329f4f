//! Which CPUs to take: given what is free and how many are wanted, the choice by topology alone.
//!
//! **Problem.** CPUs that share a core, a cache or a node work best together, and what is left should still have whole
//! nodes and cores for the next one. **How.** Both algorithms give kubelet's answer (`cpu_assignment.go`,
//! Kubernetes 1.36). [`packed`] takes the largest whole parts of the machine that still fit, from the fullest part of
//! it on: sockets and NUMA nodes, caches if wanted, cores, then threads. [`distributed`] takes as much of each of as
//! few nodes as can hold the request, so that the nodes' free CPUs are as even as possible afterwards, and packs inside
//! each.
//!
//! # Properties
//! - Exactly the wanted number is taken, out of what is free; or nothing, with the numbers.
//! - The same question has the same answer.
//! - The work is bounded by a polynomial of the machine's size, whatever is free.

mod balance;
mod distributed;
mod l3;
mod order;
mod packed;
#[cfg(test)]
mod props;
mod taking;
#[cfg(test)]
mod tests;

use crate::model::CpuSet;

pub use distributed::distributed;
pub use packed::packed;

/// In which order single threads are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Whole cores first, then the siblings of what is in use.
    #[default]
    Packed,
    /// By number, cores or not: on most machines that gives each CPU a core of its own as long as there are any
    /// (kubelet's `distribute-cpus-across-cores`).
    Spread,
}

/// There are fewer free CPUs than wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} CPUs are wanted, {free} are free")]
pub struct NotEnough {
    /// CPUs wanted.
    pub wanted: usize,
    /// CPUs that could be taken.
    pub free: usize,
}

/// What a part of the taken CPUs is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A whole socket.
    Socket,
    /// A whole NUMA node.
    NumaNode,
    /// A whole last-level cache.
    Cache,
    /// Cores of one last-level cache.
    InCache,
    /// Whole cores.
    Cores,
    /// Threads of any core.
    Threads,
}

/// Part of the taken CPUs, and as what they were taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// As what.
    pub part: Part,
    /// Which.
    pub cpus: CpuSet,
}

/// CPUs taken, and how it came to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// The CPUs.
    pub cpus: CpuSet,
    /// The parts they were taken in, in that order; no CPU is in two.
    pub steps: Vec<Step>,
}
