//! Runs a scenario with a seed, and judges what came of it.

use std::time::Duration;

use plimsoll::model::QosClass;
use plimsoll::model::pressure::{Act, Decision, Domain, PodFacts, Rung};
use plimsoll::runtime::guard::core::Guard;

use super::chance::Chance;
use super::machine::Machine;
use super::pod::{Mib, Phase, PodSpec, SimPod, Work, moment};
use super::scenario::{Event, Kernel, Scenario, Would};
use super::world::World;

/// What was compared, and what came of it.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Verdict {
    /// Comparisons made.
    pub compared: usize,
    /// What was wrong.
    pub wrong: Vec<String>,
    /// By how many seconds the kernel was beaten, where it would have killed.
    pub lead: Option<f64>,
    /// From the shortage to the signal, in seconds.
    pub signal: Option<f64>,
    /// Kills by the kernel.
    pub missed: usize,
}

impl Verdict {
    fn check(&mut self, right: bool, what: impl FnOnce() -> String) {
        self.compared += 1;
        if !right {
            self.wrong.push(what());
        }
    }
}

/// The pods of a scenario with its chance bystanders, and the machine.
fn machine(scenario: &Scenario, chance: &mut Chance) -> Machine {
    let mut pods: Vec<PodSpec> = scenario.pods.clone();
    for pod in &mut pods {
        let faster = chance.between(0.75, 1.3);
        let work = &mut pod.work;
        for rate in [
            &mut work.rate,
            &mut work.shmem_rate,
            &mut work.kernel_rate,
            &mut work.slab_rate,
        ] {
            *rate *= faster;
        }
    }
    for number in 0..chance.whole(scenario.bystanders.min(2), scenario.bystanders) {
        let request = chance.between(8.0, 24.0).floor();
        let uses = request * chance.between(0.3, 0.9);
        let swing = (chance.whole(0, 2) == 0).then(|| (uses / 20.0, chance.between(0.5, 4.0)));
        let class = match chance.whole(0, 2) {
            0 => QosClass::Guaranteed,
            1 => QosClass::Burstable,
            _ => QosClass::BestEffort,
        };
        let request = if class == QosClass::BestEffort {
            0.0
        } else {
            request
        };
        let work = Work {
            anon: uses,
            swing,
            files: if chance.whole(0, 3) == 0 { 8.0 } else { 0.0 },
            ..Work::default()
        };
        pods.push(PodSpec::new(&format!("bystander-{number}"), class, request, work));
    }
    if let Some(left) = scenario.left {
        let used: Mib = pods
            .iter()
            .map(|pod| pod.work.anon + pod.work.shmem + pod.work.files + 1.0)
            .sum();
        let fills = scenario.node.capacity - scenario.node.outside - scenario.node.debris - used - left - 9.0;
        let work = Work {
            anon: fills.max(1.0),
            ..Work::default()
        };
        pods.push(PodSpec::new(
            "filler",
            QosClass::Guaranteed,
            fills.max(1.0) * 1.1 + 8.0,
            work,
        ));
    }
    // The order in which pods are listed must not matter.
    for at in (1..pods.len()).rev() {
        let other = chance.whole(0, at);
        pods.swap(at, other);
    }
    let warm = chance.between(0.5, 2.5);
    Machine::new(scenario.node.clone(), pods, 1000.0 + warm, chance)
}

/// Runs it, and judges.
#[must_use]
pub fn run(scenario: &Scenario, seed: u64) -> Verdict {
    let mut chance = Chance::new(seed);
    let machine = machine(scenario, &mut chance);
    let without = machine.clone();
    let start = machine.now;
    let world = play(scenario, machine, chance);
    judge(scenario, &world, without, start, seed)
}

fn play(scenario: &Scenario, machine: Machine, mut chance: Chance) -> World {
    let end = machine.now + 2.5 + scenario.seconds;
    let start = machine.now + 1.0;
    let mut world = World::new(machine, Chance::new(chance.whole(0, 1 << 30) as u64));
    world.remade = None;
    world.dies_at_kill = scenario.agent_dies.then(|| chance.whole(0, 1) == 1);
    let mut guard = fresh(scenario, world.roster());
    let mut listed = world.roster().len();
    let mut events = scenario.events.iter();
    let mut event = events.next();
    let (mut wake, mut back) = (world.machine.now, None);
    let (mut armed, mut relist) = (scenario.remade, None);
    while world.machine.now < end {
        let now = world.machine.now;
        let next = wake.min(now + 0.01).max(now + 0.0005);
        world.machine.advance(next - now);
        let now = world.machine.now;
        if let Some((at, what)) = event
            && now >= start + at
        {
            happen(what, scenario, &mut world, &mut guard);
            event = events.next();
        }
        if world.dead {
            // Killed; what it wrote before stays, and the next one reads it.
            let at = *back.get_or_insert(now + chance.between(0.05, 1.0));
            if now >= at {
                world.dead = false;
                back = None;
                guard = fresh(scenario, world.roster());
                guard.resume(&world.heard.victims);
                wake = now;
            }
            continue;
        }
        let there = world
            .machine
            .pods
            .iter()
            .filter(|pod| pod.phase != Phase::Gone)
            .count();
        if there != listed && now >= *relist.get_or_insert(now + chance.between(0.0, 0.5)) {
            guard.set_roster(world.roster());
            listed = there;
            relist = None;
        }
        let alarm = std::mem::take(&mut world.machine.alarm) && world.machine.spec.tells;
        if !alarm && now < wake {
            continue;
        }
        if let Some(name) = armed
            && now > start + 2.0
        {
            // From now on: at the look right before an act.
            world.remade = Some(name.to_owned());
            armed = None;
        }
        let late = scenario.late + chance.between(0.0, 0.002);
        world.machine.advance(late);
        world.woken();
        let onset = alarm.then(|| moment(now));
        let sleep = guard.wake(&mut world, onset).as_secs_f64();
        wake = world.machine.now + sleep;
        if world.heard.stale.is_empty()
            && scenario.remade.is_some()
            && world.remade.is_none()
            && armed.is_none()
        {
            armed = None;
        }
    }
    world
}

