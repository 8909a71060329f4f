//! Cpusets and partitions: the agent's on the kernel, and random ones on the kernel and the fake alike.

use plimsoll::act::partition::{PartitionOutcome, make, unmake};
use plimsoll::kernel::cgroup_fs::{CgroupFs, FakeCgroupFs, FakeKernel};
use plimsoll::model::{CgroupPath, ControlFile, Controller, CpuId, CpuSet, PartitionKind};
use proptest::prelude::*;

use crate::support::{TestRoot, kernel_version, path};

/// A root that has CPUs 0 to 3, with cpusets in all of `names`.
fn grow(fs: &dyn CgroupFs, names: &[&str]) {
    let enable = |at: &CgroupPath| {
        fs.write(at, ControlFile::SubtreeControl, "+cpuset").unwrap();
    };
    enable(&CgroupPath::ROOT);
    fs.write(&CgroupPath::ROOT, ControlFile::CpusetCpus, "0-3")
        .unwrap();
    for name in names {
        let at = path(name);
        fs.create(&at).unwrap();
        if at.components().len() == 1 {
            enable(&at);
        }
    }
}

fn read(fs: &dyn CgroupFs, at: &str, file: ControlFile) -> String {
    fs.read(&path(at), file).unwrap().trim_end().to_owned()
}

/// Where the kernel lets a process run.
fn allowed(pid: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.unwrap().trim().to_owned()
}

#[test]
#[ignore = "needs cgroup v2 controllers: cargo xtask vm"]
fn a_partition_drives_everybody_off_its_cpus_or_is_refused_with_the_kernels_reason() {
    for kind in [PartitionKind::Root, PartitionKind::Isolated] {
        let root = TestRoot::new();
        let fs = root.fs();
        grow(fs, &["p", "p/c", "p/d", "q", "q/e"]);
        let (container, cpus) = (path("p/c"), CpuSet::parse("2-3").unwrap());
        fs.write(&container, ControlFile::CpusetCpus, "2-3").unwrap();
        let own = root.shell_in(&container, "exec sleep 1000").unwrap();
        let other = root.shell_in(&path("q/e"), "exec sleep 1000").unwrap();
        let outside = root.shell("exec sleep 1000");
        let everywhere = allowed(outside);
        let partition = || read(fs, "p/c", ControlFile::CpusetPartition);
        match make(fs, &container, kind, &cpus) {
            PartitionOutcome::Refused { reason, left_over } => {
                assert!(kernel_version() < (6, 7), "{reason}");
                assert_eq!(
                    reason.to_string(),
                    "the kernel refuses a partition: Parent is not a partition root"
                );
                assert!(left_over.is_empty(), "{left_over:?}");
            }
            PartitionOutcome::Made(made) => {
                assert!(kernel_version() >= (6, 7));
                assert_eq!((made, partition()), (kind, kind.to_string()));
                assert_eq!([own, other].map(allowed), ["2-3", "0-1"]);
                let left = CpuSet::parse(&allowed(outside)).unwrap();
                assert!(left.is_disjoint(&cpus), "{left}");
                let unmade = unmake(fs, &container, &cpus);
                assert!(
                    unmade.missing.is_empty() && unmade.failed.is_empty(),
                    "{unmade:?}"
                );
                for at in ["", "p", "p/c"] {
                    assert_eq!(read(fs, at, ControlFile::CpusetCpusExclusive), "");
                }
            }
        }
        assert_eq!(partition(), "member");
        assert_eq!([own, other].map(allowed), ["2-3", "0-3"]);
        assert_eq!(allowed(outside), everywhere);
    }
}

/// A write of a random value.
#[derive(Debug, Clone)]
struct Write {
    at: &'static str,
    file: ControlFile,
    value: String,
}

