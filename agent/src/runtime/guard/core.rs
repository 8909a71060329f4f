//! The guard's loop without its thread: wake, read, decide, look again, act, settle.
//!
//! **Problem.** The loop that kills pods must be the same where it is tested, with thousands of machines that only exist
//! in memory, and where it runs, on a real-time thread that may not allocate. **How.** [`Guard`] knows neither clock nor
//! kernel: all of that is behind [`Ports`]. Whoever owns it calls [`Guard::wake`] when something happened, and at the
//! latest after the time that the last call gave back.
//!
//! # Properties
//! - From a wake to an act nothing is allocated, once [`Guard::set_roster`] has made room; [`Ports`] has to keep that up.
//! - What is decided is told, with its evidence, before it is done; in a dry run it is told and not done.
//! - Every taking was checked against figures of the machine and of its victim read after it was decided.
//! - A guard that takes over from one that was killed finishes what that one had begun, and begins nothing for it.

use std::sync::Arc;
use std::time::Duration;

use crate::decide::eviction::EvictionPolicy;
use crate::decide::pressure::{Scratch, begin, decide, leaving, still_holds};
use crate::decide::replay::Rested;
use crate::model::pressure::{
    Act, Barred, Decision, Domain, KillTimes, Need, PodFacts, Rung, Signal, Snapshot,
};
use crate::model::{BootTime, CgroupId};
use crate::state::pressure::{CLOSEST, PressureState, Taking, Victim};

pub use super::ports::{Ports, Refused, Told};

/// Acts in one wake, at most.
const ACTS: usize = 8;
/// The shortest sleep.
const SHORTEST: Duration = Duration::from_millis(10);
/// The sleep while a milder rung is in force, or something is crossed that may not be acted on yet.
const WATCHFUL: Duration = Duration::from_millis(50);
/// The sleep while a shortage has just begun: a growth is sure after two slopes, which are looked for no closer than this.
const BEGUN: Duration = CLOSEST;
/// The longest sleep.
const LONGEST: Duration = Duration::from_secs(1);
/// Looks that are made before what runs out has run out, at least.
const LOOKS: u32 = 4;
/// What a start out of nothing may take, in bytes a second.
const BURST: u64 = 1 << 30;
/// What does not change is told again after this.
const AGAIN: Duration = Duration::from_secs(10);

/// The guard.
#[derive(Debug)]
pub struct Guard {
    policy: EvictionPolicy,
    roster: Arc<[PodFacts]>,
    snapshot: Snapshot,
    fresh: Snapshot,
    state: PressureState,
    /// The same as it was when the last decision was made, for who writes that down.
    before: PressureState,
    scratch: Scratch,
    decided: u64,
    numbers: Vec<(CgroupId, u64)>,
    told: Option<(Topic, BootTime)>,
    resuming: bool,
    memory_short: bool,
}

/// What was told of last: the same again is no news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Topic {
    domain: Domain,
    signal: Option<Signal>,
    nobody: Option<Barred>,
}

impl Guard {
    /// One that has seen nothing, whose decisions are numbered from `decided` + 1 on.
    #[must_use]
    pub fn new(policy: EvictionPolicy, decided: u64) -> Self {
        let mut guard = Self {
            policy,
            roster: Arc::default(),
            snapshot: Snapshot::default(),
            fresh: Snapshot::default(),
            state: PressureState::with_capacity(0),
            before: PressureState::with_capacity(0),
            scratch: Scratch::default(),
            decided,
            numbers: Vec::new(),
            told: None,
            resuming: false,
            memory_short: false,
        };
        guard.adopt();
        guard
    }

    /// Other settings. What is under way goes on.
    pub fn set_policy(&mut self, policy: EvictionPolicy) {
        self.policy = policy;
        self.adopt();
    }

    /// Makes room for the thresholds, so that no wake has to.
    fn adopt(&mut self) {
        let thresholds = self.policy.thresholds.iter();
        let known = thresholds.map(|threshold| (threshold.signal, threshold.grace));
        self.state.standings.adopt(known);
        self.before.copy_from(&self.state);
    }

    /// Other pods; gives back the former ones, to be dropped where there is time.
    pub fn set_roster(&mut self, roster: impl Into<Arc<[PodFacts]>>) -> Arc<[PodFacts]> {
        let roster = roster.into();
        let pods = roster.len();
        self.state.reserve(pods);
        self.before.reserve(pods);
        for snapshot in [&mut self.snapshot, &mut self.fresh] {
            snapshot.pods.clear();
            snapshot.pods.reserve(pods);
        }
        self.scratch.order.clear();
        self.scratch.order.reserve(pods);
        self.numbers
            .retain(|(cgroup, _)| roster.iter().any(|pod| pod.cgroup == *cgroup));
        self.numbers.reserve(pods);
        std::mem::replace(&mut self.roster, roster)
    }

    /// Somebody else ends a pod, until `until` at the latest.
    pub fn leaving(&mut self, cgroup: CgroupId, until: BootTime, now: BootTime) {
        let place = self.roster.iter().position(|pod| pod.cgroup == cgroup);
        let pod = place.and_then(|place| Some((&self.roster[place], self.snapshot.pods.get(place)?)));
        if let Some((facts, figures)) = pod {
            leaving(facts, figures, &self.policy, &mut self.state, until, now);
        }
    }

