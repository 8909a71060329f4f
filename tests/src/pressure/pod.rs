//! A pod that only exists as a program of memory.

use std::time::Duration;

use plimsoll::model::pressure::{Charge, PodFacts, PodFigures, Shield};
use plimsoll::model::{BootTime, Bytes, CgroupId, Limit, Namespace, OomScoreAdj, PodName, PodUid, QosClass};

/// Mebibytes, in parts.
pub type Mib = f64;

/// What a pod does with memory. Rates are a second.
#[derive(Debug, Clone, Default)]
pub struct Work {
    /// Anonymous memory at the start, its growth, and where that ends.
    pub anon: Mib,
    /// Growth of it.
    pub rate: Mib,
    /// The most of it; none without an end.
    pub until: Option<Mib>,
    /// It goes up and down by so much, in so many seconds.
    pub swing: Option<(Mib, f64)>,
    /// Growth of what it has in a tmpfs, and that at the start.
    pub shmem: Mib,
    /// Growth of it.
    pub shmem_rate: Mib,
    /// Growth of kernel memory that cannot be reclaimed: page tables, sockets, slab.
    pub kernel_rate: Mib,
    /// Growth of slab that can be.
    pub slab_rate: Mib,
    /// The most of that.
    pub slab_until: Mib,
    /// The files that it reads again and again.
    pub files: Mib,
    /// What it has in swap, idle.
    pub swapped: Mib,
    /// Processes at the start.
    pub processes: f64,
    /// Growth of their number.
    pub forks: f64,
    /// CPU time that it uses, in thousandths.
    pub cpu: u64,
    /// It begins so late, in seconds, beyond the start of all.
    pub after: f64,
}

/// What becomes of it when it is to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Death {
    /// SIGTERM ends it after a moment.
    #[default]
    Obeys,
    /// SIGTERM does nothing: it ignores it, or is stopped or frozen. SIGKILL ends it.
    Deaf,
    /// A process waits in the kernel: nothing ends it.
    Uninterruptible,
    /// It is dead already, and not waited for.
    Zombie,
}

/// A pod as a scenario has it.
#[derive(Debug, Clone)]
pub struct PodSpec {
    /// Name.
    pub name: String,
    /// QoS class.
    pub class: QosClass,
    /// Memory request.
    pub request: Mib,
    /// Its own `memory.max`.
    pub max: Option<Mib>,
    /// Its own `memory.high`.
    pub high: Option<Mib>,
    /// Priority.
    pub priority: i32,
    /// Why it may not be taken.
    pub shield: Option<Shield>,
    /// What it does.
    pub work: Work,
    /// How it ends.
    pub death: Death,
    /// Whether its tmpfs goes when it has ended.
    pub volumes_go: bool,
    /// The part of a CPU that it may use.
    pub quota: f64,
}

impl PodSpec {
    /// A pod of that class and request.
    #[must_use]
    pub fn new(name: &str, class: QosClass, request: Mib, work: Work) -> Self {
        Self {
            name: name.to_owned(),
            class,
            request,
            max: None,
            high: None,
            priority: 0,
            shield: None,
            work,
            death: Death::Obeys,
            volumes_go: true,
            quota: 1.0,
        }
    }

    /// Changes something of it.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// Where a pod stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Phase {
    /// It works.
    Runs,
    /// SIGTERM came; it ends at that time, if it does.
    Asked(Option<f64>),
    /// SIGKILL came; its memory goes at so many MiB a second from then on.
    Dies {
        /// From when on.
        from: f64,
        /// How fast.
        rate: Mib,
    },
    /// No process is left; its volumes go then.
    Ended(f64),
    /// Nothing is left.
    Gone,
}

/// A pod on the simulated machine.
#[derive(Debug, Clone)]
pub struct SimPod {
    /// What it is.
    pub spec: PodSpec,
    /// What is known of it.
    pub facts: PodFacts,
    /// Where it stands.
    pub phase: Phase,
    /// Anonymous memory.
    pub anon: Mib,
    /// In swap.
    pub swap: Mib,
    /// In a tmpfs.
    pub shmem: Mib,
    /// Kernel memory.
    pub kernel: Mib,
    /// Slab that can be reclaimed.
    pub slab: Mib,
    /// Page cache.
    pub cache: Mib,
    /// Processes.
    pub processes: f64,
    /// The agent's `memory.high`.
    pub throttle: Option<Mib>,
    /// Stall.
    pub stalled: f64,
    /// Times at `memory.high`.
    pub high_events: u64,
    /// Times at `memory.max`.
    pub max_events: u64,
    /// Kills of the kernel within its own limit.
    pub own_kills: u64,
}

