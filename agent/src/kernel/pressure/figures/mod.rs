//! Reading what the machine has left and what every pod uses.
//!
//! **Problem.** Hundreds of pods, half a dozen files each, at each wake, without an allocation and within milliseconds.
//! **How.** Every file is opened once and read again from its start (a fifth of the cost of opening it), into one buffer,
//! by a parser of bytes. What is dear (`memory.stat`, for which the kernel adds up all CPUs' counters) is read of those pods
//! only that are large or grow ([`SHORTLIST`]); a full [`Sweep`] reads the rest of the cheap files too.
//!
//! # Properties
//! - [`FiguresReader::read`] allocates nothing, when the vector has the capacity that [`FiguresReader::set_pods`] told.
//! - A file that is missing, cut off, too long or no text gives no value, and never another pod's.
//! - A pod whose cgroup is gone has no memory and no processes.

mod node;
mod pod;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::cgroup::{MemoryCgroup, read_start};
use crate::kernel::clock::{Clock, RealClock};
use crate::model::Bytes;
use crate::model::pressure::{FilesystemFigures, NodeFigures, PodFigures};
use node::MachineFiles;
use pod::PodFiles;

/// Pods of which `memory.stat` is read: so many of the largest, and so many of those that grew most.
const SHORTLIST: usize = 16;
/// Longer than any file that is read; one that fills it is cut off.
const BUFFER: usize = 16 << 10;

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    /// Of all pods what they use and their limits' events; the rest of the shortlist's, and as it was last seen of the
    /// others. Of the machine all but its file systems.
    Quick,
    /// All cheap files of all pods, and the file systems, which may wait for a disk.
    Full,
}

/// The machine's own files cannot be read: without them there is no snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {file}: {errno}")]
pub struct FiguresError {
    /// Which file.
    pub file: &'static str,
    /// Why.
    pub errno: Errno,
}

/// Reads the same files again and again.
#[derive(Debug)]
pub struct FiguresReader {
    machine: MachineFiles,
    pods: Vec<PodFiles>,
    /// Places of pods, to be put in order; as long as `pods`.
    order: Vec<usize>,
    buffer: Box<[u8]>,
}

impl FiguresReader {
    /// Opens the machine's files below `proc` (`/proc`) and those of the pods' root. `nodefs` and `imagefs` are directories
    /// on the file systems to be watched; the first one may be missing yet.
    ///
    /// # Errors
    /// A file of the machine, or one of these directories, cannot be opened.
    pub fn new(
        proc: &Path,
        root: &MemoryCgroup,
        nodefs: Option<&Path>,
        imagefs: Option<&Path>,
    ) -> io::Result<Self> {
        Ok(Self {
            machine: MachineFiles::open(proc, root, nodefs, imagefs)?,
            pods: Vec::new(),
            order: Vec::new(),
            buffer: vec![0; BUFFER].into(),
        })
    }

    /// Sets the pods, in the order in which their figures are to come. What was known of those that stay, is kept.
    /// A new one has no processes before the first full sweep.
    pub fn set_pods(&mut self, pods: &[Arc<MemoryCgroup>]) {
        let mut before = std::mem::take(&mut self.pods);
        self.pods = pods
            .iter()
            .map(|pod| {
                let known = before.iter().position(|files| files.id() == pod.id());
                known.map_or_else(|| PodFiles::open(pod), |at| before.swap_remove(at))
            })
            .collect();
        self.order = (0..self.pods.len()).collect();
    }

    /// Whether the pod's cgroup is gone.
    #[must_use]
    pub fn is_gone(&self, pod: usize) -> bool {
        self.pods.get(pod).is_none_or(|files| files.gone)
    }

