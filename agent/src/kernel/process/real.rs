//! Processes of the running kernel.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use super::child::{self, ChildPlan, REPORT};
use super::proc_dir::{ProcDir, first_of};
use super::{Process, ProcessError, ProcessStep, Processes, log};
use crate::kernel::sys::{self, Side};
use crate::model::{ExitStatus, LaunchSpec, OomScoreAdj, ProcessIdentity};

/// How long a child may take to reach its program. Only a frozen cgroup or a dead network file system under the
/// program or its directory come near it; the agent waits meanwhile.
const REACHES_PROGRAM_WITHIN: Timespec = seconds(5);
/// How long a killed child may take to be reapable.
const ENDS_WITHIN: Timespec = seconds(1);

const fn seconds(n: i64) -> Timespec {
    Timespec {
        tv_sec: n,
        tv_nsec: 0,
    }
}

/// Linux's own processes.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealProcesses;

impl RealProcesses {
    /// Sets the agent's own `oom_score_adj`.
    ///
    /// # Errors
    /// The kernel's refusal: lowering it takes `CAP_SYS_RESOURCE`.
    pub fn set_own_oom_score_adj(&self, value: OomScoreAdj) -> Result<(), ProcessError> {
        if let Some(own) = self.identify(std::process::id())? {
            self.set_oom_score_adj(own, value)?;
        }
        Ok(())
    }
}

impl Processes for RealProcesses {
    fn launch(&self, spec: &LaunchSpec, cgroup: &OwnedFd) -> Result<Process, ProcessError> {
        match launch_once(spec, cgroup, Entry::Born)? {
            Launch::Runs(process) => return Ok(process),
            Launch::KilledBefore => {}
        }
        match launch_once(spec, cgroup, Entry::Moves)? {
            Launch::Runs(process) => Ok(process),
            Launch::KilledBefore => {
                let subject = format!("{}: SIGKILL came first", subject(spec));
                Err(ProcessError::new(ProcessStep::AwaitProgram, subject, Errno::INTR))
            }
        }
    }

    fn adopt(&self, identity: ProcessIdentity, cgroup: &OwnedFd) -> Result<Option<Process>, ProcessError> {
        let name = || format!("pid {}", identity.pid);
        let Some(pid) = i32::try_from(identity.pid).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        // First the hold, then the checks: what they find is what is held.
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            Err(errno) => return Err(ProcessError::new(ProcessStep::Adopt, name(), errno)),
        };
        let same = ProcDir::of(identity)?.is_some_and(|dir| dir.facts.ended.is_none());
        let inside = same && members(cgroup)?.contains(&identity.pid);
        Ok(inside.then_some(Process {
            identity,
            pidfd: Some(pidfd),
        }))
    }

    fn first_in(&self, cgroup: &OwnedFd) -> Result<Option<ProcessIdentity>, ProcessError> {
        let mut facts = Vec::new();
        for pid in members(cgroup)? {
            facts.extend(ProcDir::open(pid)?.map(|dir| dir.facts));
        }
        Ok(first_of(&facts))
    }

    fn signal(&self, process: &Process, signal: i32) -> Result<(), ProcessError> {
        let failed = |errno| {
            let subject = format!("pid {}, signal {signal}", process.identity.pid);
            ProcessError::new(ProcessStep::Signal, subject, errno)
        };
        let signal = Signal::from_named_raw(signal).ok_or_else(|| failed(Errno::INVAL))?;
        match rustix::process::pidfd_send_signal(pidfd_of(process)?, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(failed(errno)),
        }
    }

    fn try_wait(&self, process: &Process) -> Result<Option<ExitStatus>, ProcessError> {
        let pidfd = pidfd_of(process)?;
        let failed = |errno| {
            let subject = format!("pid {}", process.identity.pid);
            ProcessError::new(ProcessStep::Wait, subject, errno)
        };
        match reap(pidfd) {
            Err(Errno::CHILD) => {}
            Err(errno) => return Err(failed(errno)),
            Ok(status) => return Ok(status),
        }
        // Another process's child, so adopted.
        if !ready(pidfd, PollFlags::IN, &seconds(0)).map_err(failed)? {
            return Ok(None);
        }
        let unreaped = ProcDir::of(process.identity)?.and_then(|dir| dir.facts.ended);
        let status = unreaped.or_else(|| sys::exit_info(pidfd));
        Ok(Some(status.unwrap_or(ExitStatus::Unknown)))
    }

    fn identify(&self, pid: u32) -> Result<Option<ProcessIdentity>, ProcessError> {
        Ok(ProcDir::open(pid)?.map(|dir| dir.facts.identity))
    }

    fn set_oom_score_adj(&self, identity: ProcessIdentity, value: OomScoreAdj) -> Result<bool, ProcessError> {
        ProcDir::of(identity)?.map_or(Ok(false), |dir| dir.set_oom_score_adj(value))
    }

    fn oom_score_adj(&self, identity: ProcessIdentity) -> Result<Option<OomScoreAdj>, ProcessError> {
        ProcDir::of(identity)?.map_or(Ok(None), |dir| dir.oom_score_adj())
    }
}