fn fresh(scenario: &Scenario, roster: Vec<PodFacts>) -> Guard {
    let mut guard = Guard::new(scenario.policy.clone(), 0);
    guard.set_roster(roster);
    guard
}

fn happen(event: &Event, scenario: &Scenario, world: &mut World, guard: &mut Guard) {
    let now = world.machine.now;
    match event {
        Event::Delete(name) => {
            let Some(place) = world.machine.pods.iter().position(|pod| pod.spec.name == *name) else {
                return;
            };
            let cgroup = world.machine.pods[place].facts.cgroup;
            world.machine.ask(place, 0.5);
            guard.leaving(cgroup, moment(now + 30.0), moment(now));
        }
        Event::Add(index) => {
            if let Some(spec) = scenario.later.get(*index) {
                let next = world.machine.pods.iter().map(|pod| pod.facts.cgroup.0).max();
                let cgroup = next.unwrap_or(100) + 1;
                let pod = SimPod::new(spec.clone(), cgroup, world.machine.spec.capacity, now);
                world.machine.pods.push(pod);
            }
        }
    }
}

/// The pods that were evicted or killed, each once, in the order of their first signal; in a dry run those that would be.
fn taken(world: &World, dry: bool) -> Vec<(f64, String, Rung)> {
    let mut taken: Vec<(f64, String, Rung)> = Vec::new();
    let mut add = |at: f64, pod: &Option<String>, rung: Rung| {
        if let Some(pod) = pod
            && matches!(rung, Rung::Evict | Rung::Kill)
            && taken.iter().all(|(_, known, _)| known != pod)
        {
            taken.push((at, pod.clone(), rung));
        }
    };
    if dry {
        for (at, decision, pod, dry) in &world.heard.decided {
            if let Decision::Act { act, .. } = decision
                && *dry
            {
                add(*at, pod, act.rung());
            }
        }
    } else {
        for done in &world.done {
            add(done.at, &done.pod, done.act.rung());
        }
    }
    taken
}

