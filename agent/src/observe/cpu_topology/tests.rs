//! Captured machines, this machine's own files, and files that cannot be true.

use super::*;
use crate::model::CpuGroup;

const FIXTURES: [(&str, &str); 7] = [
    ("small-vm", include_str!("fixtures/small-vm.sysfs")),
    ("smt-client", include_str!("fixtures/smt-client.sysfs")),
    ("hybrid", include_str!("fixtures/hybrid.sysfs")),
    ("arm-no-numa", include_str!("fixtures/arm-no-numa.sysfs")),
    ("two-socket-smt", include_str!("fixtures/two-socket-smt.sysfs")),
    ("amd-many-l3", include_str!("fixtures/amd-many-l3.sysfs")),
    ("eight-numa", include_str!("fixtures/eight-numa.sysfs")),
];

fn text(name: &str) -> &'static str {
    FIXTURES.iter().find(|(n, _)| *n == name).unwrap().1
}

fn fixture(name: &str) -> MachineCpus {
    read(&capture::machine(text(name)).unwrap()).unwrap()
}

/// The error of a captured machine with these lines added or put in place of its own.
fn broken(name: &str, lines: &str) -> String {
    let machine = capture::machine(&format!("{}\n{lines}", text(name))).unwrap();
    read(&machine).unwrap_err().to_string()
}

fn counts(cpus: &MachineCpus) -> [usize; 6] {
    let topology = &cpus.topology;
    [
        topology.sockets().len(),
        topology.numa_nodes().len(),
        topology.dies().len(),
        topology.l3s().len(),
        topology.cores().len(),
        topology.cpus().len(),
    ]
}

fn lists(groups: &[CpuGroup]) -> Vec<String> {
    groups.iter().map(|group| group.cpus.to_string()).collect()
}

#[test]
fn each_shape_has_the_parts_that_it_has() {
    let expected = [
        ("small-vm", [1, 1, 1, 1, 2, 2]),
        ("smt-client", [1, 1, 1, 1, 4, 8]),
        ("hybrid", [1, 1, 1, 2, 16, 22]),
        ("arm-no-numa", [3, 1, 3, 1, 8, 8]),
        ("two-socket-smt", [2, 2, 2, 2, 8, 16]),
        ("amd-many-l3", [2, 8, 2, 16, 48, 96]),
        ("eight-numa", [2, 8, 2, 8, 16, 30]),
    ];
    for (name, expected) in expected {
        assert_eq!(counts(&fixture(name)), expected, "{name}");
    }
    for (name, text) in FIXTURES {
        assert!(
            text.contains("# Origin: "),
            "{name} does not say where it comes from"
        );
    }
}

#[test]
fn siblings_far_apart_and_caches_of_three_cores() {
    let client = fixture("smt-client");
    assert_eq!(lists(client.topology.cores()), ["0,4", "1,5", "2,6", "3,7"]);
    let amd = fixture("amd-many-l3");
    assert_eq!(
        lists(&amd.topology.l3s()[..3]),
        ["0-2,48-50", "3-5,51-53", "6-8,54-56"]
    );
    assert_eq!(amd.topology.numa_nodes()[7].cpus.to_string(), "42-47,90-95");
    // Distances are not told.
    assert_eq!(
        (amd.topology.distance(0, 0), amd.topology.distance(0, 7)),
        (10, 20)
    );
}

#[test]
fn hybrid_cores_are_told_apart_and_those_without_a_cache_share_none() {
    let hybrid = fixture("hybrid");
    let kinds: Vec<_> = hybrid
        .kinds
        .iter()
        .map(|k| (k.name.as_str(), k.cpus.to_string()))
        .collect();
    assert_eq!(kinds, [("atom", "12-21".to_owned()), ("core", "0-11".to_owned())]);
    assert_eq!(lists(hybrid.topology.l3s()), ["0-19", "20-21"]);
    assert_eq!(hybrid.topology.cores()[0].cpus.to_string(), "0,5");
    assert!(fixture("smt-client").kinds.is_empty());
}

#[test]
fn without_a_numa_directory_there_is_one_node() {
    let arm = fixture("arm-no-numa");
    assert_eq!(lists(arm.topology.numa_nodes()), ["0-7"]);
    assert_eq!(lists(arm.topology.sockets()), ["0-2", "3-6", "7"]);
    // One cache under three sockets.
    assert_eq!(lists(arm.topology.l3s()), ["0-7"]);
}

