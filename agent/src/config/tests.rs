//! The default, and every way a file can be wrong.

use std::collections::BTreeSet;

use super::*;

fn problem(text: &str) -> (u64, u64, String) {
    let error = parse(text, "test.yaml").expect_err(text);
    (error.line, error.column, error.problem)
}

#[test]
fn the_shipped_file_is_the_default() {
    assert_eq!(parse(DEFAULT_FILE, "plimsoll.yaml"), Ok(Config::default()));
}

#[test]
fn the_shipped_file_names_every_field() {
    fn names(value: &serde_json::Value, prefix: &str, into: &mut BTreeSet<String>) {
        if let Some(object) = value.as_object() {
            for (key, value) in object {
                into.insert(format!("{prefix}{key}"));
                names(value, &format!("{prefix}{key}."), into);
            }
        }
    }
    let mut of_struct = BTreeSet::new();
    names(
        &serde_json::to_value(Config::default()).unwrap(),
        "",
        &mut of_struct,
    );
    let mut of_file = BTreeSet::new();
    names(&serde_saphyr::from_str(DEFAULT_FILE).unwrap(), "", &mut of_file);
    assert!(of_struct.len() > 25, "{of_struct:?}");
    assert_eq!(of_file, of_struct);
}

#[test]
fn printing_and_reading_gives_the_same_configuration() {
    let text = "nodeName: n1\nsystemReserved: {cpu: 500m}\nmetricsBindAddress: null\npodPidsLimit: 7\n\
                memoryThrottlingFactor: 0.25\ncontainerLogMaxSize: 64Ki\nreconcilePeriod: 1500ms\n";
    let config = parse(text, "test.yaml").unwrap();
    let printed = serde_saphyr::to_string(&config).unwrap();
    assert_eq!(parse(&printed, "printed.yaml"), Ok(config), "{printed}");
}

#[test]
fn a_file_without_values_is_the_default() {
    for text in ["", "\n\n", "# only a comment\n"] {
        assert_eq!(parse(text, "test.yaml"), Ok(Config::default()), "{text:?}");
    }
}

#[test]
fn an_unknown_field_is_refused_with_its_place_and_the_likely_one() {
    let (line, column, text) = problem("maxPods: 5\nsystemReservd: {cpu: 1}\n");
    assert_eq!((line, column), (2, 1));
    assert_eq!(
        text,
        "unknown field \"systemReservd\"; did you mean `systemReserved`?"
    );
    let (line, column, text) = problem("systemReserved:\n  disk: 1Gi\n");
    assert_eq!((line, column), (2, 3));
    assert!(text.contains("there is: cpu, memory, pid"), "{text}");
}

#[test]
fn a_wrong_value_is_refused_with_its_place_and_what_to_write() {
    for (text, at, part) in [
        ("a: 1\n", (1, 1), "unknown field"),
        ("cpuCFSQuota: perhaps\n", (1, 14), "bool"),
        (
            "cpuCFSQuotaPeriod: 2s\n",
            (1, 20),
            "cpuCFSQuotaPeriod is 2s: it must be 1ms to 1s",
        ),
        ("\nreconcilePeriod: 5\n", (2, 18), "number with a unit"),
        ("memoryThrottlingFactor: 1.5\n", (1, 25), "above 0 and at most 1"),
        ("memoryThrottlingFactor: .nan\n", (1, 25), ""),
        ("podPidsLimit: 0\n", (1, 15), "-1 (no limit) or at least 1"),
        ("maxPods: 0\n", (1, 10), "1 to 10000"),
        ("maxPods: -1\n", (1, 10), ""),
        (
            "memorySwap: {swapBehavior: Limitedswap}\n",
            (1, 28),
            "did you mean `LimitedSwap`?",
        ),
        ("cgroupRoot: ../../etc\n", (1, 13), "would leave the tree"),
        ("cgroupRoot: /\n", (1, 13), "a cgroup of its own"),
        ("stateDir: var/lib\n", (1, 11), "absolute path"),
        ("logDir: /var/../etc\n", (1, 9), "absolute path"),
        ("metricsBindAddress: localhost\n", (1, 21), ""),
        ("systemReserved: {memory: 1.5x}\n", (1, 26), "not a quantity"),
        ("systemReserved: {cpu: -1}\n", (1, 23), "must not be negative"),
        ("nodeName: Node_1\n", (1, 11), "nodeName \"Node_1\""),
        (
            "cgroupDriver: systemd\ncgroupDriver: cgroupfs\n",
            (2, 1),
            "duplicate",
        ),
        ("enforceNodeAllocatable: [none, pods]\n", (1, 1), "write [none]"),
        (
            "enforceNodeAllocatable: [system-reserved]\n",
            (1, 26),
            "there is: pods, none",
        ),
        ("cpuManagerPolicy: Static\n", (1, 19), "did you mean `static`?"),
        ("reservedSystemCPUs: 3-1\n", (1, 21), "3-1"),
        (
            "cpuManagerPolicyOptions: {full-pcpus: \"true\"}\n",
            (1, 27),
            "did you mean `full-pcpus-only`?",
        ),
        (
            "cpuManagerPolicyOptions:\n  align-by-socket: yes\n",
            (2, 20),
            "\"yes\" must be true or false",
        ),
        (
            "# cpuManagerPolicyOptions:\ncpuManagerPolicyOptions: {align-by-socket: true}\n",
            (2, 1),
            "cpuManagerPolicy none has no options",
        ),
        (
            "cpusetPartition: exclusive\n",
            (1, 18),
            "there is: none, root, isolated",
        ),
        (
            "maxPods: 5\ncpusetPartition: root\n",
            (2, 1),
            "cpusetPartition is for containers with CPUs of their own",
        ),
        (
            "cpuManagerPolicy: static\nreservedSystemCPUs: 0\ncpuManagerPolicyOptions:\n  full-pcpus-only: \"true\"\n  \
             distribute-cpus-across-cores: \"true\"\n",
            (5, 3),
            "full-pcpus-only and distribute-cpus-across-cores exclude each other",
        ),
        (
            "cpuManagerPolicy: static\nreservedSystemCPUs: 0\ntopologyManagerPolicy: single-numa-node\n\
             cpuManagerPolicyOptions: {align-by-socket: true}\n",
            (4, 27),
            "single-numa-node exclude each other",
        ),
        (
            "cpuManagerPolicyOptions: {}\ncpuManagerPolicy: static\n",
            (2, 1),
            "no CPU is reserved",
        ),
        (
            "topologyManagerPolicy: 1-node\n",
            (1, 24),
            "there is: none, best-effort, restricted, single-numa-node",
        ),
        ("topologyManagerScope: node\n", (1, 23), "container, pod"),
        (
            "topologyManagerPolicyOptions: {max-allowable-numa-nodes: 7}\n",
            (1, 58),
            "it must be a number from 8",
        ),
        ("memoryManagerPolicy: static\n", (1, 22), "did you mean `Static`?"),
        (
            "memoryManagerPolicy: Static\nreservedMemory: []\n",
            (1, 1),
            "reservedMemory keeps none",
        ),
        (
            "reservedMemory:\n- {numaNode: 0, limits: {memory: -1}}\n",
            (2, 34),
            "must not be negative",
        ),
        (
            "reservedMemory:\n- numaNode: 1\n  limits: {memory: 1Gi}\n- numaNode: 1\n  limits: {memory: 2Gi}\n",
            (1, 1),
            "names NUMA node 1 twice",
        ),
        ("maxPods: [\n", (1, 10), ""),
        ("- a\n- b\n", (1, 1), ""),
    ] {
        let (line, column, found) = problem(text);
        assert!(found.contains(part), "{text:?}: {found}");
        assert_eq!((line, column), at, "{text:?}: {found}");
    }
    let long = format!("adminSocket: /{}\n", "a".repeat(120));
    assert!(problem(&long).2.contains("shorter path"));
}