    /// Takes over from a guard of the same boot that was killed: these were under way. The next wake finishes them.
    pub fn resume(&mut self, victims: &[Victim]) {
        for victim in victims {
            self.state.victims.begin(*victim);
        }
        self.resuming = !victims.is_empty();
    }

    /// All that it remembers.
    #[must_use]
    pub fn state(&self) -> &PressureState {
        &self.state
    }

    /// The pods.
    #[must_use]
    pub const fn roster(&self) -> &Arc<[PodFacts]> {
        &self.roster
    }

    /// Whether it is memory that was short at the last look, and not a disk.
    #[must_use]
    pub fn is_memory_short(&self) -> bool {
        self.memory_short
    }

    /// The figures that were read last.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Something happened, or the time is over; `onset` is when the kernel noticed, if it was the kernel. Gives the time
    /// after which to call again at the latest.
    pub fn wake(&mut self, ports: &mut impl Ports, onset: Option<BootTime>) -> Duration {
        let woken = ports.now();
        let times = KillTimes {
            onset,
            woken,
            ..KillTimes::default()
        };
        self.finish(ports);
        let mut last = Decision::Fine;
        for _ in 0..ACTS {
            last = self.step(ports, times);
            let again = matches!(last, Decision::Act { act, .. } if !is_taking(act));
            if !again {
                break;
            }
        }
        self.memory_short = is_about_memory(&last);
        self.sleep(&last, woken)
    }

    /// What the guard before this one had begun and may not have done.
    fn finish(&mut self, ports: &mut impl Ports) {
        if !std::mem::take(&mut self.resuming) || self.policy.dry_run {
            return;
        }
        let now = ports.now();
        for victim in self.state.victims.under_way() {
            let Some(pod) = self.roster.iter().position(|pod| pod.cgroup == victim.cgroup) else {
                continue;
            };
            let act = match victim.taking {
                Taking::Leaving => continue,
                Taking::Killed => Act::Kill { pod },
                Taking::Evicted => Act::Evict {
                    pod,
                    grace: victim.deadline.since(now),
                },
            };
            let need = Need {
                domain: victim.domain,
                signal: victim.signal,
                observed: 0,
                threshold: 0,
                deficit: victim.predicted,
                exhausted_in: None,
                stalled: Duration::ZERO,
            };
            // Refused: its time goes on, and what comes of it is told when that is over.
            if let Err(why) = ports.act(&need, &act, self.roster.get(pod)) {
                ports.tell(&Told::Refused {
                    number: self.decided,
                    why,
                });
            }
        }
    }

    fn step(&mut self, ports: &mut impl Ports, mut times: KillTimes) -> Decision {
        ports.read(&self.roster, &mut self.snapshot);
        times.read = ports.now();
        let now = times.read;
        self.state.observe(&self.roster, &self.snapshot, now);
        self.before.copy_from(&self.state);
        let (state, scratch) = (&mut self.state, &mut self.scratch);
        let decision = decide(&self.roster, &self.snapshot, &self.policy, state, scratch, now);
        times.decided = ports.now();
        self.tell_settled(ports);
        let (need, act) = match decision {
            Decision::Act { need, act } => (need, act),
            Decision::Fine => {
                self.told = None;
                return decision;
            }
            Decision::Wait { need } => {
                self.tell_once(ports, decision, &need, None, times);
                return decision;
            }
            Decision::Nobody { need, why } => {
                self.tell_once(ports, decision, &need, Some(why), times);
                return decision;
            }
        };
        let cgroup = act
            .pod()
            .and_then(|pod| self.roster.get(pod))
            .map(|pod| pod.cgroup);
        self.fresh.node = self.snapshot.node;
        self.fresh.pods.clone_from(&self.snapshot.pods);
        ports.read_again(&self.roster, act.pod(), &mut self.fresh);
        let now = ports.now();
        let (state, scratch) = (&self.state, &mut self.scratch);
        let holds = still_holds(
            &decision,
            cgroup,
            &self.roster,
            &self.fresh,
            &self.policy,
            state,
            scratch,
            now,
        );
        if let Err(why) = holds {
            let pod = act.pod().and_then(|pod| self.roster.get(pod));
            let rested = self.rested(times.read);
            ports.tell(&Told::Stale {
                decision,
                pod,
                why,
                rested,
            });
            return Decision::Wait { need };
        }
        self.carry_out(ports, decision, &need, act, times, now);
        decision
    }

