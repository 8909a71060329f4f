//! Series of pods and containers, made anew from the report at every scrape.
//!
//! There is nothing to forget: a pod that is gone from the report is gone from the next scrape.
//!
//! # Properties
//! - Every series belongs to a pod of the report, and equal reports give equal texts.

use std::fmt::Error;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, LabelSetEncoder};

use super::cpus;
use super::encode::{Labels, Rendered, Value, describe, foreign, histogram, sample};
use super::families::{self as f, Family};
use super::run_delay;
use crate::model::{
    CgroupLimits, CgroupReport, ContainerPhase, ContainerReport, CpuUsage, Limit, MemoryUsage, NodeReport,
    PodPhase, PodReport, PressureTotals,
};

/// One cgroup that series are about: a container's, or a pod's.
pub(super) struct Subject<'a> {
    pub(super) container: Option<&'a ContainerReport>,
    cgroup: &'a CgroupReport,
    /// The labels of families of our own.
    pub(super) own: Rendered<'a>,
    /// The labels of cAdvisor's families.
    cadvisor: Rendered<'a>,
}

impl<'a> Subject<'a> {
    fn all(report: &'a NodeReport) -> Vec<Self> {
        let root = report.root.trim_end_matches('/');
        let subjects = |pod: &'a PodReport| {
            let containers = pod
                .containers
                .iter()
                .map(move |container| Self::new(root, pod, Some(container), &container.cgroup));
            std::iter::once(Self::new(root, pod, None, &pod.cgroup)).chain(containers)
        };
        report.pods.iter().flat_map(subjects).collect()
    }

    fn new(
        root: &str,
        pod: &'a PodReport,
        container: Option<&'a ContainerReport>,
        cgroup: &'a CgroupReport,
    ) -> Self {
        let container_name = container.map_or("", |c| c.name.as_str());
        let (namespace, pod_name) = (pod.namespace.as_str(), pod.name.as_str());
        let image = container.and_then(|c| c.image.as_deref()).unwrap_or("");
        let cadvisor = Rendered::new(
            &[
                ("container", container_name),
                // For cAdvisor the id is the path in the cgroup file system, and the name is the runtime's id of the
                // container, which is the last component.
                ("id", &format!("{root}/{}", cgroup.path)),
                ("image", &foreign(image)),
                ("name", container.and_then(|_| cgroup.path.name()).unwrap_or("")),
                ("namespace", namespace),
            ],
            ("pod", pod_name),
        );
        Self {
            container,
            cgroup,
            own: Rendered::new(
                &[("container", container_name), ("namespace", namespace)],
                ("pod", pod_name),
            ),
            cadvisor,
        }
    }
}

/// Labels of a cgroup with more of one family.
pub(super) struct With<'s>(
    pub(super) &'s Rendered<'s>,
    pub(super) &'s [(&'static str, &'static str)],
);

impl EncodeLabelSet for With<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), Error> {
        self.0.encode(encoder)?;
        EncodeLabelSet::encode(&self.1, encoder)
    }
}

/// A family with one sample a cgroup at most.
struct PerCgroup {
    family: &'static Family,
    /// Labels beside cAdvisor's; none for families of our own.
    more: Option<&'static [(&'static str, &'static str)]>,
    value: fn(&Subject<'_>) -> Option<Value>,
}

fn cpu<T: Into<Value>>(s: &Subject<'_>, get: fn(&CpuUsage) -> Option<T>) -> Option<Value> {
    s.cgroup.cpu.as_ref().and_then(get).map(Into::into)
}

fn memory<T: Into<Value>>(s: &Subject<'_>, get: fn(&MemoryUsage) -> Option<T>) -> Option<Value> {
    s.cgroup.memory.as_ref().and_then(get).map(Into::into)
}

fn limit<T: Into<Value>>(s: &Subject<'_>, get: fn(&CgroupLimits) -> Option<T>) -> Option<Value> {
    get(&s.cgroup.limits).map(Into::into)
}

fn pressure(s: &Subject<'_>, get: fn(&PressureTotals) -> std::time::Duration) -> Option<Value> {
    s.cgroup.pressure.as_ref().map(|p| get(p).into())
}

/// cAdvisor writes no limit as 0.
fn limit_or_zero<T: Into<Value>>(limit: Limit<T>) -> Value {
    limit.at().map_or(Value::Count(0), Into::into)
}

/// The linear conversion that kubelet and cAdvisor use to show a weight of cgroup v2 as shares.
fn shares(weight: u64) -> u64 {
    2 + weight.saturating_sub(1) * 262_142 / 9_999
}

const fn cadvisor(family: &'static Family, value: fn(&Subject<'_>) -> Option<Value>) -> PerCgroup {
    PerCgroup {
        family,
        more: Some(&[]),
        value,
    }
}

