//! The core, die and socket of each CPU.

use std::collections::BTreeMap;

use super::files::{Files, contradiction};
use super::{CpuTopologyError, directory};
use crate::model::{CpuId, CpuSet};

/// Where a CPU lies; numbers are unique in the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The lowest of its online SMT siblings.
    pub(super) core: u32,
    pub(super) die: u32,
    pub(super) socket: u32,
}

pub(super) fn read(files: &Files<'_>, online: &CpuSet) -> Result<BTreeMap<CpuId, Place>, CpuTopologyError> {
    let mut dies = BTreeMap::new();
    let mut cores: BTreeMap<CpuId, CpuSet> = BTreeMap::new();
    for cpu in online.iter() {
        let topology = format!("{}/topology", directory(cpu));
        let socket = files
            .number(&format!("{topology}/physical_package_id"))?
            .unwrap_or(0);
        let die = files.number(&format!("{topology}/die_id"))?;
        dies.insert(cpu, (socket, die));

        let (path, siblings) = siblings(files, &topology, cpu)?;
        let first = check(&path, cpu, &siblings, online)?;
        match cores.get(&first) {
            Some(known) if *known != siblings => {
                let but = format!("CPU {first} says that they are {known}");
                return Err(contradiction(&path, &siblings, but));
            }
            Some(_) => {}
            None if first == cpu => {
                cores.insert(cpu, siblings);
            }
            None => {
                let but = format!("CPU {first} does not have CPU {cpu} for a sibling");
                return Err(contradiction(&path, &siblings, but));
            }
        }
    }
    let core_of = cores
        .iter()
        .flat_map(|(&first, siblings)| siblings.iter().map(move |cpu| (cpu, u32::from(first))));
    let numbers = die_numbers(&dies);
    Ok(core_of
        .filter_map(|(cpu, core)| {
            let of = dies.get(&cpu)?;
            let die = numbers.get(of).copied().unwrap_or(of.0);
            let socket = of.0;
            Some((cpu, Place { core, die, socket }))
        })
        .collect())
}

/// A CPU's SMT siblings, itself included, and the file that says so. Kernels before 5.3 have the older name only.
fn siblings(files: &Files<'_>, topology: &str, cpu: CpuId) -> Result<(String, CpuSet), CpuTopologyError> {
    for name in ["core_cpus_list", "thread_siblings_list"] {
        let path = format!("{topology}/{name}");
        if let Some(siblings) = files.list(&path)? {
            return Ok((path, siblings));
        }
    }
    // Some virtual machines show no topology at all: each CPU is a core.
    Ok((format!("{topology}/core_cpus_list"), CpuSet::from_iter([cpu])))
}

/// Checks a list of siblings by itself; gives the first of them.
fn check(path: &str, cpu: CpuId, siblings: &CpuSet, online: &CpuSet) -> Result<CpuId, CpuTopologyError> {
    if !siblings.contains(cpu) {
        return Err(contradiction(
            path,
            siblings,
            format!("it is the list of CPU {cpu} itself"),
        ));
    }
    let beyond = siblings - online;
    match siblings.first() {
        Some(first) if beyond.is_empty() => Ok(first),
        _ => Err(contradiction(
            path,
            siblings,
            format!("CPUs {beyond} are not online"),
        )),
    }
}

/// Numbers for dies, which the kernel numbers within their socket: its own where those are unique, else their rank.
fn die_numbers(dies: &BTreeMap<CpuId, (u32, Option<u32>)>) -> BTreeMap<(u32, Option<u32>), u32> {
    let mut of_socket: Vec<_> = dies.values().copied().collect();
    of_socket.sort_unstable();
    of_socket.dedup();
    let mut own: Vec<u32> = of_socket
        .iter()
        .map(|&(socket, die)| die.unwrap_or(socket))
        .collect();
    own.sort_unstable();
    own.dedup();
    let unique = own.len() == of_socket.len();
    (0..)
        .zip(of_socket)
        .map(|(rank, of)| (of, if unique { of.1.unwrap_or(of.0) } else { rank }))
        .collect()
}
