//! The main loop's side of the guard over memory: pods go out, news comes in.
//!
//! **Order.** The guard tells of a kill before it kills; the main loop takes the news before it looks at processes that
//! ended, or it would start again what was just killed ([`Agent::hear_guard`]).
//!
//! [`records`] keeps a record of every decision until it is known what came of it; [`words`] puts it into a sentence;
//! [`report`] is what `plimsoll rank` and the metrics show; [`steerer`] leads the kernel's own choice.

mod records;
mod report;
mod steerer;
mod words;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::Agent;
use super::decisions::Decisions;
use super::engine::RosterPod;
use super::guard::machine::HeldPod;
use super::guard::outbox::News;
use super::guard::thread::{GuardThread, Order, Start, View};
use crate::config::Config;
use crate::decide::badness::machine_total;
use crate::decide::eviction::{EvictionPolicy, OomPriority};
use crate::decide::oom_priority::Mode;
use crate::decide::pressure::outlook;
use crate::kernel::cgroup_fs::{CgroupFs, CgroupsRsFs};
use crate::kernel::clock::{Clock, RealClock};
use crate::kernel::pressure::{Container, MemoryCgroup, ScoreKeeper, WriteDone, WriteOutcome};
use crate::kernel::readiness::Readiness;
use crate::metrics::PressureCounters;
use crate::model::pressure::{Act, Conditions, Decision, Owner};
use crate::model::{BootTime, CgroupId, CgroupPath, ContainerName, ControlFile, Layout, MilliCpu, QosClass};
use records::Records;
use steerer::{Seen, Steerer};

/// The file in the state directory that tells of a kill under way.
const UNDER_WAY: &str = "kill-under-way";

/// The directory in it that tells what steered processes had before.
const STEERING: &str = "steering";

/// Memory that is gone within this runs short: whoever dies first is chosen before.
const RUNS_OUT: Duration = Duration::from_secs(30);

/// The guard, as the main loop knows it.
pub(super) struct Guarded {
    thread: GuardThread,
    news: Readiness,
    fs: CgroupsRsFs,
    policy: EvictionPolicy,
    records: Records,
    /// Pods that the guard was told of last, and those before that it may still speak of.
    pods: BTreeMap<CgroupId, RosterPod>,
    held: BTreeMap<CgroupId, Arc<MemoryCgroup>>,
    /// The containers of each pod of the roster that was told last, once somebody wanted to look at them.
    containers: BTreeMap<CgroupId, Vec<(ContainerName, Arc<MemoryCgroup>)>>,
    steerer: Option<Steerer>,
}

impl Guarded {
    /// Starts the guard over the pods below `root`.
    ///
    /// # Errors
    /// The kernel's. Pods are placed without a guard too.
    pub(super) fn start(config: &Config, root: &Path, counters: &PressureCounters) -> io::Result<Self> {
        let fs = CgroupsRsFs::open(root).map_err(io::Error::other)?;
        let policy = EvictionPolicy::from_config(config);
        let mut decisions = Decisions::open(config);
        let decided = decisions.number().saturating_sub(1);
        let state = config.state_dir.to_path_buf();
        let thread = GuardThread::start(Start {
            policy: policy.clone(),
            decided,
            root: MemoryCgroup::new(fs.open_dir(&CgroupPath::default()).map_err(io::Error::other)?)?,
            slot: state.join(UNDER_WAY),
            nodefs: config.log_dir.to_path_buf(),
            imagefs: config.image_fs_path.as_deref().map(Path::to_path_buf),
            pods: config.max_pods.get().into(),
        })?;
        let news = Readiness::new(thread.outbox())?;
        let mode = match policy.oom_priority {
            OomPriority::Off => None,
            OomPriority::Bands => Some(Mode::Bands),
            OomPriority::Ranked => Some(Mode::Ranked),
        };
        let root = MemoryCgroup::new(fs.open_dir(&CgroupPath::default()).map_err(io::Error::other)?)?;
        let keeper = ScoreKeeper::open(&config.state_dir.join(STEERING), root).map_err(io::Error::other);
        let steerer = keeper
            .and_then(|keeper| Steerer::start(mode.filter(|_| !policy.dry_run), keeper, counters.clone()));
        let steerer = steerer
            .inspect_err(|error| error!(%error, "the kernel's OOM killer is not led"))
            .ok();
        let rungs = if policy.dry_run {
            "nothing is done, only told"
        } else {
            "acts"
        };
        info!(profile = ?policy.profile, rungs, "memory is guarded");
        Ok(Self {
            thread,
            news,
            fs,
            policy,
            records: Records::new(decisions),
            pods: BTreeMap::new(),
            held: BTreeMap::new(),
            containers: BTreeMap::new(),
            steerer,
        })
    }

