//! Steering whom the kernel's OOM killer takes: `oom_score_adj` of processes of a container.
//!
//! **Problem.** The kernel chooses a process, by its memory and its `oom_score_adj`; the agent chooses pods. A value has to be
//! set for each process, among those that fork while it is being set, and what each had must be put back. **How.** Each
//! process is held by its directory in `/proc`; then the cgroup's list is read again, so that a pid that went to another
//! process meanwhile is not touched; each write is read back. A child has its parent's value, so the round after which none
//! is to be changed was the last.
//!
//! **Start.** What a process had before the agent wrote it ([`Scores::start`]) is kept by its identity. One that is new has
//! it from its parent: if the agent has given its value to the container's processes of some start, that is its start too.
//! So a value stands for one start in a container, and is announced ([`Scores::announce`]) before it is given: these
//! announcements alone say what every process had, also to an agent that comes after one that was killed
//! ([`ScoreKeeper`](super::ScoreKeeper) has them on disk).
//!
//! A process that gives itself a value that stands for another start cannot be told from a child, and gets that start.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::MemoryCgroup;
use super::cgroup::{open_in, read_start};
use super::killer::{each_cgroup, each_process};
use super::parse;
use crate::kernel::fault;
use crate::model::{CgroupId, OomScoreAdj, ProcessIdentity};

/// Rounds, at most.
const ROUNDS: usize = 16;
/// Processes held at a time.
const CHUNK: usize = 256;

/// What processes had before they were steered, and what the agent gave them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scores {
    /// Of each process that the agent wrote, with its container's cgroup.
    starts: BTreeMap<ProcessIdentity, (CgroupId, OomScoreAdj)>,
    /// By container and the value given to its processes: the start of those.
    given: BTreeMap<(CgroupId, OomScoreAdj), OomScoreAdj>,
}

/// In this container who has the value had `start` before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Announced {
    /// The container.
    pub container: CgroupId,
    /// The value that the agent gives.
    pub value: OomScoreAdj,
    /// What there was before.
    pub start: OomScoreAdj,
}

/// What came of a write.
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

impl Scores {
    /// What an agent before this one had announced and may have written.
    #[must_use]
    pub fn resume(announced: impl IntoIterator<Item = Announced>) -> Self {
        let given = announced.into_iter();
        Self {
            starts: BTreeMap::new(),
            given: given.map(|a| ((a.container, a.value), a.start)).collect(),
        }
    }

    /// All that is announced.
    pub fn announced(&self) -> impl Iterator<Item = Announced> {
        let one = |(&(container, value), &start): (&(CgroupId, OomScoreAdj), &OomScoreAdj)| Announced {
            container,
            value,
            start,
        };
        self.given.iter().map(one)
    }

    /// From now on a process of the container that has the value is one that had `start`; false, and nothing is changed,
    /// where it stands for another start already.
    pub fn announce(&mut self, container: CgroupId, start: OomScoreAdj, value: OomScoreAdj) -> bool {
        value == start || *self.given.entry((container, value)).or_insert(start) == start
    }

    /// What a process of that container, which has `now`, had before the agent wrote it or its ancestors.
    pub fn start(&mut self, container: CgroupId, process: ProcessIdentity, now: OomScoreAdj) -> OomScoreAdj {
        match (self.starts.get(&process), self.given.get(&(container, now))) {
            (Some((_, start)), _) => *start,
            // Kept, for the next value may be given to others too.
            (None, Some(start)) => {
                self.starts.insert(process, (container, *start));
                *start
            }
            (None, None) => now,
        }
    }

    /// Gives `to`, which was announced, to every process of the container that started with `start`; with both the same,
    /// puts it back.
    ///
    /// # Errors
    /// The cgroup cannot be read; the error number, `ENODEV` when it is gone. `EINVAL` for what was not announced.
    pub fn write(
        &mut self,
        container: &MemoryCgroup,
        start: OomScoreAdj,
        to: OomScoreAdj,
    ) -> Result<Scored, i32> {
        let id = container.id();
        if to != start && self.given.get(&(id, to)) != Some(&start) {
            return Err(Errno::INVAL.raw_os_error());
        }
        let scored = apply(container, to, |process, now| {
            let wanted = self.start(id, process, now) == start && now != to;
            if wanted {
                self.starts.entry(process).or_insert((id, start));
            }
            wanted
        })?;
        if scored.settled {
            // Nobody has a former value any more.
            self.given
                .retain(|(container, value), given| (*container, *given) != (id, start) || *value == to);
        }
        if to == start && scored.settled {
            self.starts
                .retain(|_, (container, was)| *container != id || *was != start);
        }
        Ok(scored)
    }

    /// Forgets a container that is gone.
    pub fn forget(&mut self, container: CgroupId) {
        self.given.retain(|(id, _), _| *id != container);
        self.starts.retain(|_, (id, _)| *id != container);
    }

    /// Forgets the containers that are not among these.
    pub fn keep(&mut self, there: &BTreeSet<CgroupId>) {
        self.given.retain(|(id, _), _| there.contains(id));
        self.starts.retain(|_, (id, _)| there.contains(id));
    }

    /// Whether nobody has another value than at its start.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty() && self.given.is_empty()
    }
}

/// A process held by its directory.
struct Held(OwnedFd);