#[test]
fn offline_siblings_isolated_and_tickless_cpus_are_known() {
    let eight = fixture("eight-numa");
    assert_eq!(eight.offline.to_string(), "3,5");
    assert_eq!(eight.isolated.to_string(), "28-31");
    assert_eq!(eight.nohz_full.to_string(), "24-27");
    assert_eq!(lists(&eight.topology.cores()[..4]), ["0-1", "2", "4", "6-7"]);
    // The caches' lists of this kernel still name the offline CPUs.
    assert_eq!(lists(&eight.topology.l3s()[..2]), ["0-2", "4,6-7"]);
    assert_eq!(eight.topology.distance(1, 3), 12);
    assert_eq!(eight.topology.distance(1, 4), 32);
    // A kernel that was not booted with nohz_full= writes (null) there.
    assert!(text("two-socket-smt").contains("nohz_full: (null)"));
    assert!(fixture("two-socket-smt").nohz_full.is_empty());
}

#[test]
fn sparse_numbers_and_nodes_of_memory_alone_are_kept() {
    // Node and socket numbers as POWER9 with GPUs has them.
    let machine = capture::machine(
        "cpu/online: 8-9,40\ncpu/present: 8-9,40\ncpu/cpu[8-9]/topology/physical_package_id: 0\n\
         cpu/cpu[40]/topology/physical_package_id: 8\ncpu/cpu[8-9]/topology/core_cpus_list: 8-9\n\
         cpu/cpu[40]/topology/core_cpus_list: 40\nnode/node0/cpulist: 8-9\nnode/node8/cpulist: 40\n\
         node/node252/cpulist:\nnode/node0/distance: 10 40 80\nnode/node8/distance: 40 10 80\n\
         node/node252/distance: 80 80 10\nnode/has_cpu: 0,8\n",
    );
    let cpus = read(&machine.unwrap()).unwrap();
    let topology = &cpus.topology;
    let ids: Vec<_> = topology.numa_nodes().iter().map(|node| node.id).collect();
    assert_eq!(ids, [0, 8, 252]);
    assert_eq!(lists(topology.numa_nodes()), ["8-9", "40", ""]);
    assert_eq!(topology.distance(1, 2), 80);
    assert_eq!(topology.sockets()[1].id, 8);
    // No cache is told: the socket's number stands for it.
    assert_eq!(topology.l3s()[1].id, 8);
}

#[test]
fn dies_numbered_within_their_socket_are_told_apart() {
    let machine = capture::machine(
        "cpu/online: 0-3\ncpu/cpu[0-1]/topology/physical_package_id: 0\n\
         cpu/cpu[2-3]/topology/physical_package_id: 1\ncpu/cpu[0,2]/topology/die_id: 0\n\
         cpu/cpu[1,3]/topology/die_id: 1\n",
    );
    let cpus = read(&machine.unwrap()).unwrap();
    assert_eq!(lists(cpus.topology.dies()), ["0", "1", "2", "3"]);
    // Without any list each CPU is a core, and those of a socket share a cache.
    assert_eq!(lists(cpus.topology.l3s()), ["0-1", "2-3"]);
}

#[test]
fn a_tree_of_files_reads_like_its_capture() {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in capture::files(text("eight-numa")).unwrap() {
        let path = dir.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content + "\n").unwrap();
    }
    assert_eq!(read(&Machine::at(dir.path())).unwrap(), fixture("eight-numa"));
}

#[test]
fn this_machine_reads() {
    let cpus = read(&Machine::default()).unwrap();
    let online = std::fs::read_to_string(ONLINE).unwrap();
    assert_eq!(cpus.topology.cpus().to_string(), online.trim());
    let nodes: usize = cpus
        .topology
        .numa_nodes()
        .iter()
        .map(|node| node.cpus.len())
        .sum();
    assert_eq!(nodes, cpus.topology.cpus().len());
}

