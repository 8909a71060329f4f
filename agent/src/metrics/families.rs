//! Every metric family in one table: name, kind, unit, labels, meaning.
//!
//! The README's table is made from this one ([`markdown_table`]), the encoders take names from it, and a test holds
//! what is served against it. Families whose names start with `container_` are cAdvisor's: same name, labels and
//! meaning, so that existing dashboards and rules work; where ours differs, the help says how. The same is so of
//! `kubelet_`. Names with `process_` are the convention of Prometheus client libraries.

use prometheus_client::registry::Unit;

/// What kind of value a family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, apart from restarts.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// The base unit of a family's values; part of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BaseUnit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Counts and ratios, or a name given by others that does not tell.
    None,
}

impl BaseUnit {
    pub(super) fn unit(self) -> Option<&'static Unit> {
        match self {
            Self::Seconds => Some(&Unit::Seconds),
            Self::Bytes => Some(&Unit::Bytes),
            Self::None => None,
        }
    }
}

/// One metric family.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// The name without unit and `_total`.
    pub stem: &'static str,
    /// What kind of value it has.
    pub kind: Kind,
    /// In which unit.
    pub unit: BaseUnit,
    /// Its own labels, without the bucket label of histograms.
    pub labels: &'static [&'static str],
    /// What it means, without a full stop.
    pub help: &'static str,
}

impl Family {
    /// The name as queries have it.
    #[must_use]
    pub fn name(&self) -> String {
        let mut name = self.stem.to_owned();
        if let Some(unit) = self.unit.unit() {
            name.push('_');
            name.push_str(unit.as_str());
        }
        if self.kind == Kind::Counter {
            name.push_str("_total");
        }
        name
    }
}

/// cAdvisor's labels; `container`, `image` and `name` are empty on series of a whole pod.
const CADVISOR: &[&str] = &["container", "id", "image", "name", "namespace", "pod"];
/// Labels of one container, or with an empty `container` of a whole pod.
const CGROUP: &[&str] = &["container", "namespace", "pod"];

macro_rules! families {
    ($($name:ident: $kind:ident $unit:ident $stem:literal $labels:expr, $help:literal;)*) => {
        $(pub(super) static $name: Family = Family {
            stem: $stem, kind: Kind::$kind, unit: BaseUnit::$unit, labels: $labels, help: $help,
        };)*

        /// Every family that is served, in the order of the table.
        pub static ALL: &[&Family] = &[$(&$name),*];
    };
}

