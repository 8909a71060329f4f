//! What can be asked for on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::kernel::log::LogFormat;

/// Puts pods in their place in cgroup v2, watches them by eBPF, and decides who goes first when memory runs out.
#[derive(Debug, Parser)]
#[command(
    name = "plimsoll",
    version,
    arg_required_else_help = true,
    after_help = "Exit status: 0 done, 1 failed (check: the main job cannot be done; plan: not every pod \
                  has a place; cpu import: not every container was taken over), 64 wrong command line or \
                  configuration, 69 no agent answers."
)]
pub(super) struct Options {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the agent. Stopping it leaves pods running.
    Run {
        /// Configuration file; see `plimsoll config --default`. Without one, the defaults.
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Make one pass and end.
        #[arg(long)]
        once: bool,
        /// Print the plan and touch nothing.
        #[arg(long, requires = "once")]
        dry_run: bool,
        /// What to log: error, warn, info, debug, trace, or a list such as info,plimsoll::act=debug.
        #[arg(long, value_name = "FILTER", default_value = "info", env = "PLIMSOLL_LOG")]
        log_level: String,
        /// How log lines look.
        #[arg(long, value_enum, default_value_t, env = "PLIMSOLL_LOG_FORMAT")]
        log_format: LogFormatOption,
    },
    /// Say what this node can do, what is missing, and how to get it.
    Check {
        /// Configuration file, for the place and the probes that it names.
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Show the running agent's pods.
    Status {
        /// The running agent's configuration file, for its socket.
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The running agent's socket.
        #[arg(long, value_name = "PATH", conflicts_with = "config")]
        socket: Option<PathBuf>,
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Show how the machine's CPUs lie: sockets, NUMA nodes, caches, cores and threads.
    Cpus {
        /// Show the machine whose files below /sys/devices/system a file holds, one `path: content` a line.
        #[arg(long, value_name = "FILE")]
        topology: Option<PathBuf>,
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Take over exclusive CPUs from kubelet.
    #[command(subcommand)]
    Cpu(CpuAction),
    /// Say which pods would be placed on which CPUs and NUMA nodes, and which would be refused; needs no root.
    Plan {
        /// `live` for this machine, or a file of a captured one as for `cpus`.
        #[arg(long, value_name = "FILE|live", default_value = "live")]
        topology: PathBuf,
        /// Pod manifests: a directory of them, or one file.
        #[arg(long, short = 'f', value_name = "DIR|FILE")]
        pods: PathBuf,
        /// Configuration file, for policies and reservations.
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Print the default configuration or its schema, or check a file.
    Config(ConfigAction),
    /// Print the table of metrics.
    Metrics,
    /// Print the version.
    Version,
}

#[derive(Debug, Subcommand)]
pub(super) enum CpuAction {
    /// Write the agent's checkpoint from kubelet's cpu_manager_state, for the agent's next start. No agent may run.
    Import {
        /// Kubelet's file: /var/lib/kubelet/cpu_manager_state, or a copy of it.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The agent's configuration file, for its CPU manager policy, reservation and stateDir.
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
        /// `live` for this machine, or a file of a captured one as for `cpus`.
        #[arg(long, value_name = "FILE|live", default_value = "live")]
        topology: PathBuf,
        /// Say what would be taken over and write nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct ConfigAction {
    /// Print every field with its default and a comment.
    #[arg(long)]
    pub(super) default: bool,
    /// Print the JSON schema.
    #[arg(long)]
    pub(super) schema: bool,
    /// Print the table of fields, as the README has it.
    #[arg(long)]
    pub(super) table: bool,
    /// Check a file.
    #[arg(long, value_name = "FILE")]
    pub(super) check: Option<PathBuf>,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    #[default]
    Table,
    /// For people with wide screens.
    Wide,
    /// For programs.
    Json,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(super) enum LogFormatOption {
    /// For people.
    #[default]
    Human,
    /// One object a line.
    Json,
}

impl From<LogFormatOption> for LogFormat {
    fn from(option: LogFormatOption) -> Self {
        match option {
            LogFormatOption::Human => Self::Human,
            LogFormatOption::Json => Self::Json,
        }
    }
}
