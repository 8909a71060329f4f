//! Pods that the node can no longer afford: stopped for good, and told why.
//!
//! Whom to evict is decided elsewhere. An evicted pod ends like one that is told to stop, within the grace that it is
//! given, and stays known as `Failed` for as long as its manifest is there: its cgroups go, what it held is free, and
//! nothing of it is started again, by this agent or by one started after it.

use std::time::Duration;

use tracing::warn;

use super::Engine;
use crate::model::{BootTime, CgroupId, PodUid};

impl Engine {
    /// Stops a pod for good. `cgroup` is that of the instance that is meant: another one under the same name, or one that
    /// ended already, is left alone, and the answer is false.
    pub fn evict(
        &mut self,
        uid: &PodUid,
        cgroup: CgroupId,
        grace: Duration,
        message: String,
        now: BootTime,
    ) -> bool {
        let Some(managed) = self.pods.get_mut(uid) else {
            return false;
        };
        let actual = self.actual.cgroups.get(&managed.cgroup);
        if actual.is_none_or(|actual| actual.id != cgroup) {
            return false;
        }
        warn!(pod = %managed.run.pod.name, ?grace, "evicted: {message}");
        managed.run.evict(now, grace, message);
        managed.unsaved = true;
        managed.wake_at = Some(now);
        self.unsettled = true;
        self.settle(now);
        true
    }
}
