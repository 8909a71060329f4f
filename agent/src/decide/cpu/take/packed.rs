//! The packed algorithm: the largest whole parts that fit, from the fullest part of the machine on.
//!
//! 1. Whole NUMA nodes or sockets, the larger kind first.
//! 2. If wanted, whole last-level caches and the cores of one ([`super::l3`]).
//! 3. Whole cores, except with [`Strategy::Spread`].
//! 4. Threads: with [`Strategy::Packed`] of the cores with the fewest free threads first.

use super::taking::Taking;
use super::{NotEnough, Part, Strategy, Taken, l3, order};
use crate::model::{CpuGroup, CpuSet, Topology};

/// Takes `count` of the CPUs that are `available`; with `align_l3` it tries to stay within as few last-level caches as
/// it can (kubelet's `prefer-align-cpus-by-uncorecache`).
///
/// # Errors
/// Fewer than `count` are available on this machine.
pub fn packed(
    topology: &Topology,
    available: &CpuSet,
    count: usize,
    strategy: Strategy,
    align_l3: bool,
) -> Result<Taken, NotEnough> {
    let mut taking = Taking::start(topology, available, count)?;
    let levels = if order::numa_first(topology) {
        [Part::NumaNode, Part::Socket]
    } else {
        [Part::Socket, Part::NumaNode]
    };
    for part in levels {
        take_whole(&mut taking, part);
    }
    if align_l3 && !taking.is_done() {
        l3::take(&mut taking);
    }
    if strategy == Strategy::Packed && !taking.is_done() {
        take_cores(&mut taking);
    }
    if !taking.is_done() {
        match strategy {
            Strategy::Packed => take_threads(&mut taking),
            Strategy::Spread => take_by_number(&mut taking),
        }
    }
    Ok(taking.finish())
}

/// Takes whole sockets, NUMA nodes or caches as long as they fit.
pub(super) fn take_whole(taking: &mut Taking<'_>, part: Part) {
    let topology = taking.topology;
    let groups = match part {
        Part::Socket => topology.sockets(),
        Part::NumaNode => topology.numa_nodes(),
        _ => topology.l3s(),
    };
    let fits = |group: &CpuGroup, taking: &Taking<'_>| {
        group.cpus.is_subset(&taking.free) && (1..=taking.need).contains(&group.cpus.len())
    };
    // Most requests are smaller than any of them; then the order does not matter.
    if !groups.iter().any(|group| fits(group, taking)) {
        return;
    }
    let order = match part {
        Part::Socket => order::sockets(topology, &taking.free),
        Part::NumaNode => order::numa_nodes(topology, &taking.free),
        _ => order::l3s(topology, &taking.free),
    };
    for index in order {
        if fits(&groups[index], taking) {
            taking.take(part, groups[index].cpus.clone());
        }
    }
}

/// A core with free threads: how many there are, and its index.
type FreeCore = (usize, usize);

/// The cores of `holder` with free threads, those with the fewest first.
fn cores_in(taking: &Taking<'_>, holder: &CpuGroup, cores: &mut Vec<FreeCore>) {
    cores.clear();
    cores.extend(
        holder
            .cpus
            .iter_common(&taking.free)
            .map(|cpu| (1, taking.core_of(cpu))),
    );
    cores.sort_unstable();
    cores.dedup_by(|next, core| {
        let same = next.1 == core.1;
        core.0 += usize::from(same);
        same
    });
    cores.sort_unstable();
}

fn take_cores(taking: &mut Taking<'_>) {
    let topology = taking.topology;
    let mut taken = CpuSet::EMPTY;
    let mut left = taking.need;
    let mut cores = Vec::new();
    for holder in order::core_holders(topology, &taking.free) {
        cores_in(taking, holder, &mut cores);
        for (count, core) in &cores {
            let core = &topology.cores()[*core].cpus;
            if *count <= left && core.is_subset(&taking.free) {
                taken |= core;
                left -= count;
            }
        }
        if left == 0 {
            break;
        }
    }
    if !taken.is_empty() {
        taking.take(Part::Cores, taken);
    }
}

fn take_threads(taking: &mut Taking<'_>) {
    let topology = taking.topology;
    let mut taken = CpuSet::EMPTY;
    let mut left = taking.need;
    let mut cores = Vec::new();
    for holder in order::core_holders(topology, &taking.free) {
        cores_in(taking, holder, &mut cores);
        for (_, core) in &cores {
            let threads = topology.cores()[*core].cpus.iter_common(&taking.free);
            for cpu in threads.take(left) {
                taken.insert(cpu);
                left -= 1;
            }
        }
        if left == 0 {
            break;
        }
    }
    taking.take(Part::Threads, taken);
}

fn take_by_number(taking: &mut Taking<'_>) {
    let mut taken = CpuSet::EMPTY;
    let mut left = taking.need;
    for index in order::sockets(taking.topology, &taking.free) {
        let socket = &taking.topology.sockets()[index].cpus;
        for cpu in socket.iter_common(&taking.free).take(left) {
            taken.insert(cpu);
            left -= 1;
        }
    }
    taking.take(Part::Threads, taken);
}
