//! Partitions made and unmade on the fake, as each kernel has it.

use super::*;
use crate::kernel::cgroup_fs::{FakeCgroupFs, FakeKernel, FakeOp, Stubbornness};
use crate::model::{Controller, CpuId};

fn path(text: &str) -> CgroupPath {
    CgroupPath::parse(text).unwrap()
}

fn cpus(list: &str) -> CpuSet {
    CpuSet::parse(list).unwrap()
}

/// `p/c` and `p/d` in one pod, `q/e` in another, on 8 CPUs.
fn pods(kernel: FakeKernel) -> FakeCgroupFs {
    let fs = FakeCgroupFs::new([Controller::Cpuset]).on_kernel(kernel);
    for at in ["", "p", "q"] {
        fs.create(&path(at)).ok();
        fs.write(&path(at), ControlFile::SubtreeControl, "+cpuset")
            .unwrap();
    }
    for at in ["p/c", "p/d", "q/e"] {
        fs.create(&path(at)).unwrap();
    }
    fs
}

fn bind(fs: &FakeCgroupFs, at: &str, list: &str) {
    fs.write(&path(at), ControlFile::CpusetCpus, list).unwrap();
}

fn read(fs: &FakeCgroupFs, at: &str, file: ControlFile) -> String {
    fs.read(&path(at), file).unwrap().trim_end().to_owned()
}

fn effective_of(fs: &FakeCgroupFs, at: &str) -> String {
    read(fs, at, ControlFile::CpusetCpusEffective)
}

fn exclusives(fs: &FakeCgroupFs) -> [String; 3] {
    ["", "p", "p/c"].map(|at| read(fs, at, ControlFile::CpusetCpusExclusive))
}

fn reason(outcome: PartitionOutcome) -> String {
    match outcome {
        PartitionOutcome::Made(kind) => panic!("made {kind}"),
        PartitionOutcome::Refused { reason, left_over } => {
            assert!(left_over.is_empty(), "{left_over:?}");
            reason.to_string()
        }
    }
}

fn is_made(outcome: &PartitionOutcome) -> bool {
    matches!(outcome, PartitionOutcome::Made(_))
}

#[test]
fn its_cpus_leave_everybody_else_and_come_back() {
    for kernel in [FakeKernel::Linux6_12, FakeKernel::Linux7_2] {
        let fs = pods(kernel);
        bind(&fs, "p/c", "2-3");
        bind(&fs, "p/d", "4-5");
        bind(&fs, "q/e", "3-4");
        assert!(is_made(&make(
            &fs,
            &path("p/c"),
            PartitionKind::Isolated,
            &cpus("2-3")
        )));
        assert!(is_made(&make(
            &fs,
            &path("p/d"),
            PartitionKind::Root,
            &cpus("4-5")
        )));
        assert_eq!(exclusives(&fs), ["2-5", "2-5", "2-3"]);
        let has = ["", "p/c", "p/d", "q/e"].map(|at| effective_of(&fs, at));
        assert_eq!(has, ["0-1,6-7", "2-3", "4-5", "0-1,6-7"]);
        let unmade = unmake(&fs, &path("p/c"), &cpus("2-3"));
        assert!(
            unmade.missing.is_empty() && unmade.failed.is_empty(),
            "{unmade:?}"
        );
        assert_eq!(exclusives(&fs), ["4-5", "4-5", ""]);
        assert_eq!(read(&fs, "p/c", ControlFile::CpusetPartition), "member");
        assert_eq!(read(&fs, "p/d", ControlFile::CpusetPartition), "root");
        assert_eq!(effective_of(&fs, "q/e"), "3");
    }
}

#[test]
fn an_old_kernel_refuses_with_its_reason_and_nothing_is_left() {
    let fs = pods(FakeKernel::Linux6_1);
    bind(&fs, "p/c", "2-3");
    let refused = reason(make(&fs, &path("p/c"), PartitionKind::Root, &cpus("2-3")));
    assert_eq!(
        refused,
        "the kernel refuses a partition: Parent is not a partition root"
    );
    assert_eq!(read(&fs, "p/c", ControlFile::CpusetPartition), "member");
    assert_eq!(effective_of(&fs, "p/c"), "2-3");
    let unmade = unmake(&fs, &path("p/c"), &cpus("2-3"));
    assert!(
        unmade.missing.is_empty() && unmade.failed.is_empty(),
        "{unmade:?}"
    );
}

