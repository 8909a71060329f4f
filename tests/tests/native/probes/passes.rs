//! The pass over all cgroups.

use std::fs;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use plimsoll::kernel::ebpf::{KernelTypes, Loaded, OBJECTS, Walker, open_directory};
use plimsoll::model::{CgroupId, Source};
use plimsoll_ebpf::Object;
use plimsoll_ebpf::wire::have;

use super::support::{TestCgroup, cpu_usage, id_of, run_in, schedstat, start, wait_until};

const WHY: &str = "needs root and the eBPF objects: cargo xtask test";

#[test]
#[ignore = "needs root and the eBPF objects: cargo xtask test"]
fn a_pass_sees_the_whole_subtree_and_nothing_else() {
    let root = TestCgroup::new();
    let outside = TestCgroup::new();
    let mut expected = vec![(id_of(&root.0), None)];
    for a in 0..5 {
        let parent = root.child(&format!("a{a}"));
        expected.push((id_of(&parent), Some(id_of(&root.0))));
        for b in 0..4 {
            let child = root.child(&format!("a{a}/b{b}/c"));
            let middle = child.parent().unwrap();
            expected.push((id_of(middle), Some(id_of(&parent))));
            expected.push((id_of(&child), Some(id_of(middle))));
        }
    }
    let mut probes = start(&root.0, &["usage"]);
    let mut found: Vec<_> = probes.snapshot().samples().map(|s| (s.id, s.parent)).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{WHY}");
    assert!(probes.snapshot().get(id_of(&outside.0)).is_none());

    fs::remove_dir(root.0.join("a0/b0/c")).unwrap();
    let made = root.child("late");
    assert_eq!(probes.snapshot().len(), expected.len());
    assert!(probes.snapshot().get(id_of(&made)).is_some());
}

#[test]
#[ignore = "needs root and the eBPF objects: cargo xtask test"]
fn more_cgroups_than_records_are_reported() {
    let root = TestCgroup::new();
    let limit = plimsoll_ebpf::maps::MAX_RECORDS;
    let mut probes = start(&root.0, &["usage"]);
    for n in 0..limit {
        root.child(&format!("{n}"));
    }
    let snapshot = probes.snapshot();
    assert!(snapshot.truncated());
    assert_eq!(snapshot.len(), limit as usize);
    fs::remove_dir(root.0.join("0")).unwrap();
    assert!(!probes.snapshot().truncated());
}

