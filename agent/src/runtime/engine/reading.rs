//! The tree as the kernel has it: read at the start, after every change, where a probe tells that somebody wrote, and
//! slice by slice for drift.
//!
//! *Drift* is a value, a controller or a cgroup that differs from what was written: somebody else's doing, since every
//! write was read back. It is counted, told, and put right by the next placing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tracing::{error, warn};

use super::{Engine, Settings};
use crate::decide::plan::{CgroupOp, Step};
use crate::model::{CgroupId, CgroupPath, ControlFile, Controller, HugePageSize, Place};
use crate::observe::cgroup_tree::{self, Extent, MANAGED, SHOWN};

/// How many passes of a second it takes to read the whole tree back.
const PASSES_AROUND: usize = 60;
/// How many cgroups a pass reads back at least.
const SMALLEST_SLICE: usize = 8;

/// What a probe says of a write into a cgroup's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileWrite {
    /// The cgroup.
    pub cgroup: CgroupId,
    /// The file's name.
    pub file: String,
    /// Who wrote.
    pub writer: Writer,
}

/// A process that wrote into a cgroup's file. Shown as `pid 1, systemd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    /// Its process id.
    pub pid: u32,
    /// Its name, made printable.
    pub comm: String,
}

impl fmt::Display for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}, {}", self.pid, self.comm)
    }
}

/// Who wrote which file last, of one cgroup.
type Writers = BTreeMap<ControlFile, Writer>;

/// What of the tree is read: everything that the agent sets, and its own levels.
pub(in crate::runtime) fn extent(settings: &Settings) -> Extent {
    let sizes = settings.capacity.huge_pages.keys();
    let huge = sizes
        .flat_map(|&size: &HugePageSize| [ControlFile::HugetlbMax(size), ControlFile::HugetlbRsvdMax(size)]);
    let there = |file: &ControlFile| {
        file.controller()
            .is_none_or(|c: Controller| settings.controllers.contains(&c))
    };
    Extent {
        files: MANAGED
            .into_iter()
            .chain(SHOWN)
            .chain(huge)
            .filter(there)
            .collect(),
        levels: 3,
    }
}

impl Engine {
    /// Reads the whole tree.
    pub(super) fn read_all(&mut self) {
        match cgroup_tree::read_tree(&*self.ports.cgroups, &self.extent) {
            Ok(tree) => {
                self.actual = tree;
                self.lost = true;
            }
            Err(error) => error!(%error, "the cgroup tree cannot be read"),
        }
    }

    /// Reads again what `steps` touched.
    pub(super) fn reread(&mut self, steps: &[Step]) {
        let touched: BTreeSet<_> = steps
            .iter()
            .flat_map(|step| &step.ops)
            .filter_map(|op| {
                // A cgroup that was just made is found as a child of its parent.
                let path = op.path();
                if self.actual.cgroups.contains_key(path) {
                    Some(path.clone())
                } else {
                    path.parent()
                }
            })
            .collect();
        self.reread_paths(&touched);
        let written = steps.iter().flat_map(|step| &step.ops).filter_map(|op| match op {
            CgroupOp::Write {
                path,
                file: ControlFile::CpusetCpus,
                ..
            } => Some(path),
            _ => None,
        });
        self.reread_effective(written);
    }