    /// The descriptors that are held.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.pods.iter().map(PodFiles::descriptors).sum()
    }

    /// Reads all of it: `pods` is emptied and filled in their order. What the reclaim probe counts is the caller's to fill in.
    ///
    /// # Errors
    /// The machine's memory cannot be read.
    pub fn read(
        &mut self,
        sweep: Sweep,
        node: &mut NodeFigures,
        pods: &mut Vec<PodFigures>,
    ) -> Result<(), FiguresError> {
        let now = RealClock.now();
        self.machine.read(sweep, now, node, &mut self.buffer)?;
        for files in &mut self.pods {
            files.read_use(&mut self.buffer);
        }
        if sweep == Sweep::Full {
            for files in &mut self.pods {
                files.read_rest(&mut self.buffer);
            }
        }
        self.shortlist(|files, buffer| files.read_dear(sweep, now, buffer));
        pods.clear();
        pods.extend(self.pods.iter().map(|files| files.figures));
        Ok(())
    }

    /// What a pod's largest process has, which [`ProcessReader`](super::ProcessReader) tells; it stays in the figures until
    /// it is set again.
    pub fn set_largest_process(&mut self, pod: usize, has: Bytes) {
        if let Some(files) = self.pods.get_mut(pod).filter(|files| !files.gone) {
            files.figures.largest_process = has;
        }
    }

    /// Reads one pod anew, for the look before the act.
    pub fn read_pod(&mut self, pod: usize) -> Option<PodFigures> {
        let files = self.pods.get_mut(pod)?;
        files.read_use(&mut self.buffer);
        files.read_dear(Sweep::Quick, RealClock.now(), &mut self.buffer);
        Some(files.figures)
    }

    /// Reads the machine alone, for the look before the act.
    ///
    /// # Errors
    /// The machine's memory cannot be read.
    pub fn read_node(&mut self, node: &mut NodeFigures) -> Result<(), FiguresError> {
        let now = RealClock.now();
        self.machine.read(Sweep::Quick, now, node, &mut self.buffer)
    }

    /// Calls `each` with the largest and with those that grew most, once each.
    fn shortlist(&mut self, mut each: impl FnMut(&mut PodFiles, &mut [u8])) {
        let pods = &mut self.pods;
        if pods.len() <= 2 * SHORTLIST {
            pods.iter_mut().for_each(|files| each(files, &mut self.buffer));
            return;
        }
        let order = &mut self.order;
        order.select_nth_unstable_by_key(SHORTLIST, |&at| std::cmp::Reverse(pods[at].size()));
        let (large, small) = order.split_at_mut(SHORTLIST);
        small.select_nth_unstable_by_key(SHORTLIST, |&at| std::cmp::Reverse(pods[at].grown));
        for &at in large.iter() {
            each(&mut pods[at], &mut self.buffer);
        }
        for &at in &small[..SHORTLIST] {
            if pods[at].grown > 0 {
                each(&mut pods[at], &mut self.buffer);
            }
        }
    }
}

/// Reads a file that may not be there; `ENODEV` is an error, any other trouble is no content.
fn content<'a>(file: Option<&OwnedFd>, buffer: &'a mut [u8]) -> Result<Option<&'a [u8]>, Errno> {
    let Some(file) = file else { return Ok(None) };
    let room = buffer.len();
    match read_start(file.as_fd(), buffer) {
        // It may go on: what is cut off is not believed.
        Ok(content) if content.len() == room => Ok(None),
        Ok(content) => Ok(Some(content)),
        Err(Errno::NODEV) => Err(Errno::NODEV),
        Err(_) => Ok(None),
    }
}

/// Opens a file to be read again and again; none when it is not there or not ours to read.
fn file(cgroup: &MemoryCgroup, name: &std::ffi::CStr) -> Option<OwnedFd> {
    cgroup.open(name, OFlags::RDONLY | OFlags::NONBLOCK).ok()
}

/// A place to ask the file system of.
/// The file system of a directory, or, while that is not made yet, the one that it will be on.
///
/// # Errors
/// The kernel's.
pub fn filesystem_of(path: &Path) -> io::Result<FilesystemFigures> {
    Ok(node::filesystem(&place_to_be(path)?)?)
}

/// The same of one that has to be there.
///
/// # Errors
/// The kernel's.
pub fn filesystem_at(path: &Path) -> io::Result<FilesystemFigures> {
    Ok(node::filesystem(&place(path)?)?)
}

/// A directory, or the nearest one above it that is there.
fn place_to_be(path: &Path) -> io::Result<OwnedFd> {
    let missing = |found: &io::Result<OwnedFd>| {
        let error = found.as_ref().err();
        error.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    let mut found = place(path);
    for above in path.ancestors().skip(1) {
        if !missing(&found) {
            break;
        }
        found = place(above);
    }
    found
}

fn place(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}
