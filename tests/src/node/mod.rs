//! A node that only exists in memory, with the agent's real engine on it.
//!
//! **Problem.** What the agent does over a pod's life, over its own restarts and over failures takes minutes and a
//! kernel to see, and some of it cannot be brought about there at will. **How.** The engine, the manifest directory,
//! the records and the logs are the real ones; cgroups, processes and time are fakes. [`FakeNode`] is what
//! `runtime` is to the engine: it tells of changed manifests, of ended processes, and of the time.
//!
//! # What holds
//! - Time stands still but in [`FakeNode::advance`], which goes through it as the event loop would.
//! - The engine never asks to be called at a moment that is over: the event loop would spin.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a fixture: what goes wrong in here fails the test"
)]

mod changes;
mod machine;
mod seen;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use plimsoll::config::{self, Config};
use plimsoll::decide::allotment::Allotment;
use plimsoll::decide::policy::PlacementPolicy;
use plimsoll::kernel::cgroup_fs::CgroupFs as _;
use plimsoll::kernel::cgroup_fs::{FakeCgroupFs, FakeKernel};
use plimsoll::kernel::checkpoint::{CPUS, CheckpointFile};
use plimsoll::kernel::process::LogFiles;
use plimsoll::kernel::state_dir::StateDir;
use plimsoll::metrics::Metrics;
use plimsoll::model::pressure::Conditions;
use plimsoll::model::{
    BootTime, Bytes, CgroupId, CgroupPath, ControlFile, Controller, CpuSet, ExitStatus, HugePageSize,
    Intruder, MilliCpu, NodeCapacity, Shape,
};
use plimsoll::observe::pods::directory::PodDirectory;
use plimsoll::runtime::engine::{Engine, FileWrite, Ports, Settings, Writer};
use tempfile::TempDir;
use tokio::sync::watch;

pub use changes::{STATIC, TWO_NODES};
pub use machine::{ALONE, DEAF, Killed, Machine, STUCK};
use machine::{Cgroups, Programs};

/// The pass of the reconcile loop.
const PERIOD: Duration = Duration::from_secs(1);
/// More calls than this for one moment, and the event loop spins.
const CALLS: usize = 100;

fn manifest(namespace: &str, name: &str, spec: &str) -> String {
    let metadata = format!("{{name: {name}, uid: uid-{name}, namespace: {namespace}}}");
    format!("{{apiVersion: v1, kind: Pod, metadata: {metadata}, spec: {{{spec}}}}}\n")
}

/// The agent while it runs.
struct Running {
    engine: Engine,
    directory: PodDirectory,
    metrics: Metrics,
}

/// The node.
pub struct FakeNode {
    /// Its cgroups and processes.
    pub machine: Arc<Machine>,
    /// The time since its boot.
    pub now: BootTime,
    files: TempDir,
    settings: Settings,
    shape: Shape,
    offline: CpuSet,
    config: Config,
    allotment: Option<Allotment>,
    /// Who is found on containers' own CPUs.
    pub strangers: Vec<Intruder>,
    running: Option<Running>,
    next_pass: BootTime,
}

impl Default for FakeNode {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeNode {
    /// A node of 4 CPUs and 8 GiB without pods, the agent running; nobody gives CPUs.
    #[must_use]
    pub fn new() -> Self {
        let shape = Shape {
            sockets: 1,
            nodes: 1,
            l3s: 1,
            cores: 4,
            threads: 1,
        };
        Self::of("", shape)
    }

    /// A node of that shape, with 8 GiB on each NUMA node and without pods, the agent running as `config` has it.
    #[must_use]
    pub fn of(config: &str, shape: Shape) -> Self {
        Self::on(config, shape, FakeKernel::default())
    }

