//! Many pods at once, some at a time.
//!
//! **Problem.** A batch of some hundred pods takes a second to place and start, in which ended processes, evictions and
//! questions would wait. **How.** A *turn* is one call of [`Engine::settle`]. It makes the cgroups of so many pods and starts
//! so many containers; for the rest the engine asks to be called again at once, and the caller hears everybody else in
//! between. Counted are pods and containers, not time: the engine has no clock, and what it does is the same on every
//! machine. A plan may be left after any step (`decide::plan`), and the next turn makes a new one.
//!
//! # Properties
//! - What waits for its turn is started under no other values than it should have: a pod without its cgroups has no place,
//!   and in one whose values are to change nothing is started until they have.
//! - Pods that are to end are told so at once, whoever waits.
//! - Trouble with one pod takes nobody's turn.

use super::Engine;
use crate::model::BootTime;

/// Pods whose cgroups are made or changed in one turn. A pod and its containers take the kernel about 2 ms.
pub(super) const PLACES: usize = 16;
/// Containers that are started in one turn. Each takes about 1 ms.
pub(super) const STARTS: usize = 16;

/// What was done in a turn.
#[derive(Debug, Default)]
pub(super) struct Turn {
    places: usize,
    starts: usize,
    leaves_places: bool,
}

impl Turn {
    /// The cgroups of so many pods were made or changed; and whether there are more.
    pub(super) fn placed(&mut self, pods: usize, more: bool) {
        self.places += pods;
        self.leaves_places = more;
    }

    /// A container was started, or could not be.
    pub(super) fn started(&mut self) {
        self.starts += 1;
    }

    pub(super) fn may_start(&self) -> bool {
        self.starts < STARTS
    }

    /// Whether pods wait for their cgroups.
    pub(super) fn leaves_places(&self) -> bool {
        self.leaves_places
    }
}

impl Engine {
    /// For how many pods cgroups may still be made or changed.
    pub(super) fn places_left(&self) -> usize {
        // Partitions end before their CPUs' lists are written, and all at once: half of a plan would end some for nothing.
        if self.settings.partition.is_some() {
            return usize::MAX;
        }
        PLACES.saturating_sub(self.turn.places)
    }

    /// Whether something waits for the next turn, which may be taken at once.
    #[must_use]
    pub fn has_more(&self, now: BootTime) -> bool {
        self.turn.leaves_places() || (!self.turn.may_start() && self.next_wake().is_some_and(|at| at <= now))
    }
}
