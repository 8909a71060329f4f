//! The node: what it has to give ([`capacity`]) and what its kernel can do ([`facts`]).
//!
//! Both read the machine through [`Machine`], below any root, and choose nothing.
//!
//! # Properties
//! - A list of CPUs counts each CPU once.

mod facts;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use procfs::{FromBufRead, Meminfo};

use crate::kernel::node_facts::{FactError, Machine};
use crate::model::{Bytes, HugePageSize, MilliCpu, NodeCapacity};

pub use facts::{Capability, CgroupMount, NodeFacts, facts};

/// Why the node's capacity is not known.
#[derive(Debug, thiserror::Error)]
pub enum CapacityError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] FactError),
    /// A file is not there.
    #[error("{path} is not there: is {} mounted?", if path.starts_with("/proc") { "/proc" } else { "/sys" })]
    Absent {
        /// Which one.
        path: &'static str,
    },
    /// A file says something else than expected.
    #[error("{path} does not read: {problem}")]
    Strange {
        /// Which one.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// The host's name.
///
/// # Errors
/// `/proc` is not there or unreadable.
pub fn host_name(machine: &Machine) -> Result<String, CapacityError> {
    Ok(required(machine, "/proc/sys/kernel/hostname")?.trim().to_owned())
}

/// What tells this machine from others (`/etc/machine-id`); none where it was not set up.
///
/// # Errors
/// The file is there and unreadable.
pub fn machine_id(machine: &Machine) -> Result<Option<String>, CapacityError> {
    let text = machine.read("/etc/machine-id")?.unwrap_or_default();
    let id = text.trim();
    // Until the first boot is over it says "uninitialized".
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(is_id.then(|| id.to_owned()))
}

/// What the machine has, before anything is reserved.
///
/// CPUs are those online, whatever CPUs the agent itself may run on.
///
/// # Errors
/// A file of `/proc` or `/sys` is missing or unreadable.
pub fn capacity(machine: &Machine) -> Result<NodeCapacity, CapacityError> {
    const MEMINFO: &str = "/proc/meminfo";
    let text = required(machine, MEMINFO)?;
    let meminfo = Meminfo::from_buf_read(text.as_bytes()).map_err(|error| CapacityError::Strange {
        path: MEMINFO.to_owned(),
        problem: error.to_string(),
    })?;
    Ok(NodeCapacity {
        cpu: online_cpus(machine)?,
        memory: Bytes(meminfo.mem_total),
        swap: swap_is_accounted(machine)?.then_some(Bytes(meminfo.swap_total)),
        pids: number(machine, "/proc/sys/kernel/pid_max")?
            .min(number(machine, "/proc/sys/kernel/threads-max")?),
        huge_pages: huge_pages(machine, "/sys/kernel/mm/hugepages")?,
    })
}

fn required(machine: &Machine, path: &'static str) -> Result<String, CapacityError> {
    machine.read(path)?.ok_or(CapacityError::Absent { path })
}

fn number(machine: &Machine, path: &'static str) -> Result<u64, CapacityError> {
    let text = required(machine, path)?;
    text.trim().parse().map_err(|_| CapacityError::Strange {
        path: path.to_owned(),
        problem: format!("{:?} is no number", text.trim()),
    })
}

fn online_cpus(machine: &Machine) -> Result<MilliCpu, CapacityError> {
    const ONLINE: &str = "/sys/devices/system/cpu/online";
    let text = required(machine, ONLINE)?;
    let count = count_cpus(text.trim()).filter(|&count| count > 0);
    let count = count.ok_or_else(|| CapacityError::Strange {
        path: ONLINE.to_owned(),
        problem: format!("{:?} is no list of CPUs", text.trim()),
    })?;
    Ok(MilliCpu(count * 1000))
}

/// How many CPUs the kernel's list format (`0-3,8`) names.
fn count_cpus(list: &str) -> Option<u64> {
    list.split(',')
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last && last < 1 << 20).then(|| last - first + 1)
        })
        .sum()
}

/// `swapaccount=0` on the kernel's command line turns off `memory.swap.*`.
fn swap_is_accounted(machine: &Machine) -> Result<bool, CapacityError> {
    let command_line = machine.read("/proc/cmdline")?.unwrap_or_default();
    Ok(!command_line
        .split_whitespace()
        .any(|option| option == "swapaccount=0"))
}

/// Huge pages set up, by size, from the directory of the machine or of a NUMA node.
pub(super) fn huge_pages(
    machine: &Machine,
    directory: &str,
) -> Result<BTreeMap<HugePageSize, Bytes>, CapacityError> {
    let mut pages = BTreeMap::new();
    for name in machine.names(directory)?.unwrap_or_default() {
        let kib = name
            .strip_prefix("hugepages-")
            .and_then(|rest| rest.strip_suffix("kB"))
            .and_then(|kib| kib.parse::<u64>().ok());
        let Some(size) = kib.and_then(|kib| kib.checked_mul(1024)) else {
            continue;
        };
        let path = format!("{directory}/{name}/nr_hugepages");
        let text = machine.read(&path)?.unwrap_or_default();
        let count: u64 = text.trim().parse().map_err(|_| CapacityError::Strange {
            path,
            problem: format!("{:?} is no number", text.trim()),
        })?;
        pages.insert(HugePageSize(size), Bytes(count.saturating_mul(size)));
    }
    Ok(pages)
}
