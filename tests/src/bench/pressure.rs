//! Who deals with a shortage of memory best: the agent, earlyoom, oomd, a model of kubelet's loop, or the kernel alone.
//!
//! Each scenario is run with each of them, with the same pods and the same seeds. A table tells whether the right pod died,
//! how long after the onset, how many pods lost processes, and how long bystanders stood still.
//!
//! It takes a machine of its own: it runs it out of memory.

use std::time::Duration;
use std::{env, fs};

use plimsoll::kernel::pressure::thread;
use plimsoll::model::BootTime;
use plimsoll::model::QosClass::{BestEffort, Burstable, Guaranteed};
use plimsoll::model::pressure::KillTimes;

use crate::race::{Keeper, Line, Places, Pod, Race, Scenario, Seen, is_there, run};

use super::{Bench, Figure, Figures, NotHere, breaches, percentile};

/// Which seeds each scenario is run with, unless `PLIMSOLL_SEEDS` says otherwise. `PLIMSOLL_ONLY` is a part of the names of
/// the scenarios that are run, `PLIMSOLL_KEEPERS` one of the keepers'.
const SEEDS: &str = "1";
/// A machine with more would take too long to run out.
const MOST_MEMORY: u64 = 3 << 30;

/// Figures of one scenario with one keeper.
struct Row {
    scenario: Scenario,
    keeper: Keeper,
    races: Vec<Race>,
}

pub(super) fn figures(bench: &Bench) -> Figures {
    let memory = fs::read_to_string("/proc/meminfo")?;
    let total = memory
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<u64>().ok());
    if fs::read_to_string("/proc/1/comm").is_ok_and(|name| name.trim() != "init")
        || total.is_none_or(|kib| kib << 10 > MOST_MEMORY)
    {
        return Err(NotHere("it needs a small machine of its own, as the lab's".to_owned()).into());
    }
    // Whoever is to take a pod must not take this.
    fs::write("/proc/self/oom_score_adj", "-1000")?;
    // Nor is whoever looks on to be late for want of CPU. What it starts runs at usual priority.
    thread::raise()
        .missing()
        .for_each(|what| println!("pressure: {what}"));
    let places = Places {
        mount: bench.mount.clone(),
        agent: bench.program.clone(),
        load: "/bin/plimsoll-load".into(),
        directory: env::temp_dir().join("plimsoll-race"),
    };
    let seeds = env::var("PLIMSOLL_SEEDS").unwrap_or_else(|_| SEEDS.to_owned());
    let seeds: Vec<u32> = seeds.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let [only, who] = ["PLIMSOLL_ONLY", "PLIMSOLL_KEEPERS"].map(|name| env::var(name).unwrap_or_default());
    let mut keepers = Vec::new();
    for keeper in Keeper::ALL
        .into_iter()
        .filter(|keeper| keeper.name().contains(&who))
    {
        match is_there(keeper, &places)? {
            Ok(()) => keepers.push(keeper),
            Err(why) => println!("pressure: without {}: {why}", keeper.name()),
        }
    }
    let mut rows = Vec::new();
    println!("{HEAD}");
    for scenario in scenarios()
        .into_iter()
        .filter(|scenario| scenario.name.contains(&only))
    {
        for &keeper in &keepers {
            let mut races = Vec::new();
            for &seed in &seeds {
                races.push(run(&scenario, keeper, seed, &places)?);
            }
            let row = Row {
                scenario: scenario.clone(),
                keeper,
                races,
            };
            println!("{}", row.line());
            row.kills().iter().for_each(|line| println!("{line}"));
            rows.push(row);
        }
    }
    let mut figures = compared(&rows);
    figures.extend(stages(&rows));
    if keepers.contains(&Keeper::Plimsoll) && only.is_empty() || only == "breaches" {
        figures.extend(breaches::figures(&places)?);
    }
    Ok(figures)
}

fn scenarios() -> Vec<Scenario> {
    let steady = || Pod::bystander("steady", Burstable, 160, "work size=96 every=60", 95);
    let small = || Pod::bystander("small", BestEffort, 0, "anon size=4", 4);
    let innocent = |class| Pod::bystander("innocent", class, 80, "anon size=60", 60);
    let tripwire = Line::High(620);
    let mut scenarios = vec![
        Scenario::new(
            "tripwire: hog of 512 MiB",
            tripwire,
            &["hog"],
            vec![
                steady(),
                small(),
                Pod::hog("hog", Burstable, 64, "anon first=300 size=2000 pace=100").with_first(300),
            ],
        ),
        Scenario::new(
            "tripwire: hog that spins at cpu.max 1 %",
            tripwire,
            &["hog"],
            vec![
                steady(),
                small(),
                // It has most of its memory before it has to wait for CPU again and again.
                Pod::hog("hog", Burstable, 64, "spin first=500 size=2000 pace=100")
                    .with_first(499)
                    .with_cpu(1),
            ],
        ),
        Scenario::new(
            "node: hog",
            Line::Tenth,
            &["hog"],
            vec![
                steady(),
                small(),
                Pod::hog("hog", Burstable, 64, "anon first=700 size=3000 pace=100").with_first(700),
            ],
        ),
        Scenario::new(
            "node: many small beside an innocent",
            Line::Tenth,
            &["many"],
            vec![
                steady(),
                innocent(BestEffort),
                Pod::hog("many", Burstable, 64, "many each=10 every=40 count=160"),
            ],
        ),
        Scenario::new(
            "node: tmpfs hog beside an innocent",
            Line::Tenth,
            &["hog"],
            vec![
                steady(),
                innocent(Burstable),
                Pod::hog("hog", Burstable, 64, "tmpfs file=SHM/hog size=3000 pace=200"),
            ],
        ),
        Scenario::new(
            "node: Guaranteed hog beside a small one",
            Line::Tenth,
            &["hog"],
            vec![
                small(),
                Pod::bystander("steady", Guaranteed, 160, "work size=96 every=60", 95),
                Pod::hog("hog", Guaranteed, 64, "anon size=3000 pace=200").lifted(),
            ],
        ),
    ];
    for scenario in &mut scenarios {
        // The slowest rules need 42 s at the tripwire; a machine without memory is over with before.
        scenario.patience = Duration::from_secs(if scenario.line == tripwire { 60 } else { 30 });
    }
    scenarios
}

