//! What can be asked for on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::NodeName;
use crate::kernel::log::LogFormat;

/// The environment variable that stands for `run --node-name`.
pub const NODE_NAME_VARIABLE: &str = "PLIMSOLL_NODE_NAME";

/// Puts pods in their place in cgroup v2, watches them by eBPF, and decides who goes first when memory runs out.
#[derive(Debug, Parser)]
#[command(
    name = "plimsoll",
    version,
    arg_required_else_help = true,
    after_help = "Exit status: 0 done, 1 failed (check: the main job cannot be done; plan: not every pod \
                  has a place; cpu import: not every container was taken over; replay: \
                  a decision would differ, or none was compared; restore: something could not be put \
                  back), 64 wrong command line or \
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
        /// Decide and record all that memory pressure would have done, and do none of it (memoryPressure.dryRun); pods are
        /// placed and run. With --once: print the plan and touch nothing.
        #[arg(long)]
        dry_run: bool,
        /// The node's name, in the stead of nodeName: in a pod, the host's name is the pod's.
        #[arg(long, value_name = "NAME", env = NODE_NAME_VARIABLE)]
        node_name: Option<NodeName>,
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
    /// Show the pods and containers that the kernel knows of by their cgroups, whoever made them.
    ///
    /// Asks neither the agent nor kubelet, the API server or a runtime; works under both cgroup drivers and for a kubelet
    /// in a container.
    Discover {
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Put back what an agent changed in cgroups that are not its own, with no agent at work.
    ///
    /// A value is put back where the agent's is still there; what somebody else wrote since stays. What was put back is
    /// forgotten, so that nothing is left of the agent.
    Restore {
        /// Say what would be put back, and change nothing. An agent may be at work meanwhile.
        #[arg(long)]
        dry_run: bool,
        /// The agent's stateDir.
        #[arg(long, value_name = "DIR")]
        state_dir: Option<PathBuf>,
    },
    /// Show the running agent's pods.
    ///
    /// Where containers may have CPUs to themselves, wide output has them: CPUS are a container's own, MEMS the NUMA nodes
    /// of its memory, and FOREIGN is what others used of its own CPUs while it had them, as a share of these CPUs' time:
    /// in 0.02%+0.10%k other tasks used 0.02 %, the kernel's threads and interrupts 0.10 %.
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
    /// Show the machine's CPUs as a map, and who owns which.
    ///
    /// Sockets, NUMA nodes, last-level caches, cores and threads, with the owners that the running agent tells; without
    /// one the map is shown all the same. Wide output adds the distances of NUMA nodes and, for each container with CPUs
    /// of its own, when it got them, how long it took until nobody else's task was seen there, and what others used of
    /// them since (as in `status`).
    Cpus {
        /// The running agent's configuration file, for its socket.
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The running agent's socket.
        #[arg(long, value_name = "PATH", conflicts_with = "config")]
        socket: Option<PathBuf>,
        /// Show the machine whose files below /sys/devices/system a file holds, one `path: content` a line, and ask no
        /// agent.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "socket"])]
        topology: Option<PathBuf>,
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Say why a pod's containers run where they do, or why they do not run.
    ///
    /// Tells from the running agent's report, for each container: where its CPUs and memory come from, what the kernel
    /// shows, who else used its own CPUs, the limits in force, and what it waits for; for the pod: its place in the order
    /// of victims, and what was decided about it with the figures that it rested on.
    Explain {
        /// POD or POD/CONTAINER, or as other commands show them NAMESPACE/POD or NAMESPACE/POD/CONTAINER.
        #[arg(value_name = "POD[/CONTAINER]")]
        target: String,
        /// The pod's namespace; `default` where none is named.
        #[arg(long, short)]
        namespace: Option<String>,
        /// The running agent's configuration file, for its socket.
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The running agent's socket.
        #[arg(long, value_name = "PATH", conflicts_with = "config")]
        socket: Option<PathBuf>,
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Say who would die first if memory ran out now, why, and whom the kernel would take.
    ///
    /// The running agent's live order: each pod with the terms of its score, those that may not be taken last, with the
    /// reason; what is short, when memory is gone, and whether the kernel's OOM killer would choose the same pod. EXCESS is
    /// memory above the request, GROWTH its rate with how sure that is, FREES what the pod's end would give back.
    Rank {
        /// The running agent's configuration file, for its socket.
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The running agent's socket.
        #[arg(long, value_name = "PATH", conflicts_with = "config")]
        socket: Option<PathBuf>,
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Show what was decided about memory, and whom the kernel's OOM killer took.
    Events {
        /// A journal's directory or file, instead of the running agent's latest decisions.
        #[arg(value_name = "FILE", conflicts_with_all = ["config", "socket"])]
        file: Option<PathBuf>,
        /// The running agent's configuration file, for its socket.
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The running agent's socket.
        #[arg(long, value_name = "PATH", conflicts_with = "config")]
        socket: Option<PathBuf>,
        #[arg(long, short, value_enum, default_value_t)]
        output: Output,
    },
    /// Decide recorded decisions again by this version's rules, and show where it would differ.
    ///
    /// Exit status 1 where a decision would come out differently, or none could be made again.
    Replay {
        /// A journal's directory (journalDir) or file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
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
