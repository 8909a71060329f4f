//! What differs between the tree as it should be and as it is, cgroup by cgroup.

use std::collections::BTreeSet;

use crate::decide::desired::DesiredTree;
use crate::model::{ActualCgroup, ActualTree, CgroupPath, ControlFile, Controller, KnobValue, Place};

use super::CgroupOp;

/// Which way a value changes. Weights and switches bind nobody and count as going up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// More is allowed or protected than before.
    Up,
    /// Less is.
    Down,
}

/// The two trees.
pub(super) struct Diff<'a> {
    pub(super) desired: &'a DesiredTree,
    pub(super) actual: &'a ActualTree,
}

impl<'a> Diff<'a> {
    /// Wanted cgroups of some places, parents first.
    pub(super) fn wanted(&self, of: impl Fn(&Place) -> bool) -> Vec<&'a CgroupPath> {
        let paths = self.desired.cgroups.keys();
        paths
            .filter(|path| self.place(path).is_some_and(|place| of(&place)))
            .collect()
    }

    /// A wanted pod and its wanted containers, the pod first.
    pub(super) fn wanted_within(&self, pod: &CgroupPath) -> Vec<&'a CgroupPath> {
        let from_pod = self.desired.cgroups.range(pod.clone()..);
        from_pod
            .map(|(path, _)| path)
            .take_while(|path| path.is_within(pod))
            .collect()
    }

    /// Pods that are there and should not be.
    pub(super) fn unwanted_pods(&self) -> Vec<CgroupPath> {
        self.unwanted(self.actual.cgroups.keys(), |place| {
            matches!(place, Place::Pod(..))
        })
    }

    /// Containers of a wanted pod that are there and should not be.
    pub(super) fn unwanted_containers(&self, pod: &CgroupPath) -> Vec<CgroupPath> {
        let from_pod = self.actual.cgroups.range(pod.clone()..).map(|(path, _)| path);
        let within = from_pod.take_while(|path| path.is_within(pod));
        self.unwanted(within, |place| matches!(place, Place::Container(..)))
    }

    fn unwanted<'p>(
        &self,
        paths: impl Iterator<Item = &'p CgroupPath>,
        of: impl Fn(&Place) -> bool,
    ) -> Vec<CgroupPath> {
        paths
            .filter(|path| !self.desired.cgroups.contains_key(path))
            .filter(|path| self.place(path).is_some_and(|place| of(&place)))
            .cloned()
            .collect()
    }

    /// Making the cgroup, and enabling what is missing for its children.
    pub(super) fn structure(&self, path: &CgroupPath) -> Vec<CgroupOp> {
        let actual = self.actual.cgroups.get(path);
        let mut ops = Vec::new();
        if actual.is_none() {
            ops.push(CgroupOp::Create { path: path.clone() });
        }
        let enabled = actual.map(|cgroup| &cgroup.enabled);
        let missing: BTreeSet<_> = self
            .desired
            .controllers
            .iter()
            .filter(|controller| !enabled.is_some_and(|e| e.contains(controller)))
            .copied()
            .collect();
        if self.has_children(path) && !missing.is_empty() {
            ops.push(CgroupOp::Enable {
                path: path.clone(),
                controllers: missing,
            });
        }
        ops
    }

    fn has_children(&self, path: &CgroupPath) -> bool {
        matches!(
            self.place(path),
            Some(Place::Root | Place::Qos(_) | Place::Pod(..))
        )
    }

    /// The values of one cgroup that have to go that way, in a safe order.
    pub(super) fn writes(&self, path: &CgroupPath, direction: Direction) -> Vec<CgroupOp> {
        let Some(desired) = self.desired.cgroups.get(path) else {
            return Vec::new();
        };
        let actual = self.actual.cgroups.get(path);
        let mut found: Vec<_> = desired
            .knobs
            .iter()
            .filter_map(|(&file, value)| {
                let standing = self.standing(path, actual, file)?;
                let text = standing.text();
                let bound = match file {
                    // Unset means as much as the hard limit allows.
                    ControlFile::MemoryHigh => self.amounts(path, actual, ControlFile::MemoryMax),
                    _ => None,
                };
                if value.accepts(text) || self::direction(value, text, bound) != direction {
                    return None;
                }
                let previous = standing.read().map(str::to_owned);
                Some((
                    file,
                    CgroupOp::Write {
                        path: path.clone(),
                        file,
                        value: value.clone(),
                        previous,
                    },
                ))
            })
            .collect();
        found.sort_by_key(|(file, _)| bounds_others(*file));
        if direction == Direction::Down {
            found.reverse();
        }
        found.into_iter().map(|(_, op)| op).collect()
    }

    /// How much a file should allow, and how much it allows now.
    fn amounts(
        &self,
        path: &CgroupPath,
        actual: Option<&'a ActualCgroup>,
        file: ControlFile,
    ) -> Option<(u128, u128)> {
        let wanted = self.desired.cgroups.get(path)?.knobs.get(&file)?;
        let standing = self.standing(path, actual, file)?;
        wanted.amount().zip(wanted.amount_of(standing.text()))
    }

    /// What stands in the file now; `None` when this kernel does not have it.
    fn standing(
        &self,
        path: &CgroupPath,
        actual: Option<&'a ActualCgroup>,
        file: ControlFile,
    ) -> Option<Standing<'a>> {
        let default = || KnobValue::kernel_default(file).map(Standing::Fresh);
        let Some(actual) = actual else { return default() };
        match actual.values.get(&file) {
            Some(text) => Some(Standing::Read(text)),
            None if file.controller().is_none_or(|c| self.enabled_above(path, c)) => None,
            None => default(),
        }
    }

    fn enabled_above(&self, path: &CgroupPath, controller: Controller) -> bool {
        let enabled = match path.parent() {
            None => Some(&self.actual.available),
            Some(parent) => self.actual.cgroups.get(&parent).map(|cgroup| &cgroup.enabled),
        };
        enabled.is_some_and(|enabled| enabled.contains(&controller))
    }

    fn place(&self, path: &CgroupPath) -> Option<Place> {
        self.desired.layout.place(path)
    }
}

/// A file's content: read, or what the kernel puts there once the file appears.
enum Standing<'a> {
    Read(&'a str),
    Fresh(&'static str),
}

impl Standing<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Read(text) => text,
            Self::Fresh(text) => text,
        }
    }

    fn read(&self) -> Option<&str> {
        match self {
            Self::Read(text) => Some(text),
            Self::Fresh(_) => None,
        }
    }
}

/// Which way `value` goes from what stands there, both within a `bound` (wanted, standing) where there is one.
fn direction(value: &KnobValue, standing: &str, bound: Option<(u128, u128)>) -> Direction {
    let (wanted_bound, standing_bound) = bound.unwrap_or((u128::MAX, u128::MAX));
    match value.amount().zip(value.amount_of(standing)) {
        Some((wanted, standing)) if wanted.min(wanted_bound) < standing.min(standing_bound) => {
            Direction::Down
        }
        _ => Direction::Up,
    }
}

/// Limits first, then what must stay below them.
const fn bounds_others(file: ControlFile) -> u8 {
    match file {
        ControlFile::MemoryHigh => 1,
        ControlFile::MemoryMin | ControlFile::MemoryLow => 2,
        _ => 0,
    }
}
