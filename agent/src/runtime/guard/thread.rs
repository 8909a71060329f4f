//! The guard's thread: it sleeps until something happens to memory, and has the guard look.
//!
//! **Problem.** The main loop places pods and reads hundreds of files; a pod that takes a gibibyte a second does not wait
//! for it. **How.** A thread of its own, real-time, with its memory locked, that does nothing else. The main loop hands it
//! orders ([`GuardThread::order`]) and takes its news ([`Outbox`]); neither ever waits for the other.
//!
//! **Triggers of stall** (PSI) stand on the machine, the pods' root and the two levels below it, and not on each pod. One
//! with a window of a tenth of a second has the kernel run a real-time thread for its cgroup (`psimon`), a hundred times a
//! second while anybody there waits: of hundreds of pods that is a burden when there is no CPU to spare. And it would wake
//! nobody sooner. A pod waits for memory at its own limit, or because the machine has none. The first raises
//! `memory.events`, on which every pod is watched: at the breach, where a trigger came 30 to 115 ms later (6.1, 6.12 and 7.2,
//! no swap; with swap 60 ms). In the second all above it wait too: time that some task of a pod waits is time that some
//! task of its level does, so that the level's trigger fires no later; and the probe of shortages tells of reclaim before
//! anybody has waited for long. How long each pod waited is read with its figures at every full look, for blame.
//!
//! A pod that stands at its own limit raises an alarm every ten milliseconds for as long as it stands there. That is its own
//! affair, and is looked at every [`LOCAL_GAP`] only.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{debug, error, warn};

use super::core::Guard;
use super::machine::{HeldPod, Machine};
use super::outbox::Outbox;
use crate::decide::eviction::EvictionPolicy;
use crate::kernel::clock::{Clock, RealClock};
use crate::kernel::ebpf::Shortages;
use crate::kernel::journal::Slot;
use crate::kernel::pressure::{
    Alarm, Alarms, Armed, Breach, FiguresReader, LimitWriter, MemoryCgroup, RealKiller, Waker, Watch, thread,
};
use crate::model::pressure::{PodFacts, Snapshot};
use crate::model::{BootTime, CgroupId};
use crate::state::pressure::{PressureState, Victim};

/// How often pods at their own limits are looked at.
const LOCAL_GAP: Duration = Duration::from_millis(50);
/// How often the main loop gets to see all that the guard knows.
const VIEW_EVERY: Duration = Duration::from_secs(1);
/// Limits that can wait to be written.
const WRITES: usize = 64;
/// Descriptors of one pod with its containers, and of everything else.
const DESCRIPTORS: (u64, u64) = (24, 1024);

/// What the main loop has for the guard.
pub(crate) enum Order {
    /// These pods have a place now.
    Pods {
        /// What is known of each.
        roster: Arc<[PodFacts]>,
        /// The same, open.
        held: Vec<HeldPod>,
        /// Levels above them to be watched.
        levels: Vec<Arc<MemoryCgroup>>,
        /// Those that end anyway, and when they are gone.
        leaving: Vec<(CgroupId, BootTime)>,
    },
    /// The probe that tells of shortages.
    Shortages(Box<Shortages>),
}

/// All that the guard knew at one moment.
#[derive(Debug)]
pub(crate) struct View {
    /// The pods.
    pub(crate) roster: Arc<[PodFacts]>,
    /// Their figures.
    pub(crate) snapshot: Snapshot,
    /// What it remembers.
    pub(crate) state: PressureState,
    /// Alarms that are armed.
    pub(crate) alarms: usize,
    /// Whether memory is short.
    pub(crate) short: bool,
}

impl View {
    fn of(guard: &Guard, alarms: usize) -> Self {
        Self {
            roster: guard.roster().clone(),
            snapshot: guard.snapshot().clone(),
            state: guard.state().clone(),
            alarms,
            short: guard.is_memory_short(),
        }
    }

    /// The same as [`View::of`], in the room that is there already.
    fn update(&mut self, guard: &Guard, alarms: usize) {
        let Self {
            roster,
            snapshot,
            state,
            ..
        } = self;
        roster.clone_from(guard.roster());
        snapshot.node = guard.snapshot().node;
        snapshot.pods.clone_from(&guard.snapshot().pods);
        state.copy_from(guard.state());
        (self.alarms, self.short) = (alarms, guard.is_memory_short());
    }
}

