//! Carrying out what the lifecycle decided for one container: start, end, kill; and finding it again.
//!
//! **How.** Each action becomes one call to the kernel and one look at what came of it: the started process's
//! `oom_score_adj` is read back, a killed cgroup is asked whether it is empty. Nothing is started in a cgroup
//! that has processes, whatever the records say: the kernel's word is the last one against two instances.
//!
//! # What holds
//! - An outcome is always a fact that the lifecycle can take; a refusal of the kernel is one, too.
//! - No call here waits for a process to end.

use crate::kernel::cgroup_fs::{CgroupError, CgroupFs};
use crate::kernel::process::{Process, ProcessError, Processes};
use crate::model::{CgroupPath, ControlFile, LaunchSpec, OomScoreAdj, ProcessIdentity};

const SIGTERM: i32 = 15;

/// The kernel's refusal, of either kind.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Of something with the cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Of something with the process.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// What came of an action.
#[derive(Debug)]
pub enum Outcome {
    /// It runs.
    Started {
        /// Its first process.
        process: Process,
        /// Its `oom_score_adj` as read back; none when it has ended already.
        oom_score_adj: Option<OomScoreAdj>,
    },
    /// It was not started: its cgroup has processes that should not be there.
    Occupied,
    /// It was not started, and nothing is left of the attempt.
    StartFailed(LaunchError),
    /// Its first process was asked to end, or has ended before.
    Terminated,
    /// Its cgroup has no processes.
    Cleared,
    /// Its processes were killed and have not all ended yet.
    Killed,
    /// The kernel refused to signal or to kill; the action will come again.
    Refused(LaunchError),
}

/// Starts `spec` in the cgroup, unless that has processes.
pub fn start(
    fs: &dyn CgroupFs,
    processes: &dyn Processes,
    cgroup: &CgroupPath,
    spec: &LaunchSpec,
) -> Outcome {
    let started = || -> Result<Outcome, LaunchError> {
        if !is_empty(fs, cgroup)? {
            return Ok(Outcome::Occupied);
        }
        let dir = fs.open_dir(cgroup)?;
        let process = processes.launch(spec, &dir)?;
        // It runs, whatever the read-back says: an unreadable value is an unknown one.
        let oom_score_adj = processes.oom_score_adj(process.identity).unwrap_or_default();
        Ok(Outcome::Started {
            process,
            oom_score_adj,
        })
    };
    started().unwrap_or_else(Outcome::StartFailed)
}

/// Asks a container's first process to end.
pub fn terminate(processes: &dyn Processes, process: &Process) -> Outcome {
    match processes.signal(process, SIGTERM) {
        Ok(()) => Outcome::Terminated,
        Err(error) => Outcome::Refused(error.into()),
    }
}

/// Kills every process of the cgroup, and says whether any is left. A cgroup that is gone has none.
pub fn kill(fs: &dyn CgroupFs, cgroup: &CgroupPath) -> Outcome {
    match fs.kill(cgroup).and_then(|()| is_empty(fs, cgroup)) {
        Ok(true) => Outcome::Cleared,
        Ok(false) => Outcome::Killed,
        Err(error) if error.is_gone() => Outcome::Cleared,
        Err(error) => Outcome::Refused(error.into()),
    }
}

/// Whether the cgroup and all below it has no process.
///
/// # Errors
/// The kernel's refusal; also of a cgroup that is gone.
pub fn is_empty(fs: &dyn CgroupFs, cgroup: &CgroupPath) -> Result<bool, CgroupError> {
    let events = fs.read(cgroup, ControlFile::Events)?;
    Ok(events.lines().any(|line| line == "populated 0"))
}

