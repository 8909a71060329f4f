//! The agent's core: pods wanted in, cgroups and processes out, over ports that a test can fake.
//!
//! **Problem.** Facts arrive in any order: a manifest changed, a process ended, a second passed, somebody wrote into
//! our cgroups. Each may change what is to be done for several pods. **How.** The engine keeps what is wanted and what
//! is known, and after each fact decides anew with pure functions and acts on the difference:
//!
//! - [`wanting`]: which pods there are to be;
//! - [`allotting`]: CPUs and memory that pods have to themselves;
//! - [`partitioning`]: the same CPUs as cpuset partitions;
//! - [`placing`]: admission → desired tree → plan → apply, for all pods at once; only what differs is touched;
//! - [`reading`]: the tree as the kernel has it, and what somebody else changed in it;
//! - [`living`]: each pod's containers, by `decide::lifecycle`;
//! - [`evicting`]: pods that the node can no longer afford;
//! - [`guarding`]: what the guard over memory may know and set;
//! - [`logs`]: what the containers write, held to its cap;
//! - [`recovering`]: at start, records and running processes become pods again;
//! - [`restoring`]: at start, who has which CPUs and memory;
//! - [`verifying`]: that nobody else is on a container's own CPUs;
//! - [`sampling`]: readings into the usage store;
//! - [`telling`]: the report, with [`telling_cpus`];
//! - [`turns`]: many pods at once, some at a time.
//!
//! It has no loop, no clock and no threads: the caller tells the time and what happened, and asks when to call again.
//!
//! # What holds
//! - A container is started only inside a cgroup that has every value that it should have, on CPUs that the kernel shows
//!   to be its own if it has any.
//! - What fails for one pod is that pod's matter: it is reported, tried again, and touches no other.

mod allotting;
mod evicting;
mod guarding;
mod living;
mod logs;
mod partitioning;
mod placing;
mod reading;
mod recovering;
mod restoring;
mod sampling;
mod telling;
mod telling_cpus;
mod turns;
mod verifying;
mod wanting;

pub use guarding::{RosterContainer, RosterPod};
use partitioning::Partitions;
pub(super) use reading::extent;
pub use reading::{FileWrite, Writer};
pub use sampling::{OomVictim, SampleTime};
pub use telling::Surroundings;
use turns::Turn;
pub use verifying::Owner;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

use crate::act::remove::Removals;
use crate::decide::allocatable::{Allocatable, allocatable};
use crate::decide::allotment::Allotment;
use crate::decide::cpusets::{Cpusets, HeldBack};
use crate::decide::desired::DesiredTree;
use crate::decide::policy::PlacementPolicy;
use crate::decide::tripwire::Tripwires;
use crate::kernel::cgroup_fs::CgroupFs;
use crate::kernel::checkpoint::CheckpointFile;
use crate::kernel::process::{LogFiles, Process, Processes};
use crate::kernel::state_dir::StateDir;
use crate::metrics::AgentCounters;
use crate::model::pressure::Conditions;
use crate::model::{
    ActualTree, BootTime, Bytes, CgroupId, CgroupPath, ContainerName, ContainerPlacement, ControlFile,
    Controller, CpuSet, ForeignReport, MilliCpu, Namespace, NodeCapacity, OomRecord, PartitionKind, PodPhase,
    PodRefusal, PodUid, ProcessIdentity, QosClass,
};
use crate::observe::cgroup_tree::Extent;
use crate::observe::pods::SourcedPod;
use crate::state::containers::PodRun;
use crate::state::cpus::checkpoint::CpuCheckpoint;
use crate::state::usage::UsageStore;

/// Kills by the kernel's OOM killer that are kept for the report.
const OOM_RECORDS: usize = 64;

/// How soon it is looked again who is on a container's CPUs; a task that has to leave one is gone within a few ticks.
const LOOK_FOR_STRANGERS: Duration = Duration::from_millis(1);

/// How often placing and living may call for each other at one moment; a pod that ends needs two.
const ROUNDS: usize = 4;

/// The machine, as the engine reaches it.
pub struct Ports {
    /// The agent's tree of cgroups.
    pub cgroups: Box<dyn CgroupFs>,
    /// Processes.
    pub processes: Box<dyn Processes>,
    /// Containers' log files.
    pub logs: LogFiles,
    /// Records that outlive the agent.
    pub records: StateDir,
    /// Who was given which CPUs and memory, in a file that outlives it too.
    pub checkpoint: CheckpointFile,
}

