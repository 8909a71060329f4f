//! `cargo xtask demo`: the main job on example pods, on this machine if it can do it all, else in a virtual machine.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Result;

use crate::setup::kernels;
use crate::test::TESTS;
use crate::vm::{self, VmSpec};
use crate::{build_ebpf, cargo, cgroup, exec};

const PROGRAM: &str = "plimsoll-demo";
const DEFAULT_KERNEL: &str = "6.12";
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
    let place = choose(options.kernel.as_deref());
    match &place {
        Place::Here(mount) => println!(
            "demo: on this machine: it has root, BTF and the cgroup v2 controllers that are needed at {}",
            mount.display()
        ),
        Place::Vm { kernel, why } => println!("demo: in a virtual machine with kernel {kernel}: {why}"),
    }
    build_ebpf::build()?;
    let agent = vm::cli::plimsoll(vm::cli::Build::Release)?.host;
    let demo = cargo::build_one(
        &["build", "--release", "--package", TESTS, "--bin", PROGRAM],
        PROGRAM,
    )?;
    match place {
        Place::Here(mount) => {
            let mut command = Command::new(&demo);
            command
                .arg("--cgroup-mount")
                .arg(mount)
                .arg("--plimsoll")
                .arg(agent);
            let success = exec::status(&mut command)?.success();
            Ok(if success {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Place::Vm { kernel, .. } => in_vm(&kernel, agent, demo, options.timeout),
    }
}

fn in_vm(kernel: &str, agent: PathBuf, demo: PathBuf, timeout: u64) -> Result<ExitCode> {
    let guest = format!("/bin/{PROGRAM}");
    let command = [
        &guest,
        "--cgroup-mount",
        "/sys/fs/cgroup",
        "--plimsoll",
        "/bin/plimsoll",
    ];
    let mut spec = VmSpec::new(kernel, command)
        .file(agent, "/bin/plimsoll")
        .file(demo, &guest);
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

/// Where the demo runs.
enum Place {
    /// On this machine, with the place of its cgroup v2 hierarchy.
    Here(PathBuf),
    Vm {
        kernel: String,
        why: String,
    },
}

fn choose(kernel: Option<&str>) -> Place {
    if let Some(kernel) = kernel {
        return Place::Vm {
            kernel: kernel.to_owned(),
            why: "--kernel asks for it".to_owned(),
        };
    }
    let btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    let mount = cgroup::mount();
    let controllers = mount.as_deref().map(cgroup::controllers).unwrap_or_default();
    match (missing(exec::is_root(), btf, &controllers), mount) {
        (None, Some(mount)) => Place::Here(mount),
        (why, _) => {
            let why = why.unwrap_or_else(|| "this machine has no cgroup v2".to_owned());
            Place::Vm {
                kernel: DEFAULT_KERNEL.to_owned(),
                why,
            }
        }
    }
}

/// What this machine lacks for the whole of the main job.
fn missing(root: bool, btf: bool, controllers: &[String]) -> Option<String> {
    if !root {
        return Some("this user is not root".to_owned());
    }
    if !btf {
        return Some("this kernel has no BTF".to_owned());
    }
    let absent: Vec<_> = CONTROLLERS
        .into_iter()
        .filter(|wanted| !controllers.iter().any(|had| had == wanted))
        .collect();
    (!absent.is_empty()).then(|| {
        format!(
            "this machine's cgroup v2 lacks the controllers {}",
            absent.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_names_what_is_missing() {
        let split = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let all = split("cpuset cpu io memory hugetlb pids");
        assert_eq!(missing(true, true, &all), None);
        assert_eq!(missing(false, true, &all).unwrap(), "this user is not root");
        assert_eq!(missing(true, false, &all).unwrap(), "this kernel has no BTF");
        // `cpuset` is not `cpu`.
        let absent = missing(true, true, &split("cpuset memory")).unwrap();
        assert!(absent.ends_with("cpu, pids"), "{absent}");
    }
}
