//! One pass over all cgroups below a root.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use aya::maps::Array;
use aya::programs::RawTracePointRunOptions;
use plimsoll_ebpf::wire::{Asked, CgroupRecord, Root, RunTime, WalkState};
use plimsoll_ebpf::{Object, maps};
use rustix::fs::{Mode, OFlags};

use super::load::{LoadError, Loaded, cpus};
use super::survey::KernelTypes;
use super::totals::Totals;
use crate::kernel::bpf_sys::MappedArray;

const OBJECT: Object = Object::Usage;

/// The program that begins to count on a CPU.
const BEGIN: &str = "begin";

/// Records that are mapped from the start.
const FIRST_RECORDS: usize = 256;

/// Words of a [`RunTime`].
const RUN_TIME_WORDS: usize = size_of::<RunTime>() / 8;

/// Runs passes and holds the records of the last one.
pub struct Walker {
    loaded: Loaded,
    /// As many as some pass has filled: what is mapped counts as the agent's memory, used or not.
    records: MappedArray<CgroupRecord>,
    state: MappedArray<WalkState>,
    asked: MappedArray<Asked>,
    run_time: Totals<RUN_TIME_WORDS>,
    root: Root,
    /// Files of the root whose reading makes the kernel add up what its CPUs have counted since.
    flush: Vec<File>,
    /// Keeps the root's structure in the kernel's memory, so that its address stays good.
    _link: OwnedFd,
}

/// What a pass found.
#[derive(Debug)]
pub struct Pass<'a> {
    /// One record a cgroup, the root first, parents before children.
    pub records: &'a mut [CgroupRecord],
    /// Whether there were more cgroups than fit.
    pub truncated: bool,
}

impl Walker {
    /// Verifies the programs of the pass and finds the root, of which `directory` is.
    ///
    /// # Errors
    /// [`LoadError`] with what was refused.
    pub fn new(mut loaded: Loaded, types: &KernelTypes, directory: &File) -> Result<Self, LoadError> {
        let call = |what| {
            move |source| LoadError::Call {
                object: OBJECT,
                what,
                source,
            }
        };
        let run_time = Totals::new(&mut loaded, maps::RUN_TIME)?;
        for name in ["walk", "read_kernel", "ask"] {
            loaded.load_to_run(name)?;
        }
        let link = loaded.find_cgroup(types, directory)?;
        let records = map_records(&loaded, FIRST_RECORDS)?;
        let state = MappedArray::new(loaded.array(maps::WALK)?.fd(), 1).map_err(call("map the state"))?;
        let asked = MappedArray::new(loaded.array(maps::ASKED)?.fd(), 1).map_err(call("map the answers"))?;
        let mut walker = Self {
            loaded,
            records,
            state,
            asked,
            run_time,
            root: Root::default(),
            flush: Vec::new(),
            _link: link,
        };
        let found = walker.state();
        walker.root = Root {
            id: found.root_id,
            level: found.root_level.into(),
        };
        walker.find_statistics(types)?;
        walker.open_flush(directory);
        Ok(walker)
    }

    /// Makes the kernel count CPU time and run-queue delay at context switches, which the passes then collect.
    ///
    /// # Errors
    /// [`LoadError::Program`].
    pub fn count_run_time(
        &mut self,
        types: &KernelTypes,
        target: impl Fn(&str) -> Option<String>,
    ) -> Result<(), LoadError> {
        self.loaded.load_to_run(BEGIN)?;
        for cpu in 0..cpus(OBJECT)? {
            // One that is offline has nobody's turn to begin with.
            self.loaded.run_on(cpu, BEGIN, RawTracePointRunOptions::new())?;
        }
        self.loaded.attach(types, target)?;
        self.set_state(|state| state.run_counted = 1);
        Ok(())
    }

