//! One object: its bytes, its facts, its programs.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use aya::maps::{Array, Map, MapData, MapError};
use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfError, EbpfLoader};
use plimsoll_ebpf::wire::Root;
use plimsoll_ebpf::{FACTS_SYMBOL, Object, maps};

use super::survey::KernelTypes;
use crate::kernel::btf::Resolved;

/// An object's name and bytes.
pub type Image<'a> = (&'a str, &'a [u8]);

/// Why an object is not in use.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The kernel does not describe its types.
    #[error("no kernel types: {reason}")]
    NoTypes {
        /// What is wrong with them.
        reason: String,
    },
    /// The agent was built without the object.
    #[error("the agent was built without {}.o", object.name())]
    NotBuilt {
        /// Which.
        object: Object,
    },
    /// The kernel refused the object or one of its maps.
    #[error("cannot load {}.o: {source}", object.name())]
    Object {
        /// Which.
        object: Object,
        /// Why.
        source: Box<EbpfError>,
    },
    /// The kernel refused a program.
    #[error("cannot {step} {program} of {}.o: {}", object.name(), reason(source))]
    Program {
        /// Which object.
        object: Object,
        /// Which program.
        program: String,
        /// `load` or `attach`.
        step: &'static str,
        /// Why.
        source: Box<ProgramError>,
    },
    /// A map is not there, or not as expected.
    #[error("cannot use the map {map} of {}.o: {source}", object.name())]
    Map {
        /// Which object.
        object: Object,
        /// Which map.
        map: &'static str,
        /// Why.
        source: Box<MapError>,
    },
    /// A call outside aya failed.
    #[error("cannot {what} of {}.o: {source}", object.name())]
    Call {
        /// Which object.
        object: Object,
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Why the kernel refused a program. What it refuses before verifying it has no verifier's log to show.
fn reason(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } if verifier_log.to_string().trim().is_empty() => {
            format!("the BPF_PROG_LOAD syscall returned {io_error}")
        }
        _ => error.to_string(),
    }
}

/// An object in the kernel. Dropping it detaches its programs and frees its maps.
#[derive(Debug)]
pub struct Loaded {
    pub(super) object: Object,
    pub(super) ebpf: Ebpf,
}

