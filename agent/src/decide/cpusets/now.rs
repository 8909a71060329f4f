//! What may be given at this moment, as far as the kernel shows who has what.

use std::collections::BTreeMap;

use super::{Inputs, class_levels, containers, has};
use crate::model::{CgroupPath, CpuSet};

/// Who has which CPUs.
pub(super) struct Now<'a> {
    /// What containers are to have to themselves.
    own: &'a BTreeMap<CgroupPath, CpuSet>,
    /// The same containers: what they have.
    owners: BTreeMap<&'a CgroupPath, CpuSet>,
    /// The same, without what is their own.
    beyond: BTreeMap<&'a CgroupPath, CpuSet>,
    /// What containers without have.
    sharers: CpuSet,
    /// What all that share have: the classes' levels, and the containers.
    pool: Option<CpuSet>,
}

impl<'a> Now<'a> {
    pub(super) fn of(inputs: &Inputs<'a>, own: &'a BTreeMap<CgroupPath, CpuSet>) -> Self {
        let mut now = Self {
            own,
            owners: BTreeMap::new(),
            beyond: BTreeMap::new(),
            sharers: CpuSet::EMPTY,
            pool: None,
        };
        for (path, cgroup) in containers(inputs.layout, inputs.actual) {
            let has = has(cgroup).unwrap_or_default();
            match own.get(path) {
                Some(own) => {
                    now.beyond.insert(path, &has - own);
                    now.owners.insert(path, has);
                }
                None => {
                    now.sharers |= &has;
                    now.narrow(has);
                }
            }
        }
        let levels = class_levels().filter_map(|class| inputs.actual.cgroups.get(&inputs.layout.qos(class)));
        levels.filter_map(has).for_each(|has| now.narrow(has));
        now
    }

    fn narrow(&mut self, has: CpuSet) {
        self.pool = Some(match &self.pool {
            Some(pool) => pool & &has,
            None => has,
        });
    }

    /// Of the `shared` CPUs, what the pool may have: what all that share have, and what no container has any more that has
    /// CPUs of its own, but not these.
    pub(super) fn pool(&self, shared: &CpuSet) -> CpuSet {
        let mut left_over = CpuSet::EMPTY;
        self.beyond.values().for_each(|beyond| left_over |= beyond);
        let pool = self.pool.clone().unwrap_or_default();
        let may = &(shared - &left_over) | &(shared & &pool);
        // Nobody can run nowhere: it is for those who have too much to give it up.
        if may.is_empty() { shared.clone() } else { may }
    }

    /// Of a container's `own` CPUs, what it may have: what it has, and what nobody else has. While that is nothing it stays
    /// where it is. One that does not run gets all: it is not started before it may.
    pub(super) fn own(&self, path: &CgroupPath, own: &CpuSet, pool: &CpuSet) -> CpuSet {
        let Some(has) = self.owners.get(path).filter(|has| !has.is_empty()) else {
            return own.clone();
        };
        let may = self.may(path, own, has);
        if !may.is_empty() {
            return may;
        }
        if !self.is_stuck(path, own) {
            return has.clone();
        }
        let mut rest = has.clone();
        let others = self.own.iter().filter(|(other, _)| *other != path);
        others.for_each(|(_, cpus)| rest -= cpus);
        if rest.is_empty() { pool.clone() } else { rest }
    }

    fn may(&self, path: &CgroupPath, own: &CpuSet, has: &CpuSet) -> CpuSet {
        let mut others = self.sharers.clone();
        let beyond = self.beyond.iter().filter(|(other, _)| **other != path);
        beyond.for_each(|(_, cpus)| others |= cpus);
        &(own - &others) | &(own & has)
    }

    /// Whether all of its own CPUs are with containers that wait like itself: those that change places would wait for each
    /// other without end. Such a one makes way, if need be to where nobody is alone.
    fn is_stuck(&self, path: &CgroupPath, own: &CpuSet) -> bool {
        let waits = |other: &CgroupPath| {
            let theirs = self.own.get(other).zip(self.owners.get(other));
            theirs.is_some_and(|(own, has)| {
                self.may(other, own, has).is_empty() && own.is_disjoint(&self.sharers)
            })
        };
        let mut others = self.beyond.iter().filter(|(other, _)| **other != path);
        own.is_disjoint(&self.sharers) && others.all(|(other, cpus)| cpus.is_disjoint(own) || waits(other))
    }
}
