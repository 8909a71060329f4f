//! Removing a pod's cgroups, also when what is inside does not want to go.
//!
//! **Problem.** A cgroup can only be removed when it is empty, and a process may take long to die: one that forks
//! without end, one that the CPU limit lets run 1 % of the time (before Linux 6.17 it dies at that pace), one that the
//! kernel holds in an uninterruptible wait. None of them may hold up the others. **How.** [`Removals`] keeps what is
//! still to be removed; each [`poll`](Removals::poll) takes one non-waiting step for each: lift the CPU limits, kill
//! the whole subtree, remove it from the bottom up once it is empty. What is not gone by then is tried again at the
//! next poll. A cgroup is known by its identity: one that somebody made anew under the same path is left alone.
//!
//! # Properties
//! - `poll` never waits.
//! - What can be removed is removed, whatever stands beside it.
//! - A removed cgroup's path is free again only when this says so ([`Removals::covers`]).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::kernel::cgroup_fs::{CgroupError, CgroupFs, Fault};
use crate::model::{BootTime, CgroupId, CgroupPath, ControlFile};

/// How many processes a stuck removal names.
const NAMED: usize = 16;

/// How far the removal of one cgroup has come.
#[derive(Debug)]
pub enum RemoveProgress {
    /// It is gone.
    Done,
    /// Its processes were killed and have not ended yet.
    Waiting,
    /// Its processes were killed long ago and are still there.
    Stuck {
        /// Some of them; the kernel holds them, or they fork faster than they die.
        pids: Vec<u32>,
        /// When the removal began.
        since: BootTime,
    },
    /// The kernel refuses something; it is tried again.
    Failed(CgroupError),
}

#[derive(Debug)]
struct Removal {
    id: CgroupId,
    since: BootTime,
    limits_lifted: bool,
}

/// The removals under way.
#[derive(Debug, Default)]
pub struct Removals {
    pending: BTreeMap<CgroupPath, Removal>,
}

impl Removals {
    /// Puts the cgroup with all below on the list; one that is gone already is done.
    ///
    /// # Errors
    /// The kernel's refusal to say which cgroup that is.
    pub fn begin(&mut self, fs: &dyn CgroupFs, path: &CgroupPath, now: BootTime) -> Result<(), CgroupError> {
        let id = match fs.id(path) {
            Ok(id) => id,
            Err(error) if error.is_gone() => return Ok(()),
            Err(error) => return Err(error),
        };
        let same = self.pending.get(path).is_some_and(|removal| removal.id == id);
        if !same {
            let removal = Removal {
                id,
                since: now,
                limits_lifted: false,
            };
            self.pending.insert(path.clone(), removal);
        }
        Ok(())
    }

    /// Whether `path` is, or lies in, a cgroup that is being removed: nothing may be put there.
    #[must_use]
    pub fn covers(&self, path: &CgroupPath) -> bool {
        self.pending.keys().any(|top| path.is_within(top))
    }

    /// Whether anything is still to be removed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// One step for each removal. A removal counts as stuck when it took longer than `patience`.
    pub fn poll(
        &mut self,
        fs: &dyn CgroupFs,
        now: BootTime,
        patience: Duration,
    ) -> Vec<(CgroupPath, RemoveProgress)> {
        let mut progress = Vec::with_capacity(self.pending.len());
        for (path, removal) in &mut self.pending {
            let step = step(fs, path, removal).and_then(|done| {
                Ok(if done {
                    RemoveProgress::Done
                } else if now.since(removal.since) > patience {
                    RemoveProgress::Stuck {
                        pids: members(fs, path)?,
                        since: removal.since,
                    }
                } else {
                    RemoveProgress::Waiting
                })
            });
            let step = match step {
                Err(error) if error.is_gone() => RemoveProgress::Done,
                step => step.unwrap_or_else(RemoveProgress::Failed),
            };
            progress.push((path.clone(), step));
        }
        for (path, step) in &progress {
            if matches!(step, RemoveProgress::Done) {
                self.pending.remove(path);
            }
        }
        progress
    }
}