    /// Tells the guard which pods there are.
    fn tell(&mut self, roster: Vec<RosterPod>, layout: &Layout) {
        let mut held = Vec::with_capacity(roster.len());
        let mut facts = Vec::with_capacity(roster.len());
        let mut leaving = Vec::new();
        let mut known = std::mem::take(&mut self.held);
        let mut level = |class| {
            let path = layout.qos(class);
            let held = self.fs.id(&path).ok().and_then(|id| known.remove(&id));
            held.or_else(|| self.open(&path))
        };
        let (burstable, best_effort) = (level(QosClass::Burstable), level(QosClass::BestEffort));
        // What was told before may still be in the news.
        let spoken_of = std::mem::take(&mut self.pods);
        // A container's cgroup may have been made anew.
        self.containers.clear();
        for pod in roster {
            let id = pod.facts.cgroup;
            // One that went meanwhile is not in the next roster either.
            let Some(cgroup) = known.remove(&id).or_else(|| self.open(&pod.path)) else {
                continue;
            };
            held.push(HeldPod {
                cgroup: cgroup.clone(),
                high: pod.facts.high,
                above: best_effort
                    .clone()
                    .filter(|_| pod.facts.class == QosClass::BestEffort),
            });
            facts.push(pod.facts.clone());
            leaving.extend(pod.ends_at.map(|at| (id, at)));
            self.held.insert(id, cgroup);
            self.pods.insert(id, pod);
        }
        for (id, pod) in spoken_of {
            if self.records.is_about(id) {
                self.pods.entry(id).or_insert(pod);
            }
        }
        let levels: Vec<_> = burstable.into_iter().chain(best_effort).collect();
        self.held
            .extend(levels.iter().map(|level| (level.id(), level.clone())));
        self.thread.order(Order::Pods {
            roster: facts.into(),
            held,
            levels,
            leaving,
        });
    }

    /// What the node is short of, as the guard last saw it; in a dry run nothing comes of that.
    fn conditions(&self, view: Option<&View>, now: BootTime) -> Conditions {
        let seen = view.iter().filter(|_| !self.policy.dry_run);
        let signals = seen.flat_map(|view| view.state.standings.conditions(self.policy.transition, now));
        signals.collect()
    }

    /// Has the kernel's choice looked at, and led while memory runs short.
    fn steer(&mut self, now: BootTime) {
        let view = self.thread.view();
        let (Some(steerer), Some(view)) = (&mut self.steerer, &*view) else {
            return;
        };
        let node = &view.snapshot.node;
        let soon = view
            .state
            .node_exhausted_in(node)
            .is_some_and(|left| left < RUNS_OUT);
        let short = soon || view.short;
        if !steerer.is_due(short, now) {
            return;
        }
        let (mut containers, mut names) = (Vec::new(), Vec::new());
        for (place, facts) in view.roster.iter().enumerate() {
            let (pods, fs) = (&self.pods, &self.fs);
            let held = self.containers.entry(facts.cgroup).or_insert_with(|| {
                let known = pods.get(&facts.cgroup);
                let containers = known.iter().flat_map(|pod| &pod.containers);
                let held = containers
                    .filter_map(|container| Some((container.name.clone(), open(fs, &container.path)?)));
                held.collect()
            });
            for (at, (name, cgroup)) in held.iter().enumerate() {
                let owner = Owner {
                    pod: place,
                    container: at,
                };
                containers.push(Container {
                    owner,
                    cgroup: cgroup.clone(),
                });
                names.push(name.clone());
            }
        }
        let seen = Seen {
            roster: view.roster.clone(),
            order: outlook(&view.roster, &view.snapshot, &self.policy, &view.state, now).order,
            containers,
            names,
            total: machine_total(node),
            short,
            now,
        };
        steerer.look(seen);
    }

    fn open(&self, path: &CgroupPath) -> Option<Arc<MemoryCgroup>> {
        open(&self.fs, path)
    }

    fn path_of(&self, cgroup: Option<CgroupId>) -> Option<CgroupPath> {
        Some(self.pods.get(&cgroup?)?.path.clone())
    }
}

impl Agent {
    /// Resolves when the guard has news, or never.
    pub(super) async fn guards_news(guarded: Option<&Guarded>) -> io::Result<()> {
        match guarded {
            Some(guarded) => guarded.news.readable().await,
            None => std::future::pending().await,
        }
    }

    /// Tells the guard which pods have a place, if that may have changed.
    pub(super) fn share_roster(&mut self) {
        let Some(guarded) = &mut self.guarded else { return };
        let Some(roster) = self.engine.take_roster() else {
            return;
        };
        guarded.tell(roster, &self.settings.policy.layout);
    }

    /// Tells the engine what the node is short of.
    pub(super) fn share_conditions(&mut self) {
        if let Some(guarded) = &self.guarded {
            let now = RealClock.now();
            let conditions = guarded.conditions(guarded.thread.view().as_ref(), now);
            self.engine.set_conditions(conditions, now);
        }
    }

