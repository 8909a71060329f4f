//! One case for each way in which what is known may not agree.

use super::*;
use crate::decide::cpu::{Reservation, StaticOptions, WhyShared};
use crate::decide::fixtures::two_nodes;
use crate::decide::numa::TopologyPolicy;
use crate::model::CpuRecord;
use crate::state::cpus::checkpoint::Pin;

fn set(list: &str) -> CpuSet {
    CpuSet::parse(list).unwrap()
}

fn uid(name: &str) -> PodUid {
    PodUid::parse(name).unwrap()
}

fn name(name: &str) -> ContainerName {
    ContainerName::parse(name).unwrap()
}

/// 2 nodes of 4 cores with 2 threads each: siblings are i and i + 8.
fn topology() -> Topology {
    two_nodes().cpus.topology
}

fn without(cpus: &str) -> Topology {
    let (all, gone) = (topology(), set(cpus));
    let left = all.records().iter().filter(|record| !gone.contains(record.cpu));
    Topology::new(
        left.copied().collect::<Vec<CpuRecord>>(),
        all.numa_records().to_vec(),
    )
    .unwrap()
}

fn policy_on(topology: Topology, reserved: &str, options: StaticOptions) -> StaticPolicy {
    let reservation = Reservation::Cpus(set(reserved));
    StaticPolicy::new(topology, options, &reservation, TopologyPolicy::None).unwrap()
}

/// A node on which `p/main` has 1,9 and `q/main` 2-3 to itself, 0 is reserved, and everything agrees.
struct Node {
    policy: Option<StaticPolicy>,
    topology: Topology,
    file: Option<CpuCheckpoint>,
    live: BTreeMap<PodUid, BTreeMap<ContainerName, Live>>,
    wanted: BTreeMap<PodUid, WantedPod>,
    machine_id: &'static str,
}

impl Node {
    fn new() -> Self {
        let mut node = Self {
            policy: None,
            topology: topology(),
            file: None,
            live: BTreeMap::new(),
            wanted: BTreeMap::new(),
            machine_id: "this",
        };
        node.set_policy(topology(), "0", StaticOptions::default());
        let mut assignments = node.policy.as_ref().unwrap().start();
        for (pod, cpus) in [("p", "1,9"), ("q", "2-3")] {
            assignments.grant(&uid(pod), &name("main"), set(cpus)).unwrap();
            node.runs(pod, cpus);
            node.wants(pod, 2, true);
        }
        let under = under(node.policy.as_ref(), &node.machine());
        node.file = Some(CpuCheckpoint::of(
            &assignments,
            &BTreeMap::new(),
            under,
            None,
            100,
        ));
        node
    }

    fn set_policy(&mut self, topology: Topology, reserved: &str, options: StaticOptions) {
        self.topology = topology.clone();
        self.policy = Some(policy_on(topology, reserved, options));
    }

    fn machine(&self) -> MachineMark {
        MachineMark::of(&self.topology, Some(self.machine_id.to_owned()))
    }

    fn runs(&mut self, pod: &str, cpus: &str) {
        let live = Live {
            effective: set(cpus),
            exclusive: true,
        };
        self.live.insert(uid(pod), [(name("main"), live)].into());
    }

    fn wants(&mut self, pod: &str, count: usize, admitted: bool) {
        let containers = vec![WantedContainer {
            name: name("main"),
            kind: ContainerKind::App,
            wish: Wish::Exclusive(count),
        }];
        self.wanted.insert(uid(pod), WantedPod { admitted, containers });
    }

    fn pin(&mut self, pod: &str, cpus: &str, granted: u64) {
        let pin = Pin {
            cpus: set(cpus),
            granted,
            ..Pin::default()
        };
        let file = self.file.as_mut().unwrap();
        file.pods.insert(uid(pod), [(name("main"), pin)].into());
    }

    fn restore(&self) -> Restored {
        restore(&Facts {
            checkpoint: self.file.as_ref(),
            live: &self.live,
            wanted: &self.wanted,
            topology: &self.topology,
            policy: self.policy.as_ref(),
            machine: &self.machine(),
        })
    }

