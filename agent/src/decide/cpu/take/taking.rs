//! A choice in the making: what is still free, what is still wanted, and what was taken so far.

use super::{NotEnough, Part, Step, Taken};
use crate::model::{CpuId, CpuSet, Topology};

pub(super) struct Taking<'a> {
    pub(super) topology: &'a Topology,
    pub(super) free: CpuSet,
    pub(super) need: usize,
    taken: Taken,
}

impl<'a> Taking<'a> {
    /// Starts to take `need` CPUs out of those of the machine that are `available`.
    pub(super) fn start(topology: &'a Topology, available: &CpuSet, need: usize) -> Result<Self, NotEnough> {
        let free = available & topology.cpus();
        let count = free.len();
        if need > count {
            return Err(NotEnough {
                wanted: need,
                free: count,
            });
        }
        Ok(Self {
            topology,
            free,
            need,
            taken: Taken::default(),
        })
    }

    pub(super) fn is_done(&self) -> bool {
        self.need == 0
    }

    /// Takes `cpus`, which are free and no more than needed.
    pub(super) fn take(&mut self, part: Part, cpus: CpuSet) {
        self.need -= cpus.len();
        self.free -= &cpus;
        self.taken.cpus |= &cpus;
        self.taken.steps.push(Step { part, cpus });
    }

    /// Takes what another choice, made of a part of what is free, has taken.
    pub(super) fn take_all(&mut self, taken: Taken) {
        for step in taken.steps {
            self.take(step.part, step.cpus);
        }
    }

    /// The core that `cpu` belongs to, by index.
    pub(super) fn core_of(&self, cpu: CpuId) -> usize {
        // Only CPUs of the machine are free.
        self.topology.place(cpu).map_or(0, |place| place.core)
    }

    pub(super) fn finish(self) -> Taken {
        self.taken
    }
}
