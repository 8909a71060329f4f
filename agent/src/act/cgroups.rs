//! Carrying out a plan on the tree of cgroups.
//!
//! **Problem.** Any operation may be refused, the kernel may keep another value than was written, a cgroup may vanish in
//! between: a pod must end up wholly placed or not at all, and no pod's trouble may touch another's. **How.** A [`Step`]
//! is the unit. Its operations are carried out in order, every written value is read back, and the first one that goes
//! wrong takes back what the step did so far, last first: values that stood there, controllers, cgroups. The other steps
//! go on. Removing is begun here and carried on by [`Removals`].
//!
//! # Properties
//! - A step is done wholly, or undone and reported; what could not be undone is reported too.
//! - Nothing is written that the plan does not contain, other than to undo it.
//! - A cgroup that vanished is data: its step is undone and named, and no error is counted.
//! - Carrying out, re-reading and planning again converges, whatever failed (tested with `decide::plan` on the fake).

use crate::decide::plan::{CgroupOp, Scope, Step};
use crate::kernel::cgroup_fs::{CgroupError, CgroupFs};
use crate::model::{BootTime, CgroupPath, ControlFile, Controller};

use super::remove::Removals;

/// Why an operation did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The kernel refused.
    #[error(transparent)]
    Refused(#[from] CgroupError),
    /// The kernel took the value and keeps another one.
    #[error("wrote {wanted:?} to {file} of {path}, which then reads {read:?}")]
    NotKept {
        /// Which cgroup.
        path: CgroupPath,
        /// Which file.
        file: ControlFile,
        /// What was written.
        wanted: String,
        /// What the file reads.
        read: String,
    },
    /// A file reads something that no known kernel writes there.
    #[error("{file} of {path} reads {read:?}, which is not {wanted}")]
    NotUnderstood {
        /// Which cgroup.
        path: CgroupPath,
        /// Which file.
        file: ControlFile,
        /// What it should be.
        wanted: String,
        /// What it reads.
        read: String,
    },
    /// Controllers were enabled and are not there.
    #[error("enabled {controller} in {path}, which does not list it")]
    NotEnabled {
        /// Which cgroup.
        path: CgroupPath,
        /// One of the controllers that are missing.
        controller: Controller,
    },
    /// What was there before is still being removed.
    #[error("{path} is still being removed")]
    BeingRemoved {
        /// Which cgroup.
        path: CgroupPath,
    },
}

impl ApplyError {
    /// Whether this happens in the normal course of things: the cgroup is not there (any more), or not gone yet. The
    /// next plan takes care of it.
    #[must_use]
    pub fn is_expected(&self) -> bool {
        match self {
            Self::Refused(error) => error.is_gone(),
            Self::BeingRemoved { .. } => true,
            Self::NotKept { .. } | Self::NotUnderstood { .. } | Self::NotEnabled { .. } => false,
        }
    }

    /// The kernel's error number, if it gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused(error) => error.errno(),
            Self::NotKept { .. }
            | Self::NotUnderstood { .. }
            | Self::NotEnabled { .. }
            | Self::BeingRemoved { .. } => None,
        }
    }
}

/// A step that was not done.
#[derive(Debug)]
pub struct FailedStep {
    /// Whom it is about.
    pub scope: Scope,
    /// The operation that went wrong.
    pub op: CgroupOp,
    /// How.
    pub error: ApplyError,
    /// What could not be taken back; empty when the step is undone as a whole.
    pub left_over: Vec<ApplyError>,
}

/// What came of a plan.
#[derive(Debug, Default)]
pub struct ApplyReport {
    /// How many steps were begun, from the first on; those behind them were left for another time.
    pub begun: usize,
    /// Steps done wholly, in order.
    pub done: Vec<Scope>,
    /// Steps that failed.
    pub failed: Vec<FailedStep>,
    /// Steps that met a cgroup that is gone, or not gone yet: to be planned anew. Nothing is wrong with them.
    pub overtaken: Vec<FailedStep>,
    /// Values written and kept, undoing not counted.
    pub writes: u64,
    /// Cgroups made.
    pub made: u64,
}

