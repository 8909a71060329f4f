//! What we answer to the vectors of CPU assignment.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use plimsoll::decide::cpu::reason;
use plimsoll::model::{CpuSet, Topology};
use plimsoll_tests::vectors::cpu::{self, Question, Topologies};
use plimsoll_tests::vectors::node::{self, Node};
use plimsoll_tests::vectors::{Row, directory, field, number, set};
use serde_json::{Map, Value, json};

/// Longest that one of the inputs may take on which the reference does not end.
const SLOWEST: Duration = Duration::from_millis(10);

static TOPOLOGIES: LazyLock<Result<Topologies, String>> = LazyLock::new(|| cpu::topologies(&directory().0));

fn known() -> Result<&'static Topologies, String> {
    TOPOLOGIES.as_ref().map_err(Clone::clone)
}

/// What our topology says of each CPU, by its groups.
pub(crate) fn topologies(row: &Row) -> Result<Row, String> {
    let topology = cpu::topology(row)?;
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

pub(crate) fn take_packed(row: &Row) -> Result<Row, String> {
    let taken = Question::read(row, known()?)?
        .ask()
        .map_err(|error| error.to_string())?;
    let taken = taken.cpus.to_string();
    Ok(Row::from_iter([("take".to_owned(), taken.into())]))
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
fn check_valid(question: &Question<'_>, taken: &CpuSet) -> Result<(), String> {
    let Question { available, count, .. } = question;
    if taken.len() == *count && taken.is_subset(available) {
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
    let question = Question::read(row, known()?)?;
    let got = match (question.ask(), row.contains_key("error")) {
        (Err(_), true) => return Ok(()),
        (Ok(got), true) => return Err(format!("expected a refusal, got {}", got.cpus)),
        (Err(error), false) => return Err(format!("expected an answer, got the refusal {error}")),
        (Ok(got), false) => got.cpus,
    };
    check_valid(&question, &got)?;
    let expected = set(row, "take")?;
    let quality = |taken| quality(question.topology, &question.available, taken);
    let (ours, theirs) = (quality(&got), quality(&expected));
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
    let question = Question::read(row, known()?)?;
    let begun = Instant::now();
    let got = question.ask();
    let took = begun.elapsed();
    if took > SLOWEST {
        return Err(format!("it took {took:?}"));
    }
    let got = got.map_err(|error| error.to_string())?.cpus;
    check_valid(&question, &got)?;
    let group = number(row, "group_size")?;
    let mut groups: Vec<_> = question
        .topology
        .numa_nodes()
        .iter()
        .map(|node| node.cpus.common(&question.available) / group)
        .collect();
    groups.sort_unstable_by(|a, b| b.cmp(a));
    let fewest = (1..=groups.len()).find(|k| groups[..*k].iter().sum::<usize>() * group >= question.count);
    let (nodes, _) = quality(question.topology, &question.available, &got);
    match fewest {
        Some(fewest) if nodes > fewest => Err(format!("{got} is on {nodes} nodes, {fewest} would do")),
        _ => Ok(()),
    }
}

/// The shared pool at the start, and each step with what we make of it.
pub(crate) fn static_sequences(row: &Row) -> Result<Row, String> {
    let mut node = Node::new(row, known()?)?;
    let shared = node.assignments.shared().to_string();
    let steps = field(row, "steps")?.as_array().ok_or("steps are no list")?;
    let steps: Result<Vec<_>, _> = steps.iter().map(|step| answer(&mut node, step)).collect();
    Ok(Row::from_iter([
        ("shared_at_start".to_owned(), shared.into()),
        ("steps".to_owned(), steps?.into()),
    ]))
}

/// The step with our answer in place of the expected one.
fn answer(node: &mut Node, step: &Value) -> Result<Value, String> {
    let mut answer = step.as_object().ok_or("a step is no object")?.clone();
    for expected in ["exclusive", "rejected", "shared"] {
        answer.remove(expected);
    }
    if let Some(pod) = step.get("remove") {
        node.assignments.release(&node::uid(pod)?);
    } else {
        match node.admit(&node::pod(&answer)?) {
            Ok(admitted) => {
                node.assignments = admitted
                    .applied(&node.assignments)
                    .map_err(|error| error.to_string())?;
                let grants = admitted.grants.iter();
                let exclusive: Map<_, _> = grants
                    .map(|grant| (grant.container.to_string(), grant.cpus.to_string().into()))
                    .collect();
                answer.insert("exclusive".to_owned(), exclusive.into());
            }
            Err(refused) => {
                answer.insert("rejected".to_owned(), reason(&refused).into());
            }
        }
    }
    let shared = node.assignments.shared().to_string();
    answer.insert("shared".to_owned(), shared.into());
    Ok(answer.into())
}
