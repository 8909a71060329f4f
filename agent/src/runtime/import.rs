//! Taking over the exclusive CPUs that kubelet wrote down: the agent's checkpoint is written for its next start.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use super::ground::root_path;
use crate::config::Config;
use crate::decide::cpu::import::{Imported, import};
use crate::decide::managers::managers;
use crate::decide::policy::PlacementPolicy;
use crate::kernel::cgroup_fs::{RootClaim, RootError, find_mount};
use crate::kernel::checkpoint::{CPUS, CheckpointFile, Found};
use crate::model::KubeletCpus;
use crate::observe::supply::Supply;
use crate::state::cpus::checkpoint::{CpuCheckpoint, MachineMark};

/// What came of an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportReport {
    /// What was taken over: pod, container, CPUs.
    pub taken: Vec<[String; 3]>,
    /// Entries that were not, each with the reason.
    pub left_out: Vec<String>,
    /// What is strange.
    pub notes: Vec<String>,
    /// The checkpoint.
    pub path: PathBuf,
    /// Whether it was written; not in a dry run, nor if it says the same already.
    pub written: bool,
}

/// Takes over `state` on this machine; writes nothing if `dry_run`.
///
/// # Errors
/// The configuration does not fit the machine or gives no exclusive CPUs, the file has nothing to take over, an agent
/// runs, or the checkpoint has other pins already or cannot be written.
pub fn import_cpus(
    config: &Config,
    supply: &Supply,
    machine_id: Option<String>,
    state: &KubeletCpus,
    now: Duration,
    dry_run: bool,
) -> anyhow::Result<ImportReport> {
    let placement = PlacementPolicy::from_config(config).context("cgroupRoot")?;
    let memory = supply.memory.as_deref().unwrap_or_default();
    let managers = managers(config, &placement, &supply.cpus, &supply.capacity, memory)
        .context("the configuration does not fit the machine")?;
    let Some(policy) = managers.cpus else {
        bail!("cpuManagerPolicy is none, under which the agent would give back all of it: set it to static");
    };
    let machine = MachineMark::of(policy.topology(), machine_id);
    let imported = import(state, &policy, &machine, now.as_secs())?;
    let mut report = report(&imported, config.state_dir.join(CPUS));
    if !dry_run {
        let _claim = claim(config, &placement)?;
        report.written = write(&config.state_dir, &imported.checkpoint, &mut report.notes)?;
    }
    Ok(report)
}

/// Keeps agents from starting on the configured root; without one there is no agent.
fn claim(config: &Config, placement: &PlacementPolicy) -> anyhow::Result<Option<RootClaim>> {
    let mount = match find_mount() {
        Ok(mount) => mount,
        Err(RootError::NotMounted) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let root = root_path(config, &placement.layout)?;
    match RootClaim::take(&root.components().iter().fold(mount, |dir, name| dir.join(name))) {
        Ok(claim) => Ok(Some(claim)),
        Err(RootError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn write(state_dir: &Path, checkpoint: &CpuCheckpoint, notes: &mut Vec<String>) -> anyhow::Result<bool> {
    let mut file = CheckpointFile::open(state_dir, CPUS)?;
    let loaded = file.load::<CpuCheckpoint>();
    if let Found::Unusable(why) = &loaded.found {
        notes.push(format!("{} is overwritten: {why}", file.path().display()));
    }
    match loaded.put_aside {
        Some(Ok(aside)) => notes.push(format!("it was put aside as {}", aside.display())),
        Some(Err(error)) => notes.push(error.to_string()),
        None => {}
    }
    if let Found::Usable(before) = loaded.found {
        let pins = |checkpoint: &CpuCheckpoint| {
            let pods = checkpoint.pods.iter();
            let pins = pods.flat_map(|(pod, pins)| pins.iter().map(move |pin| (pod, pin)));
            let pins = pins.map(|(pod, (name, pin))| (pod.clone(), name.clone(), pin.cpus.clone()));
            pins.collect::<Vec<_>>()
        };
        let there = pins(&before);
        if !there.is_empty() && there == pins(checkpoint) {
            return Ok(false);
        }
        if !there.is_empty() {
            bail!(
                "{} has the CPUs of {} containers already: move it away if the agent is to forget them",
                file.path().display(),
                there.len()
            );
        }
    }
    Ok(file.save(checkpoint)?)
}

fn report(imported: &Imported, path: PathBuf) -> ImportReport {
    let pods = imported.checkpoint.pods.iter();
    let pins = pods.flat_map(|(pod, pins)| pins.iter().map(move |(name, pin)| (pod, name, pin)));
    ImportReport {
        taken: pins
            .map(|(pod, name, pin)| [pod.to_string(), name.to_string(), pin.cpus.to_string()])
            .collect(),
        left_out: imported.left_out.iter().map(ToString::to_string).collect(),
        notes: imported.notes.iter().map(ToString::to_string).collect(),
        path,
        written: false,
    }
}
