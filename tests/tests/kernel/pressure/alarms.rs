//! What wakes.

use std::time::Duration;

use plimsoll::act::kill::{KillOutcome, kill};
use plimsoll::kernel::clock::RealClock;
use plimsoll::kernel::pressure::{Alarm, Alarms, Armed, RealKiller, Watch, Window, thread};
use plimsoll::model::{BootTime, ControlFile};

use super::{Pods, alarm, now};
use crate::probes::support::{mount, start};
use crate::support::kernel_version;

/// A process that touches its memory itself. One that has the kernel fill huge pages in one long system call meets the
/// limit only when that call returns.
const GROWING: &str = "x=$(dd if=/dev/zero bs=1M count=64 2>/dev/null | tr '\\0' x)";

/// As the guard's thread is.
fn raise() {
    let standing = thread::raise();
    assert_eq!(standing.missing().collect::<Vec<_>>(), [] as [String; 0]);
}

fn windows() -> (Window, Window) {
    let window = |stall, window| Window {
        stall: Duration::from_millis(stall),
        window: Duration::from_millis(window),
    };
    if kernel_version() < (6, 4) {
        (window(50, 500), window(50, 500))
    } else {
        (window(10, 100), window(20, 100))
    }
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn triggers_are_the_shortest_that_this_kernel_has_and_do_not_fire_by_themselves() {
    let pods = Pods::new();
    let pod = pods.pod("idle", &[]);
    let mut alarms = Alarms::new().unwrap();
    let (some, full) = windows();
    let expected = Armed {
        some: Some(some),
        full: Some(full),
        refused: Vec::new(),
    };
    assert_eq!(alarms.watch(&pod.cgroup, Watch::ALL), expected);
    assert_eq!(alarms.watch_machine(), expected);
    // The waker, four files of the pod and the two triggers of either.
    assert_eq!(alarms.len(), 1 + 3 + 2 + 2);
    let mut told = Vec::new();
    let until = now().after(Duration::from_millis(300));
    while now() < until {
        told.extend_from_slice(alarms.wait(Some(Duration::from_millis(50))).unwrap());
    }
    assert!(
        told.iter()
            .all(|alarm| matches!(alarm, Alarm::Stalled { cgroup: None, .. })),
        "{told:?}"
    );
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn a_breach_of_memory_high_wakes_and_then_the_stall_does() {
    const HIGH: u64 = 24 << 20;
    let pods = Pods::new();
    let pod = pods.pod("high", &[(ControlFile::MemoryHigh, "24M")]);
    let mut alarms = Alarms::new().unwrap();
    alarms.watch(&pod.cgroup, Watch::ALL);
    let current = pods.fs().keep(&pod.at, ControlFile::MemoryCurrent).unwrap();
    let pod = &pod;
    std::thread::scope(|scope| {
        let sampler = scope.spawn(move || {
            raise();
            let (mut buffer, mut below) = (Vec::new(), now());
            loop {
                let at = now();
                let text = String::from_utf8(current.read(&mut buffer).unwrap().to_vec()).unwrap();
                if text.trim().parse::<u64>().unwrap() > HIGH {
                    return (below, at);
                }
                below = at;
                std::thread::sleep(Duration::from_micros(500));
            }
        });
        let waiter = scope.spawn(|| {
            raise();
            let told = alarm(&mut alarms, "the breach", |alarm| match alarm {
                Alarm::Memory {
                    cgroup,
                    local: true,
                    before,
                    now: counters,
                } if *cgroup == pod.cgroup.id() => Some((counters.high - before.high, now())),
                _ => None,
            });
            let stalled = alarm(&mut alarms, "the stall", |alarm| match alarm {
                Alarm::Stalled {
                    cgroup: Some(cgroup),
                    full: false,
                    total,
                    moved,
                } if *cgroup == pod.cgroup.id() && !moved.is_zero() => Some((*total, now())),
                _ => None,
            });
            (told, stalled)
        });
        pods.root.shell_in(&pod.container, GROWING).unwrap();
        let ((moved, woken), (total, stalled)) = waiter.join().unwrap();
        assert!(moved > 0);
        let (below, above) = sampler.join().unwrap();
        println!(
            "LATENCY breach to wake: at most {:?} (seen above at {:?} of the wake)",
            woken.since(below),
            if above < woken {
                woken.since(above)
            } else {
                Duration::ZERO
            },
        );
        assert!(!total.is_zero());
        println!(
            "LATENCY breach to PSI trigger: at most {:?}",
            stalled.since(below)
        );
    });
    assert_eq!(
        pods.key(pod, ControlFile::MemoryEvents, "oom_kill"),
        0,
        "the kernel has killed nobody"
    );
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn the_kernels_own_kill_in_a_pod_is_told() {
    let pods = Pods::new();
    let pod = pods.pod("max", &[(ControlFile::MemoryMax, "16M")]);
    let mut alarms = Alarms::new().unwrap();
    alarms.watch(&pod.cgroup, Watch::ALL);
    pods.start(&pod, 64, "> /dev/null");
    let killed = alarm(&mut alarms, "the OOM killer", |alarm| match alarm {
        Alarm::Memory {
            cgroup,
            local: false,
            before,
            now,
        } if *cgroup == pod.cgroup.id() => (now.oom_kill > before.oom_kill).then_some(now.oom_kill),
        _ => None,
    });
    assert!(killed > 0);
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn a_machine_short_of_memory_wakes_before_the_kernel_kills() {
    let pods = Pods::new();
    let pod = pods.pod("hog", &[]);
    let bystander = pods.pod("bystander", &[]);
    pods.holder(&bystander, 32);
    let mut probes = start(&mount(), &["shortage"]);
    let mut shortages = probes.take_shortages().unwrap();
    assert!(probes.take_shortages().is_none(), "it is handed over once");
    let mut alarms = Alarms::new().unwrap();
    alarms.watch_probe(std::os::fd::AsFd::as_fd(&shortages)).unwrap();
    let mut killer = RealKiller::new().unwrap();
    // As much as the machine has, which is more than is left; the kernel would refuse much more than that at once.
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total: u64 = meminfo.split_whitespace().nth(1).unwrap().parse().unwrap();
    let cgroup = &pod.cgroup;
    let (onset, woken, at) = std::thread::scope(|scope| {
        let guard = scope.spawn(|| {
            raise();
            let mut first: Option<BootTime> = None;
            let woken = alarm(&mut alarms, "the shortage", |alarm| {
                (*alarm == Alarm::Probe).then(|| {
                    let woken = now();
                    shortages.drain(|event| first = first.or(Some(event.at)));
                    woken
                })
            });
            let outcome = kill(&mut killer, cgroup, None, cgroup.id(), &RealClock, || ());
            let KillOutcome::Signalled { at, .. } = outcome else {
                panic!("{outcome:?}");
            };
            (first.unwrap(), woken, at)
        });
        pods.start(&pod, total >> 10, "> /dev/null");
        guard.join().unwrap()
    });
    pods.root.settle(&pod.at);
    let (wakes, direct) = shortages.counts();
    println!(
        "LATENCY shortage to wake {:?}, wake to signal {:?}; kswapd woken {wakes}, direct reclaims {direct}, lost {}",
        woken.since(onset),
        at.since(woken),
        shortages.dropped(),
    );
    assert!(wakes + direct > 0 && onset <= woken);
    assert!(pods.root.populated(&bystander.at));
    println!(
        "the kernel's own kills in the hog: {}",
        pods.key(&pod, ControlFile::MemoryEvents, "oom_kill")
    );
}
