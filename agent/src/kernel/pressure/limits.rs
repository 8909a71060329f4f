//! Writes that may take seconds, off the guard's thread.
//!
//! **Problem.** Setting `memory.high` or `memory.max` below what is used reclaims down to it before the write returns (6 s
//! were seen), and `memory.reclaim` is nothing but that. **How.** Two threads take jobs from a bounded queue. `memory.high`
//! and `memory.max` are opened with `O_NONBLOCK`: since Linux 6.16 they are then set at once, and whoever allocates reclaims.
//! `memory.reclaim` is written in pieces, and after the job's deadline no piece more. What has come of a job is fetched with
//! [`LimitWriter::done`]; the guard is woken for it.
//!
//! # Properties
//! - [`LimitWriter::submit`] never waits for a write.
//! - No write begins after its deadline. One that the kernel is at can be overdue ([`LimitWriter::overdue`]), since nothing
//!   can end it.
//! - A limit that was written was read back.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::cgroup::{MemoryCgroup, read_start};
use super::{Waker, parse};
use crate::kernel::clock::{Clock, RealClock};
use crate::model::{BootTime, Bytes, CgroupId, Limit};

const THREADS: usize = 2;
/// What is asked of `memory.reclaim` at a time: some ten milliseconds of clean cache.
const PIECE: Bytes = Bytes::mib(32);

/// A file that may block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitFile {
    /// `memory.high`.
    High,
    /// `memory.max`.
    Max,
    /// `memory.reclaim` (Linux 5.19): so many bytes.
    Reclaim,
}

/// A write to be made.
#[derive(Debug, Clone)]
pub struct WriteJob {
    /// The caller's.
    pub id: u64,
    /// Of which cgroup.
    pub cgroup: Arc<MemoryCgroup>,
    /// Into which file.
    pub file: LimitFile,
    /// What.
    pub value: Limit<Bytes>,
    /// When it is of no use any more.
    pub deadline: BootTime,
}

/// What came of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The file now says this, which can be less than asked for by up to a page.
    Kept(Limit<Bytes>),
    /// So much was asked of the kernel piece by piece, and it found all of it.
    Reclaimed(Bytes),
    /// The kernel found less than asked for, after so many bytes of whole pieces: there is little more to be had.
    Short(Bytes),
    /// The deadline came first, after so many bytes.
    Expired(Bytes),
    /// The cgroup is gone.
    Gone,
    /// The kernel refused; its error number. 2 (`ENOENT`) where it has no such file.
    Refused(i32),
}

/// A write that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteDone {
    /// The caller's.
    pub id: u64,
    /// Of which cgroup.
    pub cgroup: CgroupId,
    /// Which file.
    pub file: LimitFile,
    /// What came of it.
    pub outcome: WriteOutcome,
    /// When the thread began.
    pub began: BootTime,
    /// When it was over.
    pub ended: BootTime,
}

/// There are too many jobs already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many limits wait to be written")]
pub struct QueueFull;

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<WriteJob>,
    done: VecDeque<WriteDone>,
    /// Of each thread: the job that it is at, with its deadline.
    at: [Option<(u64, BootTime)>; THREADS],
    stop: bool,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    waker: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is whole at every moment at which a thread could have panicked.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The threads that write.
#[derive(Debug)]
pub struct LimitWriter {
    shared: Arc<Shared>,
    room: usize,
    threads: Vec<JoinHandle<()>>,
}

impl LimitWriter {
    /// Starts the threads; `room` jobs can wait, or be over and not fetched.
    ///
    /// # Errors
    /// The kernel's.
    pub fn start(waker: Option<Waker>, room: usize) -> io::Result<Self> {
        let queue = Queue {
            waiting: VecDeque::with_capacity(room),
            done: VecDeque::with_capacity(room + THREADS),
            ..Queue::default()
        };
        let shared = Arc::new(Shared {
            queue: Mutex::new(queue),
            work: Condvar::new(),
            waker,
        });
        let mut writer = Self {
            shared,
            room,
            threads: Vec::new(),
        };
        for place in 0..THREADS {
            let shared = writer.shared.clone();
            let thread = std::thread::Builder::new()
                .name("limits".to_owned())
                .stack_size(128 << 10)
                .spawn(move || work(&shared, place))?;
            writer.threads.push(thread);
        }
        Ok(writer)
    }