#[test]
fn managers_are_read_as_kubelet_writes_them() {
    let text = "cpuManagerPolicy: static\ncpuManagerPolicyOptions: {full-pcpus-only: \"true\", align-by-socket: \"false\"}\n\
                reservedSystemCPUs: 0-1,8\ntopologyManagerPolicy: restricted\ntopologyManagerScope: pod\n\
                topologyManagerPolicyOptions: {prefer-closest-numa-nodes: \"true\", max-allowable-numa-nodes: \"16\"}\n\
                memoryManagerPolicy: Static\nreservedMemory:\n- numaNode: 0\n  limits: {memory: 1Gi}\n";
    let config = parse(text, "test.yaml").unwrap();
    assert_eq!(config.cpu_manager_policy, CpuManagerPolicy::Static);
    let options = StaticOptions {
        full_pcpus_only: true,
        ..StaticOptions::default()
    };
    assert_eq!(config.cpu_manager_policy_options, options);
    assert_eq!(config.reserved_system_cpus.len(), 3);
    assert_eq!(config.topology_manager_policy, TopologyPolicy::Restricted);
    assert_eq!(config.topology_manager_policy_options.most_nodes, 16);
    assert!(config.topology_manager_policy_options.prefer_closest);
    assert_eq!(config.reserved_memory[0].limits.memory.value(), 1 << 30);
    let printed = serde_saphyr::to_string(&config).unwrap();
    assert_eq!(parse(&printed, "printed.yaml"), Ok(config), "{printed}");
}

#[test]
fn plain_numbers_are_quantities() {
    let config = parse("kubeReserved: {cpu: 2, memory: 1Gi, pid: 100}\n", "test.yaml").unwrap();
    assert_eq!(config.kube_reserved.cpu.milli_value(), 2000);
    assert_eq!(config.kube_reserved.memory.value(), 1 << 30);
}

#[test]
fn the_schema_names_every_field_and_forbids_others() {
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    let config = serde_json::to_value(Config::default()).unwrap();
    assert!(
        config
            .as_object()
            .unwrap()
            .keys()
            .all(|key| properties.contains_key(key))
    );
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn the_table_has_every_field_with_its_default_and_a_meaning() {
    let table = markdown_table();
    assert!(
        table.contains("| `memorySwap.swapBehavior` | `NoSwap` | Who may swap"),
        "{table}"
    );
    assert!(
        table.contains("| `enforceNodeAllocatable` | `[pods]` |"),
        "{table}"
    );
    assert!(table.contains("| `probes.stalls` | `true` |"), "{table}");
    for row in table.lines() {
        let cells: Vec<_> = row.split(" | ").collect();
        assert!(
            row.starts_with("|---") || (cells.len() == 3 && cells[2].len() > 3),
            "{row}"
        );
    }
}
