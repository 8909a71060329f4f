//! The memory of a machine: who allocates, what is reclaimed, who stalls, and whom the kernel kills in the end.
//!
//! A model of what was measured, in steps of at most ten milliseconds: page cache goes first and costs its readers
//! nothing but reads; what is anonymous goes to swap at a disk's pace, and everybody waits for that; without swap nothing
//! is scanned and nobody stalls until the kernel kills, whom the model of its badness says.

use plimsoll::decide::badness::kernel_choice;
use plimsoll::model::pressure::{Owner, ProcessFigures};
use plimsoll::model::{Bytes, ProcessIdentity};

use super::chance::Chance;
use super::pod::{Death, Mib, Phase, PodSpec, SimPod, bytes};

/// Below this much free memory background reclaim is woken, and below that allocations reclaim themselves.
const LOW: Mib = 24.0;
const MIN: Mib = 8.0;
/// What a disk takes and gives a second.
const DISK: Mib = 250.0;
/// The part of its growth that a pod over `memory.high` keeps.
const HELD: f64 = 0.03;
/// From SIGKILL to the first page, and pages a second from then on: 40 to 70 ms a GiB.
const SIGNAL: f64 = 0.004;
const FREEING: Mib = 18_000.0;

/// A machine as a scenario has it.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// Memory.
    pub capacity: Mib,
    /// What is used outside the pods, and how fast that grows.
    pub outside: Mib,
    /// Growth of it.
    pub outside_rate: Mib,
    /// Swap.
    pub swap: Mib,
    /// `memory.high` of the pods' root.
    pub root_high: Option<Mib>,
    /// `memory.max` of it.
    pub root_max: Option<Mib>,
    /// Cache that is charged to cgroups that are gone.
    pub debris: Mib,
    /// Process ids.
    pub tasks_max: u64,
    /// Whether the kernel tells anything but figures: events, stall, reclaim.
    pub tells: bool,
}

impl Default for NodeSpec {
    fn default() -> Self {
        Self {
            capacity: 960.0,
            outside: 140.0,
            outside_rate: 0.0,
            swap: 0.0,
            root_high: None,
            root_max: None,
            debris: 0.0,
            tasks_max: 32_768,
            tells: true,
        }
    }
}

/// A kill by the kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelKill {
    /// When.
    pub at: f64,
    /// Whose process.
    pub pod: String,
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// What it is.
    pub spec: NodeSpec,
    /// Seconds since its boot.
    pub now: f64,
    /// Its pods, those that are gone too.
    pub pods: Vec<SimPod>,
    /// Memory used outside them.
    pub outside: Mib,
    /// Stall: some and every task of the machine, some and every one below the pods' root.
    pub stall: [f64; 4],
    /// Wakes of background reclaim.
    pub kswapd: u64,
    /// Allocations that reclaimed.
    pub direct: u64,
    /// Something happened of which the kernel tells.
    pub alarm: bool,
    /// Kills by the kernel for want of memory.
    pub kernel_kills: Vec<KernelKill>,
    /// CPU that BestEffort pods are left, as a part; all of it while one of them dies.
    pub suppressed: f64,
    start: f64,
    low: bool,
    high: bool,
    speed: f64,
}

impl Machine {
    /// A machine on which all work begins at `start`.
    #[must_use]
    pub fn new(spec: NodeSpec, pods: Vec<PodSpec>, start: f64, chance: &mut Chance) -> Self {
        let capacity = spec.capacity;
        let numbered = pods.into_iter().zip(100_u64..);
        let pods = numbered
            .map(|(pod, cgroup)| SimPod::new(pod, cgroup, capacity, start))
            .collect();
        Self {
            now: 1000.0,
            outside: spec.outside,
            pods,
            stall: [0.0; 4],
            kswapd: 0,
            direct: 0,
            alarm: false,
            kernel_kills: Vec::new(),
            suppressed: 1.0,
            start,
            low: false,
            high: false,
            speed: chance.between(0.6, 1.2),
            spec,
        }
    }

    /// Memory that nobody uses.
    #[must_use]
    pub fn free(&self) -> Mib {
        let pods: Mib = self.pods.iter().map(SimPod::current).sum();
        self.spec.capacity - self.outside - self.spec.debris - pods
    }

