//! Steering whom the kernel's OOM killer takes: `oom_score_adj` of every process of a cgroup.
//!
//! **Problem.** The kernel chooses a process, by its memory and its `oom_score_adj`; the agent chooses pods. A value has to be
//! set for each process, among those that fork while it is being set. **How.** Each process is held by its directory in
//! `/proc`; then the cgroup's list is read again, so that a pid that went to another process meanwhile is not touched; each
//! write is read back. A child has its parent's value, so the round after which none is to be changed was the last. What
//! each process had is kept ([`ScoreMemo`]) and put back by [`restore`].

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::MemoryCgroup;
use super::cgroup::{open_in, read_start};
use super::killer::{each_cgroup, each_process};
use super::parse;
use crate::model::{OomScoreAdj, ProcessIdentity};

/// Rounds, at most.
const ROUNDS: usize = 16;
/// Processes held at a time.
const CHUNK: usize = 256;

/// What processes had before they were steered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScoreMemo {
    before: BTreeMap<ProcessIdentity, OomScoreAdj>,
}

impl ScoreMemo {
    /// What the process had before, if it was steered.
    #[must_use]
    pub fn before(&self, process: ProcessIdentity) -> Option<OomScoreAdj> {
        self.before.get(&process).copied()
    }

    /// How many are steered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.before.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.before.is_empty()
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scored {
    /// Values written and read back.
    pub written: u32,
    /// Rounds that it took.
    pub rounds: u32,
    /// Whether the last round found nothing to change.
    pub settled: bool,
    /// The first refusal: whose, and the error number. Those that had ended are none.
    pub refused: Option<(u32, i32)>,
}

/// Gives every process of the cgroup and below this value.
///
/// # Errors
/// The cgroup cannot be read; the error number, `ENODEV` when it is gone.
pub fn steer(cgroup: &MemoryCgroup, value: OomScoreAdj, memo: &mut ScoreMemo) -> Result<Scored, i32> {
    apply(cgroup, |process, now| {
        (now != value).then(|| {
            memo.before.entry(process).or_insert(now);
            value
        })
    })
}

/// Puts back what processes of the cgroup had before they were steered to `steered`; those that were born since then get
/// `launched`, the value that the container started with. One that has chosen another value since keeps it.
///
/// # Errors
/// The cgroup cannot be read; the error number, `ENODEV` when it is gone.
pub fn restore(
    cgroup: &MemoryCgroup,
    steered: OomScoreAdj,
    launched: OomScoreAdj,
    memo: &mut ScoreMemo,
) -> Result<Scored, i32> {
    let scored = apply(cgroup, |process, now| {
        let before = memo.before(process).unwrap_or(launched);
        (now == steered && before != steered).then_some(before)
    })?;
    Ok(scored)
}

impl ScoreMemo {
    /// Forgets processes that are not there any more, or all once a cgroup is restored.
    pub fn retain(&mut self, mut keep: impl FnMut(ProcessIdentity) -> bool) {
        self.before.retain(|process, _| keep(*process));
    }
}

/// A process held by its directory.
struct Held {
    dir: OwnedFd,
    wanted: OomScoreAdj,
}

fn apply(
    cgroup: &MemoryCgroup,
    mut wish: impl FnMut(ProcessIdentity, OomScoreAdj) -> Option<OomScoreAdj>,
) -> Result<Scored, i32> {
    let mut scored = Scored::default();
    let mut held: Vec<(i32, Held)> = Vec::new();
    for _ in 0..ROUNDS {
        scored.rounds += 1;
        let mut wished = 0;
        let walked = each_cgroup(cgroup.as_fd(), &mut |dir| {
            held.clear();
            each_process(dir, &mut |pid| {
                if held.len() < CHUNK
                    && let Some(process) = hold(pid, &mut wish)
                {
                    held.push((pid, process));
                }
            })?;
            if held.is_empty() {
                return Ok(());
            }
            held.sort_unstable_by_key(|(pid, _)| *pid);
            wished += held.len();
            each_process(dir, &mut |pid| {
                if let Ok(at) = held.binary_search_by_key(&pid, |(pid, _)| *pid) {
                    match set(&held[at].1) {
                        Ok(()) => scored.written += 1,
                        Err(Errno::SRCH | Errno::NOENT) => {}
                        Err(errno) => {
                            let refusal = (pid.unsigned_abs(), errno.raw_os_error());
                            scored.refused = scored.refused.or(Some(refusal));
                        }
                    }
                }
            })
        });
        walked.map_err(Errno::raw_os_error)?;
        if wished == 0 || scored.refused.is_some() {
            scored.settled = wished == 0;
            break;
        }
    }
    Ok(scored)
}

/// Takes hold of a process, if its value is to be changed.
fn hold(
    pid: i32,
    wish: &mut impl FnMut(ProcessIdentity, OomScoreAdj) -> Option<OomScoreAdj>,
) -> Option<Held> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut path = [0; 32];
    let dir = rustix::fs::open(proc_path(pid, None, &mut path)?, flags, Mode::empty()).ok()?;
    let mut buffer = [0; 1024];
    let stat = read_in(dir.as_fd(), c"stat", &mut buffer).ok()?;
    let (start_ticks, exiting) = start_of(stat)?;
    // Recent kernels show 0 for a process on its way out.
    if exiting {
        return None;
    }
    let process = ProcessIdentity {
        pid: pid.unsigned_abs(),
        start_ticks,
    };
    let now = score(read_in(dir.as_fd(), c"oom_score_adj", &mut buffer).ok()?)?;
    let wanted = wish(process, now)?;
    Some(Held { dir, wanted })
}

