//! The desired tree's properties, for any pods that the API server lets through.

use proptest::prelude::*;

use super::*;
use crate::decide::fixtures::{all_controllers, node, valid_pods};
use crate::decide::policy::{MemoryQos, MemoryQosMode};

fn amount(tree: &DesiredTree, path: &CgroupPath, file: ControlFile) -> u128 {
    tree.cgroups[path].knobs[&file].amount().unwrap()
}

proptest! {
    #[test]
    fn protection_holds_at_every_level(pods in valid_pods(6)) {
        let (policy, node, available) = (PlacementPolicy::default(), node(), all_controllers());
        let pods: Vec<_> = pods.iter().collect();
        let tree = desired_tree(&Inputs {
            pods: &pods, node: &node, policy: &policy, available: &available, lifted: &BTreeSet::new(),
            cpusets: &Cpusets::default(),
        });
        for file in [ControlFile::MemoryMin, ControlFile::MemoryLow] {
            let mut below: BTreeMap<CgroupPath, u128> = BTreeMap::new();
            for path in tree.cgroups.keys() {
                let Some(parent) = path.parent() else { continue };
                let own = amount(&tree, path, file);
                prop_assert!(own <= amount(&tree, &parent, file), "{path} {file}");
                *below.entry(parent).or_default() += own;
            }
            for (parent, sum) in below {
                if !parent.name().is_some_and(|name| name.starts_with("pod")) {
                    prop_assert_eq!(sum, amount(&tree, &parent, file), "{} {}", parent, file);
                }
            }
        }
        for (path, cgroup) in &tree.cgroups {
            let Some(max) = cgroup.knobs.get(&ControlFile::MemoryMax).and_then(KnobValue::amount) else { continue };
            if path == &CgroupPath::ROOT { continue }
            let high = cgroup.knobs[&ControlFile::MemoryHigh].amount().unwrap();
            prop_assert!(high == u128::MAX || high < max, "{path}");
            for file in [ControlFile::MemoryMin, ControlFile::MemoryLow] {
                prop_assert!(amount(&tree, path, file) <= max, "{path} {file}");
            }
        }
    }

    #[test]
    fn only_files_of_available_controllers_appear_and_parents_are_present(
        pods in valid_pods(4),
        available in prop::collection::btree_set(prop::sample::select(&Controller::ALL[..]), 0..6),
        mode in prop::sample::select(&[MemoryQosMode::Off, MemoryQosMode::Kubelet, MemoryQosMode::Sound][..]),
        swap: bool,
    ) {
        let mut node = node();
        if !swap {
            node.swap = None;
        }
        let policy = PlacementPolicy {
            memory_qos: MemoryQos { mode, ..MemoryQos::default() },
            ..PlacementPolicy::default()
        };
        let pods: Vec<_> = pods.iter().collect();
        let tree = desired_tree(&Inputs {
            pods: &pods, node: &node, policy: &policy, available: &available, lifted: &BTreeSet::new(),
            cpusets: &Cpusets::default(),
        });
        prop_assert!(tree.controllers.is_subset(&available));
        for (path, cgroup) in &tree.cgroups {
            prop_assert!(path.parent().is_none_or(|parent| tree.cgroups.contains_key(&parent)));
            for file in cgroup.knobs.keys() {
                prop_assert!(file.controller().is_some_and(|c| available.contains(&c)));
                prop_assert!(swap || *file != ControlFile::MemorySwapMax);
            }
        }
    }
}
