//! Containers' logs, held to their cap.
//!
//! Containers write to their files themselves, so that output outlives the agent; what is too much is cut afterwards.
//! Looking at a file costs a system call, and most pods of a node are idle most of the time: theirs are looked at in
//! turns.

use std::collections::BTreeSet;

use tracing::warn;

use super::Engine;
use crate::decide::command::pod_log_dir;
use crate::model::{BootTime, CgroupPath, MilliCpu};

/// Seconds in which the log of an idle pod is looked at once.
const IDLE_TURNS: u64 = 16;

impl Engine {
    /// Holds every container's log to its cap.
    pub(super) fn cut_logs(&self, now: BootTime) {
        let busy = self.busy();
        for (n, managed) in (now.0.as_secs()..).zip(self.pods.values()) {
            if !n.is_multiple_of(IDLE_TURNS) && !busy.contains(&managed.cgroup) {
                continue;
            }
            let directory = pod_log_dir(&self.settings.log_dir, &managed.run.pod);
            for name in managed.run.containers.keys() {
                let path = directory.join(format!("{name}.log"));
                if let Err(error) = self.ports.logs.enforce_cap(&path, self.settings.log_cap) {
                    warn!(%error, "a container's log cannot be cut");
                }
            }
        }
    }

    /// Cgroups that used more than next to no CPU between the last two samples, or of which that is not known: the others'
    /// processes can have written little. One walk over all of them, as they are few and looking up a path is dear.
    fn busy(&self) -> BTreeSet<&CgroupPath> {
        let cgroups = self.actual.cgroups.iter();
        let busy = cgroups.filter(|(_, cgroup)| {
            let usage = self.usage.get(cgroup.id);
            let cpu = usage.and_then(|usage| usage.reading.cpu.as_ref());
            cpu.and_then(|cpu| cpu.rate) != Some(MilliCpu(0))
        });
        busy.map(|(path, _)| path).collect()
    }
}
