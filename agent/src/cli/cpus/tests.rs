//! The map at 2 and at 256 CPUs.

use proptest::prelude::*;

use super::*;
use crate::decide::fixtures::all_online;
use crate::model::CpuKind;
use crate::model::Shape;

fn machine(sockets: u32, nodes: u32, caches: u32, cores: u32, threads: u32) -> MachineCpus {
    all_online(Shape {
        sockets,
        nodes,
        l3s: caches,
        cores,
        threads,
    })
}

fn owners(list: &[(&str, CpuOwner)]) -> Owners {
    let each = |(cpus, owner): &(&str, CpuOwner)| {
        let cpus = CpuSet::parse(cpus).unwrap();
        let owners: Vec<_> = cpus.iter().map(|cpu| (cpu, owner.clone())).collect();
        owners
    };
    let all = CpuSet::parse("0-511").unwrap();
    let mut owners: Owners = all.iter().map(|cpu| (cpu, CpuOwner::Shared)).collect();
    owners.extend(list.iter().flat_map(each));
    owners
}

fn exclusive(name: &str) -> CpuOwner {
    CpuOwner::Exclusive(name.to_owned())
}

#[test]
fn two_cpus_are_a_few_lines() {
    let map = show(
        &machine(1, 1, 1, 2, 1),
        &owners(&[("0", CpuOwner::Reserved)]),
        false,
    );
    assert_eq!(
        map,
        "1 socket, 1 NUMA node, 1 last-level cache, 2 cores, 2 CPUs\n\n\
         SOCKET  NUMA  L3  CPUS  CORES\n\
         0       0     0   0-1   r .\n\n\
         MARK  OWNER     COUNT  CPUS\n\
         .     shared        1  1\n\
         r     reserved      1  0\n"
    );
}

#[test]
fn at_256_cpus_a_cache_is_a_line() {
    let owners = owners(&[
        ("0,128", CpuOwner::Reserved),
        ("1-3,129-131", exclusive("shop/db/postgres")),
        ("16-23,144-151", exclusive("shop/cache/redis")),
    ]);
    let map = show(&machine(2, 4, 2, 8, 2), &owners, true);
    let lines: Vec<&str> = map.lines().collect();
    assert_eq!(
        lines[3],
        "0       0     0   0-7,128-135      rr BB BB BB .. .. .. .."
    );
    assert_eq!(
        lines[4],
        "              1   8-15,136-143     .. .. .. .. .. .. .. .."
    );
    assert_eq!(
        lines[5],
        "        1     2   16-23,144-151    AA AA AA AA AA AA AA AA"
    );
    assert_eq!(
        lines[11],
        "1       4     8   64-71,192-199    .. .. .. .. .. .. .. .."
    );
    assert!(
        map.contains("\nB     shop/db/postgres      6  1-3,129-131\n"),
        "{map}"
    );
    assert!(
        map.contains("\nNUMA 1    12  10  12  12  32  32  32  32\n"),
        "{map}"
    );
    assert!(lines.len() < 45 && lines.iter().all(|line| line.len() <= 100));
}

#[test]
fn what_is_apart_is_told() {
    let set = |list| CpuSet::parse(list).unwrap();
    let cpus = MachineCpus {
        offline: set("9"),
        isolated: set("3"),
        kinds: vec![CpuKind {
            name: "atom".to_owned(),
            cpus: set("2-3"),
        }],
        ..machine(1, 1, 1, 4, 1)
    };
    let map = show(&cpus, &Owners::new(), false);
    assert!(
        map.ends_with("\noffline:           9\nisolated at boot:  3\natom cores:        2-3\n"),
        "{map}"
    );
}

#[test]
fn the_tree_has_every_thread_with_its_owner() {
    let owners = owners(&[("1,3", exclusive("a/b/c")), ("0", CpuOwner::Reserved)]);
    let json = serde_json::to_value(tree(&machine(1, 2, 1, 1, 2), &owners)).unwrap();
    assert_eq!(json["online"], "0-3");
    assert_eq!(json["numaNodes"][1]["distances"], serde_json::json!([12, 10]));
    assert_eq!(
        json["sockets"][0]["numaNodes"][1]["caches"][0]["cores"][0],
        serde_json::json!([
            {"cpu": 1, "owner": "exclusive", "container": "a/b/c"},
            {"cpu": 3, "owner": "exclusive", "container": "a/b/c"},
        ])
    );
    assert_eq!(
        json["sockets"][0]["numaNodes"][0]["caches"][0]["cores"][0][0]["owner"],
        "reserved"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_cpu_is_one_letter(
        (sockets, nodes, caches, cores, threads) in (1_u32..3, 1_u32..3, 1_u32..3, 1_u32..20, 1_u32..3),
        names in prop::collection::vec("\\PC{1,8}", 0..70),
    ) {
        let cpus = machine(sockets, nodes, caches, cores, threads);
        let all = cpus.topology.cpus();
        let owners: Owners = all.iter().zip(&names).map(|(cpu, name)| (cpu, exclusive(name))).collect();
        let map = show(&cpus, &owners, false);
        let (body, legend) = map.split_once("\n\nMARK").unwrap();
        let column = body.lines().nth(2).unwrap().find("CORES").unwrap();
        let cells = body.lines().skip(3).map(|line| line[column..].chars().filter(|c| *c != ' ').count());
        prop_assert_eq!(cells.sum::<usize>(), all.len());
        prop_assert_eq!(legend.lines().skip(1).count(), by_owner(&cpus, &owners).len());
    }
}
