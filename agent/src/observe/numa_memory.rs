//! How much memory each NUMA node has.
//!
//! **How.** A node's `meminfo` and `hugepages` say it. On a machine without a NUMA directory its one node has what the
//! machine has.

use crate::kernel::node_facts::Machine;
use crate::model::{Bytes, NumaMemory, Topology};
use crate::observe::node::{self, CapacityError};

/// The memory of each node of `topology`, in its order.
///
/// # Errors
/// A file is missing or unreadable, or does not tell the memory.
pub fn read(machine: &Machine, topology: &Topology) -> Result<Vec<NumaMemory>, CapacityError> {
    const DIRECTORY: &str = "/sys/devices/system/node";
    if machine.names(DIRECTORY)?.is_none() {
        let capacity = node::capacity(machine)?;
        return Ok(vec![NumaMemory {
            total: capacity.memory,
            huge_pages: capacity.huge_pages,
        }]);
    }
    let read = |id: u32| {
        let directory = format!("{DIRECTORY}/node{id}");
        Ok(NumaMemory {
            total: total(machine, format!("{directory}/meminfo"))?,
            huge_pages: node::huge_pages(machine, &format!("{directory}/hugepages"))?,
        })
    };
    topology.numa_nodes().iter().map(|node| read(node.id)).collect()
}

/// `MemTotal` of a node's `meminfo`, whose lines are `Node 0 MemTotal:  16315396 kB`.
fn total(machine: &Machine, path: String) -> Result<Bytes, CapacityError> {
    let text = machine.read(&path)?.unwrap_or_default();
    let kib = text.lines().find_map(|line| {
        let (_, amount) = line.split_once(" MemTotal:")?;
        amount.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    let bytes = kib.and_then(|kib| kib.checked_mul(1024)).map(Bytes);
    bytes.ok_or_else(|| CapacityError::Strange {
        path,
        problem: "there is no line `Node … MemTotal: … kB`".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::HugePageSize;
    use crate::model::Shape;

    fn two_nodes() -> Topology {
        let shape = Shape {
            sockets: 2,
            nodes: 1,
            l3s: 1,
            cores: 1,
            threads: 1,
        };
        shape.build()
    }

    fn machine(files: &[(&str, &str)]) -> Machine {
        let named =
            |(path, text): &(&str, &str)| (format!("/sys/devices/system/node/{path}"), (*text).to_owned());
        Machine::captured(files.iter().map(named).collect())
    }

    #[test]
    fn each_node_tells_its_own() {
        let files = [
            (
                "node0/meminfo",
                "Node 0 MemTotal:       1024 kB\nNode 0 MemFree:  1 kB\n",
            ),
            ("node0/hugepages/hugepages-2048kB/nr_hugepages", "3\n"),
            ("node1/meminfo", "Node 1 MemTotal:          0 kB\n"),
        ];
        let memory = read(&machine(&files), &two_nodes()).unwrap();
        assert_eq!(memory[0].total, Bytes::mib(1));
        assert_eq!(
            memory[0].huge_pages,
            BTreeMap::from([(HugePageSize(2 << 20), Bytes::mib(6))])
        );
        assert_eq!(memory[1], NumaMemory::default());

        let error = read(&machine(&files[..2]), &two_nodes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/sys/devices/system/node/node1/meminfo does not read: there is no line `Node … MemTotal: … kB`"
        );
    }

    #[test]
    fn this_machines_nodes_have_its_memory() {
        let machine = Machine::default();
        let cpus = crate::observe::cpu_topology::read(&machine).unwrap();
        let memory = read(&machine, &cpus.topology).unwrap();
        let sum: u64 = memory.iter().map(|node| node.total.0).sum();
        assert_eq!(sum, node::capacity(&machine).unwrap().memory.0);
    }
}
