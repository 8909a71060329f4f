//! The last-level cache of each CPU.

use std::collections::BTreeMap;

use super::files::{Files, contradiction};
use super::{CpuTopologyError, directory};
use crate::model::{CpuId, CpuSet};

/// From which level a cache is one that cores share and that placement looks at. Kubelet's are those above level 2.
const LEVEL: u32 = 3;

/// The caches: by their lowest CPU, who shares them and the kernel's number.
pub(super) struct Caches {
    by_first: BTreeMap<CpuId, (CpuSet, Option<u32>)>,
    /// The first number that no cache has.
    free: u32,
    /// For each socket with CPUs that have no cache, the number they get.
    without: BTreeMap<u32, u32>,
    /// Whether the kernel's numbers tell the caches apart.
    numbered: bool,
}

pub(super) fn read(files: &Files<'_>, online: &CpuSet) -> Result<Caches, CpuTopologyError> {
    let mut by_first: BTreeMap<CpuId, (CpuSet, Option<u32>)> = BTreeMap::new();
    for cpu in online.iter() {
        let Some((path, shared, id)) = last_level(files, cpu)? else {
            continue;
        };
        if !shared.contains(cpu) {
            return Err(contradiction(
                &path,
                &shared,
                format!("it is a cache of CPU {cpu}"),
            ));
        }
        // Unlike the siblings' lists, these may keep CPUs that went offline (seen on 6.12).
        let shared = &shared & online;
        let Some(first) = shared.first() else {
            continue;
        };
        match by_first.get(&first) {
            Some((known, _)) if *known != shared => {
                let but = format!("CPU {first} says that it is shared by {known}");
                return Err(contradiction(&path, &shared, but));
            }
            Some(_) => {}
            None if first == cpu => {
                by_first.insert(first, (shared, id));
            }
            None => {
                let but = format!("CPU {first} does not share it");
                return Err(contradiction(&path, &shared, but));
            }
        }
    }
    let mut ids: Vec<u32> = by_first.values().filter_map(|(_, id)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    let numbered = ids.len() == by_first.len();
    let last = if numbered {
        ids.last().copied()
    } else {
        by_first.keys().next_back().map(|&cpu| u32::from(cpu))
    };
    Ok(Caches {
        by_first,
        free: last.map_or(0, |last| last.saturating_add(1)),
        without: BTreeMap::new(),
        numbered,
    })
}

impl Caches {
    /// The number of the CPU's last-level cache, unique in the machine. On a machine without any it is the socket's.
    pub(super) fn number(&mut self, cpu: CpuId, socket: u32) -> u32 {
        let mut sharing = self.by_first.iter();
        if let Some((&first, (_, id))) = sharing.find(|(_, (shared, _))| shared.contains(cpu)) {
            return id.filter(|_| self.numbered).unwrap_or(u32::from(first));
        }
        if self.by_first.is_empty() {
            return socket;
        }
        let next = self.free;
        *self.without.entry(socket).or_insert_with(|| {
            self.free = next.saturating_add(1);
            next
        })
    }
}

/// The cache of the highest level that is for data, who shares it, and its number.
fn last_level(
    files: &Files<'_>,
    cpu: CpuId,
) -> Result<Option<(String, CpuSet, Option<u32>)>, CpuTopologyError> {
    let caches = format!("{}/cache", directory(cpu));
    let mut last = None;
    for index in files.numbered(&caches, "index")?.unwrap_or_default() {
        let cache = format!("{caches}/index{index}");
        let level = files.number(&format!("{cache}/level"))?.unwrap_or(0);
        let data = files.text(&format!("{cache}/type"))?.as_deref() != Some("Instruction");
        if data && level >= LEVEL && last.as_ref().is_none_or(|&(highest, _)| level > highest) {
            last = Some((level, cache));
        }
    }
    let Some((_, cache)) = last else {
        return Ok(None);
    };
    let path = format!("{cache}/shared_cpu_list");
    let shared = files.required_list(&path)?;
    Ok(Some((path, shared, files.number(&format!("{cache}/id"))?)))
}
