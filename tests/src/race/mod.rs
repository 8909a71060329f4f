//! Memory pressure on a real kernel: pods that use memory in given ways, whoever is to deal with it, and what is seen to
//! happen.
//!
//! **Terms.** *Field*: the pods of one run with their cgroups, made by hand as kubelet would or by the agent. *Keeper*: who
//! deals with the shortage: the agent, another killer, or nobody but the kernel. *Line*: the fact from which on memory is
//! short, the same for every keeper. *Bystander*: a pod that is not to blame.
//!
//! **How.** Pods start, take what they hold from the beginning, and wait. Once all are there a FIFO releases those to
//! blame. From then on every cgroup is looked at every few milliseconds. What is told is what was seen from outside, in
//! cgroup files, for every keeper in the same way.

mod breach;
mod field;
mod keeper;
mod kubelet;
mod machine;
mod pod;
mod watch;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use field::{Field, Ground};
pub use keeper::{Keeper, Keeping, is_there};
pub use pod::Pod;
pub use watch::{Race, Seen};

/// From which fact on memory is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The machine's available memory is below a tenth of all.
    Tenth,
    /// The pods' root cgroup passed its `memory.high`, which is so many MiB; 64 MiB above is its `memory.max`.
    High(u32),
    /// The machine has less than a quarter of its tasks left, of which it has so many in all.
    Tasks(u32),
}

/// What someone who looks on says at each look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nothing ends it yet but what the scenario says.
    On,
    /// What the scenario is about has been seen; from now on it is its aftermath.
    Enough,
    /// Something is to come yet, whoever is dead.
    NotYet,
}

/// What to do and to say at each look.
pub type Onlooker<'a> = dyn FnMut(&mut Field, &Race) -> io::Result<Look> + 'a;

/// Pods, and whom they should cost their life.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Short, for tables.
    pub name: &'static str,
    /// The pods.
    pub pods: Vec<Pod>,
    /// Whose end is right; nobody's where this is empty.
    pub right: &'static [&'static str],
    /// What counts as shortage.
    pub line: Line,
    /// Whether the pods may swap.
    pub swap: bool,
    /// What a process outside the pods does, from the start signal on.
    pub outside: Option<&'static str>,
    /// How long it is looked at, where nothing ends it sooner.
    pub patience: Duration,
    /// How long it is looked on after the last right one is dead, or what it is about was seen, for those that follow.
    pub aftermath: Duration,
}

impl Scenario {
    /// A scenario without swap that is looked at for a minute, and for five seconds after the right ones' end.
    #[must_use]
    pub fn new(name: &'static str, line: Line, right: &'static [&'static str], pods: Vec<Pod>) -> Self {
        Self {
            name,
            pods,
            right,
            line,
            swap: false,
            outside: None,
            patience: Duration::from_secs(60),
            aftermath: Duration::from_secs(5),
        }
    }
}

/// Where things are in the machine.
#[derive(Debug, Clone)]
pub struct Places {
    /// Mount point of the cgroup file system.
    pub mount: PathBuf,
    /// The agent.
    pub agent: PathBuf,
    /// The workload program.
    pub load: PathBuf,
    /// For configurations and logs.
    pub directory: PathBuf,
}

/// One run of a scenario with a keeper.
///
/// # Errors
/// The pods or the keeper could not be started.
pub fn run(scenario: &Scenario, keeper: Keeper, seed: u32, places: &Places) -> io::Result<Race> {
    run_with(scenario, keeper, seed, places, &mut |_, _| Ok(Look::On))
}

/// The same, with something to do at each look.
///
/// # Errors
/// The pods or the keeper could not be started, or `at_each_look` says so.
pub fn run_with(
    scenario: &Scenario,
    keeper: Keeper,
    seed: u32,
    places: &Places,
    at_each_look: &mut Onlooker<'_>,
) -> io::Result<Race> {
    let mut field = Field::lay_out(scenario, keeper, seed, places)?;
    let race = play(scenario, keeper, seed, places, &mut field, at_each_look);
    // What went wrong in this run is not to be the next one's trouble.
    let cleared = field.clear();
    let race = race?;
    cleared.map(|()| race)
}

fn play(
    scenario: &Scenario,
    keeper: Keeper,
    seed: u32,
    places: &Places,
    field: &mut Field,
    at_each_look: &mut Onlooker<'_>,
) -> io::Result<Race> {
    field.wait_settled()?;
    // The agent has been there from before the pods; others come to a field that is there.
    let keeping = Keeping::begin(keeper, field, seed, places)?;
    let began = field.release()?;
    let mut race = watch::watch(field, scenario, began, at_each_look)?;
    drop(keeping);
    race.report = field.report();
    Ok(race)
}
