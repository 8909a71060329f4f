//! Containers' processes on the kernel: where they start, how they end, who finds them again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use plimsoll::act::launch::{self, Outcome, adopt};
use plimsoll::decide::lifecycle::{Action, step};
use plimsoll::kernel::cgroup_fs::CgroupFs;
use plimsoll::kernel::clock::{Clock, RealClock};
use plimsoll::kernel::process::contract::{check, launch_spec, wait};
use plimsoll::kernel::process::{LogFiles, Process, ProcessStep, Processes, RealProcesses};
use plimsoll::model::{
    BootTime, Bytes, CgroupPath, Container, ContainerKind, ContainerName, ControlFile, ExitStatus,
    LaunchSpec, Namespace, OomScoreAdj, Pod, PodName, PodUid, ProcessIdentity, Resources, RestartPolicy,
};
use plimsoll::state::containers::{ContainerEvent, PodRun};

use crate::support::{TestRoot, can_make_cgroups, path, until};

const EAGAIN: i32 = 11;
const ETIMEDOUT: i32 = 110;

/// A root with the cgroup `pod/c` in it, and a directory for logs; gone when the test ends.
struct Bed {
    root: TestRoot,
    cgroup: CgroupPath,
    logs: PathBuf,
}

impl Bed {
    fn new(name: &str) -> Option<Self> {
        if !can_make_cgroups() {
            println!("skipped: needs root and cgroup v2");
            return None;
        }
        let root = TestRoot::new();
        root.fs().create(&path("pod")).unwrap();
        root.fs().create(&path("pod/c")).unwrap();
        let logs = std::env::temp_dir().join(format!("plimsoll-test-{name}-{}", std::process::id()));
        fs::create_dir(&logs).unwrap();
        Some(Self {
            root,
            cgroup: path("pod/c"),
            logs,
        })
    }

    fn shell(&self, script: &str) -> LaunchSpec {
        launch_spec(&["sh", "-c", script], &self.logs)
    }

    fn launch(&self, spec: &LaunchSpec) -> Process {
        let dir = self.root.fs().open_dir(&self.cgroup).unwrap();
        RealProcesses.launch(spec, &dir).unwrap()
    }

    /// What a program prints that ends well.
    fn output(&self, spec: &LaunchSpec) -> String {
        let process = self.launch(spec);
        assert_eq!(wait(&RealProcesses, &process), ExitStatus::Code(0));
        fs::read_to_string(&spec.log_path).unwrap()
    }

    fn members(&self) -> String {
        self.root.fs().read(&self.cgroup, ControlFile::Procs).unwrap()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.logs) {
            eprintln!("left behind: {error}");
        }
    }
}

#[test]
fn processes_keep_their_contract() {
    let Some(bed) = Bed::new("contract") else { return };
    let other = bed.root.fs().open_dir(&path("pod")).unwrap();
    let cgroup = bed.root.fs().open_dir(&bed.cgroup).unwrap();
    check(&RealProcesses, &cgroup, &other, &bed.logs);
}

#[test]
fn the_first_thing_a_program_sees_is_its_cgroup() {
    let Some(bed) = Bed::new("inside") else { return };
    let output = bed.output(&launch_spec(&["cat", "/proc/self/cgroup"], &bed.logs));
    let unified = output.lines().find(|line| line.starts_with("0::")).unwrap();
    assert!(
        unified.ends_with(&format!("/{}/pod/c", bed.root.path)),
        "{unified}"
    );
}

#[test]
fn user_and_group_are_changed_and_no_other_groups_are_left() {
    let Some(bed) = Bed::new("user") else { return };
    let spec = LaunchSpec {
        user: Some(1234),
        group: Some(2345),
        ..bed.shell("grep -E '^(Uid|Gid|Groups|CapEff)' /proc/self/status")
    };
    let shown = bed.output(&spec).split_whitespace().collect::<Vec<_>>().join(" ");
    let uid = "Uid: 1234 1234 1234 1234 Gid: 2345 2345 2345 2345 Groups:";
    assert!(
        shown.starts_with(uid) && shown.ends_with("CapEff: 0000000000000000"),
        "{shown}"
    );
}

#[test]
#[ignore = "lowering oom_score_adj needs CAP_SYS_RESOURCE: cargo xtask vm"]
fn a_protected_score_is_set_before_the_user_changes_and_inherited() {
    let Some(bed) = Bed::new("score") else { return };
    let score = "cat /proc/self/oom_score_adj";
    // The unprivileged program cannot lower it further; the floor is what it was started with.
    let lower = "{ echo -999 > /proc/self/oom_score_adj; } 2>/dev/null && echo lowered";
    let spec = LaunchSpec {
        oom_score_adj: OomScoreAdj(-997),
        user: Some(1234),
        ..bed.shell(&format!("{score}; sh -c '{score}; :'; {lower}; :"))
    };
    assert_eq!(bed.output(&spec), "-997\n-997\n");
}

