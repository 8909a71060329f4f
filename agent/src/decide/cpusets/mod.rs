//! Which CPUs and NUMA nodes each cgroup gets, on the way from what it has to what is given out.
//!
//! **Problem.** At no moment may two containers run on a CPU that one of them has to itself. Cgroups are written one after
//! another, any write may fail, and the agent may be killed between two. **How.** Nobody gets a CPU while the kernel still
//! shows it in the cgroup of somebody whom it does not belong to: a container with CPUs of its own grows by those that are
//! free of others ([`now`]), the shared pool by those that no such container has any more, and a container is started only
//! once it has exactly its own and nobody else has any of them ([`Cpusets::held_back`]). Then no order of writes can be
//! wrong: giving up is planned first, and what was waited for is given by the plan after it.
//!
//! **Terms.** A container's *own* CPUs are those given out to it alone; containers without share the *pool*. A cgroup
//! *has* the CPUs that `cpuset.cpus.effective` shows. Beside containers with CPUs of their own it gets a list only where
//! its parent's CPUs are others, so that most grants are a write for each class and not for each container; one that has a
//! list keeps one, since before Linux 7.0 a list cannot be emptied while something runs under it.
//!
//! # Properties
//! - While the kernel shows a CPU in the cgroup of a container that runs and does not own it, no other gets it as its own,
//!   and none is started on it.
//! - A cgroup's CPUs are within its parent's, and where CPUs are given out, no cgroup is without any.
//! - Carried out again and again, the lists come to what is given out, and no container is held back.

mod held_back;
mod now;
#[cfg(test)]
mod props;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use held_back::HeldBack;
use now::Now;

use super::allotment::Allotment;
use super::qos::qos_class;
use crate::model::{
    ActualCgroup, ActualTree, CgroupPath, ContainerPlacement, ControlFile, CpuSet, Layout, Place, Pod,
    QosClass,
};

/// The lists of the cgroups that have any; the others have their parents'.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpusets {
    cpus: BTreeMap<CgroupPath, CpuSet>,
    mems: BTreeMap<CgroupPath, BTreeSet<u32>>,
    own: BTreeMap<CgroupPath, CpuSet>,
    /// Where containers without CPUs of their own may run; empty where none are given out.
    shared: CpuSet,
}

/// All that the lists follow from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The naming of cgroups.
    pub layout: &'a Layout,
    /// What is given out; none where nobody gives CPUs or memory.
    pub allotment: Option<&'a Allotment>,
    /// The pods with a place, and what their containers were given.
    pub pods: &'a [(&'a Pod, &'a [ContainerPlacement])],
    /// What the kernel shows.
    pub actual: &'a ActualTree,
}

impl Cpusets {
    /// `cpuset.cpus` of a cgroup; empty for its parent's.
    #[must_use]
    pub fn cpus(&self, path: &CgroupPath) -> CpuSet {
        self.cpus.get(path).cloned().unwrap_or_default()
    }

    /// `cpuset.mems` of a cgroup, by the kernel's numbers; empty for its parent's.
    #[must_use]
    pub fn mems(&self, path: &CgroupPath) -> BTreeSet<u32> {
        self.mems.get(path).cloned().unwrap_or_default()
    }

    /// Whether a cgroup, or one below it, has CPUs of its own.
    #[must_use]
    pub fn is_exclusive(&self, path: &CgroupPath) -> bool {
        let mut from = self.own.range(path.clone()..);
        from.next().is_some_and(|(owner, _)| owner.is_within(path))
    }

    /// The containers with CPUs of their own, and which.
    #[must_use]
    pub fn own(&self) -> &BTreeMap<CgroupPath, CpuSet> {
        &self.own
    }

    /// The cgroups that have a list: in all others nobody can widen what the kernel allows.
    pub fn listed(&self) -> impl Iterator<Item = &CgroupPath> {
        self.cpus.keys()
    }
}

/// The lists of this moment.
#[must_use]
pub fn cpusets(inputs: &Inputs) -> Cpusets {
    let mut sets = Cpusets {
        mems: mems(inputs),
        ..Cpusets::default()
    };
    match inputs
        .allotment
        .filter(|allotment| allotment.managers().cpus.is_some())
    {
        Some(allotment) => list_cpus(&mut sets, inputs, allotment),
        None => sets.cpus = everything(inputs, ControlFile::CpusetCpus, ControlFile::CpusetCpusEffective),
    }
    sets
}

