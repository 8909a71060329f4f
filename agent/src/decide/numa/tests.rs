//! Merging and admission on cases that can be worked out by hand.

use super::admit::{Admission, Refused, Unit, admit};
use super::*;
use crate::decide::fixtures::cpu_of;
use crate::model::NumaRecord;

/// Nodes at these distances, row by row, or at the kernel's own when there are none.
pub(super) fn machine(nodes: usize, distances: &[u32]) -> NumaNodes {
    let records = (0..nodes).map(|id| NumaRecord {
        id: u32::try_from(id).unwrap(),
        distances: Vec::new(),
    });
    let mut made = NumaNodes::of(&Topology::new([cpu_of(0, 0)], records).unwrap());
    if !distances.is_empty() {
        made.distances = distances.to_vec();
    }
    made
}

pub(super) fn manager(policy: TopologyPolicy, nodes: NumaNodes) -> TopologyManager {
    TopologyManager {
        policy,
        scope: TopologyScope::Container,
        prefer_closest: false,
        nodes,
    }
}

pub(super) fn hint(mask: Option<NumaMask>, preferred: bool) -> TopologyHint {
    TopologyHint { mask, preferred }
}

pub(super) fn room(by_node: &[Vec<u64>]) -> Room {
    Room {
        by_node: by_node.to_vec(),
        groups: Vec::new(),
    }
}

/// Hints of the resource from masks, preferred where they have so many nodes.
fn hints(resource: Resource, preferred: u32, masks: &[u64]) -> Hints {
    let hint = |bits: &u64| {
        let mask = NumaMask::from_bits(*bits);
        hint(Some(mask), mask.count() == preferred)
    };
    Hints {
        resource,
        choices: Some(masks.iter().map(hint).collect()),
    }
}

/// Hints of the candidates whose nodes have `need` together.
fn serving(resource: Resource, need: u64, candidates: &Candidates, by_node: &[u64]) -> Hints {
    let sums = candidates.masks().iter().zip(candidates.sums(by_node));
    let enough = sums.filter(|(_, sum)| *sum >= need);
    let masks: Vec<u64> = enough.map(|(mask, _)| mask.bits()).collect();
    hints(resource, 1, &masks)
}

#[test]
fn policies_differ_in_what_they_let_in() {
    // Two nodes; CPUs are left on node 0 only, memory on node 1 only, either also from both.
    let cpu = hints(Resource::Cpu, 1, &[0b01, 0b11]);
    let memory = hints(Resource::Memory, 1, &[0b10, 0b11]);
    let merge = |policy| manager(policy, machine(2, &[])).merge(&[cpu.clone(), memory.clone()]);
    let best_effort = merge(TopologyPolicy::BestEffort);
    // {0-1} and {1}, {0} and {0-1} keep one node each: the smaller number wins.
    assert_eq!(best_effort.hint, hint(Some(NumaMask::single(0)), false));
    assert!(best_effort.admitted);
    let restricted = merge(TopologyPolicy::Restricted);
    assert_eq!(restricted.hint, best_effort.hint);
    assert!(!restricted.admitted);
    assert_eq!(
        restricted.to_string(),
        "policy restricted: NUMA nodes {0}, not preferred by all (cpu: 2 possible sets of at least 1 nodes, 1 of them \
         preferred; memory: 2 possible sets of at least 1 nodes, 1 of them preferred)"
    );
    let single = merge(TopologyPolicy::SingleNumaNode);
    assert_eq!(single.hint, hint(None, false));
    assert!(!single.admitted);
    let none = merge(TopologyPolicy::None);
    assert!(none.admitted && none.hint.mask.is_none());
}

#[test]
fn closest_nodes_go_before_lower_numbers() {
    // Nodes 0 and 3 are neighbours, as are 1 and 2.
    #[rustfmt::skip]
    let distances = [
        10, 32, 32, 16,
        32, 10, 12, 32,
        32, 12, 10, 32,
        16, 32, 32, 10,
    ];
    let pairs = hints(
        Resource::Cpu,
        2,
        &[0b0011, 0b0101, 0b0110, 0b1001, 0b1010, 0b1100, 0b1111],
    );
    let mut manager = manager(TopologyPolicy::BestEffort, machine(4, &distances));
    let merged = |manager: &TopologyManager| manager.merge(std::slice::from_ref(&pairs)).hint.mask;
    assert_eq!(merged(&manager), Some(NumaMask::from_bits(0b0011)));
    manager.prefer_closest = true;
    assert_eq!(merged(&manager), Some(NumaMask::from_bits(0b0110)));
}

