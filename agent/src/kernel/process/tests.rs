//! The contract on both implementations, and what only the kernel can show.

use std::fs;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::contract::{check, launch_spec, wait};
use super::proc_dir::{ProcessFacts, first_of, parse_stat};
use super::*;
use crate::model::Bytes;

#[test]
fn the_fake_keeps_the_contract() {
    let (a, b, logs) = (
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let open = |dir: &tempfile::TempDir| OwnedFd::from(fs::File::open(dir.path()).unwrap());
    check(&FakeProcesses::default(), &open(&a), &open(&b), logs.path());
}

#[test]
fn the_kernel_keeps_the_contract() {
    let (Some(a), Some(b)) = (CgroupBed::make("contract-a"), CgroupBed::make("contract-b")) else {
        return;
    };
    let logs = tempfile::tempdir().unwrap();
    check(
        &RealProcesses,
        &a.open().unwrap(),
        &b.open().unwrap(),
        logs.path(),
    );
}

/// Runs a shell script in a cgroup of its own, with the specification changed by `change`; gives its output.
fn output_of(name: &str, script: &str, change: impl FnOnce(&mut LaunchSpec)) -> Option<(CgroupBed, String)> {
    let bed = CgroupBed::make(name)?;
    let logs = tempfile::tempdir().unwrap();
    let mut spec = launch_spec(&["sh", "-c", script], logs.path());
    change(&mut spec);
    let process = RealProcesses.launch(&spec, &bed.open().unwrap()).unwrap();
    assert_eq!(wait(&RealProcesses, &process), ExitStatus::Code(0), "{script}");
    let output = fs::read_to_string(&spec.log_path).unwrap();
    Some((bed, output))
}

#[test]
fn the_program_is_in_its_cgroup_when_it_starts() {
    // cat is the first program: there is no shell before it that could have been moved.
    let Some((bed, output)) = output_of("inside", "", |spec| {
        spec.argv = vec!["cat".to_owned(), "/proc/self/cgroup".to_owned()];
    }) else {
        return;
    };
    let name = bed.path.file_name().unwrap().to_str().unwrap();
    let unified = output.lines().find(|line| line.starts_with("0::")).unwrap();
    assert!(unified.ends_with(&format!("/{name}")), "{unified}");
}

#[test]
fn forks_inherit_the_score() {
    let script = "cat /proc/self/oom_score_adj; sh -c 'cat /proc/self/oom_score_adj; :'";
    let Some((_, output)) = output_of("score", script, |spec| spec.oom_score_adj = OomScoreAdj(987)) else {
        return;
    };
    assert_eq!(output, "987\n987\n");
}

#[test]
fn user_group_directory_and_environment_are_as_asked() {
    let script = r#"id -u; id -g; id -G; pwd; umask; echo "$GREETING"; [ -t 0 ] || wc -c < /dev/stdin"#;
    let Some((_, output)) = output_of("user", script, |spec| {
        (spec.user, spec.group) = (Some(65534), Some(65533));
        spec.working_dir = Some("/usr/bin".into());
        spec.env.push(("GREETING".to_owned(), "a b=c\n$d".to_owned()));
    }) else {
        return;
    };
    assert_eq!(output, "65534\n65533\n65533\n/usr/bin\n0022\na b=c\n$d\n0\n");
}

#[test]
fn nothing_of_the_agent_leaks_into_the_program() {
    // A descriptor without close-on-exec, as a careless library would leave it.
    let leak = fs::File::open("/dev/zero").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let script = "ls /proc/$$/fd; for n in 0 1 2; do readlink /proc/self/fd/$n; done; \
                  grep -E '^Sig(Ign|Blk)' /proc/self/status; env | grep -c CARGO; :";
    let Some((_, output)) = output_of("leaks", script, |_| ()) else {
        return;
    };
    let lines: Vec<_> = output.lines().collect();
    assert!(leak.as_raw_fd() > 2);
    assert_eq!(lines[..4], ["0", "1", "2", "/dev/null"], "{output}");
    assert!(
        lines[4].ends_with("/pod/c.log") && lines[5].ends_with("/pod/c.log"),
        "{output}"
    );
    // Rust's runtime ignores SIGPIPE, and launching blocks everything: neither may be inherited.
    for set in ["SigBlk", "SigIgn"] {
        let line = output.lines().find(|l| l.starts_with(set)).unwrap();
        assert!(line.ends_with("0000000000000000"), "{line}");
    }
    assert!(
        output.contains("\n0\n"),
        "the agent's environment leaked: {output}"
    );
}

#[test]
fn each_failure_names_its_step_and_subject() {
    let Some(bed) = CgroupBed::make("failures") else {
        return;
    };
    let logs = tempfile::tempdir().unwrap();
    let not_executable = logs.path().join("data");
    fs::write(&not_executable, "x").unwrap();
    let good = launch_spec(&["true"], logs.path());
    let file = not_executable.to_str().unwrap();
    let cases: [(LaunchSpec, ProcessStep, &str, i32); 7] = [
        (
            LaunchSpec {
                working_dir: Some("/nowhere".into()),
                ..good.clone()
            },
            ProcessStep::ChangeDirectory,
            "/nowhere",
            libc::ENOENT,
        ),
        (
            LaunchSpec {
                argv: vec![file.to_owned()],
                ..good.clone()
            },
            ProcessStep::RunProgram,
            file,
            libc::EACCES,
        ),
        (
            LaunchSpec {
                user: Some(u32::MAX),
                ..good.clone()
            },
            ProcessStep::Prepare,
            "4294967295",
            libc::EINVAL,
        ),
        (
            LaunchSpec {
                group: Some(u32::MAX),
                ..good.clone()
            },
            ProcessStep::Prepare,
            "4294967295",
            libc::EINVAL,
        ),
        (
            LaunchSpec {
                oom_score_adj: OomScoreAdj(1001),
                ..good.clone()
            },
            ProcessStep::SetOomScoreAdj,
            "1001",
            libc::EINVAL,
        ),
        (
            LaunchSpec {
                log_path: "/proc/nope/pod/c.log".into(),
                ..good.clone()
            },
            ProcessStep::OpenLog,
            "/proc/nope",
            libc::ENOENT,
        ),
        (
            LaunchSpec {
                argv: vec!["a\0b".to_owned()],
                ..good.clone()
            },
            ProcessStep::Prepare,
            "NUL",
            0,
        ),
    ];
    let cgroup = bed.open().unwrap();
    for (spec, step, subject, errno) in cases {
        let error = RealProcesses.launch(&spec, &cgroup).unwrap_err();
        assert_eq!((error.step, error.errno().unwrap_or(0)), (step, errno), "{error}");
        assert!(error.to_string().contains(subject), "{error}");
    }
    assert_eq!(
        fs::read_to_string(bed.path.join("cgroup.procs")).unwrap(),
        "",
        "a failed child was left behind"
    );
    fs::remove_dir(&bed.path).unwrap();
    let error = RealProcesses.launch(&good, &cgroup).unwrap_err();
    assert_eq!(error.step, ProcessStep::Clone, "{error}");
    assert!(
        [Some(libc::ENODEV), Some(libc::ENOENT)].contains(&error.errno()),
        "{error}"
    );
}

#[test]
fn a_cgroup_that_was_killed_once_takes_processes_again() {
    let Some(bed) = CgroupBed::make("killed") else {
        return;
    };
    let logs = tempfile::tempdir().unwrap();
    for round in 1..4 {
        fs::write(bed.path.join("cgroup.kill"), "1").unwrap();
        let script = format!("grep -c /plimsoll-test-killed- /proc/self/cgroup; exit {round}");
        let spec = launch_spec(&["sh", "-c", &script], logs.path());
        let process = RealProcesses.launch(&spec, &bed.open().unwrap()).unwrap();
        assert_eq!(wait(&RealProcesses, &process), ExitStatus::Code(round));
        assert_eq!(
            fs::read_to_string(&spec.log_path).unwrap(),
            "1\n".repeat(round.unsigned_abs() as usize)
        );
    }
}

#[test]
fn launches_from_many_threads_each_reach_their_program() {
    let Some(bed) = CgroupBed::make("threads") else {
        return;
    };
    let logs = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for code in 0..8 {
            let (bed, logs) = (&bed, logs.path());
            scope.spawn(move || {
                for _ in 0..5 {
                    // Allocation in every thread, so that its lock is likely held when another one clones.
                    let script = format!("exit {code}");
                    let spec = launch_spec(&["sh", "-c", &script], logs);
                    let process = RealProcesses.launch(&spec, &bed.open().unwrap()).unwrap();
                    assert_eq!(wait(&RealProcesses, &process), ExitStatus::Code(code));
                }
            });
        }
    });
}