    /// `MemAvailable`.
    #[must_use]
    pub fn available(&self) -> Mib {
        let cache: Mib = self.pods.iter().map(|pod| pod.cache + pod.slab).sum();
        (self.free() + cache + self.spec.debris - MIN).max(0.0)
    }

    /// Swap in use.
    #[must_use]
    pub fn swapped(&self) -> Mib {
        self.pods.iter().map(|pod| pod.swap).sum()
    }

    /// `memory.current` of the pods' root.
    #[must_use]
    pub fn root_current(&self) -> Mib {
        self.pods.iter().map(SimPod::current).sum::<Mib>() + self.spec.debris
    }

    /// Lets time pass.
    pub fn advance(&mut self, seconds: f64) {
        let end = self.now + seconds;
        while self.now < end {
            let step = (end - self.now).min(0.01);
            self.step(step);
            self.now = if end - self.now - step < 1e-9 {
                end
            } else {
                self.now + step
            };
        }
    }

    fn step(&mut self, step: f64) {
        let mut waits = [false; 4];
        self.outside += self.spec.outside_rate * step * f64::from(u8::from(self.now >= self.start));
        let root = self.hold_root(&mut waits);
        for place in 0..self.pods.len() {
            let held = self.work(place, step, root);
            waits[0] |= held;
            waits[2] |= held;
        }
        self.reclaim(step, &mut waits);
        self.read_files(step, &mut waits);
        for (stall, waits) in self.stall.iter_mut().zip(waits) {
            *stall += if waits { step } else { 0.0 };
        }
        self.end_pods(step);
        self.out_of_memory();
    }

    /// The part of their CPU that BestEffort pods have. The agent lifts the limit of their level for one that it ends, and
    /// sets it again once that is gone.
    fn left_to_best_effort(&self) -> f64 {
        let dies = |pod: &SimPod| {
            let best_effort = pod.facts.class == plimsoll::model::QosClass::BestEffort;
            best_effort && !matches!(pod.phase, Phase::Runs | Phase::Gone)
        };
        if self.pods.iter().any(dies) {
            1.0
        } else {
            self.suppressed
        }
    }

    /// Whether all growth below the pods' root is held by its `memory.high`.
    fn hold_root(&mut self, waits: &mut [bool; 4]) -> bool {
        let Some(high) = self.spec.root_high else {
            return false;
        };
        let over = self.root_current() - high;
        if over < 0.0 {
            self.high = false;
            return false;
        }
        self.alarm |= !self.high;
        self.high = true;
        // The debris of dead cgroups, then the caches of live ones.
        let debris = self.spec.debris.min(over);
        self.spec.debris -= debris;
        let mut left = over - debris;
        for pod in &mut self.pods {
            left -= pod.drop_cache(left.min(20.0));
        }
        let held = left > 0.5;
        waits[0] |= held;
        waits[2] |= held;
        waits[3] |= held;
        held
    }

    /// A pod's program; whether it stalls at its own limits.
    fn work(&mut self, place: usize, step: f64, root_holds: bool) -> bool {
        let suppressed = self.left_to_best_effort();
        let (now, start) = (self.now, self.start);
        let pod = &mut self.pods[place];
        let work = pod.spec.work.clone();
        if !matches!(pod.phase, Phase::Runs | Phase::Asked(_)) || now < start + work.after {
            return false;
        }
        let mut pace = if root_holds { HELD } else { 1.0 };
        if pod.facts.class == plimsoll::model::QosClass::BestEffort && work.cpu > 0 {
            pace *= suppressed;
        }
        let high = [pod.spec.high, pod.throttle]
            .into_iter()
            .flatten()
            .reduce(f64::min);
        let mut held = false;
        if let Some(high) = high
            && pod.current() >= high
        {
            pod.drop_cache(pod.current() - high);
            pod.high_events += 1;
            if pod.unreclaimable() >= high {
                pace *= HELD;
                held = true;
            }
        }
        let grow = |now: Mib, rate: Mib, most: Mib| now.max((now + rate * step * pace).min(most));
        pod.anon = grow(pod.anon, work.rate, work.until.unwrap_or(f64::MAX));
        pod.shmem = grow(pod.shmem, work.shmem_rate, f64::MAX);
        pod.kernel = grow(pod.kernel, work.kernel_rate, f64::MAX);
        pod.slab = grow(pod.slab, work.slab_rate, work.slab_until);
        pod.processes = grow(pod.processes, work.forks, 30_000.0);
        pod.anon += work.forks * 0.1 * step * pace;
        if let Some((by, period)) = work.swing {
            let phase = |at: f64| by * (2.0 * std::f64::consts::PI * at / period).sin();
            pod.anon = (pod.anon + phase(now + step - start) - phase(now - start)).max(1.0);
        }
        if let Some(max) = pod.spec.max
            && pod.current() > max
        {
            pod.max_events += 1;
            held = true;
            let over = pod.current() - max;
            pod.drop_cache(over);
            if pod.unreclaimable() > max {
                // Its own limit's kill: the largest process, which begins again small.
                pod.own_kills += 1;
                pod.anon -= pod.anon / pod.processes.max(1.0);
            }
        }
        if held {
            pod.stalled += step;
        }
        held
    }

