//! What every [`CgroupFs`] must do, the fake as much as the kernel: one list of behaviours, run on each.
//!
//! A behaviour is a function that gets a [`Host`] whose root is empty and, where it says so, has the `cpu`,
//! `cpuset`, `memory` and `pids` controllers, and panics when the file system does something else. The kernel is the
//! measure: where the two differ, the fake is wrong. Where kernels differ, [`Host::kernel`] tells which one it is.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test suite that other crates' tests call: a failure is a panic"
)]

mod cpuset;
mod partition;
mod values;

use super::{CgroupFs, CgroupOperation, Fault};
use crate::model::{CgroupPath, ControlFile, CpuId};

/// A cgroup file system with a way to have processes in it.
pub trait Host {
    /// The file system, empty.
    fn fs(&self) -> &dyn CgroupFs;

    /// Starts a sleeping process in the cgroup, as `CLONE_INTO_CGROUP` does.
    ///
    /// # Errors
    /// The kernel's error number.
    fn spawn_in(&self, path: &CgroupPath) -> Result<u32, i32>;

    /// Starts a sleeping process outside the tree.
    fn spawn_outside(&self) -> u32;

    /// Returns once killed processes are out of the cgroup.
    fn settle(&self, path: &CgroupPath);

    /// The kernel's major and minor version.
    fn kernel(&self) -> (u32, u32);

    /// Plugs a CPU in or out; the cgroups may learn of it a moment later.
    fn set_online(&self, cpu: CpuId, online: bool);
}

/// One behaviour.
#[derive(Debug, Clone, Copy)]
pub struct Behaviour {
    /// What it says.
    pub says: &'static str,
    /// Panics when the file system does something else.
    pub check: fn(&dyn Host),
    /// Whether the root must have the `cpu`, `cpuset`, `memory` and `pids` controllers, and the machine CPUs 0 to 3.
    pub needs_controllers: bool,
}

const fn core(says: &'static str, check: fn(&dyn Host)) -> Behaviour {
    Behaviour {
        says,
        check,
        needs_controllers: false,
    }
}

const fn controllers(says: &'static str, check: fn(&dyn Host)) -> Behaviour {
    Behaviour {
        says,
        check,
        needs_controllers: true,
    }
}

/// Every behaviour.
pub const BEHAVIOURS: &[Behaviour] = &[
    core("a cgroup is made once and keeps its id", made_once),
    core("a cgroup made again is another one", made_again),
    core("a cgroup needs its parent", needs_parent),
    core("children are listed in order", children_in_order),
    core(
        "removing: not with children, not with processes, twice is once",
        removal,
    ),
    core("a tree is removed whole once it has no processes", tree_removal),
    core("the root can be neither made nor removed", root_stays),
    core(
        "what is not there is told apart: cgroup or file",
        missing_told_apart,
    ),
    core("a word that is no controller changes nothing", all_or_nothing),
    core("a process is moved by its pid, and only if there is one", moving),
    core("populated follows processes of descendants", populated),
    core("kill ends every process below", kill_below),
    core("a file that is only for reading refuses a write", read_only),
    controllers(
        "a controller's files come and go with the parent's subtree_control",
        files_follow_controllers,
    ),
    controllers(
        "controllers are enabled from the top down, taken from the bottom up",
        top_down,
    ),
    controllers(
        "no processes beside children with a domain controller",
        no_inner_processes,
    ),
    controllers(
        "threaded controllers beside processes spoil the children",
        thread_root_trap,
    ),
    controllers(
        "values outside a file's range are refused and change nothing",
        values::ranges,
    ),
    controllers("memory values are rounded down to pages", values::page_rounding),
    controllers(
        "cpu.max keeps the period that is not given",
        values::cpu_max_period,
    ),
    controllers(
        "a list of CPUs or nodes reads back in the kernel's form, and what is none is refused",
        cpuset::lists,
    ),
    controllers(
        "a cgroup has what it asks for of what its parent has, or all of that",
        cpuset::flows_down,
    ),
    controllers(
        "a cpuset's files come and go with the controller",
        cpuset::needs_controller,
    ),
    controllers(
        "before Linux 7.0 a list cannot be emptied above processes",
        cpuset::emptying,
    ),
    controllers(
        "a CPU that goes offline is taken out below and given back later",
        cpuset::hot_unplug,
    ),
    controllers("a partition needs CPUs and the right word", partition::words),
    controllers(
        "before Linux 6.7 there are partitions only below partitions",
        partition::none_elsewhere,
    ),
    controllers(
        "CPUs are kept for partitions by one of several siblings",
        partition::exclusive_lists,
    ),
    controllers("a partition's CPUs are nobody else's", partition::takes_its_cpus),
    controllers("a removed partition gives its CPUs back", partition::given_back),
    controllers(
        "a partition is refused for CPUs that ancestors do not keep or siblings ask for",
        partition::partition_refusals,
    ),
    controllers(
        "a partition has what its ancestors keep, and ends with the last of it",
        partition::kept_no_more,
    ),
    controllers(
        "a partition without CPUs online ends if it has processes",
        partition::partition_unplugged,
    ),
];