    pub(super) fn reread_paths<'a>(&mut self, paths: impl IntoIterator<Item = &'a CgroupPath>) {
        let read = cgroup_tree::reread(&*self.ports.cgroups, &self.extent, &mut self.actual, paths);
        self.lost |= read.unwrap_or_else(|error| {
            error!(%error, "the cgroup tree cannot be read back");
            true
        });
    }

    /// Reads again which CPUs the cgroups have whose own list or some parent's was written.
    fn reread_effective<'a>(&mut self, written: impl IntoIterator<Item = &'a CgroupPath>) {
        for path in written {
            let file = ControlFile::CpusetCpusEffective;
            if let Err(error) = cgroup_tree::reread_file(&*self.ports.cgroups, &mut self.actual, path, file) {
                error!(%error, "the CPUs that cgroups have cannot be read back");
            }
        }
    }

    /// Cgroups with a list of CPUs that do not have those any more which they had at the last look. These are looked at in
    /// each pass: who has which CPUs cannot wait until the slice comes around.
    fn moved(&self) -> Vec<CgroupPath> {
        let file = ControlFile::CpusetCpusEffective;
        let had = |path: &CgroupPath| self.actual.cgroups.get(path)?.values.get(&file);
        let listed = self.cpusets.listed().filter_map(|path| Some((path, had(path)?)));
        let moved = listed.filter(|(path, had)| {
            // One that is gone, or cannot be read, is found out about by reading all of it.
            let has = self.ports.cgroups.read(path, file);
            !has.is_ok_and(|has| has.trim_end() == had.as_str())
        });
        moved.map(|(path, _)| path.clone()).collect()
    }

    /// Reads a slice of the tree back; what differs from what was written is drift.
    pub(super) fn read_back(&mut self) {
        let moved = self.moved();
        self.reread_paths(&moved);
        self.reread_effective(&moved);
        let count = (self.actual.cgroups.len() / PASSES_AROUND).max(SMALLEST_SLICE);
        let from = self.cursor.take();
        let read = cgroup_tree::refresh(
            &*self.ports.cgroups,
            &self.extent,
            &mut self.actual,
            from.clone(),
            count,
        );
        match read {
            Ok((next, lost)) => {
                self.cursor = next;
                self.lost |= lost;
            }
            Err(error) => {
                error!(%error, "the cgroup tree cannot be read back");
                self.lost = true;
            }
        }
        let slice = self
            .actual
            .cgroups
            .range(from.unwrap_or_default()..)
            .take(count + 1);
        // A cgroup that is wanted and not there has no slice to be found in. Comparing hundreds of paths is dear, and what was
        // there is missing only once it was found gone.
        let mut drifted = false;
        if std::mem::take(&mut self.lost) || self.actual.cgroups.len() < self.desired.cgroups.len() {
            let mut there = self.actual.cgroups.keys();
            let mut wanted = self.desired.cgroups.keys();
            // Both are in the order of paths, so one walk along them finds what is missing.
            drifted = wanted.any(|wanted| !there.any(|path| path == wanted));
        }
        let nobody = Writers::new();
        for (path, _) in slice {
            drifted |= self.tell_drift(path, &nobody);
        }
        for path in &moved {
            drifted |= self.tell_drift(path, &nobody);
        }
        self.unsettled |= drifted;
    }

    /// Somebody else wrote into these files, oldest first: their cgroups are read again at once. Whether anything has
    /// drifted, which the next settling puts right.
    #[must_use]
    pub fn files_written(&mut self, writes: impl IntoIterator<Item = FileWrite>) -> bool {
        let mut touched: BTreeMap<CgroupPath, Writers> = BTreeMap::new();
        for write in writes {
            let mut ours = self.extent.files.iter().chain(&[ControlFile::SubtreeControl]);
            let file = ours.find(|file| file.name() == write.file).copied();
            let mut known = self.actual.cgroups.iter();
            let place = known.find(|(_, cgroup)| cgroup.id == write.cgroup);
            if let (Some(file), Some((path, _))) = (file, place) {
                // A later writer's value is the one that stands.
                touched
                    .entry(path.clone())
                    .or_default()
                    .insert(file, write.writer);
            }
        }
        self.reread_paths(touched.keys());
        let cpus = touched
            .iter()
            .filter(|(_, files)| files.contains_key(&ControlFile::CpusetCpus));
        self.reread_effective(cpus.map(|(path, _)| path));
        let mut drifted = false;
        for (path, writers) in &touched {
            drifted |= self.tell_drift(path, writers);
        }
        self.unsettled |= drifted;
        drifted
    }

    /// Tells and counts where a cgroup differs from what was written; whether it does.
    fn tell_drift(&self, path: &CgroupPath, writers: &Writers) -> bool {
        let cgroups = (self.actual.cgroups.get(path), self.desired.cgroups.get(path));
        let (Some(actual), Some(desired)) = cgroups else {
            return false;
        };
        let mut drifted = false;
        let place = self.desired.layout.place(path);
        let has_children = matches!(place, Some(Place::Root | Place::Qos(_) | Place::Pod(..)));
        if has_children && !self.desired.controllers.is_subset(&actual.enabled) {
            let who = somebody(writers, ControlFile::SubtreeControl);
            warn!(cgroup = %path, "{who} took controllers away; they are enabled again");
            self.counters.drifted(ControlFile::SubtreeControl);
            drifted = true;
        }
        for (file, value) in &desired.knobs {
            if let Some(read) = actual.values.get(file).filter(|read| !value.accepts(read)) {
                let who = somebody(writers, *file);
                warn!(cgroup = %path, %file, %read, wanted = %value, "{who} changed a value; it is set again");
                self.counters.drifted(*file);
                drifted = true;
            }
        }
        drifted
    }
}

/// Who it was, as far as is known.
fn somebody(writers: &Writers, file: ControlFile) -> String {
    match writers.get(&file) {
        Some(writer) => format!("somebody ({writer})"),
        None => "somebody".to_owned(),
    }
}
