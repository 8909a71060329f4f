//! The static policy on one machine: what may be given, and how CPUs are taken.

use super::reservation::{Reservation, ReservationError};
use super::take::{self, NotEnough, Strategy, Taken};
use crate::config::{OptionsError, StaticOptions};
use crate::decide::numa::TopologyPolicy;
use crate::model::{CpuSet, Topology};
use crate::state::cpus::CpuAssignments;

/// Why there can be no such policy on the machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The options.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The reservation.
    #[error(transparent)]
    Reservation(#[from] ReservationError),
}

/// The static policy of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticPolicy {
    topology: Topology,
    options: StaticOptions,
    reserved: CpuSet,
    /// The reserved CPUs and their siblings.
    reserved_cores: CpuSet,
    /// Whether all cores have the same number of threads.
    uniform: bool,
}

impl StaticPolicy {
    /// The policy on a machine, under a policy of the topology manager.
    ///
    /// # Errors
    /// Options exclude each other or do not fit machine or topology policy; reserved CPUs do not exist or are all.
    pub fn new(
        topology: Topology,
        options: StaticOptions,
        reservation: &Reservation,
        manager: TopologyPolicy,
    ) -> Result<Self, PolicyError> {
        options.check()?;
        options.check_on(&topology, manager)?;
        reservation.check(&topology)?;
        let threads = topology.threads_per_core();
        let uniform = topology.cores().iter().all(|core| core.cpus.len() == threads);
        let mut policy = Self {
            topology,
            options,
            reserved: CpuSet::EMPTY,
            reserved_cores: CpuSet::EMPTY,
            uniform,
        };
        policy.reserved = match reservation {
            Reservation::Cpus(list) => list.clone(),
            // Fewer than the machine has, so that it cannot be refused.
            Reservation::Count(count) => policy
                .take(policy.topology.cpus(), *count)
                .map_or(CpuSet::EMPTY, |taken| taken.cpus),
        };
        for core in policy.topology.cores() {
            if !core.cpus.is_disjoint(&policy.reserved) {
                policy.reserved_cores |= &core.cpus;
            }
        }
        Ok(policy)
    }

    /// The machine.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The options.
    #[must_use]
    pub fn options(&self) -> &StaticOptions {
        &self.options
    }

    /// CPUs that are never given away.
    #[must_use]
    pub fn reserved(&self) -> &CpuSet {
        &self.reserved
    }

    /// The assignments of a machine without pods. Reserved CPUs are shared, unless the reservation is strict.
    #[must_use]
    pub fn start(&self) -> CpuAssignments {
        let mut start = CpuAssignments::new(self.topology.cpus().clone());
        self.withhold(&mut start);
        start
    }

    /// Takes reserved CPUs out of the shared pool, where the reservation is strict.
    pub(super) fn withhold(&self, assignments: &mut CpuAssignments) {
        if self.options.strict_cpu_reservation {
            assignments.withhold(&self.reserved);
        }
    }

    /// What of the shared pool could be given away.
    #[must_use]
    pub fn free(&self, shared: &CpuSet) -> CpuSet {
        shared - &self.reserved
    }

    /// How many CPUs of the shared pool lie in cores without reserved CPUs.
    pub(super) fn free_beside_reserved(&self, shared: &CpuSet) -> usize {
        (shared - &self.reserved_cores).len()
    }

    /// CPUs of `free` whose siblings are free too.
    pub(super) fn whole_cores(&self, free: &CpuSet) -> CpuSet {
        let mut whole = CpuSet::EMPTY;
        let cores = self.topology.cores().iter().map(|core| &core.cpus);
        cores
            .filter(|core| core.is_subset(free))
            .for_each(|core| whole |= core);
        whole
    }

    /// Those of `whole` cores that have as many threads as any core has.
    pub(super) fn largest_cores(&self, whole: &CpuSet) -> CpuSet {
        let mut largest = CpuSet::EMPTY;
        let cores = self.topology.cores().iter().map(|core| &core.cpus);
        cores
            .filter(|core| core.len() == self.topology.threads_per_core() && core.is_subset(whole))
            .for_each(|core| largest |= core);
        largest
    }

    /// Whether a choice must consist of whole cores, whatever kubelet would do. On a machine whose cores differ kubelet
    /// counts with an average that no core has, so there it always must.
    pub(super) fn must_be_whole(&self) -> bool {
        self.options.full_pcpus_only && (self.options.strict_full_pcpus || !self.uniform)
    }

    /// Order of single threads, as the options have it.
    pub(super) fn strategy(&self) -> Strategy {
        if self.options.distribute_cpus_across_cores {
            Strategy::Spread
        } else {
            Strategy::Packed
        }
    }

    /// CPUs that are handed out together.
    pub(super) fn group(&self) -> usize {
        if self.options.full_pcpus_only {
            self.topology.threads_per_core()
        } else {
            1
        }
    }

    /// Takes `count` CPUs of `available` as the options have it.
    pub(super) fn take(&self, available: &CpuSet, count: usize) -> Result<Taken, NotEnough> {
        let (topology, strategy) = (&self.topology, self.strategy());
        if self.options.distribute_cpus_across_numa {
            take::distributed(topology, available, count, self.group(), strategy)
        } else {
            let by_cache = self.options.prefer_align_cpus_by_uncorecache;
            take::packed(topology, available, count, strategy, by_cache)
        }
    }
}
