//! The interface files of cgroup v2 that the agent reads and writes.
//!
//! Source: the kernel's `Documentation/admin-guide/cgroup-v2.rst`, "Core Interface Files" and "Controllers".

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A cgroup v2 resource controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Controller {
    /// CPU time: weight and bandwidth.
    Cpu,
    /// CPUs and memory nodes.
    Cpuset,
    /// Memory.
    Memory,
    /// Block IO.
    Io,
    /// Number of tasks.
    Pids,
    /// Huge pages.
    Hugetlb,
}

impl Controller {
    /// Every controller the agent knows.
    pub const ALL: [Self; 6] = [
        Self::Cpu,
        Self::Cpuset,
        Self::Memory,
        Self::Io,
        Self::Pids,
        Self::Hugetlb,
    ];

    /// The name as `cgroup.controllers` lists it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Io => "io",
            Self::Pids => "pids",
            Self::Hugetlb => "hugetlb",
        }
    }

    /// The controller of that name, if it is one the agent knows.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.as_str() == name)
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A huge page's size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HugePageSize(pub u64);

impl HugePageSize {
    /// The size as hugetlb file names have it: `64KB`, `2MB`, `1GB`.
    #[must_use]
    pub fn file_part(self) -> String {
        match self.0 {
            n if n >= 1 << 30 => format!("{}GB", n >> 30),
            n if n >= 1 << 20 => format!("{}MB", n >> 20),
            n => format!("{}KB", n >> 10),
        }
    }

    /// The size behind that part of a name, if it is one.
    #[must_use]
    pub fn from_file_part(part: &str) -> Option<Self> {
        let shift = match part.get(part.len().checked_sub(2)?..)? {
            "KB" => 10,
            "MB" => 20,
            "GB" => 30,
            _ => return None,
        };
        let number: u64 = part[..part.len() - 2].parse().ok()?;
        let size = Self(number.checked_mul(1 << shift)?);
        (size.file_part() == part).then_some(size)
    }
}

macro_rules! control_files {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $controller:expr;)*) => {
        /// An interface file of a cgroup directory.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum ControlFile {
            $($(#[$doc])* $variant,)*
            /// `hugetlb.<size>.max`: limit on huge pages of one size in use.
            HugetlbMax(HugePageSize),
            /// `hugetlb.<size>.rsvd.max`: limit on huge pages of one size reserved.
            HugetlbRsvdMax(HugePageSize),
        }

        impl ControlFile {
            /// The file's name.
            #[must_use]
            pub fn name(self) -> Cow<'static, str> {
                match self {
                    $(Self::$variant => Cow::Borrowed($name),)*
                    Self::HugetlbMax(size) => format!("hugetlb.{}.max", size.file_part()).into(),
                    Self::HugetlbRsvdMax(size) => format!("hugetlb.{}.rsvd.max", size.file_part()).into(),
                }
            }

            /// The file of that name, if it is one the agent knows.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => {
                        let of_size = name.strip_prefix("hugetlb.")?.strip_suffix(".max")?;
                        match of_size.strip_suffix(".rsvd") {
                            Some(size) => HugePageSize::from_file_part(size).map(Self::HugetlbRsvdMax),
                            None => HugePageSize::from_file_part(of_size).map(Self::HugetlbMax),
                        }
                    }
                }
            }

            /// The controller that must be enabled for the file to exist; none for the core's own files.
            #[must_use]
            pub fn controller(self) -> Option<Controller> {
                match self {
                    $(Self::$variant => $controller,)*
                    Self::HugetlbMax(_) | Self::HugetlbRsvdMax(_) => Some(Controller::Hugetlb),
                }
            }
        }
    };
}

