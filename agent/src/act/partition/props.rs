//! Partitions of random containers, refused and killed at every step.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::kernel::cgroup_fs::{FakeCgroupFs, FakeKernel};
use crate::model::{Controller, CpuId};

/// A container by its place, and the CPUs that it has to itself.
type Given = BTreeMap<CgroupPath, CpuSet>;

/// Up to three pods with up to three containers, each with some of CPUs 1 to 15.
fn given() -> impl Strategy<Value = Given> {
    prop::collection::vec(prop::option::of(0_usize..9), 15).prop_map(|owners| {
        let mut given = Given::new();
        for (cpu, owner) in (1..).zip(owners) {
            if let Some(owner) = owner {
                let at = CgroupPath::parse(&format!("p{}/c{}", owner / 3, owner % 3)).unwrap();
                given.entry(at).or_default().extend(CpuId::new(cpu));
            }
        }
        given
    })
}

fn kernel() -> impl Strategy<Value = FakeKernel> {
    prop::sample::select(FakeKernel::ALL.to_vec())
}

fn kind() -> impl Strategy<Value = PartitionKind> {
    prop::sample::select(vec![PartitionKind::Root, PartitionKind::Isolated])
}

/// The containers' cgroups, bound to their CPUs.
fn bound(given: &Given, kernel: FakeKernel) -> FakeCgroupFs {
    let cpus = (0..16).filter_map(CpuId::new).collect();
    let fs = FakeCgroupFs::new([Controller::Cpuset])
        .on_kernel(kernel)
        .on_machine(cpus, [0]);
    let enable = |at: &CgroupPath| fs.write(at, ControlFile::SubtreeControl, "+cpuset").unwrap();
    enable(&CgroupPath::ROOT);
    for (at, cpus) in given {
        let pod = at.parent().unwrap();
        fs.create(&pod).unwrap();
        enable(&pod);
        fs.create(at).unwrap();
        fs.write(at, ControlFile::CpusetCpus, &cpus.to_string()).unwrap();
    }
    fs
}

/// All that the files of all cgroups read.
fn files(fs: &FakeCgroupFs) -> Vec<(CgroupPath, Vec<Option<String>>)> {
    let looked_at = [
        ControlFile::CpusetCpus,
        ControlFile::CpusetCpusEffective,
        ControlFile::CpusetCpusExclusive,
        ControlFile::CpusetPartition,
    ];
    let read = |at: CgroupPath| {
        let values = looked_at.map(|file| fs.read(&at, file).ok());
        (at, values.to_vec())
    };
    fs.paths().into_iter().map(read).collect()
}

fn made(fs: &FakeCgroupFs, at: &CgroupPath, kind: PartitionKind, cpus: &CpuSet) -> bool {
    match make(fs, at, kind, cpus) {
        PartitionOutcome::Made(_) => true,
        PartitionOutcome::Refused { left_over, .. } => {
            assert!(left_over.is_empty(), "{left_over:?}");
            false
        }
    }
}

fn has(fs: &FakeCgroupFs, at: &CgroupPath) -> CpuSet {
    effective(fs, at).unwrap()
}

proptest! {
    #[test]
    fn partitions_are_of_their_containers_alone_and_leave_no_trace(
        given in given(),
        kernel in kernel(),
        kind in kind(),
        order in any::<prop::sample::Index>(),
    ) {
        let fs = bound(&given, kernel);
        let before = files(&fs);
        for (at, cpus) in &given {
            prop_assert_eq!(made(&fs, at, kind, cpus), kernel != FakeKernel::Linux6_1);
        }
        let shared = has(&fs, &CgroupPath::ROOT);
        for (at, cpus) in &given {
            prop_assert_eq!(&has(&fs, at), cpus);
            prop_assert!(kernel == FakeKernel::Linux6_1 || shared.is_disjoint(cpus));
        }
        let mut leaving: Vec<_> = given.iter().collect();
        while !leaving.is_empty() {
            let (at, cpus) = leaving.remove(order.index(leaving.len()));
            let unmade = unmake(&fs, at, cpus);
            prop_assert!(unmade.missing.is_empty() && unmade.failed.is_empty(), "{unmade:?}");
            for (at, cpus) in &leaving {
                prop_assert_eq!(&has(&fs, at), *cpus, "still its own");
                prop_assert!(kernel == FakeKernel::Linux6_1 || has(&fs, &CgroupPath::ROOT).is_disjoint(cpus));
            }
        }
        prop_assert_eq!(files(&fs), before);
    }

    #[test]
    fn a_refused_write_anywhere_changes_nothing(
        given in given(),
        kernel in kernel(),
        kind in kind(),
        nth in 0_usize..5,
    ) {
        let fs = bound(&given, kernel);
        // Where the kernel refuses anyhow, all writes after the first one restore.
        let nth = if kernel == FakeKernel::Linux6_1 { 0 } else { nth };
        for (at, cpus) in &given {
            let before = files(&fs);
            fs.fail_at(nth, libc::EINVAL);
            let made = made(&fs, at, kind, cpus);
            fs.restart();
            if !made {
                prop_assert_eq!(files(&fs), before);
            }
        }
    }

    #[test]
    fn killed_anywhere_it_is_made_or_unmade_the_next_time(
        given in given(),
        kind in kind(),
        nth in 0_usize..5,
        while_unmaking: bool,
        unmake_then: bool,
    ) {
        let fs = bound(&given, FakeKernel::default());
        let before = files(&fs);
        for (at, cpus) in &given {
            if while_unmaking {
                prop_assert!(made(&fs, at, kind, cpus));
                fs.crash_at(nth);
                unmake(&fs, at, cpus);
            } else {
                fs.crash_at(nth);
                make(&fs, at, kind, cpus);
            }
            fs.restart();
            if unmake_then {
                let unmade = unmake(&fs, at, cpus);
                prop_assert!(unmade.missing.is_empty() && unmade.failed.is_empty(), "{unmade:?}");
                prop_assert_eq!(&files(&fs), &before);
            } else {
                prop_assert!(made(&fs, at, kind, cpus));
                prop_assert_eq!(&has(&fs, at), cpus);
            }
        }
    }
}
