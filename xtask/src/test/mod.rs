//! `cargo xtask test`: every test, where each can run, and one summary.
//!
//! 1. Unit, property, scenario and conformance tests on this machine, unprivileged.
//! 2. The `native` tests, which load eBPF programs into this machine's kernel, when root.
//! 3. The `kernel` tests in a virtual machine on each kernel of the lab, and in another the `pressure` tests, which run it
//!    out of memory.
//!
//! The targets `native`, `kernel` and `pressure` mark their tests `#[ignore]`, so that plain `cargo test` compiles and does not
//! run them; this command includes them.

mod lab;
pub(crate) mod libtest;
pub(crate) mod summary;

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use self::libtest::Reader;
use self::summary::{End, Summary};
use crate::setup::{kernels, prometheus};
use crate::{build_ebpf, cargo, exec};

pub(crate) const TESTS: &str = "plimsoll-tests";
/// Test targets that need privileges or a machine of their own.
const APART: [&str; 3] = ["native", "kernel", "pressure"];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only the kernels of this series; repeatable
    #[arg(long = "kernel", value_name = "SERIES", value_parser = kernels::KERNELS)]
    kernels: Vec<String>,
    /// Leave out the tests that run on this machine
    #[arg(long)]
    no_host: bool,
    /// Leave out the virtual machines
    #[arg(long)]
    no_vm: bool,
    /// Only kernel and native tests with this in their name
    #[arg(long)]
    filter: Option<String>,
    /// Play every scenario of memory pressure, also the long ones, on every kernel, not only on one
    #[arg(long, env = "PLIMSOLL_ALL_SCENARIOS", value_parser = clap::builder::FalseyValueParser::new())]
    all_scenarios: bool,
    /// Seconds until a virtual machine is given up
    #[arg(long, default_value_t = 2400, value_name = "SECONDS")]
    timeout: u64,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut summary = Summary::default();
    summary.step("eBPF programs", || {
        let objects = build_ebpf::build().context("the programs could not be built")?;
        Ok(End::Done(format!("{} objects", objects.len())))
    });
    if !options.no_host {
        summary.step("tests on this machine", host);
        summary.step("documentation examples", doc);
        summary.step("eBPF tests on this machine's kernel", || native(options));
    }
    if !options.no_vm {
        let wanted = |series: &&str| {
            options.kernels.is_empty() || options.kernels.iter().any(|wanted| wanted == series)
        };
        let series: Vec<_> = kernels::KERNELS.into_iter().filter(wanted).collect();
        lab::run(&series, options, &mut summary);
    }
    Ok(summary.close())
}

/// Runs `cargo test` with `arguments`, its output passed on and counted.
pub(crate) fn cargo_test(configure: impl FnOnce(&mut Command)) -> Result<End> {
    let mut test = cargo::command();
    test.args(["test", "--no-fail-fast"]);
    configure(&mut test);
    let mut reader = Reader::default();
    let status = exec::tee(&mut test, |line| reader.line(line))?;
    Ok(End::of(reader, status.success()))
}

/// Every target whose tests need nothing. They are named one by one, because `--tests` would take those apart along
/// and `--bins` the eBPF programs, which exist for another target only.
fn host() -> Result<End> {
    crate::setup::ensure(&[crate::setup::Need::Host])?;
    let targets = cargo::targets()?;
    cargo_test(|test| {
        if prometheus::is_there() {
            // Once it is there, a test that would do without it is wrong.
            test.env("PLIMSOLL_PROMETHEUS_DIR", prometheus::programs());
            test.env("PLIMSOLL_REQUIRE_PROMETHEUS", "1");
        }
        test.args(["--workspace", "--lib"]);
        for target in targets.iter().filter(|target| target.test) {
            match target.kind.as_str() {
                "bin" => _ = test.args(["--bin", &target.name]),
                "test" if !APART.contains(&target.name.as_str()) => _ = test.args(["--test", &target.name]),
                _ => {}
            }
        }
    })
}

fn doc() -> Result<End> {
    cargo_test(|test| _ = test.args(["--workspace", "--doc"]))
}

fn native(options: &Options) -> Result<End> {
    if !cargo::has(TESTS, "test", "native")? {
        return Ok(End::Skipped("the tests have no target `native`".to_owned()));
    }
    if !exec::is_root() {
        return Ok(End::Skipped("loading eBPF programs needs root".to_owned()));
    }
    cargo_test(|test| {
        test.args(["--package", TESTS, "--test", "native", "--"])
            .args(harness_arguments(options));
    })
}

/// One test at a time, for they share one kernel; the ignored ones are meant.
fn harness_arguments(options: &Options) -> Vec<String> {
    let mut arguments = vec!["--include-ignored".to_owned(), "--test-threads=1".to_owned()];
    arguments.extend(options.filter.clone());
    arguments
}
