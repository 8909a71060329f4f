//! What every implementation of [`Processes`] must show. Run on the fake in unit tests, on the kernel wherever a
//! test may make cgroups.

#![expect(clippy::expect_used, reason = "a test: a failure is the message")]

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags};

use super::{Process, ProcessStep, Processes};
use crate::model::{Bytes, ExitStatus, LaunchSpec, OomScoreAdj, ProcessIdentity};

/// A launch of `argv` that logs to `<dir>/pod/c.log`.
#[must_use]
pub fn launch_spec(argv: &[&str], dir: &Path) -> LaunchSpec {
    LaunchSpec {
        argv: argv.iter().map(|s| (*s).to_owned()).collect(),
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        working_dir: None,
        user: None,
        group: None,
        oom_score_adj: OomScoreAdj(500),
        log_path: dir.join("pod").join("c.log"),
        log_cap: Bytes::mib(1),
    }
}

/// Waits for the end of a process.
///
/// # Panics
/// When it cannot be waited for.
pub fn wait(processes: &dyn Processes, process: &Process) -> ExitStatus {
    loop {
        if let Some(status) = processes.try_wait(process).expect("waiting works") {
            return status;
        }
        let pidfd = process
            .pidfd
            .as_ref()
            .expect("a fake process that runs has nothing to wait for");
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        rustix::event::poll(&mut fds, None).expect("polling works");
    }
}

/// Runs all of the contract with two cgroups and a directory for logs.
///
/// # Panics
/// When the implementation breaks the contract.
pub fn check(processes: &dyn Processes, cgroup: &OwnedFd, other: &OwnedFd, logs: &Path) {
    exit_codes_are_told(processes, cgroup, logs);
    a_missing_program_is_an_error_and_leaves_nothing(processes, cgroup, logs);
    a_signal_ends_it_and_a_second_is_no_error(processes, cgroup, logs);
    adoption_takes_the_same_process_in_the_same_cgroup_only(processes, cgroup, other, logs);
    the_score_is_set_before_the_program_runs_and_later(processes, cgroup, logs);
}

fn exit_codes_are_told(processes: &dyn Processes, cgroup: &OwnedFd, logs: &Path) {
    for (program, code) in [("true", 0), ("/bin/false", 1)] {
        let process = processes
            .launch(&launch_spec(&[program], logs), cgroup)
            .expect("it starts");
        assert_eq!(wait(processes, &process), ExitStatus::Code(code), "{program}");
        assert_eq!(
            processes.identify(process.identity.pid).expect("readable"),
            None,
            "{program} is reaped"
        );
    }
}

fn a_missing_program_is_an_error_and_leaves_nothing(
    processes: &dyn Processes,
    cgroup: &OwnedFd,
    logs: &Path,
) {
    for argv in [
        &["plimsoll-no-such-program"][..],
        &["/bin/plimsoll-no-such-program", "x"],
    ] {
        let error = processes
            .launch(&launch_spec(argv, logs), cgroup)
            .expect_err("no such program");
        assert_eq!(error.step, ProcessStep::RunProgram, "{error}");
        assert_eq!(
            error.errno(),
            Some(rustix::io::Errno::NOENT.raw_os_error()),
            "{error}"
        );
        assert!(error.to_string().contains("plimsoll-no-such-program"), "{error}");
    }
    let error = processes
        .launch(&launch_spec(&[], logs), cgroup)
        .expect_err("no program at all");
    assert_eq!(error.step, ProcessStep::Prepare, "{error}");
    assert_eq!(processes.first_in(cgroup).expect("listable"), None);
}

fn a_signal_ends_it_and_a_second_is_no_error(processes: &dyn Processes, cgroup: &OwnedFd, logs: &Path) {
    let process = processes
        .launch(&launch_spec(&["sleep", "1000"], logs), cgroup)
        .expect("it starts");
    assert_eq!(processes.try_wait(&process).expect("waiting works"), None);
    assert_eq!(
        processes.first_in(cgroup).expect("listable"),
        Some(process.identity)
    );
    assert!(processes.signal(&process, 4096).is_err(), "no such signal");
    processes.signal(&process, 15).expect("it takes signals");
    assert_eq!(wait(processes, &process), ExitStatus::Signal(15));
    processes
        .signal(&process, 15)
        .expect("it has ended, which is no error");
}

fn adoption_takes_the_same_process_in_the_same_cgroup_only(
    processes: &dyn Processes,
    cgroup: &OwnedFd,
    other: &OwnedFd,
    logs: &Path,
) {
    let process = processes
        .launch(&launch_spec(&["sleep", "1000"], logs), cgroup)
        .expect("it starts");
    let identity = process.identity;
    let reused = ProcessIdentity {
        start_ticks: identity.start_ticks + 1,
        ..identity
    };
    let adopt = |identity, cgroup| processes.adopt(identity, cgroup).expect("asking works");
    assert!(adopt(reused, cgroup).is_none(), "another process with the pid");
    assert!(
        adopt(identity, other).is_none(),
        "the process is in another cgroup"
    );
    let adopted = adopt(identity, cgroup).expect("it is the one");
    assert_eq!(adopted.identity, identity);
    processes.signal(&adopted, 9).expect("it takes signals");
    assert_eq!(wait(processes, &adopted), ExitStatus::Signal(9));
    assert!(adopt(identity, cgroup).is_none(), "it has ended");
}

fn the_score_is_set_before_the_program_runs_and_later(
    processes: &dyn Processes,
    cgroup: &OwnedFd,
    logs: &Path,
) {
    let process = processes
        .launch(&launch_spec(&["sleep", "1000"], logs), cgroup)
        .expect("it starts");
    let score = |identity| processes.oom_score_adj(identity).expect("readable");
    assert_eq!(score(process.identity), Some(OomScoreAdj(500)));
    let set = |identity, value| {
        processes
            .set_oom_score_adj(identity, OomScoreAdj(value))
            .expect("writable")
    };
    assert!(set(process.identity, 700));
    assert_eq!(score(process.identity), Some(OomScoreAdj(700)));
    let reused = ProcessIdentity {
        start_ticks: process.identity.start_ticks + 1,
        ..process.identity
    };
    assert!(
        !set(reused, 900) && score(reused).is_none(),
        "another process with the pid"
    );
    assert_eq!(score(process.identity), Some(OomScoreAdj(700)));
    processes.signal(&process, 9).expect("it takes signals");
    wait(processes, &process);
    assert!(
        !set(process.identity, 900) && score(process.identity).is_none(),
        "it has ended"
    );
}
