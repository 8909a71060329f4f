//! The benchmarks: each gives [`Figure`]s, most of them beside a baseline measured in the same run.
//!
//! Absolute times on a shared machine say little; ratios of runs that took turns say more. A benchmark that cannot
//! run here says why and gives no figure.

mod agent;
mod breaches;
mod cpu;
mod decide;
mod echo;
mod exclusive;
mod foreign;
mod pressure;
mod snapshot;
mod switch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fmt, fs};

use serde::Serialize;

/// One measured figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What it is compared with, in the same unit, measured in the same run.
    pub baseline: Option<f64>,
    /// How many times cheaper than the baseline.
    pub ratio: Option<f64>,
}

impl Figure {
    /// A figure that stands alone.
    #[must_use]
    pub fn alone(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            baseline: None,
            ratio: None,
        }
    }

    /// A figure beside what it is compared with.
    #[must_use]
    pub fn beside(name: impl Into<String>, value: f64, unit: &'static str, baseline: f64) -> Self {
        Self {
            name: name.into(),
            value,
            unit,
            baseline: Some(baseline),
            ratio: Some(baseline / value),
        }
    }
}

/// What a benchmark may need.
#[derive(Debug)]
pub struct Bench {
    /// Where the cgroup v2 file system is mounted.
    pub mount: PathBuf,
    /// The agent's program.
    pub program: PathBuf,
}

/// What a benchmark gives.
pub type Figures = Result<Vec<Figure>, Box<dyn std::error::Error>>;

/// Why a benchmark cannot run on this machine: for want of something that the machine does not claim to have.
#[derive(Debug)]
struct NotHere(String);

impl fmt::Display for NotHere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotHere {}

/// A group's name and its benchmark.
type Group = (&'static str, fn(&Bench) -> Figures);

/// The benchmarks by group.
const GROUPS: [Group; 8] = [
    ("agent", agent::figures),
    ("cpu", cpu::figures),
    ("decide", decide::figures),
    ("exclusive", exclusive::figures),
    ("foreign", foreign::figures),
    ("pressure", pressure::figures),
    ("snapshot", snapshot::figures),
    ("switch", switch::figures),
];

/// The value at `percent` of `samples` (nearest rank); 0 without samples.
#[must_use]
pub fn percentile(samples: &mut [f64], percent: usize) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples
        .get((samples.len() * percent).div_ceil(100).saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

/// Runs the groups named by the arguments, or all of them, and prints a table.
#[must_use]
pub fn main() -> ExitCode {
    if env::args().nth(1).as_deref() == Some(echo::ARGUMENT) {
        return echo::serve();
    }
    let mut bench = Bench {
        mount: "/sys/fs/cgroup".into(),
        program: env::current_exe()
            .map_or_else(|_| "plimsoll".into(), |this| this.with_file_name("plimsoll")),
    };
    let (mut json, mut wanted) = (None, Vec::new());
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = arguments.next().map(PathBuf::from),
            "--cgroup-mount" => bench.mount = arguments.next().map(PathBuf::from).unwrap_or(bench.mount),
            "--plimsoll" => bench.program = arguments.next().map(PathBuf::from).unwrap_or(bench.program),
            _ => wanted.push(argument),
        }
    }
    if let Some(unknown) = wanted.iter().find(|w| GROUPS.iter().all(|(name, _)| name != w)) {
        eprintln!(
            "plimsoll-bench: no group {unknown:?}; there are {:?}",
            GROUPS.map(|(name, _)| name)
        );
        return ExitCode::from(64);
    }
    let mut figures = Vec::new();
    let mut failed = false;
    println!(
        "{:<58} {:>12} {:<6} {:>12} {:>8}",
        "figure", "value", "unit", "baseline", "ratio"
    );
    for (name, run) in GROUPS {
        if !wanted.is_empty() && !wanted.iter().any(|w| w == name) {
            continue;
        }
        match run(&bench) {
            Ok(measured) => {
                measured.iter().for_each(show);
                figures.extend(measured);
            }
            Err(why) if why.is::<NotHere>() => println!("{name}: no figures here: {why}"),
            Err(error) => {
                println!("{name}: no figures: {error}");
                failed = true;
            }
        }
    }
    if let Some(path) = json {
        let lines: Result<Vec<_>, _> = figures.iter().map(serde_json::to_string).collect();
        let written = lines
            .map_err(Into::into)
            .and_then(|lines| fs::write(&path, lines.join("\n") + "\n"));
        if let Err(error) = written {
            eprintln!("plimsoll-bench: cannot write {}: {error}", path.display());
            failed = true;
        }
    }
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn show(figure: &Figure) {
    let optional = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.2}"));
    println!(
        "{:<58} {:>12.3} {:<6} {:>12} {:>8}",
        figure.name,
        figure.value,
        figure.unit,
        optional(figure.baseline),
        optional(figure.ratio)
    );
}
