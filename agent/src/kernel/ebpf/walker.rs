//! One pass over all cgroups below a root.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use aya::maps::{Array, MapData};
use aya::programs::raw_trace_point::RawTracePoint;
use aya::programs::{Iter, Program, ProgramError, RawTracePointRunOptions, TestRun};
use plimsoll_ebpf::wire::{CgroupRecord, Root, WalkState};
use plimsoll_ebpf::{Object, maps};
use rustix::fs::{Mode, OFlags};

use super::load::{LoadError, Loaded};
use super::survey::KernelTypes;
use crate::kernel::bpf_sys::{self, MappedArray};

const OBJECT: Object = Object::Sample;
/// Bytes of a page of an array map that is mapped.
const PAGE: usize = 4096;

/// Runs passes and holds the records of the last one.
pub struct Walker {
    loaded: Loaded,
    records: MappedArray,
    state: Array<MapData, WalkState>,
    root: Root,
    /// Files of the root whose reading makes the kernel add up what its CPUs have counted since.
    flush: Vec<File>,
    /// Keeps the root's structure in the kernel's memory, so that its address stays good.
    _link: OwnedFd,
}

/// What a pass found.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// The bytes of one [`CgroupRecord`] a cgroup.
    pub records: &'a [u8],
    /// Whether there were more cgroups than fit.
    pub truncated: bool,
}

impl Walker {
    /// Verifies the programs and finds the root, which `directory` is of.
    ///
    /// # Errors
    /// [`LoadError`] with what was refused.
    pub fn new(mut loaded: Loaded, types: &KernelTypes, directory: File) -> Result<Self, LoadError> {
        let call = |what| {
            move |source| LoadError::Call {
                object: OBJECT,
                what,
                source,
            }
        };
        for name in ["walk", "read_kernel"] {
            raw_tracepoint(&mut loaded, name)?.load().map_err(refused(name))?;
        }
        iterator(&mut loaded)?
            .load("cgroup", &types.aya)
            .map_err(refused("find"))?;
        let link = bpf_sys::link_cgroup(loaded.program_fd("find")?, directory.as_fd())
            .map_err(call("link the iterator"))?;
        bpf_sys::run_iterator(link.as_fd()).map_err(call("run the iterator"))?;
        let records = loaded.take_data(maps::RECORDS)?;
        let bytes = (maps::MAX_RECORDS as usize * size_of::<CgroupRecord>()).next_multiple_of(PAGE);
        let records = MappedArray::new(records.fd(), bytes).map_err(call("map the records"))?;
        let state = Array::try_from(loaded.take_map(maps::WALK)?).map_err(map_failed(maps::WALK))?;
        let found: WalkState = state.get(&0, 0).map_err(map_failed(maps::WALK))?;
        let mut walker = Self {
            loaded,
            records,
            state,
            root: Root {
                id: found.root_id,
                level: found.root_level.into(),
            },
            flush: Vec::new(),
            _link: link,
        };
        walker.find_statistics(types)?;
        walker.open_flush(&directory);
        Ok(walker)
    }

    /// The root's id and level.
    #[must_use]
    pub fn root(&self) -> Root {
        self.root
    }

    /// Whether `memory.stat` is among the records.
    #[must_use]
    pub fn has_statistics(&self) -> bool {
        self.state.get(&0, 0).is_ok_and(|state| state.stat_known == 1)
    }