/// Kills and removes as far as it goes at once; whether the cgroup is gone.
fn step(fs: &dyn CgroupFs, path: &CgroupPath, removal: &mut Removal) -> Result<bool, CgroupError> {
    if fs.id(path)? != removal.id {
        return Ok(true);
    }
    match fs.remove_tree(path) {
        Ok(()) => return Ok(true),
        Err(error) if error.fault == Fault::Busy => {}
        Err(error) => return Err(error),
    }
    if !removal.limits_lifted {
        lift_cpu_limits(fs, path)?;
        removal.limits_lifted = true;
    }
    fs.kill(path)?;
    match fs.remove_tree(path) {
        Ok(()) => Ok(true),
        Err(error) if error.fault == Fault::Busy => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lets throttled processes run, so that they can die.
fn lift_cpu_limits(fs: &dyn CgroupFs, path: &CgroupPath) -> Result<(), CgroupError> {
    match fs.write(path, ControlFile::CpuMax, "max") {
        Err(error) if !matches!(error.fault, Fault::NoSuchFile | Fault::Gone) => return Err(error),
        _ => {}
    }
    for child in below(fs, path)? {
        lift_cpu_limits(fs, &child)?;
    }
    Ok(())
}

/// Some of the processes in the cgroup and below.
fn members(fs: &dyn CgroupFs, path: &CgroupPath) -> Result<Vec<u32>, CgroupError> {
    let listed = match fs.read(path, ControlFile::Procs) {
        Ok(listed) => listed,
        // Threaded, or spoilt by a container: its processes have no list.
        Err(error) if error.fault == Fault::Other => String::new(),
        Err(error) => return Err(error),
    };
    let mut pids: Vec<u32> = listed
        .lines()
        .filter_map(|line| line.parse().ok())
        .take(NAMED)
        .collect();
    for child in below(fs, path)? {
        if pids.len() >= NAMED {
            break;
        }
        match members(fs, &child) {
            Ok(more) => pids.extend(more),
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(error),
        }
    }
    pids.truncate(NAMED);
    Ok(pids)
}

fn below(fs: &dyn CgroupFs, path: &CgroupPath) -> Result<Vec<CgroupPath>, CgroupError> {
    match fs.children(path) {
        Ok(names) => Ok(names.iter().filter_map(|name| path.child(name).ok()).collect()),
        Err(error) if error.is_gone() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::cgroup_fs::{FakeCgroupFs, Stubbornness};
    use crate::model::Controller;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn path(text: &str) -> CgroupPath {
        CgroupPath::parse(text).unwrap()
    }

    fn at(seconds: u64) -> BootTime {
        BootTime(Duration::from_secs(seconds))
    }

    fn node() -> FakeCgroupFs {
        let fs = FakeCgroupFs::new([Controller::Cpu]);
        fs.write(&CgroupPath::ROOT, ControlFile::SubtreeControl, "+cpu")
            .unwrap();
        for name in ["pod1", "pod1/c", "pod2", "pod2/c"] {
            fs.create(&path(name)).unwrap();
        }
        fs
    }

    #[test]
    fn a_process_that_the_kernel_holds_delays_only_its_own_cgroup() {
        let fs = node();
        let held = fs.spawn(&path("pod1/c"), Stubbornness::Stays).unwrap();
        fs.spawn(&path("pod2/c"), Stubbornness::Dies).unwrap();
        let mut removals = Removals::default();
        for pod in ["pod1", "pod2"] {
            removals.begin(&fs, &path(pod), at(0)).unwrap();
        }
        let progress = removals.poll(&fs, at(0), PATIENCE);
        assert!(matches!(
            &progress[..],
            [(_, RemoveProgress::Waiting), (_, RemoveProgress::Done)]
        ));
        assert!(fs.id(&path("pod2")).is_err());
        assert!(removals.covers(&path("pod1/c")) && !removals.covers(&path("pod2")));

        removals.begin(&fs, &path("pod1"), at(20)).unwrap();
        let progress = removals.poll(&fs, at(31), PATIENCE);
        let [(_, RemoveProgress::Stuck { pids, since })] = &progress[..] else {
            panic!("{progress:?}");
        };
        assert_eq!((&pids[..], *since), (&[held][..], at(0)));

        fs.release(held);
        let progress = removals.poll(&fs, at(32), PATIENCE);
        assert!(matches!(&progress[..], [(_, RemoveProgress::Done)]));
        assert!(removals.is_empty() && fs.id(&path("pod1")).is_err());
    }

    #[test]
    fn a_process_that_forks_is_killed_until_it_is_gone() {
        let fs = node();
        fs.spawn(&path("pod1/c"), Stubbornness::Forks(3)).unwrap();
        let mut removals = Removals::default();
        removals.begin(&fs, &path("pod1"), at(0)).unwrap();
        let polls = (0..10)
            .take_while(|n| {
                let progress = removals.poll(&fs, at(*n), PATIENCE);
                matches!(progress[..], [(_, RemoveProgress::Waiting)])
            })
            .count();
        assert_eq!(polls, 3);
        assert!(removals.is_empty());
    }

    #[test]
    fn a_cgroup_made_anew_under_the_same_path_is_left_alone() {
        let fs = node();
        fs.spawn(&path("pod1/c"), Stubbornness::Stays).unwrap();
        let mut removals = Removals::default();
        removals.begin(&fs, &path("pod1"), at(0)).unwrap();
        fs.vanish(&path("pod1"));
        fs.create(&path("pod1")).unwrap();
        let innocent = fs.spawn(&path("pod1"), Stubbornness::Dies).unwrap();
        let progress = removals.poll(&fs, at(1), PATIENCE);
        assert!(matches!(&progress[..], [(_, RemoveProgress::Done)]));
        assert_eq!(
            fs.read(&path("pod1"), ControlFile::Procs).unwrap(),
            format!("{innocent}\n")
        );
    }

    #[test]
    fn a_refusal_is_told_and_tried_again() {
        let fs = node();
        let mut removals = Removals::default();
        removals.begin(&fs, &path("pod1"), at(0)).unwrap();
        fs.fail_at(0, libc::EPERM);
        let progress = removals.poll(&fs, at(0), PATIENCE);
        assert!(
            matches!(&progress[..], [(_, RemoveProgress::Failed(error))] if error.fault == Fault::Denied)
        );
        assert!(matches!(
            &removals.poll(&fs, at(1), PATIENCE)[..],
            [(_, RemoveProgress::Done)]
        ));
    }

    #[test]
    fn cpu_limits_are_lifted_so_that_throttled_processes_can_die() {
        let fs = node();
        fs.write(
            &CgroupPath::ROOT.child("pod1").unwrap(),
            ControlFile::CpuMax,
            "1000 100000",
        )
        .unwrap();
        let held = fs.spawn(&path("pod1/c"), Stubbornness::Stays).unwrap();
        let mut removals = Removals::default();
        removals.begin(&fs, &path("pod1"), at(0)).unwrap();
        removals.poll(&fs, at(0), PATIENCE);
        assert_eq!(
            fs.read(&path("pod1"), ControlFile::CpuMax).unwrap(),
            "max 100000\n"
        );
        fs.release(held);
    }
}