/// What the guard is started with.
pub(crate) struct Start {
    /// The settings.
    pub(crate) policy: EvictionPolicy,
    /// The number of the last decision.
    pub(crate) decided: u64,
    /// The pods' root.
    pub(crate) root: MemoryCgroup,
    /// A directory on the file system that pods write to, which may be missing yet.
    pub(crate) nodefs: PathBuf,
    /// A directory on the file system of images, if that is another.
    pub(crate) imagefs: Option<PathBuf>,
    /// Where a kill under way is written down.
    pub(crate) slot: PathBuf,
    /// Most pods.
    pub(crate) pods: u64,
}

#[derive(Default)]
struct Shared {
    orders: Mutex<Vec<Order>>,
    view: Mutex<Option<View>>,
}

/// The main loop's end.
pub(crate) struct GuardThread {
    shared: Arc<Shared>,
    waker: Waker,
    outbox: Outbox,
    thread: JoinHandle<()>,
}

impl GuardThread {
    /// Opens what the guard needs, and starts it.
    ///
    /// # Errors
    /// The kernel's: without the machine's own figures there is no guard.
    pub(crate) fn start(start: Start) -> io::Result<Self> {
        let outbox = Outbox::new()?;
        let alarms = Alarms::new()?;
        let waker = alarms.waker();
        let reader = FiguresReader::new(
            "/proc".as_ref(),
            &start.root,
            Some(&start.nodefs),
            start.imagefs.as_deref(),
        )?;
        let writer = LimitWriter::start(Some(waker.clone()), WRITES)?;
        let slot = Slot::open(&start.slot);
        let slot = slot
            .inspect_err(|error| error!(%error, "a kill under way is forgotten if the agent dies"))
            .ok();
        let before = slot.as_ref().map(Slot::get::<(u64, Victim)>).transpose();
        let before = before.unwrap_or_else(|error| {
            warn!(%error, "whether a kill was under way cannot be told");
            None
        });
        let mut guard = Guard::new(start.policy, start.decided);
        if let Some((number, victim)) = before.flatten() {
            let cgroup = victim.cgroup.0;
            warn!(
                number,
                cgroup, "an agent before this one was killing a pod; that is seen to its end first"
            );
            guard.resume(&[victim]);
        }
        let machine = Machine::new(reader, RealKiller::new()?, writer, slot, outbox.clone());
        let shared = Arc::new(Shared::default());
        let (of_thread, root) = (shared.clone(), start.root);
        let wanted = start
            .pods
            .saturating_mul(DESCRIPTORS.0)
            .saturating_add(DESCRIPTORS.1);
        let allowed = thread::allow_descriptors(wanted);
        if allowed < wanted {
            warn!(
                allowed,
                wanted, "fewer descriptors than all pods may need; those beyond are not watched"
            );
        }
        let thread = std::thread::Builder::new()
            .name("guard".to_owned())
            .spawn(move || {
                Loop {
                    guard,
                    machine,
                    alarms,
                    shared: of_thread,
                    watched: Vec::new(),
                    shown: None,
                }
                .run(&root);
            })?;
        Ok(Self {
            shared,
            waker,
            outbox,
            thread,
        })
    }

    /// Hands an order over.
    pub(crate) fn order(&self, order: Order) {
        lock(&self.shared.orders).push(order);
        self.waker.wake();
    }

    /// The guard's news.
    #[must_use]
    pub(crate) const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// All that the guard knew a second ago or less; none before its first look. While this is held it shows nothing new.
    pub(crate) fn view(&self) -> MutexGuard<'_, Option<View>> {
        lock(&self.shared.view)
    }

    /// Whether the thread has ended, which it never should.
    #[must_use]
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Both are whole at every moment at which a thread could have panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Loop {
    guard: Guard,
    machine: Machine,
    alarms: Alarms,
    shared: Arc<Shared>,
    /// Cgroups that are watched, with those that only concern themselves at the end.
    watched: Vec<CgroupId>,
    /// When the main loop was shown everything last.
    shown: Option<BootTime>,
}

