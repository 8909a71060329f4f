//! Eviction signals, by the names of KubeletConfiguration and two of our own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a threshold is set on.
///
/// Source of the first eight: Kubernetes, "Node-pressure Eviction".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Signal {
    /// Memory that the machine can still give out.
    MemoryAvailable,
    /// The same for the pods' root cgroup, against what is allocatable.
    AllocatableMemoryAvailable,
    /// Free space of the file system that holds the agent's state and the pods' volumes.
    NodefsAvailable,
    /// Free inodes there.
    NodefsInodesFree,
    /// Free space of the file system that holds images.
    ImagefsAvailable,
    /// Free inodes there.
    ImagefsInodesFree,
    /// Process ids that are still free.
    PidAvailable,
    /// Ours: the part of the last ten seconds in which every task waited for memory.
    PressureMemoryFull,
    /// Ours: the time until memory is gone, at the rate at which it goes.
    TimeToExhaustion,
}

impl Signal {
    /// All of them, in kubelet's order of treatment: memory first.
    pub const ALL: [Self; 9] = [
        Self::MemoryAvailable,
        Self::AllocatableMemoryAvailable,
        Self::TimeToExhaustion,
        Self::PressureMemoryFull,
        Self::NodefsAvailable,
        Self::NodefsInodesFree,
        Self::ImagefsAvailable,
        Self::ImagefsInodesFree,
        Self::PidAvailable,
    ];

    /// Its name in the configuration, in metrics and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MemoryAvailable => "memory.available",
            Self::AllocatableMemoryAvailable => "allocatableMemory.available",
            Self::NodefsAvailable => "nodefs.available",
            Self::NodefsInodesFree => "nodefs.inodesFree",
            Self::ImagefsAvailable => "imagefs.available",
            Self::ImagefsInodesFree => "imagefs.inodesFree",
            Self::PidAvailable => "pid.available",
            Self::PressureMemoryFull => "pressure.memory.full",
            Self::TimeToExhaustion => "time.to.exhaustion",
        }
    }
}

impl Signal {
    /// Whether memory is what it speaks of.
    #[must_use]
    pub const fn is_memory(self) -> bool {
        match self {
            Self::MemoryAvailable
            | Self::AllocatableMemoryAvailable
            | Self::PressureMemoryFull
            | Self::TimeToExhaustion => true,
            Self::NodefsAvailable
            | Self::NodefsInodesFree
            | Self::ImagefsAvailable
            | Self::ImagefsInodesFree
            | Self::PidAvailable => false,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<Signal> for &'static str {
    fn from(signal: Signal) -> Self {
        signal.name()
    }
}

/// No signal has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown eviction signal {0:?}; there are memory.available, allocatableMemory.available, nodefs.available, \
         nodefs.inodesFree, imagefs.available, imagefs.inodesFree, pid.available, pressure.memory.full and \
         time.to.exhaustion"
)]
pub struct SignalError(pub String);

impl FromStr for Signal {
    type Err = SignalError;

    fn from_str(name: &str) -> Result<Self, SignalError> {
        let mut all = Self::ALL.into_iter();
        all.find(|signal| signal.name() == name)
            .ok_or_else(|| SignalError(name.to_owned()))
    }
}

impl TryFrom<String> for Signal {
    type Error = SignalError;

    fn try_from(name: String) -> Result<Self, SignalError> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_reads_by_its_name() {
        for signal in Signal::ALL {
            assert_eq!(signal.name().parse(), Ok(signal));
        }
        let error = "memory.free".parse::<Signal>().unwrap_err();
        assert!(Signal::ALL.iter().all(|s| error.to_string().contains(s.name())));
    }
}
