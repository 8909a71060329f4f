//! From the wake to the kill signal nothing is allocated: counted, on this machine's kernel, with a process that dies.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test target: a failure is the message"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use plimsoll::act::kill::{KillOutcome, kill};
use plimsoll::decide::eviction::EvictionPolicy;
use plimsoll::kernel::clock::RealClock;
use plimsoll::kernel::journal::Slot;
use plimsoll::kernel::pressure::{
    Alarm, Alarms, FiguresReader, Killing, MemoryCgroup, RealKiller, Signalled, Sweep, Watch,
};
use plimsoll::kernel::process::CgroupBed;
use plimsoll::model::pressure::{Act, Charge, Need, NodeFigures, PodFacts, PodFigures, Snapshot};
use plimsoll::model::{BootTime, Bytes, CgroupId, Limit, Namespace, OomScoreAdj, PodName, PodUid, QosClass};
use plimsoll::runtime::guard::core::{Guard, Ports, Refused, Told};

/// The system's allocator, that counts per thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call is the system allocator's, with the same arguments.
#[expect(unsafe_code, reason = "an allocator")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: by the caller.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: by the caller.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = ALLOCATIONS.with(Cell::get);
    let result = work();
    (ALLOCATIONS.with(Cell::get) - before, result)
}

#[test]
fn an_allocation_is_counted() {
    let (counted, kept) = allocations(|| vec![1_u8; 100]);
    assert_eq!((counted, kept.len()), (1, 100));
    assert_eq!(allocations(|| 1 + 1), (0, 2));
}

/// A directory that reads like a pod.
fn pod_in(directory: &Path, name: usize) -> Arc<MemoryCgroup> {
    let path = directory.join(name.to_string());
    fs::create_dir(&path).unwrap();
    for (file, content) in [
        ("cgroup.events", "populated 1\n"),
        ("memory.current", "1234567\n"),
        ("memory.events", "high 1\nmax 2\n"),
        ("memory.stat", "anon 1000\nfile 2\nshmem 1\ninactive_file 1\n"),
        ("memory.swap.current", "0\n"),
        (
            "memory.pressure",
            "some avg10=0.00 total=1\nfull avg10=0.00 total=1\n",
        ),
        ("pids.current", "3\n"),
    ] {
        fs::write(path.join(file), content).unwrap();
    }
    held(&path)
}

fn held(path: &Path) -> Arc<MemoryCgroup> {
    let directory = OwnedFd::from(fs::File::open(path).unwrap());
    Arc::new(MemoryCgroup::new(directory).unwrap())
}

#[test]
fn from_the_wake_to_the_kill_signal_nothing_is_allocated() {
    let Some(bed) = CgroupBed::make("allocations") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let victim = held(&bed.path);
    let mut alarms = Alarms::new().unwrap();
    let watch = Watch {
        populated: true,
        ..Watch::default()
    };
    alarms.watch(&victim, watch);
    let mut reader = FiguresReader::new(Path::new("/proc"), &victim, Some(directory.path()), None).unwrap();
    let mut pods: Vec<_> = (0..60).map(|n| pod_in(directory.path(), n)).collect();
    pods.push(victim.clone());
    reader.set_pods(&pods);
    let (mut node, mut figures) = (NodeFigures::default(), Vec::with_capacity(pods.len()));
    let mut killer = RealKiller::new().unwrap();
    let mut evidence = Slot::open(&directory.path().join("evidence")).unwrap();

    // The victim's coming is what wakes.
    let script = format!("echo $$ > {}/cgroup.procs; exec sleep 1000", bed.path.display());
    let mut child = Command::new("sh").args(["-c", &script]).spawn().unwrap();
    let (counted, outcome) = allocations(|| {
        let woken = alarms
            .wait(Some(Duration::from_secs(20)))
            .unwrap()
            .first()
            .copied();
        reader.read(Sweep::Quick, &mut node, &mut figures).unwrap();
        reader.read(Sweep::Full, &mut node, &mut figures).unwrap();
        let again = reader.read_pod(60);
        let outcome = kill(&mut killer, &victim, None, victim.id(), &RealClock, || {
            evidence.put(&(victim.id(), &figures[60])).unwrap();
        });
        (woken, again.is_some(), outcome)
    });
    let (woken, again, outcome) = outcome;
    let populated = Alarm::Populated {
        cgroup: victim.id(),
        populated: true,
    };
    assert_eq!((woken, again, figures.len()), (Some(populated), true, 61));
    assert!(figures[3].charge.is_some() && node.available > Bytes(0));
    let how = match outcome {
        KillOutcome::Signalled { how, release, .. } => (how, release),
        other => panic!("{other:?}"),
    };
    assert_eq!(how, (Signalled::AtOnce, Ok(())));
    assert_eq!(
        counted, 0,
        "allocations from the wake to the signal, and to what follows it"
    );
    let written: Option<(CgroupId, PodFigures)> = evidence.get().unwrap();
    assert_eq!(written, Some((victim.id(), figures[60])));
    child.wait().unwrap();

    // One by one, as on old kernels.
    let mut child = Command::new("sh").args(["-c", &script]).spawn().unwrap();
    while !killer.populated(&victim).unwrap() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (counted, how) = allocations(|| killer.signal_one_by_one(&victim).unwrap());
    assert_eq!((counted, how), (0, Signalled::OneByOne(1)));
    child.wait().unwrap();
}

