//! The command line.
//!
//! Exit status: 0 done; 1 the command failed, or `check` found that the main job cannot be done, or `plan`
//! that not every pod has a place, or `cpu import` that not every container could be taken over, or `replay` that a
//! decision would differ or none was compared, or `restore` that something could not be put back; 64 (`EX_USAGE`) the command line or the configuration is wrong, and nothing was started; 69 (`EX_UNAVAILABLE`) no agent answers.

mod ask;
mod check;
mod cpu_import;
mod cpus;
mod discover;
mod events;
mod explain;
mod options;
mod plan;
mod pressure_words;
mod rank;
mod replay;
mod restore;
mod status;
mod table;
mod words;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use clap::Parser;

use crate::config::{self, Config, NodeName};
use crate::kernel::cgroup_fs::{RealCgroupFs, find_mount};
use crate::kernel::clock::{Clock, RealClock};
use crate::kernel::log;
use crate::kernel::node_facts::{self, Machine};
use crate::kernel::process::{Processes, RealProcesses};
use crate::metrics::families;
use crate::observe::supply::Supply;
use crate::observe::{cpu_topology, discovery, kubelet_cpus, node, pods, supply};
use crate::runtime::{self, RecordedDecisions};
pub use options::NODE_NAME_VARIABLE;
use options::{Command, ConfigAction, CpuAction, Options, Output};

pub use check::{Check, Verdict, checks};

const DONE: u8 = 0;
const FAILED: u8 = 1;
const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;

/// Why a command did not do what it was asked, with the exit status that tells.
#[derive(Debug)]
struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    #[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
    fn usage(message: impl ToString) -> Self {
        Self {
            status: USAGE,
            message: message.to_string(),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
    fn failed(message: impl ToString) -> Self {
        Self {
            status: FAILED,
            message: message.to_string(),
        }
    }
}

/// Runs the program with these arguments, the first one its name; gives the exit status.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => {
            // Help and version are errors to the parser and go to standard output. That nobody reads it is no news.
            drop(error.print());
            return if error.use_stderr() { USAGE } else { DONE };
        }
    };
    match execute(options) {
        Ok(status) => status,
        Err(failure) => {
            // Without standard error there is nobody to tell; the exit status still does.
            drop(writeln!(io::stderr(), "plimsoll: {}", failure.message));
            failure.status
        }
    }
}

fn execute(options: Options) -> Result<u8, Failure> {
    match options.command {
        Command::Run {
            config,
            once,
            dry_run,
            node_name,
            log_level,
            log_format,
        } => {
            let config = adjusted(load(config.as_deref())?, dry_run, node_name);
            log::start(log_format.into(), &log_level).map_err(Failure::usage)?;
            // The alternate form prints the causes too.
            let explained = |error: anyhow::Error| Failure::failed(format!("{error:#}"));
            if dry_run && once {
                return print(&runtime::dry_run(&config).map_err(explained)?);
            }
            runtime::run(config, once).map_err(explained)?;
            Ok(DONE)
        }
        Command::Check { config, output } => check(&load(config.as_deref())?, output),
        Command::Status {
            config,
            socket,
            output,
        } => status(&ask::socket(socket, config.as_deref())?, output),
        Command::Cpus {
            config,
            socket,
            topology,
            output,
        } => {
            let socket = ask::socket(socket, config.as_deref())?;
            cpus(&socket, topology.as_deref(), output)
        }
        Command::Explain {
            target,
            namespace,
            config,
            socket,
            output,
        } => {
            let socket = ask::socket(socket, config.as_deref())?;
            explain(&socket, &target, namespace.as_deref(), output)
        }
        Command::Rank {
            config,
            socket,
            output,
        } => rank(&ask::socket(socket, config.as_deref())?, output),
        Command::Events {
            file: Some(file),
            output,
            ..
        } => {
            let recorded = RecordedDecisions::read(&file).map_err(Failure::usage)?;
            let known = events::Known {
                decisions: recorded.records(),
                oom_kills: Vec::new(),
            };
            match output {
                Output::Json => print(&to_json(&known)?),
                Output::Table | Output::Wide => {
                    print(&events::show(&known, (recorded.unreadable, recorded.torn)))
                }
            }
        }
        Command::Events {
            file: None,
            config,
            socket,
            output,
        } => {
            let report = ask::ask(&ask::socket(socket, config.as_deref())?)?.report;
            let known = events::Known::of(report);
            match output {
                Output::Json => print(&to_json(&known)?),
                Output::Table | Output::Wide => print(&events::show(&known, (0, 0))),
            }
        }
        Command::Replay { file, output } => replay(&file, output),
        Command::Cpu(CpuAction::Import {
            file,
            config,
            topology,
            dry_run,
        }) => import(&file, &load(config.as_deref())?, &topology, dry_run),
        Command::Plan {
            topology,
            pods,
            config,
            output,
        } => plan(&topology, &pods, &load(config.as_deref())?, output),
        Command::Config(action) => configuration(&action),
        Command::Restore { dry_run, state_dir } => restore(state_dir.as_deref(), dry_run),
        Command::Discover { output } => discover(output),
        Command::Metrics => print(&families::markdown_table()),
        Command::Version => print(&format!("plimsoll {}\n", env!("CARGO_PKG_VERSION"))),
    }
}