    /// Free memory is low: cache goes, then swap fills.
    fn reclaim(&mut self, step: f64, waits: &mut [bool; 4]) {
        let free = self.free();
        if free >= LOW {
            self.low = false;
            return;
        }
        self.alarm |= !self.low;
        self.kswapd += u64::from(!self.low);
        self.low = true;
        let mut want = LOW - free;
        let debris = self.spec.debris.min(want);
        self.spec.debris -= debris;
        want -= debris;
        let caches: Mib = self.pods.iter().map(|pod| pod.cache + pod.slab).sum();
        if caches > 0.0 {
            let part = (want / caches).min(1.0);
            for pod in &mut self.pods {
                want -= pod.drop_cache((pod.cache + pod.slab) * part);
            }
        }
        if want <= 0.0 {
            return;
        }
        if LOW - want < MIN {
            self.direct += 1;
            waits[0] = true;
            waits[2] = true;
        }
        let room = (self.spec.swap - self.swapped()).min(DISK * step).min(want);
        let anon: Mib = self.pods.iter().map(|pod| pod.anon).sum();
        if room > 0.0 && anon > 0.0 {
            for pod in &mut self.pods {
                let out = pod.anon * room / anon;
                pod.anon -= out;
                pod.swap += out;
            }
            waits.fill(true);
        }
    }

    /// Pods read files as far as there is memory for them; what was dropped is read again.
    fn read_files(&mut self, step: f64, waits: &mut [bool; 4]) {
        let mut room = (self.free() - MIN).max(0.0);
        let now = self.now;
        for pod in &mut self.pods {
            let files = pod.spec.work.files;
            if pod.phase != Phase::Runs || files == 0.0 || now < self.start + pod.spec.work.after {
                continue;
            }
            let own = pod.spec.max.map_or(f64::MAX, |max| max - pod.current());
            let want = files - pod.cache;
            let gets = want.min(DISK * step).min(room).min(own.max(0.0));
            pod.cache += gets.max(0.0);
            room -= gets.max(0.0);
            let short = gets < DISK * step * 0.5 || self.low;
            if want > DISK * step && short {
                // It reads what was just thrown out for what it read before.
                pod.stalled += step;
                waits[0] = true;
                waits[2] = true;
                if own > want {
                    self.direct += 1;
                    self.kswapd += 1;
                    waits[1] = true;
                    waits[3] = true;
                } else {
                    pod.max_events += 1;
                    waits[1] = true;
                }
            }
        }
    }

    fn end_pods(&mut self, step: f64) {
        let now = self.now;
        for pod in &mut self.pods {
            match pod.phase {
                Phase::Asked(Some(at)) if now >= at => {
                    pod.phase = Phase::Dies {
                        from: now,
                        rate: FREEING * self.speed,
                    };
                }
                Phase::Dies { from, rate } if now + step > from => {
                    let mut left = rate * step;
                    for kind in [&mut pod.anon, &mut pod.swap, &mut pod.kernel] {
                        let freed = kind.min(left);
                        *kind -= freed;
                        left -= freed;
                    }
                    if pod.anon + pod.swap + pod.kernel <= 0.0 {
                        pod.processes = 0.0;
                        pod.cache = 0.0;
                        pod.slab = 0.0;
                        let volumes = if pod.spec.volumes_go { now + 0.2 } else { f64::MAX };
                        pod.phase = Phase::Ended(volumes);
                    }
                }
                Phase::Ended(at) if now >= at => {
                    pod.shmem = 0.0;
                    pod.phase = Phase::Gone;
                }
                _ => {}
            }
        }
    }

