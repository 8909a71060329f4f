//! What only a kernel with the memory controller and attachable functions shows: OOM kills, reclaim, throttling.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use plimsoll::model::{Bytes, CgroupId, Limit};
use plimsoll::observe::probes::{ProbeEvent, ProbeState};

use super::probes::support::{TestCgroup, id_of, mount, run_in, start, told_until, wait_until};

fn with_memory() -> TestCgroup {
    fs::write(mount().join("cgroup.subtree_control"), "+memory").unwrap();
    let root = TestCgroup::new();
    fs::write(root.0.join("cgroup.subtree_control"), "+memory").unwrap();
    root
}

/// A pod with a container, of which the pod has the limits.
fn pod(root: &TestCgroup, limits: &[(&str, &str)]) -> std::path::PathBuf {
    let pod = root.child("pod");
    fs::write(pod.join("cgroup.subtree_control"), "+memory").unwrap();
    for (file, value) in limits {
        fs::write(pod.join(file), value).unwrap();
    }
    root.child("pod/container")
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn every_object_is_at_work_and_complete() {
    let root = with_memory();
    let probes = start(&root.0, &[]);
    for status in probes.status() {
        assert_eq!(
            status.state,
            ProbeState::Attached { without: Vec::new() },
            "{}",
            status.name
        );
    }
    assert_eq!(
        probes.status().len(),
        10,
        "nine objects, and the counting at switches"
    );
}

const HOG: &str = "x=$(dd if=/dev/zero bs=1M count=64 2>/dev/null | tr '\\0' x)";

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn an_oom_kill_names_the_victim_the_cgroup_and_the_trigger() {
    let root = with_memory();
    let container = pod(&root, &[("memory.max", "12M"), ("memory.swap.max", "0")]);
    let mut probes = start(&root.0, &["oom", "oomx", "life"]);
    let mut child = run_in(&container, &format!("echo 500 > /proc/$$/oom_score_adj; {HOG}"));
    child.wait().unwrap();
    let mut events = told_until(&mut probes, |events| {
        events
            .iter()
            .any(|event| matches!(event, ProbeEvent::OomVictim { .. }))
    });
    let victims: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            ProbeEvent::OomVictim {
                pid,
                cgroup,
                oom_score_adj,
                trigger_pid,
                trigger_cgroup,
                usage,
                limit,
                ..
            } => Some((
                *pid,
                *cgroup,
                *oom_score_adj,
                *trigger_pid,
                *trigger_cgroup,
                *usage,
                *limit,
            )),
            _ => None,
        })
        .collect();
    let (pid, cgroup, adj, trigger, trigger_cgroup, usage, limit) = victims[0];
    assert_eq!(cgroup, id_of(&container));
    assert_eq!(adj, 500);
    assert_eq!(trigger_cgroup, id_of(&container), "nobody else is in the pod");
    assert!(trigger > 0);
    assert!(
        usage.is_some_and(|usage| usage > Bytes::mib(4) && usage <= Bytes::mib(12)),
        "{usage:?}"
    );
    assert_eq!(limit, Some(Limit::Max), "the container has no limit of its own");
    let domain = events.iter().find_map(|event| match event {
        ProbeEvent::OomDomain {
            pid, cgroup, points, ..
        } => Some((*pid, *cgroup, *points)),
        _ => None,
    });
    let (chosen, domain, points) = domain.expect("the choice is told");
    assert_eq!(chosen, pid);
    let (id, usage, limit) = domain.expect("the pod is out of memory, not the machine");
    assert_eq!(id, id_of(container.parent().unwrap()));
    assert_eq!(limit, Limit::At(Bytes::mib(12)));
    assert!(usage <= Bytes::mib(12) && usage > Bytes::mib(11), "{usage:?}");
    assert!(points > 0);
    // What the shell started may be killed after it, in its turn.
    let victims = |events: &[ProbeEvent]| {
        let victims = events
            .iter()
            .filter(|event| matches!(event, ProbeEvent::OomVictim { .. }));
        victims.count() as u64
    };
    wait_until("as many victims are told as memory.events counts", || {
        events.extend(probes.drain_events());
        let populated = fs::read_to_string(container.join("cgroup.events")).unwrap();
        populated.contains("populated 0") && victims(&events) == events_of(&container)
    });
}