fn path(text: &str) -> CgroupPath {
    CgroupPath::parse(text).unwrap()
}

fn enable(fs: &dyn CgroupFs, at: &str, controllers: &str) -> Result<(), i32> {
    write(fs, at, ControlFile::SubtreeControl, controllers)
}

fn write(fs: &dyn CgroupFs, at: &str, file: ControlFile, value: &str) -> Result<(), i32> {
    fs.write(&path(at), file, value).map_err(|error| {
        assert_eq!(error.operation, CgroupOperation::Write);
        assert_eq!((&error.path, error.file), (&path(at), Some(file)));
        assert_eq!(error.value.as_deref(), Some(value));
        error.errno().unwrap()
    })
}

fn read(fs: &dyn CgroupFs, at: &str, file: ControlFile) -> String {
    fs.read(&path(at), file).unwrap().trim_end().to_owned()
}

fn made_once(host: &dyn Host) {
    let fs = host.fs();
    let id = fs.create(&path("a")).unwrap();
    assert_eq!(fs.create(&path("a")).unwrap(), id);
    assert_eq!(fs.id(&path("a")).unwrap(), id);
    assert_ne!(fs.id(&CgroupPath::ROOT).unwrap(), id);
}

fn made_again(host: &dyn Host) {
    let fs = host.fs();
    let first = fs.create(&path("a")).unwrap();
    fs.remove(&path("a")).unwrap();
    assert_eq!(fs.id(&path("a")).unwrap_err().fault, Fault::Gone);
    assert_ne!(fs.create(&path("a")).unwrap(), first);
}

fn needs_parent(host: &dyn Host) {
    let error = host.fs().create(&path("a/b")).unwrap_err();
    assert_eq!(error.operation, CgroupOperation::Create);
    assert_eq!((error.fault, error.errno()), (Fault::Gone, Some(libc::ENOENT)));
}

fn children_in_order(host: &dyn Host) {
    let fs = host.fs();
    for name in ["b", "a", "c", "a/x"] {
        fs.create(&path(name)).unwrap();
    }
    assert_eq!(fs.children(&CgroupPath::ROOT).unwrap(), ["a", "b", "c"]);
    assert_eq!(fs.children(&path("a")).unwrap(), ["x"]);
    assert_eq!(fs.children(&path("none")).unwrap_err().fault, Fault::Gone);
}

fn removal(host: &dyn Host) {
    let fs = host.fs();
    fs.create(&path("a")).unwrap();
    fs.create(&path("a/b")).unwrap();
    assert_eq!(fs.remove(&path("a")).unwrap_err().fault, Fault::Busy);
    host.spawn_in(&path("a/b")).unwrap();
    let error = fs.remove(&path("a/b")).unwrap_err();
    assert_eq!((error.fault, error.errno()), (Fault::Busy, Some(libc::EBUSY)));
    fs.kill(&path("a/b")).unwrap();
    host.settle(&path("a/b"));
    for gone in ["a/b", "a", "a", "a/b"] {
        fs.remove(&path(gone)).unwrap();
    }
}

fn tree_removal(host: &dyn Host) {
    let fs = host.fs();
    for name in ["a", "a/b", "a/b/c", "a/b/d", "a/e"] {
        fs.create(&path(name)).unwrap();
    }
    host.spawn_in(&path("a/b/d")).unwrap();
    let error = fs.remove_tree(&path("a")).unwrap_err();
    assert_eq!(
        (error.operation, error.fault),
        (CgroupOperation::Remove, Fault::Busy)
    );
    assert!(fs.id(&path("a/b/d")).is_ok());
    fs.kill(&path("a")).unwrap();
    host.settle(&path("a"));
    fs.remove_tree(&path("a")).unwrap();
    fs.remove_tree(&path("a")).unwrap();
    assert!(fs.children(&CgroupPath::ROOT).unwrap().is_empty());
}

