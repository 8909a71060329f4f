//! The memory manager on small machines.

use std::collections::BTreeSet;

use super::*;
use crate::decide::cpu::{CpuAdmission, Reservation, StaticOptions, StaticPolicy};
use crate::decide::fixtures;
use crate::decide::numa::admit::admit;
use crate::decide::numa::tests::machine;
use crate::decide::numa::{Candidates, Hints, TopologyManager, TopologyPolicy, TopologyScope};
use crate::model::{CpuSet, HugePageSize, Shape, TopologyHint};
use crate::state::cpus::CpuAssignments;

const GIB: u64 = 1 << 30;

pub(super) fn pod_uid(name: &str) -> PodUid {
    PodUid::parse(name).unwrap()
}

pub(super) fn container(name: &str) -> ContainerName {
    ContainerName::parse(name).unwrap()
}

/// Nodes with so many GiB each to give, after one reserved on each.
pub(super) fn manager(gib: &[u64]) -> MemoryManager {
    let nodes: Vec<NodeMemory> = gib
        .iter()
        .map(|gib| NodeMemory {
            has: NumaMemory {
                total: Bytes((gib + 1) * GIB),
                huge_pages: BTreeMap::new(),
            },
            reserved: [(Resource::Memory, Bytes(GIB))].into(),
        })
        .collect();
    let reserved = Bytes(GIB * u64::try_from(gib.len()).unwrap());
    MemoryManager::new(
        machine(gib.len(), &[]),
        &nodes,
        &[(Resource::Memory, reserved)].into(),
    )
    .unwrap()
}

pub(super) fn gib(amount: u64) -> Request {
    [(Resource::Memory, Bytes(amount * GIB))].into()
}

fn at(bits: u64, preferred: bool) -> TopologyHint {
    TopologyHint {
        mask: Some(NumaMask::from_bits(bits)),
        preferred,
    }
}

fn free(manager: &MemoryManager) -> Vec<u64> {
    let free = manager.free(Resource::Memory);
    free.into_iter().map(|bytes| bytes / GIB).collect()
}

fn hints(manager: &MemoryManager, amount: u64) -> Vec<(u64, bool)> {
    let request = gib(amount);
    let candidates = Candidates::new(&manager.numa, &manager.room(&request));
    let hints: Vec<Hints> = manager.hints(&pod_uid("new"), None, &request, &candidates);
    let choices = hints[0].choices.iter().flatten();
    choices.map(|h| (h.mask.unwrap().bits(), h.preferred)).collect()
}

impl MemoryManager {
    fn app(&mut self, pod: &str, amount: u64, hint: TopologyHint) -> Result<u64, MemoryRefusal> {
        let (pod, name) = (pod_uid(pod), container("app"));
        let mask = self.allocate(&pod, &name, ContainerKind::App, &gib(amount), hint)?;
        Ok(mask.unwrap().bits())
    }
}

#[test]
fn a_node_serves_one_group_or_single_node_containers() {
    let mut manager = manager(&[8, 8, 8]);
    assert_eq!(
        hints(&manager, 8),
        [
            (1, true),
            (2, true),
            (3, false),
            (4, true),
            (5, false),
            (6, false),
            (7, false)
        ]
    );
    assert_eq!(manager.app("a", 10, at(0b011, true)), Ok(0b011));
    assert_eq!(free(&manager), [0, 6, 8]);
    // The group's nodes serve the group alone, and nothing larger around it.
    assert_eq!(hints(&manager, 6), [(0b011, false), (0b100, true)]);
    assert_eq!(manager.app("b", 2, at(0b100, true)), Ok(0b100));
    assert_eq!(hints(&manager, 12), []);
    // Kubelet would place it on node 1 alone and forget that the group is there.
    assert_eq!(manager.app("c", 1, at(0b010, false)), Ok(0b011));
    manager.release_pod(&pod_uid("a"));
    manager.release_pod(&pod_uid("c"));
    assert_eq!(free(&manager), [8, 8, 6]);
    assert_eq!(hints(&manager, 7), [(1, true), (2, true), (3, false)]);
}

