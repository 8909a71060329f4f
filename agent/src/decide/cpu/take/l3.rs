//! Staying within last-level caches.
//!
//! Whole caches while they fit; what is left must come from the cores of one cache exactly, else it is left to the
//! later steps. "Exactly" is meant of cores, not of free threads: a cache whose lowest cores are half in use may be
//! passed over although enough of its threads are free, as in kubelet (its issues 137315 and 137319).

use super::packed::take_whole;
use super::taking::Taking;
use super::{Part, order};
use crate::model::{CpuGroup, CpuSet};

/// Takes caches and parts of one, as far as they come out even.
pub(super) fn take(taking: &mut Taking<'_>) {
    let topology = taking.topology;
    // Whole caches change how full the nodes are, but not which one is looked at first.
    let order = order::l3s(topology, &taking.free);
    take_whole(taking, Part::Cache);
    for index in order {
        if taking.is_done() {
            return;
        }
        let part = part_of(taking, &topology.l3s()[index]);
        if part.len() == taking.need {
            taking.take(Part::InCache, part);
        }
    }
}

/// The free threads of the first cores of a cache, as many as the need makes.
fn part_of(taking: &Taking<'_>, cache: &CpuGroup) -> CpuSet {
    let threads = taking.topology.threads_per_core();
    let mut cores_left = taking.need.div_ceil(threads);
    let mut core = None;
    let mut part = CpuSet::EMPTY;
    let mut free: Vec<_> = cache.cpus.iter_common(&taking.free).collect();
    free.sort_by_key(|cpu| taking.core_of(*cpu));
    for cpu in free {
        if core != Some(taking.core_of(cpu)) {
            if cores_left == 0 {
                break;
            }
            cores_left -= 1;
            core = Some(taking.core_of(cpu));
        }
        part.insert(cpu);
    }
    // An odd need takes one thread of its last core only: the one with the highest number goes.
    let odd = !taking.need.is_multiple_of(2) && threads > 1;
    if let Some(last) = part.last().filter(|_| odd && part.len() > taking.need) {
        part.remove(last);
    }
    part
}
