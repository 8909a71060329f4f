//! What is seen of the pods, from outside.

use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use plimsoll::kernel::clock::{Clock, RealClock};
use plimsoll::model::pressure::DecisionRecord;
use plimsoll::model::{BootTime, NodeReport};

use super::breach::Breaches;
use super::{Field, Line, Look, Onlooker, Scenario};

/// From one look to the next, at least.
const PERIOD: Duration = Duration::from_millis(4);
/// What takes long needs not be seen as exactly: so much of the time since the onset.
const EXACT: u32 = 100;

/// What was seen of one pod. Times are since the start signal.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Its name.
    pub name: &'static str,
    /// It had fewer processes than before.
    pub hurt: Option<Duration>,
    /// It had none.
    pub dead: Option<Duration>,
    /// It used less than a tenth of its peak.
    pub freed: Option<Duration>,
    /// Its processes that the kernel's OOM killer took.
    pub oom_kills: u64,
    /// Time in which all of its tasks waited for memory.
    pub stalled: Duration,
    /// Its most, in bytes.
    pub peak: u64,
    processes: u64,
    stalled_before: Duration,
}

/// What was seen of all.
#[derive(Debug, Clone, Default)]
pub struct Race {
    /// When memory became short.
    pub onset: Option<Duration>,
    /// The same, on the agent's clock.
    pub onset_at: Option<BootTime>,
    /// Each time that the pods' root went over its `memory.high`, where that is the line.
    pub breaches: Vec<BootTime>,
    /// The pods.
    pub pods: Vec<Seen>,
    /// The longest time without a look.
    pub gap: Duration,
    /// How long it was looked at.
    pub lasted: Duration,
    /// What the agent says in the end, where it is the keeper and answers.
    pub report: Option<NodeReport>,
}

impl Race {
    /// The pods that lost a process, the first first.
    #[must_use]
    pub fn hurt(&self) -> Vec<&Seen> {
        let mut hurt: Vec<_> = self.pods.iter().filter(|pod| pod.hurt.is_some()).collect();
        hurt.sort_by_key(|pod| pod.hurt);
        hurt
    }

    /// A pod.
    #[must_use]
    pub fn pod(&self, name: &str) -> Option<&Seen> {
        self.pods.iter().find(|pod| pod.name == name)
    }

    /// The agent's records of pods that it killed.
    #[must_use]
    pub fn kills(&self) -> Vec<&DecisionRecord> {
        let pressure = self.report.as_ref().and_then(|report| report.pressure.as_ref());
        let decisions = pressure.into_iter().flat_map(|pressure| &pressure.decisions);
        decisions
            .filter(|record| record.times.signalled.is_some())
            .collect()
    }

    /// What the kill of this record came from: the last breach before it where breaches are seen, else the onset.
    #[must_use]
    pub fn onset_before(&self, record: &DecisionRecord) -> Option<BootTime> {
        let decided = record.times.decided;
        let onsets = self.breaches.iter().copied().chain(self.onset_at);
        onsets.filter(|at| *at <= decided).max()
    }

    /// Processes that the kernel's OOM killer took.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        self.pods.iter().map(|pod| pod.oom_kills).sum()
    }

    /// Whether nobody was hurt but those whose end is right, and they were all.
    #[must_use]
    pub fn is_right(&self, scenario: &Scenario) -> bool {
        let mut hurt: Vec<_> = self.hurt().iter().map(|pod| pod.name).collect();
        let mut right = scenario.right.to_vec();
        hurt.sort_unstable();
        right.sort_unstable();
        hurt == right
    }

    /// Whether all whose end is right came to it; not where that is nobody.
    fn right_are_dead(&self, scenario: &Scenario) -> bool {
        let dead = |name: &&str| self.pod(name).is_some_and(|pod| pod.dead.is_some());
        !scenario.right.is_empty() && scenario.right.iter().all(dead)
    }

    /// Time in which bystanders stood still.
    #[must_use]
    pub fn stall_of_others(&self, scenario: &Scenario) -> Duration {
        let others = self.pods.iter().filter(|pod| !scenario.right.contains(&pod.name));
        others.map(|pod| pod.stalled).sum()
    }

    /// From the onset to a moment of the right pod, of the last where there are several.
    #[must_use]
    pub fn since_onset(
        &self,
        scenario: &Scenario,
        moment: fn(&Seen) -> Option<Duration>,
    ) -> Option<Duration> {
        let onset = self.onset?;
        let mut last = None;
        for name in scenario.right {
            last = last.max(Some(moment(self.pod(name)?)?));
        }
        Some(last?.saturating_sub(onset))
    }
}