#[test]
fn without_nodes_from_the_policy_it_takes_the_fewest() {
    let mut manager = manager(&[2, 4]);
    assert_eq!(manager.app("a", 3, at(0b10, true)), Ok(0b10));
    let any = TopologyHint {
        mask: None,
        preferred: false,
    };
    assert_eq!(manager.app("b", 2, any), Ok(0b01));
    let refusal = manager.app("c", 1, at(0b01, true)).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "no NUMA nodes can give, {0} among them, 1.00Gi of memory (free by node: 0B, 1.00Gi); a node serves \
         single-node containers or one group of nodes"
    );
    assert_eq!(free(&manager), [0, 1]);
    // Without such a demand it goes where there is room.
    assert_eq!(manager.app("c", 1, at(0b01, false)), Ok(0b10));
}

#[test]
fn a_preferred_hint_is_not_widened_beyond_need() {
    let mut manager = manager(&[4, 4]);
    manager.app("a", 3, at(0b01, true)).unwrap();
    manager.release_pod(&pod_uid("a"));
    manager.app("b", 5, at(0b11, true)).unwrap();
    // One node could hold it on an empty machine, so both are more than necessary.
    let refusal = manager.app("c", 2, at(0b01, true)).unwrap_err();
    assert!(refusal.only_unpreferred);
    assert_eq!(manager.app("c", 2, at(0b01, false)), Ok(0b11));
}

#[test]
fn init_containers_hand_on_what_they_held() {
    let mut manager = manager(&[8, 8]);
    let before = manager.clone();
    let pod = pod_uid("p");
    let mut give = |name: &str, kind, amount| {
        let given = manager.allocate(&pod, &container(name), kind, &gib(amount), at(0b01, true));
        given.map(|_| free(&manager)[0])
    };
    assert_eq!(give("init-a", ContainerKind::Init, 3), Ok(5));
    assert_eq!(give("init-b", ContainerKind::Init, 5), Ok(3));
    assert_eq!(give("sidecar", ContainerKind::Sidecar, 2), Ok(3));
    assert_eq!(give("app", ContainerKind::App, 5), Ok(1));
    // Again, as after a restart of the agent: nothing moves.
    assert_eq!(give("app", ContainerKind::App, 5), Ok(1));
    assert_eq!(
        give("app-2", ContainerKind::App, 2).unwrap_err().amounts[0].1,
        Bytes(2 * GIB)
    );
    manager.release(&pod, &container("init-b"));
    assert_eq!(free(&manager), [1, 8]);
    manager.release_pod(&pod);
    assert_eq!(manager, before);
}

#[test]
fn only_guaranteed_pods_with_resources_by_container_take_part() {
    let pod = fixtures::simple("p", "cpu=1 memory=1Gi", "cpu=1 memory=1Gi");
    assert_eq!(of_pod(&pod), gib(1));
    assert_eq!(of_container(&pod, &pod.containers[0]), gib(1));
    let mut burstable = pod.clone();
    burstable.containers[0].resources.limits.clear();
    assert!(of_pod(&burstable).is_empty());
    let mut whole = pod.clone();
    whole.resources = Some(pod.containers[0].resources.clone());
    assert!(of_container(&whole, &pod.containers[0]).is_empty());
}

/// Lets a pod of two containers in on two nodes of 2 cores and so many GiB, CPUs and memory together.
fn let_in(policy: TopologyPolicy, memory: &mut MemoryManager, busy: &str) -> Result<(String, u64), String> {
    let shape = Shape {
        sockets: 2,
        nodes: 1,
        l3s: 1,
        cores: 4,
        threads: 1,
    };
    let topology = shape.build();
    let topology_manager = TopologyManager {
        policy,
        scope: TopologyScope::Pod,
        prefer_closest: false,
        nodes: NumaNodes::of(&topology),
    };
    let all = topology.cpus().clone();
    let reserved = Reservation::Cpus(CpuSet::parse("7").unwrap());
    let cpus = StaticPolicy::new(topology, StaticOptions::default(), &reserved, policy).unwrap();
    let mut assignments = CpuAssignments::new(all);
    let busy = CpuSet::parse(busy).unwrap();
    assignments
        .grant(&pod_uid("busy"), &container("c"), busy)
        .unwrap();
    let asks = "cpu=1 memory=2Gi";
    let containers = ["a", "b"].map(|name| fixtures::container(name, asks, asks));
    let pod = fixtures::pod("p", containers.into());
    let mut both = (
        CpuAdmission::new(&cpus, &assignments, &pod),
        MemoryAdmission::new(memory, &pod),
    );
    let placed = admit(&topology_manager, 2, &mut both).map_err(|refused| refused.to_string())?;
    let grants = both.0.finish(placed).grants;
    let given: CpuSet = grants.iter().flat_map(|grant| grant.cpus.iter()).collect();
    let mems = both.1.keep();
    assert_eq!(mems.len(), 2);
    let together = mems.values().fold(NumaMask::EMPTY, |all, mask| all.or(*mask));
    Ok((given.to_string(), together.bits()))
}