    /// Has the write made by another thread.
    ///
    /// # Errors
    /// The queue is full.
    pub fn submit(&self, job: WriteJob) -> Result<(), QueueFull> {
        let mut queue = self.shared.lock();
        if queue.waiting.len() + queue.done.len() >= self.room {
            return Err(QueueFull);
        }
        queue.waiting.push_back(job);
        drop(queue);
        self.shared.work.notify_one();
        Ok(())
    }

    /// A write that is over, the first one first.
    #[must_use]
    pub fn done(&self) -> Option<WriteDone> {
        self.shared.lock().done.pop_front()
    }

    /// Jobs that the kernel is at beyond their deadline.
    #[must_use]
    pub fn overdue(&self, now: BootTime) -> usize {
        let queue = self.shared.lock();
        let at = queue.at.iter().flatten();
        at.filter(|(_, deadline)| *deadline < now).count()
    }
}

impl Drop for LimitWriter {
    /// Waits for no write: a thread that the kernel holds ends when it comes back.
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.work.notify_all();
        for thread in self.threads.drain(..).filter(JoinHandle::is_finished) {
            // A thread that panicked has said so.
            _ = thread.join();
        }
    }
}

fn work(shared: &Shared, place: usize) {
    let mut queue = shared.lock();
    loop {
        if queue.stop {
            return;
        }
        let Some(job) = queue.waiting.pop_front() else {
            queue = shared.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        queue.at[place] = Some((job.id, job.deadline));
        drop(queue);
        let began = RealClock.now();
        let outcome = make(&job, &RealClock);
        let done = WriteDone {
            id: job.id,
            cgroup: job.cgroup.id(),
            file: job.file,
            outcome,
            began,
            ended: RealClock.now(),
        };
        queue = shared.lock();
        queue.at[place] = None;
        queue.done.push_back(done);
        if let Some(waker) = &shared.waker {
            waker.wake();
        }
    }
}

fn make(job: &WriteJob, clock: &impl Clock) -> WriteOutcome {
    if clock.now() >= job.deadline {
        return WriteOutcome::Expired(Bytes(0));
    }
    let made = match (job.file, job.value) {
        (LimitFile::High, value) => limit(&job.cgroup, c"memory.high", value),
        (LimitFile::Max, value) => limit(&job.cgroup, c"memory.max", value),
        (LimitFile::Reclaim, Limit::At(bytes)) => reclaim(job, bytes, clock),
        (LimitFile::Reclaim, Limit::Max) => Err(Errno::INVAL),
    };
    made.unwrap_or_else(|errno| {
        // A file that is missing is another matter than a cgroup that is.
        let missing_only = errno == Errno::NOENT && job.cgroup.populated().is_ok();
        match errno {
            Errno::NODEV | Errno::NOENT if !missing_only => WriteOutcome::Gone,
            _ => WriteOutcome::Refused(errno.raw_os_error()),
        }
    })
}

fn limit(cgroup: &MemoryCgroup, name: &std::ffi::CStr, value: Limit<Bytes>) -> Result<WriteOutcome, Errno> {
    let file = cgroup.open(name, OFlags::RDWR | OFlags::NONBLOCK)?;
    write(&file, value)?;
    let mut buffer = [0; 64];
    let kept = parse::limit(read_start(file.as_fd(), &mut buffer)?).ok_or(Errno::ILSEQ)?;
    Ok(WriteOutcome::Kept(kept))
}

fn reclaim(job: &WriteJob, bytes: Bytes, clock: &impl Clock) -> Result<WriteOutcome, Errno> {
    let file = job.cgroup.open(c"memory.reclaim", OFlags::WRONLY)?;
    let mut done = Bytes(0);
    while done < bytes {
        if clock.now() >= job.deadline {
            return Ok(WriteOutcome::Expired(done));
        }
        let piece = bytes.saturating_sub(done).min(PIECE);
        match write(&file, Limit::At(piece)) {
            Ok(()) => done = done.saturating_add(piece),
            // Not all of the piece was found.
            Err(Errno::AGAIN) => return Ok(WriteOutcome::Short(done)),
            Err(errno) => return Err(errno),
        }
    }
    Ok(WriteOutcome::Reclaimed(done))
}

fn write(file: impl AsFd, value: Limit<Bytes>) -> Result<(), Errno> {
    let text = match value {
        Limit::At(Bytes(bytes)) => bytes.to_string(),
        Limit::Max => "max".to_owned(),
    };
    let file = file.as_fd();
    rustix::io::retry_on_intr(|| rustix::io::pwrite(file, text.as_bytes(), 0)).map(drop)
}
