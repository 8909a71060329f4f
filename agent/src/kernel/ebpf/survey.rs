//! What this kernel offers to eBPF programs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use plimsoll_ebpf::Object;

use super::load::LoadError;
use crate::kernel::btf::{Btf, Given, Resolved};

/// Where the kernel describes its types.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
/// Where the numbers of the NUMA nodes are.
const NODES: &str = "/sys/devices/system/node/possible";
/// Bits of the capabilities that loading takes: `CAP_BPF` and `CAP_PERFMON`.
const BPF_AND_PERFMON: u64 = 1 << 39 | 1 << 38;
/// The capability that was enough before these two, and is.
const SYS_ADMIN: u64 = 1 << 21;

/// The kernel's description of its types.
#[derive(Debug)]
pub struct KernelTypes {
    blob: Vec<u8>,
    /// aya's own reader, which loading needs.
    pub(super) aya: aya::Btf,
}

/// What was found out before anything is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// The facts of each object.
    pub facts: BTreeMap<Object, Resolved>,
    /// Whether the process has `CAP_BPF` and `CAP_PERFMON`, or `CAP_SYS_ADMIN`.
    pub capable: bool,
    /// Types of the arguments of `mark_victim`; none when there is no such tracepoint.
    pub mark_victim: Option<Vec<String>>,
    /// The function that holds back a task above `memory.high`, under this kernel's name.
    pub over_high: Option<&'static str>,
    /// Whether the kernel has a function that the OOM killer calls with its choice.
    pub oom_kill_process: bool,
    /// Tracepoints at both ends of interrupts that this kernel has beside those of devices.
    pub interrupts: Vec<&'static str>,
    /// Whether the kernel tells when background reclaim is woken.
    pub kswapd_wakes: bool,
    /// Whether the kernel has a function through which all files of cgroups are written.
    pub cgroup_file_write: bool,
}

/// Interrupts of x86 that are no device's: the tracepoints at both ends.
const INTERRUPTS: [[&str; 2]; 5] = [
    ["local_timer_entry", "local_timer_exit"],
    ["reschedule_entry", "reschedule_exit"],
    ["call_function_entry", "call_function_exit"],
    ["call_function_single_entry", "call_function_single_exit"],
    ["irq_work_entry", "irq_work_exit"],
];

impl KernelTypes {
    /// Reads the running kernel's.
    ///
    /// # Errors
    /// [`LoadError::NoTypes`] when the kernel has none, or they cannot be read.
    pub fn read() -> Result<Self, LoadError> {
        let reason = |reason: String| LoadError::NoTypes { reason };
        let blob = fs::read(VMLINUX).map_err(|e| reason(format!("cannot read {VMLINUX}: {e}")))?;
        let aya = aya::Btf::parse(&blob, aya::Endianness::default()).map_err(|e| reason(e.to_string()))?;
        Ok(Self { blob, aya })
    }

    /// Finds out what the objects need to know.
    ///
    /// # Errors
    /// [`LoadError::NoTypes`] when the description cannot be understood.
    pub fn survey(&self) -> Result<Survey, LoadError> {
        let btf = Btf::parse(&self.blob).map_err(|e| LoadError::NoTypes {
            reason: e.to_string(),
        })?;
        let mut given = Given::from([
            ("NUMA nodes", numa_nodes(Path::new(NODES))),
            ("own process", std::process::id()),
        ]);
        given.extend(
            aya::util::nr_cpus()
                .ok()
                .and_then(|n| Some(("CPUs", u32::try_from(n).ok()?))),
        );
        Ok(Survey {
            facts: Object::ALL
                .into_iter()
                .map(|object| (object, btf.resolve(object.facts(), &given)))
                .collect(),
            capable: effective_capabilities()
                .is_some_and(|held| held & SYS_ADMIN != 0 || held & BPF_AND_PERFMON == BPF_AND_PERFMON),
            mark_victim: btf.tracepoint("mark_victim"),
            over_high: ["__mem_cgroup_handle_over_high", "mem_cgroup_handle_over_high"]
                .into_iter()
                .find(|name| btf.has_function(name)),
            oom_kill_process: btf.has_function("oom_kill_process"),
            interrupts: INTERRUPTS
                .iter()
                .filter(|ends| ends.iter().all(|name| btf.tracepoint(name).is_some()))
                .flatten()
                .copied()
                .collect(),
            kswapd_wakes: btf.tracepoint("mm_vmscan_wakeup_kswapd").is_some(),
            cgroup_file_write: btf.has_function("cgroup_file_write"),
        })
    }

    /// Where the kernel keeps anon, file, shmem and the two kinds of slab among its statistics of a cgroup.
    ///
    /// Up to 6.9 the array is indexed by the item; since then through a table, of which `table` gives the bytes.
    pub(super) fn statistics(&self, table: impl FnOnce() -> Option<Vec<u8>>) -> Option<[u32; 5]> {
        let btf = Btf::parse(&self.blob).ok()?;
        let items = [
            "NR_ANON_MAPPED",
            "NR_FILE_PAGES",
            "NR_SHMEM",
            "NR_SLAB_RECLAIMABLE_B",
            "NR_SLAB_UNRECLAIMABLE_B",
        ];
        let mut found = [0; 5];
        for (index, item) in found.iter_mut().zip(items) {
            *index = btf.enumerator(item)?;
        }
        let all = btf.enumerator("MEMCG_NR_STAT")?;
        if btf.length("memcg_vmstats.state")? >= all {
            return Some(found);
        }
        let table = table()?;
        let table = table.get(..all as usize)?;
        // In its first form the table counts from 1 and marks what is not there by 0, then from 0 and by 255.
        let from = u32::from(!table.contains(&u8::MAX));
        for index in &mut found {
            let entry = *table.get(*index as usize)?;
            *index = u32::from(entry).checked_sub(from).filter(|_| entry != u8::MAX)?;
        }
        Some(found)
    }
}

/// The highest NUMA node's number plus one; 1 when it is not told.
fn numa_nodes(list: &Path) -> u32 {
    let text = fs::read_to_string(list).unwrap_or_default();
    let last = text
        .trim()
        .rsplit([',', '-'])
        .next()
        .and_then(|n| n.parse::<u32>().ok());
    last.map_or(1, |n| n.saturating_add(1))
}

fn effective_capabilities() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}
