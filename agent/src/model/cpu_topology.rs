//! Where the machine's logical CPUs lie: which share a core, a last-level cache, a die, a NUMA node, a socket.
//!
//! **Problem.** Every assignment asks the same questions: which CPUs are in this node, which node is this CPU in, how
//! far are two nodes apart. The kernel's numbers for cores, caches, nodes and sockets may have gaps, and sysfs may
//! contradict itself. **How.** [`Topology::new`] takes one plain record a CPU, from wherever it comes (sysfs, a test
//! vector, a made-up machine), checks the records against each other, and works out each group's CPUs once.
//!
//! **Terms.** A *group* is one core, cache, die, node or socket. Its *id* is the kernel's number; its *index* is its
//! place among the groups of its kind, which are in ascending order of ids, cores in the order of their lowest CPU.
//! Indices have no gaps; NUMA masks and everything within a decision go by them, and only what people see goes by ids.
//!
//! # Properties
//! - The groups of a kind share no CPU and together have all.
//! - A CPU's place and the group's CPUs agree.
//! - The same records in another order make the same topology.

mod check;
mod group;
#[cfg(any(test, feature = "testutils"))]
#[expect(
    clippy::unwrap_used,
    reason = "a shape that makes no machine is a defect of the test"
)]
mod synthetic;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::cpu_set::{CpuId, CpuSet};

pub use check::TopologyError;
pub use group::CpuGroup;
use group::groups;
#[cfg(any(test, feature = "testutils"))]
pub use synthetic::Shape;

/// Distance of a NUMA node to itself where the firmware tells none, as in ACPI's SLIT.
const LOCAL: u32 = 10;
/// Distance of two nodes where the firmware tells none, as the kernel assumes.
const REMOTE: u32 = 20;

/// What is known of one logical CPU; all numbers are unique in the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CpuRecord {
    /// The CPU.
    pub cpu: CpuId,
    /// Its core: any number that its SMT siblings share and no other CPU has, such as the lowest sibling's.
    pub core: u32,
    /// Its last-level cache; the socket's number where there is none.
    pub l3: u32,
    /// Its die.
    pub die: u32,
    /// Its NUMA node; 0 on a machine without NUMA.
    pub numa: u32,
    /// Its socket.
    pub socket: u32,
}

/// One NUMA node, with or without CPUs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NumaRecord {
    /// The kernel's number.
    pub id: u32,
    /// Distances to the nodes, itself included, in the ascending order of their numbers; empty when not known.
    pub distances: Vec<u32>,
}

/// Where a CPU lies: the index of its group of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuPlace {
    /// Its core.
    pub core: usize,
    /// Its last-level cache.
    pub l3: usize,
    /// Its die.
    pub die: usize,
    /// Its NUMA node.
    pub numa: usize,
    /// Its socket.
    pub socket: usize,
}

/// The machine's CPUs and how they lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    records: Vec<CpuRecord>,
    nodes: Vec<NumaRecord>,
    cpus: CpuSet,
    /// By CPU number.
    places: Vec<Option<CpuPlace>>,
    cores: Vec<CpuGroup>,
    threads_per_core: usize,
    l3s: Vec<CpuGroup>,
    dies: Vec<CpuGroup>,
    numa_nodes: Vec<CpuGroup>,
    sockets: Vec<CpuGroup>,
}

impl Topology {
    /// How many NUMA nodes there may be: the bits of a mask.
    pub const MOST_NUMA_NODES: usize = 64;

    /// The topology of `cpus`, each once. `nodes` adds what the CPUs do not tell, nodes without CPUs and distances;
    /// without it the nodes are those that CPUs name.
    ///
    /// # Errors
    /// There is no CPU, one is there twice, the SMT siblings of a core lie in different caches, dies, nodes or sockets,
    /// a CPU names a node that is not among `nodes`, a node is there twice or there are too many, or distances are
    /// incomplete or less than a node's to itself.
    pub fn new(
        cpus: impl IntoIterator<Item = CpuRecord>,
        nodes: impl IntoIterator<Item = NumaRecord>,
    ) -> Result<Self, TopologyError> {
        let mut records: Vec<_> = cpus.into_iter().collect();
        records.sort_by_key(|record| record.cpu);
        let mut nodes: Vec<_> = nodes.into_iter().collect();
        nodes.sort_by_key(|node| node.id);
        if nodes.is_empty() {
            nodes = nodes_of(&records);
        }
        check::records(&records, &nodes)?;
        check::nodes(&nodes)?;

        let mut cores = groups(&records, [], |record| record.core);
        cores.sort_by_key(|core| core.cpus.first());
        let mut topology = Self {
            cpus: records.iter().map(|record| record.cpu).collect(),
            threads_per_core: cores.iter().map(|core| core.cpus.len()).max().unwrap_or(1),
            cores,
            l3s: groups(&records, [], |record| record.l3),
            dies: groups(&records, [], |record| record.die),
            numa_nodes: groups(&records, nodes.iter().map(|node| node.id), |record| record.numa),
            sockets: groups(&records, [], |record| record.socket),
            places: Vec::new(),
            records,
            nodes,
        };
        topology.places = topology.find_places();
        Ok(topology)
    }