/// How a child comes into its cgroup.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// The kernel makes it there.
    Born,
    /// It moves there before it does anything else.
    Moves,
}

/// What came of a launch without an error.
enum Launch {
    Runs(Process),
    /// It was killed before it reached its program, and has been reaped.
    KilledBefore,
}

fn launch_once(spec: &LaunchSpec, cgroup: &OwnedFd, entry: Entry) -> Result<Launch, ProcessError> {
    let program = subject(spec);
    let (plan, answer) = prepare(spec, cgroup, entry)?;
    let into = (entry == Entry::Born).then_some(cgroup.as_fd());
    let (pid, pidfd) =
        start(&plan, into).map_err(|e| ProcessError::new(ProcessStep::Clone, program.as_str(), e))?;
    // The child has its own copy of the pipe's other end; ours would keep the pipe open for ever.
    drop(plan);
    // It has its pid until it is reaped, so what is found there is this child.
    let missing = || {
        ProcessError::new(
            ProcessStep::Inspect,
            format!("{program}, pid {pid}"),
            Errno::NOENT,
        )
    };
    let arrived = await_program(answer, spec).and_then(|()| ProcDir::open(pid)?.ok_or_else(missing));
    match arrived {
        Ok(dir) if dir.facts.executed => Ok(Launch::Runs(Process {
            identity: dir.facts.identity,
            pidfd: Some(pidfd),
        })),
        Ok(_) => discard(&pidfd).map(|()| Launch::KilledBefore),
        Err(error) => {
            discard(&pidfd)?;
            Err(error)
        }
    }
}

/// Checks and opens all that a child needs; also gives the end of the pipe on which it answers.
fn prepare(spec: &LaunchSpec, cgroup: &OwnedFd, entry: Entry) -> Result<(ChildPlan, OwnedFd), ProcessError> {
    let stdio = |errno: Errno| ProcessError::new(ProcessStep::OpenStdio, "/dev/null and a pipe", errno);
    if spec.argv.first().is_none_or(String::is_empty) {
        return Err(ProcessError::new(
            ProcessStep::Prepare,
            "no program is given",
            Errno::INVAL,
        ));
    }
    if [spec.user, spec.group].contains(&Some(u32::MAX)) {
        // To setresuid(2) and setresgid(2) it means: leave as it is.
        return Err(ProcessError::new(
            ProcessStep::Prepare,
            "user or group 4294967295",
            Errno::INVAL,
        ));
    }
    let log = log::open_for_container(&spec.log_path)
        .map_err(|e| ProcessError::new(ProcessStep::OpenLog, format!("{:?}", e.path), e.source))?;
    let null =
        rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(stdio)?;
    let (answer, report) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(stdio)?;
    let [null, log, report] = [&null, &log, &report].map(above_stdio);
    let plan = ChildPlan::new(
        spec,
        null.map_err(stdio)?,
        log.map_err(stdio)?,
        report.map_err(stdio)?,
    );
    let nul = |e| ProcessError::new(ProcessStep::Prepare, format!("{}: a NUL byte", subject(spec)), e);
    let mut plan = plan.map_err(nul)?;
    if entry == Entry::Moves {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let members = rustix::fs::openat(cgroup, "cgroup.procs", flags, Mode::empty())
            .and_then(|members| above_stdio(&members))
            .map_err(|e| ProcessError::new(ProcessStep::JoinCgroup, "cgroup.procs", e))?;
        plan.join = Some(members);
    }
    Ok((plan, answer))
}

/// Clones with all signals blocked: a handler of the agent that ran in the child before its handlers are gone
/// would act on what both share, such as the pipe that wakes the agent's event loop.
fn start(plan: &ChildPlan, cgroup: Option<BorrowedFd<'_>>) -> io::Result<(u32, OwnedFd)> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    #[expect(unsafe_code, reason = "clone3 and what its child does")]
    // SAFETY: the child goes straight into `child::run`, which is made for it.
    let side = unsafe { sys::clone_process(cgroup) };
    match side {
        Ok(Side::Child) => {
            #[expect(unsafe_code, reason = "as above")]
            // SAFETY: this is the child, and all signals are blocked.
            unsafe {
                child::run(plan)
            }
        }
        Ok(Side::Parent { pid, pidfd }) => {
            before.thread_set_mask()?;
            Ok((pid, pidfd))
        }
        Err(error) => {
            before.thread_set_mask()?;
            Err(error)
        }
    }
}