    fn carry_out(
        &mut self,
        ports: &mut impl Ports,
        decision: Decision,
        need: &Need,
        act: Act,
        times: KillTimes,
        now: BootTime,
    ) {
        let dry = self.policy.dry_run;
        begin(
            need,
            &act,
            &self.roster,
            &self.fresh,
            &self.policy,
            &mut self.state,
            dry,
            now,
        );
        self.decided += 1;
        let number = self.decided;
        let pod = act.pod().and_then(|pod| self.roster.get(pod));
        let victim = pod.and_then(|pod| self.state.victims.find(pod.cgroup)).copied();
        if let Some(victim) = victim {
            self.numbers.retain(|(cgroup, _)| *cgroup != victim.cgroup);
            self.numbers.push((victim.cgroup, number));
        }
        ports.tell(&Told::Decided {
            number,
            decision,
            pod,
            figures: act.pod().and_then(|pod| self.fresh.pods.get(pod)),
            order: if is_taking(act) { &self.scratch.order } else { &[] },
            victim,
            times,
            dry,
            rested: self.rested(times.read),
        });
        if dry {
            return;
        }
        match ports.act(need, &act, pod) {
            Ok(at) => {
                let rested = self.rested(times.read);
                ports.tell(&Told::Done { number, at, rested });
            }
            Err(why) => {
                ports.tell(&Told::Refused { number, why });
                if is_taking(act)
                    && let Some(pod) = pod
                {
                    self.state.victims.failed(pod.cgroup);
                }
            }
        }
    }

    fn tell_settled(&mut self, ports: &mut impl Ports) {
        while let Some(settled) = self.state.victims.take_settled() {
            let known = self
                .numbers
                .iter()
                .find(|(cgroup, _)| *cgroup == settled.victim.cgroup);
            let number = known.map(|(_, number)| *number);
            ports.tell(&Told::Settled { number, settled });
        }
    }

    fn tell_once(
        &mut self,
        ports: &mut impl Ports,
        decision: Decision,
        need: &Need,
        nobody: Option<Barred>,
        times: KillTimes,
    ) {
        let topic = Topic {
            domain: need.domain,
            signal: need.signal,
            nobody,
        };
        let known = self
            .told
            .is_some_and(|(told, at)| told == topic && times.read.since(at) < AGAIN);
        if known {
            return;
        }
        self.told = Some((topic, times.read));
        self.decided += 1;
        let place = match need.domain {
            Domain::Pod(place) => Some(place),
            Domain::Node | Domain::Pods => None,
        };
        ports.tell(&Told::Decided {
            number: self.decided,
            decision,
            pod: place.and_then(|place| self.roster.get(place)),
            figures: place.and_then(|place| self.snapshot.pods.get(place)),
            order: if nobody.is_some() {
                &self.scratch.order
            } else {
                &[]
            },
            victim: None,
            times,
            dry: self.policy.dry_run,
            rested: self.rested(times.read),
        });
    }

    /// All that the decision made on figures read at `now` rested on.
    fn rested(&self, now: BootTime) -> Rested<'_> {
        Rested {
            roster: &self.roster,
            snapshot: &self.snapshot,
            policy: &self.policy,
            state: &self.before,
            now,
        }
    }

    /// How long nothing can happen that has to be seen.
    fn sleep(&self, last: &Decision, woken: BootTime) -> Duration {
        let killed = |victim: &Victim| victim.taking == Taking::Killed && !victim.dry;
        if self.state.victims.under_way().iter().any(killed) {
            return SHORTEST;
        }
        let node = &self.snapshot.node;
        let floor = self
            .policy
            .thresholds
            .iter()
            .filter(|threshold| threshold.signal == Signal::MemoryAvailable);
        let floor = floor
            .map(|threshold| threshold.at.of(node.capacity.0))
            .max()
            .unwrap_or_default();
        let room = node.available.0.saturating_sub(floor);
        let crossed = self.state.available_fall().fills(room);
        let root = self.state.root_exhausted_in(node);
        let gone = self.state.node_exhausted_in(node);
        let soonest = [crossed, root, gone]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(Duration::MAX);
        let burst = Duration::from_micros((room >> 10).saturating_mul(1_000_000) / (BURST >> 10));
        let sleep = (soonest / LOOKS).min(burst).clamp(SHORTEST, LONGEST);
        match last {
            Decision::Fine => sleep,
            Decision::Wait { need } if matches!(need.domain, Domain::Pod(_)) => sleep,
            // A disk does not fill in a moment, and may be nearly full for days.
            Decision::Wait { need } | Decision::Act { need, .. } | Decision::Nobody { need, .. }
                if is_about_a_disk(need) =>
            {
                sleep
            }
            Decision::Wait { .. }
                if self
                    .state
                    .short_since
                    .is_some_and(|at| woken.since(at) < WATCHFUL) =>
            {
                BEGUN
            }
            Decision::Wait { .. } | Decision::Act { .. } | Decision::Nobody { .. } => sleep.min(WATCHFUL),
        }
    }
}

fn is_about_a_disk(need: &Need) -> bool {
    need.signal
        .is_some_and(|signal| !signal.is_memory() && signal != Signal::PidAvailable)
}

fn is_about_memory(decision: &Decision) -> bool {
    match decision {
        Decision::Fine => false,
        Decision::Wait { need } | Decision::Act { need, .. } | Decision::Nobody { need, .. } => {
            !matches!(need.domain, Domain::Pod(_)) && need.signal.is_none_or(Signal::is_memory)
        }
    }
}

fn is_taking(act: Act) -> bool {
    matches!(act.rung(), Rung::Evict | Rung::Kill)
}
