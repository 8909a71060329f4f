//! The contract suite of the cgroup file system on the kernel, directly and through cgroups-rs.

use plimsoll::kernel::cgroup_fs::contract::{BEHAVIOURS, Behaviour, Host};
use plimsoll::kernel::cgroup_fs::{CgroupFs, CgroupsRsFs};
use plimsoll::model::{CgroupPath, Controller, CpuId};

use crate::support::{TestRoot, Unplugged, can_make_cgroups, kernel_version};

struct Direct(TestRoot, Unplugged);

impl Direct {
    fn new() -> Self {
        Self(TestRoot::new(), Unplugged::default())
    }
}

impl Host for Direct {
    fn fs(&self) -> &dyn CgroupFs {
        self.0.fs()
    }

    fn spawn_in(&self, path: &CgroupPath) -> Result<u32, i32> {
        self.0.shell_in(path, "exec sleep 1000")
    }

    fn spawn_outside(&self) -> u32 {
        self.0.shell("exec sleep 1000")
    }

    fn settle(&self, path: &CgroupPath) {
        self.0.settle(path);
    }

    fn kernel(&self) -> (u32, u32) {
        kernel_version()
    }

    fn set_online(&self, cpu: CpuId, online: bool) {
        self.1.set_online(cpu, online);
    }
}

struct ByCrate(Direct, CgroupsRsFs);

impl Host for ByCrate {
    fn fs(&self) -> &dyn CgroupFs {
        &self.1
    }

    fn spawn_in(&self, path: &CgroupPath) -> Result<u32, i32> {
        self.0.spawn_in(path)
    }

    fn spawn_outside(&self) -> u32 {
        self.0.spawn_outside()
    }

    fn settle(&self, path: &CgroupPath) {
        self.0.settle(path);
    }

    fn kernel(&self) -> (u32, u32) {
        self.0.kernel()
    }

    fn set_online(&self, cpu: CpuId, online: bool) {
        self.0.set_online(cpu, online);
    }
}

fn run(behaviours: impl Iterator<Item = &'static Behaviour>) {
    let mut checked = 0;
    for behaviour in behaviours {
        println!("{}", behaviour.says);
        (behaviour.check)(&Direct::new());
        let host = Direct::new();
        let fs = CgroupsRsFs::open(&host.0.root.directory).unwrap();
        (behaviour.check)(&ByCrate(host, fs));
        checked += 1;
    }
    assert!(checked > 0, "nothing was compared");
}

/// What the core of cgroup v2 does without any controller: also on a machine whose controllers cgroup v1 holds.
#[test]
fn the_kernel_behaves_as_the_contract_says_without_controllers() {
    if !can_make_cgroups() {
        println!("skipped: needs root and cgroup v2");
        return;
    }
    let root = TestRoot::new();
    if root.root.available.contains(&Controller::Memory) {
        println!("skipped: `--ignored` runs the whole contract here");
        return;
    }
    run(BEHAVIOURS.iter().filter(|b| !b.needs_controllers));
}

#[test]
#[ignore = "needs cgroup v2 controllers: cargo xtask vm"]
fn the_kernel_behaves_as_the_contract_says() {
    run(BEHAVIOURS.iter());
}
