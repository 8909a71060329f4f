//! The lifecycle against a simulated node, where facts come late, in any order and twice.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::tests::{container, pod, secs};
use super::*;
use crate::model::{Container, ContainerKind, ExitStatus, Pod, ProcessIdentity, RestartPolicy};
use crate::state::containers::ContainerEvent;

/// One container of the simulated node.
#[derive(Default)]
struct Sim {
    main: Option<ProcessIdentity>,
    children: u32,
    facts: VecDeque<ContainerEvent>,
    started: u32,
    may_restart: bool,
    succeeded: bool,
    /// Restarts since the back-off was last cleared, and the wait that follows from it.
    row: u32,
    wait_from: Option<(BootTime, Duration)>,
    running_since: BootTime,
}

#[derive(Debug, Clone)]
enum Op {
    Wait(u64),
    Deliver { which: usize, twice: bool },
    Exit { which: usize, code: i32, children: u32 },
    Change { which: usize },
    Stop,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0_u64..40).prop_map(Op::Wait),
        1 => (200_u64..700).prop_map(Op::Wait),
        8 => (0_usize..4, prop::bool::weighted(0.2)).prop_map(|(which, twice)| Op::Deliver { which, twice }),
        5 => (0_usize..4, 0..2, 0_u32..3).prop_map(|(which, code, children)| Op::Exit { which, code, children }),
        1 => (0_usize..4).prop_map(|which| Op::Change { which }),
    ];
    (prop::collection::vec(op, 0..80), prop::bool::ANY).prop_map(|(mut ops, stop)| {
        if stop {
            ops.push(Op::Stop);
        }
        ops
    })
}

fn pods() -> impl Strategy<Value = Pod> {
    let kind = prop_oneof![Just(ContainerKind::Init), Just(ContainerKind::Sidecar)];
    let policy = prop_oneof![
        Just(RestartPolicy::Always),
        Just(RestartPolicy::OnFailure),
        Just(RestartPolicy::Never)
    ];
    (prop::collection::vec(kind, 0..3), 1_usize..3, policy, 0_u64..40).prop_map(
        |(init, apps, policy, grace)| {
            let init: Vec<_> = init
                .into_iter()
                .enumerate()
                .map(|(n, kind)| container(&format!("i{n}"), kind))
                .collect();
            let apps: Vec<_> = (0..apps)
                .map(|n| container(&format!("a{n}"), ContainerKind::App))
                .collect();
            Pod {
                termination_grace: Duration::from_secs(grace),
                tolerates_memory_pressure: false,
                ..pod(init, apps, policy)
            }
        },
    )
}

struct Node {
    run: PodRun,
    sims: BTreeMap<ContainerName, Sim>,
    now: BootTime,
    next_pid: u32,
    /// What the kernel does with the n-th launch or kill that is asked of it.
    luck: Vec<bool>,
    asked: usize,
    waits_are_known: bool,
}

impl Node {
    fn new(pod: Pod, luck: Vec<bool>) -> Self {
        let sims = pod
            .all_containers()
            .map(|c| (c.name.clone(), Sim::default()))
            .collect();
        Self {
            run: PodRun::new(pod, None),
            sims,
            now: secs(1000),
            next_pid: 1,
            luck,
            asked: 0,
            waits_are_known: true,
        }
    }

    fn lucky(&mut self) -> bool {
        self.asked += 1;
        self.luck.is_empty() || self.luck[self.asked % self.luck.len()]
    }

    fn decide(&mut self) -> Result<Step, TestCaseError> {
        let before = self.run.clone();
        let step = super::step(&mut self.run, self.now);
        let again = super::step(&mut self.run, self.now);
        prop_assert!(again.actions.is_empty(), "decided again: {:?}", again.actions);
        prop_assert_eq!(again.wake_at.is_some(), step.wake_at.is_some());
        prop_assert!(step.wake_at.is_none_or(|at| at > self.now));
        for action in &step.actions {
            self.check(action, &before)?;
            self.carry_out(action);
        }
        Ok(step)
    }

