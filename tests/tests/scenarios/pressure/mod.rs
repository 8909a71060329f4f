//! Memory pressure: the table of scenarios on the simulated machine, each row over many seeds.

mod rows;

use std::collections::BTreeMap;

use plimsoll_tests::pressure::run::{Verdict, run};
use plimsoll_tests::pressure::scenario::Scenario;

/// Plays every seed of every row, and prints one line a row.
fn play(rows: Vec<Scenario>) {
    let mut wrong = Vec::new();
    for scenario in rows {
        let verdicts: Vec<Verdict> = (0..scenario.seeds).map(|seed| run(&scenario, seed)).collect();
        let compared: usize = verdicts.iter().map(|verdict| verdict.compared).sum();
        let bad = verdicts
            .iter()
            .filter(|verdict| !verdict.wrong.is_empty())
            .count();
        let missed = verdicts.iter().filter(|verdict| verdict.missed > 0).count();
        let mut leads: Vec<f64> = verdicts.iter().filter_map(|verdict| verdict.lead).collect();
        leads.sort_by(f64::total_cmp);
        let lead = leads
            .get(leads.len() / 2)
            .map_or(String::new(), |lead| format!(", lead {lead:.2} s"));
        println!(
            "{:<72} {:>4} seeds, {compared:>6} compared, {bad} wrong, kernel first {missed}{lead}",
            scenario.row, scenario.seeds
        );
        if compared == 0 {
            wrong.push(format!("{}: nothing was compared", scenario.row));
        }
        let mut kinds: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (seed, verdict) in verdicts.iter().enumerate() {
            for what in &verdict.wrong {
                kinds.entry(what).or_insert((seed, 0)).1 += 1;
            }
        }
        let told = kinds.into_iter().take(6);
        wrong.extend(told.map(|(what, (seed, times))| {
            format!("{}, seed {seed} and {times} in all: {what}", scenario.row)
        }));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn growth() {
    play(rows::growth());
}

#[test]
fn attribution() {
    play(rows::attribution());
}

#[test]
fn blame() {
    play(rows::blame());
}

#[test]
fn dying() {
    play(rows::dying());
}

#[test]
fn agent() {
    play(rows::agent());
}

#[test]
fn ladder() {
    play(rows::ladder());
}

#[test]
fn every_row_of_the_table_is_there() {
    let rows = rows::all();
    let number = |scenario: &Scenario| {
        let digits: String = scenario.row.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<usize>().unwrap()
    };
    let mut numbers: Vec<_> = rows.iter().map(number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    // What comes after is not of the table.
    numbers.retain(|number| *number <= 38);
    assert_eq!(numbers, (1..=38).collect::<Vec<_>>());
}
