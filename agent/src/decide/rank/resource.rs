//! What is short, how much of it a pod has, and how much of that its end gives back.

use crate::model::Bytes;
use crate::model::pressure::{Charge, Need, NodeFigures, PodFacts, PodFigures, Signal};

/// What a pod's end has to give back at least, where memory or space is short.
const LEAST: u64 = 64 << 20;

/// Something that a pod takes from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    /// Memory, and swap where that is as good as used up.
    Memory {
        /// Whether a page in swap that comes free helps.
        swap_short: bool,
    },
    /// Space on a file system.
    Space,
    /// Inodes of one.
    Inodes,
    /// Process ids.
    Tasks,
}

impl Resource {
    pub(super) fn of(need: &Need, node: &NodeFigures) -> Self {
        match need.signal {
            Some(Signal::NodefsAvailable | Signal::ImagefsAvailable) => Self::Space,
            Some(Signal::NodefsInodesFree | Signal::ImagefsInodesFree) => Self::Inodes,
            Some(Signal::PidAvailable) => Self::Tasks,
            Some(
                Signal::MemoryAvailable
                | Signal::AllocatableMemoryAvailable
                | Signal::PressureMemoryFull
                | Signal::TimeToExhaustion,
            )
            | None => Self::Memory {
                // While there is room in swap, memory that is there already is no relief when it goes.
                swap_short: node.swap > Bytes(0)
                    && node.swap_free <= Bytes(node.swap.0 / 10).max(need.deficit),
            },
        }
    }

    /// What has to come free.
    pub(super) fn missing(self, need: &Need) -> u64 {
        match self {
            Self::Memory { .. } => need.deficit.0,
            Self::Space | Self::Inodes | Self::Tasks => need.threshold.saturating_sub(need.observed),
        }
    }

    /// What a pod's end has to free to be worth it.
    pub(super) fn floor(self, need: &Need) -> u64 {
        let part = self.missing(need) / 100;
        match self {
            Self::Memory { .. } | Self::Space => part.max(LEAST),
            Self::Inodes | Self::Tasks => part.max(1),
        }
    }

    /// What a pod has; none where that is unknown.
    pub(super) fn charge(self, figures: &PodFigures) -> Option<u64> {
        match self {
            Self::Memory { .. } => figures.charge.map(|charge| charge.total().0),
            Self::Space => figures.storage.map(|storage| storage.used.0),
            Self::Inodes => figures.storage.map(|storage| storage.inodes),
            Self::Tasks => figures.known().then_some(figures.tasks),
        }
    }

    /// What a pod asked for. Nobody can ask for inodes or process ids.
    pub(super) fn request(self, facts: &PodFacts) -> u64 {
        match self {
            Self::Memory { .. } => facts.request.0,
            Self::Space => facts.storage_request.0,
            Self::Inodes | Self::Tasks => 0,
        }
    }

    /// What comes free when the pod ends and its volumes go.
    pub(super) fn freed_by_end(self, figures: &PodFigures) -> u64 {
        match self {
            Self::Memory { .. } => {
                let shmem = figures.charge.map_or(Bytes(0), |charge| charge.shmem);
                self.freed_by_kill(figures).saturating_add(shmem.0)
            }
            Self::Space | Self::Inodes | Self::Tasks => self.charge(figures).unwrap_or(0),
        }
    }

    /// What comes free when only its processes end: no file, be it on disk or in a tmpfs.
    pub(super) fn freed_by_kill(self, figures: &PodFigures) -> u64 {
        match self {
            Self::Memory { swap_short } => figures.charge.map_or(0, |charge| {
                let kept = Charge {
                    shmem: Bytes(0),
                    swap: if swap_short { charge.swap } else { Bytes(0) },
                    ..charge
                };
                kept.total().0
            }),
            Self::Space | Self::Inodes => 0,
            Self::Tasks => self.charge(figures).unwrap_or(0),
        }
    }
}
