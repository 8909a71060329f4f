//! What ran on each CPU that belongs to one container.
//!
//! The programs are verified when the object is loaded, and attached only while some CPU has an owner: a machine
//! without exclusive CPUs pays nothing. A CPU's owner is changed by a program that the agent runs on that very CPU,
//! where it finds the task that is running there: so the books begin with a known state, and no switch can come in
//! between. That interrupts the CPU once a change, and never for reading.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{Ordering, fence};
use std::thread;
use std::time::Duration;

use aya::maps::{Array, HashMap, Map, MapData};
use aya::programs::tp_btf::BtfTracePointLinkId;
use aya::programs::{Program, ProgramError, RawTracePointRunOptions};
use plimsoll_ebpf::foreign::ForeignCpu;
use plimsoll_ebpf::wire::{Root, ThreadOnCpu};
use plimsoll_ebpf::{Object, maps};
use rustix::io::Errno;

use super::load::{self, LoadError, Loaded, no_map};
use super::survey::KernelTypes;
use crate::kernel::bpf_sys::MappedArray;
use crate::kernel::clock::{Clock, RealClock};
use crate::model::{BootTime, CgroupId, CpuId};

const OBJECT: Object = Object::Foreign;

/// How often books are tried again that are being written.
const TRIES: usize = 1000;
/// How often and how far apart they are tried after that: a virtual CPU that its host stopped while it wrote keeps them
/// open until it goes on.
const LATE_TRIES: usize = 100;
const LATE: Duration = Duration::from_micros(200);

/// The program that gives a CPU to an owner.
const ADOPT: &str = "adopt";

/// What came of giving a CPU to an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// It counts for this owner now.
    Now,
    /// The CPU is not online, and nothing runs there.
    Offline,
}

/// The books of all CPUs.
pub struct CpuBooks {
    loaded: Loaded,
    books: MappedArray<ForeignCpu>,
    cpus: u32,
    threads: HashMap<MapData, ThreadOnCpu, u64>,
    /// What the programs attach to.
    targets: BTreeMap<&'static str, &'static str>,
    links: Vec<(&'static str, BtfTracePointLinkId)>,
    root: Root,
    /// Keeps the root's structure in the kernel's memory.
    _link: OwnedFd,
}

impl CpuBooks {
    /// Verifies the programs, `targets` telling what each attaches to. Pods are what is below
    /// the cgroup of `directory`.
    ///
    /// # Errors
    /// [`LoadError`] with what was refused.
    pub fn new(
        mut loaded: Loaded,
        types: &KernelTypes,
        targets: &BTreeMap<&'static str, &'static str>,
        directory: &File,
    ) -> Result<Self, LoadError> {
        let cpus = load::cpus(OBJECT)?;
        let books = MappedArray::new(loaded.array(maps::CPUS)?.fd(), cpus as usize).map_err(|source| {
            LoadError::Call {
                object: OBJECT,
                what: "map the books",
                source,
            }
        })?;
        let threads =
            HashMap::try_from(loaded.take_map(maps::THREADS)?).map_err(no_map(OBJECT, maps::THREADS))?;
        loaded.load_to_run(ADOPT)?;
        for (name, target) in targets {
            match loaded.ebpf.program_mut(name) {
                Some(Program::BtfTracePoint(program)) => {
                    program.load(target, &types.aya).map_err(refused(name, "load"))?;
                }
                _ => return Err(refused(name, "find")(ProgramError::UnexpectedProgramType)),
            }
        }
        let link = loaded.find_cgroup(types, directory)?;
        let root = match loaded.ebpf.map(maps::ROOT) {
            Some(map @ Map::Array(_)) => Array::try_from(map)
                .and_then(|roots: Array<_, Root>| roots.get(&0, 0))
                .map_err(no_map(OBJECT, maps::ROOT))?,
            _ => return Err(loaded.no_map(maps::ROOT)),
        };
        Ok(Self {
            loaded,
            books,
            cpus,
            threads,
            targets: targets.clone(),
            links: Vec::new(),
            root,
            _link: link,
        })
    }

    /// The level of the cgroup below which pods are, the hierarchy's root being 0.
    #[must_use]
    pub fn root_level(&self) -> u64 {
        self.root.level
    }