fn root_stays(host: &dyn Host) {
    let root = CgroupPath::ROOT;
    assert_eq!(host.fs().remove(&root).unwrap_err().fault, Fault::Busy);
    assert_eq!(host.fs().create(&root).unwrap_err().fault, Fault::Busy);
}

fn missing_told_apart(host: &dyn Host) {
    let fs = host.fs();
    fs.create(&path("a")).unwrap();
    for file in [
        ControlFile::MemoryMax,
        ControlFile::CpuWeight,
        ControlFile::PidsMax,
    ] {
        for (at, fault) in [("a", Fault::NoSuchFile), ("none", Fault::Gone)] {
            let read = fs.read(&path(at), file).unwrap_err();
            let write = fs.write(&path(at), file, "1").unwrap_err();
            for error in [read, write] {
                assert_eq!(
                    (error.fault, error.errno()),
                    (fault, Some(libc::ENOENT)),
                    "{error}"
                );
            }
        }
    }
    assert_eq!(fs.kill(&path("none")).unwrap_err().fault, Fault::Gone);
    assert_eq!(fs.open_dir(&path("none")).unwrap_err().fault, Fault::Gone);
    assert!(fs.open_dir(&path("a")).is_ok());
}

fn files_follow_controllers(host: &dyn Host) {
    let fs = host.fs();
    fs.create(&path("a")).unwrap();
    enable(fs, "", "+memory").unwrap();
    assert_eq!(read(fs, "a", ControlFile::Controllers), "memory");
    write(fs, "a", ControlFile::MemoryMax, "1048576").unwrap();
    assert_eq!(read(fs, "a", ControlFile::MemoryMax), "1048576");
    enable(fs, "", "-memory").unwrap();
    assert_eq!(write(fs, "a", ControlFile::MemoryMax, "max"), Err(libc::ENOENT));
    enable(fs, "", "+memory").unwrap();
    assert_eq!(
        read(fs, "a", ControlFile::MemoryMax),
        "max",
        "a controller taken away forgets its values"
    );
}

fn top_down(host: &dyn Host) {
    let fs = host.fs();
    fs.create(&path("a")).unwrap();
    assert_eq!(enable(fs, "a", "+memory"), Err(libc::ENOENT));
    enable(fs, "", "+cpu +memory").unwrap();
    enable(fs, "a", "+memory").unwrap();
    assert_eq!(read(fs, "a", ControlFile::SubtreeControl), "memory");
    assert_eq!(enable(fs, "", "-memory"), Err(libc::EBUSY));
    enable(fs, "", "-cpu").unwrap();
    enable(fs, "a", "-memory").unwrap();
    enable(fs, "", "-memory").unwrap();
    let left = fs.read(&CgroupPath::ROOT, ControlFile::SubtreeControl);
    assert_eq!(left.unwrap(), "", "not even an end of line");
}

fn all_or_nothing(host: &dyn Host) {
    let fs = host.fs();
    for (words, errno) in [
        ("+nonsense", libc::EINVAL),
        ("memory", libc::EINVAL),
        ("+", libc::EINVAL),
    ] {
        assert_eq!(enable(fs, "", words), Err(errno), "{words:?}");
    }
    assert_eq!(read(fs, "", ControlFile::SubtreeControl), "");
}

fn no_inner_processes(host: &dyn Host) {
    let fs = host.fs();
    enable(fs, "", "+memory +cpu").unwrap();
    fs.create(&path("a")).unwrap();
    fs.create(&path("a/b")).unwrap();
    let pid = host.spawn_in(&path("a")).unwrap();
    assert_eq!(enable(fs, "a", "+memory"), Err(libc::EBUSY));
    write(fs, "a/b", ControlFile::Procs, &pid.to_string()).unwrap();
    enable(fs, "a", "+memory").unwrap();
    assert_eq!(
        write(fs, "a", ControlFile::Procs, &pid.to_string()),
        Err(libc::EBUSY)
    );
    assert_eq!(host.spawn_in(&path("a")), Err(libc::EBUSY));
    assert_eq!(read(fs, "a/b", ControlFile::Procs), pid.to_string());
}