const fn own(family: &'static Family, value: fn(&Subject<'_>) -> Option<Value>) -> PerCgroup {
    PerCgroup {
        family,
        more: None,
        value,
    }
}

static FAMILIES: &[PerCgroup] = &[
    PerCgroup {
        family: &f::CPU_USAGE,
        more: Some(&[("cpu", "total")]),
        value: |s| cpu(s, |c| Some(c.total)),
    },
    cadvisor(&f::CPU_USER, |s| cpu(s, |c| c.user)),
    cadvisor(&f::CPU_SYSTEM, |s| cpu(s, |c| c.system)),
    cadvisor(&f::CFS_PERIODS, |s| cpu(s, |c| c.periods)),
    cadvisor(&f::CFS_THROTTLED_PERIODS, |s| cpu(s, |c| c.throttled_periods)),
    cadvisor(&f::CFS_THROTTLED, |s| cpu(s, |c| c.throttled)),
    cadvisor(&f::MEMORY_USAGE, |s| memory(s, |m| Some(m.current))),
    cadvisor(&f::MEMORY_WORKING_SET, |s| memory(s, |m| Some(m.working_set))),
    cadvisor(&f::MEMORY_RSS, |s| memory(s, |m| m.anon)),
    cadvisor(&f::MEMORY_CACHE, |s| memory(s, |m| m.file)),
    cadvisor(&f::MEMORY_SWAP, |s| memory(s, |m| m.swap)),
    cadvisor(&f::MEMORY_MAPPED_FILE, |s| memory(s, |m| m.mapped_file)),
    cadvisor(&f::MEMORY_MAX_USAGE, |s| memory(s, |m| m.peak)),
    cadvisor(&f::OOM_EVENTS, |s| memory(s, |m| Some(m.oom_kills))),
    cadvisor(&f::SPEC_CPU_PERIOD, |s| {
        limit(s, |l| l.cpu_max.map(|(_, period)| period.0))
    }),
    cadvisor(&f::SPEC_CPU_QUOTA, |s| {
        limit(s, |l| l.cpu_max.and_then(|(quota, _)| quota.at()).map(|q| q.0))
    }),
    cadvisor(&f::SPEC_CPU_SHARES, |s| {
        limit(s, |l| l.cpu_weight.map(|w| shares(w.0)))
    }),
    cadvisor(&f::SPEC_MEMORY_LIMIT, |s| {
        limit(s, |l| l.memory_max.map(limit_or_zero))
    }),
    cadvisor(&f::SPEC_MEMORY_SWAP_LIMIT, |s| {
        // A limit of nothing would read as no limit.
        limit(s, |l| {
            l.swap_max
                .filter(|max| max.at().is_none_or(|b| b.0 > 0))
                .map(limit_or_zero)
        })
    }),
    cadvisor(&f::THREADS, |s| s.cgroup.tasks.map(Into::into)),
    cadvisor(&f::LAST_SEEN, |s| s.cgroup.sampled_at.map(Into::into)),
    cadvisor(&f::START_TIME, |s| {
        s.container.and_then(|c| c.started_at).map(Into::into)
    }),
    cadvisor(&f::PRESSURE_CPU_WAITING, |s| pressure(s, |p| p.cpu_some)),
    cadvisor(&f::PRESSURE_CPU_STALLED, |s| pressure(s, |p| p.cpu_full)),
    cadvisor(&f::PRESSURE_MEMORY_WAITING, |s| pressure(s, |p| p.memory_some)),
    cadvisor(&f::PRESSURE_MEMORY_STALLED, |s| pressure(s, |p| p.memory_full)),
    cadvisor(&f::PRESSURE_IO_WAITING, |s| pressure(s, |p| p.io_some)),
    cadvisor(&f::PRESSURE_IO_STALLED, |s| pressure(s, |p| p.io_full)),
    own(&f::STALLED, |s| memory(s, |m| m.stalled)),
    own(&f::HIGH_EVENTS, |s| memory(s, |m| Some(m.high_events))),
    own(&f::MAX_EVENTS, |s| memory(s, |m| Some(m.max_events))),
    own(&f::MEMORY_SHMEM, |s| memory(s, |m| m.shmem)),
    own(&f::MEMORY_SLAB, |s| memory(s, |m| m.slab)),
    own(&f::CPU_WEIGHT, |s| limit(s, |l| l.cpu_weight.map(|w| w.0))),
    own(&f::MEMORY_MIN, |s| limit(s, |l| l.memory_min.and_then(Limit::at))),
    own(&f::MEMORY_LOW, |s| limit(s, |l| l.memory_low.and_then(Limit::at))),
    own(&f::MEMORY_HIGH, |s| {
        limit(s, |l| l.memory_high.and_then(Limit::at))
    }),
    own(&f::MEMORY_MAX, |s| limit(s, |l| l.memory_max.and_then(Limit::at))),
    own(&f::SWAP_MAX, |s| limit(s, |l| l.swap_max.and_then(Limit::at))),
    own(&f::PIDS_MAX, |s| limit(s, |l| l.pids_max.and_then(Limit::at))),
    own(&f::OOM_SCORE_ADJ, |s| {
        s.container.map(|c| Value::Number(f64::from(c.oom_score_adj.0)))
    }),
    own(&f::RESTARTS, |s| {
        s.container.map(|c| u64::from(c.restarts).into())
    }),
    own(&f::RUNNING, |s| {
        let runs = |c: &ContainerReport| matches!(c.phase, ContainerPhase::Running { .. });
        s.container.map(|c| u64::from(runs(c)).into())
    }),
    own(&f::EXCLUSIVE_CPUS, |s| cpus::own_count(s).map(Into::into)),
    own(&f::FOREIGN_WINDOW, |s| {
        cpus::foreign_time(s).map(|time| time.window.into())
    }),
];

