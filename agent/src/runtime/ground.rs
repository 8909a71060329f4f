//! What the agent stands on: its root cgroup, its own place in it, the machine's capacity, its probes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, bail};
use tracing::{info, warn};

use super::engine::{Engine, Ports, Settings};
use crate::config::{Config, CpuManagerPolicy, MemoryManagerPolicy, ProbeSwitches};
use crate::decide::allotment::Allotment;
use crate::decide::desired::WANTED;
use crate::decide::managers::managers;
use crate::decide::oom_score_adj;
use crate::decide::policy::PlacementPolicy;
use crate::kernel::cgroup_fs::{
    self, CgroupsRsFs, ParentPolicy, RealCgroupFs, RootClaim, find_mount, set_up_root,
};
use crate::kernel::checkpoint::{CPUS, CheckpointFile};
use crate::kernel::clock::{Clock, RealClock};
use crate::kernel::ebpf::OBJECTS;
use crate::kernel::node_facts::Machine;
use crate::kernel::pressure::{filesystem_at, filesystem_of};
use crate::kernel::process::{LogFiles, RealProcesses};
use crate::kernel::state_dir::StateDir;
use crate::metrics::AgentCounters;
use crate::model::pressure::{FilesystemFigures, Signal};
use crate::model::{CgroupDriver, CgroupPath, Controller, Layout, MachineCpus, ProbeReport};
use crate::observe::node;
use crate::observe::probes::{ProbeState, Probes, SWITCH};
use crate::observe::supply::{self, Supply};

/// The ground, before anything is built on it.
pub(super) struct Ground {
    /// The root cgroup's directory.
    pub(super) directory: PathBuf,
    /// Its tree, for the sampler.
    pub(super) fs: RealCgroupFs,
    pub(super) settings: Settings,
    /// No other agent has this ground.
    pub(super) claim: RootClaim,
}

impl Settings {
    pub(super) fn new(
        config: &Config,
        policy: PlacementPolicy,
        controllers: BTreeSet<Controller>,
    ) -> anyhow::Result<Self> {
        let machine = Machine::default();
        let node_name = match &config.node_name {
            Some(name) => name.as_str().to_owned(),
            None => node::host_name(&machine).context("the host's name")?,
        };
        Ok(Self {
            capacity: node::capacity(&machine)?,
            controllers,
            node_name,
            machine_id: node::machine_id(&machine)?,
            partition: config.cpuset_partition.kind(),
            booted_at: RealClock.wall().saturating_sub(RealClock.now().0),
            root: format!("/{}", root_path(config, &policy.layout)?),
            log_dir: config.log_dir.to_path_buf(),
            log_cap: config.container_log_max_size.0,
            protected_namespaces: config.memory_pressure.protected_namespaces.clone(),
            policy,
        })
    }
}

/// The file systems that signals watch.
struct Disks {
    nodes: FilesystemFigures,
    /// Nothing where there is none of its own.
    images: FilesystemFigures,
}

impl Disks {
    fn of(config: &Config) -> anyhow::Result<Self> {
        let images = config
            .image_fs_path
            .as_deref()
            .map(|path| filesystem_at(path).with_context(|| format!("imageFsPath {path:?}")));
        Ok(Self {
            nodes: filesystem_of(&config.log_dir).with_context(|| format!("logDir {:?}", config.log_dir))?,
            images: images.transpose()?.unwrap_or_default(),
        })
    }
}

impl Ground {
    /// Makes the root and finds out what it has.
    pub(super) fn prepare(config: &Config) -> anyhow::Result<Self> {
        let policy = PlacementPolicy::from_config(config).context("cgroupRoot")?;
        let mount = find_mount()?;
        let root = root_path(config, &policy.layout)?;
        let wanted = BTreeSet::from(WANTED);
        let delegated = set_up_root(&mount, &root, &wanted, ParentPolicy::default())?;
        let claim = RootClaim::take(&delegated.directory)?;
        for (controller, why) in &delegated.missing {
            warn!(%controller, "controller not available, its limits cannot be set: {why}");
        }
        info!(root = %delegated.directory.display(), controllers = ?delegated.available, "root cgroup ready");
        let settings = Settings::new(config, policy, delegated.available)?;
        let capacity = &settings.capacity;
        let disks = Disks::of(config)?;
        let checked = config.check_eviction_on(|signal| match signal {
            Signal::NodefsAvailable => Some(disks.nodes.capacity.0),
            Signal::NodefsInodesFree => Some(disks.nodes.inodes),
            Signal::ImagefsAvailable => Some(disks.images.capacity.0),
            Signal::ImagefsInodesFree => Some(disks.images.inodes),
            Signal::MemoryAvailable | Signal::AllocatableMemoryAvailable => Some(capacity.memory.0),
            Signal::PidAvailable => Some(capacity.pids),
            _ => None,
        });
        checked.map_err(anyhow::Error::msg)?;
        Ok(Self {
            directory: delegated.directory,
            fs: delegated.fs,
            settings,
            claim,
        })
    }

