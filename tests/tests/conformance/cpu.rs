//! What we answer to the vectors of CPU assignment.

use std::collections::HashMap;
use std::fs;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use plimsoll::decide::cpu::take::{NotEnough, Strategy, Taken, distributed, packed};
use plimsoll::model::{CpuId, CpuRecord, CpuSet, Topology};
use serde_json::{Value, json};

use crate::checks::{field, text};
use crate::vectors::{self, Row};

/// Longest that one of the inputs may take on which the reference does not end.
const SLOWEST: Duration = Duration::from_millis(10);

/// The file of topologies by name, or why it cannot be read.
static TOPOLOGIES: LazyLock<Result<HashMap<String, Topology>, String>> = LazyLock::new(|| {
    let path = vectors::directory().0.join("topologies.jsonl");
    let file = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut read = HashMap::new();
    for line in file.lines().filter(|line| !line.trim().is_empty()) {
        let row: Row = serde_json::from_str(line).map_err(|error| error.to_string())?;
        read.insert(text(&row, "name")?.to_owned(), topology(&row)?);
    }
    Ok(read)
});

fn topology(row: &Row) -> Result<Topology, String> {
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
pub(crate) fn named(row: &Row) -> Result<&'static Topology, String> {
    let name = text(row, "topology")?;
    let all = TOPOLOGIES.as_ref().map_err(Clone::clone)?;
    all.get(name)
        .ok_or_else(|| format!("there is no topology {name:?}"))
}

/// What our topology says of each CPU, by its groups.
pub(crate) fn topologies(row: &Row) -> Result<Row, String> {
    let topology = topology(row)?;
    let told: Option<Vec<_>> = topology
        .cpus()
        .iter()
        .map(|cpu| {
            let place = topology.place(cpu)?;
            let lowest_sibling = topology.cores()[place.core].cpus.first()?.index();
            let [socket, numa, l3] = [
                topology.sockets()[place.socket].id,
                topology.numa_nodes()[place.numa].id,
                topology.l3s()[place.l3].id,
            ];
            Some(json!([cpu.index(), lowest_sibling, socket, numa, l3]))
        })
        .collect();
    Ok(Row::from_iter([("cpus".to_owned(), told.into())]))
}

pub(crate) fn set(row: &Row, name: &str) -> Result<CpuSet, String> {
    CpuSet::parse(text(row, name)?).map_err(|error| error.to_string())
}

pub(crate) fn number(row: &Row, name: &str) -> Result<usize, String> {
    let number = field(row, name)?.as_u64().and_then(|n| usize::try_from(n).ok());
    number.ok_or_else(|| format!("{name} is no count"))
}

fn strategy(row: &Row) -> Result<Strategy, String> {
    match text(row, "strategy")? {
        "packed" => Ok(Strategy::Packed),
        "spread" => Ok(Strategy::Spread),
        other => Err(format!("unknown strategy {other:?}")),
    }
}

pub(crate) fn take_packed(row: &Row) -> Result<Row, String> {
    let align = field(row, "prefer_align_by_l3")? == &Value::Bool(true);
    let taken = packed(
        named(row)?,
        &set(row, "available")?,
        number(row, "count")?,
        strategy(row)?,
        align,
    );
    let taken = taken.map_err(|error| error.to_string())?;
    Ok(Row::from_iter([(
        "take".to_owned(),
        taken.cpus.to_string().into(),
    )]))
}

fn our_distributed(row: &Row) -> Result<Result<Taken, NotEnough>, String> {
    Ok(distributed(
        named(row)?,
        &set(row, "available")?,
        number(row, "count")?,
        number(row, "group_size")?,
        strategy(row)?,
    ))
}

/// NUMA nodes that a set touches, and the sum of squares of what it leaves free on each: with the same total, the
/// smaller of two is also the smaller standard deviation.
fn quality(topology: &Topology, available: &CpuSet, taken: &CpuSet) -> (usize, usize) {
    let left = available - taken;
    let nodes = topology.numa_nodes().iter();
    let touched = nodes.clone().filter(|node| !node.cpus.is_disjoint(taken));
    (
        touched.count(),
        nodes.map(|node| node.cpus.common(&left).pow(2)).sum(),
    )
}

/// What no answer may break.
fn check_valid(row: &Row, taken: &CpuSet) -> Result<(), String> {
    let (count, available) = (number(row, "count")?, set(row, "available")?);
    if taken.len() == count && taken.is_subset(&available) {
        Ok(())
    } else {
        Err(format!("{taken} is not {count} of {available}"))
    }
}

/// The reference's answer, or one on as few nodes and no less balanced.
pub(crate) fn take_distributed(row: &Row) -> Result<(), Vec<String>> {
    judge_distributed(row).map_err(|difference| vec![difference])
}

fn judge_distributed(row: &Row) -> Result<(), String> {
    let got = match (our_distributed(row)?, row.contains_key("error")) {
        (Err(_), true) => return Ok(()),
        (Ok(got), true) => return Err(format!("expected a refusal, got {}", got.cpus)),
        (Err(error), false) => return Err(format!("expected an answer, got the refusal {error}")),
        (Ok(got), false) => got.cpus,
    };
    let expected = set(row, "take")?;
    check_valid(row, &got)?;
    let (topology, available) = (named(row)?, set(row, "available")?);
    let (ours, theirs) = (
        quality(topology, &available, &got),
        quality(topology, &available, &expected),
    );
    if got == expected || (ours.0 <= theirs.0 && ours.1 <= theirs.1) {
        Ok(())
    } else {
        Err(format!(
            "take: expected {expected}, got {got} (nodes, unevenness: expected {theirs:?}, got {ours:?})"
        ))
    }
}

/// A valid answer, in time, on as few nodes as have that many groups.
pub(crate) fn take_distributed_hang(row: &Row) -> Result<(), Vec<String>> {
    judge_hang(row).map_err(|difference| vec![difference])
}

fn judge_hang(row: &Row) -> Result<(), String> {
    let begun = Instant::now();
    let got = our_distributed(row)?;
    let took = begun.elapsed();
    if took > SLOWEST {
        return Err(format!("it took {took:?}"));
    }
    let got = got.map_err(|error| error.to_string())?.cpus;
    check_valid(row, &got)?;
    let (topology, available) = (named(row)?, set(row, "available")?);
    let (count, group) = (number(row, "count")?, number(row, "group_size")?);
    let mut groups: Vec<_> = topology
        .numa_nodes()
        .iter()
        .map(|node| node.cpus.common(&available) / group)
        .collect();
    groups.sort_unstable_by(|a, b| b.cmp(a));
    let fewest = (1..=groups.len()).find(|k| groups[..*k].iter().sum::<usize>() * group >= count);
    let (nodes, _) = quality(topology, &available, &got);
    match fewest {
        Some(fewest) if nodes > fewest => Err(format!("{got} is on {nodes} nodes, {fewest} would do")),
        _ => Ok(()),
    }
}
