//! The agent's own counters: few label values, kept for the life of the process.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family as Series;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use super::families::{self as f, Family};
use super::pressure::PressureCounters;
use crate::model::{ControlFile, QosClass};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteError {
    errno: String,
    file: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct File {
    file: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Source {
    source: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Class {
    qos_class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Change {
    change: &'static str,
}

/// The counters. Clones count together. What may be counted is a closed set: no text of a pod becomes a label.
#[derive(Debug, Clone)]
pub struct AgentCounters {
    reconcile_passes: Counter,
    reconcile_duration: Histogram,
    writes: Series<File, Counter>,
    write_errors: Series<WriteError, Counter>,
    drift: Series<File, Counter>,
    events: Series<Kind, Counter>,
    events_lost: Series<Source, Counter>,
    cgroup_discovery: Histogram,
    ended_cpu: Counter<f64, AtomicU64>,
    cpu_grants: Counter,
    cpu_grant_clean: Histogram,
    cpu_changes: Series<Change, Counter>,
    pods_refused: Series<Reason, Counter>,
    container_starts: Counter,
    container_exits: Series<Reason, Counter>,
    oom_kills: Series<Class, Counter>,
    pressure: PressureCounters,
}

impl AgentCounters {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let counters = Self {
            reconcile_passes: Counter::default(),
            // 100 µs to 1.6 s: a pass that changes nothing, to one that starts a node full of pods.
            reconcile_duration: Histogram::new((0..8).map(|i| 1e-4 * f64::from(1 << (2 * i)))),
            writes: Series::default(),
            write_errors: Series::default(),
            drift: Series::default(),
            events: Series::default(),
            events_lost: Series::default(),
            // 8 µs to 0.5 s, doubling.
            cgroup_discovery: Histogram::new((0..17).map(|i| 8e-6 * f64::from(1 << i))),
            ended_cpu: Counter::default(),
            cpu_grants: Counter::default(),
            // 64 µs to 2 s, doubling.
            cpu_grant_clean: Histogram::new((0..16).map(|i| 64e-6 * f64::from(1 << i))),
            cpu_changes: Series::default(),
            pods_refused: Series::default(),
            container_starts: Counter::default(),
            container_exits: Series::default(),
            oom_kills: Series::default(),
            pressure: PressureCounters::register(registry),
        };
        for class in QosClass::ALL {
            // A rule on an increase needs the zero before it.
            counters.oom_kills.get_or_create_owned(&Class::of(class));
        }
        add(registry, &f::RECONCILE_PASSES, counters.reconcile_passes.clone());
        add(
            registry,
            &f::RECONCILE_DURATION,
            counters.reconcile_duration.clone(),
        );
        add(registry, &f::WRITES, counters.writes.clone());
        add(registry, &f::WRITE_ERRORS, counters.write_errors.clone());
        add(registry, &f::DRIFT, counters.drift.clone());
        add(registry, &f::EVENTS, counters.events.clone());
        add(registry, &f::EVENTS_LOST, counters.events_lost.clone());
        add(registry, &f::CGROUP_DISCOVERY, counters.cgroup_discovery.clone());
        add(registry, &f::ENDED_CPU, counters.ended_cpu.clone());
        add(registry, &f::CPU_GRANTS, counters.cpu_grants.clone());
        add(registry, &f::CPU_GRANT_CLEAN, counters.cpu_grant_clean.clone());
        add(registry, &f::CPU_CHANGES, counters.cpu_changes.clone());
        add(registry, &f::PODS_REFUSED, counters.pods_refused.clone());
        add(registry, &f::CONTAINER_STARTS, counters.container_starts.clone());
        add(registry, &f::CONTAINER_EXITS, counters.container_exits.clone());
        add(registry, &f::OOM_KILLS, counters.oom_kills.clone());
        counters
    }

    /// What was decided about memory.
    #[must_use]
    pub const fn pressure(&self) -> &PressureCounters {
        &self.pressure
    }

    /// A pass of the reconcile loop ended after `took`.
    pub fn pass_done(&self, took: Duration) {
        self.reconcile_passes.inc();
        self.reconcile_duration.observe(took.as_secs_f64());
    }

    /// A value was written to `file` and read back.
    pub fn written(&self, file: ControlFile) {
        self.writes.get_or_create_owned(&File::of(file)).inc();
    }

    /// The kernel refused a write to `file`; `errno` is the error's name, such as `EBUSY`, or `drift` for a value
    /// that was taken and not kept.
    pub fn write_failed(&self, file: ControlFile, errno: &str) {
        let labels = WriteError {
            errno: errno.to_owned(),
            file: file.to_string(),
        };
        self.write_errors.get_or_create_owned(&labels).inc();
    }

    /// `file` was found to hold something else than what the agent had written.
    pub fn drifted(&self, file: ControlFile) {
        self.drift.get_or_create_owned(&File::of(file)).inc();
    }

    /// The kernel told of `count` things of one kind: `cgroup_made`, `oom_victim`…
    pub fn events(&self, kind: &'static str, count: u64) {
        self.events.get_or_create_owned(&Kind { kind }).inc_by(count);
    }

    /// The kernel had to drop `count` events of one source.
    pub fn events_lost(&self, source: &'static str, count: u64) {
        self.events_lost
            .get_or_create_owned(&Source { source })
            .inc_by(count);
    }

    /// The agent knew of a cgroup this long after the kernel had made it.
    pub fn cgroup_discovered(&self, after: Duration) {
        self.cgroup_discovery.observe(after.as_secs_f64());
    }

    /// A cgroup was removed whose own processes had used this much CPU time.
    pub fn cgroup_ended(&self, cpu: Duration) {
        self.ended_cpu.inc_by(cpu.as_secs_f64());
    }

    /// A container was given CPUs to itself.
    pub fn cpu_granted(&self) {
        self.cpu_grants.inc();
    }

    /// Nobody else's task was seen on a container's own CPUs any more, so long after it was given them.
    pub fn cpu_clean(&self, after: Duration) {
        self.cpu_grant_clean.observe(after.as_secs_f64());
    }

    /// Something about CPUs was found otherwise than the agent had left it.
    pub fn cpu_changed(&self, change: &'static str) {
        self.cpu_changes.get_or_create_owned(&Change { change }).inc();
    }

    /// A pod was refused: `OutOfcpu`, `OutOfmemory`…
    pub fn pod_refused(&self, reason: &'static str) {
        self.pods_refused.get_or_create_owned(&Reason { reason }).inc();
    }

    /// A container was started.
    pub fn container_started(&self) {
        self.container_starts.inc();
    }

    /// A container ended: `Completed`, `Error`, `OOMKilled`…
    pub fn container_ended(&self, reason: &'static str) {
        self.container_exits.get_or_create_owned(&Reason { reason }).inc();
    }

    /// The OOM killer took `count` processes of a pod of this class.
    pub fn oom_killed(&self, class: QosClass, count: u64) {
        self.oom_kills
            .get_or_create_owned(&Class::of(class))
            .inc_by(count);
    }
}

impl File {
    fn of(file: ControlFile) -> Self {
        Self {
            file: file.to_string(),
        }
    }
}

impl Class {
    fn of(class: QosClass) -> Self {
        Self {
            qos_class: class.as_str(),
        }
    }
}

pub(super) fn add(registry: &mut Registry, family: &Family, metric: impl Metric) {
    match family.unit.unit() {
        Some(unit) => registry.register_with_unit(family.stem, family.help, unit.clone(), metric),
        None => registry.register(family.stem, family.help, metric),
    }
}
