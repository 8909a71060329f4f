//! Plans of pods on captured machines, and every way to ask wrongly.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::cli::{DONE, FAILED, USAGE, captured, main};
use crate::config;
use crate::model::ProposedMove;
use crate::observe::{pods, supply};

const TWO_SOCKETS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/src/observe/cpu_topology/fixtures/two-socket-smt.sysfs"
);
const STATIC: &str = "nodeName: n1\ncpuManagerPolicy: static\nreservedSystemCPUs: \"0\"\n";

/// A pod whose container has these requests and limits.
fn manifest(name: &str, cpu: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n  - name: main\n    \
         command: [sleep, \"1\"]\n    resources: {{limits: {{cpu: \"{cpu}\", memory: 1Gi}}}}\n"
    )
}

fn planned(config: &str, manifests: &str) -> (PlacementReport, MachineCpus) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("pods.yaml"), manifests).unwrap();
    let supply = supply::captured(&captured(Path::new(TWO_SOCKETS)).unwrap()).unwrap();
    let set = pods::look(directory.path(), "n1").unwrap();
    let config = config::parse(config, "test.yaml").unwrap();
    let report = crate::runtime::plan(&config, &supply, &set).unwrap();
    (report, supply.cpus)
}

#[test]
fn the_text_has_pods_refusals_what_is_left_and_the_map() {
    let manifests = [
        manifest("db", "3"),
        manifest("huge", "1000"),
        manifest("small", "500m"),
    ]
    .concat();
    let (report, machine) = planned(STATIC, &manifests);
    assert!(!fits(&report));
    let cpus = report.pods[0].containers[0].cpus.clone().unwrap();
    assert_eq!(cpus.len(), 3);
    assert!(!report.shared.is_empty() && report.shared.is_disjoint(&cpus));
    let text = show(&report, &machine, false);
    let all = machine.topology.cpus().len();
    for part in [
        "default/db ".to_owned(),
        format!("exclusive  {cpus} "),
        "packed: ".to_owned(),
        format!(
            "refused: default/huge: OutOfcpu: Node didn't have enough resource: cpu, requested: 1000000, used: 3000, \
             capacity: {}\n",
            (all - 1) * 1000
        ),
        "it requests 500m CPU, which is no whole number of CPUs\n".to_owned(),
        format!(
            "allocatable: cpu {}m, memory not told by the capture",
            (all - 1) * 1000
        ),
        "reserved: 1 CPUs (0)\n".to_owned(),
        format!("shared pool: {} CPUs ({})\n", all - 3, report.shared),
        "\nA     default/db/main      3  ".to_owned(),
        "\nr     reserved             1  0\n".to_owned(),
    ] {
        assert!(text.contains(&part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn what_could_move_is_proposed_with_what_it_gains() {
    let (mut report, machine) = planned(STATIC, &manifest("db", "2"));
    assert_eq!(report.moves, []);
    let db = &report.pods[0];
    report.moves = vec![ProposedMove {
        namespace: db.namespace.clone(),
        pod: db.name.clone(),
        container: db.containers[0].name.clone(),
        from: CpuSet::parse("1,3").unwrap(),
        to: CpuSet::parse("1-2").unwrap(),
        free_nodes: 1,
        free_cores: 9,
    }];
    let text = show(&report, &machine, false);
    let line =
        "\ncould move: default/db/main from 1,3 to 1-2, then 1 NUMA nodes and 9 cores are free as a whole\n";
    assert!(text.contains(line), "{text}");
}

#[test]
fn the_tree_has_the_report_and_the_owners() {
    let (report, machine) = planned(STATIC, &manifest("db", "2"));
    assert!(fits(&report));
    let json = serde_json::to_value(tree(&report, &machine)).unwrap();
    let cpus = report.pods[0].containers[0].cpus.clone().unwrap();
    assert_eq!(json["pods"][0]["containers"][0]["cpus"], cpus.to_string());
    assert_eq!(json["pods"][0]["refusal"], serde_json::Value::Null);
    assert_eq!(json["allocatable"]["memory"], serde_json::Value::Null);
    let threads = json["machine"].to_string();
    assert_eq!(threads.matches("\"container\":\"default/db/main\"").count(), 2);
    assert_eq!(threads.matches("\"owner\":\"reserved\"").count(), 1);
}

/// Runs the program on these files; what is in `pods` and `config` is written first.
fn status(directory: &TempDir, topology: &str, pods: &str, config: &str) -> u8 {
    let at = |name: &str| directory.path().join(name);
    fs::write(at("pods.yaml"), pods).unwrap();
    fs::write(at("config.yaml"), config).unwrap();
    let words = ["plimsoll", "plan", "--topology", topology, "-o", "json", "-f"].map(OsString::from);
    let more = [
        at("pods.yaml").into(),
        "--config".into(),
        at("config.yaml").into(),
    ];
    main(words.into_iter().chain(more))
}

#[test]
fn the_exit_status_tells_what_became_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let good = manifest("a", "2");
    let strange = directory.path().join("strange.sysfs");
    fs::write(&strange, "this is no capture\n").unwrap();
    let strange = strange.to_str().unwrap();
    for (topology, pods, config, expected) in [
        (TWO_SOCKETS, good.as_str(), STATIC, DONE),
        ("live", &manifest("a", "1m").replace("1Gi", "1Mi"), "", DONE),
        (TWO_SOCKETS, &manifest("a", "1000"), STATIC, FAILED),
        (TWO_SOCKETS, "kind: Job\n", STATIC, FAILED),
        (TWO_SOCKETS, &good, "cpuManagerPolicy: static\n", USAGE),
        (TWO_SOCKETS, &good, "reservedSystemCPUs: 8000\n", USAGE),
        (
            TWO_SOCKETS,
            &good,
            "cpuManagerPolicyOptions: {full-cpus: true}\n",
            USAGE,
        ),
        (strange, &good, STATIC, USAGE),
        ("/absent/capture", &good, STATIC, USAGE),
    ] {
        assert_eq!(
            status(&directory, topology, pods, config),
            expected,
            "{topology} {pods} {config}"
        );
    }
    let absent = ["plimsoll", "plan", "-f", "/absent/pods"].map(OsString::from);
    assert_eq!(main(absent), USAGE);
    let no_pods = ["plimsoll", "plan"].map(OsString::from);
    assert_eq!(main(no_pods), USAGE);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_cpu_of_the_output_has_two_owners(
        sizes in prop::collection::vec(1_u32..12, 0..10),
        policy in prop::sample::select(vec!["none", "best-effort", "restricted", "single-numa-node"]),
    ) {
        let manifests: String = sizes
            .iter()
            .enumerate()
            .map(|(n, cpus)| manifest(&format!("p{n}"), &cpus.to_string()))
            .collect();
        let text = format!("{STATIC}topologyManagerPolicy: {policy}\n");
        let manifests = if sizes.is_empty() { manifest("none", "1m") } else { manifests };
        let (report, machine) = planned(&text, &manifests);
        let json = serde_json::to_value(tree(&report, &machine)).unwrap();
        let mut counts = std::collections::BTreeMap::new();
        let mut threads = Vec::new();
        for socket in json["machine"]["sockets"].as_array().unwrap() {
            for node in socket["numaNodes"].as_array().unwrap() {
                for cache in node["caches"].as_array().unwrap() {
                    let cores = cache["cores"].as_array().unwrap();
                    threads.extend(cores.iter().flat_map(|core| core.as_array().unwrap()));
                }
            }
        }
        for thread in threads {
            let seen = counts.insert(thread["cpu"].as_u64(), thread["container"].as_str());
            prop_assert!(seen.is_none(), "{thread} is there twice");
        }
        prop_assert_eq!(counts.len(), machine.topology.cpus().len());
        // What a container is told it gets is what the map says it owns: nobody else's name took it.
        for pod in &report.pods {
            let cpus = pod.containers.iter().filter_map(|container| container.cpus.as_ref());
            for cpu in cpus.flat_map(CpuSet::iter) {
                let owner = format!("default/{}/main", pod.name);
                let number = u64::try_from(cpu.index()).ok();
                prop_assert_eq!(counts.get(&number), Some(&Some(owner.as_str())));
            }
        }
    }
}
