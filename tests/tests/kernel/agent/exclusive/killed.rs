//! The agent ends in the middle of giving CPUs and taking them back, again and again on the same node.
//!
//! Each run starts an agent that ends itself at the n-th passage of some point, lets pods come, go and change beside it,
//! and looks at the kernel once it is dead; then a whole agent has to bring everything to what the manifests ask for. What
//! each run does follows from a fixed seed.

use std::collections::BTreeMap;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use plimsoll::model::{ContainerPhase, CpuSet, NodeReport, PodReport, ProcessIdentity};

use super::{Host, SHARING, configuration, find, guaranteed, lives, online, own, process, until};

const RUNS: u64 = 50;
/// The machine has four CPUs, and one is reserved.
const TO_GIVE: usize = 3;
/// Pods at most.
const PODS: usize = 4;
/// How long an agent may live that has done all that is wanted and has not come to its point: something follows yet.
const IDLE: Duration = Duration::from_millis(500);
/// How long one may take for all that is wanted; far more than it takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the agent ends itself.
const POINTS: [&str; 11] = [
    "cpus.given",
    "cpus.written",
    "cpus.alone",
    "container.started",
    "pod.gone",
    "checkpoint.created",
    "checkpoint.half-written",
    "checkpoint.written",
    "checkpoint.synced",
    "checkpoint.renamed",
    "checkpoint.durable",
];

/// SplitMix64: a good spread from any seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}

/// The pods that are wanted, with the number of their own CPUs; none for one that shares.
type Wanted = BTreeMap<String, usize>;

/// What runs now, as the kernel has it: processes and CPUs by pod.
fn running(host: &Host) -> BTreeMap<String, (Vec<u32>, CpuSet)> {
    let mut running = BTreeMap::new();
    for class in ["", "besteffort"] {
        for entry in fs::read_dir(host.cgroup(class)).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let Some(pod) = name.strip_prefix("poduid-") else {
                continue;
            };
            let file = |file| fs::read_to_string(entry.path().join("main").join(file)).unwrap_or_default();
            let members: Vec<u32> = file("cgroup.procs")
                .lines()
                .map(|pid| pid.parse().unwrap())
                .collect();
            if !members.is_empty() {
                let has = CpuSet::parse(file("cpuset.cpus.effective").trim()).unwrap();
                running.insert(pod.to_owned(), (members, has));
            }
        }
    }
    running
}

/// That no container with CPUs of its own shares one with anybody.
fn assert_apart(running: &BTreeMap<String, (Vec<u32>, CpuSet)>, told: &str) {
    for (pod, (_, cpus)) in running.iter().filter(|(pod, _)| pod.starts_with("db")) {
        for (other, (_, others)) in running.iter().filter(|(other, _)| *other != pod) {
            assert!(
                cpus.is_disjoint(others),
                "{told}: {pod} on {cpus}, {other} on {others}"
            );
        }
    }
}

/// Adds, removes or changes a pod; the name of one that keeps neither its process nor its CPUs for sure.
fn change(host: &Host, wanted: &mut Wanted, random: &mut Random, next: &mut usize) -> Option<String> {
    let free = TO_GIVE - wanted.values().sum::<usize>();
    *next += 1;
    match random.below(6) {
        0..=2 if free > 0 && wanted.len() < PODS => {
            let count = 1 + random.below(free.min(2));
            let name = format!("db{next}");
            host.add(&name, &guaranteed(&count.to_string()));
            wanted.insert(name, count);
            None
        }
        3 if wanted.len() < PODS => {
            let name = format!("web{next}");
            host.add(&name, SHARING);
            wanted.insert(name, 0);
            None
        }
        2 | 4 => {
            let resizable = wanted.iter_mut().filter(|(_, count)| **count > 0);
            let (name, count) = resizable.last()?;
            let after = if *count == 1 && free > 0 { 2 } else { 1 };
            if after == *count {
                return None;
            }
            *count = after;
            host.add(name, &guaranteed(&after.to_string()));
            Some(name.clone())
        }
        _ => {
            let name = wanted.keys().nth(random.below(wanted.len().max(1))).cloned()?;
            wanted.remove(&name);
            host.remove(&name);
            Some(name)
        }
    }
}

