//! Plans carried out on the fake, with every operation failing in turn.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::kernel::cgroup_fs::{FakeCgroupFs, FakeOp, Stubbornness};
use crate::model::{Bytes, CpuWeight, KnobValue, Limit};

const NOW: BootTime = BootTime(Duration::from_secs(100));

fn path(text: &str) -> CgroupPath {
    CgroupPath::parse(text).unwrap()
}

fn create(at: &str) -> CgroupOp {
    CgroupOp::Create { path: path(at) }
}

fn enable(at: &str, controllers: &[Controller]) -> CgroupOp {
    CgroupOp::Enable {
        path: path(at),
        controllers: controllers.iter().copied().collect(),
    }
}

fn weight(at: &str, weight: u64, previous: Option<&str>) -> CgroupOp {
    CgroupOp::Write {
        path: path(at),
        file: ControlFile::CpuWeight,
        value: KnobValue::Weight(CpuWeight(weight)),
        previous: previous.map(str::to_owned),
    }
}

fn memory_max(at: &str, bytes: u64, previous: Option<&str>) -> CgroupOp {
    CgroupOp::Write {
        path: path(at),
        file: ControlFile::MemoryMax,
        value: KnobValue::Memory(Limit::At(Bytes(bytes))),
        previous: previous.map(str::to_owned),
    }
}

const BOTH: [Controller; 2] = [Controller::Cpu, Controller::Memory];

fn new_pod(at: &str) -> Step {
    let container = format!("{at}/c");
    Step {
        scope: Scope::Pod(path(at)),
        ops: vec![
            create(at),
            weight(at, 7, None),
            memory_max(at, 100_001, None),
            enable(at, &BOTH),
            create(&container),
            weight(&container, 3, None),
            memory_max(&container, 50_000, None),
        ],
    }
}

fn node() -> FakeCgroupFs {
    let fs = FakeCgroupFs::new(BOTH);
    fs.write(&CgroupPath::ROOT, ControlFile::SubtreeControl, "+cpu +memory")
        .unwrap();
    fs
}

fn run(fs: &FakeCgroupFs, steps: &[Step]) -> ApplyReport {
    apply(fs, steps, usize::MAX, &mut Removals::default(), NOW)
}

/// All cgroups with all values.
fn picture(fs: &FakeCgroupFs) -> BTreeMap<(CgroupPath, ControlFile), String> {
    let mut picture = BTreeMap::new();
    for path in fs.paths() {
        for file in [
            ControlFile::SubtreeControl,
            ControlFile::CpuWeight,
            ControlFile::MemoryMax,
        ] {
            let text = fs.read(&path, file).unwrap_or_default();
            picture.insert((path.clone(), file), text);
        }
    }
    picture
}

#[test]
fn a_pod_is_placed_with_every_value_read_back() {
    let fs = node();
    let report = run(&fs, &[new_pod("pod1")]);
    assert_eq!(report.done, [Scope::Pod(path("pod1"))]);
    assert!(report.failed.is_empty() && report.overtaken.is_empty());
    assert_eq!((report.writes, report.made), (4, 2));
    assert_eq!(fs.read(&path("pod1"), ControlFile::MemoryMax).unwrap(), "98304\n");
    assert_eq!(fs.read(&path("pod1/c"), ControlFile::CpuWeight).unwrap(), "3\n");
}

#[test]
fn whichever_operation_fails_the_pod_is_not_there_and_its_neighbour_is() {
    for nth in 0..new_pod("pod1").ops.len() {
        let fs = node();
        let before = picture(&fs);
        fs.fail_at(nth, libc::ENOSPC);
        let report = run(&fs, &[new_pod("pod1")]);
        assert_eq!(report.failed.len(), 1, "operation {nth}");
        let failed = &report.failed[0];
        assert_eq!(failed.op, new_pod("pod1").ops[nth]);
        assert_eq!(failed.error.errno(), Some(libc::ENOSPC));
        assert!(failed.left_over.is_empty(), "{:?}", failed.left_over);
        assert_eq!(picture(&fs), before, "operation {nth}");

        fs.fail_at(nth, libc::ENOSPC);
        let report = run(&fs, &[new_pod("pod1"), new_pod("pod2")]);
        assert_eq!(report.done, [Scope::Pod(path("pod2"))]);
        assert!(fs.paths().contains(&path("pod2/c")));
    }
}