/// A full node that loses memory, as the guard's ports.
struct FullNode {
    now: BootTime,
    node: NodeFigures,
    pods: Vec<PodFigures>,
    killed: Option<usize>,
}

impl Ports for FullNode {
    fn now(&mut self) -> BootTime {
        self.now = self.now.after(Duration::from_micros(50));
        self.now
    }

    fn read(&mut self, _: &[PodFacts], into: &mut Snapshot) {
        into.node = self.node;
        into.pods.clear();
        into.pods.extend_from_slice(&self.pods);
    }

    fn read_again(&mut self, roster: &[PodFacts], _: Option<usize>, into: &mut Snapshot) {
        self.read(roster, into);
    }

    fn act(&mut self, _: &Need, act: &Act, _: Option<&PodFacts>) -> Result<BootTime, Refused> {
        if let Act::Kill { pod } = act {
            self.killed = Some(*pod);
        }
        Ok(self.now)
    }

    fn tell(&mut self, _: &Told) {}
}

fn facts(pod: u64) -> PodFacts {
    PodFacts {
        uid: PodUid::parse(&format!("uid-{pod}")).unwrap(),
        namespace: Namespace::parse("default").unwrap(),
        name: PodName::parse(&format!("pod-{pod}")).unwrap(),
        cgroup: CgroupId(pod + 1),
        class: QosClass::Burstable,
        priority: 0,
        request: Bytes::mib(100),
        storage_request: Bytes(0),
        high: Limit::Max,
        max: Limit::Max,
        oom_score_adj: OomScoreAdj(900),
        grace: Duration::from_secs(30),
        shield: None,
        started_at: BootTime::default(),
    }
}

#[test]
fn the_decision_about_500_pods_allocates_nothing() {
    let pods = 500;
    let mut guard = Guard::new(EvictionPolicy::default(), 0);
    guard.set_roster((0..pods).map(facts).collect::<Vec<_>>());
    let figures = |pod: u64| PodFigures {
        current: Bytes::mib(60 + pod % 40),
        charge: Some(Charge {
            anon: Bytes::mib(60 + pod % 40),
            ..Charge::default()
        }),
        populated: true,
        ..PodFigures::default()
    };
    let mut node = FullNode {
        now: BootTime(Duration::from_secs(100)),
        node: NodeFigures {
            capacity: Bytes::mib(64 << 10),
            available: Bytes::mib(2000),
            ..NodeFigures::default()
        },
        pods: (0..pods).map(figures).collect(),
        killed: None,
    };
    // Every pod was looked at, and every threshold: it is warm.
    guard.wake(&mut node, None);
    let (counted, wakes) = allocations(|| {
        let mut wakes = 0;
        while node.killed.is_none() && wakes < 1000 {
            node.now = node.now.after(Duration::from_millis(10));
            node.node.available = node.node.available.saturating_sub(Bytes::mib(4));
            if let Some(hog) = node.pods.get_mut(321) {
                hog.current = hog.current.saturating_add(Bytes::mib(4));
                let charge = hog.charge.get_or_insert_default();
                charge.anon = charge.anon.saturating_add(Bytes::mib(4));
            }
            guard.wake(&mut node, None);
            wakes += 1;
        }
        wakes
    });
    assert_eq!(node.killed, Some(321), "after {wakes} wakes");
    assert!(wakes > 400, "it was killed after {wakes} wakes");
    assert_eq!(counted, 0, "allocations in {wakes} wakes");
}
