//! Cgroups and processes that come and go.

use std::fs;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use plimsoll::model::ExitStatus;
use plimsoll::observe::probes::{ProbeEvent, Probes};

use super::support::{TestCgroup, id_of, run_in, start, told_until};

/// Whether events wait, or come within a time.
fn readable(probes: &Probes, within: Duration) -> bool {
    let fd = probes.events_fd().unwrap();
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(within).unwrap();
    poll(&mut fds, timeout).unwrap() > 0
}

#[test]
#[ignore = "needs root and the eBPF objects: cargo xtask test"]
fn a_cgroups_life_is_told_in_order_with_its_parent() {
    let root = TestCgroup::new();
    let outside = TestCgroup::new();
    let mut probes = start(&root.0, &["usage", "life"]);
    probes.drain_events();
    let pod = root.child("pod-1");
    assert!(
        readable(&probes, Duration::from_secs(60)),
        "making a cgroup wakes"
    );
    let leaf = root.child("pod-1/leaf");
    outside.child("not-ours");
    assert!(run_in(&leaf, "true").wait().unwrap().success());
    let (root_id, pod_id, leaf_id) = (id_of(&root.0), id_of(&pod), id_of(&leaf));
    let mut events = told_until(&mut probes, |events| {
        events.iter().any(
            |event| matches!(event, ProbeEvent::Populated { id, populated: false, .. } if *id == leaf_id),
        )
    });
    fs::remove_dir(&leaf).unwrap();
    fs::remove_dir(&pod).unwrap();
    events.extend(told_until(&mut probes, |events| {
        events
            .iter()
            .any(|event| matches!(event, ProbeEvent::CgroupRemoved { id, .. } if *id == pod_id))
    }));

    let made: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            ProbeEvent::CgroupMade { id, parent, name, .. } => Some((*id, *parent, name.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(made, [(pod_id, root_id, "pod-1"), (leaf_id, pod_id, "leaf")]);
    let removed: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            ProbeEvent::CgroupRemoved { id, .. } => Some(*id),
            _ => None,
        })
        .collect();
    assert_eq!(removed, [leaf_id, pod_id]);
    let populated: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            ProbeEvent::Populated { id, populated, .. } if *id == leaf_id => Some(*populated),
            _ => None,
        })
        .collect();
    assert_eq!(populated, [true, false]);
    assert_eq!(probes.dropped().iter().map(|(_, n)| n).sum::<u64>(), 0);
}

#[test]
#[ignore = "needs root and the eBPF objects: cargo xtask test"]
fn every_process_is_told_with_its_exit_status() {
    let root = TestCgroup::new();
    let leaf = root.child("leaf");
    let mut probes = start(&root.0, &["usage", "life"]);
    // A process in a cgroup outside is not told.
    let outside = TestCgroup::new();
    let stranger = run_in(&outside.child("x"), "exit 9");
    let mut children = vec![
        (run_in(&leaf, "exit 3"), ExitStatus::Code(3)),
        // By its path: busybox's shell executes a plain name of its own within itself.
        (run_in(&leaf, "exec /bin/sh -c 'exit 0'"), ExitStatus::Code(0)),
        (run_in(&leaf, "kill -9 $$"), ExitStatus::Signal(9)),
        (run_in(&leaf, "kill -15 $$"), ExitStatus::Signal(15)),
    ];
    for (child, _) in &mut children {
        child.wait().unwrap();
    }
    let mut stranger = stranger;
    stranger.wait().unwrap();
    let is_told = |events: &[ProbeEvent], of: u32| {
        events
            .iter()
            .any(|event| matches!(event, ProbeEvent::Exit { pid, .. } if *pid == of))
    };
    let events = told_until(&mut probes, |events| {
        children.iter().all(|(child, _)| is_told(events, child.id()))
    });
    let exits: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            ProbeEvent::Exit {
                pid, cgroup, status, ..
            } => {
                assert_eq!(*cgroup, id_of(&leaf));
                Some((*pid, *status))
            }
            _ => None,
        })
        .collect();
    for (child, status) in &children {
        let told: Vec<_> = exits.iter().filter(|(pid, _)| *pid == child.id()).collect();
        assert_eq!(told, [&(child.id(), *status)], "once, with its status");
    }
    assert!(exits.iter().all(|(pid, _)| *pid != stranger.id()));
    let executed = events.iter().any(|event| {
        matches!(event, ProbeEvent::Exec { pid, comm, .. } if *pid == children[1].0.id() && comm == "sh")
    });
    assert!(
        executed,
        "the program that replaced the shell was told: {events:?}"
    );
}

/// Set for the process that [`a_process_with_threads_ends_once`] starts.
const HELPER: &str = "PLIMSOLL_TEST_HELPER";

/// The helper of the next test: ends with its threads still there.
#[test]
#[ignore = "started by another test"]
fn helper_with_threads() {
    if std::env::var_os(HELPER).is_some() {
        for _ in 0..8 {
            std::thread::spawn(|| std::thread::sleep(Duration::from_secs(60)));
        }
        std::process::exit(7);
    }
}

/// Threads end without telling; the process tells once, when the last one ends.
#[test]
#[ignore = "needs root and the eBPF objects: cargo xtask test"]
fn a_process_with_threads_ends_once() {
    let root = TestCgroup::new();
    let leaf = root.child("leaf");
    let mut probes = start(&root.0, &["usage", "life"]);
    let this = std::env::current_exe().unwrap();
    let helper = format!(
        "{}::helper_with_threads",
        module_path!().split_once("::").unwrap().1
    );
    let script = format!(
        "{HELPER}=1 exec {} --include-ignored --exact {helper}",
        this.display()
    );
    let mut child = run_in(&leaf, &script);
    assert_eq!(child.wait().unwrap().code(), Some(7));
    let is_end = |event: &ProbeEvent| {
        matches!(event, ProbeEvent::Exit { pid, status, .. }
            if *pid == child.id() && *status == ExitStatus::Code(7))
    };
    let events = told_until(&mut probes, |events| events.iter().any(is_end));
    let ends = events
        .iter()
        .filter(|event| matches!(event, ProbeEvent::Exit { .. }));
    assert_eq!(ends.count(), 1, "no thread is told: {events:?}");
}

#[test]
#[ignore = "needs root and the eBPF objects: cargo xtask test"]
fn a_full_ring_is_counted_and_does_not_stop_the_rest() {
    let root = TestCgroup::new();
    let mut probes = start(&root.0, &["usage", "life"]);
    let path = root.0.join("again");
    for _ in 0..8000 {
        fs::create_dir(&path).unwrap();
        fs::remove_dir(&path).unwrap();
    }
    let lost: u64 = probes.dropped().iter().map(|(_, n)| n).sum();
    let told = probes.drain_events().len() as u64;
    assert!(lost > 0, "16 000 events of over 60 bytes fit into 1 MiB");
    assert_eq!(told + lost, 16_000);
    fs::create_dir(&path).unwrap();
    assert_eq!(probes.drain_events().len(), 1, "the ring works again");
}