#[test]
fn a_change_of_a_running_pod_is_taken_back_as_a_whole() {
    let fs = node();
    run(&fs, &[new_pod("pod1")]);
    fs.spawn(&path("pod1/c"), Stubbornness::Dies).unwrap();
    let before = picture(&fs);
    let change = Step {
        scope: Scope::Pod(path("pod1")),
        ops: vec![
            weight("pod1", 70, Some("7\n")),
            memory_max("pod1", 200_704, Some("98304")),
            weight("pod1/c", 30, Some("3")),
        ],
    };
    for nth in 0..change.ops.len() {
        fs.fail_at(nth, libc::EIO);
        let report = run(&fs, std::slice::from_ref(&change));
        assert_eq!((report.failed.len(), report.writes), (1, 0));
        assert_eq!(picture(&fs), before, "operation {nth}");
    }
    assert_eq!(run(&fs, &[change]).writes, 3);
    assert_ne!(picture(&fs), before);
}

#[test]
fn what_cannot_be_taken_back_is_told() {
    let fs = node();
    fs.fail_at(5, libc::EIO);
    fs.fail_at(6, libc::EPERM);
    let report = run(&fs, &[new_pod("pod1")]);
    let [failed] = &report.failed[..] else {
        panic!("{report:?}");
    };
    let said: Vec<_> = failed.left_over.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2, "the container, and so the pod: {said:?}");
    assert!(
        said[0].starts_with("cannot remove the cgroup pod1/c: "),
        "{said:?}"
    );
}

#[test]
fn a_value_that_the_kernel_does_not_keep_is_a_failure() {
    let fs = node();
    run(&fs, &[new_pod("pod1")]);
    // The plan believes that the kernel keeps 10 001 bytes; as a count of tasks it would, as memory it does not.
    let step = Step {
        scope: Scope::Tree,
        ops: vec![CgroupOp::Write {
            path: path("pod1"),
            file: ControlFile::MemoryMax,
            value: KnobValue::Count(Limit::At(10_001)),
            previous: Some("98304".to_owned()),
        }],
    };
    let report = run(&fs, &[step]);
    assert!(matches!(&report.failed[0].error, ApplyError::NotKept { read, .. } if read == "8192"));
    assert_eq!(
        fs.read(&path("pod1"), ControlFile::MemoryMax).unwrap(),
        "98304\n",
        "the value that stood there is back"
    );
}

#[test]
fn a_cgroup_that_vanished_is_no_failure() {
    let fs = node();
    run(&fs, &[new_pod("pod1")]);
    fs.vanish(&path("pod1/c"));
    let step = Step {
        scope: Scope::Pod(path("pod1")),
        ops: vec![weight("pod1", 70, Some("7")), weight("pod1/c", 30, Some("3"))],
    };
    let report = run(&fs, &[step]);
    assert!(report.failed.is_empty());
    assert_eq!(report.overtaken.len(), 1);
    assert_eq!(fs.read(&path("pod1"), ControlFile::CpuWeight).unwrap(), "7\n");
}

#[test]
fn nothing_is_put_where_something_is_still_being_removed() {
    let fs = node();
    run(&fs, &[new_pod("pod1")]);
    let held = fs.spawn(&path("pod1/c"), Stubbornness::Stays).unwrap();
    let mut removals = Removals::default();
    let remove = Step {
        scope: Scope::Pod(path("pod1")),
        ops: vec![CgroupOp::Remove { path: path("pod1") }],
    };
    apply(&fs, &[remove], usize::MAX, &mut removals, NOW);
    let report = apply(&fs, &[new_pod("pod1")], usize::MAX, &mut removals, NOW);
    assert!(matches!(
        report.overtaken[0].error,
        ApplyError::BeingRemoved { .. }
    ));
    fs.release(held);
    removals.poll(&fs, NOW, Duration::ZERO);
    let report = apply(&fs, &[new_pod("pod1")], usize::MAX, &mut removals, NOW);
    assert_eq!(report.done.len(), 1);
}

#[test]
fn nothing_is_enabled_twice() {
    let fs = node();
    run(&fs, &[new_pod("pod1")]);
    let before = fs.journal().len();
    let step = Step {
        scope: Scope::Tree,
        ops: vec![enable("pod1", &BOTH)],
    };
    assert_eq!(run(&fs, &[step]).done, [Scope::Tree]);
    assert_eq!(fs.journal()[before..], [] as [FakeOp; 0]);
}