const HELPER: &str = "PLIMSOLL_TEST_LAUNCH_AND_END";

#[test]
#[ignore = "the agent that goes away in the next test, started by it"]
fn helper_that_launches_and_ends() {
    let Ok(place) = std::env::var(HELPER) else {
        return;
    };
    let (cgroup, logs) = place.split_once(':').unwrap();
    let cgroup = OwnedFd::from(fs::File::open(cgroup).unwrap());
    let script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done";
    let spec = launch_spec(&["sh", "-c", script], Path::new(logs));
    let process = RealProcesses.launch(&spec, &cgroup).unwrap();
    while fs::read(&spec.log_path).unwrap() != b"up\n" {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let identity = serde_json::to_string(&process.identity).unwrap();
    fs::write(Path::new(logs).join("identity"), identity).unwrap();
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_process_outlives_the_agent_and_is_adopted_by_the_next() {
    let Some(bed) = CgroupBed::make("adopt") else {
        return;
    };
    let logs = tempfile::tempdir().unwrap();
    let ended = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "kernel::process::tests::helper_that_launches_and_ends",
            "--ignored",
        ])
        .env(
            HELPER,
            format!("{}:{}", bed.path.display(), logs.path().display()),
        )
        .output()
        .unwrap();
    assert!(
        ended.status.code().is_none(),
        "the first agent was not killed: {ended:?}"
    );
    let recorded = fs::read_to_string(logs.path().join("identity")).unwrap();
    let recorded: ProcessIdentity = serde_json::from_str(&recorded).unwrap();

    let cgroup = bed.open().unwrap();
    assert_eq!(
        RealProcesses.first_in(&cgroup).unwrap(),
        Some(recorded),
        "found without a record"
    );
    let process = RealProcesses.adopt(recorded, &cgroup).unwrap().unwrap();
    assert_eq!(RealProcesses.try_wait(&process).unwrap(), None);
    RealProcesses.signal(&process, libc::SIGTERM).unwrap();
    let status = wait(&RealProcesses, &process);
    // Nobody but its new parent was told how it ended; since 6.15 the kernel remembers.
    let known = [ExitStatus::Code(7), ExitStatus::Unknown];
    assert!(
        known[..if remembers_exits() { 1 } else { 2 }].contains(&status),
        "{status:?}"
    );
    let log = fs::read_to_string(logs.path().join("pod/c.log")).unwrap();
    assert_eq!(log, "up\nbye\n", "its output went on after the agent's end");
}

