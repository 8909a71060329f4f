//! How a choice is told; and a steerer that is killed, on this machine's own processes, and the one after it.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::*;
use crate::decide::rank::fixtures::{TestPod, in_line};
use crate::kernel::pressure::MemoryCgroup;
use crate::kernel::process::CgroupBed;
use crate::metrics::Metrics;
use crate::model::pressure::Owner;
use crate::model::sample::report;
use crate::model::{Limit, Namespace, OomScoreAdj, PodName, PodUid, ProcessIdentity, QosClass};

/// Tells the process that is to be killed where the cgroups are, and where to write down what it does.
const PODS: &str = "PLIMSOLL_TEST_PODS";
const STATE: &str = "PLIMSOLL_TEST_STATE";
/// The containers of the pod to blame and of the other.
const CONTAINERS: [&str; 2] = ["blamed", "other"];

fn cgroup(path: &Path) -> MemoryCgroup {
    MemoryCgroup::new(fs::File::open(path).unwrap().into()).unwrap()
}

fn steerer(pods: &Path, state: &Path, mode: Option<Mode>) -> Steerer {
    let keeper = ScoreKeeper::open(state, cgroup(pods)).unwrap();
    let (_, reports) = tokio::sync::watch::channel(Arc::new(report(Vec::new())));
    let metrics = Metrics::new(reports);
    Steerer::start(mode, keeper, metrics.counters().pressure().clone()).unwrap()
}

/// The first pod is to blame for what is short.
fn seen(pods: &Path, short: bool) -> Seen {
    let roster = (0..CONTAINERS.len()).map(|number| {
        let pod = TestPod {
            class: Some(QosClass::Burstable),
            ..TestPod::new(number, 1)
        };
        pod.facts()
    });
    let order = (0..CONTAINERS.len()).map(|pod| in_line(pod, None));
    let containers = CONTAINERS.iter().enumerate().map(|(pod, name)| Container {
        owner: Owner { pod, container: 0 },
        cgroup: Arc::new(cgroup(&pods.join(name))),
    });
    let names = CONTAINERS.map(|name| ContainerName::parse(name).unwrap());
    Seen {
        names: names.into(),
        roster: roster.collect(),
        order: order.collect(),
        containers: containers.collect(),
        total: Bytes(64 << 30),
        short,
        now: BootTime(Duration::from_secs(1000)),
    }
}

struct Pods {
    bed: CgroupBed,
    children: Vec<Child>,
    /// What each process has of its own.
    own: BTreeMap<u32, i32>,
}

impl Pods {
    fn new(name: &str) -> Option<Self> {
        let bed = CgroupBed::make(name)?;
        for name in CONTAINERS {
            fs::create_dir(bed.path.join(name)).unwrap();
        }
        Some(Self {
            bed,
            children: Vec::new(),
            own: BTreeMap::new(),
        })
    }

    fn run(&mut self, container: &str, score: i32, script: &str) {
        let procs = self.bed.path.join(container).join("cgroup.procs");
        let script = format!(
            "echo {score} > /proc/$$/oom_score_adj; echo $$ > {}; {script}",
            procs.display()
        );
        let child = Command::new("sh").args(["-c", &script]).spawn().unwrap();
        let pid = child.id();
        self.children.push(child);
        self.own.insert(pid, score);
        until(|| {
            fs::read_to_string(&procs)
                .unwrap()
                .lines()
                .any(|line| line == pid.to_string())
        });
    }