    /// How many CPUs there can be.
    #[must_use]
    pub fn cpus(&self) -> u32 {
        self.cpus
    }

    /// The object, for its programs' costs.
    #[must_use]
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Whether the programs are attached.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        !self.links.is_empty()
    }

    /// Attaches the programs, if they are not.
    ///
    /// # Errors
    /// [`LoadError::Program`]; none is attached then.
    pub fn attach(&mut self) -> Result<(), LoadError> {
        if self.is_attached() {
            return Ok(());
        }
        let targets = self.targets.clone();
        for name in targets.keys() {
            let attached = match self.loaded.ebpf.program_mut(name) {
                Some(Program::BtfTracePoint(program)) => program.attach(),
                _ => Err(ProgramError::UnexpectedProgramType),
            };
            match attached {
                Ok(link) => self.links.push((name, link)),
                Err(error) => {
                    // What is said is why it could not begin, not what else went wrong on the way back.
                    _ = self.detach();
                    return Err(refused(name, "attach")(error));
                }
            }
        }
        Ok(())
    }

    /// Detaches the programs.
    ///
    /// # Errors
    /// [`LoadError::Program`] for the last that could not be; the others are.
    pub fn detach(&mut self) -> Result<(), LoadError> {
        let mut result = Ok(());
        for (name, link) in self.links.drain(..) {
            if let Some(Program::BtfTracePoint(program)) = self.loaded.ebpf.program_mut(name)
                && let Err(error) = program.detach(link)
            {
                result = Err(refused(name, "detach")(error));
            }
        }
        result
    }

    /// Gives a CPU to the cgroup of this id and level, or to none. Interrupts the CPU for some microseconds.
    ///
    /// # Errors
    /// [`LoadError::Program`] when the kernel does not run the program, [`LoadError::Call`] when the CPU is none of
    /// this machine's, or its books are always open.
    pub fn adopt(&mut self, cpu: CpuId, owner: Option<(CgroupId, u64)>) -> Result<Adopted, LoadError> {
        let call = |what: &'static str, error: Errno| LoadError::Call {
            object: OBJECT,
            what,
            source: error.into(),
        };
        if u32::from(cpu) >= self.cpus {
            return Err(call("find the CPU in the books", Errno::NODEV));
        }
        let (id, level) = owner.map_or((0, 0), |(id, level)| (id.0, level));
        for _ in 0..TRIES {
            let mut options = RawTracePointRunOptions::new();
            options.args = [id, level, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            match self.loaded.run_on(cpu.into(), ADOPT, options)? {
                Some(0) => return Ok(Adopted::Now),
                Some(_) => {}
                None => return Ok(Adopted::Offline),
            }
        }
        Err(call("write the books", Errno::BUSY))
    }

    /// The books of a CPU and a time shortly before they were so. None for a CPU that there cannot be, and when the
    /// books could not be read whole, each time being written, for tens of milliseconds.
    #[must_use]
    pub fn read(&self, cpu: CpuId) -> Option<(BootTime, ForeignCpu)> {
        for tried in 0..TRIES + LATE_TRIES {
            if tried >= TRIES {
                thread::sleep(LATE);
            }
            // The time comes first: what the present user has used until then, it has used.
            let now = RealClock.now();
            let before = self.books.read(cpu.index())?.sequence;
            fence(Ordering::Acquire);
            let books = self.books.read(cpu.index())?;
            fence(Ordering::Acquire);
            let after = self.books.read(cpu.index())?.sequence;
            if before == after && before & 1 == 0 {
                return Some((now, books));
            }
        }
        None
    }

    /// Names of kernel threads with the nanoseconds that they ran on each CPU while it had an owner.
    ///
    /// # Errors
    /// The kernel's.
    pub fn threads(&self) -> io::Result<Vec<(ThreadOnCpu, u64)>> {
        self.threads
            .iter()
            .collect::<Result<_, _>>()
            .map_err(io::Error::other)
    }
}

fn refused(program: &'static str, step: &'static str) -> impl Fn(ProgramError) -> LoadError {
    move |source| LoadError::Program {
        object: OBJECT,
        program: program.to_owned(),
        step,
        source: Box::new(source),
    }
}
