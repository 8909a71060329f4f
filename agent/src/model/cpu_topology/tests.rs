//! What makes a topology and what is refused, and its properties.

use proptest::prelude::*;

use super::{CpuGroup, CpuRecord, NumaRecord, Topology};
use crate::model::cpu_set::{CpuId, CpuSet};

fn record(cpu: u32, core: u32, numa: u32, socket: u32) -> CpuRecord {
    CpuRecord {
        cpu: CpuId::new(cpu).unwrap(),
        core,
        l3: numa,
        die: socket,
        numa,
        socket,
    }
}

fn node(id: u32, distances: &[u32]) -> NumaRecord {
    NumaRecord {
        id,
        distances: distances.to_vec(),
    }
}

/// Two sockets with a node each, numbered 0 and 8, and SMT siblings four apart.
fn pair() -> Vec<CpuRecord> {
    (0..8)
        .map(|n| record(n, n % 4 + 100, n % 4 / 2 * 8, n % 4 / 2))
        .collect()
}

fn refused(cpus: Vec<CpuRecord>, nodes: Vec<NumaRecord>) -> String {
    Topology::new(cpus, nodes).unwrap_err().to_string()
}

#[test]
fn groups_and_places_go_by_index() {
    let topology = Topology::new(pair(), []).unwrap();
    let shown = |groups: &[CpuGroup]| -> Vec<_> {
        groups
            .iter()
            .map(|group| (group.id, group.cpus.to_string()))
            .collect()
    };
    assert_eq!(
        shown(topology.numa_nodes()),
        [(0, "0-1,4-5".to_owned()), (8, "2-3,6-7".to_owned())]
    );
    assert_eq!(
        shown(&topology.cores()[..2]),
        [(100, "0,4".to_owned()), (101, "1,5".to_owned())]
    );
    let place = topology.place(CpuId::new(6).unwrap()).unwrap();
    assert_eq!((place.core, place.numa, place.socket), (2, 1, 1));
    assert_eq!(topology.place(CpuId::new(8).unwrap()), None);
    assert_eq!((topology.distance(0, 0), topology.distance(0, 1)), (10, 20));
}

#[test]
fn a_node_may_have_no_cpu_and_its_own_distances() {
    let nodes = [node(8, &[21, 10, 17]), node(0, &[10, 21, 28]), node(255, &[])];
    let topology = Topology::new(pair(), nodes).unwrap();
    assert_eq!(topology.numa_nodes()[2].id, 255);
    assert!(topology.numa_nodes()[2].cpus.is_empty());
    assert_eq!((topology.distance(1, 2), topology.distance(2, 1)), (17, 20));
}

#[test]
fn contradictions_are_refused_with_their_numbers() {
    let with = |more: CpuRecord| [pair(), vec![more]].concat();
    for (error, expected) in [
        (refused(vec![], vec![]), "there is no CPU"),
        (
            refused(with(record(3, 103, 8, 1)), vec![]),
            "CPU 3 is listed twice",
        ),
        (
            refused(with(record(9, 100, 0, 1)), vec![]),
            "CPUs 0 and 9 share core 100, but not a die: 0 and 1",
        ),
        (
            refused(pair(), vec![node(0, &[])]),
            "CPU 2 is in NUMA node 8, which does not exist",
        ),
        (
            refused(pair(), vec![node(0, &[]), node(8, &[]), node(8, &[])]),
            "NUMA node 8 is listed twice",
        ),
        (
            refused(pair(), vec![node(0, &[10]), node(8, &[])]),
            "NUMA node 0 has 1 distances, there are 2 nodes",
        ),
        (
            refused(pair(), vec![node(0, &[10, 9]), node(8, &[])]),
            "the distance from NUMA node 0 to 8 is 9, to itself 10",
        ),
        (
            refused((0..65).map(|n| record(n, n, n, 0)).collect(), vec![]),
            "there are 65 NUMA nodes, at most 64 are supported",
        ),
    ] {
        assert_eq!(error, expected);
    }
}

proptest! {
    #[test]
    fn groups_part_the_cpus_and_order_does_not_matter(
        (shape, shuffled) in (1..4_u32, 1..4_u32, 1..4_u32, 1..3_u32, 1..100_u32).prop_flat_map(|shape| {
            let (sockets, nodes, cores, threads, gap) = shape;
            let count = sockets * nodes * cores;
            let records: Vec<_> = (0..count * threads)
                .map(|n| {
                    let numa = n % count / cores;
                    record(n * gap.min(7), n % count, numa * gap, numa / nodes)
                })
                .collect();
            (Just(records.clone()), Just(records).prop_shuffle())
        })
    ) {
        let topology = Topology::new(shape, []).unwrap();
        prop_assert_eq!(&topology, &Topology::new(shuffled, []).unwrap());
        let kinds = [
            (topology.cores(), 0),
            (topology.l3s(), 1),
            (topology.dies(), 2),
            (topology.numa_nodes(), 3),
            (topology.sockets(), 4),
        ];
        for (groups, kind) in kinds {
            let mut seen = CpuSet::EMPTY;
            for (index, group) in groups.iter().enumerate() {
                prop_assert!(seen.is_disjoint(&group.cpus));
                seen |= &group.cpus;
                for cpu in group.cpus.iter() {
                    let place = topology.place(cpu).unwrap();
                    let indices = [place.core, place.l3, place.die, place.numa, place.socket];
                    prop_assert_eq!(indices[kind], index);
                }
            }
            prop_assert_eq!(&seen, topology.cpus());
        }
    }
}