/// What does not change while the agent runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The owner's settings of placement.
    pub policy: PlacementPolicy,
    /// The machine.
    pub capacity: NodeCapacity,
    /// Controllers that the root has.
    pub controllers: BTreeSet<Controller>,
    /// The node's name.
    pub node_name: String,
    /// The machine's id, if it has one.
    pub machine_id: Option<String>,
    /// The moment of boot, since the Unix epoch.
    pub booted_at: Duration,
    /// The kind of partition that containers' own CPUs become, if any.
    pub partition: Option<PartitionKind>,
    /// The root cgroup's absolute path in the cgroup file system.
    pub root: String,
    /// Where containers' output goes.
    pub log_dir: PathBuf,
    /// How large a container's log may grow.
    pub log_cap: Bytes,
    /// Namespaces whose pods may ask to be no victims.
    pub protected_namespaces: Vec<Namespace>,
}

/// One pod that is wanted, or not yet gone.
#[derive(Debug)]
struct Managed {
    run: PodRun,
    class: QosClass,
    cgroup: CgroupPath,
    placed: Placed,
    /// Why a change of it waits: it would request more than there is room for. It runs on as it was.
    deferred: Option<PodRefusal>,
    /// What its containers were given; empty until it is let in.
    given: Vec<ContainerPlacement>,
    /// What it runs without, although it asks for it.
    lacks: Option<PodRefusal>,
    /// Why none of its containers is started yet, although it has its place.
    held_back: Option<HeldBack>,
    /// CPUs that its containers have to themselves.
    own: CpuSet,
    /// Those of them on which nobody else was seen once they had them.
    alone_on: CpuSet,
    /// When it got the last of them; none if it had them before the agent was started.
    granted_at: Option<BootTime>,
    /// How long it took from then until nobody else was seen there.
    clean_after: Option<Duration>,
    phase: PodPhase,
    /// When its lifecycle wants to be looked at again.
    wake_at: Option<BootTime>,
    /// When to look whether a killed cgroup is empty.
    look_again_at: Option<BootTime>,
    /// Whether its record on disk is older than what is known.
    unsaved: bool,
}

/// Whether a pod has its place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Placed {
    /// Not decided yet.
    Not,
    /// It does not fit.
    Refused(PodRefusal),
    /// A step failed; it is tried again.
    Failing(String),
    /// It has every cgroup with every value.
    Yes,
    /// It has its place from before, but a step that would have changed it failed and is tried again: what runs runs
    /// on, and nothing is started.
    Behind(String),
    /// The same, but the step was not begun: its turn comes.
    Later,
    /// It has ended for good, and its cgroups go.
    Over,
}

/// A process that the engine holds on to, and whose it is.
#[derive(Debug)]
struct Held {
    process: Process,
    pod: PodUid,
    container: ContainerName,
}

/// The agent's core.
pub struct Engine {
    ports: Ports,
    settings: Settings,
    allocatable: Allocatable,
    /// What is given out; none where nobody gives CPUs or memory.
    allotment: Option<Allotment>,
    /// Whether what containers have and were promised is part of it.
    restored: bool,
    /// Whether something was given out or taken back since that was written down.
    unwritten: bool,
    /// What was written down last, by this agent or one before it.
    given_before: Option<CpuCheckpoint>,
    /// What was not as it had been left, oldest first.
    cpu_changes: VecDeque<String>,
    /// What each cgroup may have of it now.
    cpusets: Cpusets,
    /// What became of containers' partitions.
    partitions: Partitions,
    /// What others used of containers' own CPUs.
    foreign: BTreeMap<CgroupId, ForeignReport>,
    /// What the kernel's threads used of them, by name.
    kernel_threads: Vec<(String, Duration)>,
    counters: AgentCounters,
    pods: BTreeMap<PodUid, Managed>,
    /// What the manifests ask for, as read last.
    wanted: BTreeMap<PodUid, SourcedPod>,
    manifest_errors: Vec<String>,
    /// Whether some manifest cannot be read: a pod's cgroup that no manifest asks for may belong to it.
    spare_unknown: bool,
    /// Whether a probe tells of OOM victims.
    oom_probe: bool,
    processes: BTreeMap<ProcessIdentity, Held>,
    /// Processes taken hold of since the caller asked last.
    fresh: Vec<ProcessIdentity>,
    extent: Extent,
    actual: ActualTree,
    /// Whether some cgroup was found gone since it was last looked whether all that are wanted are there.
    lost: bool,
    desired: DesiredTree,
    /// Where the next slice of the read-back begins.
    cursor: Option<CgroupPath>,
    removals: Removals,
    /// Whether a fact came that may change the tree.
    unsettled: bool,
    /// What was done in this turn.
    turn: Turn,
    usage: UsageStore,
    tripwires: Tripwires,
    /// Times at which a sample was taken, on both clocks.
    sampled_at: Option<SampleTime>,
    oom_kills: VecDeque<OomRecord>,
    /// OOM kills of a container's cgroup that were counted already.
    oom_counted: BTreeMap<CgroupId, u64>,
    /// Whether the pods that have a place may have changed since the guard was told.
    roster_stale: bool,
    /// Files that the guard sets for a while.
    left_to_guard: BTreeSet<(CgroupPath, ControlFile)>,
    /// The CPU that BestEffort pods are held to, or were once.
    best_effort_held: Option<Option<MilliCpu>>,
    /// What the node is short of.
    conditions: Conditions,
}

