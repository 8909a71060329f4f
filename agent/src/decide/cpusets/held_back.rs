//! Whether a container may be started yet.

use super::{Cpusets, containers, has};
use crate::model::{ActualTree, CgroupPath, CpuSet, Layout};

/// Why a container waits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeldBack {
    /// The kernel shows other CPUs than it should have.
    #[error("it would run on CPUs {has} instead of {should}")]
    Has {
        /// What it has.
        has: CpuSet,
        /// What it should have.
        should: CpuSet,
    },
    /// Somebody else still has some of its CPUs.
    #[error("{by} still has CPUs {cpus}")]
    Taken {
        /// Whose cgroup.
        by: CgroupPath,
        /// Which.
        cpus: CpuSet,
    },
}

impl Cpusets {
    /// Why a container must not be started yet, as the kernel shows its tree: it has CPUs that it should not have, or
    /// others have some of its own. Nothing where CPUs are not given out.
    #[must_use]
    pub fn held_back(
        &self,
        container: &CgroupPath,
        layout: &Layout,
        actual: &ActualTree,
    ) -> Option<HeldBack> {
        if self.shared.is_empty() {
            return None;
        }
        let itself = has(actual.cgroups.get(container)?).unwrap_or_default();
        let own = self.own.get(container);
        let wrong = match own {
            Some(own) => itself != *own,
            None => itself.is_empty() || !itself.is_subset(&self.shared),
        };
        if wrong {
            return Some(HeldBack::Has {
                has: itself,
                should: own.unwrap_or(&self.shared).clone(),
            });
        }
        // One that shares must not come to where somebody still is who has other CPUs to itself.
        let alone = own.is_some();
        let mut others = containers(layout, actual).filter(|(path, _)| *path != container);
        others.find_map(|(path, cgroup)| {
            let has = has(cgroup)?;
            let beyond = match self.own.get(path) {
                // What an init container of the same pod had is used again.
                Some(theirs) => &has - theirs,
                None if alone => has,
                None => return None,
            };
            let cpus = &beyond & &itself;
            (!cpus.is_empty()).then(|| HeldBack::Taken {
                by: path.clone(),
                cpus,
            })
        })
    }
}