#[test]
fn refusals_name_what_stands_in_the_way() {
    let kind = PartitionKind::Isolated;
    let fs = pods(FakeKernel::Linux6_12);
    bind(&fs, "p/c", "2-3");
    bind(&fs, "p/d", "3-4");
    let sibling = reason(make(&fs, &path("p/c"), kind, &cpus("2-3")));
    assert!(
        sibling.ends_with("Cpu list in cpuset.cpus not exclusive"),
        "{sibling}"
    );
    bind(&fs, "p/d", "3");
    let inside = reason(make(&fs, &path("p/c"), kind, &cpus("2-3")));
    assert!(
        inside.contains("\"2-3\" to cpuset.cpus.exclusive of p/c"),
        "{inside}"
    );
    bind(&fs, "p/d", "");
    let all = reason(make(&fs, &path("p/c"), kind, &cpus("0-7")));
    assert!(
        all.ends_with("Invalid cpu list in cpuset.cpus.exclusive"),
        "{all}"
    );
    fs.set_online(CpuId::new(3).unwrap(), false);
    let offline = reason(make(&fs, &path("p/c"), kind, &cpus("2-3")));
    assert_eq!(offline, "the partition has CPUs 2 in place of 2-3");
    let gone = reason(make(&fs, &path("p/none"), kind, &cpus("2-3")));
    assert!(gone.contains("read cpuset.cpus.partition of p/none"), "{gone}");
    assert_eq!(exclusives(&fs), ["", "", ""]);
    assert_eq!(read(&fs, "p/c", ControlFile::CpusetPartition), "member");
}

#[test]
fn what_is_made_is_not_written_again() {
    let fs = pods(FakeKernel::default());
    bind(&fs, "p/c", "2-3");
    let at = path("p/c");
    assert!(is_made(&make(&fs, &at, PartitionKind::Root, &cpus("2-3"))));
    let writes = fs.journal().len();
    assert!(is_made(&make(&fs, &at, PartitionKind::Root, &cpus("2-3"))));
    assert_eq!(fs.journal().len(), writes);
    assert!(is_made(&make(&fs, &at, PartitionKind::Isolated, &cpus("2-3"))));
    let switch = FakeOp::Write(at.clone(), ControlFile::CpusetPartition, "isolated".to_owned());
    assert_eq!(
        fs.journal()[writes..],
        [switch],
        "a change of kind frees no CPU in between"
    );
}

#[test]
fn other_cpus_are_given_while_it_is_a_member() {
    let fs = pods(FakeKernel::default());
    let at = path("p/c");
    for list in ["2-3", "2-5", "5", "0-1"] {
        unmake(
            &fs,
            &at,
            &cpus(&read(&fs, "p/c", ControlFile::CpusetCpusExclusive)),
        );
        bind(&fs, "p/c", list);
        assert!(is_made(&make(&fs, &at, PartitionKind::Root, &cpus(list))));
        assert_eq!(effective_of(&fs, "p/c"), list);
        assert_eq!(exclusives(&fs), [list, list, list]);
    }
}

#[test]
fn a_partition_that_ended_is_made_again() {
    let fs = pods(FakeKernel::default());
    let at = path("p/c");
    bind(&fs, "p/c", "2");
    assert!(is_made(&make(&fs, &at, PartitionKind::Root, &cpus("2"))));
    fs.spawn(&at, Stubbornness::Dies).unwrap();
    let cpu = CpuId::new(2).unwrap();
    fs.set_online(cpu, false);
    let offline = reason(make(&fs, &at, PartitionKind::Root, &cpus("2")));
    assert!(
        offline.ends_with("Invalid cpu list in cpuset.cpus.exclusive"),
        "{offline}"
    );
    fs.set_online(cpu, true);
    assert!(is_made(&make(&fs, &at, PartitionKind::Root, &cpus("2"))));
}

#[test]
fn cpus_of_a_removed_container_are_kept_no_longer() {
    let fs = pods(FakeKernel::default());
    bind(&fs, "p/c", "2-3");
    assert!(is_made(&make(
        &fs,
        &path("p/c"),
        PartitionKind::Root,
        &cpus("2-3")
    )));
    fs.remove(&path("p/c")).unwrap();
    let unmade = unmake(&fs, &path("p/c"), &cpus("2-3"));
    assert!(
        unmade.missing.is_empty() && unmade.failed.is_empty(),
        "{unmade:?}"
    );
    let kept = ["", "p"].map(|at| read(&fs, at, ControlFile::CpusetCpusExclusive));
    assert_eq!(kept, ["", ""]);
}

/// A fault of kernels before 7.0, as the fake has it from 6.12.
#[test]
fn cpus_that_the_kernel_lost_are_told() {
    let fs = pods(FakeKernel::Linux6_12);
    bind(&fs, "p/c", "2-3");
    assert!(is_made(&make(
        &fs,
        &path("p/c"),
        PartitionKind::Root,
        &cpus("2-3")
    )));
    bind(&fs, "p/d", "3-4");
    let unmade = unmake(&fs, &path("p/c"), &cpus("2-3"));
    assert_eq!(unmade.missing, cpus("2-3"));
    assert!(unmade.failed.is_empty(), "{:?}", unmade.failed);
}