families! {
    CPU_USAGE: Counter Seconds "container_cpu_usage" &["container", "cpu", "id", "image", "name", "namespace", "pod"],
        "CPU time used; cpu is always \"total\"";
    CPU_USER: Counter Seconds "container_cpu_user" CADVISOR, "CPU time used in user mode";
    CPU_SYSTEM: Counter Seconds "container_cpu_system" CADVISOR, "CPU time used in the kernel";
    CFS_PERIODS: Counter None "container_cpu_cfs_periods" CADVISOR,
        "Bandwidth periods in which a task was runnable";
    CFS_THROTTLED_PERIODS: Counter None "container_cpu_cfs_throttled_periods" CADVISOR,
        "Bandwidth periods in which the CPU limit was used up";
    CFS_THROTTLED: Counter Seconds "container_cpu_cfs_throttled" CADVISOR, "Time held back by the CPU limit";
    MEMORY_USAGE: Gauge Bytes "container_memory_usage" CADVISOR, "Memory charged, file cache included";
    MEMORY_WORKING_SET: Gauge Bytes "container_memory_working_set" CADVISOR,
        "Memory charged less inactive file cache";
    MEMORY_RSS: Gauge None "container_memory_rss" CADVISOR, "Anonymous memory in bytes";
    MEMORY_CACHE: Gauge None "container_memory_cache" CADVISOR, "File cache in bytes, shared memory included";
    MEMORY_SWAP: Gauge None "container_memory_swap" CADVISOR, "Swap used in bytes";
    MEMORY_MAPPED_FILE: Gauge None "container_memory_mapped_file" CADVISOR, "Mapped file pages in bytes";
    MEMORY_MAX_USAGE: Gauge Bytes "container_memory_max_usage" CADVISOR, "The most memory ever charged";
    MEMORY_FAILURES: Counter None "container_memory_failures"
        &["container", "failure_type", "id", "image", "name", "namespace", "pod", "scope"],
        "Page faults by type, pgfault or pgmajfault; scope is always \"hierarchy\"";
    OOM_EVENTS: Counter None "container_oom_events" CADVISOR,
        "Processes killed by the OOM killer; cAdvisor parses kernel messages, this is the kernel's own count";
    SPEC_CPU_PERIOD: Gauge None "container_spec_cpu_period" CADVISOR, "Bandwidth period in microseconds";
    SPEC_CPU_QUOTA: Gauge None "container_spec_cpu_quota" CADVISOR,
        "CPU limit in microseconds a period; absent without a limit";
    SPEC_CPU_SHARES: Gauge None "container_spec_cpu_shares" CADVISOR,
        "CPU weight converted to shares as cAdvisor does; plimsoll_cgroup_cpu_weight is the kernel's value";
    SPEC_MEMORY_LIMIT: Gauge Bytes "container_spec_memory_limit" CADVISOR, "Memory limit, 0 for none";
    SPEC_MEMORY_SWAP_LIMIT: Gauge Bytes "container_spec_memory_swap_limit" CADVISOR,
        "Swap limit alone, 0 for none; a limit of 0 bytes is absent";
    THREADS: Gauge None "container_threads" CADVISOR, "Tasks, the threads of all processes";
    LAST_SEEN: Gauge None "container_last_seen" CADVISOR, "When the figures were taken, in seconds since 1970";
    START_TIME: Gauge Seconds "container_start_time" CADVISOR, "When the container was last started, since 1970";
    PRESSURE_CPU_WAITING: Counter Seconds "container_pressure_cpu_waiting" CADVISOR,
        "Time in which some task waited for a CPU";
    PRESSURE_CPU_STALLED: Counter Seconds "container_pressure_cpu_stalled" CADVISOR,
        "Time in which all tasks waited for a CPU";
    PRESSURE_MEMORY_WAITING: Counter Seconds "container_pressure_memory_waiting" CADVISOR,
        "Time in which some task waited for memory";
    PRESSURE_MEMORY_STALLED: Counter Seconds "container_pressure_memory_stalled" CADVISOR,
        "Time in which all tasks waited for memory";
    PRESSURE_IO_WAITING: Counter Seconds "container_pressure_io_waiting" CADVISOR,
        "Time in which some task waited for IO";
    PRESSURE_IO_STALLED: Counter Seconds "container_pressure_io_stalled" CADVISOR,
        "Time in which all tasks waited for IO";

    POD_INFO: Gauge None "plimsoll_pod_info" &["namespace", "phase", "pod", "qos_class", "reason", "uid"],
        "Always 1; a pod's identity, class and phase as labels";
    RUN_DELAY: Histogram Seconds "plimsoll_cgroup_run_queue_delay" CGROUP,
        "Time that a task ready to run waited for a CPU, by eBPF";
    STALLED: Counter Seconds "plimsoll_cgroup_memory_stall" CGROUP,
        "Time in direct reclaim and held back at memory.high, by eBPF";
    HIGH_EVENTS: Counter None "plimsoll_cgroup_memory_high_events" CGROUP, "Times memory.high was exceeded";
    MAX_EVENTS: Counter None "plimsoll_cgroup_memory_max_events" CGROUP, "Times memory.max was reached";
    MEMORY_SHMEM: Gauge Bytes "plimsoll_cgroup_memory_shmem" CGROUP, "Shared memory and tmpfs";
    MEMORY_SLAB: Gauge Bytes "plimsoll_cgroup_memory_slab" CGROUP, "The kernel's slab memory";
    CPU_WEIGHT: Gauge None "plimsoll_cgroup_cpu_weight" CGROUP, "cpu.weight in force";
    MEMORY_MIN: Gauge Bytes "plimsoll_cgroup_memory_min" CGROUP, "memory.min in force; absent for max";
    MEMORY_LOW: Gauge Bytes "plimsoll_cgroup_memory_low" CGROUP, "memory.low in force; absent for max";
    MEMORY_HIGH: Gauge Bytes "plimsoll_cgroup_memory_high" CGROUP, "memory.high in force; absent for max";
    MEMORY_MAX: Gauge Bytes "plimsoll_cgroup_memory_max" CGROUP, "memory.max in force; absent for max";
    SWAP_MAX: Gauge Bytes "plimsoll_cgroup_memory_swap_max" CGROUP, "memory.swap.max in force; absent for max";
    PIDS_MAX: Gauge None "plimsoll_cgroup_pids_max" CGROUP, "pids.max in force; absent for max";
    OOM_SCORE_ADJ: Gauge None "plimsoll_container_oom_score_adj" CGROUP,
        "oom_score_adj of the container's processes, -1000 to 1000";
    RESTARTS: Counter None "plimsoll_container_restarts" CGROUP, "Times the container was started again";
    RUNNING: Gauge None "plimsoll_container_running" CGROUP, "1 while the container runs, else 0";
    EXCLUSIVE_CPUS: Gauge None "plimsoll_container_exclusive_cpus" CGROUP,
        "CPUs that the container has to itself; absent for one that shares";
    FOREIGN_CPU: Counter Seconds "plimsoll_container_foreign_cpu" &["container", "kind", "namespace", "pod"],
        "Time of the container's exclusive CPUs that others used, by kind: pods, system, kernel_threads, irq, softirq";
    FOREIGN_WINDOW: Counter Seconds "plimsoll_container_foreign_cpu_window" CGROUP,
        "Time of the container's exclusive CPUs in which their use by others was counted, all of them together";

    BUILD_INFO: Gauge None "plimsoll_build_info" &["version"], "Always 1; the agent's version as a label";
    PODS: Gauge None "plimsoll_pods" &["phase", "qos_class"], "Pods by phase and QoS class";
    ALLOCATABLE_CPU: Gauge None "plimsoll_allocatable_cpu_cores" &[], "CPUs that pods may request";
    ALLOCATABLE_MEMORY: Gauge Bytes "plimsoll_allocatable_memory" &[], "Memory that pods may request";
    CPUS: Gauge None "plimsoll_cpus" &["kind", "numa_node"],
        "CPUs by NUMA node and kind: exclusive, shared, reserved; absent while cpuManagerPolicy is none";
    KERNEL_THREADS: Counter Seconds "plimsoll_exclusive_cpu_kernel_thread" &["name"],
        "Time that kernel threads used of exclusive CPUs, by their name without numbers";
    PROBE_ATTACHED: Gauge None "plimsoll_probe_attached" &["probe"], "1 while the eBPF probe watches, else 0";
    MANIFEST_ERRORS: Gauge None "plimsoll_manifest_errors" &[], "Errors in manifests that stand now";

    RECONCILE_PASSES: Counter None "plimsoll_reconcile_passes" &[], "Passes of the reconcile loop";
    RECONCILE_DURATION: Histogram Seconds "plimsoll_reconcile_duration" &[], "How long a reconcile pass took";
    WRITES: Counter None "plimsoll_cgroup_writes" &["file"], "Values written to cgroup interface files";
    WRITE_ERRORS: Counter None "plimsoll_cgroup_write_errors" &["errno", "file"],
        "Writes to cgroup interface files that the kernel refused or did not keep";
    DRIFT: Counter None "plimsoll_drift" &["file"],
        "Times a value in the kernel was found to differ from what the agent had written";
    EVENTS: Counter None "plimsoll_events" &["kind"], "Events received from the kernel";
    EVENTS_LOST: Counter None "plimsoll_events_lost" &["source"], "Events that the kernel had to drop";
    CGROUP_DISCOVERY: Histogram Seconds "plimsoll_cgroup_discovery" &[],
        "From the making of a cgroup in the kernel until the agent knew of it";
    ENDED_CPU: Counter Seconds "plimsoll_ended_cgroups_cpu" &[],
        "CPU time that cgroups had used when they were removed, short-lived ones included";
    CPU_GRANTS: Counter None "plimsoll_cpu_grants" &[], "Times a container was given CPUs to itself";
    CPU_GRANT_CLEAN: Histogram Seconds "plimsoll_cpu_grant_clean" &[],
        "From such a grant until nobody else's task was seen on the CPUs";
    CPU_CHANGES: Counter None "plimsoll_cpu_changes" &["change"],
        "What was found otherwise than the agent had left it, at its start or when CPUs went or came, by kind";
    PODS_REFUSED: Counter None "plimsoll_pods_refused" &["reason"], "Pods refused";
    CONTAINER_STARTS: Counter None "plimsoll_container_starts" &[], "Containers started on this node";
    CONTAINER_EXITS: Counter None "plimsoll_container_exits" &["reason"], "Containers ended on this node";
    OOM_KILLS: Counter None "plimsoll_oom_kills" &["qos_class"],
        "Processes killed by the OOM killer; outlives the pods, unlike container_oom_events_total";

    PRESSURE_STAGE: Histogram Seconds "plimsoll_pressure_stage" &["stage"],
        "Stages of a decision about memory: wake (since the kernel noticed), read, decide, signal, empty (since the signal, no process left), free (since the signal, half of what was predicted)";
    PRESSURE_DECISIONS: Counter None "plimsoll_pressure_decisions" &["outcome"],
        "Decisions about memory by what came of them: relieved, spent, stale, nobody, failed, dry_run, watched (left to the pod's own limit)";
    PRESSURE_ACTS: Counter None "plimsoll_pressure_acts" &["rung"], "Acts begun, by rung of the ladder";
    PRESSURE_SPENT: Counter None "plimsoll_pressure_spent" &["cause"],
        "Victims whose end freed less than it should have, by cause";
    PRESSURE_NOBODY: Counter None "plimsoll_pressure_nobody" &["reason"],
        "Times memory was short and nobody could be taken, by reason";
    PRESSURE_FREED: Counter Bytes "plimsoll_pressure_freed" &["rung"], "Memory that came free, by rung of the ladder";
    EVICTIONS: Gauge None "kubelet_evictions" &["eviction_signal"],
        "Pods evicted or killed, by eviction signal; only grows, and is no counter by type, whose name would have to end otherwise than kubelet's";
    MISSED_KERNEL_OOM: Counter None "plimsoll_missed_kernel_oom" &[],
        "Kills by the kernel for want of memory of the machine or of all pods, which the agent should have forestalled";
    KERNEL_OOM_KILLS: Counter None "plimsoll_kernel_oom_kills" &["scope"],
        "Processes killed by the kernel's OOM killer: pod (within a pod's own limit) or node";
    OOM_PRIORITY_WRITES: Counter None "plimsoll_oom_priority_writes" &["reason"],
        "Writes to oom_score_adj of processes that run, by reason: raise, lower, restore";
    OOM_AGREEMENT: Gauge None "plimsoll_oom_agreement" &[],
        "1 while the kernel would take the pod that is first in the order, else 0; absent while nobody may be taken";
    EXHAUSTION: Gauge Seconds "plimsoll_memory_exhaustion" &["level"],
        "Time until memory is gone at the rate at which it goes, by level: node or a QoS class; absent while it does not go";
    EXHAUSTION_CONFIDENCE: Gauge None "plimsoll_memory_exhaustion_confidence" &["level"],
        "How sure plimsoll_memory_exhaustion_seconds is, 0 to 1";
    THRESHOLD_MET: Gauge None "plimsoll_eviction_threshold_met" &["eviction_signal", "kind"],
        "1 while the threshold is met, else 0; kind is hard or soft";
    RUNGS_IN_FORCE: Gauge None "plimsoll_pressure_rungs_in_force" &["rung"], "Acts that are in force now, by rung";
    KSWAPD_WAKES: Counter None "plimsoll_kswapd_wakes" &[],
        "Times the kernel's background reclaim was woken, by eBPF";
    DIRECT_RECLAIMS: Counter None "plimsoll_direct_reclaims" &[],
        "Allocations that had to reclaim memory themselves, by eBPF";
    ALARMS: Gauge None "plimsoll_pressure_alarms" &["kind"], "Alarms armed in the kernel, by kind";
    JOURNAL_OPEN: Gauge None "plimsoll_journal_open" &[], "1 while decisions are written to the journal, else 0";
    JOURNAL_RECORDS: Counter None "plimsoll_journal_records" &[], "Records written to the journal";
    JOURNAL_LOST: Counter None "plimsoll_journal_records_lost" &[], "Records that could not be written to the journal";
    JOURNAL_SIZE: Gauge Bytes "plimsoll_journal_size" &[], "Size of the journal";

    PROCESS_CPU: Counter Seconds "process_cpu" &[], "CPU time used by the agent";
    PROCESS_RESIDENT: Gauge Bytes "process_resident_memory" &[], "Memory of the agent that is resident";
    PROCESS_VIRTUAL: Gauge Bytes "process_virtual_memory" &[], "Address space of the agent";
    PROCESS_START: Gauge Seconds "process_start_time" &[], "When the agent was started, since 1970";
    PROCESS_OPEN_FDS: Gauge None "process_open_fds" &[], "File descriptors the agent has open";
    PROCESS_MAX_FDS: Gauge None "process_max_fds" &[], "File descriptors the agent may have open";
}

/// The table as the README has it.
#[must_use]
pub fn markdown_table() -> String {
    let mut table = String::from("| metric | kind | labels | meaning |\n|---|---|---|---|\n");
    for family in ALL {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels = family.labels.join(", ");
        table.push_str(&format!(
            "| `{}` | {kind} | {labels} | {} |
",
            family.name(),
            family.help
        ));
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_follow_the_conventions() {
        let mut names = BTreeSet::new();
        for family in ALL {
            let name = family.name();
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
            assert!(
                ["container_", "kubelet_", "plimsoll_", "process_"]
                    .iter()
                    .any(|p| name.starts_with(p)),
                "{name}"
            );
            assert!(
                !family.help.ends_with('.') && !family.help.contains('\n'),
                "{name}"
            );
            assert!(family.labels.is_sorted(), "{name}");
            assert!(names.insert(name.clone()), "{name} is there twice");
        }
    }

    #[test]
    fn the_table_has_one_line_a_family() {
        let table = markdown_table();
        assert_eq!(table.lines().count(), ALL.len() + 2);
        assert!(table.contains("| `container_cpu_usage_seconds_total` | counter |"));
    }
}
