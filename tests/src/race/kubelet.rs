//! A model of kubelet's eviction, to race against: not kubelet, but the loop that its documentation describes.
//!
//! Every ten seconds the memory that is available (what there is, less the working set) is compared with the threshold.
//! Below, one pod is ended: those over their request first, then the one furthest above. It gets SIGTERM, and after a
//! second, the grace of hard evictions, SIGKILL. Pods' priorities are all alike here.
//!
//! Source: Kubernetes, "Node-pressure Eviction": housekeeping interval, selection, grace.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, io, thread};

use super::watch::{field, meminfo, number, populated};

/// From one look to the next.
pub(super) const PERIOD: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_secs(1);

/// What the model knows of the node.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) mount: PathBuf,
    pub(super) root: PathBuf,
    /// Each pod's cgroup and request in bytes.
    pub(super) pods: Vec<(PathBuf, u64)>,
}

impl Model {
    /// One look, and what follows from it.
    pub(super) fn synchronize(&self) -> io::Result<()> {
        let capacity = meminfo("MemTotal")?;
        let available = capacity.saturating_sub(machine_working_set(&self.mount));
        if available >= capacity / 10 && !self.is_root_full() {
            return Ok(());
        }
        match self.victim() {
            Some(victim) => end(victim),
            None => Ok(()),
        }
    }

    /// Whether less than between `memory.high` and `memory.max` is left to the pods, where their root has these.
    fn is_root_full(&self) -> bool {
        // Without a limit these files have a word instead of a number.
        let limits = ["memory.high", "memory.max"].map(|file| number(&self.root.join(file)));
        limits[0] > 0 && limits[1] > 0 && working_set(&self.root) >= limits[0]
    }

    fn victim(&self) -> Option<&Path> {
        let living = self.pods.iter().filter(|(cgroup, _)| populated(cgroup));
        let excess =
            |(cgroup, request): &(PathBuf, u64)| i128::from(working_set(cgroup)) - i128::from(*request);
        let worst = living.max_by_key(|pod| {
            let excess = excess(pod);
            (excess > 0, excess)
        })?;
        Some(&worst.0)
    }
}

/// Usage of the machine less inactive file pages; its root cgroup has no `memory.current`.
fn machine_working_set(mount: &Path) -> u64 {
    let stat = fs::read_to_string(mount.join("memory.stat")).unwrap_or_default();
    let usage = field(&stat, "anon") + field(&stat, "file");
    usage.saturating_sub(field(&stat, "inactive_file"))
}

fn working_set(cgroup: &Path) -> u64 {
    let stat = fs::read_to_string(cgroup.join("memory.stat")).unwrap_or_default();
    number(&cgroup.join("memory.current")).saturating_sub(field(&stat, "inactive_file"))
}

/// Ends a pod: with grace, and for good.
fn end(cgroup: &Path) -> io::Result<()> {
    let processes = fs::read_to_string(cgroup.join("cgroup.procs"))?;
    // Some are gone by now, which is as good.
    Command::new("kill").args(processes.lines()).output()?;
    thread::sleep(GRACE);
    fs::write(cgroup.join("cgroup.kill"), "1")
}
