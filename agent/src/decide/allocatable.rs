//! What is left for pods after the node's reservations.
//!
//! # Properties
//! - Nothing allocatable exceeds the capacity, and no reservation, however large, makes it wrap.

use std::collections::BTreeMap;

use crate::model::{Bytes, HugePageSize, MilliCpu, NodeCapacity};

use super::policy::{Amount, PlacementPolicy};

/// What pods may have together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allocatable {
    /// CPU time they may request.
    pub cpu: MilliCpu,
    /// Memory they may request: less than they may use by the eviction threshold and by huge pages, which are
    /// set aside when the node starts.
    pub memory: Bytes,
    /// Memory they may use.
    pub usable_memory: Bytes,
    /// Tasks.
    pub pids: u64,
    /// Huge pages by size.
    pub huge_pages: BTreeMap<HugePageSize, Bytes>,
    /// How many pods there may be.
    pub pods: u64,
}

/// The node's capacity less what `policy` reserves.
#[must_use]
pub fn allocatable(node: &NodeCapacity, policy: &PlacementPolicy) -> Allocatable {
    let reserved = [policy.system_reserved, policy.kube_reserved];
    let usable_memory = reserved
        .iter()
        .fold(node.memory, |left, r| left.saturating_sub(r.memory));
    let in_huge_pages = node
        .huge_pages
        .values()
        .fold(Bytes(0), |sum, amount| sum.saturating_add(*amount));
    let eviction = amount(policy.eviction_hard_memory, node.memory);
    Allocatable {
        cpu: MilliCpu(
            reserved
                .iter()
                .fold(node.cpu.0, |left, r| left.saturating_sub(r.cpu.0)),
        ),
        memory: usable_memory
            .saturating_sub(eviction)
            .saturating_sub(in_huge_pages),
        usable_memory,
        pids: reserved
            .iter()
            .fold(node.pids, |left, r| left.saturating_sub(r.pids)),
        huge_pages: node.huge_pages.clone(),
        pods: policy.max_pods,
    }
}

pub(super) fn amount(amount: Amount, capacity: Bytes) -> Bytes {
    match amount {
        Amount::Bytes(bytes) => bytes,
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a threshold needs no more than 53 bits, and the conversion holds at the type's ends"
        )]
        Amount::Fraction(part) => Bytes((capacity.0 as f64 * part) as u64),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decide::policy::Reserved;

    #[test]
    fn the_eviction_threshold_bounds_requests_and_not_use() {
        let node = NodeCapacity {
            cpu: MilliCpu(4000),
            memory: Bytes::mib(1000),
            ..NodeCapacity::default()
        };
        let policy = PlacementPolicy {
            system_reserved: Reserved {
                cpu: MilliCpu(100),
                memory: Bytes::mib(100),
                pids: 0,
            },
            kube_reserved: Reserved {
                cpu: MilliCpu(200),
                memory: Bytes::mib(50),
                pids: 0,
            },
            eviction_hard_memory: Amount::Fraction(0.05),
            ..PlacementPolicy::default()
        };
        let left = allocatable(&node, &policy);
        assert_eq!(left.cpu, MilliCpu(3700));
        assert_eq!(left.usable_memory, Bytes::mib(850));
        assert_eq!(left.memory, Bytes::mib(800));
    }

    proptest! {
        #[test]
        fn no_reservation_makes_more_than_there_is(cpu: u64, memory: u64, pids: u64, have: u32, part in -1.0..2.0_f64) {
            let node = NodeCapacity {
                cpu: MilliCpu(have.into()),
                memory: Bytes(have.into()),
                pids: have.into(),
                ..NodeCapacity::default()
            };
            let policy = PlacementPolicy {
                kube_reserved: Reserved { cpu: MilliCpu(cpu), memory: Bytes(memory), pids },
                eviction_hard_memory: Amount::Fraction(part),
                ..PlacementPolicy::default()
            };
            let left = allocatable(&node, &policy);
            prop_assert!(left.cpu <= node.cpu && left.usable_memory <= node.memory && left.pids <= node.pids);
            prop_assert!(left.memory <= left.usable_memory);
        }
    }
}
