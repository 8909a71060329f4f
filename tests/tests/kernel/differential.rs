//! cgroups-rs against our own writes: same calls, same kernel, same answers.

use std::collections::BTreeSet;

use plimsoll::kernel::cgroup_fs::{CgroupError, CgroupFs, CgroupsRsFs, Fault, RealCgroupFs, find_mount};
use plimsoll::model::{CgroupPath, ControlFile};

use crate::support::{TestRoot, path, until};

/// A refusal as far as it does not name the tree it happened in.
type Refusal = (Fault, Option<i32>);

fn refusal(error: &CgroupError) -> Refusal {
    (error.fault, error.errno())
}

/// Writes and reads back.
fn write(fs: &dyn CgroupFs, at: &str, file: ControlFile, value: &str) -> Result<String, Refusal> {
    let read = fs
        .write(&path(at), file, value)
        .and_then(|()| fs.read(&path(at), file));
    read.map_err(|error| refusal(&error))
}

/// The same tree twice, and cgroups-rs in the second.
fn two_roots() -> (TestRoot, TestRoot, CgroupsRsFs) {
    let (ours, theirs) = (TestRoot::new(), TestRoot::new());
    let by_crate = CgroupsRsFs::open(&theirs.root.directory).unwrap();
    (ours, theirs, by_crate)
}

#[test]
#[ignore = "needs cgroup v2 controllers: cargo xtask vm"]
fn every_written_value_ends_the_same() {
    const FILES: [ControlFile; 13] = [
        ControlFile::CpuWeight,
        ControlFile::CpuMax,
        ControlFile::MemoryMin,
        ControlFile::MemoryLow,
        ControlFile::MemoryHigh,
        ControlFile::MemoryMax,
        ControlFile::MemorySwapMax,
        ControlFile::MemoryOomGroup,
        ControlFile::PidsMax,
        ControlFile::CpusetCpus,
        ControlFile::CpusetMems,
        ControlFile::CpusetPartition,
        ControlFile::MemoryCurrent,
    ];
    const VALUES: [&str; 20] = [
        "0",
        "1",
        "100",
        "4095",
        "4097",
        "10000",
        "10001",
        "4194304",
        "4194305",
        "100000001",
        "9223372036854775807",
        "18446744073709551615",
        "99999999999999999999999",
        "max",
        "-1",
        "x",
        "64M",
        "50000 200000",
        "0-1,1",
        "member",
    ];
    let (ours, _theirs, by_crate) = two_roots();
    let mut kept = BTreeSet::new();
    let mut refused = BTreeSet::new();
    for (fs, _) in [(ours.fs() as &dyn CgroupFs, 0), (&by_crate, 1)] {
        let enabled = write(fs, "", ControlFile::SubtreeControl, "+cpu +cpuset +memory +pids");
        enabled.unwrap();
        fs.create(&path("a")).unwrap();
        fs.create(&path("a/bare")).unwrap();
    }
    for at in ["a", "a/bare", "none"] {
        for file in FILES {
            for value in VALUES {
                let own = write(ours.fs(), at, file, value);
                let other = write(&by_crate, at, file, value);
                assert_eq!(own, other, "{value:?} to {file} of {at}");
                if own.is_ok() {
                    kept.insert(file);
                } else {
                    refused.insert(file);
                }
            }
        }
    }
    assert_eq!((kept.len(), refused.len()), (FILES.len() - 1, FILES.len()));
}

#[test]
#[ignore = "needs cgroup v2 controllers: cargo xtask vm"]
fn making_removing_joining_and_killing_end_the_same() {
    let (ours, theirs, by_crate) = two_roots();
    for (root, fs) in [(&ours, ours.fs() as &dyn CgroupFs), (&theirs, &by_crate)] {
        let id = fs.create(&path("a")).unwrap();
        assert_eq!(
            (fs.create(&path("a")).unwrap(), fs.id(&path("a")).unwrap()),
            (id, id)
        );
        let pid = root.shell("exec sleep 1000");
        assert_eq!(
            write(fs, "a", ControlFile::Procs, &pid.to_string()),
            Ok(format!("{pid}\n"))
        );
        assert_eq!(refusal(&fs.remove(&path("a")).unwrap_err()).0, Fault::Busy);
        fs.kill(&path("a")).unwrap();
        root.settle(&path("a"));
        fs.remove(&path("a")).unwrap();
        fs.remove(&path("a")).unwrap();
    }
    type Call = fn(&dyn CgroupFs) -> Result<(), CgroupError>;
    let refused: [Call; 6] = [
        |fs| fs.create(&path("none/b")).map(|_| ()),
        |fs| fs.create(&path(&"x".repeat(255)).child("y").unwrap()).map(|_| ()),
        |fs| fs.create(&CgroupPath::ROOT).map(|_| ()),
        |fs| fs.remove(&CgroupPath::ROOT),
        |fs| fs.kill(&path("none")),
        |fs| fs.write(&path("none"), ControlFile::Procs, "1"),
    ];
    for (n, call) in refused.iter().enumerate() {
        let own = refusal(&call(ours.fs()).unwrap_err());
        assert_eq!(own, refusal(&call(&by_crate).unwrap_err()), "call {n}");
    }
}

/// What cgroups-rs does by itself: enable every controller in every ancestor.
#[test]
#[ignore = "needs cgroup v2 controllers: cargo xtask vm"]
fn making_a_cgroup_enables_nothing_anywhere() {
    let root = TestRoot::new();
    let by_crate = CgroupsRsFs::open(&root.root.directory).unwrap();
    let whole = RealCgroupFs::open(&find_mount().unwrap()).unwrap();
    let enabled = |fs: &RealCgroupFs, at: &CgroupPath| fs.read(at, ControlFile::SubtreeControl).unwrap();
    let before = enabled(&whole, &CgroupPath::ROOT);
    for name in ["a", "a/b", "a/b/c"] {
        by_crate.create(&path(name)).unwrap();
    }
    assert_eq!(enabled(&whole, &CgroupPath::ROOT), before);
    for at in ["", "a", "a/b"] {
        assert_eq!(enabled(root.fs(), &path(at)), "", "{at:?}");
    }
}

/// Both stay in the directory they opened, even when another takes its name.
#[test]
#[ignore = "needs cgroup v2 controllers: cargo xtask vm"]
fn a_root_that_was_removed_is_gone_for_both() {
    let outer = TestRoot::new();
    outer.fs().create(&path("root")).unwrap();
    let directory = outer.root.directory.join("root");
    let ours = RealCgroupFs::open(&directory).unwrap();
    let by_crate = CgroupsRsFs::open(&directory).unwrap();
    outer.fs().remove(&path("root")).unwrap();
    outer.fs().create(&path("root")).unwrap();
    for fs in [&ours as &dyn CgroupFs, &by_crate] {
        assert_eq!(fs.create(&path("a")).unwrap_err().fault, Fault::Gone);
        assert_eq!(write(fs, "", ControlFile::Procs, "1").unwrap_err().0, Fault::Gone);
    }
    until("the new one is empty", || {
        outer.fs().children(&path("root")).unwrap().is_empty()
    });
}
