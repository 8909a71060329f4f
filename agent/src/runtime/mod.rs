//! The running agent: the event loop that feeds the engine and tells the world.
//!
//! One thread does it all but guarding memory, for which [`guard`] has one of its own. It sleeps until something happens: a manifest changed, a process of a container ended, the
//! kernel told of a cgroup or an OOM kill, a period is over, a signal came, somebody asks for a report. Each becomes a
//! call of the [`engine`]. A report is made when it is asked for, and at most once after each change.

pub mod decisions;
pub mod engine;
mod events;
mod exclusive;
mod ground;
pub mod guard;
mod guarded;
mod import;
mod plan;
mod replay;
mod restore;
mod sampler;
mod serve;
mod view;
mod watching;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::kernel::cgroup_fs::RootClaim;
use crate::kernel::clock::{Clock, RealClock};
use crate::kernel::heap;
use crate::kernel::node_facts::{self, Machine};
use crate::kernel::notify;
use crate::kernel::readiness::Readiness;
use crate::model::{BootTime, ProbeReport, ProcessIdentity};
use crate::observe::cpu_watch::CpuWatch;
use crate::observe::pods::directory::{DEBOUNCE, PodDirectory};
use engine::{Engine, SampleTime, Settings, Surroundings};
use exclusive::Exclusive;
use ground::Ground;
use guarded::Guarded;
use sampler::Sampler;
use serve::Served;
use watching::{Loading, Watching};

pub use crate::decide::replay::Verdict;
pub use import::{ImportReport, import_cpus};
pub use plan::plan;
pub use replay::{RecordedDecisions, ReplayReport, Replayed};
pub use restore::{RestoreReport, Restored, restore};
pub use serve::dry_run;

/// Passes of the reconcile loop after which free memory is given back.
const PASSES_BETWEEN_TRIMS: u64 = 60;

/// Runs the agent until it is told to stop, or for one pass if `once`; pods run on.
///
/// # Errors
/// The agent cannot start, or cannot go on.
pub fn run(config: Config, once: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async { Agent::start(config).await?.work(once).await })
}

/// Tries each probe that the configuration asks for, and lets go of it again.
#[must_use]
pub fn try_probes(config: &Config) -> Vec<ProbeReport> {
    let mount = crate::kernel::cgroup_fs::find_mount();
    let directory = mount.unwrap_or_else(|_| PathBuf::from("/sys/fs/cgroup"));
    ground::probe_reports(config, &ground::start_probes(config, &directory))
}

/// Everything that the loop works with.
struct Agent {
    config: Config,
    engine: Engine,
    directory: PodDirectory,
    manifests: Readiness,
    watching: Watching,
    exclusive: Exclusive,
    /// The guard over memory; none where the kernel refused what it needs.
    guarded: Option<Guarded>,
    /// The machine's CPUs, where some are given out.
    cpus: Option<CpuWatch>,
    settings: Settings,
    /// The root cgroup's directory.
    root: PathBuf,
    sampler: Sampler,
    _claim: RootClaim,
    served: Served,
    /// Whether something happened since the last report.
    stale: bool,
    /// Passes of the reconcile loop so far.
    passes: u64,
    ended: (
        mpsc::UnboundedSender<ProcessIdentity>,
        mpsc::UnboundedReceiver<ProcessIdentity>,
    ),
}

impl Agent {
    async fn start(config: Config) -> anyhow::Result<Self> {
        let ground = Ground::prepare(&config)?;
        let served = Served::bind(&config).await?;
        if config.agent.own_cgroup {
            ground.protect_self();
        }
        let mut engine = ground.engine(&config, served.counters())?;
        let gives_cpus = engine.gives_cpus();
        engine.recover(RealClock.now());
        let directory = PodDirectory::open(&config.static_pod_path, &ground.settings.node_name)?;
        let manifests = Readiness::new(&directory).context("the manifest directory's events")?;
        Ok(Self {
            engine,
            directory,
            manifests,
            watching: Watching::default(),
            exclusive: Exclusive::default(),
            guarded: Guarded::start(&config, &ground.directory, served.counters().pressure())
                .inspect_err(|error| error!(%error, "nobody guards memory"))
                .ok(),
            cpus: gives_cpus
                .then(|| CpuWatch::new(Machine::default()))
                .transpose()?,
            sampler: Sampler::new(ground.fs, &ground.settings.controllers),
            settings: ground.settings,
            root: ground.directory,
            _claim: ground.claim,
            served,
            stale: true,
            passes: 0,
            ended: mpsc::unbounded_channel(),
            config,
        })
    }

