//! What Prometheus is told: a pure function of the last [`NodeReport`] and the agent's own counters.
//!
//! **Problem.** Pods come and go by the thousand; a metric must name the right pod, vanish with it, and cost the
//! agent nothing while nobody asks. **How.** Series of pods are written straight from the report at each scrape
//! (`cgroups`, `cpus`), into a buffer that is used again; only the agent's own counters, with few label values, live in
//! the registry (`counters`). Both text formats are served: OpenMetrics to those who ask for it, else Prometheus'
//! older text (`classic`). **Terms.** *Family*: a metric's name; *series*: a family with one set of label values.
//!
//! # Properties
//! - Every family served is in [`families`], with its labels; nothing is served of a pod that is not in the report.
//! - A text that others chose cannot add a line or a label.

mod cgroups;
mod classic;
mod counters;
mod cpus;
mod encode;
pub mod families;
mod health;
mod node;
mod pool;
mod pressure;
mod run_delay;
pub mod server;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::model::NodeReport;
use classic::Classic;
pub use counters::AgentCounters;
pub use health::{Health, NotReady};
use pool::{Pool, Pooled};
pub use pressure::{KernelKill, PressureCounters, Steering};

/// Where the last report is found.
pub type Reports = watch::Receiver<Arc<NodeReport>>;

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0 text.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Classic,
}

impl Format {
    /// The format for a request's `Accept` header.
    #[must_use]
    pub fn accepted(header: Option<&str>) -> Self {
        let asks = |part: &str| {
            let mut fields = part.split(';').map(str::trim);
            fields.next() == Some("application/openmetrics-text") && !fields.any(|f| f == "q=0")
        };
        match header {
            Some(header) if header.split(',').any(|part| asks(part.trim())) => Self::OpenMetrics,
            _ => Self::Classic,
        }
    }

    /// The `Content-Type` of this format.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

#[derive(Debug)]
struct ReportCollector {
    reports: Reports,
}

impl Collector for ReportCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // A clone of the pointer, so that a scrape never holds up the next report.
        let report = Arc::clone(&self.reports.borrow());
        cgroups::encode(&report, &mut encoder)?;
        cpus::encode(&report, &mut encoder)?;
        pressure::encode(&report, &mut encoder)?;
        node::encode(&report, &mut encoder)
    }
}

/// Everything that is told, ready to be written.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    counters: AgentCounters,
    pool: Pool,
}

impl Metrics {
    /// Metrics of the reports that arrive, with counters at zero.
    #[must_use]
    pub fn new(reports: Reports) -> Self {
        let mut registry = Registry::default();
        let counters = AgentCounters::register(&mut registry);
        registry.register_collector(Box::new(ReportCollector { reports }));
        Self {
            registry,
            counters,
            pool: Pool::default(),
        }
    }

    /// The agent's own counters.
    #[must_use]
    pub fn counters(&self) -> &AgentCounters {
        &self.counters
    }

    /// The whole exposition. The text's memory goes back for the next scrape when it is dropped.
    ///
    /// # Errors
    /// The encoder refused a value; only a defect of ours makes it.
    pub fn scrape(&self, format: Format) -> Result<Pooled, fmt::Error> {
        let mut text = self.pool.take();
        match format {
            Format::OpenMetrics => text::encode(text.as_mut(), &self.registry)?,
            Format::Classic => text::encode(&mut Classic::new(text.as_mut()), &self.registry)?,
        }
        Ok(text)
    }
}
