//! Letting a pod in: hints, merging and allocation in the order that the scope asks for.
//!
//! **How.** With scope *container*, each container in the order of the manifest is asked for hints, merged and given its
//! CPUs and memory before the next one is looked at, which therefore sees what the earlier ones left. With scope *pod*,
//! hints are merged once for the pod, and every container gets the result. Policy *none* only allocates. The first
//! refusal ends it; what the pod had got by then is the caller's to take back.

use std::fmt;

use super::candidates::{Candidates, Room};
use super::merge::Merged;
use super::{Hints, TopologyManager, TopologyPolicy, TopologyScope};

/// What is placed as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// The pod with all its containers.
    Pod,
    /// The container at this place in the manifest, initialisation containers first.
    Container(usize),
}

/// A pod on a node that has CPUs and memory to give.
pub trait Admission {
    /// Why a container cannot have what it asks for.
    type Refusal;

    /// What to propose sets of nodes from.
    fn room(&self, unit: Unit) -> Room;

    /// What each resource has to say about where `unit` goes, in kubelet's order: CPUs, then memory.
    fn hints(&self, unit: Unit, candidates: &Candidates) -> Vec<Hints>;

    /// Gives the container at this place of the manifest what it asks for, as `placed` has it.
    ///
    /// # Errors
    /// There is not enough, or a rule forbids it.
    fn allocate(&mut self, container: usize, placed: &Merged) -> Result<(), Self::Refusal>;
}

/// A refusal of the first or of the second of two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OneOf<A, B> {
    /// The first one's.
    First(A),
    /// The second one's.
    Second(B),
}

impl<A: fmt::Display, B: fmt::Display> fmt::Display for OneOf<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First(refusal) => refusal.fmt(f),
            Self::Second(refusal) => refusal.fmt(f),
        }
    }
}

/// Two kinds of resources aligned with each other: CPUs first, then memory.
impl<A: Admission, B: Admission> Admission for (A, B) {
    type Refusal = OneOf<A::Refusal, B::Refusal>;

    fn room(&self, unit: Unit) -> Room {
        let (mut room, second) = (self.0.room(unit), self.1.room(unit));
        room.by_node.extend(second.by_node);
        room.groups.extend(second.groups);
        room
    }

    fn hints(&self, unit: Unit, candidates: &Candidates) -> Vec<Hints> {
        let mut hints = self.0.hints(unit, candidates);
        hints.extend(self.1.hints(unit, candidates));
        hints
    }

    fn allocate(&mut self, container: usize, placed: &Merged) -> Result<(), Self::Refusal> {
        self.0.allocate(container, placed).map_err(OneOf::First)?;
        self.1.allocate(container, placed).map_err(OneOf::Second)
    }
}

/// A resource that nobody gives has no say.
impl<A: Admission> Admission for Option<A> {
    type Refusal = A::Refusal;

    fn room(&self, unit: Unit) -> Room {
        self.as_ref().map(|part| part.room(unit)).unwrap_or_default()
    }

    fn hints(&self, unit: Unit, candidates: &Candidates) -> Vec<Hints> {
        let part = self.as_ref();
        part.map(|part| part.hints(unit, candidates)).unwrap_or_default()
    }

    fn allocate(&mut self, container: usize, placed: &Merged) -> Result<(), Self::Refusal> {
        match self {
            Some(part) => part.allocate(container, placed),
            None => Ok(()),
        }
    }
}

/// Why a pod was not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused<R> {
    /// The policy wants a better alignment than there is (kubelet's `TopologyAffinityError`).
    Affinity {
        /// For what.
        unit: Unit,
        /// The best there is.
        merged: Merged,
    },
    /// The resource's own rules or amounts.
    Allocation {
        /// For which container.
        container: usize,
        /// Why.
        refusal: R,
    },
}

impl<R: fmt::Display> fmt::Display for Refused<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Affinity { merged, .. } => write!(f, "resources cannot be aligned: {merged}"),
            Self::Allocation { refusal, .. } => refusal.fmt(f),
        }
    }
}

/// Lets a pod of so many containers in, or says why not. Gives where each container was placed and why.
///
/// # Errors
/// The policy or a resource refuses; containers before the refused one have been given theirs.
pub fn admit<A: Admission>(
    manager: &TopologyManager,
    containers: usize,
    pod: &mut A,
) -> Result<Vec<Merged>, Refused<A::Refusal>> {
    let merge = |pod: &A, unit| {
        if manager.policy == TopologyPolicy::None {
            return Ok(manager.merge(&[]));
        }
        let candidates = Candidates::new(&manager.nodes, &pod.room(unit));
        let merged = manager.merge(&pod.hints(unit, &candidates));
        if merged.admitted {
            Ok(merged)
        } else {
            Err(Refused::Affinity { unit, merged })
        }
    };
    let of_pod = match manager.scope {
        TopologyScope::Pod => Some(merge(pod, Unit::Pod)?),
        TopologyScope::Container => None,
    };
    let mut placed = Vec::with_capacity(containers);
    for container in 0..containers {
        let merged = match &of_pod {
            Some(merged) => merged.clone(),
            None => merge(pod, Unit::Container(container))?,
        };
        pod.allocate(container, &merged)
            .map_err(|refusal| Refused::Allocation { container, refusal })?;
        placed.push(merged);
    }
    Ok(placed)
}
