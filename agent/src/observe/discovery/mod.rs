//! Pods and containers found in the kernel, with nobody else's help.
//!
//! **Problem.** The agent comes to a node where kubelet and a runtime have been at work, and the API server may be away.
//! What the kernel shows is always there: cgroups, whose names hold a pod's class and UID and a container's id. **How.**
//! One walk from the mount point down, by the rules of [`kind`]. It does not look into containers: what is there is
//! theirs, be it a whole cluster. A cgroup that vanishes meanwhile is left out.
//!
//! The sandbox is told from the pod's work by its name where that tells, else by its processes: every runtime gives them
//! an `oom_score_adj` that no container of a pod has, and lowering one's own takes a right that pods do not have.

mod kind;

#[cfg(test)]
mod tests;

use crate::kernel::cgroup_fs::{CgroupError, CgroupFs};
use crate::kernel::process::ProcessError;
use crate::model::{
    CgroupPath, ContainerRole, ControlFile, DiscoveredContainer, DiscoveredPod, DiscoveredRoot, OomScoreAdj,
};
use kind::Kind;

/// What runtimes give to the sandbox's processes.
const SANDBOX: OomScoreAdj = OomScoreAdj(-998);

/// How deep a root may be. A node in a container in a virtual machine's slice has it at five.
const DEPTH: usize = 12;

/// Why what is there could not be seen.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// A cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A container's process.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// Tells a process's `oom_score_adj`; none of one that has ended.
pub type ScoreOf<'a> = dyn Fn(u32) -> Result<Option<OomScoreAdj>, ProcessError> + 'a;

/// Finds every root below the mount point, which `fs` shows, with its pods.
///
/// # Errors
/// The kernel refused to show a cgroup or a process that is there.
pub fn discover(fs: &dyn CgroupFs, score_of: &ScoreOf<'_>) -> Result<Vec<DiscoveredRoot>, DiscoveryError> {
    let mut walk = Walk {
        fs,
        score_of,
        roots: Vec::new(),
    };
    walk.look_into(&CgroupPath::ROOT, &Kind::Outside)?;
    Ok(walk.roots)
}

struct Walk<'a> {
    fs: &'a dyn CgroupFs,
    score_of: &'a ScoreOf<'a>,
    roots: Vec<DiscoveredRoot>,
}

impl Walk<'_> {
    fn look_into(&mut self, path: &CgroupPath, kind: &Kind) -> Result<(), DiscoveryError> {
        let names = match self.fs.children(path) {
            Err(error) if error.is_gone() => return Ok(()),
            names => names?,
        };
        for name in names {
            // Neither kubelet nor a runtime gives a name that no path of ours holds.
            let Ok(child) = path.child(&name) else {
                continue;
            };
            match self.enter(&child, &kind.below(&name)) {
                Err(DiscoveryError::Cgroup(error)) if error.is_gone() => {}
                done => done?,
            }
        }
        Ok(())
    }

    fn enter(&mut self, path: &CgroupPath, kind: &Kind) -> Result<(), DiscoveryError> {
        match kind {
            Kind::Part => Ok(()),
            Kind::Outside if path.depth() < DEPTH => self.look_into(path, kind),
            Kind::Outside => Ok(()),
            Kind::Root(root) => {
                self.roots.push(DiscoveredRoot {
                    cgroup: path.clone(),
                    driver: root.driver(),
                    pods: Vec::new(),
                });
                self.look_into(path, kind)
            }
            Kind::Class(..) => self.look_into(path, kind),
            Kind::Pod { uid, qos, .. } => {
                let pod = DiscoveredPod {
                    uid: uid.clone(),
                    qos: *qos,
                    cgroup: path.clone(),
                    cgroup_id: self.fs.id(path)?,
                    containers: Vec::new(),
                };
                if let Some(root) = self.roots.last_mut() {
                    root.pods.push(pod);
                }
                self.look_into(path, kind)
            }
            Kind::Container { id, runtime, role } => {
                let container = DiscoveredContainer {
                    id: id.clone(),
                    runtime: *runtime,
                    role: match role {
                        Some(role) => *role,
                        None => self.role(path)?,
                    },
                    cgroup: path.clone(),
                    cgroup_id: self.fs.id(path)?,
                };
                let pod = self.roots.last_mut().and_then(|root| root.pods.last_mut());
                if let Some(pod) = pod {
                    pod.containers.push(container);
                }
                Ok(())
            }
        }
    }

    /// What the processes of a container say that it is for.
    fn role(&self, path: &CgroupPath) -> Result<ContainerRole, DiscoveryError> {
        let listed = self.fs.read(path, ControlFile::Procs)?;
        let mut is_sandbox = false;
        for pid in listed.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            if let Some(score) = (self.score_of)(pid)? {
                if score != SANDBOX {
                    return Ok(ContainerRole::Work);
                }
                is_sandbox = true;
            }
        }
        Ok(if is_sandbox {
            ContainerRole::Sandbox
        } else {
            ContainerRole::Work
        })
    }
}
