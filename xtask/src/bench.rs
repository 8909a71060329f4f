//! `cargo xtask bench`: the figures of this machine's kernel and of the lab's.
//!
//! The measuring is the program `plimsoll-bench`, which prints a table and writes one JSON object a figure. Figures
//! of a virtual machine are emulated: only their ratios mean something.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::setup::{self, Need, kernels, rivals};
use crate::test::TESTS;
use crate::vm::{self, Pace, VmSpec};
use crate::{build_ebpf, cargo, cgroup, exec, paths};

const PROGRAM: &str = "plimsoll-bench";
/// The group of figures that depends on how CPUs belong together.
const TOPOLOGY: &str = "exclusive";
/// The group of figures that runs its machine out of memory.
const PRESSURE: &str = "pressure";
/// Variables that say which of its races to run.
const CHOICES: [&str; 3] = ["PLIMSOLL_SEEDS", "PLIMSOLL_ONLY", "PLIMSOLL_KEEPERS"];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Write one JSON object a figure to this file, those of a virtual machine with its kernel before the name
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also measure in a virtual machine with this kernel; repeatable
    #[arg(long = "kernel", value_name = "SERIES", value_parser = kernels::KERNELS)]
    kernels: Vec<String>,
    /// Leave this machine out
    #[arg(long)]
    no_host: bool,
    /// Seconds until a virtual machine is given up
    #[arg(long, default_value_t = 1800, value_name = "SECONDS")]
    timeout: u64,
    /// Only these groups of figures
    groups: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    build_ebpf::build()?;
    let agent = vm::cli::plimsoll(vm::cli::Build::Release)?.host;
    let program = cargo::build_one(
        &["build", "--release", "--package", TESTS, "--bin", PROGRAM],
        PROGRAM,
    )?;
    let mut lines = String::new();
    let mut good = true;
    if !options.no_host {
        println!("bench: on this machine");
        good &= here(&agent, &program, options, &mut lines)?;
    }
    for kernel in &options.kernels {
        println!("bench: in a virtual machine with kernel {kernel}; emulated, so only ratios mean something");
        for groups in by_machine(&options.groups) {
            good &= in_vm(kernel, &agent, &program, options, &groups, &mut lines)?;
        }
    }
    if let Some(path) = &options.json {
        std::fs::write(path, &lines).with_context(|| format!("cannot write {}", path.display()))?;
    }
    ensure!(!lines.trim().is_empty(), "nothing was measured");
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn here(agent: &Path, program: &Path, options: &Options, lines: &mut String) -> Result<bool> {
    let file = paths::target().join("bench.json");
    let mut command = Command::new(program);
    command.arg("--json").arg(&file).arg("--plimsoll").arg(agent);
    if let Some(mount) = cgroup::mount() {
        command.arg("--cgroup-mount").arg(mount);
    }
    let status = exec::status(command.args(&options.groups))?;
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    *lines += &text;
    Ok(status.success())
}

/// The groups that go into one virtual machine each.
fn by_machine(groups: &[String]) -> Vec<Vec<String>> {
    let apart = [TOPOLOGY, PRESSURE].map(str::to_owned);
    if groups.is_empty() {
        return [vec![Vec::new()], apart.map(|group| vec![group]).into()].concat();
    }
    let others: Vec<_> = groups
        .iter()
        .filter(|group| !apart.contains(group))
        .cloned()
        .collect();
    let named = apart
        .into_iter()
        .filter(|group| groups.contains(group))
        .map(|group| vec![group]);
    let machines = [others].into_iter().chain(named);
    machines.filter(|groups| !groups.is_empty()).collect()
}