control_files! {
    /// Controllers that may be enabled here.
    Controllers = "cgroup.controllers", None;
    /// Controllers enabled for the children.
    SubtreeControl = "cgroup.subtree_control", None;
    /// Processes that are members.
    Procs = "cgroup.procs", None;
    /// `populated` and `frozen`.
    Events = "cgroup.events", None;
    /// Counts of descendants, dying ones included.
    Stat = "cgroup.stat", None;
    /// Writing 1 kills every process in the subtree.
    Kill = "cgroup.kill", None;
    /// `domain` or one of the threaded types.
    Type = "cgroup.type", None;
    /// CPU time used and throttled. The usage part exists without the controller.
    CpuStat = "cpu.stat", None;
    /// Share of CPU time among siblings.
    CpuWeight = "cpu.weight", Some(Controller::Cpu);
    /// Bandwidth limit: quota and period in microseconds.
    CpuMax = "cpu.max", Some(Controller::Cpu);
    /// CPU pressure.
    CpuPressure = "cpu.pressure", None;
    /// CPUs that its tasks may run on; empty for those of the parent.
    CpusetCpus = "cpuset.cpus", Some(Controller::Cpuset);
    /// CPUs that its tasks do run on: what of those asked for the parents have, or all of the parent's if that is none.
    CpusetCpusEffective = "cpuset.cpus.effective", Some(Controller::Cpuset);
    /// CPUs kept for partitions further down; since Linux 6.7.
    CpusetCpusExclusive = "cpuset.cpus.exclusive", Some(Controller::Cpuset);
    /// Whether it is a partition: `member`, `root` or `isolated`; with the reason where the kernel does not keep it.
    CpusetPartition = "cpuset.cpus.partition", Some(Controller::Cpuset);
    /// NUMA nodes that its tasks may have memory from; empty for those of the parent.
    CpusetMems = "cpuset.mems", Some(Controller::Cpuset);
    /// NUMA nodes that its tasks do have memory from.
    CpusetMemsEffective = "cpuset.mems.effective", Some(Controller::Cpuset);
    /// Memory charged to the subtree.
    MemoryCurrent = "memory.current", Some(Controller::Memory);
    /// The most memory ever charged.
    MemoryPeak = "memory.peak", Some(Controller::Memory);
    /// Memory by kind.
    MemoryStat = "memory.stat", Some(Controller::Memory);
    /// Counts of limit events in the subtree.
    MemoryEvents = "memory.events", Some(Controller::Memory);
    /// Counts of limit events of the cgroup alone.
    MemoryEventsLocal = "memory.events.local", Some(Controller::Memory);
    /// Hard protection: never reclaimed.
    MemoryMin = "memory.min", Some(Controller::Memory);
    /// Best-effort protection: reclaimed last.
    MemoryLow = "memory.low", Some(Controller::Memory);
    /// Throttle limit: over it, allocations wait for reclaim.
    MemoryHigh = "memory.high", Some(Controller::Memory);
    /// Hard limit: over it, the OOM killer.
    MemoryMax = "memory.max", Some(Controller::Memory);
    /// Whether the OOM killer takes the cgroup as one.
    MemoryOomGroup = "memory.oom.group", Some(Controller::Memory);
    /// Memory pressure.
    MemoryPressure = "memory.pressure", None;
    /// Swap charged to the subtree.
    MemorySwapCurrent = "memory.swap.current", Some(Controller::Memory);
    /// Hard limit on swap.
    MemorySwapMax = "memory.swap.max", Some(Controller::Memory);
    /// IO pressure.
    IoPressure = "io.pressure", None;
    /// Tasks in the subtree.
    PidsCurrent = "pids.current", Some(Controller::Pids);
    /// Hard limit on tasks.
    PidsMax = "pids.max", Some(Controller::Pids);
}

/// A text is no name of a file that the agent knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no interface file that is known")]
pub struct ControlFileError(String);

impl TryFrom<String> for ControlFile {
    type Error = ControlFileError;
    fn try_from(name: String) -> Result<Self, ControlFileError> {
        Self::from_name(&name).ok_or(ControlFileError(name))
    }
}

impl From<ControlFile> for String {
    fn from(file: ControlFile) -> Self {
        file.name().into_owned()
    }
}

impl fmt::Display for ControlFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_back_by_its_name_and_nothing_else_is() {
        let sizes = [64 << 10, 2 << 20, 1 << 30, 16 << 30].map(HugePageSize);
        let huge = sizes.map(|size| [ControlFile::HugetlbMax(size), ControlFile::HugetlbRsvdMax(size)]);
        let plain = [
            ControlFile::CpuMax,
            ControlFile::Kill,
            ControlFile::MemoryOomGroup,
        ];
        for file in huge.into_iter().flatten().chain(plain) {
            assert_eq!(ControlFile::from_name(&file.name()), Some(file));
        }
        for name in [
            "",
            "cpu",
            "../cpu.max",
            "hugetlb.max",
            "hugetlb.B.max",
            "hugetlb.2048KB.max",
            "hugetlb.\u{e9}.max",
            "hugetlb.+2MB.max",
        ] {
            assert_eq!(ControlFile::from_name(name), None, "{name}");
        }
    }
}