/// CPU time grows; what the pass says must lie between two readings of the file.
#[test]
#[ignore = "needs root and the eBPF objects: cargo xtask test"]
fn cpu_time_is_that_of_the_file_in_the_whole_subtree() {
    let root = TestCgroup::new();
    let leaves: Vec<_> = (0..6).map(|n| root.child(&format!("pod{n}/c"))).collect();
    let mut probes = start(&root.0, &["usage"]);
    let mut busy: Vec<_> = leaves
        .iter()
        .take(3)
        .map(|leaf| run_in(leaf, "while :; do :; done"))
        .collect();
    let mut paths: Vec<_> = leaves
        .iter()
        .map(|leaf| leaf.parent().unwrap().to_owned())
        .collect();
    paths.extend(leaves.clone());
    paths.push(root.0.clone());
    let mut compared = 0;
    let mut grown = 0;
    for _ in 0..50 {
        std::thread::sleep(std::time::Duration::from_millis(5));
        let before: Vec<_> = paths.iter().map(|path| cpu_usage(path)).collect();
        let samples: Vec<_> = probes.snapshot().samples().collect();
        let after: Vec<_> = paths.iter().map(|path| cpu_usage(path)).collect();
        for ((path, before), after) in paths.iter().zip(before).zip(after) {
            let id = id_of(path);
            let sample = samples.iter().find(|sample| sample.id == id).unwrap();
            let cpu = sample.cpu.unwrap();
            assert_eq!(cpu.source, Source::Bpf);
            // The file rounds down to microseconds.
            let cpu_usec = cpu.value.as_micros();
            assert!(
                before.as_micros() <= cpu_usec && cpu_usec <= after.as_micros(),
                "{}: {before:?} {cpu:?} {after:?}",
                path.display()
            );
            compared += 1;
            grown += u32::from(cpu_usec > 0);
        }
    }
    for child in &mut busy {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(
        compared == 50 * paths.len() && grown > 50,
        "{compared} compared, {grown} above zero"
    );
}

#[test]
#[ignore = "needs root and the eBPF objects: cargo xtask test"]
fn a_root_that_was_removed_gives_no_figures_of_another() {
    let parent = TestCgroup::new();
    let root = parent.child("root");
    let mut probes = start(&root, &["usage"]);
    assert_eq!(probes.snapshot().len(), 1);
    fs::remove_dir(&root).unwrap();
    let again = parent.child("root");
    assert_ne!(id_of(&again), CgroupId(0));
    assert!(probes.snapshot().is_empty());
}

/// A task is charged at the timer's ticks, counted when it leaves the CPU, and may leave without being charged again:
/// as long as it is there, what was collected for its cgroup is not all.
#[test]
#[ignore = "needs root and the eBPF objects: cargo xtask test"]
fn what_is_on_a_cpu_is_not_taken_for_settled() {
    let root = TestCgroup::new();
    let leaf = root.child("leaf");
    let types = KernelTypes::read().unwrap();
    let survey = types.survey().unwrap();
    let usage = Loaded::open(Object::Usage, OBJECTS, &survey.facts[&Object::Usage], &types).unwrap();
    let mut walker = Walker::new(usage, &types, &open_directory(&root.0).unwrap()).unwrap();
    walker
        .count_run_time(&types, |name| (name == "sched_switch").then(|| name.to_owned()))
        .unwrap();
    let settled = |walker: &mut Walker| {
        let records = walker.pass().unwrap().records;
        let record = records.iter().find(|record| record.id == id_of(&leaf).0).unwrap();
        (record.cpu_nsec, record.have & have::SETTLED != 0)
    };

    let mut burner = run_in(&leaf, "exec taskset -c 0 sh -c 'while :; do :; done'");
    let pid = burner.id();
    keep_off_the_first_cpu();
    wait_until("the burner is in its cgroup", || settled(&mut walker).0 > 0);
    let turn = || {
        let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        let came = read("schedstat").split_whitespace().last().unwrap().to_owned();
        let status = read("status");
        let left = status
            .lines()
            .filter_map(|line| line.split_once("_ctxt_switches:"))
            .map(|(_, times)| times.trim().to_owned());
        (came, left.collect::<Vec<_>>())
    };
    let (mut whole, mut stood_still) = (0, 0);
    wait_until("passes are made within turns on the CPU", || {
        let (before, ran) = (turn(), schedstat(pid).0);
        let passes = [(); 3].map(|()| settled(&mut walker));
        wait_until("the burner is charged", || schedstat(pid).0 > ran);
        if turn() == before {
            // It was on the CPU all the time, for it did not come and did not leave, and ran.
            whole += 1;
            for (pass, next) in passes.iter().zip(&passes[1..]) {
                stood_still += u32::from(pass.0 == next.0);
                // Where the kernel did not tell that the burner came, it is not seen, and what was settled is in doubt.
                assert!(
                    !next.1 || !walker.saw_every_turn(),
                    "settled at {next:?} after {pass:?}, and the burner runs"
                );
            }
        }
        // Emulated, a pass may take longer than it is from one charge to the next: then there is nothing to see.
        stood_still > 2 || whole > 20
    });
    burner.kill().unwrap();
    burner.wait().unwrap();
    wait_until("all is settled once nothing runs", || settled(&mut walker).1);
}

/// The first CPU is the burner's: who makes passes there sees that it does not run.
fn keep_off_the_first_cpu() {
    let mut others = CpuSet::new();
    for cpu in 1..CpuSet::count() {
        others.set(cpu).unwrap();
    }
    sched_setaffinity(Pid::from_raw(0), &others).expect("a second CPU");
}
