//! Stall times per cgroup, read only when there are new ones.

use std::io;

use plimsoll_ebpf::maps;

use super::load::{LoadError, Loaded};
use super::totals::Totals;
use crate::kernel::bpf_sys::MappedArray;

/// Words of a [`plimsoll_ebpf::wire::Stall`].
const WORDS: usize = 2;

/// The stalls that `reclaim` or `reclaimx` has timed.
pub struct Stalled {
    totals: Totals<WORDS>,
    changes: MappedArray<u64>,
    seen: u64,
    known: Vec<(u64, [u64; WORDS])>,
}

impl Stalled {
    /// Takes the maps out of an object.
    ///
    /// # Errors
    /// [`LoadError::Map`], [`LoadError::Call`].
    pub fn new(loaded: &mut Loaded) -> Result<Self, LoadError> {
        let object = loaded.object;
        let totals = Totals::new(loaded, maps::STALLS)?;
        let changes =
            MappedArray::new(loaded.array(maps::STALLED)?.fd(), 1).map_err(|source| LoadError::Call {
                object,
                what: "map the counter",
                source,
            })?;
        Ok(Self {
            totals,
            changes,
            seen: 0,
            known: Vec::new(),
        })
    }

    /// Each cgroup that was ever stalled, with how often and how many nanoseconds.
    ///
    /// # Errors
    /// The kernel's; the next call tries again.
    pub fn read(&mut self) -> io::Result<&[(u64, [u64; WORDS])]> {
        // Asked for before reading: a stall in between is read again next time rather than missed.
        let changes = self.changes.read(0).unwrap_or_default();
        if changes != self.seen {
            self.known.clear();
            let known = &mut self.known;
            self.totals.read(|cgroup, words| known.push((cgroup, words)))?;
            self.seen = changes;
        }
        Ok(&self.known)
    }

    /// Forgets a cgroup.
    ///
    /// # Errors
    /// The kernel's.
    pub fn forget(&mut self, cgroup: u64) -> io::Result<()> {
        self.known.retain(|(id, _)| *id != cgroup);
        self.totals.forget(cgroup)
    }
}