    /// What was counted for one cgroup, all CPUs together; none when nothing was.
    ///
    /// # Errors
    /// [`LoadError::Program`] when the kernel does not run the program that adds up.
    pub fn run_time(&mut self, cgroup: u64) -> Result<Option<RunTime>, LoadError> {
        if let Some(asked) = self.asked.values_mut().first_mut() {
            asked.cgroup = cgroup;
        }
        self.loaded.run("ask", RawTracePointRunOptions::default())?;
        let counted = self.asked.read(0).map(|asked| asked.run);
        Ok(counted.filter(|run| run.run_nsec > 0 || run.delays.iter().any(|switches| *switches > 0)))
    }

    /// Forgets what was counted for a cgroup.
    ///
    /// # Errors
    /// The kernel's.
    pub fn forget(&self, cgroup: u64) -> io::Result<()> {
        self.run_time.forget(cgroup)
    }

    /// All cgroups for which something was counted, also outside the root.
    ///
    /// # Errors
    /// The kernel's.
    pub fn counted(&self) -> io::Result<Vec<u64>> {
        let mut counted = Vec::new();
        self.run_time.read(|cgroup, _| counted.push(cgroup))?;
        Ok(counted)
    }

    /// The root's id and level.
    #[must_use]
    pub fn root(&self) -> Root {
        self.root
    }

    /// Whether the records hold what `memory.stat` shows.
    #[must_use]
    pub fn has_statistics(&self) -> bool {
        self.state().stat_known == 1
    }

    /// Whether the kernel has told of the beginning of every turn on a CPU, as far as the last pass knew. Vendors' kernels
    /// may not: then a task can be on a CPU and not be seen there.
    #[must_use]
    pub fn saw_every_turn(&self) -> bool {
        self.state().unseen == 0
    }

    /// The object, for its programs' costs.
    #[must_use]
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Makes a pass.
    ///
    /// # Errors
    /// [`LoadError::Program`] when the kernel does not run it, [`LoadError::Call`] when there is no room for more records.
    pub fn pass(&mut self) -> Result<Pass<'_>, LoadError> {
        for file in &self.flush {
            // One byte is enough: the kernel makes the whole text first. Without the file, the figures are older.
            _ = file.read_at(&mut [0], 0);
        }
        self.loaded.run("walk", RawTracePointRunOptions::new())?;
        let state = self.state();
        let count = state.count as usize;
        if count > self.records.len() {
            self.records = map_records(&self.loaded, count.next_power_of_two())?;
        }
        Ok(Pass {
            records: self.records.values_mut().get_mut(..count).unwrap_or_default(),
            truncated: state.truncated != 0,
        })
    }

    fn state(&self) -> WalkState {
        self.state.read(0).unwrap_or_default()
    }

    fn set_state(&mut self, change: impl FnOnce(&mut WalkState)) {
        if let Some(state) = self.state.values_mut().first_mut() {
            change(state);
        }
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
            self.set_state(|state| {
                state.stat_index = index;
                state.stat_known = 1;
            });
        }
        Ok(())
    }

    /// Copies [`maps::PEEK_BYTES`] of kernel memory.
    fn peek(&mut self, address: u64) -> Result<Vec<u8>, LoadError> {
        self.set_state(|state| state.peek = address);
        self.loaded.run("read_kernel", RawTracePointRunOptions::new())?;
        let failed = |source| LoadError::Map {
            object: OBJECT,
            map: maps::PEEK,
            source: Box::new(source),
        };
        let map = self.loaded.take_map(maps::PEEK)?;
        let bytes: Array<_, [u8; maps::PEEK_BYTES]> = Array::try_from(map).map_err(failed)?;
        Ok(bytes.get(&0, 0).map_err(failed)?.to_vec())
    }
}

/// Maps the first `records`, or all if there are no more.
fn map_records(loaded: &Loaded, records: usize) -> Result<MappedArray<CgroupRecord>, LoadError> {
    let records = records.min(maps::MAX_RECORDS as usize);
    MappedArray::new(loaded.array(maps::RECORDS)?.fd(), records).map_err(|source| LoadError::Call {
        object: OBJECT,
        what: "map the records",
        source,
    })
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
