//! What is refused and why, and who gets what in a pod.

use std::collections::BTreeMap;

use super::{Admitted, CpuRefusal, Explanation, Grant, Reservation, StaticOptions, StaticPolicy, reason};
use crate::decide::fixtures::{container, cpu_of, init, pod, simple};
use crate::decide::numa::admit::Refused;
use crate::decide::numa::{NumaNodes, TopologyManager, TopologyPolicy, TopologyScope};
use crate::model::{ContainerKind, CpuRecord, CpuSet, MilliCpu, Pod, PodUid, Shape, Topology};

/// Two sockets of two nodes of four cores: 32 CPUs, siblings 16 apart.
const SHAPE: Shape = Shape {
    sockets: 2,
    nodes: 2,
    l3s: 1,
    cores: 4,
    threads: 2,
};

fn set(list: &str) -> CpuSet {
    CpuSet::parse(list).unwrap()
}

fn options(names: &str) -> StaticOptions {
    parse(names).unwrap()
}

fn parse(names: &str) -> Result<StaticOptions, String> {
    let options: BTreeMap<_, _> = names
        .split_whitespace()
        .map(|option| option.split_once('=').unwrap_or((option, "true")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    StaticOptions::parse(&options).map_err(|error| error.to_string())
}

fn policy(topology: Topology, names: &str, reserved: &str) -> (StaticPolicy, TopologyManager) {
    let manager = TopologyManager {
        policy: TopologyPolicy::BestEffort,
        scope: TopologyScope::Container,
        prefer_closest: false,
        nodes: NumaNodes::of(&topology),
    };
    let reservation = Reservation::Cpus(set(reserved));
    let policy = StaticPolicy::new(topology, options(names), &reservation, manager.policy);
    (policy.unwrap(), manager)
}

fn asks(cpus: usize) -> String {
    format!("cpu={cpus} memory=64Mi")
}

fn one(cpus: usize) -> Pod {
    simple("one", &asks(cpus), &asks(cpus))
}

fn granted(grants: &[Grant]) -> Vec<(&str, String)> {
    let shown = grants
        .iter()
        .map(|grant| (grant.container.as_str(), grant.cpus.to_string()));
    shown.collect()
}

#[test]
fn options_that_cannot_be_are_refused() {
    for (names, error) in [
        (
            "full-pcpus",
            "unknown CPU manager option \"full-pcpus\": it is one of full-pcpus-only, ",
        ),
        (
            "align-by-socket=yes",
            "option align-by-socket is \"yes\": it must be true or false",
        ),
        (
            "full-pcpus-only distribute-cpus-across-cores",
            "full-pcpus-only and distribute-cpus-across-cores exclude each other",
        ),
        (
            "distribute-cpus-across-numa distribute-cpus-across-cores",
            "distribute-cpus-across-numa and distribute-cpus-across-cores exclude",
        ),
        (
            "prefer-align-cpus-by-uncorecache distribute-cpus-across-cores",
            "prefer-align-cpus-by-uncorecache and distribute-cpus-across-cores exclude",
        ),
        (
            "prefer-align-cpus-by-uncorecache distribute-cpus-across-numa",
            "prefer-align-cpus-by-uncorecache and distribute-cpus-across-numa exclude",
        ),
        ("strict-full-pcpus", "strict-full-pcpus needs full-pcpus-only"),
    ] {
        let refused = parse(names).unwrap_err();
        assert!(refused.contains(error), "{names}: {refused}");
    }
    assert_eq!(
        parse("align-by-socket full-pcpus-only=false").unwrap(),
        StaticOptions {
            align_by_socket: true,
            ..StaticOptions::default()
        }
    );
}

#[test]
fn options_must_fit_the_machine() {
    let by_socket = options("align-by-socket");
    let on = |topology: &Topology, policy| {
        by_socket
            .check_on(topology, policy)
            .map_err(|error| error.to_string())
    };
    let four = SHAPE.build();
    assert_eq!(on(&four, TopologyPolicy::Restricted), Ok(()));
    assert!(
        on(&four, TopologyPolicy::SingleNumaNode)
            .unwrap_err()
            .contains("single-numa-node")
    );
    // Two sockets in one node.
    let records = four
        .records()
        .iter()
        .map(|record| CpuRecord { numa: 0, ..*record });
    let one = Topology::new(records, []).unwrap();
    let refused = on(&one, TopologyPolicy::None).unwrap_err();
    assert!(
        refused.contains("more sockets (2) than NUMA nodes (1)"),
        "{refused}"
    );
}

#[test]
fn reservations_that_cannot_be_are_refused_with_the_numbers() {
    let make = |reservation| {
        let policy = StaticPolicy::new(
            SHAPE.build(),
            StaticOptions::default(),
            &reservation,
            TopologyPolicy::None,
        );
        policy
            .map(|policy| policy.reserved().to_string())
            .map_err(|error| error.to_string())
    };
    assert_eq!(make(Reservation::Count(3)), Ok("0-1,16".to_owned()));
    assert_eq!(
        make(Reservation::Cpus(set("31-33"))),
        Err("reserved CPUs 32-33 do not exist; the machine has 0-31".to_owned())
    );
    for all in [Reservation::Count(32), Reservation::Cpus(set("0-31"))] {
        let refused = make(all).unwrap_err();
        assert_eq!(
            refused,
            "32 of 32 CPUs are reserved; at least one must be left for pods"
        );
    }
    assert_eq!(
        Reservation::new(&set(""), MilliCpu(1001)),
        Ok(Reservation::Count(2))
    );
    assert_eq!(
        Reservation::new(&set("3-4"), MilliCpu(1001)),
        Ok(Reservation::Cpus(set("3-4")))
    );
    assert_eq!(
        Reservation::new(&set("3-5"), MilliCpu(1001))
            .unwrap_err()
            .to_string(),
        "3 CPUs are reserved by list, but the reserved amounts of CPU make 2"
    );
}

#[test]
fn reserved_cpus_are_shared_unless_strict() {
    let (lenient, _) = policy(SHAPE.build(), "", "0-1");
    assert_eq!(lenient.start().shared().to_string(), "0-31");
    let (strict, _) = policy(SHAPE.build(), "strict-cpu-reservation", "0-1");
    assert_eq!(strict.start().shared().to_string(), "2-31");
}

#[test]
fn init_cpus_are_used_again_and_a_sidecars_are_not() {
    let (policy, manager) = policy(SHAPE.build(), "", "0,16");
    let mut pod = pod(
        "p",
        vec![
            container("a", &asks(2), &asks(2)),
            container("b", &asks(2), &asks(2)),
        ],
    );
    pod.init_containers = vec![
        init("first", ContainerKind::Init, &asks(4), &asks(4)),
        init("side", ContainerKind::Sidecar, &asks(2), &asks(2)),
        init("last", ContainerKind::Init, &asks(4), &asks(4)),
    ];
    let mut assignments = policy.start();
    let admitted = policy.admit(&manager, &assignments, &pod).unwrap();
    assert_eq!(
        granted(&admitted.grants),
        [
            ("first", "1-2,17-18".to_owned()),
            ("side", "1,17".to_owned()),
            ("last", "2-3,18-19".to_owned()),
            ("a", "2,18".to_owned()),
            ("b", "3,19".to_owned()),
        ]
    );
    assignments = admitted.applied(&assignments).unwrap();
    assert_eq!(assignments.shared(), &admitted.shared);
    // Seen again, it keeps what it has.
    let again = policy.admit(&manager, &assignments, &pod).unwrap();
    assert!(again.grants.iter().all(|grant| grant.why == Explanation::Kept));
    assert_eq!(
        (granted(&again.grants), &again.shared),
        (granted(&admitted.grants), &admitted.shared)
    );
    // What was decided before somebody else came is refused.
    let late = Admitted {
        pod: PodUid::parse("late").unwrap(),
        ..admitted
    };
    assert_eq!(
        late.applied(&assignments).unwrap_err().cpus.to_string(),
        "1-2,17-18"
    );
    assignments.release(&pod.uid);
    assert_eq!(assignments, policy.start());
}

#[test]
fn refusals_say_how_many_and_carry_kubelets_reason() {
    let (policy, manager) = policy(SHAPE.build(), "full-pcpus-only", "0-2");
    let refused = |cpus| {
        let refused = policy.admit(&manager, &policy.start(), &one(cpus)).unwrap_err();
        (reason(&refused), refused.to_string())
    };
    let smt = "SMTAlignmentError";
    assert_eq!(
        refused(3),
        (
            smt,
            "3 CPUs are wanted, which is no multiple of the 2 threads of a core".to_owned()
        )
    );
    assert_eq!(
        refused(28),
        (
            smt,
            "28 CPUs are wanted, 26 are free in cores without reserved CPUs".to_owned()
        )
    );
    let (lenient, manager) = self::policy(SHAPE.build(), "", "0-2");
    let refused = lenient.admit(&manager, &lenient.start(), &one(30)).unwrap_err();
    assert_eq!(
        (reason(&refused), refused.to_string().as_str()),
        ("UnexpectedAdmissionError", "30 CPUs are wanted, 29 are free")
    );
    let strict = TopologyManager {
        policy: TopologyPolicy::SingleNumaNode,
        ..manager
    };
    let refused = lenient.admit(&strict, &lenient.start(), &one(9)).unwrap_err();
    assert_eq!(reason(&refused), "TopologyAffinityError");
}

#[test]
fn strict_full_pcpus_gives_whole_cores_where_kubelet_splits_them() {
    // Three reserved threads on node 0: 2 and 3 are whole there, 0, 1 half, and 5 threads free.
    let reserved = "0-1";
    let (kubelet, manager) = policy(SHAPE.build(), "full-pcpus-only", reserved);
    let admitted = kubelet.admit(&manager, &kubelet.start(), &one(6)).unwrap();
    assert_eq!(admitted.grants[0].cpus.to_string(), "2-3,16-19");
    let (ours, manager) = policy(SHAPE.build(), "full-pcpus-only strict-full-pcpus", reserved);
    let admitted = ours.admit(&manager, &ours.start(), &one(6)).unwrap();
    assert_eq!(admitted.grants[0].cpus.to_string(), "2-4,18-20");
    assert!(
        admitted.grants[0]
            .why
            .to_string()
            .ends_with("the first choice split some")
    );
}

#[test]
fn on_a_hybrid_machine_full_pcpus_only_never_splits_a_core() {
    // Three cores of two threads and three of one, as where a machine has large and small ones.
    let cores = [0, 0, 2, 2, 4, 4, 6, 7, 8];
    let cpus = cores.into_iter().zip(0..).map(|(core, cpu)| cpu_of(core, cpu));
    let hybrid = Topology::new(cpus, []).unwrap();
    let admit = |reserved, count| {
        let (policy, manager) = policy(hybrid.clone(), "full-pcpus-only", reserved);
        let admitted = policy.admit(&manager, &policy.start(), &one(count));
        admitted
            .map(|admitted| admitted.grants[0].cpus.to_string())
            .map_err(|refused| match refused {
                Refused::Allocation { refusal, .. } => refusal,
                Refused::Affinity { merged, .. } => panic!("{merged}"),
            })
    };
    // Packed, the small ones would go first and a large one be split for the fourth CPU.
    assert_eq!(admit("", 4), Ok("0-3".to_owned()));
    assert_eq!(admit("0", 6), Ok("2-7".to_owned()));
    assert_eq!(admit("7-8", 6), Ok("0-5".to_owned()));
    // One thread of each large core is reserved: three small ones are left.
    assert_eq!(admit("0,2,4", 2), Ok("6-7".to_owned()));
    assert_eq!(
        admit("6-8", 8),
        Err(CpuRefusal::TooFewWholeCores { wanted: 8, free: 6 })
    );
}

#[test]
fn a_choice_is_explained_with_its_numbers() {
    let (policy, manager) = policy(SHAPE.build(), "", "0,16");
    let admitted = policy.admit(&manager, &policy.start(), &one(9)).unwrap();
    assert_eq!(
        admitted.grants[0].why.to_string(),
        "packed: NUMA node 4-7,20-23, threads 1; 30 were free (6, 8, 8, 8 by NUMA node); \
         9 of 9 aligned to NUMA nodes {0-1}"
    );
}