const HEAD: &str = "scenario                                keeper               right  onset to dead     to freed  \
                    pods hurt  kernel kills  others stalled  first to go";

impl Row {
    fn line(&self) -> String {
        let of_races = |what: fn(&Race) -> String| {
            let races: Vec<_> = self.races.iter().map(what).collect();
            races.join(",")
        };
        let right = self.races.iter().filter(|race| race.is_right(&self.scenario));
        let stalls = self
            .races
            .iter()
            .map(|race| race.stall_of_others(&self.scenario).as_secs_f64() * 1e3);
        format!(
            "{:<39} {:<20} {:>5}  {:>13}  {:>11}  {:>9}  {:>12}  {:>11.1} ms  {}",
            self.scenario.name,
            self.keeper.name(),
            format!("{}/{}", right.count(), self.races.len()),
            self.shown(|seen| seen.dead),
            self.shown(|seen| seen.freed),
            of_races(|race| race.hurt().len().to_string()),
            of_races(|race| race.oom_kills().to_string()),
            percentile(&mut stalls.collect::<Vec<_>>(), 50),
            of_races(|race| race.hurt().first().map_or("-", |pod| pod.name).to_owned()),
        )
    }

    /// What the agent's records say of each kill, in milliseconds since the onset.
    fn kills(&self) -> Vec<String> {
        let kills = self.races.iter().flat_map(|race| {
            let kills = race.kills().into_iter();
            kills.filter_map(|record| Some((race.onset_before(record)?, record)))
        });
        let told = kills.map(|(onset, record)| {
            let ms = |at: Option<BootTime>| {
                at.map_or("-".to_owned(), |at| {
                    format!("{:.1}", at.since(onset).as_secs_f64() * 1e3)
                })
            };
            let times = &record.times;
            format!(
                "    agent's own times since the onset, ms: woken {}, figures read {}, decided {}, signalled {}, empty {}, \
                 half of it back {}",
                ms(Some(times.woken)),
                ms(Some(times.read)),
                ms(Some(times.decided)),
                ms(times.signalled),
                ms(times.empty),
                ms(times.freed),
            )
        });
        told.collect()
    }

    fn shown(&self, moment: fn(&Seen) -> Option<Duration>) -> String {
        let early = |race: &Race| race.onset.is_none() && race.is_right(&self.scenario);
        match self.median(moment) {
            Some(time) => format!("{time:.0} ms"),
            None if self.races.iter().any(early) => "before it".to_owned(),
            None => "never".to_owned(),
        }
    }

    /// In milliseconds; none if it did not come to that in most races.
    fn median(&self, moment: fn(&Seen) -> Option<Duration>) -> Option<f64> {
        let times = self.races.iter().map(|race| {
            let time = race.since_onset(&self.scenario, moment);
            time.map_or(f64::INFINITY, |time| time.as_secs_f64() * 1e3)
        });
        Some(percentile(&mut times.collect::<Vec<_>>(), 50)).filter(|median| median.is_finite())
    }
}

/// How soon memory was back with the agent, beside each of the others.
fn compared(rows: &[Row]) -> Vec<Figure> {
    let mut figures = Vec::new();
    for ours in rows.iter().filter(|row| row.keeper == Keeper::Plimsoll) {
        let name = format!("pressure: {}: onset to freed", ours.scenario.name);
        let Some(freed) = ours.median(|seen| seen.freed) else {
            continue;
        };
        figures.push(Figure::alone(&name, freed, "ms"));
        let others = rows
            .iter()
            .filter(|row| row.keeper != Keeper::Plimsoll && row.scenario.name == ours.scenario.name);
        for other in others {
            if let Some(theirs) = other.median(|seen| seen.freed) {
                let name = format!("{name}, beside {}", other.keeper.name());
                figures.push(Figure::beside(name, freed, "ms", theirs));
            }
        }
    }
    figures
}

/// How long a stage of a kill took, if the kill came to it.
type Stage = fn(&KillTimes) -> Option<Duration>;

/// How long the agent's own stages took, by its records of all races.
fn stages(rows: &[Row]) -> Vec<Figure> {
    let races = rows.iter().flat_map(|row| &row.races);
    let times: Vec<_> = races.flat_map(Race::kills).map(|record| record.times).collect();
    let stages: [(&str, Stage); 3] = [
        ("the kernel noticed to decided", |t| {
            Some(t.decided.since(t.onset?))
        }),
        ("woken to decided", |t| Some(t.decided.since(t.woken))),
        ("decided to signalled", |t| Some(t.signalled?.since(t.decided))),
    ];
    let mut figures = Vec::new();
    for (name, stage) in stages {
        let mut samples: Vec<_> = times
            .iter()
            .filter_map(stage)
            .map(|took| took.as_secs_f64() * 1e3)
            .collect();
        if !samples.is_empty() {
            let name = format!("pressure: {name}, p99 of {}", samples.len());
            figures.push(Figure::alone(name, percentile(&mut samples, 99), "ms"));
        }
    }
    figures
}
