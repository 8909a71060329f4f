//! A process's directory in /proc, held open: what is read or written through it belongs to one process, and
//! fails once that has been reaped, whoever has the pid then.
//!
//! Source of the formats: proc_pid_stat(5), proc_pid_oom_score_adj(5).

use std::io::{self, Read, Write};

use procfs::process::{Process, Stat};
use procfs::{FromRead, ProcError};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{ProcessError, ProcessStep};
use crate::model::{ExitStatus, OomScoreAdj, ProcessIdentity};

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProcessFacts {
    pub(super) identity: ProcessIdentity,
    pub(super) parent: u32,
    /// Whether it has executed a program since it was forked.
    pub(super) executed: bool,
    /// Whether it has begun to end.
    pub(super) exiting: bool,
    /// How it ended, for a process that waits to be reaped.
    pub(super) ended: Option<ExitStatus>,
}

/// `PF_EXITING` of the kernel's `sched.h`, in field 9 of `/proc/PID/stat`.
const EXITING: u32 = 0x4;
/// `PF_FORKNOEXEC`: forked, and no program executed since.
const FORKED_ONLY: u32 = 0x40;

/// An open `/proc/PID`.
pub(super) struct ProcDir {
    process: Process,
    pub(super) facts: ProcessFacts,
}

impl ProcDir {
    /// Opens the directory of the process that has `pid` now; none when there is no such process.
    pub(super) fn open(pid: u32) -> Result<Option<Self>, ProcessError> {
        let Ok(number) = i32::try_from(pid) else {
            return Ok(None);
        };
        let opened = gone_is_none(Process::new(number), pid)?;
        let Some(process) = opened else {
            return Ok(None);
        };
        let facts = read_stat(&process, pid)?;
        Ok(facts.map(|facts| Self { process, facts }))
    }

    /// The same, but only for this very process.
    pub(super) fn of(identity: ProcessIdentity) -> Result<Option<Self>, ProcessError> {
        Ok(Self::open(identity.pid)?.filter(|dir| dir.facts.identity == identity))
    }

    /// Its `oom_score_adj`; none once it is gone or on its way out, when recent kernels show 0.
    pub(super) fn oom_score_adj(&self) -> Result<Option<OomScoreAdj>, ProcessError> {
        let pid = self.facts.identity.pid;
        let read = self.process.open_relative("oom_score_adj").and_then(|mut file| {
            let mut text = String::new();
            file.read_to_string(&mut text)?;
            Ok(text)
        });
        let Some(text) = gone_is_none(read, pid)? else {
            return Ok(None);
        };
        let still = read_stat(&self.process, pid)?.is_some_and(|facts| !facts.exiting);
        match text.trim().parse() {
            Ok(value) => Ok(still.then_some(OomScoreAdj(value))),
            Err(_) => Err(ProcessError::new(
                ProcessStep::Inspect,
                format!("pid {pid}, oom_score_adj {text:?}"),
                io::ErrorKind::InvalidData,
            )),
        }
    }

    /// Sets its `oom_score_adj`; false once it is gone.
    pub(super) fn set_oom_score_adj(&self, value: OomScoreAdj) -> Result<bool, ProcessError> {
        let pid = self.facts.identity.pid;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let written = self
            .process
            .open_relative_flags("oom_score_adj", flags)
            .and_then(|mut file| {
                file.write_all(value.to_string().as_bytes())?;
                Ok(())
            });
        let subject = format!("pid {pid}, {value}");
        Ok(gone_is_none_at(ProcessStep::SetOomScoreAdj, written, subject)?.is_some())
    }
}

/// What the process's `stat` says now; none once it is gone.
fn read_stat(process: &Process, pid: u32) -> Result<Option<ProcessFacts>, ProcessError> {
    let read = process.open_relative("stat").and_then(|mut file| {
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(text)
    });
    let Some(text) = gone_is_none(read, pid)? else {
        return Ok(None);
    };
    let facts = parse_stat(&text).ok_or_else(|| {
        let found = format!("pid {pid}, {:?}", String::from_utf8_lossy(&text));
        ProcessError::new(ProcessStep::Inspect, found, io::ErrorKind::InvalidData)
    })?;
    Ok(Some(facts))
}

/// Reads `/proc/PID/stat`. The command's name is the process's own choice and may hold anything, blanks and
/// parentheses included; the last `)` ends it. None for what the kernel would never write.
pub(super) fn parse_stat(text: &[u8]) -> Option<ProcessFacts> {
    // procfs cuts the text around the parentheses without looking at what is there.
    let text = text.trim_ascii_end();
    let open = text.iter().position(|b| *b == b'(')?;
    let close = text.iter().rposition(|b| *b == b')')?;
    let pid = text[..open].strip_suffix(b" ")?;
    if close < open || text.get(close + 1) != Some(&b' ') || !pid.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let stat = Stat::from_read(text).ok()?;
    let ended = (stat.state == 'Z').then(|| {
        stat.exit_code
            .map_or(ExitStatus::Unknown, crate::kernel::sys::wait_status)
    });
    Some(ProcessFacts {
        identity: ProcessIdentity {
            pid: u32::try_from(stat.pid).ok()?,
            start_ticks: stat.starttime,
        },
        parent: u32::try_from(stat.ppid).ok()?,
        executed: stat.flags & FORKED_ONLY == 0,
        exiting: ended.is_some() || stat.flags & EXITING != 0,
        ended,
    })
}

/// The member that none of the others made, the oldest if there are several.
pub(super) fn first_of(members: &[ProcessFacts]) -> Option<ProcessIdentity> {
    let inside = |pid| members.iter().any(|m| m.identity.pid == pid);
    members
        .iter()
        .filter(|m| m.ended.is_none() && !inside(m.parent))
        .map(|m| m.identity)
        .min_by_key(|identity| (identity.start_ticks, identity.pid))
}

fn gone_is_none<T>(result: Result<T, ProcError>, pid: u32) -> Result<Option<T>, ProcessError> {
    gone_is_none_at(ProcessStep::Inspect, result, format!("pid {pid}"))
}

fn gone_is_none_at<T>(
    step: ProcessStep,
    result: Result<T, ProcError>,
    subject: String,
) -> Result<Option<T>, ProcessError> {
    let source = match result {
        Ok(value) => return Ok(Some(value)),
        Err(ProcError::NotFound(_)) => return Ok(None),
        Err(ProcError::Io(source, _)) => source,
        Err(ProcError::PermissionDenied(_)) => Errno::ACCESS.into(),
        Err(other) => io::Error::other(other.to_string()),
    };
    if [Errno::SRCH, Errno::NOENT]
        .iter()
        .any(|e| source.raw_os_error() == Some(e.raw_os_error()))
    {
        return Ok(None);
    }
    Err(ProcessError::new(step, subject, source))
}
