//! Moments at which the machine, or a cgroup, ran short of memory, for a thread that sleeps until then.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use aya::maps::{MapData, PerCpuArray, RingBuf};
use plimsoll_ebpf::maps;
use plimsoll_ebpf::wire::{Shortage, ShortageCount, kind};

use super::load::{self, LoadError, Loaded, no_map};
use crate::kernel::bpf_sys::MappedArray;
use crate::model::{BootTime, CgroupId};

/// Who ran short, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// The machine: background reclaim was woken.
    Background,
    /// The machine: an allocation had to reclaim itself, which comes later.
    Direct,
    /// A cgroup, at a limit of its own or of one above.
    Limit,
}

/// Memory ran short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortageEvent {
    /// When.
    pub at: BootTime,
    /// Where, and how.
    pub short: Short,
    /// The process whose allocation noticed.
    pub pid: u32,
    /// Its cgroup.
    pub cgroup: CgroupId,
}

/// What the object `shortage` gathers. Reading it allocates nothing.
pub struct Shortages {
    ring: RingBuf<MapData>,
    dropped: PerCpuArray<MapData, u64>,
    counts: MappedArray<ShortageCount>,
    cpus: usize,
}

impl Shortages {
    /// Takes the maps out of the object.
    ///
    /// # Errors
    /// [`LoadError::Map`], [`LoadError::Call`].
    pub fn new(loaded: &mut Loaded) -> Result<Self, LoadError> {
        let object = loaded.object;
        let failed = |map| no_map(object, map);
        let cpus = load::cpus(object)? as usize;
        let counts = MappedArray::new(loaded.array(maps::COUNTS)?.fd(), cpus);
        let counts = counts.map_err(|source| LoadError::Call {
            object,
            what: "map the counters",
            source,
        })?;
        Ok(Self {
            ring: RingBuf::try_from(loaded.take_map(maps::EVENTS)?).map_err(failed(maps::EVENTS))?,
            dropped: PerCpuArray::try_from(loaded.take_map(maps::DROPPED)?).map_err(failed(maps::DROPPED))?,
            counts,
            cpus,
        })
    }

    /// Hands over what happened since the last call.
    pub fn drain(&mut self, mut each: impl FnMut(ShortageEvent)) {
        while let Some(bytes) = self.ring.next() {
            if let Some(event) = decode(&bytes) {
                each(event);
            }
        }
    }

    /// How often background reclaim was woken and how often an allocation had to reclaim itself, since the object was loaded.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let counts = (0..self.cpus).filter_map(|cpu| self.counts.read(cpu));
        counts.fold((0, 0), |(wakes, direct), count| {
            (
                wakes.wrapping_add(count.kswapd_wakes),
                direct.wrapping_add(count.direct_reclaims),
            )
        })
    }

    /// Events lost because nobody took them. The counters have them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.get(&0, 0).map_or(0, |cpus| cpus.iter().sum())
    }
}

impl AsFd for Shortages {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

/// None for bytes that are no event of this version.
fn decode(bytes: &[u8]) -> Option<ShortageEvent> {
    let half = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let word = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let short = match half(std::mem::offset_of!(Shortage, kind))? {
        kind::KSWAPD_WOKEN => Short::Background,
        kind::DIRECT_RECLAIM => Short::Direct,
        kind::LIMIT_RECLAIM => Short::Limit,
        _ => return None,
    };
    Some(ShortageEvent {
        short,
        pid: half(std::mem::offset_of!(Shortage, pid))?,
        cgroup: CgroupId(word(std::mem::offset_of!(Shortage, cgroup))?),
        at: BootTime(Duration::from_nanos(word(std::mem::offset_of!(
            Shortage, at_nsec
        ))?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_event_is_none() {
        let mut bytes = [0; size_of::<Shortage>()];
        bytes[..4].copy_from_slice(&kind::DIRECT_RECLAIM.to_ne_bytes());
        bytes[4..8].copy_from_slice(&7_u32.to_ne_bytes());
        bytes[8..16].copy_from_slice(&9_u64.to_ne_bytes());
        bytes[16..].copy_from_slice(&5_u64.to_ne_bytes());
        let event = ShortageEvent {
            at: BootTime(Duration::from_nanos(5)),
            short: Short::Direct,
            pid: 7,
            cgroup: CgroupId(9),
        };
        assert_eq!(decode(&bytes), Some(event));
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), None);
        }
        bytes[0] = 200;
        assert_eq!(decode(&bytes), None);
    }

    #[test]
    fn another_thread_may_have_it() {
        fn is_send<T: Send>() {}
        is_send::<Shortages>();
    }
}
