//! The way from `clone3` to the container's program, walked by the new process.
//!
//! **Problem.** The agent has several threads. In the child of such a process any lock may be held by a thread
//! that does not exist there: allocating, or any libc function that is not async-signal-safe, can hang for ever.
//!
//! **How.** [`ChildPlan`] is made before the clone and holds every string and number in the kernel's own form.
//! [`run`] only makes system calls on it. `setresuid` and its kin are called raw, because libc's functions of
//! these names signal every thread of the process, of which there is one left. A failure is one [`REPORT`]-byte
//! message on a close-on-exec pipe; the pipe closing without one means that the program runs.

#![expect(unsafe_code, reason = "the child of clone3 may only make raw system calls")]

use std::convert::Infallible;
use std::ffi::{CStr, CString, NulError, c_char, c_int, c_long};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use super::ProcessStep;
use crate::model::LaunchSpec;

/// Length of a failure's message: the step's number, three bytes of padding, the errno.
pub(super) const REPORT: usize = 8;

/// The steps, in their order.
const STEPS: [ProcessStep; 11] = [
    ProcessStep::JoinCgroup,
    ProcessStep::NewSession,
    ProcessStep::SetStdio,
    ProcessStep::SetOomScoreAdj,
    ProcessStep::SetGroups,
    ProcessStep::SetGroup,
    ProcessStep::SetUser,
    ProcessStep::ChangeDirectory,
    ProcessStep::CloseDescriptors,
    ProcessStep::ResetSignals,
    ProcessStep::RunProgram,
];

/// A step that failed, with its errno.
type Failure = (ProcessStep, c_int);

/// Strings with the null-terminated array of pointers that `execve` takes.
struct CStrings {
    pointers: Vec<*const c_char>,
    _strings: Vec<CString>,
}

impl CStrings {
    fn new(strings: Vec<CString>) -> Self {
        // A CString's bytes are on the heap: moving the vector does not move them.
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect();
        Self {
            pointers,
            _strings: strings,
        }
    }
}

/// All that the child needs, in the form the kernel takes.
pub(super) struct ChildPlan {
    candidates: Vec<CString>,
    argv: CStrings,
    env: CStrings,
    directory: CString,
    user: Option<u32>,
    group: Option<u32>,
    oom_score_adj: String,
    /// `cgroup.procs` of the cgroup to move into, for a child that was not made there.
    pub(super) join: Option<OwnedFd>,
    /// Standard input.
    pub(super) null: OwnedFd,
    /// Standard output and error.
    pub(super) log: OwnedFd,
    /// Where a failure is reported; close-on-exec.
    pub(super) report: OwnedFd,
}

impl ChildPlan {
    /// Lays everything out. A string with a NUL byte is refused.
    pub(super) fn new(
        spec: &LaunchSpec,
        null: OwnedFd,
        log: OwnedFd,
        report: OwnedFd,
    ) -> Result<Self, NulError> {
        let env = spec
            .env
            .iter()
            .map(|(name, value)| CString::new(format!("{name}={value}")));
        let argv = spec.argv.iter().map(|a| CString::new(a.as_str()));
        let directory = spec
            .working_dir
            .as_ref()
            .map_or("/".into(), |d| d.as_os_str().as_encoded_bytes().to_vec());
        Ok(Self {
            candidates: candidates(spec)
                .into_iter()
                .map(CString::new)
                .collect::<Result<_, _>>()?,
            argv: CStrings::new(argv.collect::<Result<_, _>>()?),
            env: CStrings::new(env.collect::<Result<_, _>>()?),
            directory: CString::new(directory)?,
            user: spec.user,
            group: spec.group,
            oom_score_adj: spec.oom_score_adj.to_string(),
            join: None,
            null,
            log,
            report,
        })
    }
}

/// Where the program may be: itself when it has a `/`, else in each directory of the container's `PATH`, an
/// empty one being the working directory, as execvp(3) has it.
fn candidates(spec: &LaunchSpec) -> Vec<String> {
    let Some(program) = spec.argv.first().filter(|p| !p.is_empty()) else {
        return Vec::new();
    };
    if program.contains('/') {
        return vec![program.clone()];
    }
    let path = spec.env.iter().rev().find(|(name, _)| name == "PATH");
    let path = path.map_or("", |(_, value)| value.as_str());
    path.split(':')
        .map(|dir| format!("{}/{program}", if dir.is_empty() { "." } else { dir }))
        .collect()
}

/// What a report says: the step that failed and the errno.
pub(super) fn read_report(report: [u8; REPORT]) -> Failure {
    let [step, _, _, _, errno @ ..] = report;
    let step = STEPS.into_iter().find(|known| *known as u8 == step);
    (
        step.unwrap_or(ProcessStep::RunProgram),
        c_int::from_ne_bytes(errno),
    )
}

