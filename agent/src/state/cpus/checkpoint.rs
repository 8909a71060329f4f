//! What is written down about exclusive CPUs, so that a restarted agent knows it.
//!
//! **Problem.** The kernel knows which CPUs a running container may use, but not that they were promised to it alone, nor
//! what is promised to a container that is being started again. **How.** Beside each promise ([`Pin`]) stands what it was
//! made under: the policy with its options, the reserved CPUs, and the machine ([`MachineMark`]), so that what has changed
//! since can be told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use crate::model::{ContainerName, CpuSet, PodUid, Topology};
use crate::state::cpus::CpuAssignments;

/// What is promised, and under what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CpuCheckpoint {
    /// The CPU manager's policy.
    pub policy: PolicyMark,
    /// CPUs that were reserved.
    pub reserved: CpuSet,
    /// The machine.
    pub machine: MachineMark,
    /// The shared pool.
    pub shared: CpuSet,
    /// What containers were promised.
    pub pods: BTreeMap<PodUid, BTreeMap<ContainerName, Pin>>,
}

/// A policy and the options that were on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyMark {
    /// `none` or `static`.
    pub name: String,
    /// The names of the options that were on.
    pub options: BTreeSet<String>,
}

/// What a container was promised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pin {
    /// CPUs of its own; none where only its memory is bound.
    pub cpus: CpuSet,
    /// The NUMA nodes that its memory lies on, by the kernel's numbers; none where it is not bound.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub memory_nodes: BTreeSet<u32>,
    /// When, in seconds since 1970; 0 where it is not known. Of two that claim one CPU the earlier has it.
    #[serde(default)]
    pub granted: u64,
}

/// What tells one machine from another, and from itself with other CPUs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MachineMark {
    /// `/etc/machine-id`, if there is one.
    pub machine_id: Option<String>,
    /// CPUs that were online.
    pub cpus: CpuSet,
    /// How many sockets, NUMA nodes, last-level caches and cores they made.
    pub shape: Counts,
    /// CRC-32 of which CPUs share which core, cache, node and socket.
    pub layout: u32,
}

/// How many parts a machine has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Counts {
    /// Sockets.
    pub sockets: usize,
    /// NUMA nodes, those without CPUs included.
    pub numa_nodes: usize,
    /// Last-level caches.
    pub l3s: usize,
    /// Cores.
    pub cores: usize,
    /// Logical CPUs online.
    pub cpus: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sockets, {} NUMA nodes, {} last-level caches, {} cores, {} CPUs",
            self.sockets, self.numa_nodes, self.l3s, self.cores, self.cpus
        )
    }
}

impl MachineMark {
    /// The mark of the machine that has this topology and id.
    #[must_use]
    pub fn of(topology: &Topology, machine_id: Option<String>) -> Self {
        Self {
            machine_id,
            cpus: topology.cpus().clone(),
            shape: Counts {
                sockets: topology.sockets().len(),
                numa_nodes: topology.numa_nodes().len(),
                l3s: topology.l3s().len(),
                cores: topology.cores().len(),
                cpus: topology.cpus().len(),
            },
            layout: layout(topology),
        }
    }

    /// Whether `now` is known to be another machine.
    #[must_use]
    pub fn is_other_than(&self, now: &Self) -> bool {
        matches!((&self.machine_id, &now.machine_id), (Some(was), Some(is)) if was != is)
    }

    /// Whether the same CPUs lie otherwise in `now`. With others online nothing can be said.
    #[must_use]
    pub fn lies_otherwise_than(&self, now: &Self) -> bool {
        self.cpus == now.cpus && self.layout != now.layout
    }
}

/// A checksum of who lies together. The kernel's numbers of caches and dies, which may be counted otherwise at the next
/// boot, have no part in it; those of NUMA nodes have, for memory is bound to them.
fn layout(topology: &Topology) -> u32 {
    let mut text = String::new();
    let parts = [topology.cores(), topology.l3s(), topology.sockets()];
    for (kind, groups) in parts.into_iter().enumerate() {
        // Sorted by the CPUs, which no numbering changes.
        let mut sets: Vec<_> = groups.iter().map(|group| group.cpus.to_string()).collect();
        sets.sort_unstable();
        sets.iter().for_each(|cpus| push(&mut text, kind, cpus));
    }
    for node in topology.numa_nodes() {
        push(&mut text, node.id, &node.cpus.to_string());
    }
    crc32fast::hash(text.as_bytes())
}

fn push(text: &mut String, id: impl fmt::Display, cpus: &str) {
    // Writing to a string does not fail.
    write!(text, "{id}:{cpus};").ok();
}

