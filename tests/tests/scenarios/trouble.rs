//! Writes that fail, values and cgroups that others change, processes that the kernel kills, manifests that are wrong.

use std::io;
use std::sync::{Arc, Mutex};

use plimsoll::model::{CgroupPath, ControlFile, ExitStatus, PodPhase};
use plimsoll_tests::node::FakeNode;

const LIMITED: &str =
    "containers: [{name: main, command: [sleep], resources: {limits: {cpu: '1', memory: 64Mi}}}]";
const EINVAL: i32 = 22;
const EBUSY: i32 = 16;

fn path(text: &str) -> CgroupPath {
    CgroupPath::parse(text).unwrap()
}

#[test]
fn a_refused_write_leaves_the_pod_unplaced_and_others_alone_until_it_works() {
    let mut node = FakeNode::new();
    node.add("web", LIMITED);
    let web = node.process("web", "main");
    node.machine
        .refuse("bad/main", ControlFile::MemoryMax, EINVAL, usize::MAX);
    node.add("bad", LIMITED);
    node.seconds(10);
    let bad = node.pod("bad");
    assert_eq!(
        (bad.phase, bad.reason.as_deref()),
        (PodPhase::Pending, Some("CgroupError"))
    );
    let message = bad.message.unwrap();
    for part in ["poduid-bad/main", "memory.max", "67108864", "Invalid argument"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(
        node.pod_cgroups().iter().all(|path| !path.contains("bad")),
        "{:?}",
        node.pod_cgroups()
    );
    assert_eq!(node.machine.running().len(), 1);
    assert_eq!(node.process("web", "main"), web);
    let series = "plimsoll_cgroup_write_errors_total{errno=\"EINVAL\",file=\"memory.max\"}";
    assert!(node.counter(series) >= 1.0, "{:?}", node.counters());
    node.add("late", LIMITED);
    assert_eq!(node.state("late", "main"), "Running");

    node.machine.refuse_nothing();
    node.seconds(2);
    assert_eq!(node.state("bad", "main"), "Running");
    assert_eq!(node.read("poduid-bad/main", ControlFile::MemoryMax), "67108864");
    assert_eq!(node.process("web", "main"), web);
}

#[test]
fn a_changed_pod_whose_new_values_are_refused_runs_on_with_the_old_ones() {
    let mut node = FakeNode::new();
    node.add("web", LIMITED);
    let process = node.process("web", "main");
    node.machine
        .refuse("web/main", ControlFile::MemoryMax, EBUSY, usize::MAX);
    let more = LIMITED.replace("64Mi", "96Mi");
    node.add("web", &more);
    node.seconds(5);
    assert_eq!(node.process("web", "main"), process);
    for path in ["poduid-web", "poduid-web/main"] {
        assert_eq!(node.read(path, ControlFile::MemoryMax), "67108864");
    }
    let pod = node.pod("web");
    assert_eq!(
        (pod.phase, pod.reason.as_deref()),
        (PodPhase::Running, Some("CgroupError"))
    );
    // Nothing new is started under limits that are not the manifest's.
    node.exit("web", "main", ExitStatus::Code(1));
    node.seconds(5);
    assert_eq!(node.machine.running(), []);
    node.machine.refuse_nothing();
    node.seconds(60);
    assert_eq!(node.state("web", "main"), "Running");
    assert_eq!(node.read("poduid-web/main", ControlFile::MemoryMax), "100663296");
    assert_eq!(node.pod("web").reason, None);
}

#[test]
fn a_value_that_somebody_changed_is_set_again_and_counted() {
    let mut node = FakeNode::new();
    node.add("web", LIMITED);
    let process = node.process("web", "main");
    for (at, file, value, right) in [
        (
            "poduid-web/main",
            ControlFile::CpuMax,
            "max 100000",
            "100000 100000",
        ),
        ("poduid-web", ControlFile::MemoryMax, "max", "67108864"),
        ("burstable", ControlFile::CpuWeight, "777", "1"),
        ("", ControlFile::PidsMax, "5", "32768"),
    ] {
        let before = node.read(at, file);
        node.meddle(at, file, value);
        node.seconds(10);
        assert_eq!(node.read(at, file), before, "{at} {file}");
        assert_eq!(
            node.counter(&format!("plimsoll_drift_total{{file=\"{file}\"}}")),
            1.0,
            "{at} {file}, {right}"
        );
    }
    assert_eq!(node.process("web", "main"), process);
    node.seconds(60);
    assert_eq!(
        node.counters()
            .iter()
            .filter(|(name, _)| name.starts_with("plimsoll_drift"))
            .count(),
        4
    );
}

/// What the agent logs on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn says(&self, what: &str) -> bool {
        String::from_utf8_lossy(&self.0.lock().unwrap()).contains(what)
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_value_of_which_a_probe_tells_is_set_again_at_once_and_its_last_writer_is_named() {
    let log = Log::default();
    let writer = log.clone();
    let logging = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing_subscriber::util::SubscriberInitExt::set_default(logging);
    let mut node = FakeNode::new();
    node.add("web", LIMITED);
    let at = "poduid-web/main";
    node.meddle(at, ControlFile::CpuMax, "20000 100000");
    node.meddle(at, ControlFile::CpuMax, "max 100000");
    node.meddle(at, ControlFile::MemoryMax, "max");
    node.tell_of_writes(&[
        (at, "cpu.max", 1, "systemd"),
        (at, "cpu.max", 77, "sh"),
        (at, "cpu.idle", 78, "sh"),
        ("burstable", "memory.max", 79, "sh"),
    ]);
    assert_eq!(node.read(at, ControlFile::CpuMax), "100000 100000");
    assert_eq!(node.read(at, ControlFile::MemoryMax), "67108864");
    for file in ["cpu.max", "memory.max"] {
        assert_eq!(
            node.counter(&format!("plimsoll_drift_total{{file=\"{file}\"}}")),
            1.0
        );
    }
    assert!(log.says("somebody (pid 77, sh) changed a value"));
    assert!(
        log.says("somebody changed a value"),
        "who wrote memory.max was not told"
    );
    assert!(!log.says("pid 1,") && !log.says("pid 78,") && !log.says("pid 79,"));
}

#[test]
fn a_write_that_changes_nothing_is_no_drift() {
    let mut node = FakeNode::new();
    node.add("web", LIMITED);
    let before = node.counters();
    node.tell_of_writes(&[("poduid-web/main", "cpu.max", 1, "systemd")]);
    assert_eq!(node.counters(), before);
}

#[test]
fn controllers_that_somebody_took_away_are_enabled_again() {
    let mut node = FakeNode::new();
    node.add("web", LIMITED);
    node.meddle("poduid-web", ControlFile::SubtreeControl, "-cpu");
    node.seconds(10);
    assert_eq!(node.read("poduid-web/main", ControlFile::CpuMax), "100000 100000");
}

#[test]
fn a_cgroup_that_somebody_removed_is_made_again() {
    for gone in ["poduid-web", "poduid-web/main"] {
        let mut node = FakeNode::new();
        node.add("web", LIMITED);
        node.add("other", LIMITED);
        let other = node.process("other", "main");
        node.machine.remove(&path(gone));
        node.hear();
        node.seconds(30);
        assert_eq!(node.state("web", "main"), "Running", "{gone}");
        assert_eq!(node.read("poduid-web/main", ControlFile::MemoryMax), "67108864");
        assert_eq!(node.machine.running().len(), 2);
        assert_eq!(node.process("other", "main"), other);
    }
}

#[test]
fn a_container_that_the_oom_killer_took_is_told_so() {
    let mut node = FakeNode::new();
    node.add("web", &format!("restartPolicy: Never, {LIMITED}"));
    node.machine.oom_kill(node.process("web", "main"));
    node.hear();
    assert_eq!(node.state("web", "main"), "OOMKilled");
    assert_eq!(node.phase("web"), PodPhase::Failed);
    let kills = node.report().oom_kills;
    assert_eq!(kills.len(), 1);
    let (uid, _, pod, container) = kills[0].container.clone().unwrap();
    assert_eq!(
        (uid.as_str(), pod.as_str(), container.as_str()),
        ("uid-web", "web", "main")
    );
    assert_eq!(
        node.counter("plimsoll_oom_kills_total{qos_class=\"Guaranteed\"}"),
        1.0
    );
    assert_eq!(
        node.counter("plimsoll_container_exits_total{reason=\"OOMKilled\"}"),
        1.0
    );
}

#[test]
fn an_oom_kill_while_the_agent_was_away_is_told_too() {
    let mut node = FakeNode::new();
    node.add("web", &format!("restartPolicy: Never, {LIMITED}"));
    let process = node.process("web", "main");
    node.kill_agent();
    node.machine.oom_kill(process);
    node.start_agent();
    assert_eq!(node.state("web", "main"), "OOMKilled");
}

#[test]
fn an_oom_kill_that_an_earlier_agent_told_of_is_not_told_of_a_later_end() {
    let mut node = FakeNode::new();
    node.add("web", LIMITED);
    node.machine.oom_kill(node.process("web", "main"));
    node.hear();
    node.seconds(30);
    assert_eq!(node.state("web", "main"), "Running");
    node.restart_agent();
    node.exit("web", "main", ExitStatus::Signal(9));
    let exits = |reason| node.counter(&format!("plimsoll_container_exits_total{{reason=\"{reason}\"}}"));
    assert_eq!(exits("Error"), 1.0);
}

#[test]
fn processes_left_behind_by_a_first_process_end_before_the_restart() {
    use plimsoll::kernel::cgroup_fs::Stubbornness;
    let mut node = FakeNode::new();
    node.add("web", LIMITED);
    let main = path("poduid-web/main");
    node.machine.cgroups.spawn(&main, Stubbornness::Forks(3)).unwrap();
    node.exit("web", "main", ExitStatus::Code(1));
    assert_eq!(node.machine.running(), [], "what was left behind still forks");
    node.seconds(5);
    assert_eq!(node.state("web", "main"), "Running");
    assert_eq!(node.read("poduid-web/main", ControlFile::PidsCurrent), "1");
}

#[test]
fn a_program_that_is_not_there_is_an_error_of_its_container_alone() {
    let mut node = FakeNode::new();
    node.add("web", LIMITED);
    node.add(
        "typo",
        "containers: [{name: main, command: [slep]}, {name: other, command: [sleep]}]",
    );
    node.seconds(5);
    assert_eq!(node.state("typo", "main"), "CrashLoopBackOff");
    let message = format!("{:?}", node.container("typo", "main").phase);
    assert!(
        message.contains("slep") && message.contains("No such file"),
        "{message}"
    );
    assert_eq!(node.state("typo", "other"), "Running");
    assert_eq!(node.state("web", "main"), "Running");
}

#[test]
fn manifests_that_are_wrong_stop_nothing() {
    let mut node = FakeNode::new();
    node.add("web", LIMITED);
    node.add("other", LIMITED);
    let before = node.machine.running();
    node.write("web.yaml", "not: [a pod");
    node.seconds(60);
    assert_eq!(node.machine.running(), before);
    assert_eq!(node.report().manifest_errors.len(), 1);
    // What cannot be read may hold any pod: not even one whose file is gone is stopped.
    node.remove("other");
    node.seconds(60);
    assert_eq!(node.machine.running(), before);
    node.add("web", LIMITED);
    node.seconds(5);
    assert_eq!(node.machine.running().len(), 1);
    assert!(node.find("other").is_none());
}

#[test]
fn a_directory_that_goes_away_and_comes_back_stops_nothing() {
    let mut node = FakeNode::new();
    node.add("web", LIMITED);
    let before = node.machine.running();
    let manifest = std::fs::read_to_string(node.pods().join("web.yaml")).unwrap();
    std::fs::remove_dir_all(node.pods()).unwrap();
    node.look();
    node.seconds(60);
    assert_eq!(node.machine.running(), before);
    assert_eq!(node.report().manifest_errors.len(), 1);
    std::fs::create_dir(node.pods()).unwrap();
    node.look();
    node.seconds(1);
    node.write("web.yaml", &manifest);
    node.seconds(10);
    assert_eq!(node.machine.running(), before);
    assert!(node.report().manifest_errors.is_empty());
    node.remove("web");
    node.seconds(5);
    assert_eq!(node.machine.running(), []);
}
