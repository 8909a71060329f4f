//! The words of memory pressure: what is watched, what it costs, what is decided, and what came of it.
//!
//! **Terms.** *Shortage*: a fact that memory is running out somewhere (a [`Domain`]). *Cost*: a fact that somebody
//! suffers from it or soon will. *Charge*: the memory of a pod that comes back only when the pod gives it up; page cache and
//! reclaimable slab are not in it. *Excess*: charge above request. *Rung*: one step of the ladder from the mildest act to the
//! last. *Spent*: a victim whose end freed less than it should have; it is not taken again.

mod conditions;
mod decision;
mod event;
mod figures;
mod process;
mod report;
mod signal;
mod snapshot;

pub use conditions::Conditions;
pub use decision::{Act, Barred, Decision, Domain, Need, Ranked, Rung, SpentCause, Term};
pub use event::{DecisionRecord, KillTimes, Outcome};
pub use figures::{Charge, FilesystemFigures, NodeFigures, PodFacts, PodFigures, Shield, StorageUse};
pub use process::{Owner, ProcessFigures};
pub use report::{
    Exhaustion, JournalReport, KernelChoice, PressureReport, RankedPod, RungInForce, TermReport,
    ThresholdReport,
};
pub use signal::{Signal, SignalError};
pub use snapshot::Snapshot;
