//! The agent's tree of cgroups as the kernel has it: what the plan starts from and what drift is measured against.
//!
//! **Problem.** Cgroups come and go while they are read, and containers may make some of their own. **How.** A walk from
//! the root down to a given depth; below that cgroups belong to the containers. A cgroup that vanishes meanwhile is left
//! out with all below. Reading a thousand cgroups takes milliseconds, so a periodic pass may take a slice at a
//! time: [`refresh`].
//!
//! # Properties
//! - Every cgroup's parent is in the tree too.
//! - Slices that go once around find what one whole reading finds.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::parse;
use crate::kernel::cgroup_fs::{CgroupError, CgroupFs, Fault};
use crate::model::{ActualCgroup, ActualTree, CgroupLimits, CgroupPath, ControlFile, Controller, CpuWeight};

/// The interface files that the agent sets, other than hugetlb's, of which there is one for each page size.
pub const MANAGED: [ControlFile; 11] = [
    ControlFile::CpuWeight,
    ControlFile::CpuMax,
    ControlFile::CpusetCpus,
    ControlFile::CpusetMems,
    ControlFile::MemoryMin,
    ControlFile::MemoryLow,
    ControlFile::MemoryHigh,
    ControlFile::MemoryMax,
    ControlFile::MemorySwapMax,
    ControlFile::MemoryOomGroup,
    ControlFile::PidsMax,
];

/// Interface files that the agent does not set and goes by.
pub const SHOWN: [ControlFile; 2] = [ControlFile::CpusetCpusEffective, ControlFile::CpusetMemsEffective];

/// What to read of each cgroup, and how deep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Interface files to read.
    pub files: Vec<ControlFile>,
    /// Levels below the root that are the agent's: 3 for class, pod and container.
    pub levels: usize,
}

/// Limits, weights and protections of a cgroup, from its files as read.
#[must_use]
pub fn limits(cgroup: &ActualCgroup) -> CgroupLimits {
    let text = |file| cgroup.values.get(&file).map(String::as_str);
    let bytes = |file| text(file).and_then(parse::bytes_limit);
    CgroupLimits {
        cpu_weight: text(ControlFile::CpuWeight)
            .and_then(parse::number)
            .map(CpuWeight),
        cpu_max: text(ControlFile::CpuMax).and_then(parse::cpu_max),
        memory_min: bytes(ControlFile::MemoryMin),
        memory_low: bytes(ControlFile::MemoryLow),
        memory_high: bytes(ControlFile::MemoryHigh),
        memory_max: bytes(ControlFile::MemoryMax),
        swap_max: bytes(ControlFile::MemorySwapMax),
        pids_max: text(ControlFile::PidsMax).and_then(parse::limit),
    }
}

/// Reads the whole tree.
///
/// # Errors
/// The root cannot be read, or the kernel refused something of a cgroup that is there.
pub fn read_tree(fs: &dyn CgroupFs, extent: &Extent) -> Result<ActualTree, CgroupError> {
    let root = CgroupPath::ROOT;
    let available: BTreeSet<_> = parse::controllers(&fs.read(&root, ControlFile::Controllers)?).collect();
    let mut tree = ActualTree {
        cgroups: BTreeMap::new(),
        available: available.clone(),
    };
    let root_as_read = read_cgroup(fs, &root, &available, extent)?;
    walk(fs, &root, root_as_read, extent, &mut tree)?;
    Ok(tree)
}

/// Reads up to `count` cgroups of `tree` again, those after `after` in the order of paths, going around at the end; also
/// finds children that are new, and drops cgroups that are gone. Returns where to go on, and whether any was gone.
///
/// # Errors
/// The kernel refused something of a cgroup that is there, or the root is gone.
pub fn refresh(
    fs: &dyn CgroupFs,
    extent: &Extent,
    tree: &mut ActualTree,
    after: Option<CgroupPath>,
    count: usize,
) -> Result<(Option<CgroupPath>, bool), CgroupError> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let slice: Vec<_> = tree
        .cgroups
        .range((from, Bound::Unbounded))
        .take(count)
        .map(|(path, _)| path.clone())
        .collect();
    let lost = reread(fs, extent, tree, &slice)?;
    // A short slice reached the end: the next one starts anew.
    let next = if slice.len() < count {
        None
    } else {
        slice.into_iter().next_back()
    };
    Ok((next, lost))
}

