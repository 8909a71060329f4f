//! What the tree of cgroups should look like: every value at node, QoS, pod and container level.
//!
//! **Problem.** Four levels of cgroups turn the pods' requests and limits into weights, quotas, limits and
//! protections that hold together. **How.** `pod_config` and `container` compute one pod and one container as
//! kubelet and a runtime do; `memory` decides protections and tripwires; `levels` adds them up for the levels
//! above. All values that the agent manages are always present, the kernel's defaults too, so that drift from
//! them is seen and repaired.
//!
//! # Properties
//! - Every cgroup's parent is in the tree; no file of a controller that is not available is.
//! - With sound memory QoS, no cgroup's `memory.min` or `memory.low` exceeds its parent's, and children of the
//!   levels above the pods together have no more than their parent.
//! - `memory.high` never exceeds `memory.max`, and no protection does.

mod container;
mod levels;
mod memory;
mod pod_config;
#[cfg(test)]
mod props;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Bytes, CgroupPath, ControlFile, Controller, CpuPeriod, CpuQuota, HugePageSize, KnobValue, Layout, Limit,
    NodeCapacity, Pod,
};

use super::cpusets::Cpusets;
use super::policy::PlacementPolicy;
use super::qos::qos_class;

pub use memory::Protection;
pub use pod_config::{PodConfig, pod_config};

/// Controllers that placement uses, where the node has them.
pub const WANTED: [Controller; 5] = [
    Controller::Cpu,
    Controller::Cpuset,
    Controller::Memory,
    Controller::Pids,
    Controller::Hugetlb,
];

/// One cgroup as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DesiredCgroup {
    /// Values of its interface files.
    pub knobs: BTreeMap<ControlFile, KnobValue>,
}

/// The agent's whole tree as it should be; parents are always present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DesiredTree {
    /// Cgroups by place.
    pub cgroups: BTreeMap<CgroupPath, DesiredCgroup>,
    /// Controllers to enable on every level that has children.
    pub controllers: BTreeSet<Controller>,
    /// The naming, which tells pods from levels, and both from what is not ours.
    pub layout: Layout,
}

impl DesiredTree {
    /// Every interface file that the agent manages somewhere in the tree: what to read back to see drift.
    #[must_use]
    pub fn files(&self) -> BTreeSet<ControlFile> {
        self.cgroups
            .values()
            .flat_map(|c| c.knobs.keys().copied())
            .collect()
    }
}

/// All that the tree follows from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The pods that are to have a place: admitted, and not ended yet.
    pub pods: &'a [&'a Pod],
    /// The machine.
    pub node: &'a NodeCapacity,
    /// The owner's settings.
    pub policy: &'a PlacementPolicy,
    /// The controllers that the root has.
    pub available: &'a BTreeSet<Controller>,
    /// Cgroups whose tripwire has gone off and was not answered in time. Their `memory.high` is lifted, so that
    /// `memory.max` decides instead of throttling without end.
    pub lifted: &'a BTreeSet<CgroupPath>,
    /// Lists of CPUs and NUMA nodes.
    pub cpusets: &'a Cpusets,
}

/// The tree that `inputs` call for.
#[must_use]
pub fn desired_tree(inputs: &Inputs) -> DesiredTree {
    let layout = &inputs.policy.layout;
    let mut builder = Builder {
        node: inputs.node,
        available: inputs.available,
        cgroups: BTreeMap::new(),
    };
    levels::add(&mut builder, inputs);
    for pod in inputs.pods {
        let class = qos_class(pod);
        let path = layout.pod(class, &pod.uid);
        pod_config::add(&mut builder, inputs, pod, &path);
        for container in pod.all_containers() {
            let path = layout.container(class, &pod.uid, &container.name);
            container::add(&mut builder, inputs, pod, container, path);
        }
    }
    DesiredTree {
        cgroups: builder.cgroups,
        controllers: WANTED
            .into_iter()
            .filter(|c| inputs.available.contains(c))
            .collect(),
        layout: layout.clone(),
    }
}

/// Gathers the tree, leaving out files that the node does not have.
struct Builder<'a> {
    node: &'a NodeCapacity,
    available: &'a BTreeSet<Controller>,
    cgroups: BTreeMap<CgroupPath, DesiredCgroup>,
}

impl Builder<'_> {
    fn cgroup(&mut self, path: CgroupPath, knobs: impl IntoIterator<Item = (ControlFile, KnobValue)>) {
        let has = |file: &ControlFile| {
            let accounted = *file != ControlFile::MemorySwapMax || self.node.swap.is_some();
            accounted && file.controller().is_none_or(|c| self.available.contains(&c))
        };
        let knobs = knobs.into_iter().filter(|(file, _)| has(file)).collect();
        self.cgroups.insert(path, DesiredCgroup { knobs });
    }
}

/// The lists of a cgroup below the root; empty ones where it has its parent's CPUs and NUMA nodes.
fn lists(cpusets: &Cpusets, path: &CgroupPath) -> [(ControlFile, KnobValue); 2] {
    [
        (ControlFile::CpusetCpus, KnobValue::Cpus(cpusets.cpus(path))),
        (ControlFile::CpusetMems, KnobValue::NumaNodes(cpusets.mems(path))),
    ]
}

/// The `cpu.max` of a quota; none and kubelet's 0 both mean no bound.
fn cpu_max(quota: Option<CpuQuota>, period: CpuPeriod) -> (ControlFile, KnobValue) {
    let quota = quota.filter(|q| q.0 > 0).map_or(Limit::Max, Limit::At);
    (ControlFile::CpuMax, KnobValue::CpuMax(quota, period))
}

/// A memory limit; none and kubelet's 0 both mean no bound.
fn memory_limit(file: ControlFile, limit: Option<Bytes>) -> (ControlFile, KnobValue) {
    let limit = limit.filter(|b| b.0 > 0).map_or(Limit::Max, Limit::At);
    (file, KnobValue::Memory(limit))
}

/// Both limits of each size that the node has, in whole pages, which is all that the kernel keeps.
fn huge_page_limits(
    node: &NodeCapacity,
    limit: impl Fn(HugePageSize) -> Limit<Bytes>,
) -> Vec<(ControlFile, KnobValue)> {
    let sizes = node.huge_pages.keys().filter(|size| size.0 > 0);
    sizes
        .flat_map(|&size| {
            let value = KnobValue::Memory(match limit(size) {
                Limit::At(bytes) => Limit::At(Bytes(bytes.0 / size.0 * size.0)),
                Limit::Max => Limit::Max,
            });
            [
                (ControlFile::HugetlbMax(size), value.clone()),
                (ControlFile::HugetlbRsvdMax(size), value),
            ]
        })
        .collect()
}
