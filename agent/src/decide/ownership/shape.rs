//! Which cgroups may be made beside kubelet's.
//!
//! **Problem.** kubelet lists the directories of `kubepods` and of the QoS levels every 2 s, takes each whose name says
//! `pod…` for a pod, and kills and removes those that it does not know (`cleanupOrphanedPodCgroups`,
//! `GetAllPodsFromCgroups`). **How.** What would read so under either driver is not made at or below such a level.

use crate::model::CgroupPath;

/// A cgroup's name that kubelet takes for a pod's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} below /{root} has the shape of a pod's cgroup, which kubelet kills and removes if it does not know the pod"
)]
pub struct PodShaped {
    /// The component.
    pub name: String,
    /// The root below which it would be.
    pub root: CgroupPath,
}

/// Whether the agent may make a cgroup at `path`, with kubelet's `roots` on this machine.
///
/// # Errors
/// The component that has the shape of a pod's.
pub fn may_make(roots: &[CgroupPath], path: &CgroupPath) -> Result<(), PodShaped> {
    for root in roots.iter().filter(|root| path.is_within(root)) {
        let below = &path.components()[root.depth()..];
        if let Some(name) = below.iter().find(|name| is_pod_shaped(name)) {
            return Err(PodShaped {
                name: name.clone(),
                root: root.clone(),
            });
        }
    }
    Ok(())
}

/// A slice's last part is the cgroup's own name; the parts before repeat the levels above.
fn is_pod_shaped(name: &str) -> bool {
    let unit = name.strip_suffix(".slice").unwrap_or(name);
    name.starts_with("pod") || unit.rsplit('-').next().is_some_and(|own| own.starts_with("pod"))
}