#[test]
fn what_is_missing_or_unreadable_is_named() {
    let none = read(&capture::machine("# nothing").unwrap()).unwrap_err();
    assert_eq!(
        none.to_string(),
        "/sys/devices/system/cpu/online is not there: mount sysfs at /sys, in a container that of the host"
    );
    let expect = |lines: &str, start: &str| {
        let error = broken("two-socket-smt", lines);
        assert!(error.starts_with(start), "{error}");
        assert!(error.contains("plimsoll cpus --topology FILE"), "{error}");
    };
    expect(
        "cpu/online: all",
        "/sys/devices/system/cpu/online holds \"all\", expected a list of CPUs",
    );
    expect(
        "cpu/online:",
        "/sys/devices/system/cpu/online holds \"\", expected a list of CPUs",
    );
    expect(
        "cpu/online: 0-99999",
        "/sys/devices/system/cpu/online holds \"0-99999\", expected a list",
    );
    expect(
        "cpu/cpu3/topology/physical_package_id: one",
        "/sys/devices/system/cpu/cpu3/topology/physical_package_id holds \"one\", expected a number",
    );
    expect(
        "node/node1/distance: 21 ten",
        "/sys/devices/system/node/node1/distance holds \"21 ten\", expected numbers",
    );
    let long = format!("cpu/isolated: {}\u{1b}[2J", "x".repeat(10_000));
    let error = broken("two-socket-smt", &long);
    assert!(error.len() < 600 && !error.contains('\u{1b}'));
}

#[test]
fn contradictions_name_the_file_and_what_speaks_against_it() {
    let expect = |lines: &str, start: &str| {
        let error = broken("two-socket-smt", lines);
        assert!(
            error.starts_with(&format!("/sys/devices/system/{start}")),
            "{error}"
        );
    };
    expect(
        "cpu/cpu3/topology/core_cpus_list: 4-5",
        "cpu/cpu3/topology/core_cpus_list holds \"4-5\", but it is the list of CPU 3 itself",
    );
    expect(
        "cpu/cpu3/topology/core_cpus_list: 2-4",
        "cpu/cpu3/topology/core_cpus_list holds \"2-4\", but CPU 2 says that they are 2-3",
    );
    expect(
        "cpu/cpu3/topology/core_cpus_list: 3,17",
        "cpu/cpu3/topology/core_cpus_list holds \"3,17\", but CPUs 17 are not online",
    );
    expect(
        "cpu/cpu[0]/topology/core_cpus_list: 0",
        "cpu/cpu1/topology/core_cpus_list holds \"0-1\", but CPU 0 says that they are 0",
    );
    expect(
        "cpu/cpu5/cache/index3/shared_cpu_list: 0-5",
        "cpu/cpu5/cache/index3/shared_cpu_list holds \"0-5\", but CPU 0 says that it is shared by 0-7",
    );
    expect(
        "node/node1/cpulist: 7-15",
        "node/node1/cpulist holds \"7-15\", but CPU 7 is also in node 0",
    );
    expect(
        "node/node1/cpulist: 9-15",
        "cpu/online holds \"0-15\", but CPUs 8 are in none of the NUMA nodes",
    );
    expect(
        "node/node1/cpulist: 8-16",
        "node/node1/cpulist holds \"8-16\", but CPUs 16 are not online",
    );
    expect(
        "node/node1/distance: 21 10 9",
        "node/node1/distance holds \"21 10 9\", but there are 2 NUMA nodes",
    );
    let error = broken("two-socket-smt", "node/node1/distance: 5 10");
    assert!(
        error.contains("the distance from NUMA node 1 to 0 is 5, to itself 10"),
        "{error}"
    );
    let error = broken("two-socket-smt", "cpu/cpu1/topology/physical_package_id: 7");
    assert!(error.contains("CPUs 0 and 1 share core 0"), "{error}");
}

#[test]
fn a_capture_that_does_not_read_names_the_line() {
    let error = |text: &str| capture::machine(text).unwrap_err().to_string();
    assert_eq!(
        error("# comment\n\ncpu/online 0-3"),
        "line 3 is not `path: content`, such as `cpu/online: 0-3`"
    );
    for list in ["cpu/cpu[0-]/x: 1", "cpu/cpu[]/x: 1", "cpu/cpu[0/x: 1"] {
        assert!(error(list).starts_with("line 1: between [ and ]"), "{list}");
    }
    let many: String = (0..65).map(|n| format!("a{n}/[0-8191]: 1\n")).collect();
    assert_eq!(error(&many), "line 65: there are more than 524288 files");
}
