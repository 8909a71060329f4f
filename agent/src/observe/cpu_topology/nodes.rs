//! The NUMA nodes, their CPUs and distances.

use std::collections::BTreeMap;

use super::CpuTopologyError;
use super::files::{Files, contradiction};
use crate::model::{CpuId, CpuSet, NumaRecord};

const DIRECTORY: &str = "/sys/devices/system/node";

/// The nodes, with or without CPUs.
pub(super) struct Nodes {
    pub(super) records: Vec<NumaRecord>,
    of_cpu: BTreeMap<CpuId, u32>,
}

impl Nodes {
    /// The CPU's node; 0 on a machine without nodes.
    pub(super) fn of(&self, cpu: CpuId) -> u32 {
        self.of_cpu.get(&cpu).copied().unwrap_or(0)
    }
}

pub(super) fn read(files: &Files<'_>, online: &CpuSet) -> Result<Nodes, CpuTopologyError> {
    let numbers = files.numbered(DIRECTORY, "node")?.unwrap_or_default();
    let mut of_cpu = BTreeMap::new();
    let mut records = Vec::new();
    for &id in &numbers {
        let path = format!("{DIRECTORY}/node{id}/cpulist");
        let cpus = files.required_list(&path)?;
        if !cpus.is_subset(online) {
            let beyond = &cpus - online;
            return Err(contradiction(
                &path,
                &cpus,
                format!("CPUs {beyond} are not online"),
            ));
        }
        for cpu in cpus.iter() {
            if let Some(other) = of_cpu.insert(cpu, id) {
                return Err(contradiction(
                    &path,
                    &cpus,
                    format!("CPU {cpu} is also in node {other}"),
                ));
            }
        }
        let path = format!("{DIRECTORY}/node{id}/distance");
        let distances = files.numbers(&path)?.unwrap_or_default();
        if !distances.is_empty() && distances.len() != numbers.len() {
            let but = format!("there are {} NUMA nodes", numbers.len());
            let told: Vec<String> = distances.iter().map(ToString::to_string).collect();
            return Err(contradiction(&path, &told.join(" "), but));
        }
        records.push(NumaRecord { id, distances });
    }
    let placed: CpuSet = of_cpu.keys().copied().collect();
    let missing = online - &placed;
    if !numbers.is_empty() && !missing.is_empty() {
        let but = format!("CPUs {missing} are in none of the NUMA nodes of {DIRECTORY}");
        return Err(contradiction(super::ONLINE, online, but));
    }
    Ok(Nodes { records, of_cpu })
}