fn events_of(cgroup: &Path) -> u64 {
    let text = fs::read_to_string(cgroup.join("memory.events")).unwrap();
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill "))
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn a_group_kill_names_every_member() {
    let root = with_memory();
    let limits = [
        ("memory.max", "12M"),
        ("memory.swap.max", "0"),
        ("memory.oom.group", "1"),
    ];
    let container = pod(&root, &limits);
    let mut probes = start(&root.0, &["oom"]);
    let mut sleepers: Vec<_> = (0..3).map(|_| run_in(&container, "exec sleep 1000")).collect();
    run_in(&container, HOG).wait().unwrap();
    for sleeper in &mut sleepers {
        sleeper.wait().unwrap();
    }
    let count = |events: &[ProbeEvent], of: u32| {
        let victims = events
            .iter()
            .filter(|event| matches!(event, ProbeEvent::OomVictim { pid, .. } if *pid == of));
        victims.count()
    };
    let events = told_until(&mut probes, |events| {
        sleepers.iter().all(|sleeper| count(events, sleeper.id()) > 0)
    });
    for sleeper in &sleepers {
        assert_eq!(count(&events, sleeper.id()), 1, "once each");
    }
}

/// Reads a total of a pressure file, `some`.
fn pressure(cgroup: &Path) -> Duration {
    let text = fs::read_to_string(cgroup.join("memory.pressure")).unwrap();
    let total = text.lines().next().unwrap().rsplit_once("total=").unwrap().1;
    Duration::from_micros(total.parse().unwrap())
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn direct_reclaim_counts_for_the_cgroup_that_waits() {
    let root = with_memory();
    let container = pod(&root, &[("memory.max", "12M")]);
    let idle = root.child("idle");
    let mut probes = start(&root.0, &["usage", "reclaim"]);
    let work = "dd if=/dev/zero of=/disk/reclaim bs=1M count=48 2>/dev/null; rm /disk/reclaim";
    assert!(run_in(&container, work).wait().unwrap().success());
    let snapshot = probes.snapshot();
    let stalls = |id: CgroupId| snapshot.get(id).unwrap().reclaim.unwrap().value;
    let ours = stalls(id_of(&container));
    assert!(ours.count > 0 && !ours.total.is_zero(), "{ours:?}");
    assert_eq!(
        stalls(id_of(&root.0)),
        ours,
        "the root has the stalls of its subtree"
    );
    assert_eq!(stalls(id_of(&idle)).count, 0);
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn being_held_back_above_memory_high_is_timed() {
    let root = with_memory();
    let container = pod(&root, &[("memory.high", "8M"), ("memory.swap.max", "0")]);
    let mut probes = start(&root.0, &["usage", "reclaimx"]);
    let work = "x=$(dd if=/dev/zero bs=1M count=14 2>/dev/null | tr '\\0' x)";
    let begun = Instant::now();
    let mut child = run_in(&container, work);
    while child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(100));
    }
    fs::write(container.parent().unwrap().join("memory.high"), "max").unwrap();
    child.wait().unwrap();
    let stalls = probes
        .snapshot()
        .get(id_of(&container))
        .unwrap()
        .over_high
        .unwrap()
        .value;
    let told = pressure(&container);
    println!(
        "held back {} times, {:?}; memory.pressure says {told:?}",
        stalls.count, stalls.total
    );
    let elapsed = begun.elapsed();
    assert!(stalls.count > 0);
    assert!(told > Duration::from_millis(100), "the work was not held back");
    // The file weighs stalls by how busy each CPU is, and so may tell less; no process is held back for longer than
    // the work took, and there are three.
    assert!(
        stalls.total > told / 2 && stalls.total <= elapsed * 3,
        "{:?} within {elapsed:?}, beside {told:?}",
        stalls.total
    );
}
