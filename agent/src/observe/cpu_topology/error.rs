//! Why the machine's CPUs are not known, and what to do about it.

use crate::kernel::node_facts::FactError;
use crate::model::TopologyError;

/// What helps when sysfs is wrong.
const HELP: &str = "update the firmware or kernel; to look closer, save the files with \
                    `grep -rs . /sys/devices/system/cpu/{online,present} /sys/devices/system/cpu/cpu*/{topology,cache} \
                    /sys/devices/system/node/node*/{cpulist,distance}` and show them with `plimsoll cpus --topology FILE`";

/// Why the machine's CPUs are not known.
#[derive(Debug, thiserror::Error)]
pub enum CpuTopologyError {
    /// A file is there and cannot be read.
    #[error(transparent)]
    Read(#[from] FactError),
    /// A file that every kernel has is not there.
    #[error("{path} is not there: mount sysfs at /sys, in a container that of the host")]
    Absent {
        /// Which one.
        path: String,
    },
    /// A file holds something else than expected.
    #[error("{path} holds {value:?}, expected {expected}; {HELP}")]
    Strange {
        /// Which one.
        path: String,
        /// What it holds, cut to a moderate length.
        value: String,
        /// What it should.
        expected: &'static str,
    },
    /// A file says something that another one denies.
    #[error("{path} holds {value:?}, but {but}; {HELP}")]
    Contradiction {
        /// Which one.
        path: String,
        /// What it holds, cut to a moderate length.
        value: String,
        /// What speaks against it.
        but: String,
    },
    /// Each file may be right, but not all of them together.
    #[error("the files below /sys/devices/system cannot be true together: {0}; {HELP}")]
    Impossible(TopologyError),
    /// CPUs keep going on- and offline.
    #[error(
        "{path} changed during each of {attempts} attempts to read the CPUs: try again when no CPU is being added or removed"
    )]
    Restless {
        /// The list of online CPUs.
        path: &'static str,
        /// How often it was tried.
        attempts: usize,
    },
}