/// Looks on from the start signal, given at `began`, to the end.
///
/// # Errors
/// `/proc/meminfo` cannot be read, or `at_each_look` says so.
pub(super) fn watch(
    field: &mut Field,
    scenario: &Scenario,
    began: Instant,
    at_each_look: &mut Onlooker<'_>,
) -> io::Result<Race> {
    let mut race = Race {
        pods: field
            .pods
            .iter()
            .map(|pod| Seen {
                name: pod.name,
                ..Seen::default()
            })
            .collect(),
        ..Race::default()
    };
    for (seen, cgroup) in race.pods.iter_mut().zip(&field.cgroups) {
        seen.stalled_before = stalled(cgroup).unwrap_or_default();
    }
    let tenth = meminfo("MemTotal")? / 10;
    let (before, clock) = (began.elapsed(), RealClock.now());
    let breaches = matches!(scenario.line, Line::High(_)).then(|| Breaches::of(&field.root));
    let mut latest = Instant::now();
    let mut end = None;
    loop {
        let now = Instant::now();
        race.gap = race.gap.max(now - latest);
        latest = now;
        race.lasted = now - began;
        if race.onset.is_none() {
            race.onset_at = match (scenario.line, &breaches) {
                (_, Some(breaches)) => breaches.seen().first().copied(),
                (Line::Tasks(most), None) => (tasks() > most - most / 4).then(|| RealClock.now()),
                _ => (meminfo("MemAvailable")? < tenth).then(|| RealClock.now()),
            };
            race.onset = race.onset_at.map(|at| before + at.since(clock));
        }
        for (seen, cgroup) in race.pods.iter_mut().zip(&field.cgroups) {
            look(seen, cgroup, race.lasted);
        }
        let over = match at_each_look(field, &race)? {
            Look::On => race.right_are_dead(scenario),
            Look::Enough => true,
            Look::NotYet => false,
        };
        if over {
            end.get_or_insert(race.lasted);
        }
        if end.is_some_and(|end| race.lasted > end + scenario.aftermath) || race.lasted > scenario.patience {
            race.breaches = breaches.map_or_else(Vec::new, |breaches| breaches.seen());
            return Ok(race);
        }
        let since_onset = race
            .onset
            .map_or(Duration::ZERO, |onset| race.lasted.saturating_sub(onset));
        thread::sleep(PERIOD.max(since_onset / EXACT));
    }
}

fn look(seen: &mut Seen, cgroup: &Path, now: Duration) {
    let processes = number(&cgroup.join("pids.current"));
    // Of a cgroup that is gone, what was read last counts.
    seen.oom_kills = seen.oom_kills.max(event(cgroup, "oom_kill"));
    if (processes < seen.processes || seen.oom_kills > 0) && seen.hurt.is_none() {
        seen.hurt = Some(now);
    }
    seen.processes = seen.processes.max(processes);
    if !populated(cgroup) && seen.dead.is_none() {
        (seen.dead, seen.hurt) = (Some(now), seen.hurt.or(Some(now)));
    }
    let current = number(&cgroup.join("memory.current"));
    seen.peak = seen.peak.max(current);
    if seen.hurt.is_some() && current < seen.peak / 10 && seen.freed.is_none() {
        seen.freed = Some(now);
    }
    if let Some(total) = stalled(cgroup) {
        seen.stalled = total.saturating_sub(seen.stalled_before);
    }
}

/// Whether a process lives there.
pub(super) fn populated(cgroup: &Path) -> bool {
    fs::read_to_string(cgroup.join("cgroup.events")).is_ok_and(|text| text.contains("populated 1"))
}

/// A file's text; none where it is gone.
pub(super) fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

/// A file's number; 0 where it is gone.
pub(super) fn number(file: &Path) -> u64 {
    text(file).trim().parse().unwrap_or_default()
}

/// A counter of `memory.events`.
pub(super) fn event(cgroup: &Path, name: &str) -> u64 {
    field(&text(&cgroup.join("memory.events")), name)
}

/// The value after a name at a line's begin; 0 if there is none.
pub(super) fn field(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| {
        let (found, value) = line.split_once(' ')?;
        (found == name).then_some(value)
    });
    value
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or_default()
}

/// Tasks of the machine.
fn tasks() -> u32 {
    let loadavg = text(Path::new("/proc/loadavg"));
    let tasks = loadavg.split_whitespace().find_map(|word| word.split_once('/'));
    tasks
        .and_then(|(_, tasks)| tasks.parse().ok())
        .unwrap_or_default()
}

/// How long all tasks of a cgroup waited for memory.
fn stalled(cgroup: &Path) -> Option<Duration> {
    let text = fs::read_to_string(cgroup.join("memory.pressure")).ok()?;
    let full = text.lines().find(|line| line.starts_with("full"))?;
    let total = full.rsplit_once("total=")?.1.trim().parse().ok()?;
    Some(Duration::from_micros(total))
}

/// A field of `/proc/meminfo` in bytes.
pub(super) fn meminfo(name: &str) -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find(|line| line.split(':').next() == Some(name));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.map(|kib| kib << 10)
        .ok_or_else(|| io::Error::other(format!("/proc/meminfo has no {name}")))
}
