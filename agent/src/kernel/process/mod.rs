//! Processes of containers: started inside their cgroup, known by pidfd, never by pid alone.
//!
//! **Problem.** A container's first process must be in its cgroup from its first instant, or what it forks and
//! allocates at once is charged elsewhere. It must outlive the agent, and an agent started again must find it,
//! although its pid may belong to another process by then.
//!
//! **How.** `clone3` with `CLONE_INTO_CGROUP` and `CLONE_PIDFD` starts it; output goes straight into a file, so
//! that nothing breaks when the agent goes away. Adoption opens a pidfd first and then checks, through it, the
//! recorded start time and that the cgroup lists the process.
//!
//! **A kernel's defect.** Since `cgroup.kill` catches forks by counting kills (6.14), `clone3` compares the count
//! of the caller's cgroup with that of the target: a child that is put into a cgroup that was ever killed is
//! itself killed, before it does anything. Seen on 6.18 and 7.2, not on 6.1 and 6.12. Such a death is noticed
//! (the child ended by SIGKILL and never executed a program), and the launch is made once more with a child that
//! moves into the cgroup itself, before it becomes the program. Only there is the child, never the program,
//! outside for a moment.
//!
//! # What holds
//! - A failed launch leaves no process; the error names the step, its subject and the errno.
//! - No descriptor of the agent but the three standard ones reaches the program; its signals are at their defaults.
//! - A signal or an `oom_score_adj` never hits another process that got the same pid.

#[cfg(any(test, feature = "testutils"))]
mod bed;
mod child;
#[cfg(any(test, feature = "testutils"))]
pub mod contract;
#[cfg(any(test, feature = "testutils"))]
mod fake;
mod log;
mod proc_dir;
mod real;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use crate::model::{ExitStatus, LaunchSpec, OomScoreAdj, ProcessIdentity};

#[cfg(any(test, feature = "testutils"))]
pub use bed::CgroupBed;
#[cfg(any(test, feature = "testutils"))]
pub use fake::{Behaviour, FakeProcesses};
pub use log::{LogError, LogFiles};
pub use real::RealProcesses;

/// A process that the agent holds on to.
#[derive(Debug)]
pub struct Process {
    /// Which one.
    pub identity: ProcessIdentity,
    /// Readable once it has ended. None in the fake.
    pub pidfd: Option<OwnedFd>,
}

/// What the agent does with processes.
pub trait Processes {
    /// Starts `spec` inside the cgroup whose directory `cgroup` is: the process is never anywhere else.
    ///
    /// # Errors
    /// The program was not found, or a step before it failed; no process is left behind.
    fn launch(&self, spec: &LaunchSpec, cgroup: &OwnedFd) -> Result<Process, ProcessError>;

    /// Takes hold of a process that already runs, if it is still the one meant and a member of the cgroup whose
    /// directory `cgroup` is.
    ///
    /// # Errors
    /// The kernel's refusal; a process that has ended, is another one or is elsewhere is `Ok(None)`.
    fn adopt(&self, identity: ProcessIdentity, cgroup: &OwnedFd) -> Result<Option<Process>, ProcessError>;

    /// The process that a container was most likely started with, when no record says: the oldest member of the
    /// cgroup whose parent is not a member.
    ///
    /// # Errors
    /// The kernel's refusal; an empty cgroup is `Ok(None)`.
    fn first_in(&self, cgroup: &OwnedFd) -> Result<Option<ProcessIdentity>, ProcessError>;

    /// Sends `signal`; a process that has ended is no error.
    ///
    /// # Errors
    /// The kernel's refusal.
    fn signal(&self, process: &Process, signal: i32) -> Result<(), ProcessError>;

    /// How the process ended, if it has; reaps it when it is our child. An adopted process has another parent:
    /// [`ExitStatus::Unknown`] when the kernel (before 6.15) forgot how it ended.
    ///
    /// # Errors
    /// The kernel's refusal.
    fn try_wait(&self, process: &Process) -> Result<Option<ExitStatus>, ProcessError>;

