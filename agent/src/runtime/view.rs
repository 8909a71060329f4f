//! The ground as it is, looked at without touching it, and what a first pass would do there: the dry run.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;

use super::engine::{Settings, extent};
use super::ground::{allotment, root_path};
use crate::config::Config;
use crate::decide::admission::admit;
use crate::decide::allocatable::allocatable;
use crate::decide::allotment::Allotment;
use crate::decide::cpusets::{self, cpusets};
use crate::decide::desired::{Inputs, desired_tree};
use crate::decide::plan::{Step, plan};
use crate::decide::policy::PlacementPolicy;
use crate::kernel::cgroup_fs::{CgroupFs, RealCgroupFs, find_mount};
use crate::model::{ActualTree, ControlFile, Place, PodName, PodRefusal, PodUid};
use crate::observe::cgroup_tree::read_tree;
use crate::observe::parse;
use crate::observe::pods::SourcedPod;

/// The ground as it is.
pub(super) struct View {
    /// What placement would work with.
    pub(super) settings: Settings,
    allotment: Option<Allotment>,
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
        Ok(Self {
            allotment: allotment(config, &settings)?,
            settings,
            actual,
        })
    }

    /// What a first pass with these pods would do.
    pub(super) fn plan(mut self, wanted: &BTreeMap<PodUid, SourcedPod>) -> Plan {
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
        let left = allocatable(&settings.capacity, &settings.policy);
        let answers = admit(&candidates, &running.collect(), &left, |pod| {
            let given = self.allotment.as_mut().map(|allotment| allotment.admit(pod));
            given.transpose().map(Option::unwrap_or_default)
        });
        let mut refused = Vec::new();
        let mut admitted = Vec::new();
        for (uid, answer) in answers {
            let Some(sourced) = wanted.get(&uid) else { continue };
            match answer {
                Ok(given) => admitted.push((&sourced.pod, given)),
                Err(PodRefusal { reason, message, .. }) => {
                    refused.push((sourced.pod.name.clone(), format!("{reason}: {message}")));
                }
            }
        }
        let placed: Vec<_> = admitted
            .iter()
            .map(|(pod, given)| (*pod, given.as_slice()))
            .collect();
        let cpusets = cpusets(&cpusets::Inputs {
            layout: &settings.policy.layout,
            allotment: self.allotment.as_ref(),
            pods: &placed,
            actual: &self.actual,
        });
        let pods: Vec<_> = admitted.iter().map(|(pod, _)| *pod).collect();
        let desired = desired_tree(&Inputs {
            pods: &pods,
            node: &settings.capacity,
            policy: &settings.policy,
            available: &settings.controllers,
            lifted: &BTreeSet::new(),
            cpusets: &cpusets,
        });
        Plan {
            refused,
            steps: plan(&desired, &self.actual),
        }
    }
}