impl CpuCheckpoint {
    /// What is to be written once `assignments` hold. What is new is `granted` at the moment given; a pin of `before`
    /// whose CPUs and memory nodes are still the same keeps its moment. `memory` has the NUMA nodes of containers whose
    /// memory is bound, by the kernel's numbers.
    #[must_use]
    pub fn of(
        assignments: &CpuAssignments,
        memory: &BTreeMap<PodUid, BTreeMap<ContainerName, BTreeSet<u32>>>,
        under: (PolicyMark, CpuSet, MachineMark),
        before: Option<&Self>,
        granted: u64,
    ) -> Self {
        let mut pods: BTreeMap<PodUid, BTreeMap<ContainerName, Pin>> = BTreeMap::new();
        for (pod, held) in assignments.pods() {
            for (container, cpus) in held {
                let pin = pods.entry(pod.clone()).or_default();
                pin.entry(container.clone()).or_default().cpus = cpus.clone();
            }
        }
        for (pod, bound) in memory {
            for (container, nodes) in bound {
                let pin = pods.entry(pod.clone()).or_default();
                pin.entry(container.clone()).or_default().memory_nodes = nodes.clone();
            }
        }
        for (pod, pins) in &mut pods {
            for (container, pin) in pins {
                let was = before.and_then(|before| before.pin(pod, container));
                pin.granted = match was {
                    Some(was) if was.cpus == pin.cpus && was.memory_nodes == pin.memory_nodes => was.granted,
                    _ => granted,
                };
            }
        }
        let (policy, reserved, machine) = under;
        Self {
            policy,
            reserved,
            machine,
            shared: assignments.shared().clone(),
            pods,
        }
    }

    /// What a container was promised.
    #[must_use]
    pub fn pin(&self, pod: &PodUid, container: &ContainerName) -> Option<&Pin> {
        self.pods.get(pod)?.get(container)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Shape;

    fn topology(sockets: u32, threads: u32) -> Topology {
        let shape = Shape {
            sockets,
            nodes: 1,
            l3s: 2,
            cores: 2,
            threads,
        };
        shape.build()
    }

    #[test]
    fn a_mark_tells_layouts_apart_and_not_numberings() {
        let mark = |topology: &Topology| MachineMark::of(topology, None);
        let (one, two) = (topology(2, 2), topology(4, 1));
        assert_eq!(mark(&one), mark(&topology(2, 2)));
        assert_eq!(
            mark(&one).shape.to_string(),
            "2 sockets, 2 NUMA nodes, 4 last-level caches, 8 cores, 16 CPUs"
        );
        assert_ne!(mark(&one).layout, mark(&two).layout);
        let renumbered = one.records().iter().map(|record| crate::model::CpuRecord {
            l3: 70 - record.l3,
            core: 900 - record.core,
            ..*record
        });
        let renumbered = Topology::new(renumbered, one.numa_records().to_vec()).unwrap();
        assert_eq!(mark(&renumbered), mark(&one));
        let moved = one.records().iter().map(|record| crate::model::CpuRecord {
            numa: 1 - record.numa,
            ..*record
        });
        let moved = Topology::new(moved, one.numa_records().to_vec()).unwrap();
        assert_ne!(mark(&moved), mark(&one));
    }

    #[test]
    fn only_a_known_other_id_is_another_machine() {
        let mark = |id: Option<&str>| MachineMark::of(&topology(1, 1), id.map(str::to_owned));
        assert!(mark(Some("a")).is_other_than(&mark(Some("b"))));
        for (was, is) in [(Some("a"), Some("a")), (None, Some("a")), (Some("a"), None)] {
            assert!(!mark(was).is_other_than(&mark(is)));
        }
    }

    #[test]
    fn a_pin_keeps_its_moment_as_long_as_it_is_the_same() {
        let cpus = |list: &str| CpuSet::parse(list).unwrap();
        let pod = PodUid::parse("p").unwrap();
        let [a, b] = ["a", "b"].map(|name| ContainerName::parse(name).unwrap());
        let mut assignments = CpuAssignments::new(cpus("0-7"));
        assignments.grant(&pod, &a, cpus("2-3")).unwrap();
        assignments.grant(&pod, &b, cpus("4")).unwrap();
        let memory = [(pod.clone(), [(b.clone(), [0, 8].into())].into())].into();
        let make = |assignments: &CpuAssignments, before: Option<&CpuCheckpoint>, at| {
            CpuCheckpoint::of(assignments, &memory, Default::default(), before, at)
        };
        let first = make(&assignments, None, 100);
        assert_eq!(make(&assignments, Some(&first), 200), first);
        assignments.grant(&pod, &a, cpus("2")).unwrap();
        let second = make(&assignments, Some(&first), 200);
        assert_eq!(second.pin(&pod, &a).unwrap().granted, 200);
        assert_eq!(second.pin(&pod, &b), first.pin(&pod, &b));
        let text = serde_json::to_string(&second).unwrap();
        assert!(
            text.ends_with(
                r#""shared":"0-1,3,5-7","pods":{"p":{"a":{"cpus":"2","granted":200},"b":{"cpus":"4","memoryNodes":[0,8],"granted":100}}}}"#
            ),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<CpuCheckpoint>(&text).unwrap(), second);
    }
}