/// Carries out `steps` in order, until `most` steps of pods are done. Removals are begun; [`Removals::poll`] carries them on.
/// Steps that fail are not counted, so that pods in trouble never keep others from their turn.
///
/// Before Linux 6.16 lowering `memory.high` or `memory.max` below the usage makes the kernel reclaim within the write,
/// for seconds: call this where that disturbs nobody.
pub fn apply(
    fs: &dyn CgroupFs,
    steps: &[Step],
    most: usize,
    removals: &mut Removals,
    now: BootTime,
) -> ApplyReport {
    let mut report = ApplyReport::default();
    let mut pods = 0;
    for step in steps {
        let is_pods = matches!(step.scope, Scope::Pod(_));
        if is_pods && pods == most {
            break;
        }
        report.begun += 1;
        let mut done = Vec::with_capacity(step.ops.len());
        let failure = step.ops.iter().find_map(|op| {
            let result = carry_out(fs, op, &mut done, removals, now);
            result.err().map(|error| (op, error))
        });
        let Some((op, error)) = failure else {
            for effect in &done {
                match effect {
                    Effect::Wrote { .. } => report.writes += 1,
                    Effect::Made(_) => report.made += 1,
                    Effect::Enabled { .. } => {}
                }
            }
            report.done.push(step.scope.clone());
            pods += usize::from(is_pods);
            continue;
        };
        let left_over = done.iter().rev().filter_map(|effect| undo(fs, effect).err());
        let failed = FailedStep {
            scope: step.scope.clone(),
            op: op.clone(),
            left_over: left_over.filter(|error| !error.is_expected()).collect(),
            error,
        };
        if failed.error.is_expected() && failed.left_over.is_empty() {
            report.overtaken.push(failed);
        } else {
            report.failed.push(failed);
        }
    }
    report
}

/// What an operation changed, as far as it must be known to take it back.
#[derive(Debug)]
enum Effect {
    Made(CgroupPath),
    Enabled {
        path: CgroupPath,
        controllers: Vec<Controller>,
    },
    Wrote {
        path: CgroupPath,
        file: ControlFile,
        previous: Option<String>,
    },
}

/// Does one operation. What it changed is in `done` before it is checked: a change that did not help is still one.
fn carry_out(
    fs: &dyn CgroupFs,
    op: &CgroupOp,
    done: &mut Vec<Effect>,
    removals: &mut Removals,
    now: BootTime,
) -> Result<(), ApplyError> {
    match op {
        CgroupOp::Create { path } => {
            if removals.covers(path) {
                return Err(ApplyError::BeingRemoved { path: path.clone() });
            }
            let found = match fs.id(path) {
                Err(error) if error.is_gone() => None,
                found => Some(found?),
            };
            if found != Some(fs.create(path)?) {
                done.push(Effect::Made(path.clone()));
            }
            Ok(())
        }
        CgroupOp::Enable { path, controllers } => {
            let before = enabled(fs, path)?;
            let missing: Vec<_> = controllers
                .iter()
                .copied()
                .filter(|c| !before.contains(c))
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            fs.write(path, ControlFile::SubtreeControl, &words('+', &missing))?;
            done.push(Effect::Enabled {
                path: path.clone(),
                controllers: missing.clone(),
            });
            let after = enabled(fs, path)?;
            match missing.into_iter().find(|c| !after.contains(c)) {
                None => Ok(()),
                Some(controller) => Err(ApplyError::NotEnabled {
                    path: path.clone(),
                    controller,
                }),
            }
        }
        CgroupOp::Write {
            path,
            file,
            value,
            previous,
        } => {
            let text = value.to_string();
            fs.write(path, *file, &text)?;
            done.push(Effect::Wrote {
                path: path.clone(),
                file: *file,
                previous: previous.clone(),
            });
            check_kept(fs, path, *file, &text, |read| value.accepts(read))
        }
        CgroupOp::Remove { path } => Ok(removals.begin(fs, path, now)?),
    }
}

/// Takes one effect back.
fn undo(fs: &dyn CgroupFs, effect: &Effect) -> Result<(), ApplyError> {
    match effect {
        Effect::Made(path) => Ok(fs.remove(path)?),
        Effect::Enabled { path, controllers } => {
            Ok(fs.write(path, ControlFile::SubtreeControl, &words('-', controllers))?)
        }
        Effect::Wrote {
            path,
            file,
            previous: Some(previous),
        } => {
            let previous = previous.trim_end();
            fs.write(path, *file, previous)?;
            check_kept(fs, path, *file, previous, |read| read == previous)
        }
        // A file of a new cgroup goes with the cgroup.
        Effect::Wrote { previous: None, .. } => Ok(()),
    }
}

pub(super) fn check_kept(
    fs: &dyn CgroupFs,
    path: &CgroupPath,
    file: ControlFile,
    wanted: &str,
    accepts: impl FnOnce(&str) -> bool,
) -> Result<(), ApplyError> {
    let read = fs.read(path, file)?;
    let read = read.trim_end();
    if accepts(read) {
        return Ok(());
    }
    Err(ApplyError::NotKept {
        path: path.clone(),
        file,
        wanted: wanted.to_owned(),
        read: read.to_owned(),
    })
}

fn enabled(fs: &dyn CgroupFs, path: &CgroupPath) -> Result<Vec<Controller>, CgroupError> {
    let listed = fs.read(path, ControlFile::SubtreeControl)?;
    Ok(listed
        .split_whitespace()
        .filter_map(Controller::from_name)
        .collect())
}

fn words(sign: char, controllers: &[Controller]) -> String {
    let words: Vec<_> = controllers.iter().map(|c| format!("{sign}{c}")).collect();
    words.join(" ")
}

#[cfg(test)]
mod props;
#[cfg(test)]
mod tests;