fn judge(scenario: &Scenario, world: &World, without: Machine, start: f64, seed: u64) -> Verdict {
    let mut verdict = Verdict::default();
    let expect = &scenario.expect;
    let dry = scenario.policy.dry_run;
    let taken = taken(world, dry);
    let names: Vec<_> = taken.iter().map(|(_, name, _)| name.as_str()).collect();
    let missed: Vec<_> = world
        .machine
        .kernel_kills
        .iter()
        .map(|kill| kill.pod.as_str())
        .collect();
    verdict.missed = missed.len();
    let lost_to_kernel = expect.kernel == Kernel::MayWin && !missed.is_empty();
    let right = names.len() >= expect.victims.len()
        && names.iter().zip(&expect.victims).all(|(is, should)| is == should)
        && names
            .iter()
            .skip(expect.victims.len())
            .all(|name| expect.optional.contains(name));
    verdict.check(
        right || lost_to_kernel && names.len() < expect.victims.len(),
        || format!("took {names:?} in place of {:?}", expect.victims),
    );
    if expect.kernel == Kernel::Beaten && !dry {
        verdict.check(missed.is_empty(), || format!("the kernel killed {missed:?}"));
    }
    if dry {
        verdict.check(world.done.is_empty(), || {
            format!("a dry run did {:?}", world.done)
        });
    }
    if let (Some(rung), Some((_, _, is))) = (expect.rung, taken.first()) {
        verdict.check(*is == rung, || {
            format!("the first went by {is:?} in place of {rung:?}")
        });
    }
    if let Some(before) = expect.before {
        let first = world
            .done
            .iter()
            .find(|done| done.act.rung() == before)
            .map(|done| done.at);
        let by = taken.first().map_or(f64::MAX, |(at, ..)| *at);
        verdict.check(first.is_some_and(|first| first < by), || {
            format!("{before:?} was not tried first")
        });
    }
    let nobody = world
        .heard
        .decided
        .iter()
        .find_map(|(_, decision, ..)| match decision {
            Decision::Nobody { why, .. } => Some(*why),
            _ => None,
        });
    if let Some(why) = expect.nobody {
        verdict.check(nobody == Some(why), || {
            format!("the alert was {nobody:?} in place of {why:?}")
        });
        let recent = world.heard.victims.len();
        verdict.check(recent == expect.victims.len(), || {
            format!("{recent} of the budget used")
        });
    }
    if let Some(name) = expect.own_limit {
        let recorded = world.heard.decided.iter().any(|(_, decision, pod, _)| {
            let own = matches!(decision, Decision::Wait { need } if matches!(need.domain, Domain::Pod(_)));
            own && pod.as_deref() == Some(name)
        });
        verdict.check(recorded, || format!("{name} at its own limit was not recorded"));
    }
    if let Some(cause) = expect.spent {
        let found: Vec<_> = world
            .heard
            .settled
            .iter()
            .filter_map(|settled| settled.spent)
            .collect();
        verdict.check(found.first() == Some(&cause), || {
            format!("spent as {found:?} in place of {cause:?}")
        });
    }
    if expect.stale {
        verdict.check(!world.heard.stale.is_empty(), || {
            "no decision was stale".to_owned()
        });
    }
    if let Some(acts) = expect.acts {
        let minutes = (scenario.seconds / 60.0).max(1.0);
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        let rate = world.done.len() as f64 / minutes;
        #[expect(clippy::cast_precision_loss, reason = "a count")]
        let bound = acts as f64;
        verdict.check(rate <= bound, || {
            format!("{} acts: {:?}", world.done.len(), world.done)
        });
    }
    if let Some(within) = expect.cpu_back_within {
        let at = |wanted: fn(&Act) -> bool| {
            let mut acts = world.done.iter().filter(|done| wanted(&done.act));
            acts.next().map(|done| done.at)
        };
        let taken = at(|act| matches!(act, Act::SuppressCpu { .. }));
        let back = at(|act| *act == Act::ReleaseCpu);
        let in_time = taken
            .zip(back)
            .is_some_and(|(taken, back)| back - taken <= within);
        verdict.check(in_time, || {
            format!("CPU was taken at {taken:?} and given back at {back:?}")
        });
    }
    if let Some(within) = expect.freed_within {
        let freed = world.heard.settled.first();
        let took = freed
            .and_then(|s| s.victim.half)
            .map(|half| half.since(freed.map_or(half, |s| s.victim.begun)));
        let in_time = took.is_some_and(|took| took <= Duration::from_secs_f64(within));
        verdict.check(in_time, || format!("half was free after {took:?}"));
    }
    for (place, pod) in world.machine.pods.iter().enumerate() {
        let live = matches!(pod.phase, Phase::Runs) && pod.own_kills == 0;
        let known = names.contains(&pod.spec.name.as_str()) || missed.contains(&pod.spec.name.as_str());
        let deleted = scenario
            .events
            .iter()
            .any(|(_, event)| matches!(event, Event::Delete(name) if *name == pod.spec.name));
        let dead = pod.spec.death == super::pod::Death::Zombie;
        verdict.check(live || known || deleted || dead, || {
            format!(
                "{} (number {place}) is {:?} though nobody took it",
                pod.spec.name, pod.phase
            )
        });
        let left = pod.throttle.is_some() && live && world.machine.now - last_act(world, pod) > 7.0;
        verdict.check(!left, || format!("{} is still throttled", pod.spec.name));
    }
    counterfactual(scenario, world, without, start, seed, &mut verdict);
    verdict
}

fn last_act(world: &World, pod: &SimPod) -> f64 {
    let acts = world
        .done
        .iter()
        .filter(|done| matches!(done.act, Act::Throttle { .. }));
    let acts = acts.filter(|done| done.pod.as_deref() == Some(&pod.spec.name));
    acts.map(|done| done.at).fold(0.0, f64::max)
}

/// The same machine without the guard, for some of the seeds.
fn counterfactual(
    scenario: &Scenario,
    world: &World,
    mut without: Machine,
    start: f64,
    seed: u64,
    verdict: &mut Verdict,
) {
    let Some(would) = scenario.expect.kernel_would_kill else {
        return;
    };
    if !seed.is_multiple_of(8) {
        return;
    }
    let end = start + 2.5 + 4.0 * scenario.seconds;
    while without.now < end && without.kernel_kills.is_empty() {
        without.advance(0.1);
    }
    let first = without.kernel_kills.first();
    verdict.check(first.is_some(), || "the kernel would not have killed".to_owned());
    if let Some(first) = first
        && would != Would::Somebody
    {
        let is_right = scenario.expect.victims.contains(&first.pod.as_str());
        verdict.check(is_right == (would == Would::Right), || {
            format!("the kernel would have killed {}", first.pod)
        });
    }
    let ours = world
        .done
        .iter()
        .find(|done| matches!(done.act.rung(), Rung::Evict | Rung::Kill));
    verdict.lead = first.zip(ours).map(|(kernel, ours)| kernel.at - ours.at);
}