impl Loop {
    fn run(mut self, root: &MemoryCgroup) {
        for missing in thread::raise().missing() {
            warn!("{missing}");
        }
        told_of(&self.alarms.watch_machine(), "the machine");
        told_of(
            &self.alarms.watch(
                root,
                Watch {
                    populated: false,
                    ..Watch::ALL
                },
            ),
            "all pods",
        );
        let (mut breach, root) = (Breach::of(root), root.id());
        let mut sleep = Duration::ZERO;
        let mut looked = BootTime::default();
        loop {
            let (mut urgent, mut local, mut onset) = (false, false, None);
            match self.alarms.wait(Some(sleep)) {
                Ok(alarms) => {
                    // Nobody raised one: the time is over.
                    urgent |= alarms.is_empty();
                    for alarm in alarms {
                        match alarm {
                            Alarm::Memory { cgroup, .. } if *cgroup != root => local = true,
                            Alarm::Probe => {
                                let (machine, limit) = self.machine.take_shortages();
                                // At whose limit it was only the root's own counter tells.
                                let breached = breach.has_come();
                                let limit = limit.filter(|_| breached);
                                onset = [machine, limit].into_iter().flatten().min();
                                urgent |= onset.is_some();
                                local |= onset.is_none();
                            }
                            _ => urgent = true,
                        }
                    }
                }
                Err(error) => {
                    // It cannot fail for the arguments that it has; looking on time is what is left.
                    debug!(%error, "alarms");
                    std::thread::sleep(sleep.max(LOCAL_GAP));
                    urgent = true;
                }
            }
            self.take_orders();
            let now = RealClock.now();
            let rested = now.since(looked);
            if local && !urgent && rested < LOCAL_GAP {
                sleep = LOCAL_GAP - rested;
                continue;
            }
            sleep = self.guard.wake(&mut self.machine, onset);
            looked = now;
            self.machine
                .tidy(!self.guard.state().victims.under_way().is_empty());
            self.show(now);
        }
    }

    fn take_orders(&mut self) {
        let orders = std::mem::take(&mut *lock(&self.shared.orders));
        for order in orders {
            match order {
                Order::Pods {
                    roster,
                    held,
                    levels,
                    leaving,
                } => {
                    self.watch(&held, &levels);
                    self.guard.set_roster(roster);
                    self.machine.set_pods(held);
                    let now = RealClock.now();
                    for (cgroup, until) in leaving {
                        self.guard.leaving(cgroup, until, now);
                    }
                }
                Order::Shortages(shortages) => {
                    if let Err(error) = self.alarms.watch_probe(std::os::fd::AsFd::as_fd(&*shortages)) {
                        warn!(%error, "the probe of shortages does not wake the guard");
                    }
                    self.machine.set_shortages(*shortages);
                }
            }
        }
    }

    /// Watches what is there now, and nothing else.
    fn watch(&mut self, pods: &[HeldPod], levels: &[Arc<MemoryCgroup>]) {
        let there = |id: &CgroupId| {
            pods.iter().any(|pod| pod.cgroup.id() == *id) || levels.iter().any(|level| level.id() == *id)
        };
        for gone in self.watched.extract_if(.., |id| !there(id)) {
            self.alarms.forget(gone);
        }
        for level in levels {
            if !self.watched.contains(&level.id()) {
                // One for each level, and none for each pod: see above.
                told_of(
                    &self.alarms.watch(
                        level,
                        Watch {
                            stalls: true,
                            ..Watch::default()
                        },
                    ),
                    "a QoS class",
                );
                self.watched.push(level.id());
            }
        }
        for pod in pods {
            if !self.watched.contains(&pod.cgroup.id()) {
                let watch = Watch {
                    events: true,
                    populated: true,
                    ..Watch::default()
                };
                told_of(&self.alarms.watch(&pod.cgroup, watch), "a pod");
                self.watched.push(pod.cgroup.id());
            }
        }
    }

    /// Lets the main loop see what the guard knows, now and then.
    fn show(&mut self, now: BootTime) {
        if self.shown.is_some_and(|at| now.since(at) < VIEW_EVERY) {
            return;
        }
        // The main loop is looking at it: there is another time. This thread waits for nobody.
        let mut view = match self.shared.view.try_lock() {
            Ok(view) => view,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        self.shown = Some(now);
        match &mut *view {
            Some(view) => view.update(&self.guard, self.alarms.len()),
            none => *none = Some(View::of(&self.guard, self.alarms.len())),
        }
    }
}

fn told_of(armed: &Armed, whom: &str) {
    for refused in &armed.refused {
        debug!(%refused, "{whom}: looked at on time instead");
    }
}
