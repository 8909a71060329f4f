//! Memory QoS: what is protected from reclaim, and where the tripwires are.
//!
//! **Terms.** `memory.min` is hard protection, `memory.low` is protection as long as there is anything else to
//! reclaim. The kernel gives a cgroup at most what its parent has, so a protection without the same above it is
//! void. Where the parent has *more* than its children claim, the surplus may be handed out by use
//! (`memory_recursiveprot`), to the unprotected too. Hence each level carries exactly the sum of the level below.
//!
//! `memory.high` makes whatever allocates beyond it wait. As a limit it can stall a container for good, without
//! ever killing it; as a tripwire below `memory.max` it buys the time to decide whom to stop. It is that only
//! when there is room above it for what is allocated meanwhile, and when somebody lifts it in time.

use crate::decide::policy::{MemoryQos, MemoryReservation};
use crate::model::{Bytes, ControlFile, KnobValue, Limit, QosClass};

const PAGE: u64 = 4096;

/// A tripwire needs a limit of at least this many times the headroom.
const LIMIT_PER_HEADROOM: u64 = 4;

/// What reclaim must leave to a cgroup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Protection {
    /// `memory.min`.
    pub min: Bytes,
    /// `memory.low`.
    pub low: Bytes,
}

impl Protection {
    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            min: self.min.saturating_add(other.min),
            low: self.low.saturating_add(other.low),
        }
    }

    /// No more than `parent` has.
    pub(super) fn within(self, parent: Self) -> Self {
        Self {
            min: self.min.min(parent.min),
            low: self.low.min(parent.low),
        }
    }

    pub(super) fn knobs(self) -> [(ControlFile, KnobValue); 2] {
        [(ControlFile::MemoryMin, self.min), (ControlFile::MemoryLow, self.low)]
            .map(|(file, bytes)| (file, KnobValue::Memory(Limit::At(bytes))))
    }
}

/// The protection of a pod or container of `class` that requests `request`.
pub(super) fn protection(qos: MemoryQos, class: QosClass, request: Bytes) -> Protection {
    let protects = match qos {
        MemoryQos::Off => false,
        MemoryQos::Kubelet { reservation, .. } => reservation == MemoryReservation::TieredReservation,
        MemoryQos::Sound { .. } => true,
    };
    match class {
        _ if !protects => Protection::default(),
        QosClass::Guaranteed => Protection { min: request, low: Bytes(0) },
        QosClass::Burstable | QosClass::BestEffort => Protection { min: Bytes(0), low: request },
    }
}

/// The tripwire below `limit`, in whole pages; only for what may use more than it requests.
pub(super) fn tripwire(headroom: Option<Bytes>, request: Bytes, limit: Option<Bytes>) -> Option<Bytes> {
    let headroom = headroom.filter(|h| h.0 > 0)?;
    let limit = limit.filter(|l| l.0 / LIMIT_PER_HEADROOM >= headroom.0)?;
    let high = Bytes((limit.0 - headroom.0) / PAGE * PAGE);
    (request != limit && high > request).then_some(high)
}

/// kubelet's `memory.high` of a container: `factor` of the way from request to limit, or to what the node can
/// give where there is no limit.
pub(super) fn kubelet_high(factor: f64, request: Bytes, limit: Option<Bytes>, usable: Bytes) -> Option<Bytes> {
    let limit = limit.filter(|l| l.0 > 0);
    if limit.unwrap_or(Bytes(0)) == request {
        return None;
    }
    let ceiling = limit.unwrap_or(usable);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "kubelet's arithmetic, to the page"
    )]
    let pages = {
        let (request, ceiling) = (request.0 as f64, ceiling.0 as f64);
        ((request + (ceiling - request) * factor) / PAGE as f64).floor() as u64
    };
    let high = Bytes(pages.saturating_mul(PAGE));
    (high > request).then_some(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tripwire_needs_four_times_the_headroom() {
        let wire = |limit| tripwire(Some(Bytes::mib(320)), Bytes::mib(100), Some(Bytes::mib(limit)));
        assert_eq!(wire(1279), None);
        assert_eq!(wire(1280), Some(Bytes::mib(960)));
    }

    #[test]
    fn there_is_no_tripwire_within_a_request_without_a_limit_or_without_headroom() {
        let headroom = Some(Bytes::mib(320));
        assert_eq!(tripwire(headroom, Bytes::mib(1700), Some(Bytes::mib(2000))), None);
        assert_eq!(tripwire(headroom, Bytes::mib(2000), Some(Bytes::mib(2000))), None);
        assert_eq!(tripwire(headroom, Bytes::mib(100), None), None);
        assert_eq!(tripwire(None, Bytes::mib(100), Some(Bytes::mib(9000))), None);
    }

    #[test]
    fn kubelets_throttling_starts_between_request_and_limit() {
        let high = |request, limit: Option<u64>| {
            kubelet_high(0.9, Bytes(request), limit.map(Bytes), Bytes(10_000_000))
        };
        assert_eq!(high(1_000_000, Some(2_000_000)), Some(Bytes(1_900_000 / 4096 * 4096)));
        assert_eq!(high(1_000_000, None), Some(Bytes(9_100_000 / 4096 * 4096)));
        assert_eq!(high(1_000_000, Some(1_000_000)), None);
        assert_eq!(high(0, None), None);
    }
}
