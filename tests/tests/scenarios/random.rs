//! Random lives: pods come, change and go, processes die, writes fail, manifests break, the agent is killed.
//!
//! # What always holds
//! - A pod's values are those of one manifest, never of two, and nothing runs without them.
//! - Pods that run never request more than what is allocatable.
//! - What happens to one pod disturbs no process of another.
//! - Once nothing fails any more, what is wanted is there and of the rest nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll::model::{BootTime, ControlFile, ExitStatus, PodPhase, ProcessIdentity};
use plimsoll_tests::node::{DEAF, FakeNode};
use proptest::prelude::*;

/// Pods by number; two of those that request CPU time fit the node.
const PODS: usize = 4;
const FIT: usize = 2;
/// A pod's grace, and a little for what follows.
const GRACE: u64 = 5;
const ENDED: Duration = Duration::from_secs(GRACE + 5);
/// Longer than the longest back-off.
const QUIET: u64 = 310;

/// One manifest of a pod.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Manifest {
    /// What its limits say; none for a pod without any.
    limits: Option<u64>,
    deaf: bool,
    second: bool,
    policy: &'static str,
}

#[derive(Debug, Clone)]
enum Event {
    Write(usize, Manifest),
    Break(usize),
    Remove(usize),
    Exit(usize, i32),
    OomKill(usize),
    Refuse(usize, ControlFile, usize),
    Restart {
        lost: Option<usize>,
        meanwhile: Box<Option<Event>>,
    },
    Wait(u64),
}

fn manifests() -> impl Strategy<Value = Manifest> {
    let policies = prop::sample::select(vec!["Always", "OnFailure", "Never"]);
    let limits = prop::option::weighted(0.8, 0..4_u64);
    (limits, prop::bool::weighted(0.3), any::<bool>(), policies).prop_map(|(limits, deaf, second, policy)| {
        Manifest {
            limits,
            deaf,
            second,
            policy,
        }
    })
}

fn events() -> impl Strategy<Value = Event> {
    let pod = 0..PODS;
    let files = prop::sample::select(vec![
        ControlFile::MemoryMax,
        ControlFile::CpuMax,
        ControlFile::CpuWeight,
        ControlFile::MemoryOomGroup,
    ]);
    let simple = prop_oneof![
        4 => (pod.clone(), manifests()).prop_map(|(pod, manifest)| Event::Write(pod, manifest)),
        1 => pod.clone().prop_map(Event::Break),
        2 => pod.clone().prop_map(Event::Remove),
        3 => (pod.clone(), 0..2).prop_map(|(pod, code)| Event::Exit(pod, code)),
        1 => pod.clone().prop_map(Event::OomKill),
        2 => (pod.clone(), files, 1..5_usize).prop_map(|(pod, file, times)| Event::Refuse(pod, file, times)),
        4 => (1..40_u64).prop_map(Event::Wait),
    ];
    let simple = simple.boxed();
    prop_oneof![
        8 => simple.clone(),
        1 => (prop::option::of(pod), prop::option::of(simple)).prop_map(|(lost, meanwhile)| Event::Restart {
            lost,
            meanwhile: Box::new(meanwhile),
        }),
    ]
}

/// The node, what its owner wants, and when a pod was last told something that may end its processes.
struct Story {
    node: FakeNode,
    wanted: BTreeMap<usize, Option<Manifest>>,
    told: BTreeMap<usize, BootTime>,
}

impl Story {
    /// Makes it happen, and says whom it is about.
    fn happen(&mut self, event: &Event) -> Option<usize> {
        match event {
            Event::Write(pod, manifest) => {
                self.node.add(&name(*pod), &spec(*manifest));
                if self.wanted.insert(*pod, Some(*manifest)) != Some(Some(*manifest)) {
                    self.told.insert(*pod, self.node.now);
                }
                // It may have been the only one that could not be read: others that are gone are known to be.
                self.tell_the_unwanted();
                Some(*pod)
            }
            Event::Break(pod) => {
                self.node
                    .write(&format!("{}.yaml", name(*pod)), "kind: Pod\nmetadata: [");
                self.wanted.insert(*pod, None);
                Some(*pod)
            }
            Event::Remove(pod) => {
                if self.wanted.remove(pod).is_some() {
                    self.node.remove(&name(*pod));
                    self.told.insert(*pod, self.node.now);
                    self.tell_the_unwanted();
                }
                Some(*pod)
            }
            Event::Exit(pod, code) => {
                if let Some(process) = self.process(*pod) {
                    self.node.machine.end(process, ExitStatus::Code(*code));
                    self.node.hear();
                }
                Some(*pod)
            }
            Event::OomKill(pod) => {
                if let Some(process) = self.process(*pod) {
                    self.node.machine.oom_kill(process);
                    self.node.hear();
                }
                Some(*pod)
            }
            Event::Refuse(pod, file, times) => {
                self.node.machine.refuse_nothing();
                self.node
                    .machine
                    .refuse(&format!("poduid-{}/main", name(*pod)), *file, 22, *times);
                Some(*pod)
            }
            Event::Restart { lost, meanwhile } => {
                self.node.kill_agent();
                let about = meanwhile.as_ref().as_ref().and_then(|event| self.happen(event));
                // What neither a record nor a manifest tells of cannot be known: not what it requests, for one.
                let readable = |pod: &usize| matches!(self.wanted.get(pod), Some(Some(_)));
                let lost = lost.filter(|pod| self.node.has_record(&name(*pod)) && readable(pod));
                if let Some(pod) = lost {
                    self.node.lose_record(&name(pod));
                    // Only the record knew that it was to end, or by which manifest it runs.
                    self.told.insert(pod, self.node.now);
                }
                self.node.start_agent();
                about
            }
            Event::Wait(seconds) => {
                self.node.seconds(*seconds);
                None
            }
        }
    }

