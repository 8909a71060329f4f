//! `cargo xtask demo`: the main job on example pods, on this machine if it can do it all, else in a virtual machine.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Result;

use crate::setup::kernels;
use crate::test::TESTS;
use crate::vm::{self, VmSpec};
use crate::{build_ebpf, cargo, exec};

const PROGRAM: &str = "plimsoll-demo";
/// What the demo's pods are placed with.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run in a virtual machine with this kernel, whatever this machine could do
    #[arg(long, value_name = "SERIES", value_parser = kernels::KERNELS)]
    kernel: Option<String>,
    /// Seconds until the virtual machine is given up
    #[arg(long, default_value_t = 180, value_name = "SECONDS")]
    timeout: u64,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    build_ebpf::build()?;
    let agent = vm::cli::plimsoll(true)?.host;
    let demo = cargo::build_one(
        &["build", "--release", "--package", TESTS, "--bin", PROGRAM],
        PROGRAM,
    )?;
    let kernel = options.kernel.clone().map_or_else(not_here, |kernel| {
        Some((kernel, "--kernel asks for it".to_owned()))
    });
    match kernel {
        None => {
            println!("demo: on this machine: it has root, BTF and the cgroup v2 controllers that are needed");
            let status = exec::status(Command::new(&demo).env("PLIMSOLL_BIN", &agent))?;
            Ok(if status.success() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Some((kernel, why)) => {
            println!("demo: in a virtual machine with kernel {kernel}: {why}");
            in_vm(&kernel, agent, demo, options.timeout)
        }
    }
}

fn in_vm(kernel: &str, agent: PathBuf, demo: PathBuf, timeout: u64) -> Result<ExitCode> {
    let guest = format!("/bin/{PROGRAM}");
    let mut spec = VmSpec::new(kernel, [guest.as_str()])
        .file(agent, "/bin/plimsoll")
        .file(demo, guest.as_str());
    spec.environment
        .push(("PLIMSOLL_BIN".to_owned(), "/bin/plimsoll".to_owned()));
    spec.memory_mib = 2048;
    spec.swap_mib = 256;
    spec.timeout = Duration::from_secs(timeout);
    let outcome = vm::run_here(&spec)?;
    println!(
        "demo: the machine was up in {:.1} s",
        outcome.booted.as_secs_f64()
    );
    Ok(ExitCode::from(outcome.status))
}

/// Why the demo cannot run here, with the kernel to run it on instead.
fn not_here() -> Option<(String, String)> {
    let btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    let controllers = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    missing(exec::is_root(), btf, &controllers).map(|why| ("6.12".to_owned(), why))
}

fn missing(root: bool, btf: bool, controllers: &str) -> Option<String> {
    if !root {
        return Some("this user is not root".to_owned());
    }
    if !btf {
        return Some("this kernel has no BTF".to_owned());
    }
    let has = |wanted: &&str| {
        controllers
            .split_whitespace()
            .any(|controller| controller == *wanted)
    };
    let absent: Vec<_> = CONTROLLERS.into_iter().filter(|wanted| !has(wanted)).collect();
    (!absent.is_empty()).then(|| format!("/sys/fs/cgroup has no cgroup v2 controller {}", absent.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_names_what_is_missing() {
        let all = "cpuset cpu io memory hugetlb pids\n";
        assert_eq!(missing(true, true, all), None);
        assert_eq!(missing(false, true, all).unwrap(), "this user is not root");
        assert_eq!(missing(true, false, all).unwrap(), "this kernel has no BTF");
        // `cpuset` is not `cpu`.
        let absent = missing(true, true, "cpuset memory").unwrap();
        assert!(absent.ends_with("cpu, pids"), "{absent}");
    }
}