    /// What each pod has, then the shared pool, and what is told.
    fn restored(&self) -> (String, Vec<String>) {
        let restored = self.restore();
        let held = restored.assignments.pods().keys();
        let mut text: String = held
            .map(|pod| format!("{pod}={} ", restored.assignments.held_by_pod(pod)))
            .collect();
        text += &restored.assignments.shared().to_string();
        (text, restored.changes.iter().map(ToString::to_string).collect())
    }

    #[track_caller]
    fn check(&self, held: &str, told: &[&str]) {
        let (text, changes) = self.restored();
        assert_eq!(text, held, "{changes:#?}");
        assert_eq!(changes, told);
    }
}

#[test]
fn where_everything_agrees_nothing_changes() {
    Node::new().check("p=1,9 q=2-3 0,4-8,10-15", &[]);
    let mut stopped = Node::new();
    stopped.live.clear();
    stopped.check("p=1,9 q=2-3 0,4-8,10-15", &[]);
}

#[test]
fn without_a_file_what_runs_is_known_from_the_kernel() {
    let mut node = Node::new();
    node.file = None;
    node.check("p=1,9 q=2-3 0,4-8,10-15", &[]);
    // What does not run is chosen anew: whole cores of node 0 are gone but for 10 and 11, so that node 1 has a free one.
    node.live.remove(&uid("q"));
    node.check(
        "p=1,9 q=2,10 0,3-8,11-15",
        &["container main of pod q: it wants 2 CPUs: it keeps none and gets 2,10"],
    );
}

#[test]
fn the_kernel_is_believed_before_the_file() {
    let mut node = Node::new();
    node.runs("q", "4-5");
    node.check(
        "p=1,9 q=4-5 0,2-3,6-8,10-15",
        &["container main of pod q: the checkpoint has it on CPUs 2-3, the kernel on 4-5: it keeps 4-5"],
    );
    // Somebody widened it: what is its own is told by the pin.
    node.runs("q", "0-15");
    node.check(
        "p=1,9 q=2-3 0,4-8,10-15",
        &["container main of pod q: the checkpoint has it on CPUs 2-3, the kernel on 0-15: it keeps 2-3"],
    );
    node.file = None;
    node.check(
        "p=1,9 q=2,10 0,3-8,11-15",
        &["container main of pod q: it had CPUs 0-15 and wants 2: it keeps 2,10"],
    );
    // Of what it was widened to it does not keep a reserved CPU, nor one that is another's.
    node.runs("q", "0-1,3");
    node.check(
        "p=1,9 q=3,11 0,2,4-8,10,12-15",
        &[
            "container main of pod q: it had CPUs 0-1,3 and wants 2: it keeps 3",
            "container main of pod q: it wants 2 CPUs: it keeps 3 and gets 11",
        ],
    );
}

#[test]
fn of_two_that_claim_a_cpu_the_one_that_was_promised_it_has_it() {
    let mut node = Node::new();
    node.runs("q", "1,3");
    node.check(
        "p=1,9 q=2-3 0,4-8,10-15",
        &["container main of pod q: the checkpoint has it on CPUs 2-3, the kernel on 1,3: it keeps 2-3"],
    );
    node.file = None;
    node.check(
        "p=1,9 q=3,11 0,2,4-8,10,12-15",
        &[
            "container main of pod q: it loses CPUs 1: with container main of pod p",
            "container main of pod q: it wants 2 CPUs: it keeps 3 and gets 11",
        ],
    );
}

#[test]
fn of_two_promises_the_earlier_counts() {
    let mut node = Node::new();
    node.pin("p", "2,9", 200);
    node.pin("q", "2-3", 100);
    node.live.clear();
    node.check(
        "p=1,9 q=2-3 0,4-8,10-15",
        &[
            "container main of pod p: it loses CPUs 2: with container main of pod q",
            "container main of pod p: it wants 2 CPUs: it keeps 9 and gets 1",
        ],
    );
}

#[test]
fn cpus_that_went_offline_are_replaced_nearby() {
    let mut node = Node::new();
    node.set_policy(without("2"), "0", StaticOptions::default());
    node.runs("q", "3");
    node.check(
        "p=1,9 q=3,11 0,4-8,10,12-15",
        &[
            "CPUs gone: 2, CPUs come: none",
            "container main of pod q: it loses CPUs 2: not online",
            "container main of pod q: it wants 2 CPUs: it keeps 3 and gets 11",
        ],
    );
}

