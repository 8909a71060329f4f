//! Processes of containers: started inside their cgroup, known by pidfd, never by pid alone.

use std::io;
use std::os::fd::OwnedFd;

use crate::model::{ExitStatus, LaunchSpec, OomScoreAdj, ProcessIdentity};

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

    /// Takes hold of a process that already runs, if it is still the one meant.
    ///
    /// # Errors
    /// The kernel's refusal; a process that is gone or another one is `Ok(None)`.
    fn adopt(&self, identity: ProcessIdentity) -> Result<Option<Process>, ProcessError>;

    /// Sends `signal`; a process that has ended is no error.
    ///
    /// # Errors
    /// The kernel's refusal.
    fn signal(&self, process: &Process, signal: i32) -> Result<(), ProcessError>;

    /// How the process ended, if it has; reaps it when it is our child.
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
    /// The kernel's refusal; a process that is gone or another one is `Ok(None)`.
    fn oom_score_adj(&self, identity: ProcessIdentity) -> Result<Option<OomScoreAdj>, ProcessError>;
}

/// What went wrong with a process, and at which step.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} ({subject}): {source}")]
pub struct ProcessError {
    /// The step, as a verb phrase: `run the program`, `change to the working directory`…
    pub step: &'static str,
    /// On what: a program, a directory, a pid; escaped for printing.
    pub subject: String,
    /// The kernel's answer.
    pub source: io::Error,
}