    /// Leads the kernel's OOM killer, if it is time.
    pub(super) fn steer(&mut self) {
        if let Some(guarded) = &mut self.guarded {
            guarded.steer(RealClock.now());
        }
    }

    /// Gives the guard the probe that tells of shortages.
    pub(super) fn share_shortages(&mut self) {
        let shortages = self.watching.probes.take_shortages();
        if let (Some(guarded), Some(shortages)) = (&self.guarded, shortages) {
            guarded.thread.order(Order::Shortages(Box::new(shortages)));
        }
    }

    /// Takes the guard's news in, and does what is the main loop's part of it.
    pub(super) fn hear_guard(&mut self) {
        let Some(guarded) = &self.guarded else { return };
        let outbox = guarded.thread.outbox().clone();
        outbox.awake();
        while let Some(news) = outbox.take() {
            self.hear(news);
            self.stale = true;
        }
        let lost = outbox.take_lost();
        if lost > 0 {
            error!(lost, "news of the guard was lost: the main loop was too slow");
        }
        let Some(guarded) = &mut self.guarded else { return };
        for (number, inputs) in guarded.thread.outbox().take_inputs() {
            guarded.records.rested_on(number, inputs);
        }
        if guarded.thread.has_ended() {
            error!("the guard over memory has ended; pods run on without it");
            self.guarded = None;
        }
    }

    fn hear(&mut self, news: News) {
        let Some(guarded) = &mut self.guarded else { return };
        let counters = self.engine.counters().pressure();
        match news {
            News::Decided {
                decision, pod, dry, ..
            } => {
                let facts = pod
                    .and_then(|id| guarded.pods.get(&id))
                    .map(|pod| pod.facts.clone());
                let why = guarded
                    .records
                    .decided(&news, facts.as_ref(), RealClock.wall(), counters);
                if dry {
                    return;
                }
                let path = guarded.path_of(pod);
                if let (Decision::Act { act, .. }, Some(why)) = (decision, why) {
                    let now = RealClock.now();
                    if let (Act::Kill { .. } | Act::Evict { .. }, Some(facts)) = (act, &facts) {
                        let grace = match act {
                            Act::Evict { grace, .. } => grace,
                            _ => Duration::ZERO,
                        };
                        self.engine.evict(&facts.uid, facts.cgroup, grace, why, now);
                    } else {
                        self.do_with_engine(act, path, now);
                    }
                }
            }
            News::Done { number, at } => guarded.records.done(number, at, counters),
            News::Stale { decision, why, .. } => {
                info!(?decision, "left, since {why}");
                guarded.records.stale(counters);
            }
            News::Refused { number, why } => {
                error!(number, "the guard's act was refused: {why}");
                guarded.records.refused(number, why.to_string(), counters);
            }
            News::Settled { number, settled } => guarded.records.settled(number, &settled, counters),
            News::Written(done) => tell_written(&done),
            News::Blind(errno) => error!(errno, "the machine's memory cannot be read"),
        }
    }

    /// What of an act is the engine's part.
    fn do_with_engine(&mut self, act: Act, path: Option<CgroupPath>, now: BootTime) {
        match (act, path) {
            (Act::Throttle { .. }, Some(path)) => {
                self.engine
                    .leave_to_guard(path, ControlFile::MemoryHigh, true, now);
            }
            (Act::Unthrottle { .. }, Some(path)) => {
                self.engine
                    .leave_to_guard(path, ControlFile::MemoryHigh, false, now);
            }
            (Act::SuppressCpu { milli }, _) => self.engine.hold_best_effort(Some(MilliCpu(milli)), now),
            (Act::ReleaseCpu, _) => self.engine.hold_best_effort(None, now),
            _ => {}
        }
    }
}

fn open(fs: &CgroupsRsFs, path: &CgroupPath) -> Option<Arc<MemoryCgroup>> {
    let directory = match fs.open_dir(path) {
        Ok(directory) => directory,
        Err(error) if error.is_gone() => return None,
        Err(error) => {
            warn!(%error, "a cgroup is not guarded");
            return None;
        }
    };
    let held = MemoryCgroup::new(directory);
    held.map_err(|error| warn!(%error, cgroup = %path, "a cgroup is not guarded"))
        .ok()
        .map(Arc::new)
}

fn tell_written(done: &WriteDone) {
    let took = done.ended.since(done.began);
    match done.outcome {
        WriteOutcome::Refused(errno) => {
            warn!(cgroup = done.cgroup.0, file = ?done.file, errno, "a limit was refused");
        }
        outcome => info!(cgroup = done.cgroup.0, file = ?done.file, ?outcome, ?took, "a limit was written"),
    }
}