/// The trap: nothing is refused when `cpu` alone is enabled beside processes, and the children are spoilt.
fn thread_root_trap(host: &dyn Host) {
    let fs = host.fs();
    enable(fs, "", "+memory +cpu").unwrap();
    fs.create(&path("a")).unwrap();
    fs.create(&path("a/b")).unwrap();
    let pid = host.spawn_in(&path("a")).unwrap();
    enable(fs, "a", "+cpu").unwrap();
    assert_eq!(read(fs, "a", ControlFile::Type), "domain threaded");
    assert_eq!(read(fs, "a/b", ControlFile::Type), "domain invalid");
    assert_eq!(
        write(fs, "a/b", ControlFile::Procs, &pid.to_string()),
        Err(libc::EOPNOTSUPP)
    );
    assert_eq!(host.spawn_in(&path("a/b")), Err(libc::EOPNOTSUPP));
}

fn moving(host: &dyn Host) {
    let fs = host.fs();
    fs.create(&path("a")).unwrap();
    fs.create(&path("b")).unwrap();
    let pid = host.spawn_outside();
    for at in ["a", "b"] {
        write(fs, at, ControlFile::Procs, &pid.to_string()).unwrap();
        assert_eq!(read(fs, at, ControlFile::Procs), pid.to_string());
    }
    assert_eq!(read(fs, "a", ControlFile::Procs), "");
    assert_eq!(write(fs, "a", ControlFile::Procs, "4194304"), Err(libc::ESRCH));
    assert_eq!(write(fs, "a", ControlFile::Procs, "me"), Err(libc::EINVAL));
}

fn populated(host: &dyn Host) {
    let fs = host.fs();
    fs.create(&path("a")).unwrap();
    fs.create(&path("a/b")).unwrap();
    let first_line = |at| {
        read(fs, at, ControlFile::Events)
            .lines()
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(first_line("a"), "populated 0");
    host.spawn_in(&path("a/b")).unwrap();
    assert_eq!(
        (first_line("a"), first_line("a/b")),
        ("populated 1".into(), "populated 1".into())
    );
    assert_eq!(read(fs, "a", ControlFile::Procs), "");
}

fn kill_below(host: &dyn Host) {
    let fs = host.fs();
    for name in ["a", "a/b", "a/c", "other"] {
        fs.create(&path(name)).unwrap();
    }
    for name in ["a", "a/b", "a/b", "a/c"] {
        host.spawn_in(&path(name)).unwrap();
    }
    let spared = host.spawn_in(&path("other")).unwrap();
    fs.kill(&path("a")).unwrap();
    host.settle(&path("a"));
    for name in ["a", "a/b", "a/c"] {
        assert_eq!(read(fs, name, ControlFile::Procs), "");
    }
    assert_eq!(read(fs, "other", ControlFile::Procs), spared.to_string());
    assert_eq!(write(fs, "a", ControlFile::Kill, "2"), Err(libc::ERANGE));
}

fn read_only(host: &dyn Host) {
    let fs = host.fs();
    fs.create(&path("a")).unwrap();
    for file in [
        ControlFile::Events,
        ControlFile::Controllers,
        ControlFile::CpuStat,
    ] {
        assert_eq!(write(fs, "a", file, "1"), Err(libc::EINVAL), "{file}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FakeCgroupFs, FakeKernel, Stubbornness};
    use super::*;
    use crate::model::Controller;

    struct FakeHost(FakeCgroupFs, FakeKernel);

    impl Host for FakeHost {
        fn fs(&self) -> &dyn CgroupFs {
            &self.0
        }

        fn spawn_in(&self, path: &CgroupPath) -> Result<u32, i32> {
            self.0.spawn(path, Stubbornness::Dies)
        }

        fn spawn_outside(&self) -> u32 {
            self.0.spawn_outside()
        }

        fn settle(&self, _: &CgroupPath) {}

        fn kernel(&self) -> (u32, u32) {
            self.1.version()
        }

        fn set_online(&self, cpu: CpuId, online: bool) {
            self.0.set_online(cpu, online);
        }
    }

    #[test]
    fn the_fake_behaves_as_the_contract_says() {
        let used = [
            Controller::Cpu,
            Controller::Cpuset,
            Controller::Memory,
            Controller::Pids,
        ];
        for kernel in FakeKernel::ALL {
            for behaviour in BEHAVIOURS {
                println!("{kernel:?}: {}", behaviour.says);
                let fs = FakeCgroupFs::new(used).on_kernel(kernel);
                (behaviour.check)(&FakeHost(fs, kernel));
            }
        }
    }
}
