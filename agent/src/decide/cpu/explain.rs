//! A grant, and why it is these CPUs.

use std::fmt;

use super::take::{Part, Step};
use crate::model::{ContainerName, CpuSet, NumaMask};

/// CPUs that a container gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The container.
    pub container: ContainerName,
    /// Its CPUs.
    pub cpus: CpuSet,
    /// Why these.
    pub why: Explanation,
}

/// By which algorithm CPUs were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// The largest whole parts first.
    Packed,
    /// By number.
    Spread,
    /// As packed, keeping to last-level caches.
    ByCache,
    /// Evenly from NUMA nodes, in groups of so many CPUs.
    Distributed {
        /// CPUs of a group.
        group: usize,
    },
}

/// Why a container gets the CPUs it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Explanation {
    /// It had them already.
    Kept,
    /// It keeps what it had and gets more.
    Grown {
        /// What it had.
        had: CpuSet,
        /// Why it gets what is new.
        why: Box<Explanation>,
    },
    /// It keeps part of what it had.
    Shrunk {
        /// What it had.
        had: CpuSet,
        /// Why it keeps what it keeps.
        why: Box<Explanation>,
    },
    /// They were chosen.
    Chosen {
        /// By which algorithm.
        algorithm: Algorithm,
        /// CPUs that could be given, on each NUMA node in the order of their numbers.
        free: Vec<u64>,
        /// How many of them an init container of the pod had.
        again: usize,
        /// The NUMA nodes that the topology manager chose, if it did.
        nodes: Option<NumaMask>,
        /// How many of the CPUs given are aligned to them; all without them.
        aligned: usize,
        /// The first choice split cores, and was made again among whole ones.
        whole_cores_only: bool,
        /// The parts they were taken in, in that order.
        steps: Vec<Step>,
    },
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packed => f.write_str("packed"),
            Self::Spread => f.write_str("spread over cores"),
            Self::ByCache => f.write_str("packed by last-level cache"),
            Self::Distributed { group } => write!(f, "distributed over NUMA nodes by {group}"),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socket => "socket",
            Self::NumaNode => "NUMA node",
            Self::Cache => "last-level cache",
            Self::InCache => "cores of one last-level cache",
            Self::Cores => "whole cores",
            Self::Threads => "threads",
        })
    }
}

impl fmt::Display for Explanation {
    /// One line: `packed: whole cores 2-5, threads 6; 14 were free (6, 8 by NUMA node), …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (algorithm, free, again, nodes, aligned, whole_cores_only, steps) = match self {
            Self::Kept => return f.write_str("kept what it had"),
            Self::Grown { had, why } => return write!(f, "had {had}; {why}"),
            Self::Shrunk { had, why } => return write!(f, "had {had}; of that {why}"),
            Self::Chosen {
                algorithm,
                free,
                again,
                nodes,
                aligned,
                whole_cores_only,
                steps,
            } => (algorithm, free, again, nodes, aligned, whole_cores_only, steps),
        };
        write!(f, "{algorithm}")?;
        for (n, Step { part, cpus }) in steps.iter().enumerate() {
            write!(f, "{}{part} {cpus}", if n == 0 { ": " } else { ", " })?;
        }
        write!(f, "; {} were free (", free.iter().sum::<u64>())?;
        for (n, count) in free.iter().enumerate() {
            write!(f, "{}{count}", if n == 0 { "" } else { ", " })?;
        }
        f.write_str(" by NUMA node)")?;
        if *again > 0 {
            write!(f, ", {again} of them from an init container")?;
        }
        if let Some(nodes) = nodes {
            let given: usize = steps.iter().map(|step| step.cpus.len()).sum();
            write!(f, "; {aligned} of {given} aligned to NUMA nodes {nodes}")?;
        }
        if *whole_cores_only {
            f.write_str("; made again among whole cores, the first choice split some")?;
        }
        Ok(())
    }
}
