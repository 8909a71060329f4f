//! The events of several objects behind one descriptor that can be waited for.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use aya::maps::{MapData, PerCpuArray, RingBuf};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use plimsoll_ebpf::{Object, maps};

use super::load::{LoadError, Loaded, no_map};

/// The events of one object.
pub struct Ring {
    object: Object,
    ring: RingBuf<MapData>,
    dropped: PerCpuArray<MapData, u64>,
}

impl Ring {
    /// Takes the ring of an object.
    ///
    /// # Errors
    /// [`LoadError::Map`].
    pub fn new(loaded: &mut Loaded) -> Result<Self, LoadError> {
        let object = loaded.object;
        let failed = |map| no_map(object, map);
        let ring = RingBuf::try_from(loaded.take_map(maps::EVENTS)?).map_err(failed(maps::EVENTS))?;
        let dropped =
            PerCpuArray::try_from(loaded.take_map(maps::DROPPED)?).map_err(failed(maps::DROPPED))?;
        Ok(Self {
            object,
            ring,
            dropped,
        })
    }
}

/// Rings, and an `epoll` instance that is readable while any of them has events.
pub struct Rings {
    epoll: Epoll,
    rings: Vec<Ring>,
}

impl Rings {
    /// No ring yet.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self {
            epoll,
            rings: Vec::new(),
        })
    }

    /// Adds a ring.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add(&mut self, ring: Ring) -> io::Result<()> {
        self.epoll.add(
            ring.ring.as_fd(),
            EpollEvent::new(EpollFlags::EPOLLIN, self.rings.len() as u64),
        )?;
        self.rings.push(ring);
        Ok(())
    }

    /// Hands all waiting events to `each`, as bytes, those of one object in their order.
    pub fn drain(&mut self, mut each: impl FnMut(&[u8])) {
        for ring in &mut self.rings {
            while let Some(event) = ring.ring.next() {
                each(&event);
            }
        }
    }

    /// Events lost so far because a ring was full, by object.
    #[must_use]
    pub fn dropped(&self) -> Vec<(Object, u64)> {
        self.rings
            .iter()
            .map(|ring| {
                let lost = ring.dropped.get(&0, 0).map_or(0, |cpus| cpus.iter().sum());
                (ring.object, lost)
            })
            .collect()
    }
}

impl AsFd for Rings {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

impl AsRawFd for Rings {
    fn as_raw_fd(&self) -> RawFd {
        self.epoll.0.as_raw_fd()
    }
}
