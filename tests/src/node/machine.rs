//! The machine under the agent: the fake cgroups and the fake processes, tied together as the kernel ties them.
//!
//! A process that is launched into a cgroup is a member of it, keeps it from being removed, and dies with it. The two
//! fakes do not know of each other; the ports here do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plimsoll::kernel::cgroup_fs::{CgroupError, CgroupFs, FakeCgroupFs, Stubbornness};
use plimsoll::kernel::process::{Behaviour, FakeProcesses, Process, ProcessError, ProcessStep, Processes};
use plimsoll::model::{
    CgroupId, CgroupPath, ControlFile, CpuSet, ExitStatus, LaunchSpec, OomScoreAdj, ProcessIdentity,
};

/// The program that only SIGKILL ends.
pub const DEAF: &str = "deaf";
/// The program that the kernel holds, so that not even SIGKILL ends it.
pub const STUCK: &str = "stuck";

/// A refusal that is to come.
#[derive(Debug)]
struct Refusal {
    /// What the cgroup's path ends in.
    at: String,
    file: ControlFile,
    errno: i32,
    times: usize,
}

#[derive(Debug, Default)]
struct Ties {
    /// What each cgroup's directory stands for.
    directories: BTreeMap<(u64, u64), (CgroupPath, CgroupId)>,
    /// Launched processes: their pid in the fake cgroups, and which cgroup that is.
    members: BTreeMap<ProcessIdentity, (u32, CgroupPath)>,
    oom_kills: BTreeMap<CgroupPath, u64>,
    /// Processes that the agent holds on to.
    held: BTreeSet<ProcessIdentity>,
    refusals: Vec<Refusal>,
    /// What the agent may still do before it is killed.
    left: Option<usize>,
    /// When two ran on a CPU that one of them was to have to itself.
    together: Vec<String>,
}

/// What unwinds an agent that is killed.
#[derive(Debug)]
pub struct Killed;

/// The beginning of the UIDs of pods whose containers are to be alone on their CPUs, whenever they run.
pub const ALONE: &str = "uid-own";

/// The machine.
#[derive(Debug)]
pub struct Machine {
    /// Its cgroups.
    pub cgroups: FakeCgroupFs,
    /// Its processes.
    pub processes: FakeProcesses,
    directories: PathBuf,
    ties: Mutex<Ties>,
}

impl Machine {
    pub(super) fn new(directories: PathBuf, cgroups: FakeCgroupFs) -> Arc<Self> {
        let machine = Self {
            cgroups,
            processes: FakeProcesses::default(),
            directories,
            ties: Mutex::default(),
        };
        machine.processes.install(DEAF, Behaviour::IgnoresTerm);
        machine.processes.install(STUCK, Behaviour::IgnoresTerm);
        Arc::new(machine)
    }

    fn ties(&self) -> MutexGuard<'_, Ties> {
        self.ties.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Launched processes that run, each with its cgroup.
    pub fn running(&self) -> Vec<(ProcessIdentity, CgroupPath)> {
        let ties = self.ties();
        let members = ties.members.iter();
        members
            .map(|(identity, (_, path))| (*identity, path.clone()))
            .collect()
    }

    /// Processes that the agent holds on to and that have ended since the last call.
    pub(super) fn take_ended(&self) -> Vec<ProcessIdentity> {
        let ties = &mut *self.ties();
        let ended = |identity: &ProcessIdentity| !ties.members.contains_key(identity);
        let (ended, held) = std::mem::take(&mut ties.held).into_iter().partition(ended);
        ties.held = held;
        Vec::from_iter::<BTreeSet<_>>(ended)
    }

    /// The agent is gone, and holds on to nothing.
    pub(super) fn let_go(&self) {
        self.ties().held.clear();
    }

    /// Ends a process by itself.
    pub fn end(&self, identity: ProcessIdentity, status: ExitStatus) {
        self.processes.end(identity, status);
        self.bury();
    }

    /// What the OOM killer does: it counts, and it kills.
    pub fn oom_kill(&self, identity: ProcessIdentity) {
        let place = self.ties().members.get(&identity).map(|(_, path)| path.clone());
        if let Some(path) = place {
            *self.ties().oom_kills.entry(path).or_default() += 1;
        }
        self.end(identity, ExitStatus::Signal(9));
    }

    /// The next `times` writes of `file` in a cgroup whose path ends in `at` are refused.
    pub fn refuse(&self, at: &str, file: ControlFile, errno: i32, times: usize) {
        self.ties().refusals.push(Refusal {
            at: at.to_owned(),
            file,
            errno,
            times,
        });
    }

    /// Kills the agent by unwinding, once it has changed something `nth` times more.
    pub fn kill_after(&self, nth: usize) {
        self.ties().left = Some(nth);
    }

