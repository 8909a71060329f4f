//! How a victim goes.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use plimsoll::act::kill::{KillOutcome, kill};
use plimsoll::kernel::cgroup_fs::CgroupFs;
use plimsoll::kernel::clock::RealClock;
use plimsoll::kernel::pressure::contract::{Host, check};
use plimsoll::kernel::pressure::{Alarm, Alarms, Killing, MemoryCgroup, RealKiller, Scores, Watch};
use plimsoll::model::{ControlFile, OomScoreAdj};

use super::{Pod, Pods, alarm, now};
use crate::probes::support::mount;
use crate::support::{path, until};

const MIB: u64 = 256;

/// Kills the pod, waits until it is empty and its memory is back, and prints how long that took. Gives what it still uses.
fn killed(pods: &Pods, pod: &Pod, what: &str) -> u64 {
    killed_below(pods, pod, None, what)
}

/// The same below a level whose CPU is limited.
fn killed_below(pods: &Pods, pod: &Pod, level: Option<&Arc<MemoryCgroup>>, what: &str) -> u64 {
    let mut killer = RealKiller::new().unwrap();
    let mut alarms = Alarms::new().unwrap();
    let watch = Watch {
        populated: true,
        ..Watch::default()
    };
    alarms.watch(&pod.cgroup, watch);
    let before = pods.number(pod, ControlFile::MemoryCurrent);
    let decided = now();
    let outcome = kill(
        &mut killer,
        &pod.cgroup,
        level,
        pod.cgroup.id(),
        &RealClock,
        || (),
    );
    let acted = now();
    let KillOutcome::Signalled {
        at, lifted, release, ..
    } = outcome
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(release, Ok(()));
    let mut halved = None;
    let empty = alarm(&mut alarms, "it is empty", |alarm| {
        let gone = Alarm::Populated {
            cgroup: pod.cgroup.id(),
            populated: false,
        };
        (*alarm == gone).then(now)
    });
    until("its memory is back", || {
        let left = pods.number(pod, ControlFile::MemoryCurrent);
        if left < before / 2 {
            halved = halved.or(Some(now()));
        }
        left < before / 10 || what.contains("tmpfs")
    });
    println!(
        "LATENCY {what}: decision to signal {:?}, all done {:?}, signal to empty {:?}, to freed at most {:?}; lifted {lifted:?}, \
         {:?}",
        at.since(decided),
        acted.since(decided),
        empty.since(at),
        halved.map(|halved| halved.since(at)),
        killer.released(),
    );
    lifted.unwrap();
    pods.number(pod, ControlFile::MemoryCurrent)
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn a_hog_dies_and_its_memory_comes_back_busy_stopped_or_throttled() {
    let pods = Pods::new();
    let plain = pods.pod("plain", &[]);
    pods.spinner(&plain, MIB);
    killed(&pods, &plain, "a busy hog of 256 MiB");

    let stopped = pods.pod("stopped", &[]);
    pods.holder(&stopped, MIB);
    let mut stop = Command::new("sh");
    let procs = pods.fs().read(&stopped.container, ControlFile::Procs).unwrap();
    stop.args([
        "-c",
        &format!(
            "kill -STOP {}",
            procs.split_whitespace().collect::<Vec<_>>().join(" ")
        ),
    ]);
    assert!(stop.status().unwrap().success());
    killed(&pods, &stopped, "a stopped hog");

    let throttled = pods.pod("throttled", &[]);
    pods.spinner(&throttled, MIB);
    // 1 % of a CPU, and the container as well.
    for at in [&throttled.at, &throttled.container] {
        pods.fs().write(at, ControlFile::CpuMax, "1000 100000").unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    killed(&pods, &throttled, "a hog at cpu.max 1 %");
    for at in [&throttled.at, &throttled.container] {
        let limit = pods.fs().read(at, ControlFile::CpuMax).unwrap();
        assert_eq!(limit.trim(), "max 100000", "the period is as it was");
    }
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn a_hog_dies_below_a_level_that_has_one_hundredth_of_a_cpu() {
    let pods = Pods::new();
    let level = pods.pod("level", &[]);
    let pod = pods.pod("level/pod", &[]);
    pods.spinner(&pod, MIB);
    pods.fs()
        .write(&level.at, ControlFile::CpuMax, "1000 100000")
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    killed_below(
        &pods,
        &pod,
        Some(&level.cgroup),
        "a hog whose level is at cpu.max 1 %",
    );
    assert_eq!(pods.read(&level, ControlFile::CpuMax).trim(), "max 100000");
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn what_a_victim_has_in_a_tmpfs_stays() {
    let pods = Pods::new();
    let pod = pods.pod("shm", &[]);
    let volume = std::env::temp_dir().join("plimsoll-pressure-volume");
    fs::create_dir_all(&volume).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "volume"])
        .arg(&volume)
        .status();
    assert!(mounted.unwrap().success());
    let script = format!(
        "dd if=/dev/zero of={}/f bs=1M count=64 2>/dev/null; exec sleep 1000",
        volume.display()
    );
    pods.root.shell_in(&pod.container, &script).unwrap();
    until("the file is written", || {
        pods.key(&pod, ControlFile::MemoryStat, "shmem ") >= 64 << 20
    });
    let left = killed(&pods, &pod, "a pod with 64 MiB in a tmpfs");
    assert!(left >= 64 << 20, "{left}");
    fs::remove_file(volume.join("f")).unwrap();
    until("the file's memory is back", || {
        pods.number(&pod, ControlFile::MemoryCurrent) < 32 << 20
    });
    assert!(Command::new("umount").arg(&volume).status().unwrap().success());
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn scores_can_be_lowered_and_put_back() {
    let pods = Pods::new();
    let pod = pods.pod("score", &[]);
    pods.holder(&pod, 1);
    let mut scores = Scores::default();
    let (start, steered) = (OomScoreAdj(0), OomScoreAdj(-500));
    assert!(scores.announce(pod.cgroup.id(), start, steered));
    let scored = scores.write(&pod.cgroup, start, steered).unwrap();
    assert!(
        scored.settled && scored.written >= 2 && scored.refused.is_none(),
        "{scored:?}"
    );
    let restored = scores.write(&pod.cgroup, start, start).unwrap();
    assert_eq!((restored.written, restored.settled), (scored.written, true));
}

struct Machine {
    pods: Pods,
    killer: RealKiller,
    made: Vec<Pod>,
}

impl Machine {
    fn pod(&self, victim: &MemoryCgroup) -> &Pod {
        let found = self.made.iter().find(|pod| pod.cgroup.id() == victim.id());
        found.unwrap()
    }
}

impl Host for Machine {
    type Killer = RealKiller;

    fn killer(&mut self) -> &mut RealKiller {
        &mut self.killer
    }

    fn victim(&mut self, processes: u32) -> Arc<MemoryCgroup> {
        let name = format!("v{}", self.made.len());
        let pod = self.pods.pod(&name, &[]);
        // The kernel allows processes beside a cgroup with controllers nowhere: in two below it, then.
        let beside = path(&format!("{name}/d"));
        self.pods.fs().create(&beside).unwrap();
        for _ in 0..processes {
            for at in [&pod.container, &beside] {
                self.pods.root.shell_in(at, "exec sleep 1000").unwrap();
            }
        }
        let cgroup = pod.cgroup.clone();
        self.made.push(pod);
        cgroup
    }

    fn limit_cpu(&mut self, victim: &Arc<MemoryCgroup>) -> bool {
        let pod = self.pod(victim);
        for at in [&pod.at, &pod.container] {
            self.pods
                .fs()
                .write(at, ControlFile::CpuMax, "5000 50000")
                .unwrap();
        }
        true
    }

    fn stop(&mut self, victim: &Arc<MemoryCgroup>) {
        let pod = self.pod(victim);
        for pid in self
            .pods
            .fs()
            .read(&pod.container, ControlFile::Procs)
            .unwrap()
            .lines()
        {
            let stopped = Command::new("kill").args(["-STOP", pid]).status();
            assert!(stopped.unwrap().success());
        }
    }

    fn freeze(&mut self, victim: &Arc<MemoryCgroup>) {
        let pod = self.pod(victim);
        let root = mount().join(self.pods.root.path.to_string());
        fs::write(root.join(pod.at.to_string()).join("cgroup.freeze"), "1").unwrap();
        until("it is frozen", || {
            let events = self.pods.fs().read(&pod.at, ControlFile::Events).unwrap();
            events.contains("frozen 1")
        });
    }

    fn settle(&mut self) {
        for pod in &self.made {
            let told = self.pods.fs().read(&pod.at, ControlFile::Events);
            // The dying are gone soon, the living stay.
            for _ in 0..50 {
                if told.as_ref().is_ok_and(|events| events.contains("populated 0")) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }

    fn remove(&mut self, victim: &Arc<MemoryCgroup>) {
        let at = self.pod(victim).at.clone();
        self.pods.root.settle(&at);
        self.pods.fs().remove_tree(&at).unwrap();
    }
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn killing_keeps_its_contract_under_pressure() {
    let mut machine = Machine {
        pods: Pods::new(),
        killer: RealKiller::new().unwrap(),
        made: Vec::new(),
    };
    check(&mut machine);
    let victim = machine.victim(0);
    assert!(machine.killer.current(&victim).unwrap().is_some());
}