/// The configuration of a file, or the default when none is named.
fn load(path: Option<&Path>) -> Result<Config, Failure> {
    let Some(path) = path else {
        return Ok(Config::default());
    };
    let text = node_facts::read_text(path).map_err(Failure::usage)?;
    config::parse(&text, &path.display().to_string()).map_err(Failure::usage)
}

/// The same with the ladder against memory pressure only rehearsed, if that is asked for, and the node's name, if one is
/// given; otherwise what the file says of them stands.
fn adjusted(mut config: Config, dry_run: bool, node_name: Option<NodeName>) -> Config {
    config.memory_pressure.dry_run |= dry_run;
    config.node_name = node_name.or(config.node_name);
    config
}

fn configuration(action: &ConfigAction) -> Result<u8, Failure> {
    if action.default {
        return print(config::DEFAULT_FILE);
    }
    if action.schema {
        return print(&format!("{}\n", config::schema()));
    }
    if action.table {
        return print(&config::markdown_table());
    }
    let path = action.check.as_deref();
    load(path)?;
    print(&format!(
        "{}: good\n",
        path.unwrap_or(Path::new("default")).display()
    ))
}

fn check(config: &Config, output: Output) -> Result<u8, Failure> {
    let facts = node::facts(&Machine::default(), config.cgroup_root.path()).map_err(Failure::failed)?;
    let checks = checks(&facts, &runtime::try_probes(config));
    match output {
        Output::Json => print(&to_json(&checks)?)?,
        Output::Table | Output::Wide => print(&check::show(&checks))?,
    };
    Ok(if checks.iter().any(|check| check.verdict == Verdict::Missing) {
        FAILED
    } else {
        DONE
    })
}

/// What the kernel shows of pods on this machine.
fn discover(output: Output) -> Result<u8, Failure> {
    let mount = find_mount().map_err(Failure::failed)?;
    let open = |error| Failure::failed(format!("open {}: {error}", mount.display()));
    let fs = RealCgroupFs::open(&mount).map_err(open)?;
    let score_of = |pid| match RealProcesses.identify(pid)? {
        Some(identity) => RealProcesses.oom_score_adj(identity),
        None => Ok(None),
    };
    let roots = discovery::discover(&fs, &score_of).map_err(Failure::failed)?;
    match output {
        Output::Json => print(&to_json(&roots)?),
        Output::Table | Output::Wide => print(&discover::show(&roots)),
    }
}

/// Puts back what an agent changed.
fn restore(state_dir: Option<&Path>, dry_run: bool) -> Result<u8, Failure> {
    let default = Config::default().state_dir;
    let report = runtime::restore(state_dir.unwrap_or(&default), dry_run);
    let report = report.map_err(|error| Failure::failed(format!("{error:#}")))?;
    print(&restore::show(&report))?;
    Ok(if report.is_complete() { DONE } else { FAILED })
}

/// The map of this machine with the owners that its agent tells, or of one whose files were saved. That nobody tells
/// does not take the map away.
fn cpus(socket: &Path, topology: Option<&Path>, output: Output) -> Result<u8, Failure> {
    let (machine, answer) = match topology {
        Some(file) => (captured(file)?, Err("no agent was asked".to_owned())),
        None => (
            Machine::default(),
            ask::ask(socket).map_err(|failure| failure.message),
        ),
    };
    let cpus = cpu_topology::read(&machine).map_err(Failure::failed)?;
    let teller = match &answer {
        Ok(answer) => cpus::Teller::Agent(&answer.report),
        Err(why) => cpus::Teller::Nobody(why),
    };
    match output {
        Output::Json => print(&to_json(&cpus::live(&cpus, teller))?),
        Output::Table => print(&cpus::show_live(&cpus, teller, false)),
        Output::Wide => print(&cpus::show_live(&cpus, teller, true)),
    }
}

