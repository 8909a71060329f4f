//! The CPUs that are never given away.

use crate::model::{CpuSet, MilliCpu, Topology};

/// What is to be reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reservation {
    /// These CPUs.
    Cpus(CpuSet),
    /// As many as that, chosen like a container's.
    Count(usize),
}

/// Why a reservation cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReservationError {
    /// CPUs that the machine does not have.
    #[error("reserved CPUs {missing} do not exist; the machine has {cpus}")]
    NoSuchCpu {
        /// Those of the list that do not exist.
        missing: CpuSet,
        /// The machine's.
        cpus: CpuSet,
    },
    /// The list is not what the amounts add up to.
    #[error("{listed} CPUs are reserved by list, but the reserved amounts of CPU make {count}")]
    NotTheCount {
        /// CPUs in the list.
        listed: usize,
        /// The amounts, rounded up.
        count: usize,
    },
    /// Nothing would be left.
    #[error("{reserved} of {cpus} CPUs are reserved; at least one must be left for pods")]
    Everything {
        /// CPUs to be reserved.
        reserved: usize,
        /// CPUs of the machine.
        cpus: usize,
    },
}

impl Reservation {
    /// From kubelet's settings: a list, which may be empty, and the sum of the amounts of CPU reserved for the system
    /// and for agents. Where both say something they must agree.
    ///
    /// # Errors
    /// The list has another number of CPUs than the amounts, rounded up to whole ones, if there are any.
    pub fn new(list: &CpuSet, amounts: MilliCpu) -> Result<Self, ReservationError> {
        let count = usize::try_from(amounts.0.div_ceil(1000)).unwrap_or(usize::MAX);
        if list.is_empty() {
            return Ok(Self::Count(count));
        }
        if count != 0 && list.len() != count {
            return Err(ReservationError::NotTheCount {
                listed: list.len(),
                count,
            });
        }
        Ok(Self::Cpus(list.clone()))
    }

    /// Whether it can be made on this machine.
    pub(super) fn check(&self, topology: &Topology) -> Result<(), ReservationError> {
        let cpus = topology.cpus();
        let reserved = match self {
            Self::Cpus(list) if list.is_subset(cpus) => list.len(),
            Self::Cpus(list) => {
                return Err(ReservationError::NoSuchCpu {
                    missing: list - cpus,
                    cpus: cpus.clone(),
                });
            }
            Self::Count(count) => *count,
        };
        if reserved >= cpus.len() {
            return Err(ReservationError::Everything {
                reserved,
                cpus: cpus.len(),
            });
        }
        Ok(())
    }
}
