//! The guard on a simulated machine: figures in, acts out, with the delays of a real one.

use std::time::Duration;

use plimsoll::model::pressure::{
    Act, Decision, FilesystemFigures, Need, NodeFigures, PodFacts, PodFigures, Snapshot,
};
use plimsoll::model::{BootTime, Bytes, CgroupId, Limit};
use plimsoll::runtime::guard::core::{Ports, Refused, Told};
use plimsoll::state::pressure::{Settled, Victim};

use super::chance::Chance;
use super::machine::Machine;
use super::pod::{Mib, Phase, bytes, moment};

/// Pods of which all kinds of memory are read: the largest.
const KINDS: usize = 16;

/// An act, and when it was done.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// When.
    pub at: f64,
    /// What.
    pub act: Act,
    /// To whom.
    pub pod: Option<String>,
}

/// What was told.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// Decisions, with whom they are about, and whether they were only told.
    pub decided: Vec<(f64, Decision, Option<String>, bool)>,
    /// Decisions that were stale.
    pub stale: Vec<(f64, String)>,
    /// Victims whose time was over.
    pub settled: Vec<Settled>,
    /// What would be on disk of victims.
    pub victims: Vec<Victim>,
}

/// The machine as the guard sees it.
#[derive(Debug)]
pub struct World {
    /// The machine.
    pub machine: Machine,
    /// The acts.
    pub done: Vec<Done>,
    /// What was told.
    pub heard: Heard,
    /// A pod that is made again right before the act.
    pub remade: Option<String>,
    /// The agent is killed right before (false) or after (true) it kills.
    pub dies_at_kill: Option<bool>,
    /// It was.
    pub dead: bool,
    /// How long SIGTERM takes.
    pub term: f64,
    chance: Chance,
    reads: usize,
    order: Vec<(Mib, usize)>,
}

impl World {
    /// A world around a machine.
    #[must_use]
    pub fn new(machine: Machine, mut chance: Chance) -> Self {
        let pods = machine.pods.len();
        Self {
            machine,
            done: Vec::new(),
            heard: Heard::default(),
            remade: None,
            dies_at_kill: None,
            dead: false,
            term: chance.between(0.02, 0.4),
            chance,
            reads: 0,
            order: Vec::with_capacity(pods),
        }
    }

    /// What the engine would hand over.
    #[must_use]
    pub fn roster(&self) -> Vec<PodFacts> {
        let there = self.machine.pods.iter().filter(|pod| pod.phase != Phase::Gone);
        there.map(|pod| pod.facts.clone()).collect()
    }

    /// A new wake begins.
    pub fn woken(&mut self) {
        self.reads = 0;
    }

    fn place(&self, cgroup: CgroupId) -> Option<usize> {
        self.machine
            .pods
            .iter()
            .position(|pod| pod.facts.cgroup == cgroup)
    }

    fn node(&self) -> NodeFigures {
        let machine = &self.machine;
        let spec = &machine.spec;
        let seconds = |part: usize| match spec.tells {
            true => Duration::from_secs_f64(machine.stall[part]),
            false => Duration::ZERO,
        };
        let counter = |count: u64| if spec.tells { count } else { 0 };
        let limit = |mib: Option<Mib>| mib.map_or(Limit::Max, |mib| Limit::At(bytes(mib)));
        let caches: Mib = machine.pods.iter().map(|pod| pod.cache + pod.slab).sum();
        let tasks: f64 = machine.pods.iter().map(|pod| pod.processes).sum();
        let disk = FilesystemFigures {
            capacity: Bytes(1 << 36),
            available: Bytes(1 << 35),
            inodes: 1 << 22,
            inodes_free: 1 << 21,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "above zero and small"
        )]
        NodeFigures {
            at: moment(machine.now),
            capacity: bytes(spec.capacity),
            available: bytes(machine.available()),
            working_set: bytes(spec.capacity - machine.free() - caches / 2.0),
            swap: bytes(spec.swap),
            swap_free: bytes(spec.swap - machine.swapped()),
            root_current: bytes(machine.root_current()),
            root_reclaimable: bytes(caches + spec.debris),
            root_inactive_file: bytes(caches / 2.0 + spec.debris),
            root_high: limit(spec.root_high),
            root_max: limit(spec.root_max),
            some: seconds(0),
            full: seconds(1),
            root_some: seconds(2),
            root_full: seconds(3),
            kswapd_wakes: counter(machine.kswapd),
            direct_reclaims: counter(machine.direct),
            tasks: 120 + tasks as u64,
            tasks_max: spec.tasks_max,
            nodefs: Some(disk),
            imagefs: None,
        }
    }

    /// The same name, another cgroup.
    fn make_again(&mut self, name: &str) {
        let next = self
            .machine
            .pods
            .iter()
            .map(|pod| pod.facts.cgroup.0)
            .max()
            .unwrap_or(100)
            + 1;
        if let Some(pod) = self.machine.pods.iter_mut().find(|pod| pod.spec.name == name) {
            let spec = pod
                .spec
                .clone()
                .with(|spec| spec.work = super::pod::Work::default());
            *pod = super::pod::SimPod::new(spec, next, self.machine.spec.capacity, self.machine.now);
        }
    }
}

