//! `cargo xtask setup`: what the build of the eBPF programs and the VM lab need, fetched once.
//!
//! Each step says what it does and why, and does nothing when its product is there. Products live in the lab
//! directory (`target/lab`, or `PLIMSOLL_LAB_DIR` to share them between checkouts); the system's package sources and
//! package state are not touched, with one exception that says so: QEMU is installed as a system package when root.

mod apt;
mod debian_sources;
pub(crate) mod kernels;
pub(crate) mod linker;
pub(crate) mod prometheus;
pub(crate) mod qemu;
pub(crate) mod rivals;
pub(crate) mod rust_src;
mod skipped;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::paths;

#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Try again what an earlier run had to skip
    #[arg(long)]
    again: bool,
    /// Take Rust's sources from Debian even if rustup could add them to the toolchain
    #[arg(long)]
    no_rustup: bool,
}

/// What a command asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Building the eBPF programs.
    Ebpf,
    /// Tests on this machine.
    Host,
    /// Booting a virtual machine.
    Vm,
    /// Racing other killers.
    Rivals,
}

/// How a step ended.
enum Done {
    Already(String),
    Now(String),
    Skipped(String),
}

struct Step {
    need: Need,
    name: String,
    why: &'static str,
    /// What is there already, or why it was skipped before.
    found: Box<dyn Fn() -> Result<Option<Done>>>,
    /// Makes it so, and says what it did.
    fetch: Box<dyn Fn() -> Result<Done>>,
}

fn steps(no_rustup: bool) -> Vec<Step> {
    let mut steps = vec![
        rust_src::step(no_rustup),
        linker::step(),
        qemu::step(),
        qemu::busybox_step(),
        prometheus::step(),
        rivals::step(),
    ];
    steps.extend(kernels::KERNELS.iter().map(|&kernel| kernels::step(kernel)));
    steps
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let lab = paths::lab();
    let _turn = paths::lock(&lab)?;
    if options.again {
        kernels::forget_skipped()?;
        prometheus::forget_skipped()?;
        rivals::forget_skipped()?;
    }
    println!("setup: tools and kernels in {}", lab.display());
    let mut failed = Vec::new();
    for step in steps(options.no_rustup) {
        match perform(&step) {
            Ok(Done::Already(what)) => println!("  have     {}: {what}", step.name),
            Ok(Done::Now(what)) => println!("  done     {}: {what}", step.name),
            Ok(Done::Skipped(why)) => println!("  skipped  {}: {why}", step.name),
            Err(error) => {
                println!("  FAILED   {}: {error:#}", step.name);
                failed.push(step.name);
            }
        }
    }
    if failed.is_empty() {
        Ok(ExitCode::SUCCESS)
    } else {
        bail!("setup could not get: {}", failed.join(", "))
    }
}

/// What another command calls first: silent and fast when nothing is missing, an error when a need cannot be met.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let missing =
        |step: &Step| Ok::<_, anyhow::Error>(needs.contains(&step.need) && (step.found)()?.is_none());
    for step in steps(false) {
        if missing(&step)? {
            let _turn = paths::lock(&paths::lab())?;
            // Another command may have fetched it while this one waited for its turn.
            match perform(&step).with_context(|| format!("setup of {}", step.name))? {
                Done::Already(_) => {}
                Done::Now(what) => eprintln!("setup: {}: {what}", step.name),
                Done::Skipped(why) => eprintln!("setup: {} skipped: {why}", step.name),
            }
        }
    }
    Ok(())
}

fn perform(step: &Step) -> Result<Done> {
    if let Some(done) = (step.found)()? {
        return Ok(done);
    }
    eprintln!("  getting  {}: {}", step.name, step.why);
    let start = Instant::now();
    Ok(match (step.fetch)()? {
        Done::Now(what) => Done::Now(format!("{what} ({} s)", start.elapsed().as_secs())),
        done => done,
    })
}
