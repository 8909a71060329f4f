//! Processes that only exist in memory.
//!
//! Programs are known by the last part of their name and behave as told: `true` and `false` end at once, `sleep`
//! runs until it is signalled, others are added with [`FakeProcesses::install`]. A cgroup is told from another
//! by the identity of the directory that the caller passes, so that any directory will do.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::{Process, ProcessError, ProcessStep, Processes};
use crate::model::{ExitStatus, LaunchSpec, OomScoreAdj, ProcessIdentity};

/// What a fake program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Ends at once.
    Ends(ExitStatus),
    /// Runs until a signal ends it.
    Runs,
    /// Runs until SIGKILL.
    IgnoresTerm,
}

#[derive(Debug)]
struct FakeProcess {
    identity: ProcessIdentity,
    behaviour: Behaviour,
    cgroup: (u64, u64),
    oom_score_adj: OomScoreAdj,
    ended: Option<ExitStatus>,
    spec: LaunchSpec,
}

#[derive(Debug)]
struct World {
    programs: BTreeMap<String, Behaviour>,
    processes: BTreeMap<u32, FakeProcess>,
    next_pid: u32,
    ticks: u64,
}

/// A machine's processes, in memory.
#[derive(Debug)]
pub struct FakeProcesses {
    world: Mutex<World>,
}

impl Default for FakeProcesses {
    fn default() -> Self {
        let programs = [
            ("true", Behaviour::Ends(ExitStatus::Code(0))),
            ("false", Behaviour::Ends(ExitStatus::Code(1))),
            ("sleep", Behaviour::Runs),
        ];
        let programs = programs
            .map(|(name, behaviour)| (name.to_owned(), behaviour))
            .into();
        Self {
            world: Mutex::new(World {
                programs,
                processes: BTreeMap::new(),
                next_pid: 1000,
                ticks: 1,
            }),
        }
    }
}

impl FakeProcesses {
    /// Adds a program.
    pub fn install(&self, program: &str, behaviour: Behaviour) {
        self.world().programs.insert(program.to_owned(), behaviour);
    }

    /// Ends a process, as its own decision or the kernel's would.
    pub fn end(&self, identity: ProcessIdentity, status: ExitStatus) {
        if let Some(process) = self.world().running(identity) {
            process.ended = Some(status);
        }
    }

    /// Ends what runs in a cgroup, as `cgroup.kill` does.
    ///
    /// # Panics
    /// When `cgroup` cannot be looked at.
    pub fn kill_all_in(&self, cgroup: &OwnedFd) {
        let cgroup = directory(cgroup).unwrap_or_default();
        let mut world = self.world();
        for process in world.processes.values_mut().filter(|p| p.cgroup == cgroup) {
            process.ended.get_or_insert(ExitStatus::Signal(9));
        }
    }

    /// What was launched and still runs.
    pub fn running(&self) -> Vec<(ProcessIdentity, LaunchSpec)> {
        let world = self.world();
        let running = world.processes.values().filter(|p| p.ended.is_none());
        running.map(|p| (p.identity, p.spec.clone())).collect()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    fn running(&mut self, identity: ProcessIdentity) -> Option<&mut FakeProcess> {
        self.processes
            .get_mut(&identity.pid)
            .filter(|p| p.identity == identity && p.ended.is_none())
    }
}

fn directory(cgroup: &OwnedFd) -> Result<(u64, u64), ProcessError> {
    let stat = rustix::fs::fstat(cgroup)
        .map_err(|e| ProcessError::new(ProcessStep::ListMembers, "the cgroup's directory", e))?;
    Ok((stat.st_dev, stat.st_ino))
}

impl Processes for FakeProcesses {
    fn launch(&self, spec: &LaunchSpec, cgroup: &OwnedFd) -> Result<Process, ProcessError> {
        let cgroup = directory(cgroup)?;
        let mut world = self.world();
        let program = spec.argv.first().filter(|p| !p.is_empty());
        let refuse = |step, errno| Err(ProcessError::new(step, format!("{:?}", spec.argv), errno));
        let Some(program) = program else {
            return refuse(ProcessStep::Prepare, Errno::INVAL);
        };
        let (dir, name) = program.rsplit_once('/').unwrap_or(("", program));
        let found = dir.is_empty() || ["/bin", "/usr/bin"].contains(&dir);
        let Some(behaviour) = found.then(|| world.programs.get(name).copied()).flatten() else {
            return refuse(ProcessStep::RunProgram, Errno::NOENT);
        };
        world.ticks += 1;
        world.next_pid += 1;
        let identity = ProcessIdentity {
            pid: world.next_pid,
            start_ticks: world.ticks,
        };
        let process = FakeProcess {
            identity,
            behaviour,
            cgroup,
            oom_score_adj: spec.oom_score_adj,
            ended: match behaviour {
                Behaviour::Ends(status) => Some(status),
                Behaviour::Runs | Behaviour::IgnoresTerm => None,
            },
            spec: spec.clone(),
        };
        world.processes.insert(identity.pid, process);
        Ok(Process {
            identity,
            pidfd: None,
        })
    }

    fn adopt(&self, identity: ProcessIdentity, cgroup: &OwnedFd) -> Result<Option<Process>, ProcessError> {
        let cgroup = directory(cgroup)?;
        let mut world = self.world();
        let found = world.running(identity).filter(|p| p.cgroup == cgroup);
        Ok(found.map(|_| Process {
            identity,
            pidfd: None,
        }))
    }

    fn first_in(&self, cgroup: &OwnedFd) -> Result<Option<ProcessIdentity>, ProcessError> {
        let cgroup = directory(cgroup)?;
        let world = self.world();
        let mut inside = world
            .processes
            .values()
            .filter(|p| p.cgroup == cgroup && p.ended.is_none());
        Ok(inside.next().map(|p| p.identity))
    }

    fn signal(&self, process: &Process, signal: i32) -> Result<(), ProcessError> {
        if !(1..=31).contains(&signal) {
            let subject = format!("pid {}, signal {signal}", process.identity.pid);
            return Err(ProcessError::new(ProcessStep::Signal, subject, Errno::INVAL));
        }
        if let Some(process) = self.world().running(process.identity)
            && (signal == 9 || process.behaviour == Behaviour::Runs)
        {
            process.ended = Some(ExitStatus::Signal(signal));
        }
        Ok(())
    }

    fn try_wait(&self, process: &Process) -> Result<Option<ExitStatus>, ProcessError> {
        let world = self.world();
        let known = world.processes.get(&process.identity.pid);
        Ok(known.map_or(Some(ExitStatus::Unknown), |p| p.ended))
    }

    fn identify(&self, pid: u32) -> Result<Option<ProcessIdentity>, ProcessError> {
        let world = self.world();
        Ok(world
            .processes
            .get(&pid)
            .filter(|p| p.ended.is_none())
            .map(|p| p.identity))
    }

    fn set_oom_score_adj(&self, identity: ProcessIdentity, value: OomScoreAdj) -> Result<bool, ProcessError> {
        let mut world = self.world();
        let running = world.running(identity);
        Ok(running.map(|p| p.oom_score_adj = value).is_some())
    }

    fn oom_score_adj(&self, identity: ProcessIdentity) -> Result<Option<OomScoreAdj>, ProcessError> {
        Ok(self.world().running(identity).map(|p| p.oom_score_adj))
    }
}
