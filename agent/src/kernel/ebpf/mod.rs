//! Loading the eBPF objects and reading what they gather.
//!
//! **Problem.** Kernels differ in what they let a program see and attach to, and a refusal must cost one feature,
//! not all. **How.** Each object is loaded on its own with the facts found for it ([`KernelTypes::survey`]); each
//! result is `Ok` or a [`LoadError`] that says what was refused and why. What an object gathers is read through one
//! of five types: [`Walker`] runs a pass over all cgroups, [`Stalled`] reads stall times per cgroup, [`Rings`] hands
//! over events, [`Shortages`] those of a machine short of memory, [`CpuBooks`] tells what ran on CPUs that have an owner.
//!
//! Values come out as the bytes of [`plimsoll_ebpf::wire`]; `observe::probes` makes sense of them.

mod cpu_books;
mod embedded;
mod load;
mod rings;
mod runs;
mod shortages;
mod stalls;
mod survey;
mod totals;
mod walker;

use std::fs::File;
use std::io;
use std::path::Path;

use crate::model::Bytes;

pub use cpu_books::{Adopted, CpuBooks};
pub use embedded::OBJECTS;
pub use load::{Image, LoadError, Loaded, Stopwatch, run_statistics};
pub use rings::{Ring, Rings};
pub use shortages::{Short, ShortageEvent, Shortages};
pub use stalls::Stalled;
pub use survey::{KernelTypes, Survey};
pub use walker::{Pass, Walker};

/// The size of a page, in which the kernel counts memory.
#[must_use]
pub fn page_size() -> Bytes {
    Bytes(rustix::param::page_size() as u64)
}

/// Opens a cgroup's directory, to name the cgroup to the kernel.
///
/// # Errors
/// The kernel's.
pub fn open_directory(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        Ok(file)
    } else {
        Err(io::ErrorKind::NotADirectory.into())
    }
}