fn in_vm(
    kernel: &str,
    agent: &Path,
    program: &Path,
    options: &Options,
    groups: &[String],
    lines: &mut String,
) -> Result<bool> {
    let guest = format!("/bin/{PROGRAM}");
    // Inside, the table goes to standard error and is seen at once; the figures are what standard output carries.
    let (topology, pressure) = (groups == [TOPOLOGY], groups == [PRESSURE]);
    let groups: Vec<_> = groups.iter().map(|group| exec::quote(group)).collect();
    let script = format!(
        "{guest} --json /tmp/figures --plimsoll /bin/plimsoll {} >&2; status=$?; cat /tmp/figures; exit $status",
        groups.join(" ")
    );
    let mut spec = VmSpec::new(kernel, ["sh", "-c", &script])
        .file(agent, "/bin/plimsoll")
        .file(program, guest);
    if topology {
        // 2 sockets x 2 NUMA nodes x 2 cores x 2 threads. In real time, emulated CPUs that are all busy wait for each
        // other for seconds, which is all that would be measured.
        (spec.sockets, spec.numa_nodes, spec.cpus, spec.threads) = (2, 4, 16, 2);
        spec.pace = Pace::Instructions;
    }
    spec.memory_mib = 4096;
    if pressure {
        // Little enough to run out of soon, in a time that does not depend on what else this host does.
        (spec.cpus, spec.memory_mib, spec.pace) = (2, 1464, Pace::Instructions);
        spec.environment = CHOICES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
            .collect();
        spec = with_rivals(spec)?;
    }
    spec.timeout = Duration::from_secs(options.timeout);
    let (outcome, output) = vm::output(&spec)?;
    *lines += &named_after(kernel, &String::from_utf8_lossy(&output))?;
    Ok(outcome.status == 0)
}

/// The workloads, and the other killers as far as they could be had.
fn with_rivals(spec: VmSpec) -> Result<VmSpec> {
    setup::ensure(&[Need::Rivals])?;
    let mut spec = spec;
    spec.files.push(vm::cli::workloads(vm::cli::Build::Release)?);
    for name in rivals::PROGRAMS {
        match rivals::why_not() {
            None => spec = spec.file(rivals::program(name), format!("/usr/bin/{name}")),
            Some(why) => println!("bench: without {name}: {why}"),
        }
    }
    Ok(spec)
}

/// The same figures with the kernel before their names.
fn named_after(kernel: &str, lines: &str) -> Result<String> {
    let mut named = String::new();
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let mut figure: Value =
            serde_json::from_str(line).with_context(|| format!("not a figure: {line:?}"))?;
        let name = figure
            .get_mut("name")
            .with_context(|| format!("a figure without a name: {line}"))?;
        *name = Value::String(format!("{kernel}: {}", name.as_str().unwrap_or_default()));
        named += &format!("{figure}\n");
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_another_machine_gets_one_of_its_own() {
        let machines = |groups: &[&str]| {
            let groups: Vec<_> = groups.iter().map(|group| (*group).to_owned()).collect();
            by_machine(&groups)
        };
        assert_eq!(
            machines(&["cpu", TOPOLOGY, "switch"]),
            [vec!["cpu", "switch"], vec![TOPOLOGY]]
        );
        assert_eq!(machines(&["cpu"]), [["cpu"]]);
        assert_eq!(machines(&[TOPOLOGY]), [[TOPOLOGY]]);
        assert_eq!(machines(&[PRESSURE]), [[PRESSURE]]);
        assert_eq!(machines(&[]), [vec![], vec![TOPOLOGY], vec![PRESSURE]]);
    }

    #[test]
    fn figures_of_a_machine_tell_its_kernel() {
        let line = r#"{"name":"walk","value":1.5,"unit":"us","baseline":null,"ratio":null}"#;
        let named = named_after("6.12", &format!("{line}\n\n{line}\n")).unwrap();
        let first: Value = serde_json::from_str(named.lines().next().unwrap()).unwrap();
        assert_eq!(
            (named.lines().count(), &first["name"], &first["value"]),
            (2, &"6.12: walk".into(), &1.5.into())
        );
        assert!(named_after("6.12", "progress: 5 %").is_err());
        assert!(named_after("6.12", "{}").is_err());
    }
}