#[test]
fn a_reservation_that_grew_into_a_pin_leaves_it_to_what_runs() {
    for strict in [false, true] {
        let mut node = Node::new();
        let options = StaticOptions {
            strict_cpu_reservation: strict,
            ..StaticOptions::default()
        };
        node.set_policy(topology(), "0-2", options);
        node.file.as_mut().unwrap().policy = mark(node.policy.as_ref());
        let shared = if strict { "4-8,10-15" } else { "0,4-8,10-15" };
        node.check(
            &format!("p=1,9 q=2-3 {shared}"),
            &[
                "reserved CPUs were 0 and are 0-2",
                "container main of pod p: it runs on CPUs 1, which are reserved now, and keeps them until it ends",
                "container main of pod q: it runs on CPUs 2, which are reserved now, and keeps them until it ends",
            ],
        );
        let mut assignments = node.restore().assignments;
        assignments.release(&uid("p"));
        let policy = node.policy.as_ref().unwrap();
        assert!(policy.free(assignments.shared()).is_disjoint(&set("0-2")));
        assert_eq!(assignments.shared().contains(set("1").first().unwrap()), !strict);
        // What does not run goes elsewhere.
        node.live.remove(&uid("q"));
        let (held, told) = node.restored();
        assert!(held.starts_with("p=1,9 q=3,11 "), "{held}");
        assert_eq!(told[1], "container main of pod q: it loses CPUs 2: reserved now");
    }
}

#[test]
fn pins_are_fitted_to_what_is_wanted_now() {
    let mut node = Node::new();
    node.wants("p", 4, true);
    node.wants("q", 1, true);
    node.check(
        "p=1,3,9,11 q=2 0,4-8,10,12-15",
        &[
            "container main of pod p: it wants 4 CPUs: it keeps 1,9 and gets 3,11",
            "container main of pod q: it had CPUs 2-3 and wants 1: it keeps 2",
        ],
    );
}

#[test]
fn a_policy_that_gives_no_cpus_lets_all_pins_go_and_one_that_does_chooses_for_what_runs() {
    let mut node = Node::new();
    let policy = node.policy.take();
    let gone = |pod, cpus| {
        format!("container main of pod {pod}: it gives back CPUs {cpus}: the policy gives no exclusive CPUs")
    };
    node.check(
        "0-15",
        &[
            "the CPU manager's policy was \"static\" and is none",
            "reserved CPUs were 0 and are none",
            &gone("p", "1,9"),
            &gone("q", "2-3"),
        ],
    );
    let none = under(None, &node.machine());
    let empty = node.restore().assignments;
    node.file = Some(CpuCheckpoint::of(&empty, &BTreeMap::new(), none, None, 100));
    node.policy = policy;
    for pod in ["p", "q"] {
        let live = node
            .live
            .get_mut(&uid(pod))
            .unwrap()
            .get_mut(&name("main"))
            .unwrap();
        (live.effective, live.exclusive) = (set("0-15"), false);
    }
    let (held, told) = node.restored();
    assert_eq!(held, "p=1,9 q=2,10 0,3-8,11-15");
    assert_eq!(told.len(), 4, "{told:?}");
}

#[test]
fn what_cannot_be_given_is_told_with_its_numbers() {
    let mut node = Node::new();
    node.set_policy(without("4-8,10-15"), "0", StaticOptions::default());
    node.wants("p", 3, true);
    let told = "container main of pod p: it runs with CPUs of its own: 1,9, and wants 3: 1 CPUs are wanted, 0 are free";
    assert!(
        node.restored().1.contains(&told.to_owned()),
        "{:?}",
        node.restored()
    );
    // One that does not run makes room for one that does.
    node.live.remove(&uid("q"));
    node.wants("q", 3, true);
    let (held, changes) = node.restored();
    assert_eq!(held, "p=1-2,9 0,3");
    assert!(
        changes
            .last()
            .unwrap()
            .starts_with("container main of pod q: it wants 3 CPUs and gets none: ")
    );
}