    /// What each process has now, but for those that end: they have 0.
    fn scores(&self) -> BTreeMap<u32, i32> {
        let mut scores = BTreeMap::new();
        for name in CONTAINERS {
            let procs = fs::read_to_string(self.bed.path.join(name).join("cgroup.procs")).unwrap();
            for pid in procs.lines() {
                let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).ok();
                let score = score.and_then(|text| text.trim().parse::<i32>().ok());
                scores.extend(
                    score
                        .filter(|score| *score != 0)
                        .map(|score| (pid.parse().unwrap(), score)),
                );
            }
        }
        scores
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        fs::write(self.bed.path.join("cgroup.kill"), "1").ok();
        for child in &mut self.children {
            child.wait().ok();
        }
        for name in CONTAINERS {
            let path = self.bed.path.join(name);
            for _ in 0..500 {
                if fs::remove_dir(&path).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn until(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(30), "never");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Another process of this test, to be killed while it steers.
fn killed_at(point: &str, pods: &Path, state: &Path) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--quiet"])
        .arg("runtime::guarded::steerer::tests::steers_until_it_is_killed")
        .env(PODS, pods)
        .env(STATE, state)
        .env("PLIMSOLL_FAULT_POINT", point)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(9), "{point}: {status}");
}

#[test]
#[ignore = "the other process of the test below"]
fn steers_until_it_is_killed() {
    let of = |name| std::env::var_os(name).map(PathBuf::from);
    let (Some(pods), Some(state)) = (of(PODS), of(STATE)) else {
        return;
    };
    let mut steerer = steerer(&pods, &state, Some(Mode::Bands));
    steerer.look(seen(&pods, true));
    until(|| false);
}

#[test]
fn what_a_killed_agent_had_steered_is_put_back_by_the_next() {
    let Some(mut pods) = Pods::new("steered") else {
        return;
    };
    let state = tempfile::tempdir().unwrap();
    // By kubelet's formula; two that chose for themselves, one of them what steering would give.
    pods.run("blamed", 300, "while :; do sleep 0.2 & sleep 0.02; done");
    pods.run("blamed", 300, "exec sleep 1000");
    pods.run("blamed", 555, "exec sleep 1000");
    pods.run("blamed", 999, "exec sleep 1000");
    pods.run("other", 900, "exec sleep 1000");
    let path = pods.bed.path.clone();
    // At most five values are written: those that fork meanwhile would be more.
    let points = [
        "checkpoint.half-written:1",
        "checkpoint.renamed:1",
        "scores.one-written:1",
        "scores.one-written:2",
        "scores.one-written:3",
    ];
    let mut steered = 0;
    for point in points {
        killed_at(point, &path, state.path());
        let left = pods.scores();
        let others = left
            .iter()
            .filter(|(pid, score)| pods.own.get(pid).is_some_and(|own| own != *score));
        let others = others.count();
        assert!(point.starts_with("scores") || others == 0, "{point}: {left:?}");
        steered += others;
        // Whoever comes next may not even be there to steer.
        let mut next = steerer(&path, state.path(), None);
        next.look(seen(&path, false));
        drop(next);
        let back = pods.scores();
        for (pid, own) in &pods.own {
            assert_eq!(back.get(pid), Some(own), "{point}: {pid} of {back:?}");
        }
        let forked: Vec<_> = back
            .iter()
            .filter(|(pid, _)| !pods.own.contains_key(pid))
            .collect();
        assert!(
            !forked.is_empty() && forked.iter().all(|(_, score)| **score == 300),
            "{point}: {forked:?}"
        );
        let keeper = ScoreKeeper::open(state.path(), cgroup(&path)).unwrap();
        assert!(keeper.is_empty() && keeper.unusable().is_none(), "{point}");
    }
    assert!(steered >= 3, "{steered}");
}

#[test]
fn who_goes_on_steering_after_a_killed_agent_still_knows_what_there_was() {
    let Some(mut pods) = Pods::new("steered-on") else {
        return;
    };
    let state = tempfile::tempdir().unwrap();
    pods.run("blamed", 300, "exec sleep 1000");
    pods.run("blamed", 555, "exec sleep 1000");
    pods.run("other", 900, "exec sleep 1000");
    let path = pods.bed.path.clone();
    killed_at("scores.one-written:2", &path, state.path());
    let mut next = steerer(&path, state.path(), Some(Mode::Bands));
    next.look(seen(&path, true));
    until(|| next.choice().is_some());
    let led = pods.scores();
    assert!(
        led.values().filter(|score| **score >= 998).count() == 2,
        "{led:?}"
    );
    drop(next);
    assert_eq!(pods.scores(), pods.own);
}

fn pod(name: &str, cgroup: u64) -> PodFacts {
    PodFacts {
        uid: PodUid::parse(&format!("uid-{name}")).unwrap(),
        namespace: Namespace::parse("shop").unwrap(),
        name: PodName::parse(name).unwrap(),
        cgroup: CgroupId(cgroup),
        class: QosClass::BestEffort,
        priority: 0,
        request: Bytes(0),
        storage_request: Bytes(0),
        high: Limit::Max,
        max: Limit::Max,
        oom_score_adj: OomScoreAdj(1000),
        grace: Duration::from_secs(1),
        shield: None,
        started_at: BootTime::default(),
    }
}

fn process(pid: u32, owner: Option<Owner>, rss: Bytes) -> ProcessFigures {
    let oom_score_adj = OomScoreAdj(0);
    ProcessFigures {
        process: ProcessIdentity { pid, start_ticks: 1 },
        owner,
        rss,
        swap: Bytes(0),
        page_tables: Bytes(0),
        oom_score_adj,
        start: oom_score_adj,
        exempt: false,
    }
}

/// Whom the main loop has in which place by the time that the answer comes makes no difference.
#[test]
fn a_choice_is_named_by_the_roster_that_was_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("cgroup.events"), "populated 1\n").unwrap();
    let held = OwnedFd::from(std::fs::File::open(directory.path()).unwrap());
    let cgroup = Arc::new(MemoryCgroup::new(held).unwrap());
    let owners = [(0, 0), (1, 0), (1, 1)].map(|(pod, container)| Owner { pod, container });
    let names = ["web", "main", "side"].map(|name| ContainerName::parse(name).unwrap());
    let seen = Seen {
        roster: [pod("first", 1), pod("second", 2)].into(),
        order: Vec::new(),
        containers: owners
            .map(|owner| Container {
                owner,
                cgroup: cgroup.clone(),
            })
            .into(),
        names: names.clone().into(),
        total: Bytes::mib(1000),
        short: false,
        now: BootTime::default(),
    };
    let processes = [
        process(10, Some(owners[0]), Bytes::mib(10)),
        process(11, Some(owners[1]), Bytes::mib(20)),
        process(12, Some(owners[2]), Bytes::mib(30)),
    ];
    let chosen = choice(&seen, &processes).unwrap();
    let named = chosen.told.container.unwrap();
    assert_eq!((chosen.pod, chosen.told.pid), (Some(CgroupId(2)), 12));
    assert_eq!((named.2.as_str(), &named.3), ("second", &names[2]));

    let outside = [processes[0], process(20, None, Bytes::mib(50))];
    let chosen = choice(&seen, &outside).unwrap();
    assert_eq!(
        (chosen.pod, chosen.told.pid, chosen.told.container),
        (None, 20, None)
    );
    assert!(choice(&seen, &[]).is_none());
}
