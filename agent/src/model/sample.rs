//! A report with a value in every field, for tests of what is made from one.

use std::time::Duration;

use super::pressure::{
    Act, Barred, Conditions, DecisionRecord, Domain, Exhaustion, JournalReport, KernelChoice, KillTimes,
    Need, NodeFigures, Outcome, PressureReport, RankedPod, Rung, RungInForce, Signal, TermReport,
    ThresholdReport,
};
use super::{
    AgentCost, BootTime, Bytes, CgroupId, CgroupLimits, CgroupPath, CgroupReport, ContainerCpus,
    ContainerName, ContainerPhase, ContainerReport, CpuPeriod, CpuQuota, CpuSet, CpuUsage, CpuWeight,
    ForeignReport, GrantReport, Limit, MemoryUsage, MilliCpu, Namespace, NodeCpus, NodeReport, NumaCpus,
    OomScoreAdj, PodName, PodPhase, PodReport, PodUid, PressureTotals, ProbeReport, ProcessIdentity,
    QosClass,
};

/// A cgroup whose every figure is there.
#[must_use]
pub fn cgroup(path: &str) -> CgroupReport {
    CgroupReport {
        path: CgroupPath::parse(path).unwrap(),
        id: Some(CgroupId(7)),
        sampled_at: Some(Duration::from_secs(1_700_000_000)),
        limits: CgroupLimits {
            cpu_weight: Some(CpuWeight(100)),
            cpu_max: Some((Limit::At(CpuQuota(50_000)), CpuPeriod(100_000))),
            memory_min: Some(Limit::At(Bytes(0))),
            memory_low: Some(Limit::At(Bytes::mib(16))),
            memory_high: Some(Limit::At(Bytes::mib(20))),
            memory_max: Some(Limit::At(Bytes::mib(24))),
            swap_max: Some(Limit::At(Bytes::mib(1))),
            pids_max: Some(Limit::At(100)),
        },
        cpu: Some(CpuUsage {
            total: Duration::from_millis(1500),
            rate: Some(MilliCpu(250)),
            run_delay: Some(Duration::from_millis(30)),
            run_delay_count: Some(10),
            run_delay_histogram: Some([1; 16]),
            throttled: Some(Duration::from_millis(250)),
            user: Some(Duration::from_secs(1)),
            system: Some(Duration::from_millis(500)),
            periods: Some(100),
            throttled_periods: Some(3),
        }),
        memory: Some(MemoryUsage {
            current: Bytes::mib(20),
            working_set: Bytes::mib(12),
            peak: Some(Bytes::mib(30)),
            swap: Some(Bytes(0)),
            anon: Some(Bytes::mib(8)),
            file: Some(Bytes::mib(10)),
            shmem: Some(Bytes(0)),
            slab: Some(Bytes::mib(1)),
            mapped_file: Some(Bytes::mib(2)),
            page_faults: Some(1000),
            major_page_faults: Some(2),
            oom_kills: 1,
            stalled: Some(Duration::from_millis(5)),
            ..MemoryUsage::default()
        }),
        tasks: Some(4),
        pressure: Some(PressureTotals::default()),
    }
}

/// A Burstable pod of the namespace `shop` with one container, `main`.
#[must_use]
pub fn pod(name: &str, image: &str) -> PodReport {
    let uid = format!("uid-{name}");
    let path = format!("burstable/pod{uid}");
    PodReport {
        uid: PodUid::parse(&uid).unwrap(),
        namespace: Namespace::parse("shop").unwrap(),
        name: PodName::parse(name).unwrap(),
        qos: QosClass::Burstable,
        phase: PodPhase::Running,
        reason: None,
        message: None,
        cgroup: cgroup(&path),
        containers: vec![ContainerReport {
            name: ContainerName::parse("main").unwrap(),
            phase: ContainerPhase::Running {
                process: ProcessIdentity {
                    pid: 42,
                    start_ticks: 1,
                },
                adopted: false,
            },
            restarts: 2,
            image: Some(image.to_owned()),
            started_at: Some(Duration::from_secs(1_600_000_000)),
            oom_score_adj: OomScoreAdj(-998),
            cgroup: cgroup(&format!("{path}/main")),
            cpus: None,
            log_path: None,
        }],
    }
}