#[test]
fn a_container_that_only_waits_to_be_stopped_keeps_its_cpus_till_then() {
    let mut node = Node::new();
    node.wanted.remove(&uid("q"));
    node.check("p=1,9 q=2-3 0,4-8,10-15", &[]);
    let mut stopped = Node::new();
    stopped.wanted.remove(&uid("q"));
    stopped.live.remove(&uid("q"));
    stopped.check(
        "p=1,9 0,2-8,10-15",
        &["container main of pod q: it gives back CPUs 2-3: the container is gone"],
    );
    // Without the file its record tells, unless others run there or it was widened.
    node.file = None;
    node.check("p=1,9 q=2-3 0,4-8,10-15", &[]);
    node.runs("q", "9-10");
    node.check("p=1,9 q=10 0,2-8,11-15", &[]);
    node.runs("q", "0-15");
    node.check("p=1,9 0,2-8,10-15", &[]);
}

#[test]
fn a_container_that_is_to_share_gives_its_cpus_back() {
    let mut node = Node::new();
    node.wanted.get_mut(&uid("q")).unwrap().containers[0].wish = Wish::Shared(WhyShared::PodLevel);
    node.check(
        "p=1,9 0,2-8,10-15",
        &["container main of pod q: it gives back CPUs 2-3: the pod has pod-level resources"],
    );
}

#[test]
fn on_another_machine_a_pin_is_kept_unless_it_is_spread() {
    let mut node = Node::new();
    node.machine_id = "other";
    node.live.clear();
    node.pin("q", "3-4", 100);
    let (held, told) = node.restored();
    assert_eq!(held, "p=1,9 q=2,10 0,3-8,11-15");
    assert_eq!(
        told[..2],
        [
            "the checkpoint is of the machine \"this\", this one is \"other\"",
            "container main of pod q: it gives back CPUs 3-4: the CPUs lie on 2 NUMA nodes now, where 1 could hold them",
        ]
    );
}

#[test]
fn a_pod_that_was_not_let_in_has_its_pin_whole_or_not_at_all() {
    let mut node = Node::new();
    node.live.clear();
    node.wants("q", 2, false);
    node.check("p=1,9 q=2-3 0,4-8,10-15", &[]);
    node.wants("q", 3, false);
    node.check(
        "p=1,9 0,2-8,10-15",
        &[
            "container main of pod q: it gives back CPUs 2-3: only 2 of 3 could be kept, and its pod was not \
             admitted yet",
        ],
    );
}

#[test]
fn init_containers_share_with_those_after_them_only() {
    let mut node = Node::new();
    node.live.clear();
    node.wanted.remove(&uid("q"));
    let container = |of: &str, kind| WantedContainer {
        name: name(of),
        kind,
        wish: Wish::Exclusive(2),
    };
    let containers = vec![
        container("early", ContainerKind::Init),
        container("side", ContainerKind::Sidecar),
        container("main", ContainerKind::App),
    ];
    node.wanted.insert(
        uid("q"),
        WantedPod {
            admitted: true,
            containers,
        },
    );
    let pins = ["early", "side", "main"].map(|of| {
        let cpus = set(if of == "main" { "3-4" } else { "2-3" });
        let granted = if of == "main" { 200 } else { 100 };
        (
            name(of),
            Pin {
                cpus,
                granted,
                ..Pin::default()
            },
        )
    });
    node.file.as_mut().unwrap().pods.insert(uid("q"), pins.into());
    let assignments = node.restore().assignments;
    let held = |of: &str| assignments.held(&uid("q"), &name(of)).unwrap().to_string();
    assert_eq!(
        (held("early"), held("side"), held("main")),
        ("2-3".into(), "2-3".into(), "4,12".into())
    );
}

#[test]
fn whole_cores_are_made_whole_again_where_nothing_runs() {
    let mut node = Node::new();
    let whole = StaticOptions {
        full_pcpus_only: true,
        strict_full_pcpus: true,
        ..StaticOptions::default()
    };
    node.set_policy(topology(), "0", whole);
    node.file.as_mut().unwrap().policy = mark(node.policy.as_ref());
    node.check("p=1,9 q=2-3 0,4-8,10-15", &[]);
    node.live.remove(&uid("q"));
    node.check(
        "p=1,9 q=2,10 0,3-8,11-15",
        &["container main of pod q: it wants 2 CPUs: it keeps none and gets 2,10"],
    );
}
