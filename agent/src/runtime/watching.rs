//! The eBPF probes and what they need around them.
//!
//! Loading them takes from tenths of a second to many seconds, of which pods know nothing: it is done beside the loop,
//! and until then cgroup files serve.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::path::PathBuf;

use anyhow::Context;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::ground;
use crate::config::Config;
use crate::kernel::readiness::Readiness;
use crate::model::ProbeReport;
use crate::observe::probes::{ProbeEvent, Probes};

/// The probe that tells of OOM victims.
const OOM: &str = "oom";

/// The probes, loaded or about to be.
#[derive(Default)]
pub(super) struct Watching {
    /// Those at work.
    pub(super) probes: Probes,
    /// What became of each.
    pub(super) reports: Vec<ProbeReport>,
    events: Option<Readiness>,
    /// Lost events that were told of, by object.
    lost: BTreeMap<&'static str, u64>,
}

/// Probes on their way.
pub(super) struct Loading(Option<JoinHandle<Probes>>);

impl Loading {
    /// Begins to load the probes that the configuration asks for, to watch `directory` and all below.
    pub(super) fn begin(config: &Config, directory: PathBuf) -> Self {
        let config = config.clone();
        Self(Some(tokio::task::spawn_blocking(move || {
            ground::start_probes(&config, &directory)
        })))
    }

    /// Resolves once the probes are loaded, and never again.
    pub(super) async fn done(&mut self) -> anyhow::Result<Probes> {
        match &mut self.0 {
            Some(loading) => {
                let probes = loading.await.context("the probes' loader");
                self.0 = None;
                probes
            }
            None => pending().await,
        }
    }
}

impl Watching {
    /// Puts loaded probes to work.
    pub(super) fn take(&mut self, config: &Config, probes: Probes) -> anyhow::Result<()> {
        self.reports = ground::probe_reports(config, &probes);
        for ProbeReport {
            name,
            attached,
            reason,
        } in &self.reports
        {
            match reason {
                None => info!(probe = %name, "probe attached"),
                Some(reason) if *attached => info!(probe = %name, %reason, "probe attached"),
                Some(reason) => warn!(probe = %name, %reason, "probe not attached"),
            }
        }
        self.events = probes
            .events_fd()
            .map(Readiness::new)
            .transpose()
            .context("the probes' events")?;
        self.probes = probes;
        Ok(())
    }

    /// Whether OOM victims are told by a probe.
    pub(super) fn tells_of_oom(&self) -> bool {
        self.reports
            .iter()
            .any(|report| report.name == OOM && report.attached)
    }

    /// Resolves when events wait, or never.
    pub(super) async fn told(&self) -> io::Result<()> {
        match &self.events {
            Some(events) => events.readable().await,
            None => pending().await,
        }
    }

    /// What happened since the last call, and how many events were lost, by object.
    pub(super) fn drain(&mut self) -> (Vec<ProbeEvent>, Vec<(&'static str, u64)>) {
        let events = self.probes.drain_events();
        let dropped = self.probes.dropped().into_iter();
        let lost = dropped.filter_map(|(object, lost)| {
            let more = lost - self.lost.insert(object, lost).unwrap_or_default();
            (more > 0).then_some((object, more))
        });
        (events, lost.collect())
    }
}