    fn tell_the_unwanted(&mut self) {
        for pod in (0..PODS).filter(|pod| !self.wanted.contains_key(pod)) {
            self.told.insert(pod, self.node.now);
        }
    }

    /// Running processes with the pod whose they are.
    fn processes(&self) -> BTreeMap<ProcessIdentity, usize> {
        let running = self.node.machine.running().into_iter();
        running
            .map(|(identity, path)| {
                let path = path.to_string();
                let pod = (0..PODS).find(|pod| path.contains(&name(*pod)));
                (identity, pod.unwrap())
            })
            .collect()
    }

    fn process(&self, pod: usize) -> Option<ProcessIdentity> {
        let mut all = self.processes().into_iter();
        all.find(|(_, of)| *of == pod).map(|(identity, _)| identity)
    }

    /// What holds at every moment.
    fn check(&self) {
        let mut requesting = BTreeSet::new();
        for (_, path) in self.node.machine.running() {
            let container = path.to_string();
            let pod = path.parent().unwrap().to_string();
            assert!(self.node.pod_cgroups().contains(&pod), "{pod}");
            if !container.starts_with("besteffort") {
                requesting.insert(pod);
            }
        }
        assert!(requesting.len() <= FIT, "too much is promised: {requesting:?}");
        for cgroup in self.node.pod_cgroups() {
            if cgroup.starts_with("burstable") && cgroup.ends_with("/main") {
                let memory = self.node.read(&cgroup, ControlFile::MemoryMax);
                let cpu = self.node.read(&cgroup, ControlFile::CpuMax);
                let one = (0..4).any(|limits| memory == memory_max(limits) && cpu == cpu_max(limits));
                assert!(one, "{cgroup} has memory.max {memory} and cpu.max {cpu}");
            }
        }
    }

    /// What holds once nothing fails any more.
    fn check_quiet(&self) {
        let cgroups = self.node.pod_cgroups();
        for pod in 0..PODS {
            let name = name(pod);
            let its = cgroups.iter().filter(|cgroup| cgroup.contains(&name)).count();
            let Some(Some(manifest)) = self.wanted.get(&pod) else {
                assert!(its == 0 && !self.node.has_record(&name), "{name}: {cgroups:?}");
                assert!(self.node.find(&name).is_none() && self.process(pod).is_none());
                continue;
            };
            let report = self.node.pod(&name);
            let processes = self.processes().values().filter(|of| **of == pod).count();
            match report.phase {
                PodPhase::Running => {
                    assert_eq!(its, 2 + usize::from(manifest.second), "{name}: {cgroups:?}");
                    assert!(processes > 0 && report.reason.is_none(), "{report:#?}");
                    if let Some(limits) = manifest.limits {
                        let main = format!("burstable/poduid-{name}/main");
                        assert_eq!(self.node.read(&main, ControlFile::MemoryMax), memory_max(limits));
                        assert_eq!(self.node.read(&main, ControlFile::CpuMax), cpu_max(limits));
                    }
                }
                PodPhase::Succeeded | PodPhase::Failed => {
                    assert_eq!((its, processes), (0, 0), "{report:#?}");
                    assert!(manifest.policy != "Always" || report.reason.as_deref() == Some("OutOfcpu"));
                }
                PodPhase::Pending => panic!("{report:#?}"),
            }
        }
    }
}

fn name(pod: usize) -> String {
    format!("p{pod}")
}

fn spec(manifest: Manifest) -> String {
    let program = if manifest.deaf { DEAF } else { "sleep" };
    let resources = manifest.limits.map_or(String::new(), |limits| {
        format!(
            ", resources: {{requests: {{cpu: 1500m}}, limits: {{cpu: {}m, memory: {}Mi}}}}",
            1600 + 100 * limits,
            64 + limits
        )
    });
    let second = if manifest.second {
        ", {name: second, command: [sleep]}"
    } else {
        ""
    };
    format!(
        "restartPolicy: {}, terminationGracePeriodSeconds: {GRACE}, \
         containers: [{{name: main, command: [{program}]{resources}}}{second}]",
        manifest.policy
    )
}

fn memory_max(limits: u64) -> String {
    ((64 + limits) << 20).to_string()
}

fn cpu_max(limits: u64) -> String {
    format!("{} 100000", 160_000 + 10_000 * limits)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_happens_pods_are_placed_wholly_and_leave_each_other_alone(
        events in prop::collection::vec(events(), 1..40),
    ) {
        let mut story = Story { node: FakeNode::new(), wanted: BTreeMap::new(), told: BTreeMap::new() };
        for event in &events {
            let before = story.processes();
            let begun = story.node.now;
            let about = story.happen(event);
            let after = story.processes();
            for (process, pod) in before {
                let told = story.told.get(&pod).is_some_and(|at| begun < at.after(ENDED));
                let disturbed = !after.contains_key(&process) && !told && about != Some(pod);
                prop_assert!(!disturbed, "{event:?} ended {process:?} of {}", name(pod));
            }
            story.check();
        }

        story.node.machine.refuse_nothing();
        for pod in 0..PODS {
            if story.wanted.get(&pod) == Some(&None) {
                story.happen(&Event::Remove(pod));
            }
        }
        story.node.seconds(QUIET);
        story.check_quiet();
        for pod in 0..PODS {
            story.happen(&Event::Remove(pod));
        }
        story.node.advance(ENDED);
        story.check_quiet();
        prop_assert!(story.node.pod_cgroups().is_empty() && story.node.machine.running().is_empty());
    }
}
