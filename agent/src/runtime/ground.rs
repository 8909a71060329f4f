//! What the agent stands on: its root cgroup, its own place in it, the machine's capacity, its probes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Context;
use tracing::{info, warn};

use super::engine::{Engine, Ports, Settings, extent};
use crate::config::{Config, ProbeSwitches};
use crate::decide::admission::{Admission, admit};
use crate::decide::allocatable::allocatable;
use crate::decide::desired::{Inputs, WANTED, desired_tree};
use crate::decide::oom_score_adj;
use crate::decide::plan::{Step, plan};
use crate::decide::policy::PlacementPolicy;
use crate::kernel::cgroup_fs::{
    self, CgroupFs, CgroupsRsFs, ParentPolicy, RealCgroupFs, RootClaim, find_mount, set_up_root,
};
use crate::kernel::ebpf::OBJECTS;
use crate::kernel::node_facts::Machine;
use crate::kernel::process::{LogFiles, RealProcesses};
use crate::kernel::state_dir::StateDir;
use crate::metrics::AgentCounters;
use crate::model::{
    ActualTree, CgroupDriver, CgroupPath, ControlFile, Controller, Layout, Place, PodName, PodUid,
    ProbeReport,
};
use crate::observe::cgroup_tree::read_tree;
use crate::observe::pods::SourcedPod;
use crate::observe::probes::{ProbeState, Probes, SWITCH};
use crate::observe::{node, parse};

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
    fn new(
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
            root: format!("/{}", root_path(config, &policy.layout)?),
            log_dir: config.log_dir.to_path_buf(),
            log_cap: config.container_log_max_size.0,
            policy,
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
        };
        Ok(Engine::new(ports, self.settings.clone(), counters))
    }
}

/// The ground as it is, looked at without touching it: for a dry run.
pub(super) struct View {
    /// What placement would work with.
    pub(super) settings: Settings,
    actual: ActualTree,
}

/// What a first pass would do.
pub(super) struct Plan {
    /// Pods that do not fit, with the reason.
    pub(super) refused: Vec<(PodName, String)>,
    /// The steps.
    pub(super) steps: Vec<Step>,
}

impl View {
    /// Looks at the machine and the tree that is there, if any.
    pub(super) fn look(config: &Config) -> anyhow::Result<Self> {
        let policy = PlacementPolicy::from_config(config).context("cgroupRoot")?;
        let mount = find_mount()?;
        let root = root_path(config, &policy.layout)?;
        let whole = RealCgroupFs::open(&mount).context("the cgroup v2 mount")?;
        let parent = root.parent().unwrap_or_default();
        let offered = parse::controllers(&whole.read(&parent, ControlFile::Controllers)?).collect();
        let mut settings = Settings::new(config, policy, offered)?;
        let extent = extent(&settings);
        let actual = match whole.below(&root) {
            Ok(fs) => {
                let actual = read_tree(&fs, &extent)?;
                settings.controllers.clone_from(&actual.available);
                actual
            }
            Err(error) if error.is_gone() => ActualTree::default(),
            Err(error) => return Err(error.into()),
        };
        Ok(Self { settings, actual })
    }

    /// What a first pass with these pods would do.
    pub(super) fn plan(&self, wanted: &BTreeMap<PodUid, SourcedPod>) -> Plan {
        let settings = &self.settings;
        let candidates: Vec<_> = wanted.values().map(|sourced| &sourced.pod).collect();
        let places = self
            .actual
            .cgroups
            .keys()
            .filter_map(|path| settings.policy.layout.place(path));
        let running = places.filter_map(|place| match place {
            Place::Pod(_, uid) => Some(uid),
            _ => None,
        });
        let answers = admit(
            &candidates,
            &running.collect(),
            &allocatable(&settings.capacity, &settings.policy),
        );
        let mut refused = Vec::new();
        let mut admitted = Vec::new();
        for (uid, answer) in answers {
            let Some(sourced) = wanted.get(&uid) else { continue };
            match answer {
                Admission::Admitted => admitted.push(&sourced.pod),
                Admission::Refused(refusal) => {
                    refused.push((
                        sourced.pod.name.clone(),
                        format!("{}: {}", refusal.reason(), refusal.message()),
                    ));
                }
            }
        }
        let desired = desired_tree(&Inputs {
            pods: &admitted,
            node: &settings.capacity,
            policy: &settings.policy,
            available: &settings.controllers,
            lifted: &BTreeSet::new(),
        });
        Plan {
            refused,
            steps: plan(&desired, &self.actual),
        }
    }
}

/// The root cgroup below the mount.
fn root_path(config: &Config, layout: &Layout) -> anyhow::Result<CgroupPath> {
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
        "reclaim" | "reclaimx" => switches.stalls,
        "oom" | "oomx" => switches.oom,
        _ => switches.lifecycle,
    }
}
