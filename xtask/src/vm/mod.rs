//! The VM lab: one command in a fresh machine with a kernel of choice.
//!
//! The machine is an initramfs made on the spot (busybox, the given programs with their shared libraries, an init
//! script) booted by QEMU under software emulation, which needs no privilege and works inside other VMs. Three serial
//! ports keep streams apart: the kernel's console, the command's standard output, its standard error. Init reports
//! progress and the exit status as lines of the kernel log.
//!
//! What always holds: the call ends (the command's end, a panic, or the time-out), and the status returned is the
//! command's own.

pub(crate) mod cli;
mod console;
mod cpio;
mod initramfs;
mod libraries;
mod machine;
mod session;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::{paths, setup};

pub(crate) use session::{Stream, pass_on};

/// A machine and what to run in it.
#[derive(Debug, Clone)]
pub(crate) struct VmSpec {
    /// Kernel series, one of `setup::kernels::KERNELS`.
    pub(crate) kernel: String,
    pub(crate) cpus: u32,
    /// NUMA nodes, among which CPUs and memory are split evenly.
    pub(crate) numa_nodes: u32,
    /// Sockets, among which NUMA nodes are split evenly.
    pub(crate) sockets: u32,
    /// Threads of a core.
    pub(crate) threads: u32,
    pub(crate) memory_mib: u64,
    /// 0 for none.
    pub(crate) swap_mib: u64,
    /// An empty ext4 file system on a disk, mounted at /disk; 0 for none.
    pub(crate) disk_mib: u64,
    pub(crate) pace: Pace,
    /// From the start of QEMU to the command's end.
    pub(crate) timeout: Duration,
    /// Further words for the kernel's command line.
    pub(crate) kernel_arguments: Vec<String>,
    pub(crate) files: Vec<GuestFile>,
    /// Variables of the command's environment.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) command: Vec<String>,
}

/// What runs the machine's CPUs, and what its clock goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// The hardware, in real time.
    Hardware,
    /// One thread of QEMU, in real time. Busy CPUs get a tenth of a second each in turn, so that with eight of them
    /// everything that wakes up waits for the better part of a second.
    RealTime,
    /// One thread of QEMU that changes CPUs at each timer. A nanosecond goes by with each instruction
    /// of any CPU, whatever that takes outside: N CPUs share what one CPU of 1 GHz can do, times inside can be
    /// compared with each other, and nothing of the host's load is seen.
    Instructions,
}

/// A file of the host that the machine gets; a program's shared libraries come along.
#[derive(Debug, Clone)]
pub(crate) struct GuestFile {
    pub(crate) host: PathBuf,
    /// Absolute.
    pub(crate) guest: String,
}

impl VmSpec {
    /// A machine with 2 CPUs and 1 GiB for `command`.
    pub(crate) fn new(kernel: &str, command: impl IntoIterator<Item = impl Into<String>>) -> VmSpec {
        VmSpec {
            kernel: kernel.to_owned(),
            cpus: 2,
            numa_nodes: 1,
            sockets: 1,
            threads: 1,
            memory_mib: 1024,
            swap_mib: 0,
            disk_mib: 0,
            pace: Pace::RealTime,
            timeout: Duration::from_secs(300),
            kernel_arguments: Vec::new(),
            files: Vec::new(),
            environment: Vec::new(),
            command: command.into_iter().map(Into::into).collect(),
        }
    }

    /// Adds a file under the given absolute path.
    pub(crate) fn file(mut self, host: impl Into<PathBuf>, guest: impl Into<String>) -> VmSpec {
        self.files.push(GuestFile {
            host: host.into(),
            guest: guest.into(),
        });
        self
    }
}

/// How a command ended inside its machine.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// As a shell gives it: 128 + N after signal N.
    pub(crate) status: u8,
    /// From the start of QEMU to the command's start.
    pub(crate) booted: Duration,
    /// Lines of the kernel's console that speak of a fault it survived (an oops, a warning, a stall).
    pub(crate) complaints: Vec<String>,
}

/// Boots the machine, runs the command, and hands its output to `sink` as it comes.
///
/// # Errors
/// When the machine cannot be made, its kernel panics, or the time is up; the error has the console's last lines.
pub(crate) fn run(spec: &VmSpec, sink: &mut dyn FnMut(Stream, &[u8])) -> Result<Outcome> {
    setup::ensure(&[setup::Need::Vm])?;
    let image = setup::kernels::image(&spec.kernel)
        .map_err(|why| anyhow!("kernel {} cannot be had: {why}", spec.kernel))?;
    let dir = scratch_dir()?;
    let result = initramfs::write(spec, &dir.join("initramfs"))
        .context("cannot make the initramfs")
        .and_then(|()| session::run(spec, &image, &dir, sink));
    std::fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    result
}

/// Boots the machine with our own standard streams as the command's.
pub(crate) fn run_here(spec: &VmSpec) -> Result<Outcome> {
    run(spec, &mut session::pass_on)
}

/// Runs a program of this host inside the machine and returns what it wrote to standard output.
///
/// Its standard error is passed on. This is how `bench` and `demo` get figures of other kernels.
pub(crate) fn output(spec: &VmSpec) -> Result<(Outcome, Vec<u8>)> {
    let mut bytes = Vec::new();
    let outcome = run(spec, &mut |stream, chunk| match stream {
        Stream::Output => bytes.extend_from_slice(chunk),
        Stream::Error => session::pass_on(stream, chunk),
    })?;
    Ok((outcome, bytes))
}

/// The path of sockets is limited to about 100 bytes, so this is not below `target/`.
fn scratch_dir() -> Result<PathBuf> {
    let name = format!("plimsoll-vm-{}-{}", std::process::id(), session::serial_number());
    let dir = std::env::temp_dir().join(name);
    paths::make_dir(&dir)?;
    Ok(dir)
}
