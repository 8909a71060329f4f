//! How soon the agent decides after the pods' root went over its `memory.high`: one hog after the other, each of which
//! ends in a kill.
//!
//! The breach is seen from outside, in the kernel's counter; the rest is what the agent's records say.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use plimsoll::model::BootTime;
use plimsoll::model::QosClass::Burstable;
use plimsoll::model::pressure::{DecisionRecord, Domain};

use crate::race::{Keeper, Line, Look, Places, Pod, Race, Scenario, run_with};

use super::{Figure, percentile};

/// Hogs, the first included.
const HOGS: u32 = 24;
/// From one to the next: three victims in ten seconds are the agent's budget.
const EVERY: Duration = Duration::from_millis(3600);
const LOAD: &str = "anon first=130 size=2000 pace=100";

/// The figures, each of as many samples as its name says.
pub(super) fn figures(places: &Places) -> io::Result<Vec<Figure>> {
    let pods = vec![
        Pod::bystander("steady", Burstable, 160, "work size=96 every=60", 95),
        Pod::hog("hog", Burstable, 64, LOAD).with_first(130),
    ];
    // Whose end is right is of no concern here: nothing but the number of hogs ends it.
    let mut scenario = Scenario::new("breaches", Line::High(300), &[], pods);
    scenario.patience = EVERY * (HOGS + 1);
    let hogs = Cell::new(1);
    let race = run_with(&scenario, Keeper::Plimsoll, 1, places, &mut |field, race| {
        if race.lasted >= EVERY * hogs.get() {
            if hogs.get() == HOGS {
                return Ok(Look::Enough);
            }
            field.replace("hog", LOAD, &format!("uid-hog-{}", hogs.get()))?;
            hogs.set(hogs.get() + 1);
        }
        Ok(Look::On)
    })?;
    Ok(of(&race))
}

/// The time of a stage, from the breach and the record of what was done.
type Stage = fn(BootTime, &DecisionRecord) -> Option<Duration>;

fn of(race: &Race) -> Vec<Figure> {
    let kills: Vec<_> = race
        .kills()
        .into_iter()
        .filter(|record| record.need.domain == Domain::Pods)
        .filter_map(|record| Some((race.onset_before(record)?, record)))
        .collect();
    let stages: [(&str, Stage); 4] = [
        ("memory.high breached to decided", |breach, record| {
            Some(record.times.decided.since(breach))
        }),
        ("breached to woken", |breach, record| {
            Some(record.times.woken.since(breach))
        }),
        ("woken to decided", |_, record| {
            Some(record.times.decided.since(record.times.woken))
        }),
        ("decided to signalled", |_, record| {
            Some(record.times.signalled?.since(record.times.decided))
        }),
    ];
    let mut figures = Vec::new();
    for (name, stage) in stages {
        let times = kills.iter().filter_map(|(breach, record)| stage(*breach, record));
        let mut times: Vec<_> = times.map(|time| time.as_secs_f64() * 1e3).collect();
        for percent in [50, 99] {
            let name = format!("pressure: {name}, p{percent} of {}", times.len());
            figures.push(Figure::alone(name, percentile(&mut times, percent), "ms"));
        }
    }
    figures
}
