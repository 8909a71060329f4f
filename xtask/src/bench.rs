//! `cargo xtask bench`: the figures of this machine's kernel and of the lab's, in one table.
//!
//! The measuring is the program `plimsoll-bench`. It writes one JSON object a figure to standard output, a line each,
//! and whatever it wants to say meanwhile to standard error. Figures of a virtual machine are emulated: only their
//! ratios mean something.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::setup::kernels;
use crate::test::TESTS;
use crate::vm::{self, VmSpec};
use crate::{build_ebpf, cargo, exec};

const PROGRAM: &str = "plimsoll-bench";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Write one JSON object a figure to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also measure in a virtual machine with this kernel; repeatable
    #[arg(long = "kernel", value_name = "SERIES", value_parser = kernels::KERNELS)]
    kernels: Vec<String>,
    /// Arguments of the measuring program
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// One measured value beside what it is compared with.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Figure {
    name: String,
    value: f64,
    unit: String,
    baseline: Option<f64>,
    ratio: Option<f64>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    build_ebpf::build()?;
    let agent = vm::cli::plimsoll(true)?.host;
    let program = cargo::build_one(
        &["build", "--release", "--package", TESTS, "--bin", PROGRAM],
        PROGRAM,
    )?;
    let mut figures = here(&agent, &program, &options.arguments)?;
    for kernel in &options.kernels {
        figures.extend(in_vm(kernel, &agent, &program, &options.arguments)?);
    }
    ensure!(!figures.is_empty(), "{PROGRAM} measured nothing");
    print!("{}", table(&figures));
    if let Some(path) = &options.json {
        let lines = figures
            .iter()
            .map(|figure| Ok(serde_json::to_string(figure)? + "\n"))
            .collect::<Result<String>>()?;
        std::fs::write(path, lines).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn here(agent: &Path, program: &Path, arguments: &[String]) -> Result<Vec<Figure>> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("PLIMSOLL_BIN", agent)
        .stderr(Stdio::inherit());
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", exec::show(&command)))?;
    ensure!(
        output.status.success(),
        "{} failed: {}",
        exec::show(&command),
        output.status
    );
    parse(&String::from_utf8_lossy(&output.stdout), "")
}

fn in_vm(kernel: &str, agent: &Path, program: &Path, arguments: &[String]) -> Result<Vec<Figure>> {
    let guest = format!("/bin/{PROGRAM}");
    let command = std::iter::once(guest.clone()).chain(arguments.iter().cloned());
    let mut spec = VmSpec::new(kernel, command)
        .file(agent, "/bin/plimsoll")
        .file(program, guest);
    spec.environment
        .push(("PLIMSOLL_BIN".to_owned(), "/bin/plimsoll".to_owned()));
    spec.memory_mib = 4096;
    spec.timeout = Duration::from_secs(1800);
    let (outcome, output) = vm::output(&spec)?;
    if outcome.status != 0 {
        bail!(
            "{PROGRAM} ended with status {} on kernel {kernel}",
            outcome.status
        );
    }
    parse(&String::from_utf8_lossy(&output), &format!("{kernel}: "))
}

fn parse(text: &str, prefix: &str) -> Result<Vec<Figure>> {
    let figure = |line: &str| {
        let figure: Figure = serde_json::from_str(line).with_context(|| format!("not a figure: {line:?}"))?;
        Ok(Figure {
            name: format!("{prefix}{}", figure.name),
            ..figure
        })
    };
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(figure)
        .collect()
}

fn table(figures: &[Figure]) -> String {
    let optional = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    let width = figures
        .iter()
        .map(|figure| figure.name.chars().count())
        .max()
        .unwrap_or(0);
    let mut lines = format!(
        "{:width$}  {:>12} {:8} {:>12} {:>8}\n",
        "figure", "value", "unit", "baseline", "ratio"
    );
    for Figure {
        name,
        value,
        unit,
        baseline,
        ratio,
    } in figures
    {
        let (baseline, ratio) = (optional(*baseline), optional(*ratio));
        lines += &format!("{name:width$}  {value:>12.2} {unit:8} {baseline:>12} {ratio:>8}\n");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        r#"{"name":"walk, 1000 cgroups","value":180.5,"unit":"us","baseline":1300.0,"ratio":7.2}"#;

    #[test]
    fn figures_are_read_and_tell_their_kernel() {
        let figures = parse(&format!("{LINE}\n\n{LINE}\n"), "6.12: ").unwrap();
        assert_eq!(figures.len(), 2);
        assert_eq!(
            (figures[0].name.as_str(), figures[0].ratio),
            ("6.12: walk, 1000 cgroups", Some(7.2))
        );
        assert!(parse("progress: 5 %", "").is_err());
    }

    #[test]
    fn a_figure_without_a_baseline_has_a_dash() {
        let figures = parse(r#"{"name":"rss","value":20,"unit":"MiB"}"#, "").unwrap();
        assert!(table(&figures).lines().last().unwrap().ends_with("-        -"));
    }
}
