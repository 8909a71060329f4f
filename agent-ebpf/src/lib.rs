//! The contract between the eBPF programs and the agent: what each object needs to know of the kernel, the records
//! it hands over, the names and sizes of its maps, and the arithmetic that both sides must do alike.
//!
//! **Problem.** Programs and agent are compiled apart and meet at run time, through memory that has no types. A
//! record whose layout differs by one byte gives numbers that look right. **How.** Both sides compile this crate:
//! records are `repr(C)`, of fixed-width integers without padding, and their sizes are asserted. What the kernel
//! looks like (where a field lies in a structure) cannot be known when compiling: [`facts`] lists by name what each
//! object needs, the agent resolves it in the kernel's BTF and hands it over as a read-only global.
//!
//! **Objects.** [`Object`] lists them. Each is loaded on its own, so that a kernel which refuses one loses one
//! feature only.
//!
//! A stale object must not be read with new layouts: the global carries the version of the contract in its name
//! ([`FACTS_SYMBOL`]), and an object of another version does not have it.
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![no_std]

pub mod account;
pub mod facts;
pub mod foreign;
#[cfg(target_arch = "bpf")]
pub mod kernel;
pub mod maps;
pub mod wire;

/// The read-only global through which the agent tells an object its facts. The number is the contract's version.
pub const FACTS_SYMBOL: &str = "FACTS_V1";

/// The objects, each with the programs of one feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Object {
    /// What every cgroup uses: a pass over all of them, run on demand, and CPU time and run-queue delay counted at
    /// every context switch, which the pass collects.
    Usage,
    /// Cgroups made, removed and emptied, processes executed and ended.
    Life,
    /// Victims of the OOM killer.
    Oom,
    /// What the OOM killer chose among: the cgroup whose limit was hit.
    Oomx,
    /// Time stalled in direct reclaim.
    Reclaim,
    /// Time held back for exceeding `memory.high`.
    Reclaimx,
    /// What runs on CPUs that belong to one container, and is not that container.
    Foreign,
    /// Who wrote a value into a cgroup's file.
    Writes,
    /// The machine runs short of memory.
    Shortage,
}

impl Object {
    /// All of them, in the order of loading.
    pub const ALL: [Self; 9] = [
        Self::Usage,
        Self::Life,
        Self::Oom,
        Self::Oomx,
        Self::Reclaim,
        Self::Reclaimx,
        Self::Foreign,
        Self::Writes,
        Self::Shortage,
    ];

    /// Its file name without `.o`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Life => "life",
            Self::Oom => "oom",
            Self::Oomx => "oomx",
            Self::Reclaim => "reclaim",
            Self::Reclaimx => "reclaimx",
            Self::Foreign => "foreign",
            Self::Writes => "writes",
            Self::Shortage => "shortage",
        }
    }

    /// What it needs to know of the kernel.
    #[must_use]
    pub const fn facts(self) -> &'static [facts::Need] {
        match self {
            Self::Usage => facts::Usage::NEEDS,
            Self::Life => facts::Life::NEEDS,
            Self::Oom => facts::Oom::NEEDS,
            Self::Oomx => facts::Oomx::NEEDS,
            Self::Reclaim | Self::Reclaimx => facts::Reclaim::NEEDS,
            Self::Foreign => facts::Foreign::NEEDS,
            Self::Writes => facts::Writes::NEEDS,
            Self::Shortage => facts::Shortage::NEEDS,
        }
    }
}
