//! The machine's CPUs as sysfs tells them: cores, caches, dies, NUMA nodes, sockets, and which CPUs are apart.
//!
//! **Problem.** Sysfs spreads this over ten files a CPU, and machines differ: no NUMA directory, caches without numbers, no
//! last-level cache for some CPUs, sockets numbered −1, siblings offline, cores of several kinds, CPUs that come and go
//! while it is read. Guessing wrong puts a container across sockets. **How.** Only what is online counts. Which CPUs
//! belong together is taken from the lists of CPUs (`core_cpus_list`, `shared_cpu_list`, `cpulist`), which say it
//! themselves, and not from numbers, which are unique only within a socket or not at all. Lists must agree with
//! each other; where they do not, the error names the file, its value and what to do. If the online CPUs changed meanwhile,
//! it is read again. What a kernel or firmware leaves out has a stated default.
//!
//! | missing | taken instead |
//! |---|---|
//! | NUMA directory | one node, 0 |
//! | distances | 10 to itself, 20 to others, as the kernel assumes |
//! | last-level cache | all CPUs of the socket that have none share one |
//! | cache number | the lowest CPU that shares it |
//! | die | the socket |
//! | socket, or −1 | socket 0 |
//! | `isolated`, `nohz_full`, or `(null)` | no CPU |
//!
//! Source: the kernel's Documentation/ABI (sysfs-devices-system-cpu, stable/sysfs-devices-node) and
//! admin-guide/cputopology.
//!
//! # Properties
//! - Every online CPU is in the topology, and no other.
//! - A synthetic machine written out as sysfs files reads back as the same topology.
//! - No content of the files makes it panic, and every error names a file.

mod caches;
pub mod capture;
mod cpus;
mod error;
mod files;
mod nodes;

#[cfg(test)]
mod props;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::kernel::node_facts::Machine;
use crate::model::{CpuId, CpuKind, CpuRecord, CpuSet, MachineCpus, Topology};

pub use capture::CaptureError;
pub use error::CpuTopologyError;
use files::Files;

/// How often CPUs may change while they are read before it is given up.
const ATTEMPTS: usize = 4;

/// The list of CPUs that are online.
pub(super) const ONLINE: &str = "/sys/devices/system/cpu/online";
/// The list of CPUs that are there.
pub(super) const PRESENT: &str = "/sys/devices/system/cpu/present";

/// Reads the CPUs of a machine.
///
/// # Errors
/// A file is missing that every kernel has, cannot be read, holds something else than it should, or contradicts another;
/// or CPUs kept coming and going.
pub fn read(machine: &Machine) -> Result<MachineCpus, CpuTopologyError> {
    let files = Files(machine);
    let mut online = files.required_list(ONLINE)?;
    for _ in 0..ATTEMPTS {
        let result = read_once(&files, &online);
        // A CPU that went or came explains any contradiction, so that errors count only if none did.
        let now = files.required_list(ONLINE)?;
        if now == online {
            return result;
        }
        online = now;
    }
    Err(CpuTopologyError::Restless {
        path: ONLINE,
        attempts: ATTEMPTS,
    })
}

fn read_once(files: &Files<'_>, online: &CpuSet) -> Result<MachineCpus, CpuTopologyError> {
    if online.is_empty() {
        return Err(CpuTopologyError::Strange {
            path: ONLINE.to_owned(),
            value: String::new(),
            expected: "a list of CPUs",
        });
    }
    let nodes = nodes::read(files, online)?;
    let cpus = cpus::read(files, online)?;
    let mut caches = caches::read(files, online)?;
    let records = cpus.iter().map(|(&cpu, place)| CpuRecord {
        cpu,
        core: place.core,
        l3: caches.number(cpu, place.socket),
        die: place.die,
        numa: nodes.of(cpu),
        socket: place.socket,
    });
    let records: Vec<_> = records.collect();
    let topology = Topology::new(records, nodes.records).map_err(CpuTopologyError::Impossible)?;
    let present = files.list(PRESENT)?.unwrap_or_else(|| online.clone());
    Ok(MachineCpus {
        offline: &present - online,
        isolated: &files
            .list("/sys/devices/system/cpu/isolated")?
            .unwrap_or_default()
            & online,
        nohz_full: &files
            .list("/sys/devices/system/cpu/nohz_full")?
            .unwrap_or_default()
            & online,
        kinds: kinds(files, online)?,
        topology,
    })
}

/// The kinds of cores, where there are several: by Intel's performance monitors, or by Arm's relative capacity.
fn kinds(files: &Files<'_>, online: &CpuSet) -> Result<Vec<CpuKind>, CpuTopologyError> {
    let mut by_name: BTreeMap<String, CpuSet> = BTreeMap::new();
    for name in ["core", "atom", "lowpower"] {
        if let Some(cpus) = files.list(&format!("/sys/devices/cpu_{name}/cpus"))? {
            by_name.insert(name.to_owned(), &cpus & online);
        }
    }
    if by_name.is_empty() {
        for cpu in online.iter() {
            let path = format!("/sys/devices/system/cpu/cpu{cpu}/cpu_capacity");
            if let Some(capacity) = files.number(&path)? {
                by_name
                    .entry(format!("capacity {capacity}"))
                    .or_default()
                    .insert(cpu);
            }
        }
    }
    by_name.retain(|_, cpus| !cpus.is_empty());
    let kinds = by_name.into_iter().map(|(name, cpus)| CpuKind { name, cpus });
    let kinds: Vec<_> = kinds.collect();
    Ok(if kinds.len() > 1 { kinds } else { Vec::new() })
}

/// The directory of a CPU.
fn directory(cpu: CpuId) -> String {
    format!("/sys/devices/system/cpu/cpu{cpu}")
}
