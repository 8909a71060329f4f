//! Series of the node and of the agent itself, from the report.

use std::collections::BTreeMap;
use std::fmt::Error;

use prometheus_client::encoding::DescriptorEncoder;

use super::cgroups::phase_name;
use super::encode::{Labels, Value, describe, sample, single};
use super::families as f;
use crate::model::NodeReport;

pub(super) fn encode(report: &NodeReport, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let labels = Labels([("version", report.version.as_str())]);
    sample(
        &mut describe(encoder, &f::BUILD_INFO)?,
        &f::BUILD_INFO,
        &labels,
        Value::Count(1),
    )?;

    let mut pods = BTreeMap::new();
    for pod in &report.pods {
        *pods.entry((phase_name(pod.phase), pod.qos)).or_insert(0_u64) += 1;
    }
    let mut metric = describe(encoder, &f::PODS)?;
    for ((phase, qos), count) in pods {
        let labels = Labels([("phase", phase), ("qos_class", qos.as_str())]);
        sample(&mut metric, &f::PODS, &labels, count.into())?;
    }

    #[expect(clippy::cast_precision_loss, reason = "no node has 2^53 thousandths of a CPU")]
    let cores = report.allocatable_cpu.0 as f64 / 1000.0;
    single(encoder, &f::ALLOCATABLE_CPU, Value::Number(cores))?;
    single(encoder, &f::ALLOCATABLE_MEMORY, report.allocatable_memory)?;

    let mut metric = describe(encoder, &f::PROBE_ATTACHED)?;
    for probe in &report.probes {
        let labels = Labels([("probe", probe.name.as_str())]);
        sample(
            &mut metric,
            &f::PROBE_ATTACHED,
            &labels,
            u64::from(probe.attached).into(),
        )?;
    }
    let errors = u64::try_from(report.manifest_errors.len()).unwrap_or(u64::MAX);
    single(encoder, &f::MANIFEST_ERRORS, errors)?;

    let agent = &report.agent;
    single(encoder, &f::PROCESS_CPU, agent.cpu)?;
    single(encoder, &f::PROCESS_RESIDENT, agent.resident)?;
    single(encoder, &f::PROCESS_VIRTUAL, agent.virtual_size)?;
    single(encoder, &f::PROCESS_START, agent.started_at)?;
    single(encoder, &f::PROCESS_OPEN_FDS, agent.open_fds)?;
    single(encoder, &f::PROCESS_MAX_FDS, agent.max_fds)
}
