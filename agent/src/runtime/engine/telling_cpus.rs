//! The part of the report that is about CPUs and memory of one's own.

use std::time::Duration;

use super::{Engine, Managed};
use crate::model::{
    CgroupPath, ContainerCpus, ContainerName, ControlFile, CpuSet, GrantReport, NodeCpus, NumaCpus,
};

impl Engine {
    /// Who may run on which CPU; none where nobody gives CPUs.
    pub(super) fn node_cpus(&self) -> Option<NodeCpus> {
        let allotment = self.allotment.as_ref()?;
        allotment.managers().cpus.as_ref()?;
        let mut exclusive = CpuSet::EMPTY;
        let held = allotment.assignments().pods().values();
        held.flat_map(|containers| containers.values())
            .for_each(|cpus| exclusive |= cpus);
        let (shared, reserved) = (allotment.shared(), allotment.reserved());
        let nodes = allotment.topology().numa_nodes().iter();
        let by_node = nodes.map(|node| NumaCpus {
            node: node.id,
            shared: &(&node.cpus & &shared) - &reserved,
            reserved: &node.cpus & &reserved,
            exclusive: &node.cpus & &exclusive,
        });
        Some(NodeCpus {
            by_node: by_node.collect(),
            shared,
            reserved,
            exclusive,
            kernel_threads: self.kernel_threads.clone(),
            changes: self.cpu_changes.iter().cloned().collect(),
        })
    }

    /// When an agent before this one gave it its CPUs.
    fn granted_before(&self, managed: &Managed, name: &ContainerName) -> Duration {
        let before = self.given_before.as_ref();
        let pin = before.and_then(|before| before.pin(&managed.run.pod.uid, name));
        Duration::from_secs(pin.map_or(0, |pin| pin.granted))
    }

    /// Where a container may run, and why; none where nobody gives CPUs or memory, or before it was let in.
    pub(super) fn container_cpus(
        &self,
        managed: &Managed,
        name: &ContainerName,
        path: &CgroupPath,
    ) -> Option<ContainerCpus> {
        let placement = managed.given.iter().find(|placement| placement.name == *name)?;
        let cgroup = self.actual.cgroups.get(path);
        let shown = cgroup.and_then(|cgroup| cgroup.values.get(&ControlFile::CpusetCpusEffective));
        Some(ContainerCpus {
            own: placement.cpus.clone(),
            has: shown.and_then(|list| CpuSet::parse(list).ok()),
            memory_nodes: placement.mems.clone(),
            why: placement.why.clone(),
            partition: self.partition_told(path),
            grant: placement.cpus.as_ref().map(|_| GrantReport {
                granted_at: match managed.granted_at {
                    Some(at) => self.settings.booted_at.saturating_add(at.0),
                    None => self.granted_before(managed, name),
                },
                clean_after: managed.clean_after,
                foreign: cgroup.and_then(|cgroup| self.foreign.get(&cgroup.id).copied()),
            }),
        })
    }
}
