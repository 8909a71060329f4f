//! Which nodes could serve a request, and giving it its memory.

use std::fmt;

use super::{Holding, MemoryManager, Request};
use crate::decide::numa::{Candidates, Hints, Resource, Room};
use crate::model::{Bytes, ContainerKind, ContainerName, NumaMask, PodUid, TopologyHint};

/// Why a container does not get its memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryRefusal {
    /// The nodes that were to hold it; `None`: any.
    pub within: Option<NumaMask>,
    /// Whether there would be nodes, only not as few as the policy wants.
    pub only_unpreferred: bool,
    /// What was asked for, with what is free on each node.
    pub amounts: Vec<(Resource, Bytes, Vec<Bytes>)>,
}

impl fmt::Display for MemoryRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.only_unpreferred {
            "only more NUMA nodes than necessary could give"
        } else {
            "no NUMA nodes can give"
        })?;
        if let Some(mask) = self.within {
            write!(f, ", {mask} among them,")?;
        }
        for (n, (resource, amount, free)) in self.amounts.iter().enumerate() {
            let before = if n == 0 { "" } else { " and" };
            let free: Vec<String> = free.iter().map(ToString::to_string).collect();
            write!(
                f,
                "{before} {amount} of {resource} (free by node: {})",
                free.join(", ")
            )?;
        }
        f.write_str("; a node serves single-node containers or one group of nodes")
    }
}

impl MemoryManager {
    /// What to propose sets of nodes from, for this request.
    #[must_use]
    pub fn room(&self, request: &Request) -> Room {
        let resources = request.keys();
        Room {
            by_node: resources.map(|&resource| self.table.free(resource)).collect(),
            groups: self.table.groups(),
        }
    }

    /// What the memory manager has to say about where `request` goes: the same sets for each resource, each with room
    /// for all of them. A container that holds its request already wants to stay.
    #[must_use]
    pub fn hints(
        &self,
        pod: &PodUid,
        container: Option<&ContainerName>,
        request: &Request,
        candidates: &Candidates,
    ) -> Vec<Hints> {
        let held = match container {
            Some(container) => self.holding(pod, container),
            None => self.pods.get(pod).and_then(|held| held.values().next()),
        };
        let choices = match held {
            Some(holding) => vec![TopologyHint {
                mask: Some(holding.mask),
                preferred: true,
            }],
            None => self.choices(pod, request, candidates),
        };
        let hints = |&resource| Hints {
            resource,
            choices: Some(choices.clone()),
        };
        request.keys().map(hints).collect()
    }

    /// Gives a container its memory where `hint` says. Without nodes in the hint, or if those cannot serve, on the best
    /// nodes that include them, and if the hint was not preferred anyway, on any. A container that holds something already
    /// keeps it. Gives its nodes.
    ///
    /// # Errors
    /// No such nodes can serve, or the hint was preferred and they are more than necessary.
    pub fn allocate(
        &mut self,
        pod: &PodUid,
        container: &ContainerName,
        kind: ContainerKind,
        request: &Request,
        hint: TopologyHint,
    ) -> Result<Option<NumaMask>, MemoryRefusal> {
        if let Some(holding) = self.holding(pod, container) {
            return Ok(Some(holding.mask));
        }
        if request.is_empty() {
            return Ok(None);
        }
        let mask = match hint.mask {
            Some(mask) if self.serves(pod, mask, request) => mask,
            within => self.extended(pod, request, within, hint.preferred)?,
        };
        self.hold(pod, container, kind, request, mask);
        Ok(Some(mask))
    }

    /// Puts down that a container holds what `mask` has of its request.
    pub(super) fn hold(
        &mut self,
        pod: &PodUid,
        container: &ContainerName,
        kind: ContainerKind,
        request: &Request,
        mask: NumaMask,
    ) {
        let holding = Holding {
            kind,
            request: request.clone(),
            mask,
            taken: self.take(pod, mask, request),
        };
        let held = self.pods.entry(pod.clone()).or_default();
        held.insert(container.clone(), holding);
    }

