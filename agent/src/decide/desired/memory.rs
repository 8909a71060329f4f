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

use crate::decide::policy::{MemoryQos, MemoryQosMode, MemoryReservationPolicy};
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
        [
            (ControlFile::MemoryMin, self.min),
            (ControlFile::MemoryLow, self.low),
        ]
        .map(|(file, bytes)| (file, KnobValue::Memory(Limit::At(bytes))))
    }
}

/// The protection of a pod or container of `class` that requests `request`.
pub(super) fn protection(qos: MemoryQos, class: QosClass, request: Bytes) -> Protection {
    let protects =
        qos.mode != MemoryQosMode::Off && qos.reservation == MemoryReservationPolicy::TieredReservation;
    match class {
        _ if !protects => Protection::default(),
        QosClass::Guaranteed => Protection {
            min: request,
            low: Bytes(0),
        },
        QosClass::Burstable | QosClass::BestEffort => Protection {
            min: Bytes(0),
            low: request,
        },
    }
}

/// The tripwire below `limit`, in whole pages: where the throttling factor says, yet at least the headroom below
/// the limit; only for what may use more than it requests.
pub(super) fn tripwire(qos: MemoryQos, request: Bytes, limit: Option<Bytes>) -> Option<Bytes> {
    let headroom = qos.headroom.filter(|h| h.0 > 0)?;
    let limit = limit.filter(|l| l.0 / LIMIT_PER_HEADROOM >= headroom.0)?;
    let high =
        between(qos.throttling_factor, request, limit).min(whole_pages(limit.saturating_sub(headroom)));
    (request < limit && high > request).then_some(high)
}

/// The tripwire of all pods together: where the owner's hard threshold of available memory is met at their limit. So the
/// kernel tells at once, and holds up whoever goes on, at the very line at which somebody is to go.
pub(super) fn root_tripwire(qos: MemoryQos, limit: Bytes, threshold: Bytes) -> Option<Bytes> {
    let wanted = qos.mode == MemoryQosMode::Sound && threshold > Bytes(0) && threshold < limit;
    wanted.then(|| whole_pages(limit.saturating_sub(threshold)))
}

/// kubelet's `memory.high` of a container: between request and limit, or what the node can give where there is no
/// limit.
pub(super) fn kubelet_high(qos: MemoryQos, request: Bytes, limit: Bytes, usable: Bytes) -> Option<Bytes> {
    if limit == request {
        return None;
    }
    let ceiling = if limit.0 == 0 { usable } else { limit };
    let high = between(qos.throttling_factor, request, ceiling);
    (high > request).then_some(high)
}

/// That part of the way from `request` to `ceiling`, in whole pages.
fn between(part: f64, request: Bytes, ceiling: Bytes) -> Bytes {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "kubelet's arithmetic, to the page"
    )]
    let bytes = {
        let (request, ceiling) = (request.0 as f64, ceiling.0 as f64);
        (request + (ceiling - request) * part) as u64
    };
    whole_pages(Bytes(bytes))
}

const fn whole_pages(bytes: Bytes) -> Bytes {
    Bytes(bytes.0 / PAGE * PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(request: u64, limit: Option<u64>) -> Option<Bytes> {
        tripwire(MemoryQos::default(), Bytes::mib(request), limit.map(Bytes::mib))
    }

    #[test]
    fn a_tripwire_needs_four_times_the_headroom() {
        assert_eq!(wire(100, Some(1279)), None);
        assert_eq!(wire(100, Some(1280)), Some(Bytes::mib(960)));
    }

    #[test]
    fn a_large_limit_has_its_tripwire_where_the_factor_says() {
        assert_eq!(wire(0, Some(10_000)), Some(Bytes::mib(9000)));
    }

    #[test]
    fn there_is_no_tripwire_within_a_request_without_a_limit_or_without_headroom() {
        assert_eq!(wire(1700, Some(2000)), None);
        assert_eq!(wire(2000, Some(2000)), None);
        assert_eq!(wire(100, None), None);
        let qos = MemoryQos {
            headroom: None,
            ..MemoryQos::default()
        };
        assert_eq!(tripwire(qos, Bytes::mib(100), Some(Bytes::mib(9000))), None);
    }

    #[test]
    fn kubelets_throttling_starts_between_request_and_limit() {
        let high = |request, limit| {
            kubelet_high(
                MemoryQos::default(),
                Bytes(request),
                Bytes(limit),
                Bytes(10_000_000),
            )
        };
        assert_eq!(high(1_000_000, 2_000_000), Some(Bytes(1_900_000 / 4096 * 4096)));
        assert_eq!(high(1_000_000, 0), Some(Bytes(9_100_000 / 4096 * 4096)));
        assert_eq!(high(1_000_000, 1_000_000), None);
        assert_eq!(high(0, 0), None);
    }
}