/// Becomes the program, or reports why not and ends.
///
/// # Safety
/// Only in the child of a clone, with all signals blocked.
pub(super) unsafe fn run(plan: &ChildPlan) -> ! {
    // SAFETY: as the caller promises.
    let Err((step, errno)) = unsafe { steps(plan) };
    let [a, b, c, d] = errno.to_ne_bytes();
    let report: [u8; REPORT] = [step as u8, 0, 0, 0, a, b, c, d];
    // SAFETY: plain system calls on a valid buffer. A failed write has no one left to be told: the parent then
    // sees a process that ended with 127.
    unsafe {
        libc::write(plan.report.as_raw_fd(), report.as_ptr().cast(), report.len());
        libc::_exit(127)
    }
}

/// # Safety
/// As for [`run`].
unsafe fn steps(plan: &ChildPlan) -> Result<Infallible, Failure> {
    // SAFETY: system calls with integers, valid descriptors and null-terminated strings that `plan` owns.
    unsafe {
        if let Some(members) = &plan.join {
            // "0" stands for the writer.
            check(
                ProcessStep::JoinCgroup,
                libc::write(members.as_raw_fd(), c"0".as_ptr().cast(), 1) as c_long,
            )?;
        }
        check(ProcessStep::NewSession, libc::setsid().into())?;
        for (from, to) in [(&plan.null, 0), (&plan.log, 1), (&plan.log, 2)] {
            check(ProcessStep::SetStdio, libc::dup2(from.as_raw_fd(), to).into())?;
        }
        // Before the user changes: lowering the value needs CAP_SYS_RESOURCE.
        write_file(
            ProcessStep::SetOomScoreAdj,
            c"/proc/self/oom_score_adj",
            plan.oom_score_adj.as_bytes(),
        )?;
        libc::umask(0o022);
        if plan.user.is_some() || plan.group.is_some() {
            check(
                ProcessStep::SetGroups,
                libc::syscall(libc::SYS_setgroups, 0, ptr::null::<libc::gid_t>()),
            )?;
        }
        if let Some(group) = plan.group {
            check(
                ProcessStep::SetGroup,
                libc::syscall(libc::SYS_setresgid, group, group, group),
            )?;
        }
        if let Some(user) = plan.user {
            check(
                ProcessStep::SetUser,
                libc::syscall(libc::SYS_setresuid, user, user, user),
            )?;
        }
        check(
            ProcessStep::ChangeDirectory,
            libc::chdir(plan.directory.as_ptr()).into(),
        )?;
        check(
            ProcessStep::CloseDescriptors,
            libc::syscall(libc::SYS_close_range, 3, c_int::MAX, libc::CLOSE_RANGE_CLOEXEC),
        )?;
        reset_signals()?;
        Err((ProcessStep::RunProgram, execute(plan)))
    }
}

/// # Safety
/// As for [`run`].
unsafe fn write_file(step: ProcessStep, path: &CStr, content: &[u8]) -> Result<(), Failure> {
    // SAFETY: a null-terminated path and a buffer with its own length.
    unsafe {
        let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        check(step, file.into())?;
        check(
            step,
            libc::write(file, content.as_ptr().cast(), content.len()) as c_long,
        )?;
        check(step, libc::close(file).into())
    }
}

/// Handlers are gone already (`CLONE_CLEAR_SIGHAND`); what is left is ignored signals, `SIGPIPE` above all,
/// which Rust's runtime ignores, and the mask.
///
/// # Safety
/// As for [`run`].
unsafe fn reset_signals() -> Result<(), Failure> {
    // The kernel's `struct sigaction`: handler `SIG_DFL`, no flags, no restorer, an empty mask; a set of signals
    // is one bit each. Raw, because libc keeps two signals to itself, which may have been inherited ignored.
    const DEFAULT: [u64; 4] = [0; 4];
    const NONE: [u64; 1] = [0];
    // SAFETY: both are as large as the kernel reads: 32 bytes and the 8 that are passed as the set's size.
    unsafe {
        for signal in 1..=64 {
            // Fails for SIGKILL and SIGSTOP, which cannot be anything but at their default.
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                ptr::null::<u64>(),
                8,
            );
        }
        let answer = libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            NONE.as_ptr(),
            ptr::null::<u64>(),
            8,
        );
        check(ProcessStep::ResetSignals, answer)
    }
}

/// Tries each candidate; returns only with the errno that tells most: a program that may not be run says more
/// than one that is not there.
///
/// # Safety
/// As for [`run`].
unsafe fn execute(plan: &ChildPlan) -> c_int {
    let mut told = libc::ENOENT;
    for candidate in &plan.candidates {
        // SAFETY: null-terminated strings and arrays that `plan` owns.
        unsafe {
            libc::execve(
                candidate.as_ptr(),
                plan.argv.pointers.as_ptr(),
                plan.env.pointers.as_ptr(),
            );
        }
        match errno() {
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => told = libc::EACCES,
            other => return other,
        }
    }
    told
}

fn check(step: ProcessStep, answer: c_long) -> Result<(), Failure> {
    if answer < 0 { Err((step, errno())) } else { Ok(()) }
}

fn errno() -> c_int {
    // SAFETY: the address of this thread's own errno; no lock, no allocation.
    unsafe { *libc::__errno_location() }
}
