//! The contract on the fake and on this machine's kernel, and what only the kernel can show.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::contract::{Host, check};
use super::*;
use crate::kernel::pressure::{Container, MemoryCgroup, ProcessReader, Scores};
use crate::kernel::process::CgroupBed;
use crate::model::pressure::Owner;
use crate::model::{Bytes, OomScoreAdj};

struct InMemory(FakeKiller);

impl Host for InMemory {
    type Killer = FakeKiller;

    fn killer(&mut self) -> &mut FakeKiller {
        &mut self.0
    }

    fn victim(&mut self, processes: u32) -> FakeVictim {
        self.0.add(processes * 2, Bytes::mib(1), Bytes(0))
    }

    fn limit_cpu(&mut self, victim: &FakeVictim) -> bool {
        self.0.limit_cpu(*victim, 2);
        true
    }

    fn stop(&mut self, _: &FakeVictim) {}

    fn freeze(&mut self, _: &FakeVictim) {}

    fn settle(&mut self) {
        self.0.settle();
    }

    fn remove(&mut self, victim: &FakeVictim) {
        self.0.remove(*victim);
    }
}

#[test]
fn the_fake_keeps_the_contract() {
    check(&mut InMemory(FakeKiller::default()));
    check(&mut InMemory(FakeKiller::old()));
}

/// Cgroups of this machine, with sleepers in them.
struct Machine {
    bed: CgroupBed,
    killer: RealKiller,
    made: Vec<(CgroupId, PathBuf)>,
    children: Vec<Child>,
}

impl Machine {
    fn new(name: &str) -> Option<Self> {
        Some(Self {
            bed: CgroupBed::make(name)?,
            killer: RealKiller::new().unwrap(),
            made: Vec::new(),
            children: Vec::new(),
        })
    }

    fn path(&self, victim: &MemoryCgroup) -> &PathBuf {
        let found = self.made.iter().find(|(id, _)| *id == victim.id());
        &found.unwrap().1
    }

    fn run(&mut self, cgroup: &std::path::Path, script: &str) {
        let script = format!("echo $$ > {}/cgroup.procs; {script}", cgroup.display());
        let child = Command::new("sh").args(["-c", &script]).spawn().unwrap();
        self.children.push(child);
        let procs = cgroup.join("cgroup.procs");
        until(|| !fs::read_to_string(&procs).unwrap().is_empty());
    }

    fn pids(&self, victim: &MemoryCgroup) -> Vec<i32> {
        let mut pids = Vec::new();
        each_cgroup(rustix::fd::AsFd::as_fd(victim), &mut |dir| {
            each_process(dir, &mut |pid| pids.push(pid))
        })
        .unwrap();
        pids
    }
}