/// The machine whose files were saved in one.
fn captured(path: &Path) -> Result<Machine, Failure> {
    let text = node_facts::read_text(path).map_err(Failure::usage)?;
    let at = |error| Failure::usage(format!("{}: {error}", path.display()));
    cpu_topology::capture::machine(&text).map_err(at)
}

/// What a machine has: this one (`live`), or one whose files were saved.
fn supplied(topology: &Path) -> Result<Supply, Failure> {
    if topology == Path::new("live") {
        return supply::live(&Machine::default()).map_err(Failure::failed);
    }
    let at = |error| Failure::usage(format!("{}: {error}", topology.display()));
    supply::captured(&captured(topology)?).map_err(at)
}

/// Takes over what kubelet wrote down.
fn import(file: &Path, config: &Config, topology: &Path, dry_run: bool) -> Result<u8, Failure> {
    let state = kubelet_cpus::read(file).map_err(Failure::usage)?;
    let supply = supplied(topology)?;
    // Of a captured machine it is not known.
    let machine_id = if topology == Path::new("live") {
        node::machine_id(&Machine::default()).map_err(Failure::failed)?
    } else {
        None
    };
    let now = RealClock.wall();
    let report = runtime::import_cpus(config, &supply, machine_id, &state, now, dry_run);
    let report = report.map_err(|error| Failure::failed(format!("{}: {error:#}", file.display())))?;
    print(&cpu_import::show(&report, dry_run))?;
    Ok(if report.left_out.is_empty() { DONE } else { FAILED })
}

/// What would become of the pods of a directory or file.
fn plan(topology: &Path, manifests: &Path, config: &Config, output: Output) -> Result<u8, Failure> {
    let supply = supplied(topology)?;
    let node_name = match &config.node_name {
        Some(name) => name.as_str().to_owned(),
        None => node::host_name(&Machine::default()).map_err(Failure::failed)?,
    };
    let set = pods::look(manifests, &node_name).map_err(Failure::usage)?;
    // What can fail here is that the configuration does not fit the machine.
    let report = runtime::plan(config, &supply, &set)
        .map_err(|error| Failure::usage(format!("the configuration does not fit the machine: {error:#}")))?;
    match output {
        Output::Json => print(&to_json(&plan::tree(&report, &supply.cpus))?)?,
        Output::Table => print(&plan::show(&report, &supply.cpus, false))?,
        Output::Wide => print(&plan::show(&report, &supply.cpus, true))?,
    };
    Ok(if plan::fits(&report) { DONE } else { FAILED })
}

fn status(socket: &Path, output: Output) -> Result<u8, Failure> {
    let answer = ask::ask(socket)?;
    match output {
        // The agent's own words; that they read was just shown.
        Output::Json => print(&format!("{}\n", answer.text)),
        Output::Table => print(&status::show(&answer.report, false)),
        Output::Wide => print(&status::show(&answer.report, true)),
    }
}

fn explain(socket: &Path, target: &str, namespace: Option<&str>, output: Output) -> Result<u8, Failure> {
    let report = ask::ask(socket)?.report;
    let found = explain::find(&report, target, namespace).map_err(Failure::failed)?;
    match output {
        Output::Json => print(&to_json(&found)?),
        Output::Table | Output::Wide => print(&explain::show(&report, &found)),
    }
}

/// Who would die first.
fn rank(socket: &Path, output: Output) -> Result<u8, Failure> {
    let report = ask::ask(socket)?.report;
    let Some(pressure) = &report.pressure else {
        return Err(Failure::failed("the agent does not watch for memory pressure"));
    };
    match output {
        Output::Json => print(&to_json(pressure)?),
        Output::Table => print(&rank::show(pressure, false)),
        Output::Wide => print(&rank::show(pressure, true)),
    }
}

/// Recorded decisions made again.
fn replay(file: &Path, output: Output) -> Result<u8, Failure> {
    let recorded = RecordedDecisions::read(file).map_err(Failure::usage)?;
    let report = recorded.replay();
    match output {
        Output::Json => print(&to_json(&report)?)?,
        Output::Table | Output::Wide => print(&replay::show(&report))?,
    };
    let same = report.differing() == 0 && !report.decisions.is_empty();
    Ok(if same { DONE } else { FAILED })
}

fn to_json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    text.push('\n');
    Ok(text)
}

/// Writes to standard output. A reader that has seen enough (`head`) is no failure.
fn print(text: &str) -> Result<u8, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::failed(error)),
        _ => Ok(DONE),
    }
}
