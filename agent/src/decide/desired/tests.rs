//! Whole trees, value by value.

use super::*;
use crate::decide::fixtures::{all_controllers, container, list, node, pod, resources, simple};
use crate::decide::policy::{AgentShare, MemoryQosMode, Reserved, SwapBehavior};
use crate::model::{ContainerName, MilliCpu, OOM_GROUP_ANNOTATION};

const MIB: u64 = 1 << 20;

fn tree(pods: &[Pod], policy: &PlacementPolicy, lifted: &[&str]) -> DesiredTree {
    let pods: Vec<_> = pods.iter().collect();
    let lifted = lifted
        .iter()
        .map(|text| CgroupPath::parse(text).unwrap())
        .collect();
    desired_tree(&Inputs {
        pods: &pods,
        node: &node(),
        policy,
        available: &all_controllers(),
        lifted: &lifted,
        cpusets: &Cpusets::default(),
    })
}

/// The values of one cgroup that differ from the kernel's defaults, as `file=value`.
fn values(tree: &DesiredTree, path: &str) -> Vec<String> {
    let cgroup = &tree.cgroups[&CgroupPath::parse(path).unwrap()];
    let changed = cgroup.knobs.iter().filter(|(file, value)| {
        let default = KnobValue::kernel_default(**file).unwrap();
        !value.accepts(default)
    });
    changed.map(|(file, value)| format!("{file}={value}")).collect()
}

/// One pod of each class: 1 CPU and 1 GiB guaranteed; 500m and 512 MiB up to 2 GiB; nothing.
fn three() -> [Pod; 3] {
    [
        simple("g", "cpu=1 memory=1Gi", "cpu=1 memory=1Gi"),
        simple("b", "cpu=500m memory=512Mi", "memory=2Gi"),
        simple("e", "", ""),
    ]
}

#[test]
fn every_level_has_its_values() {
    let policy = PlacementPolicy {
        system_reserved: Reserved {
            cpu: MilliCpu(500),
            memory: Bytes::mib(256),
            pids: 768,
        },
        pod_pids_limit: Some(1000),
        agent: Some(AgentShare {
            cpu: MilliCpu(250),
            memory: Bytes::mib(32),
        }),
        ..PlacementPolicy::default()
    };
    let tree = tree(&three(), &policy, &[]);
    let no_huge_pages = ["hugetlb.2MB.max=0", "hugetlb.2MB.rsvd.max=0"];
    let expect = |path: &str, expected: &[String]| assert_eq!(values(&tree, path), expected, "{path}");
    let all = |own: &[String], more: &[&str]| -> Vec<String> {
        own.iter()
            .cloned()
            .chain(more.iter().map(|&s| s.to_owned()))
            .collect()
    };

    expect(
        "",
        &all(
            &[
                "cpu.weight=137".to_owned(),
                format!("memory.min={}", 1056 * MIB),
                format!("memory.low={}", 512 * MIB),
                // The tripwire of all pods.
                format!("memory.high={}", (8192 - 256 + 32 - 100) * MIB),
                format!("memory.max={}", (8192 - 256 + 32) * MIB),
                "pids.max=32000".to_owned(),
            ],
            &["hugetlb.2MB.max=67108864", "hugetlb.2MB.rsvd.max=67108864"],
        ),
    );
    expect(
        "agent",
        &["cpu.weight=10".to_owned(), format!("memory.min={}", 32 * MIB)],
    );
    expect(
        "burstable",
        &["cpu.weight=20".to_owned(), format!("memory.low={}", 512 * MIB)],
    );
    expect("besteffort", &["cpu.weight=1".to_owned()]);

    expect(
        "poduid-g",
        &all(
            &[
                "cpu.weight=39".to_owned(),
                "cpu.max=100000 100000".to_owned(),
                format!("memory.min={}", 1024 * MIB),
                format!("memory.max={}", 1024 * MIB),
                "pids.max=1000".to_owned(),
            ],
            &no_huge_pages,
        ),
    );
    expect(
        "poduid-g/main",
        &all(
            &[
                "cpu.max=100000 100000".to_owned(),
                format!("memory.min={}", 1024 * MIB),
                format!("memory.max={}", 1024 * MIB),
                "memory.oom.group=1".to_owned(),
                "memory.swap.max=0".to_owned(),
            ],
            &no_huge_pages,
        ),
    );
    expect(
        "burstable/poduid-b/main",
        &all(
            &[
                "cpu.weight=59".to_owned(),
                format!("memory.low={}", 512 * MIB),
                format!("memory.high={}", (2048 - 320) * MIB),
                format!("memory.max={}", 2048 * MIB),
                "memory.oom.group=1".to_owned(),
                "memory.swap.max=0".to_owned(),
            ],
            &no_huge_pages,
        ),
    );
    expect(
        "besteffort/poduid-e/main",
        &all(
            &[
                "cpu.weight=1".to_owned(),
                "memory.oom.group=1".to_owned(),
                "memory.swap.max=0".to_owned(),
            ],
            &no_huge_pages,
        ),
    );
}

fn knob(tree: &DesiredTree, path: &str, file: ControlFile) -> String {
    tree.cgroups[&CgroupPath::parse(path).unwrap()].knobs[&file].to_string()
}

