//! Cgroups that die in memory, by the kernel's rules.

use std::collections::BTreeMap;

use rustix::io::Errno;

use super::{KillError, KillStep, Killing, Signalled};
use crate::model::{Bytes, CgroupId};

/// A cgroup of the fake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FakeVictim(pub CgroupId);

#[derive(Debug, Clone, Default)]
struct Subtree {
    processes: u32,
    each: Bytes,
    /// Memory that stays when the processes are gone.
    stays: Bytes,
    limited: u32,
    killed: bool,
    released: bool,
}

/// A kernel that kills.
#[derive(Debug, Clone, Default)]
pub struct FakeKiller {
    subtrees: BTreeMap<CgroupId, Subtree>,
    last: u64,
    without_kill_file: bool,
    /// What was done, in its order.
    pub steps: Vec<(KillStep, CgroupId)>,
}

impl FakeKiller {
    /// A kernel without `cgroup.kill`.
    #[must_use]
    pub fn old() -> Self {
        Self {
            without_kill_file: true,
            ..Self::default()
        }
    }

    /// Makes a cgroup with so many processes of that size, and memory that outlives them.
    pub fn add(&mut self, processes: u32, each: Bytes, stays: Bytes) -> FakeVictim {
        self.last += 1;
        let id = CgroupId(self.last);
        let subtree = Subtree {
            processes,
            each,
            stays,
            ..Subtree::default()
        };
        self.subtrees.insert(id, subtree);
        FakeVictim(id)
    }

    /// Puts a limit on the CPU of so many of its cgroups.
    pub fn limit_cpu(&mut self, victim: FakeVictim, cgroups: u32) {
        if let Some(subtree) = self.subtrees.get_mut(&victim.0) {
            subtree.limited = cgroups;
        }
    }

    /// Time goes by, until all who were killed are dead.
    pub fn settle(&mut self) {
        for subtree in self.subtrees.values_mut().filter(|subtree| subtree.killed) {
            subtree.processes = 0;
            subtree.killed = false;
        }
    }

    /// Removes an empty cgroup.
    pub fn remove(&mut self, victim: FakeVictim) {
        self.subtrees.remove(&victim.0);
    }

    /// Whether its memory was asked to be released.
    #[must_use]
    pub fn is_released(&self, victim: FakeVictim) -> bool {
        self.subtrees
            .get(&victim.0)
            .is_some_and(|subtree| subtree.released)
    }

    fn find(&self, step: KillStep, victim: FakeVictim) -> Result<&Subtree, KillError> {
        self.subtrees
            .get(&victim.0)
            .ok_or_else(|| KillError::new(step, victim.0, Errno::NODEV))
    }

    fn change(&mut self, step: KillStep, victim: FakeVictim) -> Result<&mut Subtree, KillError> {
        self.find(step, victim)?;
        self.steps.push((step, victim.0));
        self.subtrees
            .get_mut(&victim.0)
            .ok_or_else(|| KillError::new(step, victim.0, Errno::NODEV))
    }
}

impl Killing for FakeKiller {
    type Victim = FakeVictim;

    fn identity(&self, victim: &FakeVictim) -> Result<CgroupId, KillError> {
        self.find(KillStep::Find, *victim)?;
        Ok(victim.0)
    }

    fn signal(&mut self, victim: &FakeVictim) -> Result<Signalled, KillError> {
        let old = self.without_kill_file;
        let subtree = self.change(KillStep::Signal, *victim)?;
        let news = if subtree.killed { 0 } else { subtree.processes };
        subtree.killed = subtree.processes > 0;
        Ok(if old {
            Signalled::OneByOne(news)
        } else {
            Signalled::AtOnce
        })
    }

    fn lift_cpu(&mut self, victim: &FakeVictim) -> Result<u32, KillError> {
        let subtree = self.change(KillStep::LiftCpu, *victim)?;
        Ok(std::mem::take(&mut subtree.limited))
    }

    fn lift_cpu_above(&mut self, above: &FakeVictim) -> Result<bool, KillError> {
        let subtree = self.change(KillStep::LiftCpu, *above)?;
        let limited = subtree.limited > 0;
        subtree.limited = subtree.limited.saturating_sub(1);
        Ok(limited)
    }

    fn release(&mut self, victim: &FakeVictim) -> Result<(), KillError> {
        let subtree = self.change(KillStep::Release, *victim)?;
        // The kernel refuses to touch what is not dying.
        subtree.released |= subtree.killed;
        Ok(())
    }

    fn populated(&self, victim: &FakeVictim) -> Result<bool, KillError> {
        Ok(self.find(KillStep::Look, *victim)?.processes > 0)
    }

    fn current(&self, victim: &FakeVictim) -> Result<Option<Bytes>, KillError> {
        let subtree = self.find(KillStep::Look, *victim)?;
        let living = subtree.each.0.saturating_mul(u64::from(subtree.processes));
        Ok(Some(subtree.stays.saturating_add(Bytes(living))))
    }
}