/// Whether the agent says that all is as wanted.
fn is_as_wanted(report: &NodeReport, wanted: &Wanted) -> bool {
    let runs = |pod: &PodReport| matches!(pod.containers[0].phase, ContainerPhase::Running { .. });
    report.pods.len() == wanted.len()
        && wanted.iter().all(|(name, count)| {
            let has = own(report, name).map_or(0, |cpus| cpus.len());
            find(report, name).is_some_and(runs) && has == *count
        })
}

/// Waits until the agent has ended, or has nothing to do any more.
fn await_end(host: &mut Host, wanted: &Wanted, told: &str) {
    let (began, mut done) = (Instant::now(), None::<Instant>);
    while host.agent.ended().unwrap().is_none() && done.is_none_or(|done| done.elapsed() < IDLE) {
        let status = host.agent.status();
        if done.is_none() && status.is_ok_and(|report| is_as_wanted(&report, wanted)) {
            done = Some(Instant::now());
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{told}: it neither ends nor comes to what is wanted"
        );
        sleep(Duration::from_millis(10));
    }
}

/// That all CPUs are somebody's, once, in the agent's books and in the kernel's; what the exclusive containers have.
fn accounts(host: &Host, wanted: &Wanted, told: &str) -> BTreeMap<String, (ProcessIdentity, CpuSet)> {
    let report = host.wait(|report| is_as_wanted(report, wanted));
    // A list may widen a moment after the last container runs.
    until("the kernel has it so", || {
        let running = running(host);
        let mut left = online();
        let given = running.iter().filter(|(pod, _)| pod.starts_with("db"));
        given.for_each(|(_, (_, cpus))| left -= cpus);
        running.len() == wanted.len()
            && running.iter().all(|(pod, (_, cpus))| match wanted[pod] {
                0 => *cpus == left,
                count => cpus.len() == count,
            })
    });
    let running = running(host);
    assert_apart(&running, told);
    let cpus = report.cpus.as_ref().unwrap();
    assert!(cpus.shared.is_disjoint(&cpus.exclusive), "{told}: {cpus:?}");
    assert_eq!(&cpus.shared | &cpus.exclusive, online(), "{told}");
    let exclusive = wanted.iter().filter(|(_, count)| **count > 0);
    exclusive
        .map(|(name, _)| {
            let (_, has) = &running[name];
            assert_eq!(own(&report, name).as_ref(), Some(has), "{told}: {name}");
            (name.clone(), (process(&report, name), has.clone()))
        })
        .collect()
}

#[test]
#[ignore = "needs a machine of its own"]
fn wherever_it_is_killed_no_cpu_is_lost_or_doubled() {
    let mut host = Host::new(&configuration());
    let mut random = Random(3);
    let (mut wanted, mut next) = (Wanted::new(), 0);
    let mut before = BTreeMap::new();
    let mut ended: BTreeMap<&str, u32> = BTreeMap::new();
    for run in 0..RUNS {
        let (point, nth) = (POINTS[random.below(POINTS.len())], 1 + random.below(2));
        let told = format!("run {run}, {point} for the {nth}. time");
        let planned = format!("{point}:{nth}");
        // Some of it may have happened while no agent ran.
        let starts_after = random.below(3);
        let mut touched = Vec::new();
        for step in 0..4 {
            if step == starts_after {
                host.agent
                    .start_with(&[("PLIMSOLL_FAULT_POINT", &planned)])
                    .unwrap();
            }
            touched.extend(change(&host, &mut wanted, &mut random, &mut next));
            sleep(Duration::from_millis(50 * random.below(8) as u64));
        }
        await_end(&mut host, &wanted, &told);
        if host.agent.ended().unwrap().is_some() {
            *ended.entry(point).or_default() += 1;
        }
        host.agent.kill().unwrap();
        let left = running(&host);
        assert_apart(&left, &told);
        host.agent.start().unwrap();
        let after = accounts(&host, &wanted, &told);
        for (name, (members, had)) in left
            .iter()
            .filter(|(name, _)| name.starts_with("db") && !touched.contains(name))
        {
            let (process, has) = &after[name];
            assert_eq!(
                (members.contains(&process.pid), has),
                (true, had),
                "{told}: {name}"
            );
            assert!(lives(*process));
        }
        for (name, had) in before.iter().filter(|(name, _)| !touched.contains(name)) {
            assert_eq!(Some(had), after.get(name), "{told}: {name}");
        }
        before = after;
        host.agent.kill().unwrap();
    }
    let enough = ended.values().sum::<u32>();
    assert!(enough > 10, "too few runs came to their point: {ended:?}");
}