#[test]
fn kubelets_own_memory_qos_leaves_the_root_without_best_effort_protection() {
    let mut policy = PlacementPolicy {
        agent: None,
        ..PlacementPolicy::default()
    };
    policy.memory_qos.mode = MemoryQosMode::Kubelet;
    let tree = tree(&three(), &policy, &[]);
    assert_eq!(knob(&tree, "", ControlFile::MemoryMin), (1536 * MIB).to_string());
    assert_eq!(knob(&tree, "", ControlFile::MemoryLow), "0");
    assert_eq!(
        knob(&tree, "burstable", ControlFile::MemoryLow),
        (512 * MIB).to_string()
    );
    let high = (512.0 + 0.9 * 1536.0) * 256.0;
    assert_eq!(
        knob(&tree, "burstable/poduid-b/main", ControlFile::MemoryHigh),
        format!("{:.0}", f64::floor(high) * 4096.0)
    );
    assert!(!tree.cgroups.contains_key(&CgroupPath::parse("agent").unwrap()));
}

#[test]
fn a_tripwire_that_nobody_answered_is_lifted() {
    let main = "burstable/poduid-b/main";
    let tree = tree(&three(), &PlacementPolicy::default(), &[main]);
    assert_eq!(knob(&tree, main, ControlFile::MemoryHigh), "max");
    assert_ne!(knob(&tree, "burstable/poduid-b", ControlFile::MemoryHigh), "max");
}

#[test]
fn a_container_without_limits_of_its_own_lives_by_its_pods() {
    let mut shared = pod(
        "s",
        vec![container("a", "", ""), container("b", "cpu=100m", "cpu=200m")],
    );
    shared.resources = Some(resources("cpu=1 memory=1Gi", "cpu=2 memory=1Gi"));
    shared.overhead = list("memory=16Mi");
    let tree = tree(&[shared], &PlacementPolicy::default(), &[]);
    let knob = |path: &str, file| knob(&tree, &format!("burstable/poduid-s{path}"), file);
    assert_eq!(knob("", ControlFile::MemoryMax), (1040 * MIB).to_string());
    assert_eq!(knob("/a", ControlFile::MemoryMax), (1024 * MIB).to_string());
    assert_eq!(knob("/a", ControlFile::CpuMax), "200000 100000");
    assert_eq!(knob("/a", ControlFile::CpuWeight), "174");
    assert_eq!(knob("/b", ControlFile::CpuMax), "20000 100000");
    assert_eq!(knob("/b", ControlFile::CpuWeight), "17");
}

#[test]
fn swap_goes_with_the_request_of_those_who_may_use_more() {
    let policy = PlacementPolicy {
        swap_behavior: SwapBehavior::LimitedSwap,
        ..PlacementPolicy::default()
    };
    let mut critical = simple("c", "memory=512Mi", "");
    critical.is_static = true;
    let exact = simple("x", "memory=512Mi", "memory=512Mi");
    let [guaranteed, burstable, best_effort] = three();
    let tree = tree(
        &[guaranteed, burstable, best_effort, critical, exact],
        &policy,
        &[],
    );
    let swap = |path| knob(&tree, path, ControlFile::MemorySwapMax);
    assert_eq!(swap("burstable/poduid-b/main"), (64 * MIB).to_string());
    for path in [
        "poduid-g/main",
        "besteffort/poduid-e/main",
        "burstable/poduid-c/main",
        "burstable/poduid-x/main",
    ] {
        assert_eq!(swap(path), "0", "{path}");
    }
}

#[test]
fn a_pod_may_choose_how_the_oom_killer_takes_it() {
    let mut choosy = simple("c", "", "");
    for (annotation, node_wide, expected) in [
        ("true", true, "1"),
        ("false", false, "0"),
        ("maybe", false, "1"),
        ("maybe", true, "0"),
    ] {
        choosy
            .annotations
            .insert(OOM_GROUP_ANNOTATION.to_owned(), annotation.to_owned());
        let policy = PlacementPolicy {
            single_process_oom_kill: node_wide,
            ..PlacementPolicy::default()
        };
        let tree = tree(std::slice::from_ref(&choosy), &policy, &[]);
        assert_eq!(
            knob(&tree, "besteffort/poduid-c/main", ControlFile::MemoryOomGroup),
            expected
        );
    }
}

#[test]
fn a_containers_own_word_on_the_oom_killer_goes_before_its_pods() {
    let mut choosy = simple("c", "", "");
    let mut other = choosy.containers[0].clone();
    other.name = ContainerName::parse("other").unwrap();
    choosy.containers.push(other);
    for (key, value) in [
        ("plimsoll.dev/oom-group.main", "false"),
        (OOM_GROUP_ANNOTATION, "true"),
    ] {
        choosy.annotations.insert(key.to_owned(), value.to_owned());
        let policy = PlacementPolicy {
            single_process_oom_kill: key == OOM_GROUP_ANNOTATION,
            ..PlacementPolicy::default()
        };
        let tree = tree(std::slice::from_ref(&choosy), &policy, &[]);
        for (container, expected) in [("main", "0"), ("other", "1")] {
            let path = format!("besteffort/poduid-c/{container}");
            assert_eq!(knob(&tree, &path, ControlFile::MemoryOomGroup), expected, "{key}");
        }
    }
}

#[test]
fn quotas_can_be_turned_off() {
    let policy = PlacementPolicy {
        cpu_cfs_quota: false,
        ..PlacementPolicy::default()
    };
    let tree = tree(&three(), &policy, &[]);
    for path in ["poduid-g", "poduid-g/main"] {
        assert_eq!(knob(&tree, path, ControlFile::CpuMax), "max 100000");
    }
}

#[test]
fn huge_pages_are_limited_to_whole_ones() {
    let tree = tree(
        &[simple("h", "cpu=1 hugepages-2Mi=5Mi", "hugepages-2Mi=5Mi")],
        &PlacementPolicy::default(),
        &[],
    );
    let file = ControlFile::HugetlbMax(HugePageSize(2 << 20));
    for path in ["burstable/poduid-h", "burstable/poduid-h/main"] {
        assert_eq!(knob(&tree, path, file), (4 * MIB).to_string());
    }
}