#[test]
fn cpus_and_memory_come_from_the_same_node() {
    // Node 0 has CPUs, node 1 memory too.
    let mut memory = manager(&[3, 8]);
    let given = let_in(TopologyPolicy::SingleNumaNode, &mut memory, "0");
    assert_eq!(given, Ok(("4-5".to_owned(), 0b10)));
    assert_eq!(free(&memory), [3, 4]);

    // CPUs on node 0 only, memory on node 1 only.
    let mut memory = manager(&[3, 8]);
    let before = memory.clone();
    let refused = let_in(TopologyPolicy::Restricted, &mut memory, "4-6").unwrap_err();
    assert!(
        refused.starts_with("resources cannot be aligned: policy restricted: "),
        "{refused}"
    );
    assert!(
        refused.contains("cpu: 2 possible sets") && refused.contains("memory: 2 possible sets"),
        "{refused}"
    );
    assert_eq!(memory, before);
    // CPUs where they are; memory for one container there, for the other where there is some.
    let given = let_in(TopologyPolicy::BestEffort, &mut memory, "4-6");
    assert_eq!(given, Ok(("0-1".to_owned(), 0b11)));
}

#[test]
fn what_a_refused_pod_had_got_is_taken_back() {
    // The pod as one fits 3 GiB only in part: the second container is refused after the first has its memory.
    let mut memory = manager(&[3, 0]);
    let before = memory.clone();
    let refused = let_in(TopologyPolicy::None, &mut memory, "0").unwrap_err();
    assert_eq!(
        refused,
        "no NUMA nodes can give 2.00Gi of memory (free by node: 1.00Gi, 0B); a node serves single-node containers or one \
         group of nodes"
    );
    assert_eq!(memory, before);
}

#[test]
fn huge_pages_are_their_own_resource_and_reservations_are_checked() {
    let huge = HugePageSize(2 << 20);
    let node = |reserved: u64| NodeMemory {
        has: NumaMemory {
            total: Bytes(8 * GIB),
            huge_pages: [(huge, Bytes(4 * GIB))].into(),
        },
        reserved: [(Resource::Memory, Bytes(reserved * GIB))].into(),
    };
    let made = |by_node: &[u64], machine_gib: u64| {
        let nodes: Vec<_> = by_node.iter().map(|&reserved| node(reserved)).collect();
        let reserved = [(Resource::Memory, Bytes(machine_gib * GIB))].into();
        MemoryManager::new(machine(2, &[]), &nodes, &reserved)
    };
    let manager = made(&[1, 2], 3).unwrap();
    assert_eq!(free(&manager), [3, 2]);
    assert_eq!(manager.free(Resource::HugePages(huge)), [4 * GIB; 2]);
    assert_eq!(
        made(&[1, 1], 3).unwrap_err().to_string(),
        "memory: 2.00Gi reserved on the NUMA nodes together, but 3.00Gi on the machine (kube and system reservation and \
         hard eviction threshold); make the two equal"
    );
    assert_eq!(
        made(&[1, 5], 6).unwrap_err().to_string(),
        "memory on NUMA node 1: 5.00Gi reserved, the node has 4.00Gi; lower the reservation or move it to another node"
    );
    assert_eq!(
        made(&[1], 1).unwrap_err(),
        MemoryError::Nodes { given: 1, nodes: 2 }
    );

    // Both kinds have to fit; a size that no node has fits nowhere.
    let ask = |size: u64, amount: u64| -> Vec<Hints> {
        let request = [
            (Resource::Memory, Bytes(GIB)),
            (Resource::HugePages(HugePageSize(size)), Bytes(amount * GIB)),
        ]
        .into();
        let candidates = Candidates::new(&manager.numa, &manager.room(&request));
        manager.hints(&pod_uid("p"), None, &request, &candidates)
    };
    let both = ask(2 << 20, 5);
    assert_eq!(both.len(), 2);
    assert!(both.iter().all(|h| h.choices == Some(vec![at(0b11, true)])));
    assert!(ask(1 << 30, 1).iter().all(|h| h.choices == Some(Vec::new())));
}