#[test]
fn what_cannot_be_served_is_not_preferred_and_says_so() {
    let nothing = hints(Resource::Memory, 1, &[]);
    let merged = manager(TopologyPolicy::Restricted, machine(2, &[])).merge(&[nothing]);
    assert_eq!(merged.hint, hint(Some(NumaMask::first(2)), false));
    assert!(
        merged
            .to_string()
            .contains("memory: no set of nodes has enough free")
    );
}

#[test]
fn a_machine_of_64_full_nodes_is_merged() {
    let nodes = machine(64, &[]);
    let drained: Vec<u64> = (0..64).map(|node| node % 2).collect();
    let candidates = Candidates::new(&nodes, &room(&[drained.clone(), vec![1; 64]]));
    // Kubelet would try (2⁶⁴ − 1)² combinations.
    let merged = manager(TopologyPolicy::BestEffort, nodes).merge(&[
        serving(Resource::Cpu, 3, &candidates, &drained),
        serving(Resource::Memory, 2, &candidates, &[1; 64]),
    ]);
    let mask = merged.hint.mask.unwrap();
    assert_eq!(mask, NumaMask::from_bits(0b10_1010));
}

#[test]
fn unknown_words_name_the_known_ones() {
    assert_eq!("single-numa-node".parse(), Ok(TopologyPolicy::SingleNumaNode));
    assert_eq!("pod".parse(), Ok(TopologyScope::Pod));
    let error = "strict".parse::<TopologyPolicy>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown topology manager policy \"strict\": it is one of none, best-effort, restricted, single-numa-node"
    );
    for (name, policy) in TopologyPolicy::ALL {
        assert_eq!(policy.to_string(), name);
    }
}

/// A node with one free CPU for each of its NUMA nodes, and containers that want one each.
struct OneEach {
    free: Vec<u64>,
    asked: std::cell::RefCell<Vec<Unit>>,
}

impl Admission for OneEach {
    type Refusal = String;

    fn room(&self, _: Unit) -> Room {
        room(std::slice::from_ref(&self.free))
    }

    fn hints(&self, unit: Unit, candidates: &Candidates) -> Vec<Hints> {
        self.asked.borrow_mut().push(unit);
        let need = if unit == Unit::Pod { 2 } else { 1 };
        vec![serving(Resource::Cpu, need, candidates, &self.free)]
    }

    fn allocate(&mut self, container: usize, placed: &Merged) -> Result<(), String> {
        let mask = placed.hint.mask.unwrap_or(NumaMask::first(self.free.len()));
        let node = mask.nodes().find(|&node| self.free[node] > 0);
        let node = node.ok_or_else(|| format!("container {container}: nothing free in {mask}"))?;
        self.free[node] -= 1;
        Ok(())
    }
}

#[test]
fn scopes_place_containers_or_the_pod() {
    let run = |policy, scope, containers| {
        let manager = TopologyManager {
            scope,
            ..manager(policy, machine(2, &[]))
        };
        let mut pod = OneEach {
            free: vec![1, 1],
            asked: Vec::new().into(),
        };
        let result = admit(&manager, containers, &mut pod);
        (result, pod.free, pod.asked.into_inner())
    };
    let (placed, free, asked) = run(TopologyPolicy::SingleNumaNode, TopologyScope::Container, 2);
    let masks: Vec<_> = placed
        .unwrap()
        .iter()
        .map(|m| m.hint.mask.unwrap().bits())
        .collect();
    assert_eq!((masks, free), (vec![0b01, 0b10], vec![0, 0]));
    assert_eq!(asked, [Unit::Container(0), Unit::Container(1)]);

    // The pod as one needs two CPUs of one node, which there are not.
    let (refused, free, asked) = run(TopologyPolicy::Restricted, TopologyScope::Pod, 2);
    assert!(matches!(refused, Err(Refused::Affinity { unit: Unit::Pod, .. })));
    assert_eq!((free, asked), (vec![1, 1], vec![Unit::Pod]));

    let (refused, _, asked) = run(TopologyPolicy::None, TopologyScope::Pod, 3);
    assert!(asked.is_empty());
    let refused = refused.unwrap_err();
    assert_eq!(refused.to_string(), "container 2: nothing free in {0-1}");
}