/// Waits until the child runs its program, or says why it does not.
fn await_program(answer: OwnedFd, spec: &LaunchSpec) -> Result<(), ProcessError> {
    let failed = |source: io::Error| ProcessError::new(ProcessStep::AwaitProgram, subject(spec), source);
    if !ready(answer.as_fd(), PollFlags::IN, &REACHES_PROGRAM_WITHIN).map_err(|e| failed(e.into()))? {
        return Err(failed(Errno::TIMEDOUT.into()));
    }
    let mut report = Vec::with_capacity(REPORT);
    File::from(answer).read_to_end(&mut report).map_err(failed)?;
    let Ok(report) = <[u8; REPORT]>::try_from(report) else {
        return Ok(());
    };
    let (step, errno) = child::read_report(report);
    let on_what = match step {
        ProcessStep::SetUser => format!("user {}", spec.user.unwrap_or_default()),
        ProcessStep::SetGroup => format!("group {}", spec.group.unwrap_or_default()),
        ProcessStep::SetOomScoreAdj => spec.oom_score_adj.to_string(),
        ProcessStep::ChangeDirectory => format!("{:?}", spec.working_dir.as_deref().unwrap_or("/".as_ref())),
        _ => subject(spec),
    };
    Err(ProcessError::new(
        step,
        on_what,
        io::Error::from_raw_os_error(errno),
    ))
}

/// Ends and reaps a child that failed. One that cannot even be killed is left to the end of its cgroup.
fn discard(pidfd: &OwnedFd) -> Result<(), ProcessError> {
    let failed = |errno| ProcessError::new(ProcessStep::Wait, "a child that failed to start", errno);
    match rustix::process::pidfd_send_signal(pidfd, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(errno) => return Err(failed(errno)),
    }
    ready(pidfd.as_fd(), PollFlags::IN, &ENDS_WITHIN).map_err(failed)?;
    match reap(pidfd.as_fd()) {
        Ok(_) | Err(Errno::CHILD) => Ok(()),
        Err(errno) => Err(failed(errno)),
    }
}

/// Reaps the child, if it has ended; `ECHILD` for another process's child.
fn reap(pidfd: BorrowedFd<'_>) -> Result<Option<ExitStatus>, Errno> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = rustix::process::waitid(WaitId::PidFd(pidfd), options)?;
    Ok(status.map(
        |status| match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => ExitStatus::Code(code),
            (None, Some(signal)) => ExitStatus::Signal(signal),
            (None, None) => ExitStatus::Unknown,
        },
    ))
}

fn ready(fd: BorrowedFd<'_>, flags: PollFlags, within: &Timespec) -> Result<bool, Errno> {
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(within))).map(|n| n > 0)
}

/// Pids in `cgroup.procs`; none for a removed cgroup.
fn members(cgroup: &OwnedFd) -> Result<Vec<u32>, ProcessError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let read = rustix::fs::openat(cgroup, "cgroup.procs", flags, Mode::empty())
        .map_err(io::Error::from)
        .and_then(|file| io::read_to_string(File::from(file)));
    match read {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
        Err(e)
            if [Errno::NOENT, Errno::NODEV]
                .iter()
                .any(|g| e.raw_os_error() == Some(g.raw_os_error())) =>
        {
            Ok(Vec::new())
        }
        Err(source) => Err(ProcessError::new(
            ProcessStep::ListMembers,
            "cgroup.procs",
            source,
        )),
    }
}

/// A copy of `fd` that standard input, output and error cannot overwrite.
fn above_stdio(fd: &OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3)
}

fn pidfd_of(process: &Process) -> Result<BorrowedFd<'_>, ProcessError> {
    let missing = || {
        ProcessError::new(
            ProcessStep::Wait,
            format!("pid {} has no pidfd", process.identity.pid),
            Errno::BADF,
        )
    };
    Ok(process.pidfd.as_ref().ok_or_else(missing)?.as_fd())
}

/// The program as an error names it; where it was looked for, when that matters.
fn subject(spec: &LaunchSpec) -> String {
    let program = spec.argv.first().map_or("", String::as_str);
    if program.contains('/') {
        return format!("{program:?}");
    }
    let path = spec.env.iter().rev().find(|(name, _)| name == "PATH");
    format!("{program:?} in PATH {:?}", path.map_or("", |(_, value)| value))
}
