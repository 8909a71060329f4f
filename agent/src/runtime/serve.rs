//! The agent's two servers, and the plan that a dry run prints.

use std::fmt::Write;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tracing::{error, info};

use super::view::View;
use crate::config::Config;
use crate::decide::plan::{CgroupOp, Scope};
use crate::kernel::clock::{Clock, RealClock};
use crate::kernel::net;
use crate::metrics::server::{self, Ask, serve_admin, serve_metrics};
use crate::metrics::{AgentCounters, Health, Metrics};
use crate::model::{BootTime, CgroupPath, NodeReport};
use crate::observe::pods::directory::PodDirectory;

/// What is served, and who serves it.
pub(super) struct Served {
    reports: watch::Sender<Arc<NodeReport>>,
    asks: mpsc::UnboundedReceiver<Ask>,
    stop: watch::Sender<bool>,
    health: Arc<Health>,
    counters: AgentCounters,
}

impl Served {
    /// Opens the port and the socket, and begins to serve.
    pub(super) async fn bind(config: &Config) -> anyhow::Result<Self> {
        let (reports, receiver) = watch::channel(Arc::default());
        let (asks_sender, asks) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let health = Arc::new(Health::new(config.reconcile_period.get()));
        let metrics = Metrics::new(receiver.clone());
        let counters = metrics.counters().clone();
        let served = Arc::new(server::Served {
            metrics,
            reports: receiver,
            asks: asks_sender,
            health: Arc::clone(&health),
            now: Box::new(|| RealClock.now()),
        });
        let admin = net::bind_admin(&config.admin_socket)?;
        tokio::spawn(serve_admin(admin, Arc::clone(&served), stopped.clone()));
        if let Some(address) = config.metrics_bind_address {
            let listener = net::bind_metrics(address).await?;
            info!(%address, "serving metrics");
            tokio::spawn(serve_metrics(listener, served, stopped));
        }
        Ok(Self {
            reports,
            asks,
            stop,
            health,
            counters,
        })
    }

    /// The agent's own counters.
    pub(super) fn counters(&self) -> AgentCounters {
        self.counters.clone()
    }

    /// The next question for a report of this moment.
    pub(super) async fn asked(&mut self) -> Option<Ask> {
        self.asks.recv().await
    }

    /// What `/status` and `/metrics` tell from now on.
    pub(super) fn publish(&self, report: Arc<NodeReport>) {
        self.reports.send_replace(report);
    }

    /// A pass of the reconcile loop is done.
    pub(super) fn pass_done(&self, now: BootTime) {
        self.health.pass_done(now);
    }

    /// Stops serving.
    pub(super) fn close(&self, config: &Config) {
        self.stop.send_replace(true);
        if let Err(error) = net::remove_admin(&config.admin_socket) {
            error!(%error, "the admin socket stays behind");
        }
    }
}

/// What a first pass would do, in words; nothing is done.
///
/// # Errors
/// The machine or the manifest directory cannot be looked at.
pub fn dry_run(config: &Config) -> anyhow::Result<String> {
    let ground = View::look(config)?;
    let mut directory = PodDirectory::open(&config.static_pod_path, &ground.settings.node_name)?;
    let now = RealClock.now();
    directory.rescan(now.0)?;
    let set = directory.pods();
    let mut text = String::new();
    for error in &set.errors {
        writeln!(text, "cannot be used: {error}")?;
    }
    let plan = ground.plan(&set.pods);
    for (pod, refusal) in &plan.refused {
        writeln!(text, "refused: {pod}: {refusal}")?;
    }
    for step in &plan.steps {
        match &step.scope {
            Scope::Tree => writeln!(text, "the levels above the pods")?,
            Scope::Pod(path) => writeln!(text, "pod {path}")?,
        }
        for op in &step.ops {
            match op {
                CgroupOp::Create { path } => writeln!(text, "  make    {}", shown(path))?,
                CgroupOp::Enable { path, controllers } => {
                    let names: Vec<_> = controllers.iter().map(|c| c.as_str()).collect();
                    writeln!(
                        text,
                        "  enable  {} for the children of {}",
                        names.join(" "),
                        shown(path)
                    )?;
                }
                CgroupOp::Write {
                    path,
                    file,
                    value,
                    previous,
                } => {
                    let before = previous.as_deref().unwrap_or("new");
                    writeln!(text, "  write   {}/{file} = {value}  (was {before})", shown(path))?;
                }
                CgroupOp::Remove { path } => writeln!(text, "  remove  {}", shown(path))?,
            }
        }
    }
    if plan.steps.is_empty() {
        writeln!(text, "nothing to do: the tree is as it should be")?;
    }
    Ok(text)
}

fn shown(path: &CgroupPath) -> String {
    if *path == CgroupPath::ROOT {
        "the root".to_owned()
    } else {
        path.to_string()
    }
}