    /// The same on one of the kernels that a fake can be.
    #[must_use]
    pub fn on(config: &str, shape: Shape, kernel: FakeKernel) -> Self {
        let config = config::parse(config, "node.yaml").unwrap();
        let topology = shape.build();
        let nodes = topology.numa_nodes().len();
        let cpus = topology.cpus().clone();
        let files = tempfile::tempdir().unwrap();
        fs::create_dir(files.path().join("pods")).unwrap();
        let settings = Settings {
            policy: PlacementPolicy::from_config(&config).unwrap(),
            capacity: NodeCapacity {
                cpu: MilliCpu(cpus.len() as u64 * 1000),
                memory: Bytes((nodes as u64) << 33),
                swap: Some(Bytes(1 << 30)),
                pids: 32_768,
                huge_pages: [(HugePageSize(2 << 20), Bytes::mib(64))].into(),
            },
            controllers: Controller::ALL.into(),
            node_name: "node".to_owned(),
            machine_id: None,
            partition: None,
            booted_at: Duration::from_secs(1_700_000_000),
            root: "/plimsoll".to_owned(),
            protected_namespaces: Vec::new(),
            log_dir: files.path().join("logs"),
            log_cap: Bytes::mib(10),
        };
        let cgroups = FakeCgroupFs::new(Controller::ALL)
            .on_kernel(kernel)
            .on_machine(cpus, 0..shape.sockets * shape.nodes);
        let machine = Machine::new(files.path().join("cgroups"), cgroups);
        let mut node = Self {
            shape,
            offline: CpuSet::EMPTY,
            config: config.clone(),
            allotment: None,
            machine,
            now: BootTime(Duration::from_secs(10_000)),
            files,
            settings,
            strangers: Vec::new(),
            running: None,
            next_pass: BootTime::default(),
        };
        node.configure_with(&config);
        node.start_agent();
        node
    }

    /// Starts the agent, which must not run.
    pub fn start_agent(&mut self) {
        assert!(self.running.is_none(), "the agent runs");
        let (_, reports) = watch::channel(Arc::default());
        let metrics = Metrics::new(reports);
        let ports = Ports {
            cgroups: Box::new(Cgroups(Arc::clone(&self.machine))),
            processes: Box::new(Programs(Arc::clone(&self.machine))),
            logs: LogFiles,
            records: StateDir::open(&self.files.path().join("state")).unwrap(),
            checkpoint: CheckpointFile::open(&self.files.path().join("state"), CPUS).unwrap(),
        };
        let allotment = self.allotment.clone();
        let mut engine = Engine::new(
            ports,
            self.settings.clone(),
            allotment,
            metrics.counters().clone(),
        );
        engine.recover(self.now);
        let directory = PodDirectory::open(&self.pods(), "node").unwrap();
        self.running = Some(Running {
            engine,
            directory,
            metrics,
        });
        self.look();
        self.pass();
    }

    /// Kills the agent: nothing is tidied up.
    pub fn kill_agent(&mut self) {
        self.running = None;
        self.machine.let_go();
    }

    /// Kills the agent and starts it again.
    pub fn restart_agent(&mut self) {
        self.kill_agent();
        self.start_agent();
    }

    /// The directory of manifests.
    #[must_use]
    pub fn pods(&self) -> PathBuf {
        self.files.path().join("pods")
    }

    /// Forgets a pod's record, as if the disk had lost it.
    pub fn lose_record(&self, pod: &str) {
        fs::remove_file(self.record(pod)).unwrap();
    }

    /// Whether a pod has a record.
    #[must_use]
    pub fn has_record(&self, pod: &str) -> bool {
        self.record(pod).exists()
    }

    fn record(&self, pod: &str) -> PathBuf {
        self.files.path().join(format!("state/pods/uid-{pod}.json"))
    }

    /// Writes a manifest file, and lets the agent look at it if it runs.
    pub fn write(&mut self, file: &str, content: &str) {
        fs::write(self.pods().join(file), content).unwrap();
        self.look();
    }

    /// Writes the manifest of pod `name` with UID `uid-NAME`; `spec` is its spec in YAML's flow style.
    pub fn add(&mut self, name: &str, spec: &str) {
        self.add_in("default", name, spec);
    }

    /// The same in another namespace.
    pub fn add_in(&mut self, namespace: &str, name: &str, spec: &str) {
        self.write(&format!("{name}.yaml"), &manifest(namespace, name, spec));
    }

    /// Writes the manifests of so many pods at once.
    pub fn add_all<'p>(&mut self, pods: impl IntoIterator<Item = (&'p str, &'p str)>) {
        for (name, spec) in pods {
            let manifest = manifest("default", name, spec);
            fs::write(self.pods().join(format!("{name}.yaml")), manifest).unwrap();
        }
        self.look();
    }

    /// Removes the manifest of pod `name`.
    pub fn remove(&mut self, name: &str) {
        fs::remove_file(self.pods().join(format!("{name}.yaml"))).unwrap();
        self.look();
    }

    /// Has a pod of this cgroup evicted, as the watch over memory would; says whether it was the one meant.
    pub fn evict(&mut self, name: &str, cgroup: CgroupId, grace: Duration, message: &str) -> bool {
        let (uid, now) = (self.pod(name).uid, self.now);
        let Some(Running { engine, .. }) = &mut self.running else {
            return false;
        };
        let taken = engine.evict(&uid, cgroup, grace, message.to_owned(), now);
        self.hear();
        taken
    }

