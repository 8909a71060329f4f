//! What the guard needs of the world, and what it has to say.

use crate::decide::pressure::Stale;
use crate::decide::replay::Rested;
use crate::model::BootTime;
use crate::model::pressure::{Act, Decision, KillTimes, Need, PodFacts, PodFigures, Ranked, Snapshot};
use crate::state::pressure::{Settled, Victim};

/// What the guard needs of the world.
pub trait Ports {
    /// The time. It may go on between two calls.
    fn now(&mut self) -> BootTime;

    /// Reads all figures: one entry for each pod of the roster, in its order, with nothing in it for a pod that is gone.
    /// Allocates nothing when `into` has room.
    fn read(&mut self, roster: &[PodFacts], into: &mut Snapshot);

    /// Reads anew what an act on `pod` rests on, right before it: the machine and that pod. `into` has the figures of the
    /// decision, and what is not read keeps them.
    fn read_again(&mut self, roster: &[PodFacts], pod: Option<usize>, into: &mut Snapshot);

    /// Does it, or begins it, and says when: for a kill, when the signal was sent. It must not wait for an end, or for a write
    /// that blocks. To kill a pod twice must do no harm.
    ///
    /// # Errors
    /// The kernel refused.
    fn act(&mut self, need: &Need, act: &Act, pod: Option<&PodFacts>) -> Result<BootTime, Refused>;

    /// Takes note. For [`Told::Decided`] that has to be kept safe before this returns, for what follows is the act.
    fn tell(&mut self, told: &Told);
}

/// The kernel refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: errno {errno}")]
pub struct Refused {
    /// What.
    pub operation: &'static str,
    /// Its answer.
    pub errno: i32,
}

/// What the guard has to say. All is borrowed, so that nothing is allocated for it.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::large_enum_variant, reason = "it is borrowed, never moved")]
pub enum Told<'a> {
    /// An act was decided and checked, and is about to be done, unless it is a dry run; or somebody should go and nobody
    /// may; or something is short and waited for.
    Decided {
        /// Counts up.
        number: u64,
        /// What.
        decision: Decision,
        /// Whom it is about.
        pod: Option<&'a PodFacts>,
        /// What that pod used.
        figures: Option<&'a PodFigures>,
        /// All pods, the best victim first, where one had to be chosen.
        order: &'a [Ranked],
        /// What is remembered of a pod that is taken: [`Guard::resume`] wants it back.
        victim: Option<Victim>,
        /// When each stage was reached.
        times: KillTimes,
        /// Whether it is only told.
        dry: bool,
        /// All that it rested on.
        rested: Rested<'a>,
    },
    /// It was done.
    Done {
        /// The decision.
        number: u64,
        /// When.
        at: BootTime,
        /// All that it rested on: the signal is sent, so that there is time to keep it.
        rested: Rested<'a>,
    },
    /// It was not done, since things had changed.
    Stale {
        /// What was decided.
        decision: Decision,
        /// Whom it was about.
        pod: Option<&'a PodFacts>,
        /// What had changed.
        why: Stale,
        /// All that it rested on.
        rested: Rested<'a>,
    },
    /// It could not be done.
    Refused {
        /// The decision.
        number: u64,
        /// Why.
        why: Refused,
    },
    /// A victim's time is over.
    Settled {
        /// The decision by which it was taken; none for one that was taken before the guard began.
        number: Option<u64>,
        /// How.
        settled: Settled,
    },
}
