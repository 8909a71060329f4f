//! What the guard does with the kernel: it sleeps until memory is short, reads what is used, and kills.
//!
//! **Problem.** When memory is short, whatever the agent does that needs memory may wait for memory. **How.** All that is
//! needed is opened and allocated while there is plenty: directories and files of every pod ([`MemoryCgroup`],
//! [`FiguresReader`]), the triggers ([`Alarms`]), buffers, threads. From the wake to the kill signal there are only system
//! calls on open descriptors and arithmetic.
//!
//! **Parts.** [`Alarms`] wakes, and [`Breach`] tells at whose limit; [`FiguresReader`] reads; [`Killing`] kills, with
//! [`RealKiller`] on the machine and `FakeKiller` in tests; [`LimitWriter`] writes what may block; [`ProcessReader`] and
//! [`ScoreKeeper`] are for steering the kernel's own choice; [`thread`] gives the guard's thread its standing.
//!
//! # Properties
//! - [`Alarms::wait`], [`FiguresReader::read`] and [`RealKiller`]'s `signal` allocate nothing; a test counts.
//! - A cgroup is one directory descriptor with its inode: never a path, never another cgroup of the same name.
//! - Whatever a file holds (nothing, half a line, no text), it is read as a value or as no value.

mod alarms;
mod breach;
mod cgroup;
mod figures;
mod killer;
mod limits;
mod parse;
mod processes;
mod score_keeper;
mod scores;
pub mod thread;

pub use alarms::{Alarm, Alarms, Armed, MemoryEvents, NotArmed, Waker, Watch, Window};
pub use breach::Breach;
pub use cgroup::MemoryCgroup;
pub use figures::{FiguresError, FiguresReader, Sweep, filesystem_at, filesystem_of};
#[cfg(any(test, feature = "testutils"))]
pub use killer::{FakeKiller, FakeVictim, contract};
pub use killer::{KillError, KillStep, Killing, RealKiller, Released, Signalled};
pub use limits::{LimitFile, LimitWriter, QueueFull, WriteDone, WriteJob, WriteOutcome};
pub use processes::{Container, ProcessReader};
pub use score_keeper::{KeeperError, ScoreKeeper};
pub use scores::{Announced, Scored, Scores};