/// Reads these cgroups of `tree` again, and their children that are new; drops what is gone, and tells whether anything was.
///
/// # Errors
/// As [`refresh`].
pub fn reread<'a>(
    fs: &dyn CgroupFs,
    extent: &Extent,
    tree: &mut ActualTree,
    paths: impl IntoIterator<Item = &'a CgroupPath>,
) -> Result<bool, CgroupError> {
    let mut lost = false;
    for path in paths {
        let offered = offered(tree, path);
        let read = read_cgroup(fs, path, &offered, extent).and_then(|cgroup| {
            let children = children(fs, path, extent)?;
            Ok((cgroup, children))
        });
        match read {
            Ok((cgroup, children)) => {
                tree.cgroups.insert(path.clone(), cgroup);
                lost |= drop_children_but(tree, path, &children);
                for child in children {
                    if !tree.cgroups.contains_key(&child) {
                        let offered = offered_by(tree, path);
                        match read_cgroup(fs, &child, &offered, extent) {
                            Ok(cgroup) => walk(fs, &child, cgroup, extent, tree)?,
                            Err(error) if error.is_gone() => {}
                            Err(error) => return Err(error),
                        }
                    }
                }
            }
            Err(error) if error.is_gone() && *path != CgroupPath::ROOT => {
                drop_subtree(tree, path);
                lost = true;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(lost)
}

/// Reads one interface file again, of a cgroup and of those below it. One that is gone keeps what was read: the next
/// reading of its parent drops it.
///
/// # Errors
/// The kernel refused it of a cgroup that is there.
pub fn reread_file(
    fs: &dyn CgroupFs,
    tree: &mut ActualTree,
    top: &CgroupPath,
    file: ControlFile,
) -> Result<(), CgroupError> {
    let from_top = tree.cgroups.range_mut(top.clone()..);
    for (path, cgroup) in from_top.take_while(|(path, _)| path.is_within(top)) {
        let Some(value) = cgroup.values.get_mut(&file) else {
            continue;
        };
        match fs.read(path, file) {
            Ok(text) => text.trim_end().clone_into(value),
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Adds `cgroup` and what is below it.
fn walk(
    fs: &dyn CgroupFs,
    path: &CgroupPath,
    cgroup: ActualCgroup,
    extent: &Extent,
    tree: &mut ActualTree,
) -> Result<(), CgroupError> {
    let offered = cgroup.enabled.clone();
    let children = match children(fs, path, extent) {
        Err(error) if error.is_gone() && *path != CgroupPath::ROOT => return Ok(()),
        children => children?,
    };
    tree.cgroups.insert(path.clone(), cgroup);
    for child in children {
        match read_cgroup(fs, &child, &offered, extent) {
            Ok(cgroup) => walk(fs, &child, cgroup, extent, tree)?,
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// One cgroup that has the `offered` controllers.
fn read_cgroup(
    fs: &dyn CgroupFs,
    path: &CgroupPath,
    offered: &BTreeSet<Controller>,
    extent: &Extent,
) -> Result<ActualCgroup, CgroupError> {
    let id = fs.id(path)?;
    let enabled = parse::controllers(&fs.read(path, ControlFile::SubtreeControl)?).collect();
    let populated = parse::populated(&fs.read(path, ControlFile::Events)?).unwrap_or_default();
    let mut values = BTreeMap::new();
    for file in &extent.files {
        if file.controller().is_some_and(|c| !offered.contains(&c)) {
            continue;
        }
        match fs.read(path, *file) {
            // A copy, because what was read is in a buffer of a whole page.
            Ok(text) => {
                values.insert(*file, text.trim_end().to_owned());
            }
            Err(error) if error.fault == Fault::NoSuchFile => {}
            Err(error) => return Err(error),
        }
    }
    Ok(ActualCgroup {
        id,
        enabled,
        values,
        populated,
    })
}

/// Children that the agent could have made: names that no path of ours holds are somebody else's.
fn children(fs: &dyn CgroupFs, path: &CgroupPath, extent: &Extent) -> Result<Vec<CgroupPath>, CgroupError> {
    if path.depth() >= extent.levels {
        return Ok(Vec::new());
    }
    let names = fs.children(path)?;
    Ok(names.iter().filter_map(|name| path.child(name).ok()).collect())
}

fn offered(tree: &ActualTree, path: &CgroupPath) -> BTreeSet<Controller> {
    match path.parent() {
        None => tree.available.clone(),
        Some(parent) => offered_by(tree, &parent),
    }
}

fn offered_by(tree: &ActualTree, parent: &CgroupPath) -> BTreeSet<Controller> {
    tree.cgroups
        .get(parent)
        .map(|cgroup| cgroup.enabled.clone())
        .unwrap_or_default()
}

/// Drops the children that are not among these; whether there were any.
fn drop_children_but(tree: &mut ActualTree, parent: &CgroupPath, stay: &[CgroupPath]) -> bool {
    let gone: Vec<_> = below(tree, parent)
        .filter(|path| path.depth() == parent.depth() + 1 && !stay.contains(path))
        .cloned()
        .collect();
    for path in &gone {
        drop_subtree(tree, path);
    }
    !gone.is_empty()
}

fn drop_subtree(tree: &mut ActualTree, top: &CgroupPath) {
    let gone: Vec<_> = below(tree, top).cloned().collect();
    for path in &gone {
        tree.cgroups.remove(path);
    }
    tree.cgroups.remove(top);
}

/// What lies below `top`: it follows it directly in the order of paths.
fn below<'a>(tree: &'a ActualTree, top: &'a CgroupPath) -> impl Iterator<Item = &'a CgroupPath> {
    tree.cgroups
        .range((Bound::Excluded(top), Bound::Unbounded))
        .map(|(path, _)| path)
        .take_while(move |path| path.is_within(top))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::cgroup_fs::{FakeCgroupFs, Stubbornness};
    use crate::model::{Bytes, CpuPeriod, Limit};

    fn extent() -> Extent {
        Extent {
            files: MANAGED.to_vec(),
            levels: 3,
        }
    }

    fn path(text: &str) -> CgroupPath {
        CgroupPath::parse(text).unwrap()
    }

    fn node() -> FakeCgroupFs {
        let fs = FakeCgroupFs::new([Controller::Cpu, Controller::Memory]);
        fs.write(&CgroupPath::ROOT, ControlFile::SubtreeControl, "+cpu +memory")
            .unwrap();
        for name in [
            "burstable",
            "burstable/pod1",
            "burstable/pod1/c",
            "burstable/pod1/c/own",
        ] {
            fs.create(&path(name)).unwrap();
        }
        fs
    }

    #[test]
    fn the_tree_is_read_with_what_each_cgroup_has() {
        let fs = node();
        fs.write(&path("burstable"), ControlFile::MemoryMax, "8192")
            .unwrap();
        fs.spawn(&path("burstable/pod1/c"), Stubbornness::Dies).unwrap();
        let tree = read_tree(&fs, &extent()).unwrap();
        let names: Vec<_> = tree.cgroups.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["", "burstable", "burstable/pod1", "burstable/pod1/c"]);
        let burstable = &tree.cgroups[&path("burstable")];
        assert_eq!(burstable.values[&ControlFile::MemoryMax], "8192");
        assert!(burstable.populated && burstable.enabled.is_empty());
        assert!(!burstable.values.contains_key(&ControlFile::PidsMax));
        let limits = limits(burstable);
        assert_eq!(limits.memory_max, Some(Limit::At(Bytes(8192))));
        assert_eq!(
            (limits.cpu_weight, limits.memory_min),
            (Some(CpuWeight(100)), Some(Limit::At(Bytes(0))))
        );
        assert_eq!(
            (limits.cpu_max, limits.pids_max),
            (Some((Limit::Max, CpuPeriod::DEFAULT)), None)
        );
        assert!(tree.cgroups[&path("burstable/pod1")].values.is_empty());
        assert_eq!(tree.available, [Controller::Cpu, Controller::Memory].into());
    }

    proptest! {
        #[test]
        fn slices_find_what_a_whole_reading_finds(
            before in prop::collection::btree_set("[ab](/[ab](/[ab])?)?", 0..8),
            after in prop::collection::btree_set("[ab](/[ab](/[ab])?)?", 0..8),
            slice in 1_usize..5,
        ) {
            let fs = node();
            let make = |names: &std::collections::BTreeSet<String>| {
                for name in names {
                    let mut at = CgroupPath::ROOT;
                    for part in path(name).components() {
                        at = at.child(part).unwrap();
                        fs.create(&at).unwrap();
                    }
                }
            };
            make(&before);
            let mut tree = read_tree(&fs, &extent()).unwrap();
            for name in &before {
                if !after.contains(name) {
                    fs.vanish(&path(name));
                }
            }
            make(&after);
            let mut at = None;
            loop {
                let before = tree.cgroups.clone();
                let (next, lost) = refresh(&fs, &extent(), &mut tree, at, slice).unwrap();
                let found_gone = before.keys().any(|path| !tree.cgroups.contains_key(path));
                prop_assert!(lost || !found_gone);
                at = next;
                for path in tree.cgroups.keys() {
                    prop_assert!(path.parent().is_none_or(|parent| tree.cgroups.contains_key(&parent)));
                }
                if at.is_none() {
                    break;
                }
            }
            prop_assert_eq!(tree, read_tree(&fs, &extent()).unwrap());
        }
    }
}