/// Writes the value and reads it back.
fn set(held: &Held) -> Result<(), Errno> {
    let file = open_in(held.dir.as_fd(), c"oom_score_adj", OFlags::WRONLY)?;
    let mut text = [0; 8];
    let mut rest = &mut text[..];
    // At most six characters.
    write!(rest, "{}", held.wanted).map_err(|_| Errno::INVAL)?;
    let left = rest.len();
    let length = text.len() - left;
    rustix::io::retry_on_intr(|| rustix::io::write(&file, &text[..length]))?;
    let mut buffer = [0; 32];
    let now = score(read_in(held.dir.as_fd(), c"oom_score_adj", &mut buffer)?);
    (now == Some(held.wanted)).then_some(()).ok_or(Errno::IO)
}

fn score(content: &[u8]) -> Option<OomScoreAdj> {
    let line = parse::lines(content).next()?;
    let (digits, sign) = line.strip_prefix(b"-").map_or((line, 1), |digits| (digits, -1));
    let number = i16::try_from(parse::decimal(digits)?).ok()?;
    Some(OomScoreAdj(sign * number))
}

/// The start time, field 22 of `/proc/PID/stat`, and whether the process is ending (`PF_EXITING` in field 9, or a zombie).
/// The name before may hold anything; the last `)` ends it.
fn start_of(stat: &[u8]) -> Option<(u64, bool)> {
    const EXITING: u64 = 0x4;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let mut words = stat.get(close + 2..)?.split(|byte| *byte == b' ');
    let state = words.next()?;
    let flags = parse::decimal(words.nth(5)?)?;
    let start = parse::decimal(words.nth(12)?)?;
    Some((start, matches!(state, b"Z" | b"X") || flags & EXITING != 0))
}

/// Reads a file of a process that has this pid now. Allocates nothing.
pub(super) fn read_of<'a>(pid: i32, file: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let mut path = [0; 64];
    let path = proc_path(pid, Some(file), &mut path).ok_or(Errno::INVAL)?;
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    read_start(fd.as_fd(), buffer)
}

fn read_in<'a>(dir: BorrowedFd<'_>, file: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let fd = open_in(dir, file, OFlags::RDONLY)?;
    read_start(fd.as_fd(), buffer)
}

/// `/proc/PID` or `/proc/PID/FILE` in a buffer.
fn proc_path<'a>(pid: i32, file: Option<&CStr>, buffer: &'a mut [u8]) -> Option<&'a CStr> {
    let mut rest = &mut *buffer;
    write!(rest, "/proc/{pid}").ok()?;
    if let Some(file) = file {
        rest.write_all(b"/").ok()?;
        rest.write_all(file.to_bytes()).ok()?;
    }
    rest.write_all(b"\0").ok()?;
    CStr::from_bytes_until_nul(buffer).ok()
}
