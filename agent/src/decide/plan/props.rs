//! The plan's properties, on the fake cgroup file system, which refuses what the kernel refuses.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::decide::cpusets::Cpusets;
use crate::decide::desired::{Inputs, desired_tree};
use crate::decide::fixtures::{all_controllers, node, simple, valid_pods};
use crate::decide::policy::{PlacementPolicy, Reserved};
use crate::kernel::cgroup_fs::{CgroupFs, FakeCgroupFs};
use crate::model::{Bytes, MilliCpu, Pod};

fn tree(pods: &[Pod], reserved: Reserved, available: &BTreeSet<Controller>) -> DesiredTree {
    let pods: Vec<_> = pods.iter().collect();
    desired_tree(&Inputs {
        pods: &pods,
        node: &node(),
        policy: &PlacementPolicy {
            kube_reserved: reserved,
            ..PlacementPolicy::default()
        },
        available,
        lifted: &BTreeSet::new(),
        cpusets: &Cpusets::default(),
    })
}

fn observe(fs: &FakeCgroupFs, desired: &DesiredTree) -> ActualTree {
    let controllers = |path: &CgroupPath, file| -> BTreeSet<Controller> {
        let listed = fs.read(path, file).unwrap();
        listed
            .split_whitespace()
            .filter_map(Controller::from_name)
            .collect()
    };
    let cgroups = fs.paths().into_iter().map(|path| {
        let values = desired.files().into_iter();
        let values = values.filter_map(|file| Some((file, fs.read(&path, file).ok()?)));
        let cgroup = ActualCgroup {
            id: fs.id(&path).unwrap(),
            enabled: controllers(&path, ControlFile::SubtreeControl),
            values: values.collect(),
            populated: false,
        };
        (path, cgroup)
    });
    ActualTree {
        cgroups: cgroups.collect(),
        available: controllers(&CgroupPath::ROOT, ControlFile::Controllers),
    }
}

fn apply(fs: &FakeCgroupFs, op: &CgroupOp) {
    match op {
        CgroupOp::Create { path } => {
            assert!(!fs.paths().contains(path), "{path} is there already");
            fs.create(path).unwrap();
        }
        CgroupOp::Enable { path, controllers } => {
            let text: Vec<_> = controllers.iter().map(|c| format!("+{c}")).collect();
            fs.write(path, ControlFile::SubtreeControl, &text.join(" "))
                .unwrap();
        }
        CgroupOp::Write {
            path,
            file,
            value,
            previous,
        } => {
            let before = fs.read(path, *file).unwrap();
            assert!(
                previous.is_none() || previous.as_ref() == Some(&before),
                "{path} {file}"
            );
            assert!(
                !value.accepts(&before),
                "{path} {file}: {value} stands there already"
            );
            fs.write(path, *file, &value.to_string()).unwrap();
        }
        CgroupOp::Remove { path } => {
            for inner in fs.paths().iter().rev().filter(|inner| inner.is_within(path)) {
                fs.remove(inner).unwrap();
            }
        }
    }
}

fn ops(steps: &[Step]) -> Vec<CgroupOp> {
    steps.iter().flat_map(|step| step.ops.clone()).collect()
}

/// Carries out the plan for `desired` and says whether it was needed.
fn converge(fs: &FakeCgroupFs, desired: &DesiredTree) -> bool {
    let steps = plan(desired, &observe(fs, desired));
    ops(&steps).iter().for_each(|op| apply(fs, op));
    !steps.is_empty()
}

fn assert_reached(fs: &FakeCgroupFs, desired: &DesiredTree) {
    for (path, cgroup) in &desired.cgroups {
        for (file, value) in &cgroup.knobs {
            let read = fs.read(path, *file).unwrap();
            assert!(value.accepts(&read), "{path} {file}: wanted {value}, is {read}");
        }
    }
    assert_eq!(plan(desired, &observe(fs, desired)), []);
}

/// No protection above the parent's, no `memory.high` above `memory.max`.
fn assert_sound(fs: &FakeCgroupFs, last: &CgroupOp) {
    let amount = |path: &CgroupPath, file| -> Option<u64> {
        let read = fs.read(path, file).ok()?;
        Some(read.trim().parse().unwrap_or(u64::MAX))
    };
    for path in fs.paths() {
        if let Some(parent) = path.parent() {
            for file in [ControlFile::MemoryMin, ControlFile::MemoryLow] {
                if let Some((own, above)) = amount(&path, file).zip(amount(&parent, file)) {
                    assert!(
                        own <= above,
                        "{path} {file}: {own} over the parent's {above} after {last:?}"
                    );
                }
            }
        }
        if let Some((high, max)) =
            amount(&path, ControlFile::MemoryHigh).zip(amount(&path, ControlFile::MemoryMax))
            && high != u64::MAX
        {
            assert!(
                high <= max,
                "{path}: memory.high {high} over memory.max {max} after {last:?}"
            );
        }
    }
}

fn reserved() -> impl Strategy<Value = Reserved> {
    (0..3_u64, 0..3_u64).prop_map(|(cpu, memory)| Reserved {
        cpu: MilliCpu(cpu * 500),
        memory: Bytes::mib(memory * 700),
        pids: cpu * 100,
    })
}