    /// Makes the node short of something, or of nothing, as the watch over memory would tell it.
    pub fn set_conditions(&mut self, conditions: Conditions) {
        let now = self.now;
        if let Some(Running { engine, .. }) = &mut self.running {
            engine.set_conditions(conditions, now);
        }
        self.hear();
    }

    /// Has BestEffort pods held to so much CPU, or to nothing, as the watch over memory would.
    pub fn hold_best_effort(&mut self, to: Option<MilliCpu>) {
        let now = self.now;
        if let Some(Running { engine, .. }) = &mut self.running {
            engine.hold_best_effort(to, now);
        }
        self.hear();
    }

    /// Lets the agent look at its manifests.
    pub fn look(&mut self) {
        let now = self.now;
        let Some(Running {
            engine, directory, ..
        }) = &mut self.running
        else {
            return;
        };
        directory.rescan(now.0).unwrap();
        let set = directory.pods();
        let errors = set.errors.iter().map(ToString::to_string).collect();
        engine.set_pods(&set.pods, errors, set.complete, now);
        self.hear();
    }

    /// A pass of the reconcile loop.
    pub fn pass(&mut self) {
        let now = self.now;
        self.next_pass = now.after(PERIOD);
        let Some(Running {
            engine, directory, ..
        }) = &mut self.running
        else {
            return;
        };
        let due = directory.next_look().is_some_and(|at| at <= now.0);
        engine.tick(now);
        if due {
            self.look();
        }
        self.hear();
    }

    /// One turn, if the agent wants to be called at this moment; says whether it did.
    pub fn turn(&mut self) -> bool {
        let Some(Running { engine, .. }) = &mut self.running else {
            return false;
        };
        let due = engine.next_wake().is_some_and(|at| at <= self.now);
        if due {
            engine.settle(self.now);
            self.hear();
        }
        due
    }

    /// Tells the agent of processes that have ended, until none is left to tell of.
    pub fn hear(&mut self) {
        for _ in 0..CALLS {
            let Some(Running { engine, .. }) = &mut self.running else {
                return;
            };
            assert!(
                engine.take_fresh().is_empty(),
                "fake processes have no descriptors"
            );
            let unseen = engine.unseen();
            if !unseen.is_empty() {
                engine.seen(&unseen, &self.strangers, self.now);
                engine.settle(self.now);
            }
            let ended = self.machine.take_ended();
            if ended.is_empty() && (unseen.is_empty() || !self.strangers.is_empty()) {
                return;
            }
            for identity in ended {
                engine.process_ended(identity, None, self.now);
                engine.settle(self.now);
            }
        }
        panic!("processes end without end");
    }

    /// Lets time pass.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now.after(by);
        let mut calls = 0;
        while let Some(Running { engine, .. }) = &mut self.running {
            let wake = engine.next_wake().unwrap_or(end);
            let next = wake.min(self.next_pass).max(self.now);
            if next > end {
                break;
            }
            calls = if next > self.now { 0 } else { calls + 1 };
            assert!(calls < CALLS, "the event loop spins at {next}");
            self.now = next;
            if self.next_pass <= next {
                self.pass();
            }
            if let Some(Running { engine, .. }) = &mut self.running
                && wake <= next
            {
                engine.settle(next);
            }
            self.hear();
            if next == end {
                break;
            }
        }
        self.now = end;
    }

    /// The same, in seconds.
    pub fn seconds(&mut self, seconds: u64) {
        self.advance(Duration::from_secs(seconds));
    }

    /// Ends a container's first process by itself.
    pub fn exit(&mut self, pod: &str, container: &str, status: ExitStatus) {
        self.machine.end(self.process(pod, container), status);
        self.hear();
    }

    /// Somebody else writes into an interface file.
    pub fn meddle(&self, path: &str, file: ControlFile, value: &str) {
        let path = CgroupPath::parse(path).unwrap();
        self.machine.cgroups.write(&path, file, value).unwrap();
    }

    /// A probe tells the agent who wrote into which interface file: cgroup, file, process id and name, oldest first.
    pub fn tell_of_writes(&mut self, writes: &[(&str, &str, u32, &str)]) {
        let told = writes.iter().map(|&(path, file, pid, comm)| {
            let path = CgroupPath::parse(path).unwrap();
            let comm = comm.to_owned();
            FileWrite {
                cgroup: self.machine.cgroups.id(&path).unwrap(),
                file: file.to_owned(),
                writer: Writer { pid, comm },
            }
        });
        if let Some(Running { engine, .. }) = &mut self.running
            && engine.files_written(told)
        {
            engine.settle(self.now);
        }
    }
}