    async fn work(mut self, once: bool) -> anyhow::Result<()> {
        self.look_at_manifests();
        self.pass();
        if once {
            let now = RealClock.now();
            while self.engine.has_more(now) {
                self.engine.settle(now);
            }
            self.served.close(&self.config);
            return Ok(());
        }
        let stop = events::stop_signals()?;
        tokio::pin!(stop);
        tell_systemd(notify::ready("watching pods"));
        info!(pods = self.engine.pod_count(), "running");
        let mut reconcile = ticks(self.config.reconcile_period.get());
        let mut usage = ticks(self.config.usage_period.get());
        let mut loading = Loading::begin(&self.config, self.root.clone());
        let mut manifests_due: Option<BootTime> = None;
        loop {
            let wake = self.engine.next_wake();
            tokio::select! {
                signal = &mut stop => {
                    info!(signal, "stopping; pods run on");
                    break;
                }
                Some(process) = self.ended.1.recv() => self.processes_ended(process),
                ready = self.manifests.readable() => {
                    ready.context("the manifest directory's events")?;
                    if self.directory.drain()? {
                        manifests_due.get_or_insert_with(|| RealClock.now().after(DEBOUNCE));
                    }
                }
                probes = loading.done() => {
                    self.watching.take(&self.config, probes?)?;
                    self.engine.set_oom_probe(self.watching.tells_of_oom());
                    self.share_shortages();
                    heap::give_back();
                    self.sample();
                }
                news = Self::guards_news(self.guarded.as_ref()) => news.context("the guard's news")?,
                told = self.watching.told() => {
                    told.context("the probes' events")?;
                    self.take_probe_events();
                }
                () = events::at(manifests_due) => {
                    manifests_due = None;
                    self.look_at_manifests();
                }
                () = events::at(wake) => {
                    self.engine.settle(RealClock.now());
                    self.stale = true;
                }
                Some(ask) = self.served.asked() => {
                    self.publish();
                    drop(ask);
                }
                _ = reconcile.tick() => self.pass(),
                _ = usage.tick() => self.sample(),
            }
            self.hear_guard();
            self.share_conditions();
            self.look_for_strangers();
            self.watch_fresh();
            self.share_roster();
        }
        tell_systemd(notify::stopping());
        self.served.close(&self.config);
        Ok(())
    }

    /// One pass of the reconcile loop.
    fn pass(&mut self) {
        let begun = RealClock.now();
        if self.directory.next_look().is_some_and(|at| at <= begun.0) {
            self.look_at_manifests();
        }
        self.take_probe_events();
        self.look_at_cpus(begun);
        self.engine.tick(begun);
        self.look_for_strangers();
        self.watch_fresh();
        let now = RealClock.now();
        self.engine.counters().pass_done(now.since(begun));
        self.served.pass_done(now);
        self.stale = true;
        self.passes += 1;
        // What many pods took that came and went.
        if self.passes.is_multiple_of(PASSES_BETWEEN_TRIMS) {
            heap::give_back();
        }
        tell_systemd(notify::watchdog());
    }

    fn look_at_manifests(&mut self) {
        self.share_conditions();
        let now = RealClock.now();
        match self.directory.rescan(now.0) {
            Ok(_) => {
                let set = self.directory.pods();
                let errors: Vec<_> = set.errors.iter().map(ToString::to_string).collect();
                for problem in &errors {
                    warn!(%problem, "manifest");
                }
                let (pods, complete) = (set.pods.clone(), set.complete);
                self.engine.set_pods(&pods, errors, complete, now);
            }
            Err(error) => error!(%error, "the manifest directory cannot be watched; pods run on"),
        }
        self.stale = true;
    }

    fn sample(&mut self) {
        let cgroups: Vec<_> = self.engine.live_cgroups().collect();
        let at = SampleTime {
            boot: RealClock.now(),
            wall: RealClock.wall(),
        };
        let readings = self.sampler.sample(&mut self.watching.probes, &cgroups);
        self.engine.record_sample(at, readings);
        self.sample_foreign();
        self.steer();
        self.stale = true;
    }

    /// Takes in the end of a process, and of all others that ended meanwhile.
    fn processes_ended(&mut self, first: ProcessIdentity) {
        // Who was killed by the guard is not to be started again.
        self.hear_guard();
        let mut ended = vec![first];
        ended.extend(std::iter::from_fn(|| self.ended.1.try_recv().ok()));
        // What a probe heard of its end tells how, when it was another's child.
        let told: BTreeMap<_, _> = self.take_exits().into_iter().collect();
        let now = RealClock.now();
        for process in ended {
            self.engine
                .process_ended(process, told.get(&process.pid).copied(), now);
        }
        self.engine.settle(now);
        self.stale = true;
    }

    /// Watches the processes that the engine has taken hold of.
    fn watch_fresh(&mut self) {
        let sender = &self.ended.0;
        for (identity, pidfd) in self.engine.take_fresh() {
            match Readiness::new(pidfd) {
                Ok(readiness) => events::watch_process(readiness, identity, sender.clone()),
                Err(error) => {
                    error!(%error, pid = identity.pid, "the end of a process cannot be watched for");
                }
            }
        }
    }

    fn publish(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let now = RealClock.now();
        let wall = RealClock.wall();
        let surroundings = Surroundings {
            cost: node_facts::own_cost(wall),
            probes: self.watching.reports.clone(),
            booted_at: wall.saturating_sub(now.0),
        };
        let mut report = self.engine.report(surroundings, now);
        report.pressure = self.guarded.as_ref().map(|guarded| guarded.report(now));
        self.served.publish(Arc::new(report));
    }
}

/// Ticks at whole periods from now on, whatever was late: those that begin together stay together, and one wake does for
/// all that is due.
fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// systemd not hearing of us is worth a line, and no more.
fn tell_systemd(told: std::io::Result<()>) {
    if let Err(error) = told {
        warn!(%error, "systemd cannot be told");
    }
}
