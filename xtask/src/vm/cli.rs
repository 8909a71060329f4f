//! `cargo xtask vm`: the lab from the command line.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{GuestFile, Pace, VmSpec};
use crate::setup::kernels::KERNELS;
use crate::test::TESTS;
use crate::{build_ebpf, cargo};

/// The test target that runs its machine out of memory, with the program that does so.
const PRESSURE: &str = "pressure";
const WORKLOADS: &str = "plimsoll-load";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Kernel series
    #[arg(long, default_value = "6.12", value_parser = KERNELS)]
    kernel: String,
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// NUMA nodes, among which CPUs and memory are split evenly
    #[arg(long, default_value_t = 1, value_name = "NODES")]
    numa: u32,
    /// Sockets, among which NUMA nodes are split evenly; one for each node if not given
    #[arg(long)]
    sockets: Option<u32>,
    /// Threads of a core
    #[arg(long, default_value_t = 1)]
    threads: u32,
    /// Memory in MiB
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    memory: u64,
    /// Swap space in MiB
    #[arg(long, default_value_t = 0, value_name = "MIB")]
    swap: u64,
    /// Size in MiB of a disk with an empty ext4, mounted at /disk
    #[arg(long, default_value_t = 0, value_name = "MIB")]
    disk: u64,
    /// Seconds until the machine is given up
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    timeout: u64,
    /// Hardware virtualisation instead of emulation
    #[arg(long)]
    kvm: bool,
    /// A clock that goes on by a nanosecond with each instruction, whatever that takes
    #[arg(long, conflicts_with = "kvm")]
    instruction_clock: bool,
    /// Put a file of this host into the machine; repeatable
    #[arg(long = "file", value_name = "HOST:GUEST", value_parser = parse_file)]
    files: Vec<GuestFile>,
    /// Set a variable of the command's environment; repeatable
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = parse_variable)]
    environment: Vec<(String, String)>,
    /// Add a word to the kernel's command line; repeatable
    #[arg(long = "append", value_name = "WORD")]
    kernel_arguments: Vec<String>,
    /// Build and add the tests as /tests/NAME, `kernel` if no name follows; the agent gets the fault points that some
    /// of them end it at, unless it is the release build
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "kernel")]
    with_tests: Vec<String>,
    /// Take the release build of `plimsoll` instead of the development build
    #[arg(long)]
    release: bool,
    /// Do without `plimsoll`, and without building it
    #[arg(long)]
    bare: bool,
    /// Do not build the eBPF programs; the agent has those of the last build, if any
    #[arg(long)]
    no_ebpf: bool,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

fn parse_file(text: &str) -> Result<GuestFile> {
    let (host, guest) = text.rsplit_once(':').context("not HOST:GUEST")?;
    ensure!(guest.starts_with('/'), "the path in the machine is not absolute");
    Ok(GuestFile {
        host: host.into(),
        guest: guest.to_owned(),
    })
}

fn parse_variable(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').context("not NAME=VALUE")?;
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    ensure!(
        !name.is_empty() && name.chars().all(word),
        "{name:?} is no name of a variable"
    );
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) fn run(options: Options) -> Result<ExitCode> {
    let mut files = options.files;
    if !options.no_ebpf && (!options.bare || !options.with_tests.is_empty()) {
        build_ebpf::build()?;
    }
    if !options.bare {
        files.push(plimsoll(
            match (options.release, options.with_tests.is_empty()) {
                (true, _) => Build::Release,
                (false, true) => Build::Development,
                (false, false) => Build::FaultPoints,
            },
        )?);
    }
    for name in &options.with_tests {
        files.push(test_program(name)?);
        if name == PRESSURE {
            files.push(workloads(Build::Development)?);
        }
    }
    let spec = VmSpec {
        kernel: options.kernel,
        cpus: options.cpus,
        numa_nodes: options.numa,
        sockets: options.sockets.unwrap_or(options.numa),
        threads: options.threads,
        memory_mib: options.memory,
        swap_mib: options.swap,
        disk_mib: options.disk,
        pace: match (options.kvm, options.instruction_clock) {
            (true, _) => Pace::Hardware,
            (false, true) => Pace::Instructions,
            (false, false) => Pace::RealTime,
        },
        timeout: Duration::from_secs(options.timeout),
        kernel_arguments: options.kernel_arguments,
        files,
        environment: options.environment,
        command: options.command,
    };
    let outcome = super::run_here(&spec)?;
    for complaint in &outcome.complaints {
        eprintln!("vm: kernel {}: {complaint}", spec.kernel);
    }
    eprintln!(
        "vm: kernel {}: up in {:.1} s, exit status {}",
        spec.kernel,
        outcome.booted.as_secs_f64(),
        outcome.status
    );
    Ok(ExitCode::from(outcome.status))
}

/// How the agent is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// As it is released.
    Release,
    /// For development.
    Development,
    /// For development, and with the places at which a test can end it.
    FaultPoints,
}

/// Builds the agent, to be /bin/plimsoll in the machine.
pub(crate) fn plimsoll(build: Build) -> Result<GuestFile> {
    let mut arguments = vec!["build", "--package", "plimsoll", "--bin", "plimsoll"];
    match build {
        Build::Release => arguments.push("--release"),
        Build::Development => {}
        Build::FaultPoints => arguments.extend(["--features", "fault-points"]),
    }
    Ok(GuestFile {
        host: cargo::build_one(&arguments, "plimsoll")?,
        guest: "/bin/plimsoll".to_owned(),
    })
}

/// Builds the workloads, to be /bin/plimsoll-load in the machine.
pub(crate) fn workloads(build: Build) -> Result<GuestFile> {
    let mut arguments = vec!["build", "--package", TESTS, "--bin", WORKLOADS];
    if build == Build::Release {
        arguments.push("--release");
    }
    Ok(GuestFile {
        host: cargo::build_one(&arguments, WORKLOADS)?,
        guest: format!("/bin/{WORKLOADS}"),
    })
}

/// Builds a test target of the tests' package, to be /tests/NAME in the machine.
pub(crate) fn test_program(name: &str) -> Result<GuestFile> {
    let arguments = ["test", "--package", "plimsoll-tests", "--test", name, "--no-run"];
    Ok(GuestFile {
        host: cargo::build_one(&arguments, name)?,
        guest: format!("/tests/{name}"),
    })
}
