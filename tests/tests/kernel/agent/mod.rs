//! The agent's real program on the kernel: pods from files, its own end and return, and what it does to itself.
//!
//! Every test has an agent with a root cgroup, a state directory and a port of its own. What is asserted is read from
//! `/sys/fs/cgroup`, `/proc` and the program's output; the agent's word is taken only where its word is the matter.

mod alone;
mod exclusive;
mod input;
mod life;
mod meddling;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use plimsoll::model::{ContainerPhase, NodeReport, PodReport, ProcessIdentity};
use plimsoll_tests::agent::Agent;

use crate::support::until;

const PROGRAM: &str = "/bin/plimsoll";
const MOUNT: &str = "/sys/fs/cgroup";
/// Probes take seconds to load under emulation; tests that are not about them do without.
const NO_PROBES: &str = "probes: {cpu: false, usage: false, stalls: false, oom: false, lifecycle: false, foreign: false, writes: false}\n";
/// Longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// An agent with its directories and its tree; all of it is gone when the test ends.
struct Host {
    agent: Agent,
    directory: PathBuf,
    /// The root cgroup below the mount.
    root: String,
}

impl Host {
    /// An agent that is not started yet.
    fn new(extra: &str) -> Self {
        Self::below("", extra)
    }

    /// The same with its root below the cgroup `parent`, given with a slash at its end.
    fn below(parent: &str, extra: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = format!("{parent}plimsoll-agent-{number}");
        let directory = std::env::temp_dir().join(format!("agent-{number}-{}", std::process::id()));
        let agent = Agent::new(Path::new(PROGRAM), &directory, &root, extra).unwrap();
        Self {
            agent,
            directory,
            root,
        }
    }

    /// An agent without probes that runs.
    fn running() -> Self {
        let mut host = Self::new(NO_PROBES);
        host.agent.start().unwrap();
        host
    }

    /// A cgroup's directory.
    fn cgroup(&self, path: &str) -> PathBuf {
        Path::new(MOUNT).join(&self.root).join(path)
    }

    /// An interface file's content without its end of line.
    fn read(&self, path: &str, file: &str) -> String {
        let path = self.cgroup(path).join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.trim_end().to_owned()
    }

    /// The processes in a cgroup.
    fn members(&self, path: &str) -> Vec<u32> {
        let listed = self.read(path, "cgroup.procs");
        listed.lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Writes the manifest of pod `name` with UID `uid-NAME`, its spec in YAML's flow style.
    fn add(&self, name: &str, spec: &str) {
        let text = manifest(name, spec);
        fs::write(self.agent.pods().join(format!("{name}.yaml")), text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.agent.pods().join(format!("{name}.yaml"))).unwrap();
    }

    /// Waits for a status.
    fn wait(&self, done: impl Fn(&NodeReport) -> bool) -> NodeReport {
        self.agent.wait_for(PATIENCE, done).unwrap_or_else(|error| {
            let log = fs::read_to_string(self.agent.log()).unwrap_or_default();
            panic!("{error}\nthe agent's log:\n{log}");
        })
    }

    /// Waits until every container of these pods runs.
    fn wait_running(&self, names: &[&str]) -> NodeReport {
        self.wait(|report| {
            let running = |pod: &PodReport| {
                let mut containers = pod.containers.iter();
                containers.all(|c| matches!(c.phase, ContainerPhase::Running { .. }))
            };
            names.iter().all(|name| find(report, name).is_some_and(running))
        })
    }

    /// Starts a pod with one container `main` and waits until it runs.
    fn start(&self, name: &str, spec: &str) -> ProcessIdentity {
        self.add(name, spec);
        process(&self.wait_running(&[name]), name)
    }

    /// What the agent's log says since it had `before` bytes.
    fn log_since(&self, before: usize) -> String {
        fs::read_to_string(self.agent.log()).unwrap().split_off(before)
    }
}

impl Drop for Host {
    /// Never panics, which would hide the test's own failure.
    fn drop(&mut self) {
        if let Err(error) = self.agent.kill() {
            eprintln!("{error}");
        }
        let tree = self.cgroup("");
        if tree.exists()
            && let Err(error) = fs::write(tree.join("cgroup.kill"), "1")
        {
            eprintln!("{}: {error}", tree.display());
        }
        let start = std::time::Instant::now();
        while tree.exists() && !remove_tree(&tree) && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("left behind: {error}");
        }
    }
}

/// Removes cgroups bottom-up; whether all are gone.
fn remove_tree(tree: &Path) -> bool {
    let mut all = true;
    for entry in fs::read_dir(tree).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all &= remove_tree(&entry.path());
        }
    }
    all && fs::remove_dir(tree).is_ok()
}

fn manifest(name: &str, spec: &str) -> String {
    format!("{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, uid: uid-{name}}}, spec: {{{spec}}}}}\n")
}

fn find<'a>(report: &'a NodeReport, pod: &str) -> Option<&'a PodReport> {
    report.pods.iter().find(|found| found.name.as_str() == pod)
}

/// The first process of a pod's first container, which runs.
fn process(report: &NodeReport, pod: &str) -> ProcessIdentity {
    match find(report, pod).unwrap().containers[0].phase {
        ContainerPhase::Running { process, .. } => process,
        ref other => panic!("{pod} does not run: {other:?}"),
    }
}

/// Whether a container's process was found running by the agent.
fn adopted(report: &NodeReport, pod: &str) -> bool {
    let found = find(report, pod).unwrap();
    matches!(
        found.containers[0].phase,
        ContainerPhase::Running { adopted: true, .. }
    )
}

/// Whether the process with that start time is still there.
fn lives(process: ProcessIdentity) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    fields.split(' ').nth(19) == Some(&process.start_ticks.to_string())
}

/// Runs a command of the agent's program to its end: its exit status, and what it said on both outputs.
fn run(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}