/// A node with these pods and one probe.
#[must_use]
pub fn report(pods: Vec<PodReport>) -> NodeReport {
    NodeReport {
        cpus: None,
        allocatable_cpu: MilliCpu(3800),
        allocatable_memory: Bytes::mib(14_000),
        agent: AgentCost {
            resident: Bytes::mib(12),
            open_fds: 9,
            ..AgentCost::default()
        },
        version: "0.1.0".to_owned(),
        node_name: "n1".to_owned(),
        root: "/plimsoll".to_owned(),
        pods,
        probes: vec![ProbeReport {
            name: "cpu".to_owned(),
            attached: true,
            reason: None,
        }],
        ..NodeReport::default()
    }
}

/// A decision of this number to kill `shop/hog`, which freed what it should have.
#[must_use]
pub fn decision_record(number: u64) -> DecisionRecord {
    let at = |millis: u64| BootTime(Duration::from_millis(50_000 + millis));
    DecisionRecord {
        number,
        wall: Duration::from_secs(1_700_000_000 + number),
        need: Need {
            domain: Domain::Node,
            signal: Some(Signal::MemoryAvailable),
            observed: Bytes::mib(60).0,
            threshold: Bytes::mib(100).0,
            deficit: Bytes::mib(140),
            exhausted_in: Some(Duration::from_millis(700)),
            stalled: Duration::from_millis(12),
        },
        act: Some(Act::Kill { pod: 1 }),
        rung: Some(Rung::Kill),
        pod: Some(identity("hog")),
        why: "memory.available is 60.0Mi, below 100Mi; hog has 700Mi above its request".to_owned(),
        times: KillTimes {
            onset: Some(at(0)),
            woken: at(1),
            read: at(3),
            decided: at(4),
            signalled: Some(at(5)),
            empty: Some(at(45)),
            freed: Some(at(52)),
        },
        outcome: Outcome::Relieved {
            freed: Bytes::mib(690),
        },
    }
}

fn identity(name: &str) -> (PodUid, Namespace, PodName) {
    let pod = pod(name, "i");
    (pod.uid, pod.namespace, pod.name)
}

/// A pod in the order of victims, so much above a request of nothing.
#[must_use]
pub fn ranked_pod(name: &str, charge: Bytes, barred: Option<Barred>) -> RankedPod {
    let (uid, namespace, name) = identity(name);
    let term = |name: &str, value| TermReport {
        name: name.to_owned(),
        value,
    };
    RankedPod {
        uid,
        namespace,
        name,
        class: QosClass::BestEffort,
        priority: 0,
        request: Bytes(0),
        charge,
        freeable: charge,
        barred,
        exhaustion: Exhaustion::default(),
        terms: vec![
            term("overRequest", 1.0),
            term("priority", 0.0),
            term("urgency", 1.5 * charge.0 as f64),
            term("charge", charge.0 as f64),
            term("excess", charge.0 as f64),
            term("growth", 20_971_520.0),
            term("confidence", 0.75),
            term("freeable", charge.0 as f64),
        ],
    }
}

