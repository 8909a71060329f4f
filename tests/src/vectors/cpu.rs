//! Questions of CPU assignment: which CPUs to take.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use plimsoll::decide::cpu::take::{NotEnough, Strategy, Taken, distributed, packed};
use plimsoll::model::{CpuId, CpuRecord, CpuSet, Topology};
use serde_json::Value;

use super::{Row, field, number, rows, set, text};

/// Topologies by name.
pub type Topologies = HashMap<String, Topology>;

/// The topologies that the files in `directory` name.
///
/// # Errors
/// The file cannot be read, or a row is no topology.
pub fn topologies(directory: &Path) -> Result<Topologies, String> {
    let path = directory.join("topologies.jsonl");
    let file = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    rows(&file)?
        .iter()
        .map(|row| Ok((text(row, "name")?.to_owned(), topology(row)?)))
        .collect()
}

/// The topology of a row with `cpus`.
///
/// # Errors
/// The row has none, or not one that can be.
pub fn topology(row: &Row) -> Result<Topology, String> {
    let cpus: Vec<[u32; 5]> =
        serde_json::from_value(field(row, "cpus")?.clone()).map_err(|error| error.to_string())?;
    let records: Result<Vec<_>, _> = cpus
        .into_iter()
        .map(|[cpu, core, socket, numa, l3]| {
            CpuId::try_from(cpu).map(|cpu| CpuRecord {
                cpu,
                core,
                l3,
                die: socket,
                numa,
                socket,
            })
        })
        .collect();
    let records = records.map_err(|error| error.to_string())?;
    Topology::new(records, []).map_err(|error| error.to_string())
}

/// The topology that a row names.
///
/// # Errors
/// It names none, or one that is not there.
pub fn named<'a>(row: &Row, topologies: &'a Topologies) -> Result<&'a Topology, String> {
    let name = text(row, "topology")?;
    topologies
        .get(name)
        .ok_or_else(|| format!("there is no topology {name:?}"))
}

/// Which CPUs to take.
#[derive(Debug)]
pub struct Question<'a> {
    /// On which machine.
    pub topology: &'a Topology,
    /// Out of which.
    pub available: CpuSet,
    /// How many.
    pub count: usize,
    strategy: Strategy,
    rule: Rule,
}

#[derive(Debug, Clone, Copy)]
enum Rule {
    Packed { align_l3: bool },
    Distributed { group: usize },
}

impl<'a> Question<'a> {
    /// The question of a row of `cpu_take_packed.jsonl`, `cpu_take_distributed.jsonl` or its sibling.
    ///
    /// # Errors
    /// The row is not of that form.
    pub fn read(row: &Row, topologies: &'a Topologies) -> Result<Self, String> {
        Ok(Self {
            topology: named(row, topologies)?,
            available: set(row, "available")?,
            count: number(row, "count")?,
            strategy: match text(row, "strategy")? {
                "packed" => Strategy::Packed,
                "spread" => Strategy::Spread,
                other => return Err(format!("unknown strategy {other:?}")),
            },
            rule: if row.contains_key("group_size") {
                Rule::Distributed {
                    group: number(row, "group_size")?,
                }
            } else {
                Rule::Packed {
                    align_l3: field(row, "prefer_align_by_l3")? == &Value::Bool(true),
                }
            },
        })
    }

    /// Our answer.
    ///
    /// # Errors
    /// It is refused.
    pub fn ask(&self) -> Result<Taken, NotEnough> {
        let Self {
            topology,
            available,
            count,
            strategy,
            rule,
        } = self;
        match *rule {
            Rule::Packed { align_l3 } => packed(topology, available, *count, *strategy, align_l3),
            Rule::Distributed { group } => distributed(topology, available, *count, group, *strategy),
        }
    }
}
