//! Made-up machines for tests and benchmarks: every part has as many of the next smaller as every other.

use super::{CpuRecord, NumaRecord, Topology};
use crate::model::cpu_set::CpuId;

/// A regular machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Sockets.
    pub sockets: u32,
    /// NUMA nodes of a socket.
    pub nodes: u32,
    /// Last-level caches of a node.
    pub l3s: u32,
    /// Cores of a cache.
    pub cores: u32,
    /// Threads of a core. The first threads of all cores are numbered before the second ones.
    pub threads: u32,
}

impl Shape {
    /// The machine. Cores, caches, nodes and sockets are numbered through; a node is at distance 10 to itself, 12 to those of
    /// its socket, 32 to others.
    #[must_use]
    pub fn build(self) -> Topology {
        let cores = self.sockets * self.nodes * self.l3s * self.cores;
        let records = (0..cores * self.threads).map(|number| {
            let core = number % cores;
            let l3 = core / self.cores;
            let numa = l3 / self.l3s;
            let socket = numa / self.nodes;
            CpuRecord {
                cpu: CpuId::new(number).unwrap(),
                core,
                l3,
                die: socket,
                numa,
                socket,
            }
        });
        let nodes = self.sockets * self.nodes;
        let nodes = (0..nodes).map(|from| NumaRecord {
            id: from,
            distances: (0..nodes).map(|to| self.distance(from, to)).collect(),
        });
        Topology::new(records, nodes).unwrap()
    }
    fn distance(self, from: u32, to: u32) -> u32 {
        match (from == to, from / self.nodes == to / self.nodes) {
            (true, _) => 10,
            (false, true) => 12,
            (false, false) => 32,
        }
    }
}
