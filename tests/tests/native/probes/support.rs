//! Test cgroups, and the probes started on them.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use plimsoll::kernel::ebpf::OBJECTS;
use plimsoll::model::CgroupId;
use plimsoll::observe::probes::{ProbeEvent, ProbeState, Probes};

static MADE: AtomicU32 = AtomicU32::new(0);

/// Where the cgroup v2 hierarchy is mounted.
pub(crate) fn mount() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&"cgroup2"))
        .expect("cgroup v2 is mounted");
    PathBuf::from(mount[1])
}

/// A cgroup that is removed, with all below it, at the end of the test.
pub(crate) struct TestCgroup(pub(crate) PathBuf);

impl TestCgroup {
    pub(crate) fn new() -> Self {
        let n = MADE.fetch_add(1, Ordering::Relaxed);
        let path = mount().join(format!("plimsoll-native-{}-{n}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn child(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }
}

impl Drop for TestCgroup {
    fn drop(&mut self) {
        // A test that fails leaves processes behind; they go with their cgroup.
        let _killed = fs::write(self.0.join("cgroup.kill"), "1");
        let deadline = Instant::now() + Duration::from_secs(10);
        while remove(&self.0).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

pub(crate) fn id_of(path: &Path) -> CgroupId {
    use std::os::unix::fs::MetadataExt;
    CgroupId(fs::metadata(path).unwrap().ino())
}

/// Starts the probes on a cgroup; the named ones must be at work.
pub(crate) fn start(root: &Path, needed: &[&str]) -> Probes {
    at_work(Probes::start(root, OBJECTS, true), needed)
}

/// Starts one probe alone.
pub(crate) fn start_only(root: &Path, object: &str) -> Probes {
    let images: Vec<_> = OBJECTS
        .iter()
        .filter(|(name, _)| *name == object)
        .copied()
        .collect();
    at_work(Probes::start(root, &images, false), &[object])
}

fn at_work(probes: Probes, needed: &[&str]) -> Probes {
    assert!(
        !OBJECTS.is_empty(),
        "build the objects first: cargo xtask build-ebpf"
    );
    for name in needed {
        let status = probes
            .status()
            .iter()
            .find(|status| status.name == *name)
            .unwrap();
        assert!(
            matches!(status.state, ProbeState::Attached { .. }),
            "{name}: {:?}",
            status.state
        );
    }
    probes
}

/// A process that runs `script` inside a cgroup from its first instruction of it on.
pub(crate) fn run_in(cgroup: &Path, script: &str) -> Child {
    let script = format!("echo $$ > {}/cgroup.procs && {script}", cgroup.display());
    Command::new("sh").args(["-c", &script]).spawn().unwrap()
}

/// `usage_usec` of `cpu.stat`.
pub(crate) fn cpu_usage(cgroup: &Path) -> Duration {
    let text = fs::read_to_string(cgroup.join("cpu.stat")).unwrap();
    let usec = text
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "))
        .expect("cpu.stat has usage_usec");
    Duration::from_micros(usec.parse().unwrap())
}

/// Run time and run-queue delay of a process, by the kernel's own books.
pub(crate) fn schedstat(pid: u32) -> (Duration, Duration) {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    let mut numbers = text
        .split_whitespace()
        .map(|n| Duration::from_nanos(n.parse().unwrap()));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// What is told until it is `enough`, which must come: an event that one CPU is still writing holds back what others
/// have told since.
pub(crate) fn told_until(probes: &mut Probes, enough: impl Fn(&[ProbeEvent]) -> bool) -> Vec<ProbeEvent> {
    let told = RefCell::new((Vec::new(), Vec::new()));
    let what = || {
        let (events, dropped) = &*told.borrow();
        format!("enough is told, of which {dropped:?} were lost: {events:?}")
    };
    wait_until_told(what, || {
        let (events, dropped) = &mut *told.borrow_mut();
        events.extend(probes.drain_events());
        *dropped = probes.dropped();
        enough(events)
    });
    told.into_inner().0
}

/// Until when a condition must have come. Long: an emulated machine may stand still for seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for a condition, which must come.
pub(crate) fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    wait_until_told(|| what.to_owned(), holds);
}

/// The same, with what is told of it when it does not come.
pub(crate) fn wait_until_told(what: impl Fn() -> String, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "timed out: {}", what());
        std::io::stdout().flush().unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
}
