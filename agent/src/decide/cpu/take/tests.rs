//! Known answers on known machines.

use super::{NotEnough, Strategy, distributed, packed};
use crate::decide::fixtures::cpu_of;
use crate::model::{CpuSet, Shape, Topology};

fn set(list: &str) -> CpuSet {
    CpuSet::parse(list).unwrap()
}

fn take(topology: &Topology, available: &str, count: usize) -> String {
    let taken = packed(topology, &set(available), count, Strategy::Packed, false);
    taken.unwrap().cpus.to_string()
}

const QUAD: Shape = Shape {
    sockets: 1,
    nodes: 1,
    l3s: 1,
    cores: 4,
    threads: 2,
};

/// 80 CPUs: two sockets of two nodes, siblings 40 apart.
const FOUR_NODES: Shape = Shape {
    sockets: 2,
    nodes: 2,
    l3s: 1,
    cores: 10,
    threads: 2,
};

#[test]
fn packed_uses_up_what_is_in_use_and_keeps_whole_parts() {
    let quad = QUAD.build();
    for (available, count, taken) in [
        ("0-7", 0, ""),
        ("0-7", 8, "0-7"),
        ("0-3,6", 2, "2,6"),
        ("1,3,5-7", 1, "6"),
        // The one core with a thread in use is used up before another one is begun.
        ("1-7", 3, "1,4-5"),
    ] {
        assert_eq!(take(&quad, available, count), taken, "{count} of {available}");
    }
    let four = FOUR_NODES.build();
    assert_eq!(take(&four, "0-79", 60), "0-29,40-69");
    assert_eq!(take(&four, "1-39,41-79", 60), "10-39,50-79");
}

#[test]
fn spread_goes_by_number() {
    let taken = packed(&QUAD.build(), &set("1-7"), 4, Strategy::Spread, false).unwrap();
    assert_eq!(taken.cpus.to_string(), "1-4");
}

#[test]
fn caches_are_kept_together() {
    let shape = |threads| Shape {
        l3s: 4,
        threads,
        cores: 4 / threads,
        ..QUAD
    };
    let by_cache = |topology: &Topology, available: &str, count| {
        let taken = packed(topology, &set(available), count, Strategy::Packed, true);
        taken.unwrap().cpus.to_string()
    };
    assert_eq!(by_cache(&shape(1).build(), "1-15", 10), "1-2,4-11");
    let smt = shape(2).build();
    assert_eq!(by_cache(&smt, "2-7,10-15", 6), "2-4,10-12");
    // An odd request leaves the last thread.
    assert_eq!(by_cache(&smt, "2-7,10-15", 3), "2-3,10");
}

#[test]
fn distributed_takes_evenly_from_the_fewest_nodes() {
    let four = FOUR_NODES.build();
    for (count, group, taken) in [
        (64, 1, "0-7,10-17,20-27,30-37,40-47,50-57,60-67,70-77"),
        (26, 1, "0-6,10-16,40-45,50-55"),
        (26, 2, "0-6,10-15,40-46,50-55"),
        (62, 2, "0-7,10-17,20-27,30-36,40-47,50-57,60-67,70-76"),
        (0, 2, ""),
    ] {
        let got = distributed(&four, &set("0-79"), count, group, Strategy::Packed).unwrap();
        assert_eq!(got.cpus.to_string(), taken, "{count} by {group}");
    }
    // No multiple of the group: packed.
    let got = distributed(&four, &set("0-79"), 61, 2, Strategy::Packed).unwrap();
    assert_eq!(
        got,
        packed(&four, &set("0-79"), 61, Strategy::Packed, false).unwrap()
    );
}

#[test]
fn too_many_are_refused_with_the_numbers() {
    let refused = Err(NotEnough { wanted: 4, free: 3 });
    let (quad, free) = (QUAD.build(), set("0-2,9"));
    assert_eq!(packed(&quad, &free, 4, Strategy::Packed, true), refused);
    assert_eq!(distributed(&quad, &free, 4, 1, Strategy::Packed), refused);
}

#[test]
fn a_hybrid_machine_counts_the_threads_that_a_core_has() {
    // Two cores of two threads and four of one.
    let cores = [0, 0, 2, 2, 4, 5, 6, 7];
    let cpus = cores.into_iter().zip(0..).map(|(core, cpu)| cpu_of(core, cpu));
    let hybrid = Topology::new(cpus, []).unwrap();
    assert_eq!(take(&hybrid, "0-7", 4), "4-7");
    assert_eq!(take(&hybrid, "0-5", 4), "0-1,4-5");
    assert_eq!(take(&hybrid, "0-3,4", 3), "0-1,4");
}

#[test]
fn sixty_four_nodes_are_no_harder_than_one() {
    let machine = Shape {
        sockets: 8,
        nodes: 8,
        l3s: 1,
        cores: 8,
        threads: 2,
    };
    let topology = machine.build();
    // Uneven: of node n, n % 7 cores are in use.
    let used = topology
        .cores()
        .iter()
        .enumerate()
        .filter(|(n, _)| n % 8 < n / 8 % 7);
    let mut free = topology.cpus().clone();
    used.for_each(|(_, core)| free -= &core.cpus);
    for (count, group) in [(1, 1), (62, 2), (255, 1), (510, 2), (free.len(), 1)] {
        let taken = distributed(&topology, &free, count, group, Strategy::Packed).unwrap();
        assert!(taken.cpus.len() == count && taken.cpus.is_subset(&free));
    }
}
