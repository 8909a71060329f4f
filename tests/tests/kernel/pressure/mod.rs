//! Memory pressure on the kernel itself: what wakes the guard, what it reads, and how a victim goes.
//!
//! Times are printed and never asserted: under emulation they are several times what they are on hardware.

mod alarms;
mod figures;
mod kill;
mod limits;

use std::sync::Arc;
use std::time::Duration;

use plimsoll::kernel::cgroup_fs::{CgroupFs, RealCgroupFs};
use plimsoll::kernel::clock::{Clock, RealClock};
use plimsoll::kernel::pressure::{Alarm, Alarms, MemoryCgroup};
use plimsoll::model::{BootTime, CgroupPath, ControlFile};

use crate::support::{TestRoot, path, until};

const LONG: Duration = Duration::from_secs(60);
const CONTROLLERS: &str = "+memory +cpu +pids";

/// A root with pods in it.
struct Pods {
    root: TestRoot,
}

impl Pods {
    fn new() -> Self {
        let root = TestRoot::new();
        root.fs()
            .write(&CgroupPath::ROOT, ControlFile::SubtreeControl, CONTROLLERS)
            .unwrap();
        Self { root }
    }

    fn fs(&self) -> &RealCgroupFs {
        self.root.fs()
    }

    /// A pod with a container below it, whose processes may not swap.
    fn pod(&self, name: &str, limits: &[(ControlFile, &str)]) -> Pod {
        let at = path(name);
        self.fs().create(&at).unwrap();
        self.fs()
            .write(&at, ControlFile::SubtreeControl, CONTROLLERS)
            .unwrap();
        self.fs().write(&at, ControlFile::MemorySwapMax, "0").unwrap();
        for (file, value) in limits {
            self.fs().write(&at, *file, value).unwrap();
        }
        let container = path(&format!("{name}/c"));
        self.fs().create(&container).unwrap();
        let cgroup = Arc::new(MemoryCgroup::new(self.fs().open_dir(&at).unwrap()).unwrap());
        Pod {
            at,
            container,
            cgroup,
        }
    }

    fn read(&self, pod: &Pod, file: ControlFile) -> String {
        self.fs().read(&pod.at, file).unwrap()
    }

    fn number(&self, pod: &Pod, file: ControlFile) -> u64 {
        self.read(pod, file).trim().parse().unwrap()
    }

    /// The value of a line of a flat file.
    fn key(&self, pod: &Pod, file: ControlFile, key: &str) -> u64 {
        let text = self.read(pod, file);
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().parse().unwrap()
    }

    /// A process that holds so much memory and then does nothing.
    fn holder(&self, pod: &Pod, mib: u64) -> u32 {
        // Nobody reads what it writes.
        self.hog(pod, mib, "| sleep 1000")
    }

    /// A process that holds so much memory and then is busy for ever.
    fn spinner(&self, pod: &Pod, mib: u64) -> u32 {
        self.hog(pod, mib, "> /dev/null")
    }

    fn hog(&self, pod: &Pod, mib: u64, out: &str) -> u32 {
        let pid = self.start(pod, mib, out);
        until("the memory is taken", || {
            self.number(pod, ControlFile::MemoryCurrent) >= mib << 20
        });
        pid
    }

    fn start(&self, pod: &Pod, mib: u64, out: &str) -> u32 {
        let script = format!("dd if=/dev/zero bs={mib}M count=1000000 {out}");
        self.root.shell_in(&pod.container, &script).unwrap()
    }
}

/// A pod's cgroups.
struct Pod {
    at: CgroupPath,
    container: CgroupPath,
    cgroup: Arc<MemoryCgroup>,
}

fn now() -> BootTime {
    RealClock.now()
}

/// Waits until an alarm is told that `pick` takes.
fn alarm<T>(alarms: &mut Alarms, what: &str, mut pick: impl FnMut(&Alarm) -> Option<T>) -> T {
    let deadline = now().after(LONG);
    while now() < deadline {
        let told = alarms.wait(Some(Duration::from_secs(1))).unwrap();
        if let Some(found) = told.iter().find_map(&mut pick) {
            return found;
        }
    }
    panic!("never: {what}");
}