#[test]
#[ignore = "needs cgroup v2 controllers: cargo xtask vm"]
fn a_full_cgroup_refuses_the_process_and_a_full_memory_kills_it() {
    let Some(bed) = Bed::new("limits") else { return };
    let write = |file, value| bed.root.fs().write(&bed.cgroup, file, value).unwrap();
    for parent in [CgroupPath::ROOT, path("pod")] {
        bed.root
            .fs()
            .write(&parent, ControlFile::SubtreeControl, "+pids +memory")
            .unwrap();
    }
    write(ControlFile::PidsMax, "0");
    let dir = bed.root.fs().open_dir(&bed.cgroup).unwrap();
    let error = RealProcesses.launch(&bed.shell(":"), &dir).unwrap_err();
    assert_eq!(
        (error.step, error.errno()),
        (ProcessStep::Clone, Some(EAGAIN)),
        "{error}"
    );
    write(ControlFile::PidsMax, "max");
    write(ControlFile::MemoryMax, "4194304");
    let process = bed.launch(&bed.shell("x=0123456789abcdef; while :; do x=$x$x; done"));
    assert_eq!(wait(&RealProcesses, &process), ExitStatus::Signal(9));
}

#[test]
fn a_frozen_cgroup_delays_the_agent_by_seconds_and_keeps_nothing() {
    let Some(bed) = Bed::new("frozen") else { return };
    let freeze = bed.root.root.directory.join("pod/c/cgroup.freeze");
    fs::write(&freeze, "1").unwrap();
    let dir = bed.root.fs().open_dir(&bed.cgroup).unwrap();
    let error = RealProcesses.launch(&bed.shell(":"), &dir).unwrap_err();
    assert_eq!(
        (error.step, error.errno()),
        (ProcessStep::AwaitProgram, Some(ETIMEDOUT)),
        "{error}"
    );
    assert_eq!(bed.members(), "");
    fs::write(&freeze, "0").unwrap();
    assert_eq!(
        wait(&RealProcesses, &bed.launch(&bed.shell("exit 3"))),
        ExitStatus::Code(3)
    );
}

#[test]
fn a_log_is_cut_under_a_running_writer() {
    let Some(bed) = Bed::new("log") else { return };
    let spec = bed.shell("n=0; while :; do n=$((n+1)); echo \"line $n\"; done");
    let process = bed.launch(&spec);
    let cap = Bytes(64 << 10);
    let older = spec.log_path.with_extension("log.1");
    for _ in 0..3 {
        until("the log is cut", || {
            LogFiles.enforce_cap(&spec.log_path, cap).unwrap().is_some()
        });
        let kept = fs::metadata(&older).unwrap().len();
        assert!(kept >= cap.0 / 2, "{kept} bytes were kept");
        let grown = fs::metadata(&spec.log_path).unwrap().len();
        until("the writer goes on", || {
            fs::metadata(&spec.log_path).unwrap().len() > grown
        });
    }
    RealProcesses.signal(&process, 9).unwrap();
    wait(&RealProcesses, &process);
    let (kept, last) = (
        fs::read_to_string(&older).unwrap(),
        fs::read_to_string(&spec.log_path).unwrap(),
    );
    let whole = |text: &str| {
        text.lines()
            .skip(1)
            .take_while(|l| l.starts_with("line "))
            .count()
            + 1
            == text.lines().count()
    };
    assert!(whole(&kept) && whole(&last), "a line came from nowhere");
    assert!(!last.contains('\0'), "the file has a hole");
}

const HELPER: &str = "PLIMSOLL_TEST_AGENT";

/// The agent that is killed in the next test, which starts it; by itself it does nothing.
#[test]
fn helper_that_launches_and_is_killed() {
    let Ok(place) = std::env::var(HELPER) else { return };
    let (cgroup, logs) = place.split_once(':').unwrap();
    let dir = fs::File::open(cgroup).unwrap().into();
    let script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 1 & wait $!; done";
    let spec = launch_spec(&["sh", "-c", script], Path::new(logs));
    let process = RealProcesses.launch(&spec, &dir).unwrap();
    until("it is up", || fs::read(&spec.log_path).unwrap() == b"up\n");
    let identity = serde_json::to_string(&process.identity).unwrap();
    fs::write(Path::new(logs).join("identity"), identity).unwrap();
    let me = std::process::id().to_string();
    Command::new("kill").args(["-KILL", &me]).status().unwrap();
}

