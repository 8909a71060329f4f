//! Containers' own CPUs as cpuset partitions, where the node's owner wants that: nobody else can run there then, not even
//! what is outside the agent's root.
//!
//! A partition is made once the kernel shows that the container has its CPUs and others do not, and before anybody looks
//! who is still there. It ends before its CPUs are changed or its cgroup goes, since the kernel minds either. What the
//! kernel refuses is told with its own reason, and the container runs on its list alone; it is tried again when the CPUs
//! change.

use std::collections::BTreeMap;

use tracing::{info, warn};

use super::Engine;
use crate::act::partition::{PartitionOutcome, make, unmake};
use crate::decide::plan::{CgroupOp, Step};
use crate::model::{CgroupPath, ControlFile, CpuSet, PartitionKind, PartitionState};

/// Why there is none of CPUs that a container of the same pod had before: the kernel wants siblings to be apart.
const USED_AGAIN: &str = "another container of the pod uses some of its CPUs again";

/// What became of a container's partition.
#[derive(Debug)]
pub(super) struct Partition {
    /// The container's own CPUs at that time.
    cpus: CpuSet,
    /// The kind that was made, or why there is none.
    made: Result<PartitionKind, String>,
}

pub(super) type Partitions = BTreeMap<CgroupPath, Partition>;

impl Engine {
    /// Finds the partitions of an agent before this one.
    pub(super) fn find_partitions(&mut self) {
        let file = ControlFile::CpusetPartition;
        for (path, cgroup) in self.actual.cgroups.iter().filter(|(_, cgroup)| cgroup.populated) {
            let state = self.ports.cgroups.read(path, file).ok();
            let state = state.and_then(|text| PartitionState::parse(&text));
            let list = cgroup.values.get(&ControlFile::CpusetCpus);
            let cpus = list.and_then(|list| CpuSet::parse(list).ok());
            if let (Some(PartitionState::Valid(kind)), Some(cpus)) = (state, cpus) {
                let made = Ok(kind);
                self.partitions.insert(path.clone(), Partition { cpus, made });
            }
        }
    }

    /// Ends the partitions whose container is not to have just these CPUs any more, or whose list is about to be written.
    pub(super) fn end_partitions(&mut self, steps: &[Step]) {
        let ops = steps.iter().flat_map(|step| &step.ops);
        let touched: Vec<_> = ops
            .filter_map(|op| match op {
                CgroupOp::Write {
                    path,
                    file: ControlFile::CpusetCpus,
                    ..
                }
                | CgroupOp::Remove { path } => Some(path),
                _ => None,
            })
            .collect();
        let stays = |path: &CgroupPath, partition: &Partition| {
            let same = self.cpusets.own().get(path) == Some(&partition.cpus);
            // Above it a pod's or a class's list may change: the kernel then takes away what it must.
            same && !touched.iter().any(|touched| path.is_within(touched))
        };
        let (stay, end) = std::mem::take(&mut self.partitions)
            .into_iter()
            .partition(|(path, partition)| stays(path, partition));
        self.partitions = stay;
        self.unmake(end);
    }

    /// Ends all of them: the machine's CPUs have changed.
    pub(super) fn end_all_partitions(&mut self) {
        let all = std::mem::take(&mut self.partitions);
        self.unmake(all);
    }

    fn unmake(&self, partitions: Partitions) {
        for (path, partition) in partitions.into_iter().filter(|(_, p)| p.made.is_ok()) {
            let ended = unmake(&*self.ports.cgroups, &path, &partition.cpus);
            for error in &ended.failed {
                warn!(cgroup = %path, %error, "a partition cannot be ended");
            }
            if !ended.missing.is_empty() {
                warn!(cgroup = %path, cpus = %ended.missing, "the kernel did not give a partition's CPUs back");
            }
        }
    }

    /// Makes the partitions that are wanted and can be.
    pub(super) fn begin_partitions(&mut self) {
        let Some(kind) = self.settings.partition else {
            return;
        };
        let layout = &self.settings.policy.layout;
        let own = self.cpusets.own();
        let ready = self
            .pods
            .iter()
            .filter(|(_, managed)| managed.has_place() && managed.held_back.is_none());
        let containers = ready.flat_map(|(uid, managed)| {
            let names = managed.run.containers.keys();
            names.map(|name| layout.container(managed.class, uid, name))
        });
        let wanted = containers.filter_map(|path| Some((own.get(&path)?, path)));
        let wanted: Vec<_> = wanted
            .filter(|(_, path)| !self.partitions.contains_key(path))
            .collect();
        for (cpus, path) in wanted {
            let siblings = own
                .iter()
                .filter(|(other, _)| **other != path && other.parent() == path.parent());
            let made = if siblings.into_iter().any(|(_, theirs)| !theirs.is_disjoint(cpus)) {
                Err(USED_AGAIN.to_owned())
            } else {
                match make(&*self.ports.cgroups, &path, kind, cpus) {
                    PartitionOutcome::Made(kind) => Ok(kind),
                    PartitionOutcome::Refused { reason, left_over } => {
                        for error in &left_over {
                            warn!(cgroup = %path, %error, "what a refused partition left cannot be taken back");
                        }
                        Err(reason.to_string())
                    }
                }
            };
            match &made {
                Ok(kind) => info!(cgroup = %path, %cpus, %kind, "partition made"),
                Err(why) => warn!(cgroup = %path, %cpus, "no partition: {why}"),
            }
            let cpus = cpus.clone();
            self.partitions.insert(path, Partition { cpus, made });
        }
    }

    /// What became of a container's partition, in words; none where none is wanted.
    pub(super) fn partition_told(&self, path: &CgroupPath) -> Option<String> {
        Some(match &self.partitions.get(path)?.made {
            Ok(kind) => kind.to_string(),
            Err(why) => format!("none: {why}"),
        })
    }
}
