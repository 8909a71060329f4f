//! Why a container cannot have its CPUs.

use super::take::NotEnough;
use crate::decide::numa::admit::Refused;

/// Why a container cannot have its CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CpuRefusal {
    /// Whole cores only, and the request does not come out even.
    #[error("{wanted} CPUs are wanted, which is no multiple of the {threads} threads of a core")]
    NoWholeCores {
        /// CPUs wanted.
        wanted: usize,
        /// Threads of a core.
        threads: usize,
    },
    /// Whole cores only, and too few are free.
    #[error("{wanted} CPUs are wanted, {free} are free in cores without reserved CPUs")]
    TooFewWholeCores {
        /// CPUs wanted.
        wanted: usize,
        /// Free CPUs outside the cores that have reserved ones.
        free: usize,
    },
    /// Whole cores only, and what is free would have to be taken in parts of cores.
    #[error("{wanted} CPUs are wanted, {free} are free in whole cores")]
    SplitCores {
        /// CPUs wanted.
        wanted: usize,
        /// Free CPUs whose siblings are all free.
        free: usize,
    },
    /// A container without CPUs of its own cannot be given more or fewer.
    #[error("the container holds no exclusive CPUs")]
    HoldsNone,
    /// Too few CPUs are free.
    #[error(transparent)]
    NotEnough(#[from] NotEnough),
}

impl CpuRefusal {
    /// kubelet's name of the reason, as in the pod's status.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoWholeCores { .. } | Self::TooFewWholeCores { .. } | Self::SplitCores { .. } => {
                "SMTAlignmentError"
            }
            Self::HoldsNone | Self::NotEnough(_) => "UnexpectedAdmissionError",
        }
    }
}

/// kubelet's name of the reason for which a pod was refused its CPUs, as in the pod's status.
#[must_use]
pub const fn reason(refused: &Refused<CpuRefusal>) -> &'static str {
    match refused {
        Refused::Affinity { .. } => "TopologyAffinityError",
        Refused::Allocation { refusal, .. } => refusal.reason(),
    }
}
