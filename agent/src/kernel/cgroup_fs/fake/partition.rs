//! The fake's cpuset partitions: cgroups that hold CPUs which nobody else has.
//!
//! **How.** Since Linux 6.7 a cgroup anywhere can be a partition. What it holds is what it and every ancestor keep for
//! partitions (`cpuset.cpus.exclusive`); the whole machine lacks it. Linux 6.1 allows children of partitions only, and
//! there the fake always refuses.
//!
//! Not here: partitions within partitions, the agent's root as one, and a partition without exclusive CPUs of its own: it
//! would hold its `cpuset.cpus`, and 6.12 and 7.2 lose CPUs when those change. A write that would make one gets `ENOSYS`,
//! which the kernel never answers.
//!
//! Source: `kernel/cgroup/cpuset.c` (update_prstate, remote_partition_enable, remote_partition_check,
//! compute_partition_effective_cpumask, cpus_excl_conflict); held against the kernel by the contract suite.

use rustix::io::Errno;

use super::cpuset::{self, Cpuset};
use super::tree::{Node, Tree};
use crate::model::{CgroupPath, CpuSet};

const NO_PARTITION_ABOVE: &str = "Parent is not a partition root";
const BAD_LIST: &str = "Invalid cpu list in cpuset.cpus.exclusive";
const UNPLUGGED: &str = "No cpu available due to hotplug";
const OVERLAP: &str = "Cpu list in cpuset.cpus not exclusive";

/// What a cgroup is, or tries to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Partition {
    #[default]
    Member,
    Valid(&'static str),
    /// With the kernel's reason, except where the kernel gives none.
    Invalid(&'static str, Option<&'static str>),
}

impl Partition {
    /// As `cpuset.cpus.partition` reads.
    pub(super) fn line(self) -> String {
        match self {
            Self::Member => "member\n".to_owned(),
            Self::Valid(kind) => format!("{kind}\n"),
            Self::Invalid(kind, Some(reason)) => format!("{kind} invalid ({reason})\n"),
            Self::Invalid(kind, None) => format!("{kind} invalid\n"),
        }
    }

    fn spoil(&mut self, reason: Option<&'static str>) {
        if let Self::Valid(kind) = *self {
            *self = Self::Invalid(kind, reason);
        }
    }
}

impl Cpuset {
    fn is_partition(&self) -> bool {
        matches!(self.partition, Partition::Valid(_))
    }

    /// The CPUs that it asks to have alone.
    fn claimed(&self) -> &CpuSet {
        if self.exclusive.is_empty() {
            &self.cpus
        } else {
            &self.exclusive
        }
    }

    /// Whether all that it asks for is kept by `other`, and nothing by itself.
    fn is_within(&self, other: &Self) -> bool {
        self.exclusive.is_empty() && !self.cpus.is_empty() && self.cpus.is_subset(&other.exclusive)
    }

    /// What it keeps for partitions, or holds as one, of what its parent keeps.
    fn held(&self, kept_above: &CpuSet) -> CpuSet {
        &self.exclusive & kept_above
    }
}

impl Tree {
    /// What all cgroups together have that are in no partition.
    fn shared(&self) -> CpuSet {
        fn taken(node: &Node, kept_above: &CpuSet, all: &mut CpuSet) {
            let kept = node.cpuset.held(kept_above);
            if node.cpuset.is_partition() {
                *all |= &kept;
            }
            for child in node.children.values() {
                taken(child, &kept, all);
            }
        }
        let mut all = self.machine.lost.clone();
        taken(&self.root, &self.machine.possible, &mut all);
        &self.machine.online - &all
    }

    /// The CPUs that tasks of the cgroup may run on.
    pub(super) fn effective_cpus(&self, path: &CgroupPath) -> Result<CpuSet, Errno> {
        let mut kept = self.machine.possible.clone();
        let mut effective = self.shared();
        for node in self.nodes_down_to(path)? {
            let own = &node.cpuset;
            kept = own.held(&kept);
            effective = if own.is_partition() {
                &kept & &self.machine.online
            } else {
                cpuset::effective(&own.cpus, effective)
            };
        }
        Ok(effective)
    }

    /// What the cgroup's parent keeps for partitions.
    fn kept_above(&self, path: &CgroupPath) -> Result<CpuSet, Errno> {
        let Some(parent) = path.parent() else {
            return Ok(self.machine.possible.clone());
        };
        let mut kept = self.machine.possible.clone();
        for node in self.nodes_down_to(&parent)? {
            kept = node.cpuset.held(&kept);
        }
        Ok(kept)
    }

    fn siblings(&self, path: &CgroupPath) -> Result<Vec<&Cpuset>, Errno> {
        let Some((parent, name)) = path.parent().zip(path.name()) else {
            return Ok(Vec::new());
        };
        let children = &self.node(&parent)?.children;
        let others = children.iter().filter(|(other, _)| *other != name);
        Ok(others.map(|(_, node)| &node.cpuset).collect())
    }

    /// Whether `changed` may take the place of the cgroup's own settings. Before Linux 7.0 every write asks that.
    pub(super) fn check_siblings(&self, path: &CgroupPath, changed: &Cpuset) -> Result<(), Errno> {
        let before_7 = self.machine.kernel.version() < (7, 0);
        let conflict = |sibling: &Cpuset| {
            if before_7 && (changed.is_partition() || sibling.is_partition()) {
                return !changed.claimed().is_disjoint(sibling.claimed());
            }
            let crowded_out = if before_7 {
                sibling.is_within(changed) || changed.is_within(sibling)
            } else {
                !sibling.cpus.is_empty() && sibling.cpus.is_subset(&changed.exclusive)
            };
            crowded_out || !sibling.exclusive.is_disjoint(&changed.exclusive)
        };
        if self.siblings(path)?.into_iter().any(conflict) {
            return Err(Errno::INVAL);
        }
        Ok(())
    }

