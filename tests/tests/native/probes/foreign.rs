//! What runs on a CPU that belongs to one cgroup, and is not of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use nix::sched::{CpuSet as Affinity, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use plimsoll::kernel::clock::{Clock, RealClock};
use plimsoll::model::{CgroupPath, CpuId, CpuSet, ForeignTime, OwnerCgroup, Stranger};
use plimsoll::observe::probes::{Foreign, Probes};
use plimsoll::observe::running::strangers;

use super::support::{TestCgroup, id_of, mount, run_in, schedstat, start_only, wait_until};

/// A root with an owner (and a cgroup within it) and a pod, and a cgroup outside.
struct Bed {
    root: TestCgroup,
    outside: TestCgroup,
    owner: PathBuf,
    pod: PathBuf,
    cpu: CpuId,
    probes: Probes,
    burners: Vec<Child>,
}

impl Bed {
    fn new() -> Self {
        let root = TestCgroup::new();
        let outside = TestCgroup::new();
        let (owner, pod) = (root.child("owner"), root.child("pod/c"));
        root.child("owner/within");
        let probes = start_only(&root.0, "foreign");
        Self {
            root,
            outside,
            owner,
            pod,
            cpu: last_cpu(),
            probes,
            burners: Vec::new(),
        }
    }

    fn foreign(&mut self) -> &mut Foreign {
        self.probes.foreign().unwrap()
    }

    fn owners(&self) -> BTreeMap<CpuId, OwnerCgroup> {
        let owner = OwnerCgroup {
            id: id_of(&self.owner),
            depth: 1,
        };
        BTreeMap::from([(self.cpu, owner)])
    }

    fn own(&mut self) {
        let owners = self.owners();
        assert_eq!(self.foreign().set_owners(&owners).unwrap(), CpuSet::EMPTY);
    }

    fn time(&mut self) -> ForeignTime {
        let cpu = self.cpu;
        self.foreign().times()[&cpu]
    }

    /// A process that burns the CPU from within a cgroup.
    fn burn(&mut self, cgroup: &Path) -> u32 {
        let script = format!("exec taskset -c {} sh -c 'while :; do :; done'", self.cpu);
        let child = run_in(cgroup, &script);
        let pid = child.id();
        self.burners.push(child);
        // Until then it may be elsewhere: on another CPU, or in another cgroup.
        wait_until("the process burns", || {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
            let ran = schedstat(pid).0;
            command.starts_with(b"sh\0-c\0while") && ran > Duration::from_millis(5)
        });
        pid
    }

    fn signal(&self, signal: &str) {
        for burner in &self.burners {
            let pid = burner.id().to_string();
            assert!(
                Command::new("kill")
                    .args([signal, &pid])
                    .status()
                    .unwrap()
                    .success()
            );
        }
    }