pub(super) fn bytes(mib: Mib) -> Bytes {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "held at zero"
    )]
    Bytes((mib.max(0.0) * 1_048_576.0) as u64)
}

pub(super) fn moment(seconds: f64) -> BootTime {
    BootTime(Duration::from_secs_f64(seconds))
}

impl SimPod {
    /// A pod whose work begins at `start`, on a machine of `capacity`.
    ///
    /// # Panics
    /// The name is none.
    #[must_use]
    pub fn new(spec: PodSpec, cgroup: u64, capacity: Mib, start: f64) -> Self {
        let limit = |mib: Option<Mib>| mib.map_or(Limit::Max, |mib| Limit::At(bytes(mib)));
        let adj = match spec.class {
            QosClass::Guaranteed => -997.0,
            QosClass::BestEffort => 1000.0,
            QosClass::Burstable => (1000.0 - 1000.0 * spec.request / capacity).clamp(2.0, 999.0),
        };
        #[expect(clippy::cast_possible_truncation, reason = "from -1000 to 1000")]
        let facts = PodFacts {
            uid: PodUid::parse(&format!("uid-{}-{cgroup}", spec.name)).unwrap(),
            namespace: Namespace::parse("default").unwrap(),
            name: PodName::parse(&spec.name).unwrap(),
            cgroup: CgroupId(cgroup),
            class: spec.class,
            priority: spec.priority,
            request: bytes(spec.request),
            storage_request: Bytes(0),
            high: limit(spec.high),
            max: limit(spec.max),
            oom_score_adj: OomScoreAdj(adj as i16),
            grace: Duration::from_secs(30),
            shield: spec.shield,
            started_at: moment(start),
        };
        let work = &spec.work;
        Self {
            facts,
            phase: if spec.death == Death::Zombie {
                Phase::Ended(f64::MAX)
            } else {
                Phase::Runs
            },
            anon: work.anon,
            swap: work.swapped,
            shmem: work.shmem,
            kernel: 1.0,
            slab: 0.0,
            cache: 0.0,
            processes: if spec.death == Death::Zombie {
                0.0
            } else {
                work.processes.max(1.0)
            },
            throttle: None,
            stalled: 0.0,
            high_events: 0,
            max_events: 0,
            own_kills: 0,
            spec,
        }
    }

    /// What counts as its `memory.current`.
    #[must_use]
    pub fn current(&self) -> Mib {
        self.anon + self.shmem + self.kernel + self.slab + self.cache
    }

    /// What of that the kernel cannot take back.
    #[must_use]
    pub fn unreclaimable(&self) -> Mib {
        self.anon + self.shmem + self.kernel
    }

    /// Drops cache and slab, and says how much.
    pub fn drop_cache(&mut self, mib: Mib) -> Mib {
        let cache = self.cache.min(mib);
        let slab = self.slab.min(mib - cache);
        self.cache -= cache;
        self.slab -= slab;
        cache + slab
    }

    /// What the agent reads of it; without its kinds when it is not among the largest.
    #[must_use]
    pub fn figures(&self, kinds: bool) -> PodFigures {
        if self.phase == Phase::Gone {
            return PodFigures::default();
        }
        let charge = Charge {
            anon: bytes(self.anon),
            swap: bytes(self.swap),
            shmem: bytes(self.shmem),
            slab_unreclaimable: bytes(self.kernel),
            ..Charge::default()
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "above zero and small"
        )]
        PodFigures {
            current: bytes(self.current()),
            charge: kinds.then_some(charge),
            reclaimable: if kinds {
                bytes(self.cache + self.slab)
            } else {
                Bytes(0)
            },
            working_set: bytes(self.current() - self.cache / 2.0),
            largest_process: bytes(self.anon / self.processes.max(1.0)),
            tasks: self.processes as u64,
            stalled: Duration::from_secs_f64(self.stalled),
            high_events: self.high_events,
            max_events: self.max_events,
            populated: self.processes > 0.0,
            cpu_milli: self.spec.work.cpu,
            ..PodFigures::default()
        }
    }
}
