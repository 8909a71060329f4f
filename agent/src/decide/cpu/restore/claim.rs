//! Who claims which CPUs, and what there is to tell of it in the end.

use std::collections::BTreeMap;

use super::change::{Change, ContainerChange, LetGo, Lost};
use super::{Facts, WantedContainer};
use crate::decide::cpu::policy::StaticPolicy;
use crate::decide::cpu::refusal::CpuRefusal;
use crate::decide::cpu::wish::Wish;
use crate::model::{ContainerKind, ContainerName, CpuSet, PodUid};

/// What one container claims.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) pod: PodUid,
    pub(super) container: ContainerName,
    /// What it is for; not known of a leaving one.
    kind: Option<ContainerKind>,
    /// Its place in the manifest.
    place: usize,
    /// How many CPUs it wants; of a leaving one, how many it has.
    pub(super) wanted: usize,
    /// Where the kernel lets it run, if it runs.
    pub(super) effective: Option<CpuSet>,
    /// Whether its record says that these are its own.
    pub(super) exclusive: bool,
    /// What the file promises it, whether online or not.
    pub(super) pin: CpuSet,
    /// When that was promised.
    granted: u64,
    /// Whether it has a right to CPUs that it does not have yet.
    pub(super) entitled: bool,
    /// What it keeps and gets.
    pub(super) kept: CpuSet,
}

impl Claim {
    pub(super) fn lacks(&self) -> usize {
        self.wanted.saturating_sub(self.kept.len())
    }

    pub(super) const fn is_live(&self) -> bool {
        self.effective.is_some()
    }

    /// Whether it may go on with CPUs that containers after it in its pod get as well.
    pub(super) fn lends_to(&self, other: &Self) -> bool {
        self.pod == other.pod
            && self.kind == Some(ContainerKind::Init)
            && self.place < other.place
            && !(self.is_live() && other.is_live())
    }

    /// Whether no CPU may be with both.
    fn is_apart_from(&self, other: &Self) -> bool {
        !(self.lends_to(other) || other.lends_to(self))
    }

    pub(super) fn change(&self, what: ContainerChange) -> Change {
        Change::container(&self.pod, &self.container, what)
    }
}

/// All claims, the strongest first.
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) list: Vec<Claim>,
    pub(super) online: CpuSet,
}

impl Claims {
    /// The claims, and pins that nobody claims any more as changes.
    pub(super) fn new(facts: &Facts<'_>, changes: &mut Vec<Change>) -> Self {
        let mut list = Vec::new();
        for (pod, wanted) in facts.wanted {
            for (place, container) in wanted.containers.iter().enumerate() {
                match container.wish {
                    Wish::Exclusive(count) => {
                        let entitled = wanted.admitted;
                        list.push(claimed(facts, pod, container, place, count, entitled));
                    }
                    Wish::Shared(why) => {
                        let_go(facts, pod, &container.name, &LetGo::Shares(why), changes);
                    }
                }
            }
        }
        for (pod, containers) in facts.live {
            for name in containers.keys().filter(|name| !is_wanted(facts, pod, name)) {
                list.extend(leaving(facts, pod, name));
            }
        }
        for (pod, pins) in facts.checkpoint.iter().flat_map(|file| &file.pods) {
            for name in pins.keys() {
                if !is_wanted(facts, pod, name) && live(facts, pod, name).is_none() {
                    let_go(facts, pod, name, &LetGo::Gone, changes);
                }
            }
        }
        list.sort_by(|a, b| {
            let key = |claim: &Claim| (!claim.is_live(), claim.pin.is_empty(), claim.granted);
            let of = |claim: &Claim| (claim.pod.clone(), claim.place, claim.container.clone());
            key(a).cmp(&key(b)).then_with(|| of(a).cmp(&of(b)))
        });
        Self {
            list,
            online: facts.topology.cpus().clone(),
        }
    }