fn until(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "never");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Host for Machine {
    type Killer = RealKiller;

    fn killer(&mut self) -> &mut RealKiller {
        &mut self.killer
    }

    fn victim(&mut self, processes: u32) -> Arc<MemoryCgroup> {
        let path = self.bed.path.join(format!("v{}", self.made.len()));
        let below = path.join("c");
        fs::create_dir_all(&below).unwrap();
        let dir = OwnedFd::from(fs::File::open(&path).unwrap());
        let victim = Arc::new(MemoryCgroup::new(dir).unwrap());
        for _ in 0..processes {
            self.run(&path, "exec sleep 1000");
            self.run(&below, "exec sleep 1000");
        }
        self.made.push((victim.id(), path));
        victim
    }

    fn limit_cpu(&mut self, _: &Arc<MemoryCgroup>) -> bool {
        false // The controller is elsewhere on this machine; the VM has it.
    }

    fn stop(&mut self, victim: &Arc<MemoryCgroup>) {
        for pid in self.pids(victim) {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        }
    }

    fn freeze(&mut self, victim: &Arc<MemoryCgroup>) {
        let path = self.path(victim).clone();
        fs::write(path.join("cgroup.freeze"), "1").unwrap();
        until(|| {
            let events = fs::read_to_string(path.join("cgroup.events")).unwrap();
            events.contains("frozen 1")
        });
    }

    /// Who was signalled is dead when it is reaped; nobody tells when that will be of those who were not.
    fn settle(&mut self) {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(200) {
            self.children
                .retain_mut(|child| child.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn remove(&mut self, victim: &Arc<MemoryCgroup>) {
        let path = self.path(victim);
        fs::remove_dir(path.join("c")).unwrap();
        fs::remove_dir(path).unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Dead already, mostly.
            child.kill().ok();
            child.wait().ok();
        }
        for (_, path) in &self.made {
            fs::remove_dir(path.join("c")).ok();
            fs::remove_dir(path).ok();
        }
    }
}

#[test]
fn the_kernel_keeps_the_contract() {
    let Some(mut machine) = Machine::new("kill") else {
        return;
    };
    check(&mut machine);
    let released = machine.killer.released();
    assert!(released.victims >= 5, "{released:?}");
    assert!(released.refused >= 1, "the living are not touched: {released:?}");
}

#[test]
fn without_the_file_each_process_is_killed_and_those_it_makes_meanwhile() {
    let Some(mut machine) = Machine::new("kill-each") else {
        return;
    };
    let (victim, bystander) = (machine.victim(1), machine.victim(1));
    let path = machine.path(&victim).join("c");
    // Forks all the time.
    machine.run(&path, "while :; do sleep 1000 & sleep 0.01; done");
    until(|| machine.pids(&victim).len() > 8);
    let how = machine.killer.signal_one_by_one(&victim).unwrap();
    assert!(matches!(how, Signalled::OneByOne(n) if n >= 8), "{how:?}");
    let before = Instant::now();
    while machine.killer.populated(&victim).unwrap() {
        machine.settle();
        assert!(
            before.elapsed() < Duration::from_secs(30),
            "{:?}",
            machine.pids(&victim)
        );
    }
    assert!(machine.killer.populated(&bystander).unwrap());
    machine.killer.signal(&bystander).unwrap();
    machine.settle();
}

#[test]
fn scores_reach_every_process_and_those_it_makes_and_come_back() {
    let Some(mut machine) = Machine::new("scores") else {
        return;
    };
    let victim = machine.victim(1);
    let below = machine.path(&victim).join("c");
    machine.run(
        &below,
        "echo 300 > /proc/$$/oom_score_adj; while :; do sleep 0.2 & sleep 0.02; done",
    );
    let scores_of = |machine: &Machine| -> Vec<i32> {
        let pids = machine.pids(&victim);
        let scores = pids.iter().filter_map(|pid| {
            let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).ok()?;
            text.trim().parse().ok()
        });
        scores.collect()
    };
    until(|| scores_of(&machine).contains(&300));
    let launched: i32 = fs::read_to_string("/proc/self/oom_score_adj")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let at = |score: i32| OomScoreAdj(score.try_into().unwrap());
    assert_ne!(launched, 300);
    let mut scores = Scores::default();
    scores.write(&victim, at(300), at(900)).unwrap_err();
    assert!(scores.announce(victim.id(), at(300), at(900)));
    let scored = scores.write(&victim, at(300), at(900)).unwrap();
    assert!(
        scored.settled && scored.written >= 2 && scored.refused.is_none(),
        "{scored:?}"
    );
    std::thread::sleep(Duration::from_millis(100));
    // One that is ending shows 0.
    let steered = scores_of(&machine);
    assert!(steered.contains(&900) && !steered.contains(&300), "{steered:?}");
    assert!(
        steered.contains(&launched),
        "those who started otherwise are not touched: {steered:?}"
    );
    let again = scores.write(&victim, at(300), at(900)).unwrap();
    assert_eq!(
        (again.written, again.settled),
        (0, true),
        "children have their parents'"
    );
    let owner = Owner { pod: 3, container: 1 };
    let containers = [Container {
        owner,
        cgroup: victim.clone(),
    }];
    let mut processes = Vec::new();
    ProcessReader::default()
        .read(&containers, &mut scores, &mut processes)
        .unwrap();
    let children: Vec<_> = processes
        .iter()
        .filter(|process| process.owner == Some(owner))
        .collect();
    let steered: Vec<_> = children
        .iter()
        .filter(|process| process.start == at(300))
        .collect();
    assert!(
        steered.len() >= 2
            && steered
                .iter()
                .all(|process| process.oom_score_adj == at(900) || process.exempt)
    );
    assert!(children.len() > steered.len() && processes.len() > children.len());
    let restored = scores.write(&victim, at(300), at(300)).unwrap();
    assert!(
        restored.settled && restored.refused.is_none() && scores.is_empty(),
        "{restored:?}"
    );
    let back = scores_of(&machine);
    assert!(back.contains(&300) && !back.contains(&900), "{back:?}");
    machine.killer.signal(&victim).unwrap();
    until(|| {
        machine.settle();
        !machine.killer.populated(&victim).unwrap()
    });
    assert!(scores.announce(victim.id(), at(300), at(1)));
    let gone = scores.write(&victim, at(300), at(1)).unwrap();
    assert_eq!((gone.written, gone.settled), (0, true));
}
