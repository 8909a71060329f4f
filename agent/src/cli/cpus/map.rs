//! The map as text.

use std::collections::BTreeMap;

use super::{Owners, by_owner, owner, sections};
use crate::cli::table::lay_out;
use crate::model::{CpuGroup, CpuOwner, CpuSet, MachineCpus, Topology};

/// Letters of containers. Without `r`, which is reserved.
const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqstuvwxyz";
/// The letter of all containers after those.
const MORE: char = '#';
/// Cores in a line.
const CORES: usize = 16;

/// The map, its legend, and what else is known; with distances if `wide`.
pub(in crate::cli) fn show(cpus: &MachineCpus, owners: &Owners, wide: bool) -> String {
    let letters = letters(cpus, owners);
    let mut text = format!("{}\n\n", summary(&cpus.topology));
    text.push_str(&lay_out(&rows(&cpus.topology, owners, &letters), &[]));
    text.push('\n');
    text.push_str(&legend(cpus, owners, &letters));
    text.push_str(&notes(cpus));
    if wide {
        text.push_str(&distances(&cpus.topology));
    }
    text
}

fn summary(topology: &Topology) -> String {
    let parts = [
        (topology.sockets().len(), "socket"),
        (topology.numa_nodes().len(), "NUMA node"),
        (topology.l3s().len(), "last-level cache"),
        (topology.cores().len(), "core"),
        (topology.cpus().len(), "CPU"),
    ];
    let parts = parts.map(|(count, name)| format!("{count} {name}{}", if count == 1 { "" } else { "s" }));
    parts.join(", ")
}

/// A letter for each owner.
fn letters<'o>(cpus: &MachineCpus, owners: &'o Owners) -> BTreeMap<&'o CpuOwner, char> {
    let mut letters = LETTERS.chars();
    by_owner(cpus, owners)
        .into_keys()
        .map(|owner| {
            let letter = match owner {
                CpuOwner::Unknown => '-',
                CpuOwner::Shared => '.',
                CpuOwner::Reserved => 'r',
                CpuOwner::Exclusive(_) => letters.next().unwrap_or(MORE),
            };
            (owner, letter)
        })
        .collect()
}

/// A row for each section, more if it has many cores. What is as in the row above is left out.
fn rows(topology: &Topology, owners: &Owners, letters: &BTreeMap<&CpuOwner, char>) -> Vec<Vec<String>> {
    let heading = ["SOCKET", "NUMA", "L3", "CPUS", "CORES"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    let mut above: [Option<u32>; 2] = [None; 2];
    for section in sections(topology) {
        let [socket, numa] = [section.socket.id, section.numa.id];
        let new_socket = above[0] != Some(socket);
        let new_numa = new_socket || above[1] != Some(numa);
        above = [Some(socket), Some(numa)];
        let shown = |new: bool, id: u32| if new { id.to_string() } else { String::new() };
        let mut start = vec![
            shown(new_socket, socket),
            shown(new_numa, numa),
            section.l3.id.to_string(),
            section.cpus().to_string(),
        ];
        for cores in section.cores.chunks(CORES) {
            let words = cores.iter().map(|core| word(core, owners, letters));
            start.push(words.collect::<Vec<_>>().join(" "));
            rows.push(start);
            start = vec![String::new(); 4];
        }
    }
    rows
}

/// A core: the letter of each of its threads.
fn word(core: &CpuGroup, owners: &Owners, letters: &BTreeMap<&CpuOwner, char>) -> String {
    let letter = |cpu| letters.get(owner(owners, cpu)).copied().unwrap_or(MORE);
    core.cpus.iter().map(letter).collect()
}

fn legend(cpus: &MachineCpus, owners: &Owners, letters: &BTreeMap<&CpuOwner, char>) -> String {
    let heading = ["MARK", "OWNER", "COUNT", "CPUS"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for (owner, set) in by_owner(cpus, owners) {
        let name = match owner {
            CpuOwner::Unknown => "not known",
            CpuOwner::Shared => "shared",
            CpuOwner::Reserved => "reserved",
            CpuOwner::Exclusive(name) => name,
        };
        let letter = letters.get(owner).copied().unwrap_or(MORE);
        rows.push(vec![
            letter.to_string(),
            name.to_owned(),
            set.len().to_string(),
            set.to_string(),
        ]);
    }
    lay_out(&rows, &[2])
}

/// CPUs that are apart, a line each, after an empty line.
fn notes(cpus: &MachineCpus) -> String {
    let kinds = cpus
        .kinds
        .iter()
        .map(|kind| (format!("{} cores", kind.name), &kind.cpus));
    let apart = [
        ("offline", &cpus.offline),
        ("isolated at boot", &cpus.isolated),
        ("without tick", &cpus.nohz_full),
    ];
    let apart = apart.map(|(name, set)| (name.to_owned(), set));
    let lines: Vec<Vec<String>> = apart
        .into_iter()
        .chain(kinds)
        .filter(|(_, set): &(String, &CpuSet)| !set.is_empty())
        .map(|(name, set)| vec![format!("{name}:"), set.to_string()])
        .collect();
    if lines.is_empty() {
        String::new()
    } else {
        format!("\n{}", lay_out(&lines, &[]))
    }
}

/// How far the nodes are from each other, as the firmware tells.
fn distances(topology: &Topology) -> String {
    let nodes = topology.numa_nodes();
    let mut rows = vec![vec!["DISTANCE".to_owned()]];
    rows[0].extend(nodes.iter().map(|node| node.id.to_string()));
    for (from, node) in nodes.iter().enumerate() {
        let mut row = vec![format!("NUMA {}", node.id)];
        row.extend((0..nodes.len()).map(|to| topology.distance(from, to).to_string()));
        rows.push(row);
    }
    let right: Vec<usize> = (1..=nodes.len()).collect();
    format!("\n{}", lay_out(&rows, &right))
}
