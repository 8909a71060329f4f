//! A pod's own cgroup.

use std::collections::BTreeMap;

use crate::decide::conversions::{linear_weight, quota, shares};
use crate::decide::policy::{MemoryQosMode, PlacementPolicy};
use crate::decide::qos::qos_class;
use crate::decide::resources::{all_limit, cpu, huge_pages, memory, pod_limits, pod_requests};
use crate::model::{
    Bytes, CgroupPath, ControlFile, CpuPeriod, CpuQuota, CpuShares, HugePageSize, KnobValue, Limit, MilliCpu,
    Pod, QosClass,
};

use super::memory::{Protection, protection, tripwire};
use super::{Builder, Inputs, cpu_max, huge_page_limits, lists, memory_limit};

/// What kubelet writes for a pod (its `ResourceConfigForPod`). `None` is not written; a limit of 0 is written and
/// means no bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodConfig {
    /// The pod's share of CPU time, before conversion to a weight.
    pub cpu_shares: CpuShares,
    /// The quota in each period; `Max` when quotas are turned off.
    pub cpu_quota: Option<Limit<CpuQuota>>,
    /// The period, whenever there is a quota.
    pub cpu_period: Option<CpuPeriod>,
    /// `memory.max`.
    pub memory_max: Option<Bytes>,
    /// `memory.min` of Guaranteed pods, `memory.low` of others.
    pub protection: Protection,
    /// Huge pages that the pod requests, by size.
    pub huge_pages: BTreeMap<HugePageSize, Bytes>,
}

/// The configuration of `pod`'s cgroup.
#[must_use]
pub fn pod_config(pod: &Pod, policy: &PlacementPolicy) -> PodConfig {
    let requests = pod_requests(pod);
    let limits = pod_limits(pod);
    let class = qos_class(pod);
    let limited = |resource| match class {
        QosClass::Guaranteed => true,
        QosClass::Burstable => all_limit(pod, resource),
        QosClass::BestEffort => false,
    };
    let period = policy.cpu_cfs_quota_period;
    let cpu_quota = if policy.cpu_cfs_quota {
        Limit::At(quota(cpu(&limits), period).unwrap_or(CpuQuota(0)))
    } else {
        Limit::Max
    };
    let mut sums = BTreeMap::new();
    for (size, amount) in huge_pages(&requests) {
        let sum: &mut Bytes = sums.entry(size).or_default();
        *sum = sum.saturating_add(amount);
    }
    let memory_max = limited("memory").then(|| memory(&limits));
    let requested = protection(policy.memory_qos, class, memory(&requests));
    PodConfig {
        cpu_shares: match class {
            QosClass::Guaranteed | QosClass::Burstable => shares(cpu(&requests)),
            QosClass::BestEffort => shares(MilliCpu(0)),
        },
        cpu_quota: limited("cpu").then_some(cpu_quota),
        cpu_period: limited("cpu").then_some(period),
        memory_max,
        protection: match (policy.memory_qos.mode, memory_max) {
            // kubelet's own limit may be below the request: an init container without a limit does not count.
            (MemoryQosMode::Sound, Some(max)) if max.0 > 0 => {
                requested.within(Protection { min: max, low: max })
            }
            _ => requested,
        },
        huge_pages: sums,
    }
}

/// Adds the pod's cgroup.
pub(super) fn add(builder: &mut Builder, inputs: &Inputs, pod: &Pod, path: &CgroupPath) {
    let config = pod_config(pod, inputs.policy);
    let qos = inputs.policy.memory_qos;
    let high = match qos.mode {
        MemoryQosMode::Off | MemoryQosMode::Kubelet => None,
        MemoryQosMode::Sound => tripwire(qos, memory(&pod_requests(pod)), config.memory_max),
    };
    let high = high.filter(|_| !inputs.lifted.contains(path));
    let pids = inputs.policy.pod_pids_limit.map_or(Limit::Max, Limit::At);
    let mut knobs = vec![
        (
            ControlFile::CpuWeight,
            KnobValue::Weight(linear_weight(config.cpu_shares)),
        ),
        cpu_max(
            // As kubelet from 1.33: a quota would throttle a container that can take nothing from others.
            config
                .cpu_quota
                .and_then(Limit::at)
                .filter(|_| !inputs.cpusets.is_exclusive(path)),
            inputs.policy.cpu_cfs_quota_period,
        ),
        memory_limit(ControlFile::MemoryMax, config.memory_max),
        memory_limit(ControlFile::MemoryHigh, high),
        (ControlFile::PidsMax, KnobValue::Count(pids)),
    ];
    knobs.extend(config.protection.knobs());
    let huge_pages = |size| Limit::At(config.huge_pages.get(&size).copied().unwrap_or_default());
    knobs.extend(huge_page_limits(inputs.node, huge_pages));
    knobs.extend(lists(inputs.cpusets, path));
    builder.cgroup(path.clone(), knobs);
}