const PLACES: [&str; 6] = ["a", "a/x", "a/y", "a/z", "b", "b/x"];

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let list = prop::sample::subsequence(vec!["0", "1", "2", "3"], 0..=3).prop_map(|cpus| cpus.join(","));
    let word = prop::sample::select(vec!["member", "root", "isolated"]).prop_map(str::to_owned);
    let node = prop::sample::select(vec!["", "0"]).prop_map(str::to_owned);
    let value = prop_oneof![
        3 => (Just(ControlFile::CpusetCpus), list.clone().boxed()),
        4 => (Just(ControlFile::CpusetCpusExclusive), list.boxed()),
        4 => (Just(ControlFile::CpusetPartition), word.boxed()),
        1 => (Just(ControlFile::CpusetMems), node.boxed()),
    ];
    let write = (prop::sample::select(PLACES.to_vec()), value).prop_map(|(at, (file, value))| Write {
        at,
        file,
        value,
    });
    prop::collection::vec(write, 1..40)
}

/// What all files read. Of a partition that is none the reason is left out, unless the file was written just now: the
/// kernel finds other reasons as time goes by.
fn all_files(
    fs: &dyn CgroupFs,
    written: (&'static str, ControlFile),
) -> Vec<(&'static str, ControlFile, String)> {
    let mut files = Vec::new();
    for at in PLACES {
        for file in [
            ControlFile::CpusetCpus,
            ControlFile::CpusetCpusEffective,
            ControlFile::CpusetMems,
            ControlFile::CpusetPartition,
        ] {
            let mut value = read(fs, at, file);
            if written != (at, file)
                && let Some(reason) = value.find(" (")
            {
                value.truncate(reason);
            }
            files.push((at, file, value));
        }
    }
    files
}

fn fake_kernel() -> FakeKernel {
    let mut kernels = FakeKernel::ALL.into_iter();
    kernels
        .find(|kernel| kernel.version() == kernel_version())
        .expect("a kernel that the fake knows")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    #[ignore = "needs cgroup v2 controllers: cargo xtask vm"]
    fn the_kernel_and_the_fake_keep_cpusets_alike(writes in writes(), inhabited: bool) {
        let root = TestRoot::new();
        let fake = FakeCgroupFs::new([Controller::Cpuset])
            .on_kernel(fake_kernel())
            .on_machine((0..4).filter_map(CpuId::new).collect(), [0]);
        for fs in [root.fs() as &dyn CgroupFs, &fake] {
            grow(fs, &PLACES);
            // Otherwise hardly any partition would ever be one.
            for (at, kept) in [("", "0-3"), ("a", "1-3")] {
                if let Err(error) = fs.write(&path(at), ControlFile::CpusetCpusExclusive, kept) {
                    prop_assert!(kernel_version() < (6, 7), "{}", error);
                }
            }
        }
        if inhabited {
            root.shell_in(&path("a/x"), "exec sleep 1000").unwrap();
            fake.spawn(&path("a/x"), plimsoll::kernel::cgroup_fs::Stubbornness::Dies).unwrap();
        }
        for Write { at, file, value } in &writes {
            let partition = read(&fake, at, ControlFile::CpusetPartition);
            if *file == ControlFile::CpusetCpus && value.is_empty() && partition != "member" {
                // Refused (EBUSY) or not, by what the scheduler happens to have reserved on those CPUs.
                continue;
            }
            let errno = |fs: &dyn CgroupFs| fs.write(&path(at), *file, value).err().and_then(|e| e.errno());
            let faked = errno(&fake);
            if faked == Some(nix::errno::Errno::ENOSYS as i32) {
                continue;
            }
            if !fake.lost_cpus().is_empty() {
                // A fault that would not end with this test.
                break;
            }
            prop_assert_eq!(errno(root.fs()), faked, "{:?} to {} of {}", value, file, at);
            let written = (*at, *file);
            let (real, faked) = (all_files(root.fs(), written), all_files(&fake, written));
            prop_assert_eq!(&real, &faked, "{:?} to {} of {}", value, file, at);
            // Kernels remember of a partition that ended more than its files show, until it is a member again.
            for (at, file, _) in real.iter().filter(|(.., value)| value.contains("invalid")) {
                for fs in [root.fs() as &dyn CgroupFs, &fake] {
                    fs.write(&path(at), *file, "member").unwrap();
                }
            }
        }
    }
}