    /// The sets that could serve a request, preferred where no smaller one could on an empty machine.
    fn choices(&self, pod: &PodUid, request: &Request, candidates: &Candidates) -> Vec<TopologyHint> {
        let mut could = vec![true; candidates.masks().len()];
        let mut can = could.clone();
        for (&resource, amount) in request {
            let narrow = |fits: &mut [bool], by_node: &[u64], extra: &dyn Fn(NumaMask) -> u64| {
                let sums = candidates.sums(by_node);
                for ((fits, sum), &mask) in fits.iter_mut().zip(sums).zip(candidates.masks()) {
                    *fits &= sum.saturating_add(extra(mask)) >= amount.0;
                }
            };
            narrow(&mut could, &self.table.allocatable(resource), &|_| 0);
            narrow(&mut can, &self.table.free(resource), &|mask| {
                self.reusable(pod, mask, resource)
            });
        }
        let masks = candidates.masks().iter().copied();
        let fewest = masks.clone().zip(&could).filter(|(_, could)| **could);
        let fewest = fewest.map(|(mask, _)| mask.count()).min();
        masks
            .zip(could.iter().zip(&can))
            .filter(|&(mask, (could, can))| *could && *can && self.table.may_serve(mask))
            .map(|(mask, _)| TopologyHint {
                mask: Some(mask),
                preferred: Some(mask.count()) == fewest,
            })
            .collect()
    }

    fn serves(&self, pod: &PodUid, mask: NumaMask, request: &Request) -> bool {
        let enough = |(&resource, amount): (&Resource, &Bytes)| {
            let free = self.table.free(resource);
            let free = mask.nodes().filter_map(|node| free.get(node));
            let free = free.fold(0_u64, |sum, free| sum.saturating_add(*free));
            free.saturating_add(self.reusable(pod, mask, resource)) >= amount.0
        };
        !mask.is_empty() && self.table.may_serve(mask) && request.iter().all(enough)
    }

    /// The best set that can serve and has all of `within`; any other only where nobody prefers `within`.
    fn extended(
        &self,
        pod: &PodUid,
        request: &Request,
        within: Option<NumaMask>,
        must_prefer: bool,
    ) -> Result<NumaMask, MemoryRefusal> {
        let candidates = Candidates::new(&self.numa, &self.room(request));
        let best = self
            .choices(pod, request, &candidates)
            .into_iter()
            .filter_map(|hint| Some((hint.mask?, hint.preferred)))
            .map(|(mask, preferred)| (within.is_some_and(|w| !w.is_within(mask)), !preferred, mask))
            .filter(|(outside, ..)| !(must_prefer && *outside))
            .min_by_key(|(outside, unpreferred, mask)| (*outside, *unpreferred, mask.width()));
        match best {
            Some((_, unpreferred, mask)) if !(must_prefer && unpreferred) => Ok(mask),
            best => Err(MemoryRefusal {
                within: within.filter(|_| must_prefer),
                only_unpreferred: best.is_some(),
                amounts: self.amounts(request),
            }),
        }
    }

    fn amounts(&self, request: &Request) -> Vec<(Resource, Bytes, Vec<Bytes>)> {
        let free = |resource| self.table.free(resource).into_iter().map(Bytes).collect();
        let amount = |(&resource, &amount)| (resource, amount, free(resource));
        request.iter().map(amount).collect()
    }

    /// What init containers of the pod hold on exactly these nodes.
    fn reusable(&self, pod: &PodUid, mask: NumaMask, resource: Resource) -> u64 {
        let held = self.pods.get(pod).into_iter().flat_map(|held| held.values());
        held.filter(|holding| holding.kind == ContainerKind::Init && holding.mask == mask)
            .flat_map(|holding| &holding.taken)
            .filter(|(_, of, _)| *of == resource)
            .map(|(_, _, amount)| amount)
            .sum()
    }

    /// Takes the request over from the pod's init containers, and what is missing from the nodes.
    fn take(&mut self, pod: &PodUid, mask: NumaMask, request: &Request) -> Vec<(usize, Resource, u64)> {
        let mut taken = Vec::new();
        for (&resource, &Bytes(amount)) in request {
            let mut left = amount;
            let held = self
                .pods
                .get_mut(pod)
                .into_iter()
                .flat_map(|held| held.values_mut());
            for holding in held.filter(|h| h.kind == ContainerKind::Init && h.mask == mask) {
                for (node, of, amount) in holding.taken.iter_mut().filter(|(_, of, _)| *of == resource) {
                    let part = left.min(*amount);
                    *amount -= part;
                    left -= part;
                    taken.push((*node, *of, part));
                }
            }
            taken.extend(self.table.take(mask, resource, left));
        }
        taken.retain(|(_, _, amount)| *amount > 0);
        self.table.hold(mask);
        taken
    }
}
