//! Series about CPUs that containers have to themselves.
//!
//! # Properties
//! - A node that gives no CPUs away has none of these series, and one on which no container has any has only the counts of
//!   its NUMA nodes.
//! - There are no more kernel threads than [`THREADS`], however many the report names.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::time::Duration;

use prometheus_client::encoding::DescriptorEncoder;

use super::cgroups::{Subject, With};
use super::encode::{Labels, describe, foreign, sample};
use super::families as f;
use crate::model::{CpuSet, ForeignReport, NodeCpus, NodeReport};

/// How many kernel threads are told: more than whoever counts them tells apart, so that no series comes and goes.
const THREADS: usize = 64;

/// What others used of a container's own CPUs; none where nothing counts it.
pub(super) fn foreign_time<'a>(subject: &Subject<'a>) -> Option<&'a ForeignReport> {
    let cpus = subject.container?.cpus.as_ref()?;
    cpus.grant.as_ref()?.foreign.as_ref()
}

/// How many CPUs a container has to itself; none if it shares.
pub(super) fn own_count(subject: &Subject<'_>) -> Option<u64> {
    let own = subject.container?.cpus.as_ref()?.own.as_ref()?;
    Some(count(own))
}

fn count(cpus: &CpuSet) -> u64 {
    u64::try_from(cpus.len()).unwrap_or(u64::MAX)
}

/// Writes what others used of exclusive CPUs, by container and kind.
pub(super) fn foreign_times(
    subjects: &[Subject<'_>],
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), Error> {
    let mut times = subjects
        .iter()
        .filter_map(|subject| Some((subject, foreign_time(subject)?)))
        .peekable();
    if times.peek().is_none() {
        return Ok(());
    }
    let mut metric = describe(encoder, &f::FOREIGN_CPU)?;
    for (subject, time) in times {
        for (kind, used) in [
            ("pods", time.pods),
            ("system", time.system),
            ("kernel_threads", time.kernel_threads),
            ("irq", time.irq),
            ("softirq", time.softirq),
        ] {
            let labels = With(&subject.own, &[("kind", kind)]);
            sample(&mut metric, &f::FOREIGN_CPU, &labels, used.into())?;
        }
    }
    Ok(())
}

/// Writes the node's CPUs, and who of the kernel used exclusive ones.
pub(super) fn encode(report: &NodeReport, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let Some(cpus) = &report.cpus else {
        return Ok(());
    };
    let mut metric = describe(encoder, &f::CPUS)?;
    for node in &cpus.by_node {
        let number = node.node.to_string();
        for (kind, set) in [
            ("exclusive", &node.exclusive),
            ("shared", &node.shared),
            ("reserved", &node.reserved),
        ] {
            let labels = Labels([("kind", kind), ("numa_node", number.as_str())]);
            sample(&mut metric, &f::CPUS, &labels, count(set).into())?;
        }
    }
    kernel_threads(cpus, encoder)
}

fn kernel_threads(cpus: &NodeCpus, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    if cpus.kernel_threads.is_empty() {
        return Ok(());
    }
    // Names that look the same as labels would be one series twice, for which a scraper refuses the whole answer.
    let mut threads = BTreeMap::new();
    for (name, used) in cpus.kernel_threads.iter().take(THREADS) {
        *threads.entry(foreign(name)).or_insert(Duration::ZERO) += *used;
    }
    let mut metric = describe(encoder, &f::KERNEL_THREADS)?;
    for (name, used) in &threads {
        let labels = Labels([("name", name.as_ref())]);
        sample(&mut metric, &f::KERNEL_THREADS, &labels, (*used).into())?;
    }
    Ok(())
}