fn controllers() -> impl Strategy<Value = BTreeSet<Controller>> {
    prop_oneof![
        3 => Just(all_controllers()),
        1 => prop::collection::btree_set(prop::sample::select(&Controller::ALL[..]), 0..6),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn carrying_out_the_plan_reaches_the_tree_soundly(
        before in valid_pods(5), after in valid_pods(5), first in reserved(), then in reserved(), have in controllers(),
    ) {
        let fs = FakeCgroupFs::new(have.clone());
        for desired in [tree(&before, first, &have), tree(&after, then, &have)] {
            for op in ops(&plan(&desired, &observe(&fs, &desired))) {
                apply(&fs, &op);
                assert_sound(&fs, &op);
            }
            assert_reached(&fs, &desired);
            let wanted: BTreeSet<_> = desired.cgroups.keys().cloned().collect();
            prop_assert_eq!(fs.paths(), wanted);
        }
    }

    #[test]
    fn after_a_stop_anywhere_the_next_plan_reaches_the_tree(
        before in valid_pods(4), after in valid_pods(4), stop in 0.0..1.0_f64,
    ) {
        let have = all_controllers();
        let fs = FakeCgroupFs::new(have.clone());
        converge(&fs, &tree(&before, Reserved::default(), &have));
        let desired = tree(&after, Reserved::default(), &have);
        let planned = ops(&plan(&desired, &observe(&fs, &desired)));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a position")]
        let done = (planned.len() as f64 * stop) as usize;
        planned.iter().take(done).for_each(|op| apply(&fs, op));
        converge(&fs, &desired);
        assert_reached(&fs, &desired);
    }

    #[test]
    fn every_operation_of_a_pod_is_in_one_step(before in valid_pods(4), after in valid_pods(4)) {
        let have = all_controllers();
        let fs = FakeCgroupFs::new(have.clone());
        converge(&fs, &tree(&before, Reserved::default(), &have));
        let desired = tree(&after, Reserved::default(), &have);
        let mut seen = BTreeSet::new();
        for step in plan(&desired, &observe(&fs, &desired)) {
            let paths: BTreeSet<_> = step.ops.iter().map(|op| match op {
                CgroupOp::Create { path } | CgroupOp::Enable { path, .. } | CgroupOp::Write { path, .. }
                | CgroupOp::Remove { path } => path.clone(),
            }).collect();
            match step.scope {
                Scope::Pod(pod) => {
                    prop_assert!(paths.iter().all(|path| path.is_within(&pod)));
                    prop_assert!(seen.insert(pod), "two steps");
                }
                Scope::Tree => for path in paths {
                    let of_pod = matches!(desired.layout.place(&path), Some(Place::Pod(..) | Place::Container(..)));
                    prop_assert!(!of_pod, "{path}");
                },
            }
        }
    }
}

fn reached(pods: &[Pod]) -> (FakeCgroupFs, DesiredTree) {
    let have = all_controllers();
    let fs = FakeCgroupFs::new(have.clone());
    let desired = tree(pods, Reserved::default(), &have);
    assert!(converge(&fs, &desired));
    (fs, desired)
}

fn path(text: &str) -> CgroupPath {
    CgroupPath::parse(text).unwrap()
}

#[test]
fn only_the_drifted_file_is_written() {
    let (fs, desired) = reached(&[simple("a", "cpu=1 memory=1Gi", "memory=2Gi")]);
    let pod = path("burstable/poduid-a");
    fs.write(&pod, ControlFile::CpuWeight, "77").unwrap();
    let steps = plan(&desired, &observe(&fs, &desired));
    let [Step { scope, ops }] = &steps[..] else {
        panic!("{steps:?}")
    };
    assert_eq!(*scope, Scope::Pod(pod.clone()));
    let [
        CgroupOp::Write {
            path,
            file: ControlFile::CpuWeight,
            previous,
            ..
        },
    ] = &ops[..]
    else {
        panic!("{ops:?}")
    };
    assert_eq!((path, previous.as_deref()), (&pod, Some("77\n")));
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let (fs, desired) = reached(&[simple("a", "cpu=1", "")]);
    for foreign in ["foreign", "burstable/x", "burstable/poduid-a/main/inner"] {
        fs.create(&path(foreign)).unwrap();
    }
    assert_eq!(plan(&desired, &observe(&fs, &desired)), []);
}

#[test]
fn a_container_that_is_no_longer_wanted_goes_with_its_pods_step() {
    let (fs, desired) = reached(&[simple("a", "cpu=1", "")]);
    let extra = path("burstable/poduid-a/debug");
    fs.create(&extra).unwrap();
    let step = Step {
        scope: Scope::Pod(path("burstable/poduid-a")),
        ops: vec![CgroupOp::Remove { path: extra }],
    };
    assert_eq!(plan(&desired, &observe(&fs, &desired)), [step]);
}

#[test]
fn a_file_that_the_kernel_does_not_have_is_not_written() {
    let (fs, desired) = reached(&[simple("a", "cpu=1", "")]);
    let mut actual = observe(&fs, &desired);
    for cgroup in actual.cgroups.values_mut() {
        cgroup.values = BTreeMap::new();
    }
    assert_eq!(plan(&desired, &actual), []);
}