    /// Puts the agent itself where it is protected: into its own cgroup, and last in the OOM killer's order.
    pub(super) fn protect_self(&self) {
        let leaf = self.settings.policy.layout.agent();
        if let Err(error) = cgroup_fs::move_self(&self.fs, &leaf) {
            warn!(%error, "the agent cannot move into a cgroup of its own and is not protected");
        }
        if let Err(error) = RealProcesses.set_own_oom_score_adj(oom_score_adj::AGENT) {
            warn!(%error, "the agent's own oom_score_adj cannot be set");
        }
    }

    /// The engine on this ground.
    pub(super) fn engine(&self, config: &Config, counters: AgentCounters) -> anyhow::Result<Engine> {
        let ports = Ports {
            cgroups: Box::new(CgroupsRsFs::open(&self.directory).context("the root cgroup")?),
            processes: Box::new(RealProcesses),
            logs: LogFiles,
            records: StateDir::open(&config.state_dir)?,
            checkpoint: CheckpointFile::open(&config.state_dir, CPUS)?,
        };
        let allotment = allotment(config, &self.settings)?;
        Ok(Engine::new(ports, self.settings.clone(), allotment, counters))
    }
}

/// Who gives CPUs and memory on this machine; none where nobody does, and then the machine is not looked at either.
pub(super) fn allotment(config: &Config, settings: &Settings) -> anyhow::Result<Option<Allotment>> {
    let given = config.cpu_manager_policy != CpuManagerPolicy::None
        || config.memory_manager_policy != MemoryManagerPolicy::None;
    if !given {
        return Ok(None);
    }
    if !settings.controllers.contains(&Controller::Cpuset) {
        bail!(
            "cpuManagerPolicy and memoryManagerPolicy need the cpuset controller, which the root cgroup does not have"
        );
    }
    let supply = supply::live(&Machine::default()).context("how the machine's CPUs lie")?;
    Ok(Some(allot(config, settings, supply)?))
}

/// The same for a machine of which some CPUs went or came. Reserved ones that went are not missed: what is left of them is
/// reserved.
///
/// # Errors
/// The configuration does not fit what is left.
pub(super) fn allotment_after(
    config: &Config,
    settings: &Settings,
    cpus: MachineCpus,
) -> anyhow::Result<Allotment> {
    let mut config = config.clone();
    config.reserved_system_cpus &= cpus.topology.cpus();
    let supply = supply::live(&Machine::default()).context("how the machine's CPUs lie")?;
    allot(&config, settings, Supply { cpus, ..supply })
}

fn allot(config: &Config, settings: &Settings, supply: Supply) -> anyhow::Result<Allotment> {
    let memory = supply.memory.as_deref().unwrap_or_default();
    let managers = managers(config, &settings.policy, &supply.cpus, &supply.capacity, memory)?;
    Ok(Allotment::new(managers, supply.cpus.topology))
}

/// The root cgroup below the mount.
pub(super) fn root_path(config: &Config, layout: &Layout) -> anyhow::Result<CgroupPath> {
    match layout {
        Layout::Cgroupfs => Ok(config.cgroup_root.path().clone()),
        Layout::Systemd(name) => Ok(CgroupPath::parse(
            name.path(CgroupDriver::Systemd).trim_start_matches('/'),
        )?),
    }
}

/// Loads the probes that the configuration asks for.
pub(super) fn start_probes(config: &Config, directory: &std::path::Path) -> Probes {
    let images: Vec<_> = OBJECTS
        .iter()
        .filter(|(name, _)| is_switched_on(&config.probes, name))
        .copied()
        .collect();
    Probes::start(directory, &images, is_switched_on(&config.probes, SWITCH))
}

/// What became of each probe.
pub(super) fn probe_reports(config: &Config, probes: &Probes) -> Vec<ProbeReport> {
    let report = |name: &str, state: &ProbeState| {
        let (attached, reason) = match state {
            ProbeState::Attached { without } if without.is_empty() => (true, None),
            ProbeState::Attached { without } => (true, Some(format!("without {}", without.join(", ")))),
            _ if !is_switched_on(&config.probes, name) => {
                (false, Some("switched off in the configuration".to_owned()))
            }
            ProbeState::NotBuilt => (
                false,
                Some("the agent was built without it: cargo xtask build-ebpf, then build again".to_owned()),
            ),
            ProbeState::Unsupported(reason) | ProbeState::Failed(reason) => (false, Some(reason.clone())),
        };
        ProbeReport {
            name: name.to_owned(),
            attached,
            reason,
        }
    };
    probes
        .status()
        .iter()
        .map(|status| report(status.name, &status.state))
        .collect()
}

fn is_switched_on(switches: &ProbeSwitches, object: &str) -> bool {
    match object {
        // What is counted at context switches is collected by the walk.
        SWITCH => switches.cpu && switches.usage,
        "usage" => switches.usage,
        "reclaim" | "reclaimx" | "shortage" => switches.stalls,
        "oom" | "oomx" => switches.oom,
        "foreign" => switches.foreign,
        "writes" => switches.writes,
        _ => switches.lifecycle,
    }
}
