//! A scenario: a machine, its pods, what happens to them, and what should come of it.

use plimsoll::decide::eviction::EvictionPolicy;
use plimsoll::model::pressure::{Barred, Rung, SpentCause};

use super::machine::NodeSpec;
use super::pod::{Mib, PodSpec};

/// What happens from outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Somebody ends a pod, and the guard is told of it.
    Delete(&'static str),
    /// A pod comes.
    Add(PodSpecIndex),
}

/// A pod of [`Scenario::later`].
pub type PodSpecIndex = usize;

/// May the kernel kill?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kernel {
    /// It must be beaten.
    #[default]
    Beaten,
    /// There may be no time; what it does is counted.
    MayWin,
}

/// What should come of a scenario.
#[derive(Debug, Clone, Default)]
pub struct Expect {
    /// Who is evicted or killed, in this order.
    pub victims: Vec<&'static str>,
    /// Who may follow.
    pub optional: Vec<&'static str>,
    /// The rung on which the first one is taken.
    pub rung: Option<Rung>,
    /// A rung that has to be used first, or, where nobody is taken, at all.
    pub before: Option<Rung>,
    /// The alert, where nobody may be taken.
    pub nobody: Option<Barred>,
    /// That a pod at its own limit is recorded.
    pub own_limit: Option<&'static str>,
    /// That a victim's end frees too little.
    pub spent: Option<SpentCause>,
    /// That a decision was stale.
    pub stale: bool,
    /// May the kernel kill?
    pub kernel: Kernel,
    /// BestEffort pods get their CPU back, so many seconds after it was taken at the latest.
    pub cpu_back_within: Option<f64>,
    /// A victim's memory is back within so many seconds from its signal.
    pub freed_within: Option<f64>,
    /// Acts a minute, at most.
    pub acts: Option<usize>,
    /// Without the guard the kernel would have killed; and whom.
    pub kernel_would_kill: Option<Would>,
}

/// Whom the kernel would kill first without the guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Would {
    /// Somebody.
    Somebody,
    /// The right one: its formula and the order of victims agree.
    Right,
    /// An innocent pod, whichever: the formula does not see the one to blame.
    Innocent,
}

/// A scenario.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its row in the table of scenarios, and its name.
    pub row: &'static str,
    /// What of the row the model cannot show.
    pub note: &'static str,
    /// The machine.
    pub node: NodeSpec,
    /// Its pods, beside which there are bystanders.
    pub pods: Vec<PodSpec>,
    /// A pod within its request fills the machine up to so much that is left.
    pub left: Option<Mib>,
    /// Bystanders, at most.
    pub bystanders: usize,
    /// What happens, by seconds from the start.
    pub events: Vec<(f64, Event)>,
    /// Pods that come later.
    pub later: Vec<PodSpec>,
    /// The settings.
    pub policy: EvictionPolicy,
    /// The pod that is made again right before the act.
    pub remade: Option<&'static str>,
    /// Whether the agent is killed when it kills, and comes again.
    pub agent_dies: bool,
    /// So long, in seconds, each wake is late.
    pub late: f64,
    /// For how long it is run, in seconds from the start of all work.
    pub seconds: f64,
    /// Over how many seeds.
    pub seeds: u64,
    /// What should come of it.
    pub expect: Expect,
}

impl Scenario {
    /// One on the usual machine: 960 MiB, of which 140 are used outside the pods.
    #[must_use]
    pub fn new(row: &'static str, pods: Vec<PodSpec>, expect: Expect) -> Self {
        Self {
            row,
            note: "",
            node: NodeSpec::default(),
            pods,
            left: None,
            bystanders: 12,
            events: Vec::new(),
            later: Vec::new(),
            policy: EvictionPolicy::default(),
            remade: None,
            agent_dies: false,
            late: 0.0,
            seconds: 8.0,
            seeds: 100,
            expect,
        }
    }

    /// Changes something of it.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}
