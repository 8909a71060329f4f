//! The map at 2 and at 256 CPUs.

use proptest::prelude::*;

use super::*;
use crate::decide::fixtures::all_online;
use crate::model::sample::{exclusive_pod, exclusive_report, pod, report};
use crate::model::{ContainerPhase, CpuKind, NodeReport, Shape};

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

/// The machine of the sample reports.
fn eight() -> MachineCpus {
    machine(1, 2, 1, 4, 1)
}

fn told(report: &NodeReport, wide: bool) -> String {
    show_live(&eight(), Teller::Agent(report), wide)
}

/// The words of the map: the cores of each cache.
fn words(map: &str) -> Vec<String> {
    let column = map.lines().nth(2).unwrap().find("CORES").unwrap();
    let rows = map.lines().skip(3).take_while(|line| !line.is_empty());
    rows.map(|line| line[column..].to_owned()).collect()
}

#[test]
fn the_agent_tells_who_owns_what() {
    let report = exclusive_report(vec![exclusive_pod("cache", "2,4"), pod("web", "i")]);
    let text = told(&report, false);
    assert_eq!(words(&text), ["r . A .", "A . . ."]);
    assert!(text.contains("A     shop/cache/main      2  2,4\n"), "{text}");
    assert!(
        text.ends_with(
            "\nContainers without CPUs of their own run on 0-1,3,5-7, reserved ones among them.\n"
        ),
        "{text}"
    );
    let wide = told(&report, true);
    assert!(
        wide.ends_with(
            "CONTAINER        CPUS  GRANTED                        CLEAN-AFTER  FOREIGN       OF\n\
             shop/cache/main  2,4   Sun, 13 Sep 2020 12:26:40 GMT  1.2ms        0.02%+0.10%k  1000.0s\n"
        ),
        "{wide}"
    );
    let json = serde_json::to_value(live(&eight(), Teller::Agent(&report))).unwrap();
    assert_eq!(json["ownersUnknown"], serde_json::Value::Null);
    assert_eq!(json["sharedPool"], "0-1,3,5-7");
    assert_eq!(json["containers"][0]["container"], "shop/cache/main");
    assert_eq!(json["containers"][0]["cpus"], "2,4");
    assert_eq!(
        json["containers"][0]["grant"]["foreign"]["system"]["nanos"],
        150_000_000
    );
    assert_eq!(json["online"], "0-7");
    assert_eq!(
        json["sockets"][0]["numaNodes"][0]["caches"][0]["cores"][2],
        serde_json::json!([{"cpu": 2, "owner": "exclusive", "container": "shop/cache/main"}])
    );
}

#[test]
fn where_nothing_is_given_away_all_is_shared() {
    let text = told(&report(vec![pod("web", "i")]), true);
    assert_eq!(words(&text), [". . . .", ". . . ."]);
    assert!(text.contains("cpuManagerPolicy: none"), "{text}");
}

#[test]
fn without_an_agent_the_map_says_why_there_are_no_owners() {
    let text = show_live(&eight(), Teller::Nobody("cannot reach\x1b it"), false);
    assert_eq!(words(&text), ["- - - -", "- - - -"]);
    assert!(
        text.ends_with("\nOwners are not known: cannot reach\\u{1b} it.\n"),
        "{text}"
    );
    let json = serde_json::to_value(live(&eight(), Teller::Nobody("why"))).unwrap();
    assert_eq!(json["ownersUnknown"], "why");
    assert_eq!(
        json["sockets"][0]["numaNodes"][1]["caches"][0]["cores"][0][0]["owner"],
        "unknown"
    );
}

#[test]
fn who_runs_owns_what_an_init_container_left() {
    let mut pods = vec![exclusive_pod("cache", "2-5")];
    let mut main = pods[0].containers[0].clone();
    let first = &mut pods[0].containers[0];
    first.phase = ContainerPhase::Terminated {
        exit_code: Some(0),
        reason: "Completed".to_owned(),
    };
    main.name = crate::model::ContainerName::parse("app").unwrap();
    main.cpus.as_mut().unwrap().own = CpuSet::parse("2-3").ok();
    // Before the other one, so that order alone does not decide.
    pods[0].containers.insert(0, main);
    let text = told(&exclusive_report(pods), false);
    assert!(text.contains("shop/cache/app       2  2-3\n"), "{text}");
    assert!(text.contains("shop/cache/main      2  4-5\n"), "{text}");
}

#[test]
fn owners_follow_what_the_agent_calls_exclusive() {
    let mut report = exclusive_report(vec![exclusive_pod("cache", "2-3")]);
    let cpus = report.cpus.as_mut().unwrap();
    cpus.changes = vec!["CPU 6 went\noffline".to_owned()];
    // One that came online since, one held by a pod that the report has no more, and one that is given back already.
    let set = |list| CpuSet::parse(list).unwrap();
    (cpus.shared, cpus.exclusive) = (set("0-2,6"), set("3-4"));
    let text = told(&report, false);
    assert_eq!(words(&text), ["r . . B", "A - . -"]);
    assert!(text.contains("A     ?                    1  4\n"), "{text}");
    assert!(text.ends_with("\nchanged: CPU 6 went\\noffline\n"), "{text}");
}

#[test]
fn a_map_of_256_cpus_with_owners_fits_a_screen() {
    let machine = machine(2, 4, 2, 8, 2);
    let pods = (0..20_u32).map(|i| exclusive_pod(&format!("cache-{i}"), &format!("{},{}", 8 + i, 136 + i)));
    let report = exclusive_report(pods.collect());
    let text = show_live(&machine, Teller::Agent(&report), false);
    assert_eq!(words(&text).len(), 16);
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(text.lines().count() <= 50, "{text}");
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