fn list_cpus(sets: &mut Cpusets, inputs: &Inputs, allotment: &Allotment) {
    let layout = inputs.layout;
    sets.own = own(inputs, allotment);
    sets.shared = allotment.shared();
    let now = Now::of(inputs, &sets.own);
    let pool = now.pool(&sets.shared);
    let all = allotment.topology().cpus();
    let mut levels: BTreeMap<_, _> = class_levels().map(|class| (class, pool.clone())).collect();
    let mut pods = Vec::with_capacity(inputs.pods.len());
    for (pod, _) in inputs.pods {
        let class = qos_class(pod);
        let containers: Vec<_> = pod
            .all_containers()
            .map(|container| {
                let path = layout.container(class, &pod.uid, &container.name);
                let cpus = match sets.own.get(&path) {
                    Some(own) => now.own(&path, own, &pool),
                    None => pool.clone(),
                };
                (path, cpus)
            })
            .collect();
        let mut together = CpuSet::EMPTY;
        containers.iter().for_each(|(_, cpus)| together |= cpus);
        // A class has what its pods have: some may have CPUs of their own beside containers that share.
        if let Some(level) = levels.get_mut(&class) {
            *level |= &together;
        }
        pods.push((class, layout.pod(class, &pod.uid), together, containers));
    }
    let mut list = |path: CgroupPath, cpus: &CpuSet, parent: &CpuSet| {
        let listed = inputs
            .actual
            .cgroups
            .get(&path)
            .and_then(|cgroup| list_of(cgroup, ControlFile::CpusetCpus));
        if cpus != parent || listed.is_some() || sets.own.contains_key(&path) {
            sets.cpus.insert(path, cpus.clone());
        }
    };
    for (class, path, together, containers) in pods {
        list(path, &together, levels.get(&class).unwrap_or(all));
        for (path, cpus) in containers {
            list(path, &cpus, &together);
        }
    }
    for (class, cpus) in levels {
        list(layout.qos(class), &cpus, all);
    }
    // The agent is the system's, and in nobody's way.
    list(layout.agent(), &(&pool | &allotment.reserved()), all);
}

/// Everything that the root has, for each cgroup below it that has a list.
fn everything(inputs: &Inputs, file: ControlFile, effective: ControlFile) -> BTreeMap<CgroupPath, CpuSet> {
    let root = inputs.actual.cgroups.get(&CgroupPath::ROOT);
    let Some(all) = root.and_then(|root| list_of(root, effective)) else {
        return BTreeMap::new();
    };
    let cgroups = inputs.actual.cgroups.iter();
    cgroups
        .filter(|(path, cgroup)| **path != CgroupPath::ROOT && list_of(cgroup, file).is_some())
        .map(|(path, _)| (path.clone(), all.clone()))
        .collect()
}

fn own(inputs: &Inputs, allotment: &Allotment) -> BTreeMap<CgroupPath, CpuSet> {
    let mut own = BTreeMap::new();
    for (pod, _) in inputs.pods {
        let held = allotment.assignments().pods().get(&pod.uid);
        for (name, cpus) in held.into_iter().flatten().filter(|(_, cpus)| !cpus.is_empty()) {
            let path = inputs.layout.container(qos_class(pod), &pod.uid, name);
            own.insert(path, cpus.clone());
        }
    }
    own
}

fn mems(inputs: &Inputs) -> BTreeMap<CgroupPath, BTreeSet<u32>> {
    let everything = everything(inputs, ControlFile::CpusetMems, ControlFile::CpusetMemsEffective);
    // The kernel has one syntax for both kinds of list.
    let numbers = |nodes: CpuSet| nodes.iter().map(u32::from).collect();
    let mut mems: BTreeMap<_, _> = everything
        .into_iter()
        .map(|(path, nodes)| (path, numbers(nodes)))
        .collect();
    for (pod, placements) in inputs.pods {
        for placement in *placements {
            if let Some(nodes) = &placement.mems {
                let path = inputs.layout.container(qos_class(pod), &pod.uid, &placement.name);
                mems.insert(path, nodes.iter().copied().collect());
            }
        }
    }
    mems
}

/// The classes that have a level of their own.
fn class_levels() -> impl Iterator<Item = QosClass> {
    let levels = QosClass::ALL.into_iter();
    levels.filter(|class| *class != QosClass::Guaranteed)
}

/// The containers' cgroups that something runs in: an empty one takes no CPU from anybody, and nothing is started in it
/// before its list is looked at.
fn containers<'a>(
    layout: &'a Layout,
    actual: &'a ActualTree,
) -> impl Iterator<Item = (&'a CgroupPath, &'a ActualCgroup)> {
    let cgroups = actual.cgroups.iter().filter(|(_, cgroup)| cgroup.populated);
    cgroups.filter(|(path, _)| matches!(layout.place(path), Some(Place::Container(..))))
}

/// The CPUs that a cgroup has; none where the kernel shows no list.
fn has(cgroup: &ActualCgroup) -> Option<CpuSet> {
    list_of(cgroup, ControlFile::CpusetCpusEffective)
}

/// A list that the kernel shows; none if it is empty or not there.
fn list_of(cgroup: &ActualCgroup, file: ControlFile) -> Option<CpuSet> {
    let list = CpuSet::parse(cgroup.values.get(&file)?).ok()?;
    (!list.is_empty()).then_some(list)
}
