//! CPUs for what containers lack, near to what they keep.

use std::collections::BTreeMap;

use super::claim::Claims;
use crate::decide::cpu::hints::Offer;
use crate::decide::cpu::policy::StaticPolicy;
use crate::decide::cpu::refusal::CpuRefusal;
use crate::decide::cpu::take::Strategy;
use crate::model::CpuSet;

impl Claims {
    /// Chooses what entitled containers lack. Gives, by index, why those do not have it that still lack some.
    pub(super) fn fill(&mut self, policy: &StaticPolicy) -> BTreeMap<usize, CpuRefusal> {
        loop {
            let mut refusals = BTreeMap::new();
            let mut changed = false;
            for index in 0..self.list.len() {
                let lacking = self
                    .list
                    .get(index)
                    .is_some_and(|claim| claim.entitled && claim.lacks() > 0);
                if !lacking {
                    continue;
                }
                let chosen = self.chosen(policy, index);
                let Some(claim) = self.list.get_mut(index) else {
                    continue;
                };
                match chosen {
                    Ok(cpus) => {
                        claim.kept = cpus;
                        changed = true;
                    }
                    Err(why) => {
                        refusals.insert(index, why);
                        // It does not run, and cannot with part of what it wants.
                        if !claim.is_live() && !claim.kept.is_empty() {
                            claim.kept = CpuSet::EMPTY;
                            changed = true;
                        }
                    }
                }
            }
            // What was given back may serve one before. Each is served, or gives back, only once.
            if !changed {
                return refusals;
            }
        }
    }

    /// All that the container at `index` has once it has what it wants.
    fn chosen(&self, policy: &StaticPolicy, index: usize) -> Result<CpuSet, CpuRefusal> {
        let mut shared = self.online.clone();
        self.list.iter().for_each(|claim| shared -= &claim.kept);
        let Some(claim) = self.list.get(index) else {
            return Err(CpuRefusal::HoldsNone);
        };
        // What containers after an init container have, it may use before them.
        let mut again = CpuSet::EMPTY;
        let after = self.list.iter().filter(|other| claim.lends_to(other));
        after.for_each(|other| again |= &other.kept);
        again -= &claim.kept;
        again -= &self.blocked(index);
        again -= policy.reserved();
        let more = claim.lacks();
        let mut ways = Vec::new();
        if again.len() >= more {
            ways.push((CpuSet::EMPTY, claim.kept.clone()));
        }
        ways.push((shared.clone(), claim.kept.clone()));
        if !claim.is_live() && !claim.kept.is_empty() {
            // It may as well go elsewhere.
            ways.push((&shared | &claim.kept, CpuSet::EMPTY));
        }
        let mut refused = CpuRefusal::HoldsNone;
        for (shared, kept) in ways {
            match near(policy, &kept, &shared, &again, claim.wanted - kept.len()) {
                Ok(new) => return Ok(&kept | &new),
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }
}

/// `more` CPUs beside `kept`: siblings first, then on its NUMA nodes.
fn near(
    policy: &StaticPolicy,
    kept: &CpuSet,
    shared: &CpuSet,
    again: &CpuSet,
    more: usize,
) -> Result<CpuSet, CpuRefusal> {
    let mut free = policy.free(shared);
    let mut new = CpuSet::EMPTY;
    if policy.strategy() != Strategy::Spread {
        let mut siblings = CpuSet::EMPTY;
        let cores = policy.topology().cores().iter();
        cores
            .filter(|core| !core.cpus.is_disjoint(kept))
            .for_each(|core| siblings |= &core.cpus);
        siblings &= &free;
        new = policy.take(&siblings, more.min(siblings.len()))?.cpus;
        free -= &new;
    }
    let rest = more - new.len();
    if rest > 0 {
        policy.check_cores(&(&(shared - &new) | again), rest)?;
        let nodes = (!kept.is_empty()).then(|| policy.nodes_of(kept));
        let (chosen, _) = policy.choose(Offer { free: &free, again }, rest, nodes)?;
        new |= &chosen;
    }
    Ok(new)
}