fn remembers_exits() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

#[test]
fn a_log_over_half_its_cap_is_cut_and_its_writer_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pod/c.log");
    let cap = Bytes(1000);
    assert_eq!(LogFiles.enforce_cap(&path, cap).unwrap(), None, "no file yet");
    let mut writer = fs::File::from(log::open_for_container(&path).unwrap());
    writer.write_all(&[b'a'; 500]).unwrap();
    assert_eq!(LogFiles.enforce_cap(&path, cap).unwrap(), None);
    writer.write_all(&[b'b'; 400]).unwrap();
    assert_eq!(LogFiles.enforce_cap(&path, cap).unwrap(), Some(Bytes(900)));
    writer.write_all(b"c").unwrap();
    let older = dir.path().join("pod/c.log.1");
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "c",
        "appended at the new end, without a hole"
    );
    assert_eq!(
        fs::read(&older).unwrap(),
        [&[b'a'; 100][..], &[b'b'; 400]].concat()
    );
    LogFiles.remove_pod(&dir.path().join("pod")).unwrap();
    LogFiles.remove_pod(&dir.path().join("pod")).unwrap();
    assert!(!older.exists());
}

#[test]
fn no_link_leads_a_log_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("target");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("c.log"), [b'x'; 5000]).unwrap();
    let link = |from: &Path, to: &Path| std::os::unix::fs::symlink(to, from).unwrap();

    link(&dir.path().join("pod"), &target);
    let path = dir.path().join("pod/c.log");
    assert!(
        log::open_for_container(&path).is_err(),
        "the pod's directory is a link"
    );
    assert!(LogFiles.enforce_cap(&path, Bytes(100)).is_err());

    let path = dir.path().join("own/c.log");
    drop(log::open_for_container(&path).unwrap());
    fs::remove_file(&path).unwrap();
    link(&path, &target.join("c.log"));
    assert!(log::open_for_container(&path).is_err(), "the file is a link");
    assert_eq!(LogFiles.enforce_cap(&path, Bytes(100)).unwrap(), None);
    assert_eq!(fs::metadata(target.join("c.log")).unwrap().len(), 5000);

    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(dir.path().join("own"), open).unwrap();
    assert!(
        log::open_for_container(&dir.path().join("own/d.log")).is_err(),
        "others may enter it"
    );
}

