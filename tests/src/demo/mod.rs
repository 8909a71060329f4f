//! The demo: real pods placed, watched, limited and adopted, each claim checked against the kernel.
//!
//! It starts `plimsoll run` on a directory of example pods, one of each QoS class, adds one that grows beyond its
//! memory limit, and so plays five acts. An act that finds its claim untrue says so, and the program ends
//! with status 1. Figures are read from cgroup files and `/proc` by the demo itself, never taken from the agent
//! alone.

mod acts;
mod facts;
mod pods;
mod show;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use crate::agent::Agent;

/// Where the demo's agent keeps its tree, below the mount.
const CGROUP_ROOT: &str = "plimsoll-demo";

/// What the acts work on.
struct Stage {
    agent: Agent,
    /// The demo's root cgroup, as a directory.
    tree: PathBuf,
}

/// What a claim that was not true, or could not be checked, says.
type Claim<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Runs the demo and says whether all of it was true.
#[must_use]
pub fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let mut mount = PathBuf::from("/sys/fs/cgroup");
    let mut program = sibling("plimsoll");
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--cgroup-mount", Some(value)) => mount = value.into(),
            ("--plimsoll", Some(value)) => program = value.into(),
            (other, _) => {
                eprintln!("plimsoll-demo: unknown or incomplete argument {other:?}");
                return ExitCode::from(64);
            }
        }
    }
    match play(&program, &mount) {
        Ok(()) => {
            println!("\nAll of it was true.");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("\nNOT TRUE: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The program of that name beside this one.
fn sibling(name: &str) -> PathBuf {
    env::current_exe().map_or_else(|_| name.into(), |this| this.with_file_name(name))
}

fn play(program: &Path, mount: &Path) -> Claim {
    let directory = env::temp_dir().join(format!("plimsoll-demo-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let agent = Agent::new(program, &directory, CGROUP_ROOT, "")?;
    let mut stage = Stage {
        agent,
        tree: mount.join(CGROUP_ROOT),
    };
    let result = acts::all(&mut stage);
    if result.is_err() {
        show::log_tail(&stage.agent.log());
    }
    let tidied = acts::tidy_up(&mut stage);
    fs::remove_dir_all(&directory)?;
    result.and(tidied)
}