    /// Nothing is left to give: the kernel takes the process with the most points, one after the other.
    fn out_of_memory(&mut self) {
        for _ in 0..4 {
            let root = self.pods.iter().map(SimPod::unreclaimable).sum::<Mib>();
            let over = self.spec.root_max.is_some_and(|max| root > max);
            if self.free() > 0.0 && !over {
                return;
            }
            // A process that dies already is waited for.
            let dies = |pod: &SimPod| {
                matches!(pod.phase, Phase::Dies { .. }) && pod.spec.death != Death::Uninterruptible
            };
            if self.pods.iter().any(dies) {
                return;
            }
            let processes = self.processes();
            let total = bytes(self.spec.capacity + self.spec.swap);
            let owner = kernel_choice(&processes, total).and_then(|chosen| processes[chosen].owner);
            let Some(victim) = owner.map(|owner| &mut self.pods[owner.pod]) else {
                return;
            };
            let part = 1.0 / victim.processes.max(1.0);
            victim.anon -= victim.anon * part;
            victim.swap -= victim.swap * part;
            victim.processes -= 1.0;
            if victim.processes < 1.0 {
                victim.processes = 0.0;
                victim.anon = 0.0;
                victim.swap = 0.0;
                let volumes = if victim.spec.volumes_go {
                    self.now + 0.2
                } else {
                    f64::MAX
                };
                victim.phase = Phase::Ended(volumes);
            }
            self.kernel_kills.push(KernelKill {
                at: self.now,
                pod: victim.spec.name.clone(),
            });
            self.alarm = true;
        }
    }

    /// One process of each pod, of which all have the same size.
    fn processes(&self) -> Vec<ProcessFigures> {
        let pods = self.pods.iter().enumerate();
        let alive = pods.filter(|(_, pod)| pod.processes >= 1.0 && pod.anon > 0.0);
        let process = |(place, pod): (usize, &SimPod)| ProcessFigures {
            process: ProcessIdentity {
                pid: u32::try_from(place + 2).unwrap_or(u32::MAX),
                start_ticks: 1,
            },
            owner: Some(Owner {
                pod: place,
                container: 0,
            }),
            rss: bytes((pod.anon + pod.kernel) / pod.processes),
            swap: bytes(pod.swap / pod.processes),
            page_tables: Bytes(0),
            oom_score_adj: pod.facts.oom_score_adj,
            start: pod.facts.oom_score_adj,
            exempt: false,
        };
        alive.map(process).collect()
    }

    /// SIGKILL to all of a pod; `lifted` when its CPU limit was lifted before.
    pub fn kill(&mut self, place: usize, lifted: bool) {
        let (now, speed) = (self.now, self.speed);
        let pod = &mut self.pods[place];
        if matches!(pod.phase, Phase::Runs | Phase::Asked(_)) && pod.spec.death != Death::Uninterruptible {
            let quota = if lifted { 1.0 } else { pod.spec.quota };
            pod.phase = Phase::Dies {
                from: now + SIGNAL,
                rate: FREEING * speed * quota,
            };
        } else if pod.phase == Phase::Runs {
            // It does not die, and does nothing else either.
            pod.phase = Phase::Asked(None);
            pod.spec.work = super::pod::Work::default();
        }
    }

    /// SIGTERM to a pod, which ends after a moment if it listens.
    pub fn ask(&mut self, place: usize, after: f64) {
        let now = self.now;
        let pod = &mut self.pods[place];
        if pod.phase == Phase::Runs {
            let ends = (pod.spec.death == Death::Obeys).then_some(now + after);
            pod.phase = Phase::Asked(ends);
        }
    }
}
