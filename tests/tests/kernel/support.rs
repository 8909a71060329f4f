//! A cgroup of the test's own, with processes in it, gone when the test ends however it ends.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use plimsoll::kernel::cgroup_fs::{
    CgroupFs, DelegatedRoot, ParentPolicy, RealCgroupFs, find_mount, set_up_root,
};
use plimsoll::model::{CgroupPath, ControlFile, Controller, CpuId};

/// Longest wait for the kernel to let go of a killed process; under emulation a second is common.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn path(text: &str) -> CgroupPath {
    CgroupPath::parse(text).unwrap()
}

/// Whether this machine lets the test make cgroups at all.
pub(crate) fn can_make_cgroups() -> bool {
    let Ok(mount) = find_mount() else { return false };
    let probe = path(&format!("plimsoll-probe-{}", std::process::id()));
    RealCgroupFs::open(&mount).is_ok_and(|fs| fs.create(&probe).is_ok() && fs.remove(&probe).is_ok())
}

/// The agent's root of one test.
pub(crate) struct TestRoot {
    pub(crate) root: DelegatedRoot,
    /// Its place below the mount.
    pub(crate) path: CgroupPath,
    children: RefCell<Vec<Child>>,
}

impl TestRoot {
    /// A fresh root directly below the mount, with all controllers that the machine has.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "plimsoll-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        Self::at(&path(&name), &Controller::ALL.into(), ParentPolicy::MountRootOnly)
    }

    pub(crate) fn at(root: &CgroupPath, wanted: &BTreeSet<Controller>, policy: ParentPolicy) -> Self {
        Self {
            root: set_up_root(&find_mount().unwrap(), root, wanted, policy).unwrap(),
            path: root.clone(),
            children: RefCell::default(),
        }
    }

    pub(crate) fn fs(&self) -> &RealCgroupFs {
        &self.root.fs
    }

    /// Starts `sh -c script` outside the tree; it is killed and reaped at the end of the test.
    pub(crate) fn shell(&self, script: &str) -> u32 {
        let child = Command::new("/bin/sh")
            .args(["-c", script])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let pid = child.id();
        self.children.borrow_mut().push(child);
        pid
    }

    /// Starts a shell that is in the cgroup before `script` begins.
    pub(crate) fn shell_in(&self, at: &CgroupPath, script: &str) -> Result<u32, i32> {
        let pid = self.shell(&format!("kill -STOP $$; {script}"));
        let moved = self.fs().write(at, ControlFile::Procs, &pid.to_string());
        moved.map_err(|error| error.errno().unwrap())?;
        until("the shell stops", || state_of(pid) == 'T');
        assert!(
            Command::new("kill")
                .args(["-CONT", &pid.to_string()])
                .status()
                .unwrap()
                .success()
        );
        Ok(pid)
    }

    pub(crate) fn populated(&self, at: &CgroupPath) -> bool {
        let events = self.fs().read(at, ControlFile::Events).unwrap();
        events.starts_with("populated 1")
    }

    fn reap(&self) {
        for child in self.children.borrow_mut().iter_mut() {
            child.try_wait().unwrap();
        }
    }

    /// Waits until no process is left in the cgroup.
    pub(crate) fn settle(&self, at: &CgroupPath) {
        until("the cgroup is empty", || {
            self.reap();
            !self.populated(at)
        });
    }
}

/// The running kernel's major and minor version.
pub(crate) fn kernel_version() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|part| part.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// CPUs taken offline, online again when the test ends however it ends.
#[derive(Default)]
pub(crate) struct Unplugged(RefCell<BTreeSet<CpuId>>);

impl Unplugged {
    pub(crate) fn set_online(&self, cpu: CpuId, online: bool) {
        set_online(cpu, online).unwrap();
        if online {
            self.0.borrow_mut().remove(&cpu);
        } else {
            self.0.borrow_mut().insert(cpu);
        }
    }
}

impl Drop for Unplugged {
    fn drop(&mut self) {
        for &cpu in self.0.borrow().iter() {
            if let Err(error) = set_online(cpu, true) {
                eprintln!("CPU {} stays offline: {error}", cpu.index());
            }
        }
    }
}

fn set_online(cpu: CpuId, online: bool) -> std::io::Result<()> {
    let switch = format!("/sys/devices/system/cpu/cpu{}/online", cpu.index());
    std::fs::write(switch, if online { "1" } else { "0" })
}

/// A process's state as `/proc/PID/stat` has it: `R`, `S`, `D`, `T`, `Z`…
pub(crate) fn state_of(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().chars().next().unwrap()
}

/// Waits for something that must come.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "still not so that {what}");
        sleep(Duration::from_millis(10));
    }
}

fn remove_all(fs: &RealCgroupFs, at: &CgroupPath) {
    for name in fs.children(at).unwrap_or_default() {
        remove_all(fs, &at.child(&name).unwrap());
    }
    if let Err(error) = fs.remove(at) {
        eprintln!("left behind: {error}");
    }
}

impl Drop for TestRoot {
    fn drop(&mut self) {
        let whole = RealCgroupFs::open(&find_mount().unwrap()).unwrap();
        if let Err(error) = whole.kill(&self.path) {
            eprintln!("{error}");
        }
        for child in self.children.borrow_mut().iter_mut() {
            if let Err(error) = child.kill().and_then(|()| child.wait()) {
                eprintln!("{error}");
            }
        }
        // Without panicking, which would hide the test's own failure: wait for what others reap.
        let start = Instant::now();
        let empty = || {
            let events = whole.read(&self.path, ControlFile::Events);
            events.is_ok_and(|events| events.starts_with("populated 0"))
        };
        while !empty() && start.elapsed() < PATIENCE {
            sleep(Duration::from_millis(10));
        }
        remove_all(&whole, &self.path);
    }
}
