//! CPU time and run-queue delay, at context switches.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use plimsoll::observe::probes::{ProbeEvent, Probes};

use super::support::{TestCgroup, cpu_usage, id_of, run_in, schedstat, start, told_until, wait_until_told};

/// Two busy processes on one CPU wait for each other half of the time. Nobody wakes them, so a probe at wake-ups
/// would see nothing of it.
#[test]
#[ignore = "needs root and the eBPF objects: cargo xtask test"]
fn waits_of_preempted_tasks_are_counted() {
    let root = TestCgroup::new();
    let leaves = [root.child("one"), root.child("two")];
    let mut probes = start(&root.0, &["usage", "switch"]);
    let mut children: Vec<_> = leaves
        .iter()
        .map(|leaf| run_in(leaf, "exec taskset -c 0 sh -c 'while :; do :; done'"))
        .collect();
    std::thread::sleep(Duration::from_millis(1500));
    for child in &children {
        let pid = child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-STOP", &pid])
                .status()
                .unwrap()
                .success()
        );
    }
    std::thread::sleep(Duration::from_millis(100));
    let truth: Vec<_> = children.iter().map(|child| schedstat(child.id())).collect();
    let snapshot = probes.snapshot();
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for (leaf, (ran, waited)) in leaves.iter().zip(&truth) {
        let sample = snapshot.get(id_of(leaf)).unwrap();
        let (on_cpu, delay) = (sample.on_cpu.unwrap().value, sample.run_delay.unwrap().value);
        let near = |ours: Duration, theirs: Duration| {
            ours.abs_diff(theirs) < theirs / 10 + Duration::from_millis(30)
        };
        assert!(near(on_cpu, *ran), "ran {on_cpu:?}, in truth {ran:?}");
        assert!(
            near(delay.total, *waited),
            "waited {:?}, in truth {waited:?}",
            delay.total
        );
        assert!(
            *waited > Duration::from_millis(200),
            "the processes did not compete: {waited:?}"
        );
        assert!(delay.count() > 0);
        let long: u64 = delay.histogram[8..].iter().sum();
        assert!(long > 0, "no wait above 1 ms in {:?}", delay.histogram);
    }
    let all = snapshot.get(id_of(&root.0)).unwrap().run_delay.unwrap().value;
    let sum: Duration = leaves
        .iter()
        .map(|leaf| snapshot.get(id_of(leaf)).unwrap().run_delay.unwrap().value.total)
        .sum();
    assert_eq!(all.total, sum, "the root has the waits of its subtree");
}

#[test]
#[ignore = "needs root and the eBPF objects: cargo xtask test"]
fn time_on_the_cpu_is_that_of_cpu_stat_once_all_has_ended() {
    let root = TestCgroup::new();
    let leaf = root.child("leaf");
    let mut probes = start(&root.0, &["usage", "switch"]);
    for _ in 0..3 {
        let script = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
        assert!(run_in(&leaf, script).wait().unwrap().success());
    }
    let file = cpu_usage(&leaf);
    assert!(
        file > Duration::from_millis(50),
        "the work was too short: {file:?}"
    );
    let ours = counted(&mut probes, &leaf);
    assert!(
        ours < file + tolerance(file),
        "{ours:?} by switches, {file:?} in cpu.stat"
    );
}

/// By how much counting at switches may differ from `cpu.stat`.
fn tolerance(file: Duration) -> Duration {
    file / 20 + Duration::from_millis(5)
}

/// What was counted for a cgroup whose processes have ended, once it comes near to what `cpu.stat` has: a process
/// that has been waited for may yet have to be switched out for the last time.
fn counted(probes: &mut Probes, cgroup: &Path) -> Duration {
    let file = cpu_usage(cgroup);
    let ours = Cell::new(Duration::ZERO);
    let what = || format!("the last switch is counted: {:?} of {file:?} so far", ours.get());
    wait_until_told(what, || {
        let sample = probes.snapshot().get(id_of(cgroup)).unwrap();
        ours.set(sample.on_cpu.unwrap().value);
        ours.get() + tolerance(file) > file
    });
    ours.get()
}

/// The figures of a cgroup that is gone come with its removal.
#[test]
#[ignore = "needs root and the eBPF objects: cargo xtask test"]
fn a_short_life_is_not_lost() {
    let root = TestCgroup::new();
    let mut probes = start(&root.0, &["usage", "switch", "life"]);
    let leaf = root.child("leaf");
    let id = id_of(&leaf);
    assert!(
        run_in(&leaf, "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done")
            .wait()
            .unwrap()
            .success()
    );
    let counted = counted(&mut probes, &leaf);
    assert!(!counted.is_zero());
    fs::remove_dir(&leaf).unwrap();
    let is_removal =
        |event: &ProbeEvent| matches!(event, ProbeEvent::CgroupRemoved { id: of, .. } if *of == id);
    let events = told_until(&mut probes, |events| events.iter().any(is_removal));
    let totals = events
        .iter()
        .find_map(|event| match event {
            ProbeEvent::CgroupRemoved { id: of, totals, .. } if *of == id => Some(*totals),
            _ => None,
        })
        .expect("the removal was seen");
    let at_removal = totals.on_cpu.expect("its CPU time is known");
    assert!(at_removal >= counted, "{at_removal:?} after {counted:?}");
    assert!(totals.run_delay.unwrap().count() > 0);
}