/// Takes hold of the container's process after the agent was started again: the one that the record names, or,
/// where there is no record of one, the one that the cgroup's members descend from. None when it is gone.
///
/// # Errors
/// The kernel's refusal.
pub fn adopt(
    fs: &dyn CgroupFs,
    processes: &dyn Processes,
    cgroup: &CgroupPath,
    recorded: Option<ProcessIdentity>,
) -> Result<Option<Process>, LaunchError> {
    let dir = match fs.open_dir(cgroup) {
        Ok(dir) => dir,
        Err(error) if error.is_gone() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let wanted = match recorded {
        Some(identity) => Some(identity),
        None => processes.first_in(&dir)?,
    };
    match wanted {
        Some(identity) => Ok(processes.adopt(identity, &dir)?),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::cgroup_fs::{FakeCgroupFs, Stubbornness};
    use crate::kernel::process::contract::launch_spec;
    use crate::kernel::process::{FakeProcesses, ProcessStep};
    use crate::model::ExitStatus;

    struct Bed {
        fs: FakeCgroupFs,
        processes: FakeProcesses,
        cgroup: CgroupPath,
    }

    impl Bed {
        fn new() -> Self {
            let bed = Self {
                fs: FakeCgroupFs::new([]),
                processes: FakeProcesses::default(),
                cgroup: CgroupPath::parse("c").unwrap(),
            };
            bed.fs.create(&bed.cgroup).unwrap();
            bed
        }

        fn start(&self, program: &str) -> Outcome {
            let spec = launch_spec(&[program], "/nowhere".as_ref());
            start(&self.fs, &self.processes, &self.cgroup, &spec)
        }

        fn kill(&self) -> Outcome {
            kill(&self.fs, &self.cgroup)
        }
    }

    #[test]
    fn a_container_is_started_with_its_score_terminated_and_found_again() {
        let bed = Bed::new();
        let Outcome::Started {
            process,
            oom_score_adj,
        } = bed.start("sleep")
        else {
            panic!("it does not start");
        };
        assert_eq!(oom_score_adj, Some(OomScoreAdj(500)));
        let find = |recorded| {
            let found = adopt(&bed.fs, &bed.processes, &bed.cgroup, recorded).unwrap();
            found.map(|p| p.identity)
        };
        let reused = ProcessIdentity {
            start_ticks: 0,
            ..process.identity
        };
        assert_eq!(find(None), Some(process.identity));
        assert_eq!(find(Some(process.identity)), Some(process.identity));
        assert_eq!(
            find(Some(reused)),
            None,
            "the record's word is not replaced by a guess"
        );
        assert!(matches!(terminate(&bed.processes, &process), Outcome::Terminated));
        assert_eq!(
            bed.processes.try_wait(&process).unwrap(),
            Some(ExitStatus::Signal(15))
        );
        assert_eq!(find(None), None);
    }

    #[test]
    fn nothing_is_started_beside_other_processes() {
        let bed = Bed::new();
        let stranger = bed.fs.spawn(&bed.cgroup, Stubbornness::Dies).unwrap();
        assert!(matches!(bed.start("sleep"), Outcome::Occupied));
        assert!(bed.processes.running().is_empty());
        bed.fs.release(stranger);
        assert!(matches!(bed.start("sleep"), Outcome::Started { .. }));
    }

    #[test]
    fn a_failed_start_says_why_and_a_lost_cgroup_is_an_empty_one() {
        let bed = Bed::new();
        let Outcome::StartFailed(LaunchError::Process(error)) = bed.start("nothing") else {
            panic!("it starts");
        };
        assert_eq!(error.step, ProcessStep::RunProgram);
        bed.fs.vanish(&bed.cgroup);
        let outcome = bed.start("sleep");
        assert!(
            matches!(outcome, Outcome::StartFailed(LaunchError::Cgroup(_))),
            "{outcome:?}"
        );
        assert!(matches!(bed.kill(), Outcome::Cleared));
        assert!(
            adopt(&bed.fs, &bed.processes, &bed.cgroup, None)
                .unwrap()
                .is_none()
        );
        assert!(bed.processes.running().is_empty());
    }

    #[test]
    fn a_kill_tells_whether_anything_is_left() {
        let bed = Bed::new();
        let held = bed.fs.spawn(&bed.cgroup, Stubbornness::Stays).unwrap();
        assert!(matches!(bed.kill(), Outcome::Killed));
        bed.fs.release(held);
        assert!(matches!(bed.kill(), Outcome::Cleared));
    }
}