impl Loaded {
    /// Loads an object's maps and code; no program is verified yet.
    ///
    /// # Errors
    /// [`LoadError::NotBuilt`], [`LoadError::Object`].
    pub fn open(
        object: Object,
        images: &[Image<'_>],
        facts: &Resolved,
        types: &KernelTypes,
    ) -> Result<Self, LoadError> {
        let (_, bytes) = images
            .iter()
            .find(|(name, bytes)| *name == object.name() && !bytes.is_empty())
            .ok_or(LoadError::NotBuilt { object })?;
        let mut loader = EbpfLoader::new();
        loader
            .btf(Some(&types.aya))
            .override_global(FACTS_SYMBOL, facts.numbers.as_slice(), true);
        if object == Object::Foreign {
            loader.map_max_entries(maps::CPUS, cpus(object)?);
        }
        if object == Object::Shortage {
            loader.map_max_entries(maps::COUNTS, cpus(object)?);
        }
        let ebpf = loader.load(bytes).map_err(|source| LoadError::Object {
            object,
            source: Box::new(source),
        })?;
        Ok(Self { object, ebpf })
    }

    /// Verifies and attaches every program for which `target` names what to attach to.
    ///
    /// # Errors
    /// [`LoadError::Program`] for the first one refused; those before it are detached when `self` is dropped.
    pub fn attach(
        &mut self,
        types: &KernelTypes,
        target: impl Fn(&str) -> Option<String>,
    ) -> Result<(), LoadError> {
        let object = self.object;
        for (name, program) in self.ebpf.programs_mut() {
            let Some(target) = target(name) else { continue };
            let failed = |step| {
                move |source: ProgramError| LoadError::Program {
                    object,
                    program: name.to_owned(),
                    step,
                    source: Box::new(source),
                }
            };
            match program {
                Program::BtfTracePoint(program) => {
                    program.load(&target, &types.aya).map_err(failed("load"))?;
                    program.attach().map_err(failed("attach"))?;
                }
                Program::FEntry(program) => {
                    program.load(&target, &types.aya).map_err(failed("load"))?;
                    program.attach().map_err(failed("attach"))?;
                }
                Program::FExit(program) => {
                    program.load(&target, &types.aya).map_err(failed("load"))?;
                    program.attach().map_err(failed("attach"))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Tells `life` or `writes` below which cgroup to watch.
    ///
    /// # Errors
    /// [`LoadError::Map`].
    pub fn set_root(&mut self, root: Root) -> Result<(), LoadError> {
        let failed = no_map(self.object, maps::ROOT);
        let map = self.ebpf.map_mut(maps::ROOT).ok_or_else(|| {
            failed(MapError::InvalidName {
                name: maps::ROOT.to_owned(),
            })
        })?;
        let mut array: Array<_, Root> = Array::try_from(map).map_err(&failed)?;
        array.set(0, root, 0).map_err(failed)
    }

    /// Takes a map out of the object. A program that uses it must have been loaded before the map is dropped.
    pub(super) fn take_map(&mut self, name: &'static str) -> Result<Map, LoadError> {
        self.ebpf.take_map(name).ok_or_else(|| self.no_map(name))
    }

    /// An array map, which stays with the object.
    pub(super) fn array(&self, name: &'static str) -> Result<&MapData, LoadError> {
        match self.ebpf.map(name) {
            Some(Map::Array(data)) => Ok(data),
            _ => Err(self.no_map(name)),
        }
    }

    pub(super) fn no_map(&self, map: &'static str) -> LoadError {
        no_map(self.object, map)(MapError::InvalidName { name: map.to_owned() })
    }

    /// A hash map, to be read by its descriptor.
    pub(super) fn take_data(&mut self, name: &'static str) -> Result<MapData, LoadError> {
        match self.take_map(name)? {
            Map::PerCpuHashMap(data) => Ok(data),
            _ => Err(self.no_map(name)),
        }
    }

    /// What each program ran since it was loaded, while statistics were on ([`run_statistics`]).
    #[must_use]
    pub fn costs(&self) -> Vec<Stopwatch> {
        self.ebpf
            .programs()
            .filter_map(|(name, program)| {
                let info = program.info().ok()?;
                Some(Stopwatch {
                    program: name.to_owned(),
                    runs: info.run_count(),
                    time: info.run_time(),
                })
            })
            .collect()
    }
}

/// How many CPUs there can be.
pub(super) fn cpus(object: Object) -> Result<u32, LoadError> {
    let call = |source| LoadError::Call {
        object,
        what: "count the CPUs",
        source,
    };
    let cpus = aya::util::nr_cpus().map_err(|(_, error)| call(error))?;
    u32::try_from(cpus).map_err(|error| call(io::Error::other(error)))
}

/// What a program cost. Some 30 ns of each run are the measuring itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopwatch {
    /// The program.
    pub program: String,
    /// How often it ran.
    pub runs: u64,
    /// How long, in all.
    pub time: Duration,
}

/// Makes the kernel time every eBPF program for as long as the descriptor is held. Needs `CAP_SYS_ADMIN`.
///
/// # Errors
/// The kernel's.
pub fn run_statistics() -> io::Result<OwnedFd> {
    aya::sys::enable_stats(aya::sys::Stats::RunTime).map_err(|e| e.io_error)
}

/// Says that a map of an object is not there, or not as expected.
pub(super) fn no_map(object: Object, map: &'static str) -> impl Fn(MapError) -> LoadError {
    move |source| LoadError::Map {
        object,
        map,
        source: Box::new(source),
    }
}