/// Writes every series of pods and containers.
pub(super) fn encode(report: &NodeReport, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let subjects = Subject::all(report);
    for PerCgroup { family, more, value } in FAMILIES {
        let mut samples = subjects
            .iter()
            .filter_map(|subject| value(subject).map(|value| (subject, value)))
            .peekable();
        if samples.peek().is_none() {
            continue;
        }
        let mut metric = describe(encoder, family)?;
        for (subject, value) in samples {
            match more {
                Some(more) => sample(&mut metric, family, &With(&subject.cadvisor, more), value)?,
                None => sample(&mut metric, family, &subject.own, value)?,
            }
        }
    }
    page_faults(&subjects, encoder)?;
    run_delays(&subjects, encoder)?;
    cpus::foreign_times(&subjects, encoder)?;
    pod_info(report, encoder)
}

fn page_faults(subjects: &[Subject<'_>], encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let mut metric = describe(encoder, &f::MEMORY_FAILURES)?;
    for subject in subjects {
        let Some(memory) = &subject.cgroup.memory else {
            continue;
        };
        for (failure_type, count) in [
            ("pgfault", memory.page_faults),
            ("pgmajfault", memory.major_page_faults),
        ] {
            if let Some(count) = count {
                let more = [("failure_type", failure_type), ("scope", "hierarchy")];
                sample(
                    &mut metric,
                    &f::MEMORY_FAILURES,
                    &With(&subject.cadvisor, &more),
                    count.into(),
                )?;
            }
        }
    }
    Ok(())
}

fn run_delays(subjects: &[Subject<'_>], encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let mut metric = describe(encoder, &f::RUN_DELAY)?;
    // A pod's waits are the sum of its containers': only they are told.
    for subject in subjects.iter().filter(|s| s.container.is_some()) {
        let Some(cpu) = &subject.cgroup.cpu else { continue };
        if let (Some(sum), Some(counts)) = (cpu.run_delay, &cpu.run_delay_histogram) {
            histogram(&mut metric, &subject.own, sum, &run_delay::buckets(counts))?;
        }
    }
    Ok(())
}

/// The phase's name in the Kubernetes API.
pub(super) fn phase_name(phase: PodPhase) -> &'static str {
    match phase {
        PodPhase::Pending => "Pending",
        PodPhase::Running => "Running",
        PodPhase::Succeeded => "Succeeded",
        PodPhase::Failed => "Failed",
    }
}

fn pod_info(report: &NodeReport, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let mut metric = describe(encoder, &f::POD_INFO)?;
    for pod in &report.pods {
        let labels = Labels([
            ("namespace", pod.namespace.as_str()),
            ("phase", phase_name(pod.phase)),
            ("pod", pod.name.as_str()),
            ("qos_class", pod.qos.as_str()),
            ("reason", &foreign(pod.reason.as_deref().unwrap_or(""))),
            ("uid", pod.uid.as_str()),
        ]);
        sample(&mut metric, &f::POD_INFO, &labels, Value::Count(1))?;
    }
    Ok(())
}