    /// A write to `cpuset.cpus.exclusive`.
    pub(super) fn set_exclusive(&mut self, path: &CgroupPath, value: &str) -> Result<(), Errno> {
        let mut changed = self.node(path)?.cpuset.clone();
        let new = self.machine.cpus(value)?;
        if new == changed.exclusive {
            return Ok(());
        }
        changed.exclusive = new;
        self.check_siblings(path, &changed)?;
        if changed.is_partition() {
            if changed.exclusive.is_empty() && self.machine.kernel.version() >= (7, 0) {
                return Err(Errno::NOSYS);
            }
            let kept = self.kept_above(path)?;
            let added = &changed.held(&kept) - &self.node(path)?.cpuset.held(&kept);
            if !added.is_empty() && self.shared().is_subset(&added) {
                changed.partition.spoil(Some(BAD_LIST));
            }
        }
        self.node_mut(path)?.cpuset = changed;
        self.check_partitions();
        Ok(())
    }

    /// A write to `cpuset.cpus.partition`.
    pub(super) fn set_partition(&mut self, path: &CgroupPath, value: &str) -> Result<(), Errno> {
        let kind = match value.trim() {
            "member" => {
                self.node_mut(path)?.cpuset.partition = Partition::Member;
                return Ok(());
            }
            "root" => "root",
            "isolated" => "isolated",
            _ => return Err(Errno::INVAL),
        };
        if self.is_nested(path)? {
            return Err(Errno::NOSYS);
        }
        let own = &self.node(path)?.cpuset;
        let partition = match self.refusal(path, own)? {
            Some(reason) if !own.is_partition() => Partition::Invalid(kind, Some(reason)),
            _ => Partition::Valid(kind),
        };
        self.node_mut(path)?.cpuset.partition = partition;
        Ok(())
    }

    /// Whether the cgroup is the root, or would have a partition above or below.
    fn is_nested(&self, path: &CgroupPath) -> Result<bool, Errno> {
        fn any_below(node: &Node) -> bool {
            let mut children = node.children.values();
            children.any(|child| child.cpuset.partition != Partition::Member || any_below(child))
        }
        let mut down = self.nodes_down_to(path)?;
        let own = down.pop().ok_or(Errno::NOENT)?;
        let above = down.iter().any(|node| node.cpuset.partition != Partition::Member);
        Ok(down.is_empty() || above || any_below(own))
    }

    /// Why the cgroup cannot become a partition.
    fn refusal(&self, path: &CgroupPath, own: &Cpuset) -> Result<Option<&'static str>, Errno> {
        let version = self.machine.kernel.version();
        let remote = version >= (6, 7);
        if own.claimed().is_empty() {
            return Ok(Some(if remote {
                "cpuset.cpus and cpuset.cpus.exclusive are empty"
            } else {
                "cpuset.cpus is empty"
            }));
        }
        let overlaps = |sibling: &&Cpuset| !sibling.claimed().is_disjoint(own.claimed());
        if version < (7, 0) && self.siblings(path)?.iter().any(overlaps) {
            return Ok(Some(OVERLAP));
        }
        if !remote {
            return Ok(Some(NO_PARTITION_ABOVE));
        }
        if own.exclusive.is_empty() {
            return Err(Errno::NOSYS);
        }
        let holds = own.held(&self.kept_above(path)?);
        let shared = self.shared();
        let none_left = shared.is_subset(&holds);
        Ok((none_left || holds.is_disjoint(&shared)).then_some(BAD_LIST))
    }

    /// Before Linux 7.0 a `cpuset.cpus` that is written over CPUs of a partition beside it ends that partition, and the
    /// kernel loses its CPUs until the next boot.
    pub(super) fn trample(&mut self, path: &CgroupPath, cpus: &CpuSet) -> Result<(), Errno> {
        let Some((parent, name)) = path.parent().zip(path.name()) else {
            return Ok(());
        };
        if self.machine.kernel.version() >= (7, 0) {
            return Ok(());
        }
        let kept = self.kept_above(path)?;
        let mut lost = CpuSet::EMPTY;
        for (other, node) in &mut self.node_mut(&parent)?.children {
            let own = &mut node.cpuset;
            if other != name && own.is_partition() && !own.claimed().is_disjoint(cpus) {
                lost |= &own.held(&kept);
                own.partition.spoil(None);
            }
        }
        self.machine.lost |= &lost;
        Ok(())
    }

    /// Ends partitions for which no CPU is kept any more.
    pub(super) fn check_partitions(&mut self) {
        self.spoil_where(NO_PARTITION_ABOVE, |holds, _| holds.is_empty());
    }

    /// Ends partitions whose processes have no CPU left.
    pub(super) fn check_online(&mut self) {
        let online = self.machine.online.clone();
        self.spoil_where(UNPLUGGED, |holds, node| {
            holds.is_disjoint(&online) && node.populated()
        });
    }

    fn spoil_where(&mut self, reason: &'static str, ends: impl Fn(&CpuSet, &Node) -> bool) {
        fn walk(
            node: &mut Node,
            kept_above: &CpuSet,
            reason: &'static str,
            ends: &dyn Fn(&CpuSet, &Node) -> bool,
        ) {
            let kept = node.cpuset.held(kept_above);
            if node.cpuset.is_partition() && ends(&kept, node) {
                node.cpuset.partition.spoil(Some(reason));
            }
            for child in node.children.values_mut() {
                walk(child, &kept, reason, ends);
            }
        }
        let all = self.machine.possible.clone();
        walk(&mut self.root, &all, reason, &ends);
    }
}
