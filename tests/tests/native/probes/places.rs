//! Cgroups whose totals want the same place on a CPU.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use plimsoll::observe::probes::Probes;
use plimsoll_ebpf::account::place_of;

use super::support::{TestCgroup, id_of, start, wait_until};

/// What was counted for a cgroup: nanoseconds run, nanoseconds waited, switches by wait.
fn counted(probes: &mut Probes, cgroup: &Path) -> Vec<u64> {
    let sample = probes.snapshot().get(id_of(cgroup)).unwrap();
    let (ran, delay) = (sample.on_cpu.unwrap().value, sample.run_delay.unwrap().value);
    let times = [ran, delay.total].map(|time| u64::try_from(time.as_nanos()).unwrap());
    times.into_iter().chain(delay.histogram).collect()
}

/// Three cgroups of one place, among as many as it takes to find them.
fn of_one_place(root: &TestCgroup) -> Vec<PathBuf> {
    let mut by_place: BTreeMap<usize, Vec<PathBuf>> = BTreeMap::new();
    for n in 0..1000 {
        let cgroup = root.child(&format!("c{n}"));
        let there = by_place.entry(place_of(id_of(&cgroup).0)).or_default();
        there.push(cgroup);
        if there.len() == 3 {
            return there.clone();
        }
    }
    panic!("no three of a thousand cgroups have the same place");
}

fn command(cgroup: &Path, program: &str) -> Command {
    let script = format!("echo $$ > {}/cgroup.procs && exec {program}", cgroup.display());
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    command
}

/// Two processes that wake each other without end: one fills a pipe, the other empties it.
fn pipe(from: &Path, to: &Path, prefix: &str) -> [Child; 2] {
    let mut filling = command(from, &format!("{prefix} yes"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let emptying = command(to, &format!("{prefix} cat"))
        .stdin(filling.stdout.take().unwrap())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    [filling, emptying]
}

/// Processes and the cgroup that each is in.
type Members<'a> = [(&'a PathBuf, Child)];

/// What `/proc` has about a process, by file.
fn proc(process: &Child, file: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{file}", process.id())).unwrap()
}

/// What a process had of the CPUs, by the kernel's own books.
struct Books {
    ran: Duration,
    /// Times it came in on a CPU.
    turns: u64,
}

fn books(process: &Child) -> Books {
    let text = proc(process, "schedstat");
    let numbers: Vec<u64> = text.split_whitespace().map(|n| n.parse().unwrap()).collect();
    Books {
        ran: Duration::from_nanos(numbers[0]),
        turns: numbers[2],
    }
}

/// Sends a signal, by the name that `kill` knows.
fn signal(members: &Members<'_>, name: &str) {
    for (_, process) in members {
        let pid = process.id().to_string();
        let kill = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(kill.success());
    }
}

/// Stops all processes, and gives what the kernel's books have for each cgroup, and what was counted for it.
fn at_rest(members: &Members<'_>, cgroups: &[PathBuf], probes: &mut Probes) -> Vec<(Vec<Books>, Vec<u64>)> {
    signal(members, "-STOP");
    wait_until("the processes have stopped", || {
        members
            .iter()
            .all(|(_, process)| proc(process, "stat").contains(") T "))
    });
    // The state is set a moment before the last switch.
    std::thread::sleep(Duration::from_millis(200));
    let own_books = |cgroup: &PathBuf| {
        let own = members.iter().filter(|(of, _)| *of == cgroup);
        own.map(|(_, process)| books(process)).collect()
    };
    cgroups
        .iter()
        .map(|cgroup| (own_books(cgroup), counted(probes, cgroup)))
        .collect()
}

/// On one CPU the three take the place from each other all the time, another pair moves between CPUs, and all the
/// while the totals are collected. Between two rests, time and switches are those of the kernel's own books.
#[test]
#[ignore = "needs root and the eBPF objects: cargo xtask test"]
fn totals_that_share_a_place_stay_whole() {
    let root = TestCgroup::new();
    let cgroups = of_one_place(&root);
    let [one, two, three] = &cgroups[..] else {
        unreachable!("there are three")
    };
    let mut probes = start(&root.0, &["usage", "switch"]);
    let mut members = Vec::new();
    for (from, to, prefix) in [
        (one, two, "taskset -c 0"),
        (three, one, "taskset -c 0"),
        (two, three, ""),
    ] {
        let [filling, emptying] = pipe(from, to, prefix);
        members.extend([(from, filling), (to, emptying)]);
    }
    wait_until("the processes are at work", || {
        members
            .iter()
            .all(|(_, process)| ["yes", "cat"].contains(&proc(process, "comm").trim()))
    });
    let before = at_rest(&members, &cgroups, &mut probes);
    signal(&members, "-CONT");
    let mut seen: Vec<Vec<u64>> = before.iter().map(|(_, counted)| counted.clone()).collect();
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        for (cgroup, seen) in cgroups.iter().zip(&mut seen) {
            let now = counted(&mut probes, cgroup);
            assert!(
                seen.iter().zip(&now).all(|(before, now)| before <= now),
                "from {seen:?} back to {now:?}"
            );
            *seen = now;
        }
    }
    let after = at_rest(&members, &cgroups, &mut probes);
    for (_, process) in &mut members {
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let ran = |books: &[Books]| -> Duration { books.iter().map(|books| books.ran).sum() };
    let turns = |books: &[Books]| -> u64 { books.iter().map(|books| books.turns).sum() };
    for ((books, counted), (books_before, counted_before)) in after.iter().zip(&before) {
        let turns = turns(books) - turns(books_before);
        assert!(turns > 200, "the processes did not take turns: {turns}");
        let switches = counted[2..].iter().sum::<u64>() - counted_before[2..].iter().sum::<u64>();
        // With places or without, a few switches in a hundred thousand escape the program.
        assert!(
            switches.abs_diff(turns) <= 10 + turns / 1000,
            "{switches} switches, in truth {turns}"
        );
        let ran_in_truth = ran(books) - ran(books_before);
        let ran = Duration::from_nanos(counted[0] - counted_before[0]);
        assert!(
            ran.abs_diff(ran_in_truth) <= Duration::from_millis(5) + ran_in_truth / 500,
            "ran {ran:?}, in truth {ran_in_truth:?}"
        );
    }
}