fn stat_line(pid: u32, name: &[u8], parent: u32, start: u64) -> Vec<u8> {
    let mut line = format!("{pid} (").into_bytes();
    line.extend_from_slice(name);
    line.extend_from_slice(
        format!(") S {parent} 1 1 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 {start}").as_bytes(),
    );
    line.extend_from_slice(
        b" 1 1 18446744073709551615 1 1 1 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 1 1 1 1 1 1 1 9\n",
    );
    line
}

proptest! {
    #[test]
    fn a_process_name_never_changes_what_is_read(
        pid in 1_u32..1 << 22, parent in 0_u32..1 << 22, start: u64,
        name in prop::collection::vec(prop_oneof![Just(b')'), Just(b'('), Just(b' '), Just(b'\n'), any::<u8>()], 0..16),
    ) {
        let facts = parse_stat(&stat_line(pid, &name, parent, start));
        let identity = ProcessIdentity { pid, start_ticks: start };
        prop_assert_eq!(facts, Some(ProcessFacts { identity, parent, executed: true, exiting: false, ended: None }));
    }

    #[test]
    fn reading_any_bytes_ends_in_a_value_or_none(text in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..200) {
        parse_stat(&text);
        let line = stat_line(1, b"a b) S", 2, 3);
        parse_stat(&line[..cut.min(line.len())]);
    }

    #[test]
    fn the_first_process_has_no_parent_inside(ages in prop::collection::vec((0_u64..50, prop::option::of(0_usize..20)), 0..20)) {
        // A forest: each process is made by an earlier one, or from outside.
        let members: Vec<_> = ages.iter().enumerate().map(|(n, (age, parent))| ProcessFacts {
            identity: ProcessIdentity { pid: 100 + u32::try_from(n).unwrap(), start_ticks: *age },
            parent: parent.filter(|p| *p < n).map_or(1, |p| 100 + u32::try_from(p).unwrap()),
            executed: true, exiting: false, ended: None,
        }).collect();
        let first = first_of(&members);
        prop_assert_eq!(first.is_none(), members.is_empty());
        if let Some(first) = first {
            let of = members.iter().find(|m| m.identity == first).unwrap();
            prop_assert_eq!(of.parent, 1);
            prop_assert!(members.iter().filter(|m| m.parent == 1).all(|m| m.identity.start_ticks >= first.start_ticks));
        }
    }
}