    /// The object, for its programs' costs.
    #[must_use]
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Makes a pass.
    ///
    /// # Errors
    /// [`LoadError::Program`] when the kernel does not run it, [`LoadError::Map`] when its state cannot be read.
    pub fn pass(&mut self) -> Result<Pass<'_>, LoadError> {
        for file in &self.flush {
            // One byte is enough: the kernel makes the whole text first. A root without the controller any more has
            // nothing to add up.
            _ = file.read_at(&mut [0], 0);
        }
        run(&mut self.loaded, "walk")?;
        let state = self.state.get(&0, 0).map_err(map_failed(maps::WALK))?;
        let bytes = state.count as usize * size_of::<CgroupRecord>();
        Ok(Pass {
            records: self.records.bytes().get(..bytes).unwrap_or_default(),
            truncated: state.truncated != 0,
        })
    }

    /// Opens the files that make the kernel add up: `cpu.stat` for CPU time, and the cheapest of those that do it for
    /// the memory statistics, which newer kernels keep apart.
    fn open_flush(&mut self, directory: &File) {
        let open = |name| {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            rustix::fs::openat(directory, name, flags, Mode::empty())
                .map(File::from)
                .ok()
        };
        self.flush.extend(open("cpu.stat"));
        if self.has_statistics() {
            self.flush
                .extend(open("memory.zswap.current").or_else(|| open("memory.stat")));
        }
    }

    /// Tells the program where the kernel keeps the statistics that `memory.stat` shows, if that can be known.
    fn find_statistics(&mut self, types: &KernelTypes) -> Result<(), LoadError> {
        let index = types.statistics(|| {
            let address = kernel_symbol("mem_cgroup_stats_index")?;
            self.peek(address).ok()
        });
        if let Some(index) = index {
            let mut state = self.state.get(&0, 0).map_err(map_failed(maps::WALK))?;
            state.stat_index = index;
            state.stat_known = 1;
            self.state.set(0, state, 0).map_err(map_failed(maps::WALK))?;
        }
        Ok(())
    }

    /// Copies [`maps::PEEK_BYTES`] of kernel memory.
    fn peek(&mut self, address: u64) -> Result<Vec<u8>, LoadError> {
        let mut state = self.state.get(&0, 0).map_err(map_failed(maps::WALK))?;
        state.peek = address;
        self.state.set(0, state, 0).map_err(map_failed(maps::WALK))?;
        run(&mut self.loaded, "read_kernel")?;
        let map = self.loaded.take_map(maps::PEEK)?;
        let bytes: Array<_, [u8; maps::PEEK_BYTES]> = Array::try_from(map).map_err(map_failed(maps::PEEK))?;
        Ok(bytes.get(&0, 0).map_err(map_failed(maps::PEEK))?.to_vec())
    }
}

fn run(loaded: &mut Loaded, name: &'static str) -> Result<(), LoadError> {
    raw_tracepoint(loaded, name)?
        .test_run(RawTracePointRunOptions::default())
        .map_err(refused(name))?;
    Ok(())
}

fn raw_tracepoint<'a>(
    loaded: &'a mut Loaded,
    name: &'static str,
) -> Result<&'a mut RawTracePoint, LoadError> {
    match loaded.ebpf.program_mut(name) {
        Some(Program::RawTracePoint(program)) => Ok(program),
        _ => Err(refused(name)(ProgramError::UnexpectedProgramType)),
    }
}

fn iterator(loaded: &mut Loaded) -> Result<&mut Iter, LoadError> {
    match loaded.ebpf.program_mut("find") {
        Some(Program::Iter(program)) => Ok(program),
        _ => Err(refused("find")(ProgramError::UnexpectedProgramType)),
    }
}

fn refused(program: &'static str) -> impl Fn(ProgramError) -> LoadError {
    move |source| LoadError::Program {
        object: OBJECT,
        program: program.to_owned(),
        step: "run",
        source: Box::new(source),
    }
}

fn map_failed(map: &'static str) -> impl Fn(aya::maps::MapError) -> LoadError {
    move |source| LoadError::Map {
        object: OBJECT,
        map,
        source: Box::new(source),
    }
}

/// The address of a kernel variable; none when the kernel hides or has not got it.
fn kernel_symbol(name: &str) -> Option<u64> {
    let lines = BufReader::new(File::open("/proc/kallsyms").ok()?).lines();
    let mut found = lines
        .map_while(io::Result::ok)
        .filter(|line| line.ends_with(name))
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            (words.nth(1)? == name && address != 0).then_some(address)
        });
    found.next()
}