    fn find_places(&self) -> Vec<Option<CpuPlace>> {
        let count = self.cpus.last().map_or(0, |cpu| cpu.index() + 1);
        let nowhere = CpuPlace {
            core: 0,
            l3: 0,
            die: 0,
            numa: 0,
            socket: 0,
        };
        let mut places = vec![None; count];
        let mut note = |groups: &[CpuGroup], set: fn(&mut CpuPlace, usize)| {
            for (index, group) in groups.iter().enumerate() {
                for cpu in group.cpus.iter() {
                    set(places[cpu.index()].get_or_insert(nowhere), index);
                }
            }
        };
        note(&self.cores, |place, index| place.core = index);
        note(&self.l3s, |place, index| place.l3 = index);
        note(&self.dies, |place, index| place.die = index);
        note(&self.numa_nodes, |place, index| place.numa = index);
        note(&self.sockets, |place, index| place.socket = index);
        places
    }

    /// All CPUs.
    #[must_use]
    pub fn cpus(&self) -> &CpuSet {
        &self.cpus
    }

    /// Where `cpu` lies, if the machine has it.
    #[must_use]
    pub fn place(&self, cpu: CpuId) -> Option<&CpuPlace> {
        self.places.get(cpu.index())?.as_ref()
    }

    /// The cores.
    #[must_use]
    pub fn cores(&self) -> &[CpuGroup] {
        &self.cores
    }

    /// The most SMT siblings that a core has: 1 without SMT.
    ///
    /// On a hybrid machine it is that of its large cores.
    #[must_use]
    pub fn threads_per_core(&self) -> usize {
        self.threads_per_core
    }

    /// The last-level caches.
    #[must_use]
    pub fn l3s(&self) -> &[CpuGroup] {
        &self.l3s
    }

    /// The dies.
    #[must_use]
    pub fn dies(&self) -> &[CpuGroup] {
        &self.dies
    }

    /// The NUMA nodes, those without CPUs included.
    #[must_use]
    pub fn numa_nodes(&self) -> &[CpuGroup] {
        &self.numa_nodes
    }

    /// How many NUMA nodes have CPUs.
    #[must_use]
    pub fn nodes_with_cpus(&self) -> usize {
        self.numa_nodes
            .iter()
            .filter(|node| !node.cpus.is_empty())
            .count()
    }

    /// The sockets.
    #[must_use]
    pub fn sockets(&self) -> &[CpuGroup] {
        &self.sockets
    }

    /// The distance from the node at index `from` to that at `to`, in the firmware's unit: 10 is a node's to itself.
    /// Where the firmware tells none, 10 and 20.
    #[must_use]
    pub fn distance(&self, from: usize, to: usize) -> u32 {
        let told = self.nodes.get(from).and_then(|node| node.distances.get(to));
        told.copied().unwrap_or(if from == to { LOCAL } else { REMOTE })
    }

    /// The records it was made of, by CPU.
    #[must_use]
    pub fn records(&self) -> &[CpuRecord] {
        &self.records
    }

    /// The NUMA nodes it was made of, by number.
    #[must_use]
    pub fn numa_records(&self) -> &[NumaRecord] {
        &self.nodes
    }
}

/// The nodes that the CPUs name.
fn nodes_of(records: &[CpuRecord]) -> Vec<NumaRecord> {
    let mut ids: Vec<_> = records.iter().map(|record| record.numa).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter()
        .map(|id| NumaRecord {
            id,
            distances: Vec::new(),
        })
        .collect()
}