#[test]
fn a_killed_agents_container_runs_on_and_is_adopted() {
    let Some(bed) = Bed::new("adopt") else { return };
    let cgroup = bed.root.root.directory.join("pod/c");
    let agent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::helper_that_launches_and_is_killed"])
        .env(HELPER, format!("{}:{}", cgroup.display(), bed.logs.display()))
        .output()
        .unwrap();
    assert!(agent.status.code().is_none(), "it was not killed: {agent:?}");
    let recorded = fs::read_to_string(bed.logs.join("identity")).unwrap();
    let recorded: ProcessIdentity = serde_json::from_str(&recorded).unwrap();
    let find = |recorded| adopt(bed.root.fs(), &RealProcesses, &bed.cgroup, recorded).unwrap();
    let reused = ProcessIdentity {
        start_ticks: recorded.start_ticks - 1,
        ..recorded
    };
    assert!(find(Some(reused)).is_none(), "another process with the pid");
    assert_eq!(find(None).unwrap().identity, recorded, "found without a record");
    let process = find(Some(recorded)).unwrap();
    RealProcesses.signal(&process, 15).unwrap();
    let status = wait(&RealProcesses, &process);
    // It is not our child; since 6.15 the kernel tells nevertheless.
    assert!(
        [ExitStatus::Code(7), ExitStatus::Unknown].contains(&status),
        "{status:?}"
    );
    assert_eq!(
        fs::read_to_string(bed.logs.join("pod/c.log")).unwrap(),
        "up\nbye\n"
    );
}

/// The smallest runtime there is: decides, carries out, and hands back what came of it.
struct Agent<'a> {
    bed: &'a Bed,
    run: PodRun,
    spec: LaunchSpec,
    process: Option<Process>,
    actions: Vec<&'static str>,
}

impl Agent<'_> {
    fn pass(&mut self, now: BootTime) -> bool {
        let name = ContainerName::parse("c").unwrap();
        if let Some(process) = &self.process
            && let Some(status) = RealProcesses.try_wait(process).unwrap()
        {
            self.run
                .apply(&name, ContainerEvent::Exited(process.identity, status), now);
            self.process = None;
        }
        let step = step(&mut self.run, now);
        for action in &step.actions {
            let fs = self.bed.root.fs();
            let (told, outcome) = match action {
                Action::Start(_) => (
                    "start",
                    launch::start(fs, &RealProcesses, &self.bed.cgroup, &self.spec),
                ),
                Action::Terminate(_) => {
                    let process = self.process.as_ref().unwrap();
                    ("terminate", launch::terminate(&RealProcesses, process))
                }
                Action::KillCgroup(_) => ("kill", launch::kill(fs, &self.bed.cgroup)),
            };
            self.actions.push(told);
            let event = match outcome {
                Outcome::Started {
                    process,
                    oom_score_adj,
                } => {
                    // None when it has ended already.
                    assert!(
                        oom_score_adj.is_none_or(|read| read == self.spec.oom_score_adj),
                        "{oom_score_adj:?}"
                    );
                    let identity = process.identity;
                    self.process = Some(process);
                    ContainerEvent::Started(identity)
                }
                Outcome::Cleared => ContainerEvent::Cleared,
                Outcome::Terminated | Outcome::Killed => continue,
                other => panic!("{action:?}: {other:?}"),
            };
            self.run.apply(&name, event, now);
        }
        step.finished
    }
}

#[test]
fn a_pod_is_restarted_without_its_leftovers_and_stopped_against_its_will() {
    let Some(bed) = Bed::new("lifecycle") else { return };
    let container = Container {
        name: ContainerName::parse("c").unwrap(),
        kind: ContainerKind::App,
        image: None,
        command: vec!["sh".to_owned()],
        args: Vec::new(),
        env: Vec::new(),
        working_dir: None,
        run_as_user: None,
        run_as_group: None,
        resources: Resources::default(),
    };
    let pod = Pod {
        uid: PodUid::parse("u").unwrap(),
        namespace: Namespace::parse("default").unwrap(),
        name: PodName::parse("p").unwrap(),
        annotations: BTreeMap::new(),
        priority: 0,
        priority_class_name: None,
        is_static: true,
        init_containers: Vec::new(),
        containers: vec![container],
        resources: None,
        overhead: BTreeMap::new(),
        restart_policy: RestartPolicy::Always,
        termination_grace: Duration::ZERO,
        tolerates_memory_pressure: false,
    };
    // Its first run leaves a child behind that ignores SIGTERM; its second run ignores SIGTERM itself.
    let mark = bed.logs.join("mark");
    let script = format!(
        "trap '' TERM; echo run; if [ -e {m} ]; then while :; do sleep 1; done; fi; touch {m}; sleep 1000 & exit 1",
        m = mark.display()
    );
    let mut agent = Agent {
        bed: &bed,
        run: PodRun::new(pod, None),
        spec: bed.shell(&script),
        process: None,
        actions: Vec::new(),
    };
    let log = agent.spec.log_path.clone();
    until("it runs for the second time", || {
        agent.pass(RealClock.now());
        fs::read_to_string(&log).unwrap_or_default() == "run\nrun\n"
    });
    let leftovers = bed.members();
    assert!(
        agent.process.is_some() && leftovers.lines().count() <= 2,
        "{leftovers}"
    );
    agent.run.request_stop(RealClock.now(), None);
    until("it has stopped", || agent.pass(RealClock.now()));
    assert_eq!(bed.members(), "");
    agent.actions.dedup();
    assert_eq!(agent.actions, ["start", "kill", "start", "terminate", "kill"]);
}