    /// CPUs that the claim at `index` may not have, because of others.
    pub(super) fn blocked(&self, index: usize) -> CpuSet {
        let mut blocked = CpuSet::EMPTY;
        for (_, other) in self.others(index) {
            blocked |= &other.kept;
        }
        blocked
    }

    /// The claims that may have no CPU of the one at `index`.
    fn others(&self, index: usize) -> impl Iterator<Item = (usize, &Claim)> {
        let this = self.list.get(index);
        let all = self.list.iter().enumerate();
        all.filter(move |(other, claim)| {
            *other != index && this.is_some_and(|this| this.is_apart_from(claim))
        })
    }

    /// CPUs of pins that are lost, once all is kept that can be.
    pub(super) fn losses(&self, policy: &StaticPolicy) -> Vec<Change> {
        let mut losses = Vec::new();
        for (index, claim) in self.list.iter().enumerate() {
            let mut tell = |cpus: CpuSet, why: Lost| {
                if !cpus.is_empty() {
                    losses.push(claim.change(ContainerChange::Lost { cpus, why }));
                }
            };
            tell(&claim.pin - &self.online, Lost::Offline);
            if claim.lacks() == 0 {
                continue;
            }
            let mut had = &claim.pin & &self.online;
            let own = claim.effective.as_ref().filter(|_| claim.exclusive);
            if let Some(own) = own.filter(|own| own.len() <= claim.wanted) {
                had |= own;
            }
            let mut had = &had - &claim.kept;
            for (_, other) in self.others(index) {
                let cpus = &had & &other.kept;
                had -= &cpus;
                let (pod, container) = (other.pod.clone(), other.container.clone());
                tell(cpus, Lost::Other { pod, container });
            }
            tell(&(&had & &claim.pin) & policy.reserved(), Lost::Reserved);
        }
        losses
    }

    /// What else there is to tell: `before` is what was kept by each claim before CPUs were chosen.
    pub(super) fn told(
        &self,
        policy: &StaticPolicy,
        before: &[CpuSet],
        refusals: &BTreeMap<usize, CpuRefusal>,
    ) -> Vec<Change> {
        let mut told = Vec::new();
        for (index, (claim, before)) in self.list.iter().zip(before).enumerate() {
            let wanted = claim.wanted;
            let mut tell = |what| told.push(claim.change(what));
            let pin = &claim.pin & &self.online;
            if let Some(effective) = &claim.effective
                && !claim.pin.is_empty()
                && *effective != pin
            {
                tell(ContainerChange::Drifted {
                    pin: claim.pin.clone(),
                    effective: effective.clone(),
                    kept: before.clone(),
                });
            }
            let had = match &claim.effective {
                Some(effective) if claim.pin.is_empty() && claim.exclusive => effective,
                _ => &pin,
            };
            if had.len() > wanted {
                tell(ContainerChange::Shrunk {
                    had: had.clone(),
                    now: before.clone(),
                    wanted,
                });
            }
            let new = &claim.kept - before;
            if !new.is_empty() {
                tell(ContainerChange::Filled {
                    had: &claim.kept & before,
                    new,
                    wanted,
                });
            }
            let reserved = &claim.kept & policy.reserved();
            if !reserved.is_empty() {
                tell(ContainerChange::OnReserved { cpus: reserved });
            }
            if let Some(&why) = refusals.get(&index) {
                tell(if claim.is_live() {
                    ContainerChange::Short {
                        has: claim.kept.clone(),
                        wanted,
                        why,
                    }
                } else {
                    ContainerChange::Refused { wanted, why }
                });
            }
        }
        told
    }
}

/// Under the policy `none`: every pin is let go.
pub(super) fn all_let_go(facts: &Facts<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    let live = facts.live.iter();
    let live = live.flat_map(|(pod, all)| all.keys().map(move |name| (pod, name)));
    let pins = facts.checkpoint.iter().flat_map(|file| &file.pods);
    let pins = pins.flat_map(|(pod, all)| all.keys().map(move |name| (pod, name)));
    let containers: std::collections::BTreeSet<_> = live.chain(pins).collect();
    for (pod, name) in containers {
        let_go(facts, pod, name, &LetGo::Policy, &mut changes);
    }
    changes
}