fn apply(
    cgroup: &MemoryCgroup,
    to: OomScoreAdj,
    mut wish: impl FnMut(ProcessIdentity, OomScoreAdj) -> bool,
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
                    match set(&held[at].1, to) {
                        Ok(()) => {
                            scored.written += 1;
                            fault::point("scores.one-written");
                        }
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
fn hold(pid: i32, wish: &mut impl FnMut(ProcessIdentity, OomScoreAdj) -> bool) -> Option<Held> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut path = [0; 32];
    let dir = rustix::fs::open(proc_path(pid, None, &mut path)?, flags, Mode::empty()).ok()?;
    let mut buffer = [0; 1024];
    let facts = facts_of(read_in(dir.as_fd(), c"stat", &mut buffer).ok()?)?;
    // Recent kernels show 0 for a process on its way out.
    if facts.exiting {
        return None;
    }
    let process = ProcessIdentity {
        pid: pid.unsigned_abs(),
        start_ticks: facts.start_ticks,
    };
    let now = score(read_in(dir.as_fd(), c"oom_score_adj", &mut buffer).ok()?)?;
    wish(process, now).then_some(Held(dir))
}

/// Writes the value and reads it back.
fn set(held: &Held, to: OomScoreAdj) -> Result<(), Errno> {
    let file = open_in(held.0.as_fd(), c"oom_score_adj", OFlags::WRONLY)?;
    let mut text = [0; 8];
    let mut rest = &mut text[..];
    // At most six characters.
    write!(rest, "{to}").map_err(|_| Errno::INVAL)?;
    let left = rest.len();
    let length = text.len() - left;
    rustix::io::retry_on_intr(|| rustix::io::write(&file, &text[..length]))?;
    let mut buffer = [0; 32];
    let now = score(read_in(held.0.as_fd(), c"oom_score_adj", &mut buffer)?);
    (now == Some(to)).then_some(()).ok_or(Errno::IO)
}

pub(super) fn score(content: &[u8]) -> Option<OomScoreAdj> {
    let line = parse::lines(content).next()?;
    let (digits, sign) = line.strip_prefix(b"-").map_or((line, 1), |digits| (digits, -1));
    let number = i16::try_from(parse::decimal(digits)?).ok()?;
    Some(OomScoreAdj(sign * number))
}

/// What `/proc/PID/stat` says.
pub(super) struct Facts {
    /// When it started, in clock ticks since boot.
    pub(super) start_ticks: u64,
    /// Whether it ends, or is dead.
    pub(super) exiting: bool,
    /// Whether it is a thread of the kernel.
    pub(super) kernel: bool,
}

/// Reads state, flags (field 9) and start time (field 22). The name before may hold anything; the last `)` ends it.
pub(super) fn facts_of(stat: &[u8]) -> Option<Facts> {
    /// `PF_EXITING` and `PF_KTHREAD` of the kernel's `sched.h`.
    const EXITING: u64 = 0x4;
    const KERNEL: u64 = 0x20_0000;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let mut words = stat.get(close + 2..)?.split(|byte| *byte == b' ');
    let state = words.next()?;
    let flags = parse::decimal(words.nth(5)?)?;
    let start_ticks = parse::decimal(words.nth(12)?)?;
    Some(Facts {
        start_ticks,
        exiting: matches!(state, b"Z" | b"X") || flags & EXITING != 0,
        kernel: flags & KERNEL != 0,
    })
}

/// Reads a file of a process that has this pid now. Allocates nothing.
pub(super) fn read_of<'a>(pid: i32, file: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let mut path = [0; 64];
    let path = proc_path(pid, Some(file), &mut path).ok_or(Errno::INVAL)?;
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    read_start(fd.as_fd(), buffer)
}

/// Reads a file of a process whose directory is held. Allocates nothing.
pub(super) fn read_in<'a>(dir: BorrowedFd<'_>, file: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pass_for_other_fields() {
        let fields = "S 1 1 1 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 1";
        for name in ["sh", "a) Z 1 1 1 0 -1 4 (", ") ("] {
            let facts = facts_of(format!("12 ({name}) {fields}\n").as_bytes()).unwrap();
            assert_eq!(
                (facts.start_ticks, facts.exiting, facts.kernel),
                (4711, false, false),
                "{name}"
            );
        }
        let kernel = facts_of(b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 4 0 0\n");
        assert!(kernel.unwrap().kernel);
        assert!(facts_of(b"12 (sh) S 1\n").is_none() && facts_of(b"").is_none() && facts_of(b")").is_none());
    }

    #[test]
    fn a_child_has_the_start_of_those_whose_value_it_has() {
        let process = |pid| ProcessIdentity { pid, start_ticks: 1 };
        let (pod, other) = (CgroupId(1), CgroupId(2));
        let mut scores = Scores::default();
        assert_eq!(scores.start(pod, process(1), OomScoreAdj(300)), OomScoreAdj(300));
        assert!(scores.is_empty(), "who was never written is not remembered");
        assert!(scores.announce(pod, OomScoreAdj(300), OomScoreAdj(900)));
        assert!(
            !scores.announce(pod, OomScoreAdj(500), OomScoreAdj(900)),
            "a value stands for one start"
        );
        assert_eq!(scores.start(pod, process(2), OomScoreAdj(900)), OomScoreAdj(300));
        assert_eq!(
            scores.start(other, process(3), OomScoreAdj(900)),
            OomScoreAdj(900)
        );
        // It keeps it, whatever it is given later.
        assert_eq!(scores.start(pod, process(2), OomScoreAdj(-5)), OomScoreAdj(300));
        // Who comes after knows it from what was announced.
        let mut next = Scores::resume(scores.announced());
        assert_eq!(next.start(pod, process(2), OomScoreAdj(900)), OomScoreAdj(300));
        next.keep(&BTreeSet::from([pod]));
        assert!(!next.is_empty());
        next.keep(&BTreeSet::from([other]));
        assert!(next.is_empty());
        scores.forget(pod);
        assert_eq!(scores.start(pod, process(2), OomScoreAdj(900)), OomScoreAdj(900));
    }
}