    fn end_burners(&mut self) {
        for mut burner in self.burners.drain(..) {
            burner.kill().unwrap();
            burner.wait().unwrap();
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.end_burners();
    }
}

/// Keeps this thread off a CPU until dropped: who looks at a CPU from there sees himself and nobody else.
struct Aside(Affinity);

impl Aside {
    fn from(cpu: CpuId) -> Self {
        let before = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let mut others = before;
        others.unset(cpu.index()).unwrap();
        sched_setaffinity(Pid::from_raw(0), &others).expect("a second CPU");
        Self(before)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        sched_setaffinity(Pid::from_raw(0), &self.0).unwrap();
    }
}

fn last_cpu() -> CpuId {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let last = (0..Affinity::count())
        .rev()
        .find(|cpu| allowed.is_set(*cpu).unwrap());
    CpuId::new(u32::try_from(last.unwrap()).unwrap()).unwrap()
}

#[test]
#[ignore = "needs root and the eBPF objects: cargo xtask test"]
fn each_kind_of_time_is_what_its_tasks_are_charged() {
    let mut bed = Bed::new();
    let (within, pod, outside) = (bed.owner.join("within"), bed.pod.clone(), bed.outside.0.clone());
    let pids = [bed.burn(&within), bed.burn(&pod), bed.burn(&outside)];
    // Attaching takes a second under emulation: it must not lie between the two readings.
    bed.own();
    let before = pids.map(|pid| schedstat(pid).0);
    let first = bed.time();
    wait_until("each has had the CPU", || {
        let grown = pids
            .iter()
            .zip(before)
            .map(|(pid, before)| schedstat(*pid).0 - before);
        grown.min().unwrap() > Duration::from_millis(500)
    });
    bed.signal("-STOP");
    std::thread::sleep(Duration::from_millis(100));
    let last = bed.time();
    let mut truth = pids.map(|pid| schedstat(pid).0);
    for (truth, before) in truth.iter_mut().zip(before) {
        *truth -= before;
    }
    let [owned, pods, system] = truth;
    let window = last.since.0.abs_diff(RealClock.now().0);
    println!("in truth {truth:?}; from {first:?} to {last:?}, {window:?}");
    // The kernel may charge interrupts to the tasks that they interrupt.
    let interrupts = last.irq + last.softirq;
    let near = |ours: Duration, theirs: Duration| {
        ours.abs_diff(theirs) < theirs / 20 + Duration::from_millis(30) + interrupts
    };
    // The CPU's idle time is the owner's too.
    let own = last.own - first.own;
    assert!(own >= owned || near(own, owned));
    assert!(near(last.pods - first.pods, pods));
    // Other processes of the machine may be on that CPU too.
    let more = last.system - first.system;
    assert!(more >= system || near(more, system));
    assert!(
        last.irq > Duration::ZERO,
        "a second and more without a timer tick"
    );
}

/// Nothing is left out, the slice of who is running now least of all.
#[test]
#[ignore = "needs root and the eBPF objects: cargo xtask test"]
fn at_every_moment_all_time_has_been_counted_once() {
    let mut bed = Bed::new();
    let pod = bed.pod.clone();
    bed.burn(&pod);
    bed.own();
    let began = bed.time().since;
    let mut last = [Duration::ZERO; 6];
    for _ in 0..4000 {
        let before = RealClock.now().since(began);
        let figures = bed.time().kinds();
        let after = RealClock.now().since(began);
        let all: Duration = figures.iter().sum();
        // The clocks of two CPUs may differ by less than it takes to ask.
        let clocks = Duration::from_micros(5);
        assert!(
            before <= all + clocks && all <= after + clocks,
            "{before:?} {all:?} {after:?}"
        );
        for (figure, last) in figures.iter().zip(last) {
            assert!(*figure >= last, "{figures:?} after {last:?}");
        }
        last = figures;
    }
    assert!(last[1] > Duration::ZERO, "the pod ran");
}

#[test]
#[ignore = "needs root and the eBPF objects: cargo xtask test"]
fn figures_stay_when_the_owner_goes_and_grow_on_with_the_next() {
    let mut bed = Bed::new();
    let (pod, owners) = (bed.pod.clone(), bed.owners());
    bed.burn(&pod);
    assert!(!bed.foreign().is_counting());
    let mut last = [Duration::ZERO; 6];
    for _ in 0..20 {
        bed.foreign().set_owners(&owners).unwrap();
        assert!(bed.foreign().is_counting());
        std::thread::sleep(Duration::from_millis(2));
        let owned = bed.time().kinds();
        bed.foreign().set_owners(&BTreeMap::new()).unwrap();
        assert!(!bed.foreign().is_counting());
        let time = bed.time();
        assert_eq!(time.owner, None);
        let released = time.kinds();
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(
            bed.time().kinds(),
            released,
            "nothing is counted without an owner"
        );
        let all = [last, owned, released];
        for (before, after) in all.iter().zip(&all[1..]) {
            assert!(
                before.iter().zip(after).all(|(before, after)| before <= after),
                "{all:?}"
            );
        }
        last = released;
    }
    assert!(last.iter().sum::<Duration>() >= Duration::from_millis(40));
    let nowhere = BTreeMap::from([(CpuId::new(8191).unwrap(), owners[&bed.cpu])]);
    assert!(bed.foreign().set_owners(&nowhere).is_err());
}

#[test]
#[ignore = "needs root and the eBPF objects: cargo xtask test"]
fn who_is_there_now_is_told_and_when_the_last_one_left() {
    let mut bed = Bed::new();
    let (pod, within) = (bed.pod.clone(), bed.owner.join("within"));
    let cpus = CpuSet::from_iter([bed.cpu]);
    assert_eq!(bed.foreign().present(&cpus).unwatched, cpus);
    let burner = bed.burn(&pod);
    let owner = bed.burn(&within);
    bed.own();
    let _aside = Aside::from(bed.cpu);
    let pod_id = id_of(&pod);
    wait_until("the burner is told", || {
        let presence = bed.foreign().present(&cpus);
        assert!(
            presence.intruders.iter().all(|task| task.pid != owner),
            "{presence:?}"
        );
        presence.intruders.iter().any(|task| {
            task.pid == burner
                && task.kind == Stranger::Pod
                && task.comm == "sh"
                && task.cgroup == Some(pod_id)
        })
    });
    let path = |cgroup: &Path| {
        let below = cgroup.strip_prefix(mount()).unwrap();
        CgroupPath::parse(below.to_str().unwrap()).unwrap()
    };
    let owners = BTreeMap::from([(bed.cpu, path(&bed.owner))]);
    let found = strangers(&path(&bed.root.0), &owners).unwrap();
    assert!(found.iter().all(|task| task.pid != owner), "{found:?}");
    assert!(
        found
            .iter()
            .any(|task| task.pid == burner && task.kind == Stranger::Pod),
        "{found:?}"
    );
    bed.signal("-STOP");
    wait_until("the burner has left", || {
        let presence = bed.foreign().present(&cpus);
        presence.intruders.iter().all(|task| task.kind != Stranger::Pod)
    });
    let time = bed.time();
    let left = time.left.unwrap();
    assert!(time.since <= left && left <= RealClock.now());
    // Given to another, the CPU is judged anew.
    let other = OwnerCgroup { id: pod_id, depth: 2 };
    let owners = BTreeMap::from([(bed.cpu, other)]);
    bed.foreign().set_owners(&owners).unwrap();
    let time = bed.time();
    assert_eq!(time.owner, Some(pod_id));
    assert!(time.since > left && time.left.is_none_or(|again| again > time.since));
}

/// Moving a running task to another CPU takes a thread of the kernel on the one it leaves.
#[test]
#[ignore = "needs root and the eBPF objects: cargo xtask test"]
fn kernel_threads_are_told_by_name() {
    let mut bed = Bed::new();
    let pod = bed.pod.clone();
    let burner = bed.burn(&pod).to_string();
    bed.own();
    let mut before = Duration::ZERO;
    wait_until("the kernel moves the burner", || {
        for cpus in ["0", &bed.cpu.to_string()] {
            let moved = Command::new("taskset")
                .args(["-pc", cpus, &burner])
                .output()
                .unwrap();
            assert!(moved.status.success(), "{moved:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        let times = bed.foreign().kernel_threads().unwrap();
        let all = times.named.iter().map(|(_, time)| *time).sum::<Duration>() + times.others;
        assert!(all >= before);
        before = all;
        times
            .named
            .iter()
            .any(|(name, time)| name == "migration" && *time > Duration::ZERO)
    });
    assert!(bed.time().kernel_threads >= before);
}
