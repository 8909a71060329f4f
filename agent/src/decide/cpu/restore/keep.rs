//! What can be kept of what containers have and were promised.

use super::Facts;
use super::change::{Change, ContainerChange, LetGo};
use super::claim::{Claim, Claims};
use crate::decide::cpu::hints::Offer;
use crate::decide::cpu::policy::StaticPolicy;
use crate::model::{CpuSet, Topology};

impl Claims {
    /// Live containers keep what they run on, first where their pin says the same.
    pub(super) fn keep_what_runs(&mut self, policy: &StaticPolicy) {
        self.keep(policy, |claim| Some(claim.effective.as_ref()? & &claim.pin));
        self.keep(policy, |claim| {
            let own = claim.effective.as_ref().filter(|_| claim.exclusive)?;
            (own.len() <= claim.wanted).then(|| own.clone())
        });
    }

    /// Each keeps of what `claimed` says what no other has, as many as it lacks.
    fn keep(&mut self, policy: &StaticPolicy, claimed: impl Fn(&Claim) -> Option<CpuSet>) {
        for index in 0..self.list.len() {
            let blocked = self.blocked(index);
            let Some(claim) = self.list.get_mut(index) else {
                continue;
            };
            let claimed = claimed(claim).unwrap_or_default();
            let free = &(&claimed - &blocked) - &claim.kept;
            let more = part(policy, &free, claim.lacks());
            claim.kept |= &more;
        }
    }

    /// Pins are kept as far as they are free, for containers that do not run and for what live ones lack.
    pub(super) fn keep_pins(&mut self, policy: &StaticPolicy, facts: &Facts<'_>, changes: &mut Vec<Change>) {
        let other_layout = facts.checkpoint.is_some_and(|file| {
            let (was, is) = (&file.machine, facts.machine);
            was.is_other_than(is) || was.lies_otherwise_than(is)
        });
        for index in 0..self.list.len() {
            let blocked = self.blocked(index);
            let online = &self.online;
            let Some(claim) = self.list.get_mut(index) else {
                continue;
            };
            let free = &(&(&claim.pin & online) - policy.reserved()) - &blocked;
            if claim.is_live() {
                let more = part(policy, &(&free - &claim.kept), claim.lacks());
                claim.kept |= &more;
                continue;
            }
            let mut let_go = |why| {
                let cpus = claim.pin.clone();
                changes.push(claim.change(ContainerChange::LetGo { cpus, why }));
            };
            if other_layout && let Some(why) = spread(facts.topology, &claim.pin) {
                let_go(why);
                continue;
            }
            let mut kept = part(policy, &free, claim.wanted);
            if policy.must_be_whole() {
                kept = policy.whole_cores(&kept);
            }
            if kept.len() < claim.wanted && !claim.entitled {
                if !claim.pin.is_empty() {
                    let (kept, wanted) = (kept.len(), claim.wanted);
                    let_go(LetGo::Incomplete { kept, wanted });
                }
                continue;
            }
            claim.kept = kept;
        }
    }

    /// Live containers that may run on more CPUs of their own than they want keep some of those.
    pub(super) fn narrow(&mut self, policy: &StaticPolicy) {
        for index in 0..self.list.len() {
            let blocked = self.blocked(index);
            let Some(claim) = self.list.get_mut(index) else {
                continue;
            };
            let wide = claim
                .effective
                .as_ref()
                .filter(|own| claim.exclusive && own.len() > claim.wanted);
            let Some(wide) = wide else { continue };
            let free = &(&(wide - policy.reserved()) - &blocked) - &claim.kept;
            let more = part(policy, &free, claim.lacks());
            claim.kept |= &more;
        }
    }
}

/// At most `count` of these CPUs, those that the policy would take out of them, reserved ones only if the others are not
/// enough.
fn part(policy: &StaticPolicy, cpus: &CpuSet, count: usize) -> CpuSet {
    if cpus.len() <= count {
        return cpus.clone();
    }
    let (free, none) = (policy.free(cpus), CpuSet::EMPTY);
    if free.len() < count {
        let reserved = policy.take(&(cpus - &free), count - free.len());
        return &free | &reserved.map(|taken| taken.cpus).unwrap_or_default();
    }
    let only = Offer {
        free: &free,
        again: &none,
    };
    let chosen = policy.choose(only, count, None).map(|(chosen, _)| chosen);
    // Where no whole cores come out of it, parts of cores must do.
    let chosen = chosen.or_else(|_| policy.take(&free, count).map(|taken| taken.cpus));
    chosen.unwrap_or_default()
}

/// Why CPUs are not what would be chosen for so many, if they are not.
fn spread(topology: &Topology, cpus: &CpuSet) -> Option<LetGo> {
    let nodes = topology.numa_nodes();
    let on = nodes.iter().filter(|node| !node.cpus.is_disjoint(cpus)).count();
    let mut sizes: Vec<_> = nodes.iter().map(|node| node.cpus.len()).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let mut room = 0;
    let fewest = sizes.iter().take_while(|size| {
        let needed = room < cpus.len();
        room += **size;
        needed
    });
    let fewest = fewest.count();
    (on > fewest).then_some(LetGo::Layout { nodes: on, fewest })
}