#[test]
fn what_does_not_fit_any_more_is_held_as_far_as_it_goes_and_told() {
    let mut manager = manager(&[4, 4, 4]);
    let (p, q, main) = (pod_uid("p"), pod_uid("q"), container("main"));
    let mask = NumaMask::from_bits;
    let app = ContainerKind::App;
    let missing = manager.restore(&p, &main, app, &gib(10), mask(0b011)).unwrap();
    assert_eq!(missing, [(Resource::Memory, Bytes(2 * GIB))]);
    assert_eq!(free(&manager), [0, 0, 4]);
    let before = manager.clone();
    let refused = |manager: &mut MemoryManager, bits| {
        let restored = manager.restore(&q, &main, app, &gib(1), mask(bits));
        restored.unwrap_err().to_string()
    };
    assert_eq!(
        refused(&mut manager, 0b110),
        "its memory is on NUMA nodes {1-2}, and other containers hold memory on [\"{0-1}\"]"
    );
    assert_eq!(
        refused(&mut manager, 0b1001),
        "its memory is on NUMA nodes {0,3}, the machine has 3"
    );
    assert_eq!(
        refused(&mut manager, 0),
        "its memory is on NUMA nodes {}, the machine has 3"
    );
    assert_eq!(manager, before);
    // Nothing asked for is nothing held, wherever it lies.
    assert_eq!(
        manager.restore(&q, &main, app, &Request::new(), mask(0)),
        Ok(Missing::new())
    );
    assert_eq!(manager, before);
    manager.release_pod(&p);
    assert_eq!(free(&manager), [4, 4, 4]);
}

#[test]
fn pods_that_were_there_hold_their_memory_again_and_the_rest_is_told() {
    // Nodes 0, 8 and 9 of a POWER machine.
    let numbers = [0, 8, 9];
    let mut manager = manager(&[4, 4, 4]);
    let guaranteed = |name: &str, size: &str| {
        let all = format!("cpu=1 memory={size}");
        fixtures::simple(name, &all, &all)
    };
    let pods = [
        guaranteed("free", "2Gi"),
        guaranteed("kept", "3Gi"),
        guaranteed("more", "5Gi"),
        guaranteed("gone", "1Gi"),
        fixtures::simple("other", "memory=1Gi", ""),
    ];
    let bound = |pod: &PodUid, _: &ContainerName| match pods.iter().position(|p| p.uid == *pod) {
        Some(1) => [8].into(),
        Some(2) => [9].into(),
        Some(3) => [1].into(),
        _ => BTreeSet::new(),
    };
    let changes = manager.restore_pods(&numbers, &pods, bound);
    let told: Vec<_> = changes
        .iter()
        .map(|(pod, _, change)| format!("{pod}: {change}"))
        .collect();
    let uid = |n: usize| &pods[n].uid;
    assert_eq!(
        told,
        [
            format!(
                "{}: its NUMA nodes {{9}} do not have 1.00Gi of memory of what it asked for",
                uid(2)
            ),
            format!(
                "{}: its memory is on NUMA nodes {{1}}, the machine has [0, 8, 9]",
                uid(3)
            ),
            format!(
                "{}: its memory was not bound to NUMA nodes and is to be on {{0}}",
                uid(0)
            ),
        ]
    );
    assert_eq!(free(&manager), [2, 1, 0]);
}