impl Engine {
    /// An engine that knows of nothing yet, with all to give out that `allotment` has.
    #[must_use]
    pub fn new(
        ports: Ports,
        settings: Settings,
        allotment: Option<Allotment>,
        counters: AgentCounters,
    ) -> Self {
        let layout = settings.policy.layout.clone();
        Self {
            allocatable: allocatable(&settings.capacity, &settings.policy),
            extent: reading::extent(&settings),
            desired: DesiredTree {
                layout,
                ..DesiredTree::default()
            },
            ports,
            settings,
            allotment,
            restored: true,
            unwritten: false,
            given_before: None,
            cpu_changes: VecDeque::new(),
            cpusets: Cpusets::default(),
            partitions: Partitions::new(),
            foreign: BTreeMap::new(),
            kernel_threads: Vec::new(),
            counters,
            pods: BTreeMap::new(),
            wanted: BTreeMap::new(),
            manifest_errors: Vec::new(),
            spare_unknown: true,
            oom_probe: false,
            processes: BTreeMap::new(),
            fresh: Vec::new(),
            actual: ActualTree::default(),
            lost: true,
            cursor: None,
            removals: Removals::default(),
            unsettled: true,
            turn: Turn::default(),
            usage: UsageStore::default(),
            tripwires: Tripwires::default(),
            sampled_at: None,
            oom_kills: VecDeque::new(),
            oom_counted: BTreeMap::new(),
            roster_stale: true,
            left_to_guard: BTreeSet::new(),
            best_effort_held: None,
            conditions: Conditions::default(),
        }
    }

    /// Does what is due: lifecycle, removals, a slice of the read-back, logs.
    pub fn tick(&mut self, now: BootTime) {
        self.read_back();
        self.retry_placing();
        self.settle(now);
        self.cut_logs(now);
    }

    /// Decides and acts until nothing more follows from what is known, or as much was done as is for one turn; then
    /// [`next_wake`](Self::next_wake) is over already.
    pub fn settle(&mut self, now: BootTime) {
        self.turn = Turn::default();
        self.poll_removals(now);
        self.roster_stale |= self.unsettled;
        for _ in 0..ROUNDS {
            // Places first: nothing may start under values that are not right yet.
            if self.unsettled {
                // A change may wait for what a pod had that is gone.
                self.take_back();
                self.take_deferred(now);
                self.unsettled = false;
                self.place(now);
                self.poll_removals(now);
            }
            self.live_all(now);
            if !self.unsettled {
                break;
            }
        }
        // What had no turn is planned anew when the caller has looked after everything else.
        self.unsettled |= self.turn.leaves_places();
        self.save();
        self.save_cpus(now);
    }

    /// When to call [`settle`](Self::settle) next, if nothing happens before.
    #[must_use]
    pub fn next_wake(&self) -> Option<BootTime> {
        if self.turn.leaves_places() {
            return Some(BootTime::default());
        }
        self.pods.values().filter_map(Managed::next_wake).min()
    }

    /// Processes that the engine took hold of since the last call, with what becomes readable when each has ended.
    pub fn take_fresh(&mut self) -> Vec<(ProcessIdentity, BorrowedFd<'_>)> {
        let fresh = std::mem::take(&mut self.fresh);
        let held = |identity: ProcessIdentity| {
            let pidfd = self.processes.get(&identity)?.process.pidfd.as_ref()?;
            Some((identity, pidfd.as_fd()))
        };
        fresh.into_iter().filter_map(held).collect()
    }

    /// The agent's own counters.
    #[must_use]
    pub fn counters(&self) -> &AgentCounters {
        &self.counters
    }

    /// The root cgroup's absolute path in the cgroup file system.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.settings.root
    }

    /// Whether CPUs or memory are given out.
    #[must_use]
    pub fn gives_cpus(&self) -> bool {
        self.allotment.is_some()
    }

    /// How many pods are known, those on their way out included.
    #[must_use]
    pub fn pod_count(&self) -> usize {
        self.pods.len()
    }
}

impl Managed {
    fn new(run: PodRun, layout: &crate::model::Layout) -> Self {
        let class = crate::decide::qos::qos_class(&run.pod);
        Self {
            cgroup: layout.pod(class, &run.pod.uid),
            class,
            run,
            placed: Placed::Not,
            deferred: None,
            given: Vec::new(),
            lacks: None,
            held_back: None,
            own: CpuSet::EMPTY,
            alone_on: CpuSet::EMPTY,
            granted_at: None,
            clean_after: None,
            phase: PodPhase::Pending,
            wake_at: Some(BootTime::default()),
            look_again_at: None,
            unsaved: true,
        }
    }
}