/// Memory is short: `shop/hog` would go first, and the kernel would take it too.
#[must_use]
pub fn pressure() -> PressureReport {
    let (uid, namespace, name) = identity("hog");
    let shielded = ranked_pod("web-0", Bytes::mib(300), Some(Barred::Shielded));
    PressureReport {
        profile: "plimsoll".to_owned(),
        oom_priority: "bands".to_owned(),
        dry_run: false,
        conditions: Conditions {
            memory: true,
            ..Conditions::default()
        },
        figures: NodeFigures {
            at: BootTime(Duration::from_secs(60)),
            capacity: Bytes::mib(1024),
            available: Bytes::mib(60),
            kswapd_wakes: 7,
            direct_reclaims: 3,
            ..NodeFigures::default()
        },
        need: Some(decision_record(0).need),
        exhaustion: Exhaustion {
            after: Some(Duration::from_millis(700)),
            confidence: 0.75,
        },
        exhaustion_by_class: vec![(
            QosClass::BestEffort,
            Exhaustion {
                after: Some(Duration::from_millis(900)),
                confidence: 0.5,
            },
        )],
        thresholds: vec![ThresholdReport {
            signal: Signal::MemoryAvailable,
            grace: Duration::ZERO,
            at: Bytes::mib(100).0,
            observed: Some(Bytes::mib(60).0),
            met_since: Some(BootTime(Duration::from_secs(59))),
        }],
        order: vec![ranked_pod("hog", Bytes::mib(700), None), shielded],
        kernel: Some(KernelChoice {
            pid: 4242,
            container: Some((
                uid.clone(),
                namespace.clone(),
                name.clone(),
                ContainerName::parse("main").unwrap(),
            )),
            comm: "hog".to_owned(),
            oom_score_adj: OomScoreAdj(1000),
            badness: 180_000,
            agrees: Some(true),
        }),
        in_force: vec![RungInForce {
            rung: Rung::Throttle,
            pod: Some((uid, namespace, name)),
            since: BootTime(Duration::from_secs(58)),
        }],
        alarms: vec![("memory_events".to_owned(), 5), ("psi".to_owned(), 4)],
        decisions: vec![decision_record(1), decision_record(2)],
        journal: JournalReport {
            path: "/var/lib/plimsoll/journal".to_owned(),
            problem: None,
            written: 4,
            lost: 1,
            size: Bytes::mib(1),
        },
    }
}

/// A Guaranteed pod of the namespace `shop` whose container `main` has these CPUs to itself: others' tasks used 0.02 % of
/// them, the kernel 0.1 %.
#[must_use]
pub fn exclusive_pod(name: &str, cpus: &str) -> PodReport {
    let own = CpuSet::parse(cpus).unwrap();
    let mut pod = pod(name, "i");
    pod.qos = QosClass::Guaranteed;
    pod.containers[0].cpus = Some(ContainerCpus {
        partition: None,
        has: Some(own.clone()),
        memory_nodes: Some(vec![0]),
        why: format!("packed: whole cores {own}"),
        grant: Some(GrantReport {
            granted_at: Duration::from_secs(1_600_000_000),
            clean_after: Some(Duration::from_micros(1200)),
            foreign: Some(ForeignReport {
                window: Duration::from_secs(1000),
                pods: Duration::from_millis(50),
                system: Duration::from_millis(150),
                kernel_threads: Duration::from_millis(700),
                irq: Duration::from_millis(100),
                softirq: Duration::from_millis(200),
            }),
        }),
        own: Some(own),
    });
    pod
}

/// The same node with eight CPUs, the upper half in a NUMA node of its own: 0 is reserved, and containers of these pods
/// have what they say; those that say nothing share.
#[must_use]
pub fn exclusive_report(mut pods: Vec<PodReport>) -> NodeReport {
    let set = |list| CpuSet::parse(list).unwrap();
    let reserved = set("0");
    let mut exclusive = CpuSet::EMPTY;
    let containers = || pods.iter().flat_map(|pod| &pod.containers);
    for own in containers().filter_map(|c| c.cpus.as_ref()?.own.as_ref()) {
        exclusive |= own;
    }
    let shared = &set("0-7") - &exclusive;
    for container in pods.iter_mut().flat_map(|pod| &mut pod.containers) {
        container.cpus.get_or_insert_with(|| ContainerCpus {
            has: Some(shared.clone()),
            why: "shared: asks for no whole CPUs".to_owned(),
            ..ContainerCpus::default()
        });
    }
    let node = |node, cpus: &CpuSet| NumaCpus {
        node,
        shared: &(&shared & cpus) - &reserved,
        reserved: &reserved & cpus,
        exclusive: &exclusive & cpus,
    };
    let threads = [("kworker", 300), ("migration", 200)];
    NodeReport {
        cpus: Some(NodeCpus {
            by_node: vec![node(0, &set("0-3")), node(1, &set("4-7"))],
            kernel_threads: threads
                .map(|(name, millis)| (name.to_owned(), Duration::from_millis(millis)))
                .to_vec(),
            changes: Vec::new(),
            shared,
            reserved,
            exclusive,
        }),
        ..report(pods)
    }
}