impl Ports for World {
    fn now(&mut self) -> BootTime {
        moment(self.machine.now)
    }

    fn read(&mut self, roster: &[PodFacts], into: &mut Snapshot) {
        self.reads += 1;
        let takes = self.chance.between(0.0002, 0.002);
        self.machine.advance(takes);
        let asked = self.heard.decided.is_empty() || !self.dead;
        if self.reads == 2
            && asked
            && let Some(name) = self.remade.take()
        {
            self.make_again(&name);
        }
        self.order.clear();
        let sizes = self.machine.pods.iter().map(super::pod::SimPod::current);
        self.order.extend(sizes.zip(0..));
        self.order.sort_by(|a, b| b.0.total_cmp(&a.0));
        into.node = self.node();
        into.pods.clear();
        for facts in roster {
            let place = self.place(facts.cgroup);
            let figures = place.map_or_else(PodFigures::default, |place| {
                let kinds = self.order.iter().take(KINDS).any(|(_, large)| *large == place);
                self.machine.pods[place].figures(kinds)
            });
            into.pods.push(figures);
        }
    }

    fn read_again(&mut self, roster: &[PodFacts], pod: Option<usize>, into: &mut Snapshot) {
        let mut all = Snapshot::default();
        self.read(roster, &mut all);
        into.node = all.node;
        let place = pod.and_then(|pod| Some((into.pods.get_mut(pod)?, all.pods.get(pod)?)));
        if let Some((known, now)) = place {
            *known = *now;
        }
    }

    fn act(&mut self, _: &Need, act: &Act, pod: Option<&PodFacts>) -> Result<BootTime, Refused> {
        let now = moment(self.machine.now);
        if self.dead {
            return Ok(now);
        }
        if matches!(act, Act::Kill { .. } | Act::Evict { .. })
            && let Some(after) = self.dies_at_kill.take()
        {
            self.dead = true;
            if !after {
                return Ok(now);
            }
        }
        let gone = Refused {
            operation: "open",
            errno: 2,
        };
        let place = match pod {
            Some(pod) => Some(self.place(pod.cgroup).ok_or(gone)?),
            None => None,
        };
        let machine = &mut self.machine;
        match (*act, place) {
            (Act::Reclaim { bytes, .. }, Some(place)) => {
                #[expect(clippy::cast_precision_loss, reason = "a model")]
                let mut want = bytes.0 as f64 / 1_048_576.0;
                let room = machine.spec.swap - machine.swapped();
                let pod = &mut machine.pods[place];
                want -= pod.drop_cache(want);
                let out = want.min(room).min(pod.anon / 2.0).max(0.0);
                pod.anon -= out;
                pod.swap += out;
            }
            #[expect(clippy::cast_precision_loss, reason = "a model")]
            (Act::Throttle { high, .. }, Some(place)) => {
                machine.pods[place].throttle = Some(high.0 as f64 / 1_048_576.0);
            }
            (Act::Unthrottle { .. }, Some(place)) => machine.pods[place].throttle = None,
            (Act::Evict { .. }, Some(place)) => machine.ask(place, self.term),
            (Act::Kill { .. }, Some(place)) => machine.kill(place, true),
            (Act::SuppressCpu { .. }, _) => machine.suppressed = 0.25,
            (Act::ReleaseCpu, _) => machine.suppressed = 1.0,
            (_, None) => {}
        }
        self.done.push(Done {
            at: machine.now,
            act: *act,
            pod: pod.map(|pod| pod.name.as_str().to_owned()),
        });
        Ok(now)
    }

    fn tell(&mut self, told: &Told) {
        if self.dead {
            return;
        }
        let at = self.machine.now;
        match told {
            Told::Decided {
                decision,
                pod,
                victim,
                dry,
                ..
            } => {
                let name = pod.map(|pod| pod.name.as_str().to_owned());
                self.heard.decided.push((at, *decision, name, *dry));
                self.heard.victims.extend(*victim);
            }
            Told::Stale { why, .. } => self.heard.stale.push((at, why.to_string())),
            Told::Settled { settled, .. } => self.heard.settled.push(*settled),
            Told::Refused { why, .. } => self.heard.stale.push((at, why.to_string())),
            Told::Done { .. } => {}
        }
    }
}