    /// Lets the agent do as much as it will.
    pub fn spare(&self) {
        self.ties().left = None;
    }

    /// The agent changes something, unless this is where it is killed.
    pub fn passes(&self) {
        let dies = match &mut self.ties().left {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        if dies {
            // Without the message of a panic, of which there would be hundreds.
            std::panic::resume_unwind(Box::new(Killed));
        }
    }

    /// When two ran on a CPU that one of them was to have to itself, since the start.
    pub fn together(&self) -> Vec<String> {
        self.ties().together.clone()
    }

    /// Looks whether those that are to be alone are.
    fn look_who_is_together(&self) {
        let cpus = |path: &CgroupPath| {
            let list = self.cgroups.read(path, ControlFile::CpusetCpusEffective).ok()?;
            CpuSet::parse(&list).ok()
        };
        let running: BTreeSet<_> = self.running().into_iter().map(|(_, path)| path).collect();
        let alone = running.iter().filter(|path| path.to_string().contains(ALONE));
        let together: Vec<_> = alone
            .flat_map(|one| {
                running
                    .iter()
                    .filter(move |other| *other != one)
                    .map(move |other| (one, other))
            })
            .filter_map(|(one, other)| {
                let both = &cpus(one)? & &cpus(other)?;
                (!both.is_empty()).then(|| format!("{one} and {other} on {both}"))
            })
            .collect();
        self.ties().together.extend(together);
    }

    /// Takes all refusals back that have not happened.
    pub fn refuse_nothing(&self) {
        self.ties().refusals.clear();
    }

    /// Somebody kills what runs in a cgroup and removes it.
    pub fn remove(&self, path: &CgroupPath) {
        let inside = self.running().into_iter().filter(|(_, at)| at.is_within(path));
        for (identity, _) in inside {
            self.end(identity, ExitStatus::Signal(9));
        }
        self.cgroups.vanish(path);
    }

    /// Lets go of what the kernel held.
    pub fn release_stuck(&self) {
        for (identity, _) in self.running() {
            if self.is_stuck(identity) {
                self.end(identity, ExitStatus::Signal(9));
            }
        }
    }

    fn is_stuck(&self, identity: ProcessIdentity) -> bool {
        let running = self.processes.running();
        let found = running.iter().find(|(known, _)| *known == identity);
        found.is_some_and(|(_, spec)| spec.argv.first().is_some_and(|program| program == STUCK))
    }

    /// Takes those that ended out of their cgroups.
    fn bury(&self) {
        let running = self.processes.running();
        self.ties().members.retain(|identity, (pid, _)| {
            let runs = running.iter().any(|(known, _)| known == identity);
            if !runs {
                self.cgroups.release(*pid);
            }
            runs
        });
    }

    fn place_of(&self, directory: &OwnedFd) -> io::Result<CgroupPath> {
        let key = identity_of(directory)?;
        let known = self.ties().directories.get(&key).cloned();
        match known {
            Some((path, id)) if self.cgroups.id(&path).is_ok_and(|now| now == id) => Ok(path),
            _ => Err(io::Error::from_raw_os_error(ENODEV)),
        }
    }
}

const ENODEV: i32 = 19;

fn identity_of(directory: &OwnedFd) -> io::Result<(u64, u64)> {
    let metadata = File::from(directory.try_clone()?).metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// The machine's cgroups, as the engine reaches them.
#[derive(Debug)]
pub(super) struct Cgroups(pub(super) Arc<Machine>);

impl CgroupFs for Cgroups {
    fn create(&self, path: &CgroupPath) -> Result<CgroupId, CgroupError> {
        self.0.passes();
        self.0.cgroups.create(path)
    }

    fn remove(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        self.0.passes();
        self.0.cgroups.remove(path)
    }

    fn remove_tree(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        self.0.passes();
        self.0.cgroups.remove_tree(path)
    }

    fn children(&self, path: &CgroupPath) -> Result<Vec<String>, CgroupError> {
        self.0.cgroups.children(path)
    }

    fn id(&self, path: &CgroupPath) -> Result<CgroupId, CgroupError> {
        self.0.cgroups.id(path)
    }

    fn read(&self, path: &CgroupPath, file: ControlFile) -> Result<String, CgroupError> {
        let text = self.0.cgroups.read(path, file)?;
        let kills = self.0.ties().oom_kills.get(path).copied();
        Ok(match kills.filter(|_| file == ControlFile::MemoryEvents) {
            Some(kills) => text.replace("oom_kill 0", &format!("oom_kill {kills}")),
            None => text,
        })
    }

    fn write(&self, path: &CgroupPath, file: ControlFile, value: &str) -> Result<(), CgroupError> {
        let refusal = self.0.ties().refusals.iter_mut().find_map(|refusal| {
            let meant = refusal.file == file && path.to_string().ends_with(&refusal.at);
            let left = refusal.times.checked_sub(1).filter(|_| meant)?;
            refusal.times = left;
            Some(refusal.errno)
        });
        if let Some(errno) = refusal {
            self.0.cgroups.fail_at(0, errno);
        }
        self.0.passes();
        let written = self.0.cgroups.write(path, file, value);
        if file == ControlFile::CpusetCpus {
            self.0.look_who_is_together();
        }
        written
    }

    fn kill(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        self.0.passes();
        self.0.cgroups.kill(path)?;
        let inside = self.0.running().into_iter().filter(|(_, at)| at.is_within(path));
        for (identity, _) in inside.collect::<Vec<_>>() {
            if !self.0.is_stuck(identity) {
                self.0.end(identity, ExitStatus::Signal(9));
            }
        }
        Ok(())
    }

    fn open_dir(&self, path: &CgroupPath) -> Result<OwnedFd, CgroupError> {
        let id = self.0.cgroups.id(path)?;
        let directory = self.0.directories.join(id.0.to_string());
        let opened = fs::create_dir_all(&directory).and_then(|()| {
            let directory = OwnedFd::from(File::open(&directory)?);
            let key = identity_of(&directory)?;
            self.0.ties().directories.insert(key, (path.clone(), id));
            Ok(directory)
        });
        // Only the test's own directory can be missing: the fake's answer stands in for an error of its kind.
        opened.or_else(|_| self.0.cgroups.open_dir(path))
    }
}

/// The machine's processes, as the engine reaches them.
#[derive(Debug)]
pub(super) struct Programs(pub(super) Arc<Machine>);

impl Processes for Programs {
    fn launch(&self, spec: &LaunchSpec, cgroup: &OwnedFd) -> Result<Process, ProcessError> {
        let refuse = |source| ProcessError {
            step: ProcessStep::Clone,
            subject: format!("{:?}", spec.argv),
            source,
        };
        self.0.passes();
        let path = self.0.place_of(cgroup).map_err(refuse)?;
        let stuck = spec.argv.first().is_some_and(|program| program == STUCK);
        let kind = if stuck {
            Stubbornness::Stays
        } else {
            Stubbornness::Dies
        };
        let pid = self.0.cgroups.spawn(&path, kind);
        let pid = pid.map_err(|errno| refuse(io::Error::from_raw_os_error(errno)))?;
        let launched = self.0.processes.launch(spec, cgroup);
        match &launched {
            Ok(process) => {
                write_log(spec).map_err(refuse)?;
                let mut ties = self.0.ties();
                ties.members.insert(process.identity, (pid, path));
                ties.held.insert(process.identity);
            }
            Err(_) => self.0.cgroups.release(pid),
        }
        self.0.bury();
        self.0.look_who_is_together();
        launched
    }

    fn adopt(&self, identity: ProcessIdentity, cgroup: &OwnedFd) -> Result<Option<Process>, ProcessError> {
        let adopted = self.0.processes.adopt(identity, cgroup)?;
        self.0
            .ties()
            .held
            .extend(adopted.as_ref().map(|process| process.identity));
        Ok(adopted)
    }

    fn first_in(&self, cgroup: &OwnedFd) -> Result<Option<ProcessIdentity>, ProcessError> {
        self.0.processes.first_in(cgroup)
    }

    fn signal(&self, process: &Process, signal: i32) -> Result<(), ProcessError> {
        self.0.passes();
        let sent = self.0.processes.signal(process, signal);
        self.0.bury();
        sent
    }

    fn try_wait(&self, process: &Process) -> Result<Option<ExitStatus>, ProcessError> {
        self.0.processes.try_wait(process)
    }

    fn identify(&self, pid: u32) -> Result<Option<ProcessIdentity>, ProcessError> {
        self.0.processes.identify(pid)
    }

    fn set_oom_score_adj(&self, identity: ProcessIdentity, value: OomScoreAdj) -> Result<bool, ProcessError> {
        self.0.processes.set_oom_score_adj(identity, value)
    }

    fn oom_score_adj(&self, identity: ProcessIdentity) -> Result<Option<OomScoreAdj>, ProcessError> {
        self.0.processes.oom_score_adj(identity)
    }
}

/// What a program says at its start, where the agent would have put it.
fn write_log(spec: &LaunchSpec) -> io::Result<()> {
    if let Some(directory) = spec.log_path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    fs::write(&spec.log_path, format!("{:?}\n", spec.argv))
}