/// Tells that what a container had to itself is let go, if it had any.
fn let_go(facts: &Facts<'_>, pod: &PodUid, name: &ContainerName, why: &LetGo, changes: &mut Vec<Change>) {
    let mut cpus = pin(facts, pod, name).0;
    if let Some(live) = live(facts, pod, name).filter(|live| live.exclusive && cpus.is_empty()) {
        cpus = live.effective.clone();
    }
    if !cpus.is_empty() {
        let why = why.clone();
        changes.push(Change::container(pod, name, ContainerChange::LetGo { cpus, why }));
    }
}

fn is_wanted(facts: &Facts<'_>, pod: &PodUid, name: &ContainerName) -> bool {
    let wanted = facts.wanted.get(pod);
    wanted.is_some_and(|wanted| wanted.containers.iter().any(|container| container.name == *name))
}

fn live<'a>(facts: &Facts<'a>, pod: &PodUid, name: &ContainerName) -> Option<&'a super::Live> {
    facts.live.get(pod)?.get(name)
}

/// The promise of the file, and when it was made; the later the less is known.
fn pin(facts: &Facts<'_>, pod: &PodUid, name: &ContainerName) -> (CpuSet, u64) {
    let pin = facts.checkpoint.and_then(|file| file.pin(pod, name));
    let granted = pin.map(|pin| pin.granted).filter(|granted| *granted != 0);
    let cpus = pin.map(|pin| pin.cpus.clone()).unwrap_or_default();
    (cpus, granted.unwrap_or(u64::MAX))
}

fn claimed(
    facts: &Facts<'_>,
    pod: &PodUid,
    container: &WantedContainer,
    place: usize,
    wanted: usize,
    admitted: bool,
) -> Claim {
    let live = live(facts, pod, &container.name);
    let (pin, granted) = pin(facts, pod, &container.name);
    Claim {
        pod: pod.clone(),
        container: container.name.clone(),
        kind: Some(container.kind),
        place,
        wanted,
        effective: live.map(|live| &live.effective & facts.topology.cpus()),
        exclusive: live.is_some_and(|live| live.exclusive),
        pin,
        granted,
        entitled: admitted || live.is_some(),
        kept: CpuSet::EMPTY,
    }
}

/// The claim of a container that only runs until it is stopped. Without a pin, what others may run on as well, or has
/// reserved CPUs among it, is not its own, whatever its record says.
fn leaving(facts: &Facts<'_>, pod: &PodUid, name: &ContainerName) -> Option<Claim> {
    let live = live(facts, pod, name)?;
    let (pin, granted) = pin(facts, pod, name);
    let mut effective = &live.effective & facts.topology.cpus();
    if pin.is_empty() {
        if !live.exclusive {
            return None;
        }
        // Reserved CPUs were never given to it, so that this is what somebody widened it to.
        if facts
            .policy
            .is_some_and(|policy| !policy.reserved().is_disjoint(&effective))
        {
            return None;
        }
        for (other, containers) in facts.live.iter().filter(|(other, _)| *other != pod) {
            containers
                .iter()
                .filter(|(name, _)| is_wanted(facts, other, name))
                .for_each(|(_, live)| effective -= &live.effective);
        }
    }
    Some(Claim {
        pod: pod.clone(),
        container: name.clone(),
        kind: None,
        place: usize::MAX,
        wanted: if pin.is_empty() {
            effective.len()
        } else {
            pin.len()
        },
        effective: Some(effective),
        exclusive: live.exclusive,
        pin,
        granted,
        entitled: false,
        kept: CpuSet::EMPTY,
    })
}
