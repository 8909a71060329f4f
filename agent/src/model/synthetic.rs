//! Made-up machines of any size, for tests and measurements.
//!
//! **How.** Each number counts parts of the next larger one: sockets, NUMA nodes a socket, last-level caches a node, cores a
//! cache, threads a core. CPUs are numbered as servers have it: first the first threads of all cores in order, then
//! the second ones. Every NUMA node is a die. Distances are 10 to itself, 12 within a socket, 32 beyond.

use super::cpu_set::CpuId;
use super::cpu_topology::{CpuRecord, NumaRecord, Topology};

/// The shape of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synthetic {
    /// Sockets.
    pub sockets: u32,
    /// NUMA nodes of a socket.
    pub nodes: u32,
    /// Last-level caches of a NUMA node.
    pub caches: u32,
    /// Cores of a last-level cache.
    pub cores: u32,
    /// Threads of a core.
    pub threads: u32,
}

impl Synthetic {
    /// How many CPUs it has.
    #[must_use]
    pub const fn cpus(self) -> u32 {
        self.sockets * self.nodes * self.caches * self.cores * self.threads
    }

    /// The machine. Its parts must be 1 or more, its CPUs 8 192 and its NUMA nodes 64 at most.
    #[must_use]
    pub fn topology(self) -> Topology {
        let nodes = self.sockets * self.nodes;
        let all_cores = nodes * self.caches * self.cores;
        let records = (0..self.cpus()).map(|number| {
            let core = number % all_cores;
            let l3 = core / self.cores;
            let numa = l3 / self.caches;
            CpuRecord {
                cpu: CpuId::new(number).unwrap(),
                core,
                l3,
                die: numa,
                numa,
                socket: numa / self.nodes,
            }
        });
        let distances = |from: u32| {
            let distance = move |to: u32| match (from == to, from / self.nodes == to / self.nodes) {
                (true, _) => 10,
                (false, true) => 12,
                (false, false) => 32,
            };
            (0..nodes).map(distance).collect()
        };
        let nodes = (0..nodes).map(|id| NumaRecord {
            id,
            distances: distances(id),
        });
        Topology::new(records, nodes).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_counted_within_the_larger_part() {
        let shape = Synthetic {
            sockets: 2,
            nodes: 4,
            caches: 2,
            cores: 8,
            threads: 2,
        };
        let topology = shape.topology();
        assert_eq!(topology.cpus().len(), 256);
        let sizes = [
            topology.sockets().len(),
            topology.numa_nodes().len(),
            topology.l3s().len(),
            topology.cores().len(),
        ];
        assert_eq!(sizes, [2, 8, 16, 128]);
        assert_eq!(topology.cores()[3].cpus.to_string(), "3,131");
        assert_eq!(topology.numa_nodes()[1].cpus.to_string(), "16-31,144-159");
        assert_eq!(
            [
                topology.distance(1, 1),
                topology.distance(1, 3),
                topology.distance(1, 4)
            ],
            [10, 12, 32]
        );
    }
}