    fn check(&self, action: &Action, before: &PodRun) -> Result<(), TestCaseError> {
        let Action::Start(name) = action else {
            return Ok(());
        };
        let sim = &self.sims[name];
        let spec = before.pod.all_containers().find(|c| c.name == *name).unwrap();
        prop_assert!(
            sim.main.is_none() && sim.children == 0,
            "{name} is started beside a running instance"
        );
        prop_assert!(before.stop.is_none(), "{name} is started in a pod that stops");
        if let Some((from, wait)) = sim.wait_from.filter(|_| self.waits_are_known && !sim.may_restart) {
            prop_assert!(
                self.now.since(from) >= wait,
                "{name} waited {:?} of {wait:?}",
                self.now.since(from)
            );
        }
        let never = before.pod.restart_policy == RestartPolicy::Never && spec.kind != ContainerKind::Sidecar;
        prop_assert!(
            !never || sim.started == 0 || sim.may_restart,
            "{name} is started again under Never"
        );
        if spec.kind == ContainerKind::App && !super::goals::has_begun(before) {
            for init in &before.pod.init_containers {
                let ready = match init.kind {
                    ContainerKind::Init => self.sims[&init.name].succeeded,
                    _ => matches!(before.containers[&init.name].run, Run::Running { .. }),
                };
                prop_assert!(ready, "{name} is started before {}", init.name);
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, action: &Action) {
        let lucky = self.lucky();
        let now = self.now;
        match action {
            Action::Start(name) => {
                let identity = ProcessIdentity {
                    pid: self.next_pid,
                    start_ticks: u64::from(self.next_pid),
                };
                self.next_pid += 1;
                let sim = self.sims.get_mut(name).unwrap();
                sim.row += u32::from(sim.started > 0);
                sim.started += 1;
                sim.may_restart = false;
                if lucky {
                    (sim.main, sim.running_since) = (Some(identity), now);
                    sim.facts.push_back(ContainerEvent::Started(identity));
                } else {
                    sim.facts
                        .push_back(ContainerEvent::StartFailed("no luck".to_owned()));
                }
            }
            Action::Terminate(name) if lucky => self.end(name, ExitStatus::Signal(15), 0),
            Action::Terminate(_) => {}
            Action::KillCgroup(name) => {
                self.end(name, ExitStatus::Signal(9), 0);
                let sim = self.sims.get_mut(name).unwrap();
                // Some fork faster than the kernel kills, but not for ever.
                sim.children = if lucky { 0 } else { sim.children / 2 };
                if sim.children == 0 {
                    sim.facts.push_back(ContainerEvent::Cleared);
                }
            }
        }
    }

    fn end(&mut self, name: &ContainerName, status: ExitStatus, children: u32) {
        let sim = self.sims.get_mut(name).unwrap();
        if let Some(main) = sim.main.take() {
            sim.children += children;
            sim.facts.push_back(ContainerEvent::Exited(main, status));
        }
    }

    /// Hands over the oldest fact about a container.
    fn deliver(&mut self, name: &ContainerName, twice: bool) {
        let Some(fact) = self.sims.get_mut(name).unwrap().facts.pop_front() else {
            return;
        };
        let since = match self.run.containers.get(name).map(|c| c.run) {
            Some(Run::Running { since, .. }) => Some(since),
            _ => None,
        };
        self.run.apply(name, fact.clone(), self.now);
        let sim = self.sims.get_mut(name).unwrap();
        match (&fact, since) {
            (ContainerEvent::Exited(_, status), Some(since)) => {
                if self.now.since(since) >= Duration::from_secs(600) {
                    sim.row = 0;
                    sim.wait_from = None;
                } else {
                    let waits = [0, 10, 20, 40, 80, 160, 300];
                    let wait = waits[(sim.row as usize).min(6)];
                    sim.wait_from = Some((self.now, Duration::from_secs(wait)));
                }
                sim.succeeded = *status == ExitStatus::Code(0);
            }
            (ContainerEvent::StartFailed(_), _) => {
                let wait = [0, 10, 20, 40, 80, 160, 300][(sim.row as usize).min(6)];
                sim.wait_from = Some((self.now, Duration::from_secs(wait)));
            }
            _ => {}
        }
        if twice {
            self.run.apply(name, fact, self.now);
        }
    }

    fn nth(&self, which: usize) -> ContainerName {
        self.sims.keys().nth(which % self.sims.len()).unwrap().clone()
    }

    fn change(&mut self, which: usize) {
        let name = self.nth(which);
        let mut pod = self.run.pod.clone();
        let change = |c: &mut Container| c.args.push("more".to_owned());
        pod.init_containers
            .iter_mut()
            .chain(&mut pod.containers)
            .filter(|c| c.name == name)
            .for_each(change);
        self.run.update(pod, None);
        if self.run.containers[&name].outdated {
            let sim = self.sims.get_mut(&name).unwrap();
            (sim.may_restart, sim.row) = (true, 0);
        }
    }

    fn perform(&mut self, op: &Op) {
        match *op {
            Op::Wait(seconds) => self.now = self.now.after(Duration::from_secs(seconds)),
            Op::Deliver { which, twice } => self.deliver(&self.nth(which), twice),
            Op::Exit {
                which,
                code,
                children,
            } => self.end(&self.nth(which), ExitStatus::Code(code), children),
            Op::Change { which } => self.change(which),
            Op::Stop => self.run.request_stop(self.now, None),
        }
    }

    /// Lets time pass and all facts arrive until the pod is finished.
    fn drain(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..200 {
            let step = self.decide()?;
            if step.finished {
                prop_assert!(
                    self.sims
                        .values()
                        .all(|sim| sim.main.is_none() && sim.children == 0)
                );
                return Ok(());
            }
            let names: Vec<_> = self.sims.keys().cloned().collect();
            let waiting = self.sims.values().any(|sim| !sim.facts.is_empty());
            for name in names {
                self.deliver(&name, false);
            }
            if !waiting {
                prop_assert!(step.wake_at.is_some(), "nothing will ever happen: {:?}", self.run);
                self.now = step.wake_at.unwrap();
            }
        }
        Err(TestCaseError::fail(format!(
            "the pod does not end: {:?}",
            self.run
        )))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_happens_the_rules_hold_and_a_stopped_pod_ends(
        pod in pods(), ops in ops(), luck in prop::collection::vec(any::<bool>(), 0..12),
    ) {
        let mut node = Node::new(pod, luck.iter().copied().chain([true]).collect());
        node.decide()?;
        for op in &ops {
            node.perform(op);
            node.decide()?;
        }
        let record = serde_json::to_string(&node.run).unwrap();
        prop_assert_eq!(&serde_json::from_str::<PodRun>(&record).unwrap(), &node.run);
        node.run.request_stop(node.now, None);
        node.drain()?;
    }

    #[test]
    fn the_record_of_a_killed_agent_leads_to_no_second_instance(
        pod in pods(), ops in ops(), killed_at in 0_usize..80,
    ) {
        let mut node = Node::new(pod, vec![true]);
        node.decide()?;
        for (n, op) in ops.iter().enumerate() {
            if n == killed_at {
                restart_agent(&mut node);
            }
            node.perform(op);
            node.decide()?;
        }
        restart_agent(&mut node);
        node.run.request_stop(node.now, None);
        node.drain()?;
    }
}

/// The agent's memory is its record; facts under way are lost; processes are found or not.
fn restart_agent(node: &mut Node) {
    let record = serde_json::to_string(&node.run).unwrap();
    node.run = serde_json::from_str(&record).unwrap();
    // A launch and an end between two records are never known, nor is the wait that they would lead to.
    node.waits_are_known = false;
    let unconfirmed: Vec<_> = node
        .run
        .unconfirmed()
        .map(|(name, process)| (name.clone(), process))
        .collect();
    for sim in node.sims.values_mut() {
        sim.facts.clear();
    }
    for (name, recorded) in unconfirmed {
        let sim = node.sims.get_mut(&name).unwrap();
        if recorded.is_none() && sim.main.is_none() && sim.children > 0 {
            // Without a record the oldest process left is taken for the first.
            sim.children -= 1;
            sim.main = Some(ProcessIdentity {
                pid: node.next_pid,
                start_ticks: 1,
            });
            node.next_pid += 1;
        }
        let event = match (recorded, sim.main) {
            (None, Some(found)) => ContainerEvent::Adopted(found),
            (Some(recorded), Some(found)) if recorded == found => ContainerEvent::Adopted(found),
            _ => ContainerEvent::Lost,
        };
        sim.may_restart |= node.run.containers[&name].outdated || (recorded.is_none() && sim.main.is_none());
        node.run.apply(&name, event, node.now);
    }
}
