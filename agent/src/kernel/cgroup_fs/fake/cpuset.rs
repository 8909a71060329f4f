//! The fake's cpusets: who may run where.
//!
//! **How.** A cgroup keeps what was asked for; what it effectively has is worked out from the top down at each look, so
//! that a write or a CPU that goes offline shows everywhere below at once. Of the kernel's list syntax there are numbers,
//! ranges and separators; the words `all` and `N` and groups (`0-7:1/2`), which the agent never writes, are refused.
//!
//! Source: `kernel/cgroup/cpuset.c` (cpuset_write_resmask, validate_change, update_cpumasks_hier,
//! hotplug_update_tasks), `lib/bitmap-str.c` (bitmap_parselist); held against the kernel by the contract suite.

use rustix::io::Errno;

use super::partition::Partition;
use super::tree::Tree;
use crate::model::{CgroupPath, CpuId, CpuSet};

/// `MAX_NUMNODES` of the usual kernels.
const MOST_NODES: usize = 1024;

/// The kernel whose rules a fake follows where they differ from version to version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FakeKernel {
    /// Only children of partitions can be partitions.
    Linux6_1,
    /// Partitions anywhere (`cpuset.cpus.exclusive`, since 6.7).
    #[default]
    Linux6_12,
    /// A list can be emptied under processes (since 7.0).
    Linux7_2,
}

impl FakeKernel {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Linux6_1, Self::Linux6_12, Self::Linux7_2];

    /// Major and minor version.
    #[must_use]
    pub const fn version(self) -> (u32, u32) {
        match self {
            Self::Linux6_1 => (6, 1),
            Self::Linux6_12 => (6, 12),
            Self::Linux7_2 => (7, 2),
        }
    }
}

/// What the machine has.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) possible: CpuSet,
    pub(super) online: CpuSet,
    /// NUMA nodes with memory, in the same kind of list.
    pub(super) nodes: CpuSet,
    /// CPUs of broken partitions that the kernel never gives back.
    pub(super) lost: CpuSet,
    pub(super) kernel: FakeKernel,
}

impl Default for Machine {
    /// CPUs 0 to 7 on one node.
    fn default() -> Self {
        let cpus: CpuSet = (0..8).filter_map(CpuId::new).collect();
        Self {
            possible: cpus.clone(),
            online: cpus,
            nodes: CpuId::new(0).into_iter().collect(),
            lost: CpuSet::EMPTY,
            kernel: FakeKernel::default(),
        }
    }
}

impl Machine {
    /// What a write to `cpuset.cpus` means.
    pub(super) fn cpus(&self, text: &str) -> Result<CpuSet, Errno> {
        list(text, self.possible.last().map_or(0, |last| last.index() + 1))
    }

    /// What a write to `cpuset.mems` means.
    pub(super) fn nodes(&self, text: &str) -> Result<CpuSet, Errno> {
        let nodes = list(text, MOST_NODES)?;
        if nodes.is_subset(&self.nodes) {
            Ok(nodes)
        } else {
            Err(Errno::INVAL)
        }
    }

    /// Whether `new` may take the place of `current` where there are processes.
    pub(super) fn check_populated(&self, current: &CpuSet, new: &CpuSet) -> Result<(), Errno> {
        if new.is_empty() && !current.is_empty() && self.kernel.version() < (7, 0) {
            return Err(Errno::NOSPC);
        }
        Ok(())
    }
}

/// What was asked for of one cgroup.
#[derive(Debug, Clone, Default)]
pub(super) struct Cpuset {
    pub(super) cpus: CpuSet,
    pub(super) mems: CpuSet,
    /// CPUs kept for partitions: this cgroup or some below.
    pub(super) exclusive: CpuSet,
    pub(super) partition: Partition,
}

impl Tree {
    /// The NUMA nodes that tasks of the cgroup may have memory from.
    pub(super) fn effective_mems(&self, path: &CgroupPath) -> Result<CpuSet, Errno> {
        let nodes = self.nodes_down_to(path)?.into_iter();
        Ok(nodes.fold(self.machine.nodes.clone(), |above, node| {
            effective(&node.cpuset.mems, above)
        }))
    }

    /// A write to `cpuset.mems`.
    pub(super) fn set_mems(&mut self, path: &CgroupPath, value: &str) -> Result<(), Errno> {
        let new = self.machine.nodes(value)?;
        let node = self.node(path)?;
        if new == node.cpuset.mems {
            return Ok(());
        }
        if node.populated() {
            self.machine.check_populated(&node.cpuset.mems, &new)?;
        }
        if self.machine.kernel.version() < (7, 0) {
            self.check_siblings(path, &node.cpuset)?;
        }
        self.node_mut(path)?.cpuset.mems = new;
        Ok(())
    }

    /// A write to `cpuset.cpus`.
    pub(super) fn set_cpus(&mut self, path: &CgroupPath, value: &str) -> Result<(), Errno> {
        let new = self.machine.cpus(value)?;
        let node = self.node(path)?;
        if new == node.cpuset.cpus {
            return Ok(());
        }
        if node.populated() {
            self.machine.check_populated(&node.cpuset.cpus, &new)?;
        }
        self.trample(path, &new)?;
        self.node_mut(path)?.cpuset.cpus = new;
        self.check_partitions();
        Ok(())
    }
}

/// What a cgroup has that asks for `own` below one that has `parent`.
pub(super) fn effective(own: &CpuSet, parent: CpuSet) -> CpuSet {
    let common = own & &parent;
    if common.is_empty() { parent } else { common }
}

/// As the kernel shows a list.
pub(super) fn line(set: &CpuSet) -> String {
    format!("{set}\n")
}

/// The kernel's list of numbers below `most`, up to the first line feed.
fn list(text: &str, most: usize) -> Result<CpuSet, Errno> {
    let text = text.trim().lines().next().unwrap_or_default();
    let mut set = CpuSet::EMPTY;
    for part in text.split([',', ' ', '\t']).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(Errno::INVAL);
        }
        if !usize::try_from(last).is_ok_and(|last| last < most) {
            return Err(Errno::RANGE);
        }
        set.extend((first..=last).filter_map(CpuId::new));
    }
    Ok(set)
}

fn number(text: &str) -> Result<u32, Errno> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Errno::INVAL);
    }
    text.parse().map_err(|_| Errno::OVERFLOW)
}