    /// The identity of the process that has this pid now.
    ///
    /// # Errors
    /// The kernel's refusal; no such process is `Ok(None)`.
    fn identify(&self, pid: u32) -> Result<Option<ProcessIdentity>, ProcessError>;

    /// Sets a process's `oom_score_adj` through its own directory in /proc, so that a reused pid is never hit.
    ///
    /// # Errors
    /// The kernel's refusal; a process that is gone or another one is `Ok(false)`.
    fn set_oom_score_adj(&self, identity: ProcessIdentity, value: OomScoreAdj) -> Result<bool, ProcessError>;

    /// Reads a process's `oom_score_adj`.
    ///
    /// # Errors
    /// The kernel's refusal; a process that is gone, on its way out or another one is `Ok(None)`.
    fn oom_score_adj(&self, identity: ProcessIdentity) -> Result<Option<OomScoreAdj>, ProcessError>;
}

/// What was being done with a process when it went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ProcessStep {
    /// Turning the launch specification into what the kernel takes.
    Prepare,
    /// Opening the log file.
    OpenLog,
    /// Opening `/dev/null` or the pipe on which the child reports.
    OpenStdio,
    /// `clone3` into the cgroup.
    Clone,
    /// Waiting for the child to reach its program.
    AwaitProgram,
    /// Moving into the cgroup, where `clone3` could not put it.
    JoinCgroup,
    /// `setsid`.
    NewSession,
    /// Putting standard input, output and error in place.
    SetStdio,
    /// Writing `oom_score_adj`.
    SetOomScoreAdj,
    /// `setgroups`.
    SetGroups,
    /// `setresgid`.
    SetGroup,
    /// `setresuid`.
    SetUser,
    /// `chdir`.
    ChangeDirectory,
    /// Closing the agent's descriptors.
    CloseDescriptors,
    /// Putting signals to their defaults.
    ResetSignals,
    /// `execve`.
    RunProgram,
    /// Taking hold of a running process.
    Adopt,
    /// Listing a cgroup's members.
    ListMembers,
    /// Sending a signal.
    Signal,
    /// Asking how it ended.
    Wait,
    /// Reading its files in /proc.
    Inspect,
}

impl fmt::Display for ProcessStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepare => "prepare the launch",
            Self::OpenLog => "open the log file",
            Self::OpenStdio => "open the standard descriptors",
            Self::Clone => "make a process in the cgroup",
            Self::AwaitProgram => "see the program started",
            Self::JoinCgroup => "move into the cgroup",
            Self::NewSession => "make a session",
            Self::SetStdio => "redirect input and output",
            Self::SetOomScoreAdj => "set oom_score_adj",
            Self::SetGroups => "drop supplementary groups",
            Self::SetGroup => "change to the group",
            Self::SetUser => "change to the user",
            Self::ChangeDirectory => "change to the working directory",
            Self::CloseDescriptors => "close descriptors",
            Self::ResetSignals => "reset signals",
            Self::RunProgram => "run the program",
            Self::Adopt => "adopt the process",
            Self::ListMembers => "list the cgroup's processes",
            Self::Signal => "signal the process",
            Self::Wait => "wait for the process",
            Self::Inspect => "inspect the process",
        })
    }
}

/// What went wrong with a process, and at which step.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} ({subject}): {source}")]
pub struct ProcessError {
    /// The step.
    pub step: ProcessStep,
    /// On what: a program, a directory, a pid; escaped for printing.
    pub subject: String,
    /// The kernel's answer.
    pub source: io::Error,
}

impl ProcessError {
    fn new(step: ProcessStep, subject: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self {
            step,
            subject: subject.into(),
            source: source.into(),
        }
    }

    /// The error number, when the kernel gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.source.raw_os_error()
    }
}
