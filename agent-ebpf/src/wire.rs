//! The records: fixed-width integers, no padding, sizes asserted, so that both sides agree byte for byte.

use crate::account::DELAY_BUCKETS;
use crate::foreign::ForeignCpu;

/// CPU time and run-queue delay of one cgroup on one CPU, since the cgroup was first seen there.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunTime {
    /// Nanoseconds on the CPU.
    pub run_nsec: u64,
    /// Nanoseconds runnable and waiting for it.
    pub delay_nsec: u64,
    /// Times switched out, by the wait before: see [`crate::account::delay_bucket`]. Their sum is the count.
    pub delays: [u64; DELAY_BUCKETS],
}

/// A question about one cgroup, and its answer.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Its id, set by the agent.
    pub cgroup: u64,
    /// What its own tasks ran and waited, all CPUs together.
    pub run: RunTime,
}

/// The state of a pass.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WalkState {
    /// The kernel address of the cgroup to begin at, found by the iterator at start.
    pub root: u64,
    /// That cgroup's id, checked at each pass: an address can come to hold another cgroup.
    pub root_id: u64,
    /// Its level in the hierarchy, the hierarchy's root being 0.
    pub root_level: u32,
    /// Records that the last pass wrote.
    pub count: u32,
    /// 1 when there were more cgroups than records.
    pub truncated: u32,
    /// Steps that the last pass took.
    pub steps: u32,
    /// When the last pass began: when a turn had last been counted unseen.
    pub unseen: u64,
    /// The kernel address that a peek copies from.
    pub peek: u64,
    /// Where the kernel keeps anon, file, shmem, slab_reclaimable and slab_unreclaimable among its statistics.
    pub stat_index: [u32; 5],
    /// 1 when `stat_index` is known.
    pub stat_known: u32,
    /// 1 when CPU time and waits are counted at context switches.
    pub run_counted: u32,
    /// Zero.
    pub reserved: u32,
}

/// Parts of a [`CgroupRecord`] that the pass filled in.
pub mod have {
    /// `cpu_nsec`.
    pub const CPU: u32 = 1;
    /// `memory`, `limits`.
    pub const MEMORY: u32 = 1 << 1;
    /// `swap`.
    pub const SWAP: u32 = 1 << 2;
    /// `events`.
    pub const EVENTS: u32 = 1 << 3;
    /// `lru`.
    pub const LRU: u32 = 1 << 4;
    /// `stat`.
    pub const STAT: u32 = 1 << 5;
    /// `peak`.
    pub const PEAK: u32 = 1 << 6;
    /// `run`.
    pub const RUN: u32 = 1 << 7;
    /// `run` was collected when nothing had run since the pass before, and nothing was on a CPU: it is complete until
    /// something runs.
    pub const SETTLED: u32 = 1 << 8;
    /// `run` is to be collected yet in this pass.
    pub const PENDING: u32 = 1 << 9;
    /// Settled at this pass: until the next it may be in doubt.
    pub const RECENT: u32 = 1 << 10;
}

/// One cgroup in one pass. Memory is in pages.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CgroupRecord {
    /// The number that the kernel gave the cgroup when it was made; no other cgroup of this boot has it.
    pub serial: u64,
    /// The cgroup's id.
    pub id: u64,
    /// Its level in the hierarchy. Records come in tree order: the parent is the last one before of a lower level.
    pub level: u32,
    /// Which parts hold a value: see [`have`].
    pub have: u32,
    /// CPU time of the subtree in nanoseconds, as of the last flush.
    pub cpu_nsec: u64,
    /// `memory.current`.
    pub memory: u64,
    /// `memory.peak`.
    pub peak: u64,
    /// `memory.swap.current`.
    pub swap: u64,
    /// `memory.{min,low,high,max}`.
    pub limits: [u64; 4],
    /// `memory.events`: low, high, max, oom, oom_kill, oom_group_kill.
    pub events: [u64; 6],
    /// Pages on the cgroup's own lists: inactive and active anon, inactive and active file, unevictable.
    pub lru: [u64; 5],
    /// `memory.stat` as of the last flush, subtree: anon, file, shmem, slab_reclaimable, slab_unreclaimable (the
    /// slabs in bytes).
    pub stat: [u64; 5],
    /// What its own tasks ran and waited, all CPUs together. Stays in the record from pass to pass while nothing ran,
    /// and so must not be written by the agent.
    pub run: RunTime,
}

/// The cgroup below which `life` and `writes` watch, and below which `foreign` finds pods.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Root {
    /// Its id; 0 to watch everywhere.
    pub id: u64,
    /// Its level.
    pub level: u64,
}

/// Bytes of a name in [`CgroupMade`], the ending NUL included. Longer names are cut.
pub const NAME_BYTES: usize = 96;

/// What a record in a ring is about; the first word of each.
pub mod kind {
    /// [`super::CgroupMade`].
    pub const CGROUP_MADE: u32 = 1;
    /// [`super::CgroupChanged`]: removed.
    pub const CGROUP_REMOVED: u32 = 2;
    /// [`super::CgroupChanged`]: got its first process, or lost its last.
    pub const CGROUP_POPULATED: u32 = 3;
    /// [`super::Process`]: executed a program.
    pub const EXEC: u32 = 4;
    /// [`super::Process`]: the last thread ended.
    pub const EXIT: u32 = 5;
    /// [`super::OomVictim`].
    pub const OOM_VICTIM: u32 = 6;
    /// [`super::OomDomain`].
    pub const OOM_DOMAIN: u32 = 7;
    /// [`super::FileWritten`].
    pub const FILE_WRITTEN: u32 = 8;
    /// [`super::Shortage`]: background reclaim was woken.
    pub const KSWAPD_WOKEN: u32 = 9;
    /// [`super::Shortage`]: an allocation has to reclaim itself.
    pub const DIRECT_RECLAIM: u32 = 10;
    /// [`super::Shortage`]: a cgroup went over a limit of its own, and has to reclaim.
    pub const LIMIT_RECLAIM: u32 = 11;
}

/// A cgroup was made.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CgroupMade {
    /// [`kind::CGROUP_MADE`].
    pub kind: u32,
    /// Its level.
    pub level: u32,
    /// Its id.
    pub cgroup: u64,
    /// Its parent's id.
    pub parent: u64,
    /// Nanoseconds since boot.
    pub at_nsec: u64,
    /// The directory's name, ended by NUL.
    pub name: [u8; NAME_BYTES],
}

/// A cgroup was removed, emptied or filled.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CgroupChanged {
    /// [`kind::CGROUP_REMOVED`] or [`kind::CGROUP_POPULATED`].
    pub kind: u32,
    /// 1 when it has processes.
    pub populated: u32,
    /// Its id.
    pub cgroup: u64,
    /// Nanoseconds since boot.
    pub at_nsec: u64,
    /// The most memory it ever used, in pages; `u64::MAX` when not known.
    pub memory_peak: u64,
}

/// A process executed a program, or ended.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// [`kind::EXEC`] or [`kind::EXIT`].
    pub kind: u32,
    /// Its process id.
    pub pid: u32,
    /// Its cgroup's id.
    pub cgroup: u64,
    /// Nanoseconds since boot.
    pub at_nsec: u64,
    /// As `wait` reports it: exit code in bits 8 to 15, signal in the low seven, 128 for a core dump.
    pub wait_status: u32,
    /// Zero.
    pub reserved: u32,
    /// Its name.
    pub comm: [u8; 16],
}

/// A process was chosen by the OOM killer.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OomVictim {
    /// [`kind::OOM_VICTIM`].
    pub kind: u32,
    /// The victim's process id.
    pub pid: u32,
    /// The victim's cgroup.
    pub cgroup: u64,
    /// Nanoseconds since boot.
    pub at_nsec: u64,
    /// The process whose allocation found no memory.
    pub trigger_pid: u32,
    /// The victim's `oom_score_adj`.
    pub oom_score_adj: i32,
    /// The trigger's cgroup.
    pub trigger_cgroup: u64,
    /// `memory.current` of the victim's cgroup in pages; `u64::MAX` when not known.
    pub memory: u64,
    /// `memory.max` of the victim's cgroup in pages; `u64::MAX` when not known.
    pub limit: u64,
    /// The victim's name.
    pub comm: [u8; 16],
    /// The trigger's name.
    pub trigger_comm: [u8; 16],
}

/// The OOM killer has chosen among the processes of one cgroup's subtree.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OomDomain {
    /// [`kind::OOM_DOMAIN`].
    pub kind: u32,
    /// The chosen process.
    pub pid: u32,
    /// The cgroup whose limit was hit; 0 when the whole machine is out of memory.
    pub cgroup: u64,
    /// Nanoseconds since boot.
    pub at_nsec: u64,
    /// Its `memory.current` in pages.
    pub memory: u64,
    /// Its `memory.max` in pages.
    pub limit: u64,
    /// The chosen process's badness, in pages.
    pub points: u64,
    /// Pages the score is relative to.
    pub total: u64,
}

/// Bytes of a name in [`FileWritten`], the ending NUL included. The kernel's own names are shorter.
pub const FILE_NAME_BYTES: usize = 32;

/// A process other than the agent has written into a cgroup's file, and the kernel has taken it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileWritten {
    /// [`kind::FILE_WRITTEN`].
    pub kind: u32,
    /// The process.
    pub pid: u32,
    /// The cgroup's id.
    pub cgroup: u64,
    /// Nanoseconds since boot.
    pub at_nsec: u64,
    /// The name of the thread that wrote.
    pub comm: [u8; 16],
    /// The file's name, ended by NUL.
    pub name: [u8; FILE_NAME_BYTES],
}

/// The machine runs short of memory, or a cgroup does.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// [`kind::KSWAPD_WOKEN`], [`kind::DIRECT_RECLAIM`] or [`kind::LIMIT_RECLAIM`].
    pub kind: u32,
    /// The process whose allocation it was.
    pub pid: u32,
    /// Its cgroup.
    pub cgroup: u64,
    /// Nanoseconds since boot.
    pub at_nsec: u64,
}

/// How often the machine ran short of memory, on one CPU.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShortageCount {
    /// Background reclaim was woken.
    pub kswapd_wakes: u64,
    /// An allocation had to reclaim itself.
    pub direct_reclaims: u64,
}

/// Time that the tasks of one cgroup spent stalled, on one CPU.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stall {
    /// How often.
    pub count: u64,
    /// Nanoseconds in all.
    pub nsec: u64,
}

/// The name of kernel threads, on one CPU.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ThreadOnCpu {
    /// The name, ended by NUL.
    pub comm: [u8; 16],
    /// The CPU's number.
    pub cpu: u64,
}

macro_rules! sizes {
    ($($record:ty = $bytes:expr),* $(,)?) => {
        $(
            const _: () = assert!(size_of::<$record>() == $bytes && size_of::<$record>() % 8 == 0);
            #[cfg(feature = "user")]
            // SAFETY: `repr(C)` of integers and integer arrays, without padding (the size is the sum of the
            // fields, asserted above), valid for any bytes.
            #[expect(unsafe_code, reason = "aya reads and writes maps of this record")]
            unsafe impl aya::Pod for $record {}
        )*
    };
}

sizes! {
    RunTime = 16 + 8 * DELAY_BUCKETS,
    Asked = 8 + size_of::<RunTime>(),
    WalkState = 80,
    CgroupRecord = 24 + 8 * (4 + 4 + 6 + 5 + 5) + size_of::<RunTime>(),
    Root = 16,
    CgroupMade = 32 + NAME_BYTES,
    CgroupChanged = 32,
    Process = 48,
    OomVictim = 88,
    OomDomain = 56,
    FileWritten = 40 + FILE_NAME_BYTES,
    Shortage = 24,
    ShortageCount = 16,
    Stall = 16,
    ThreadOnCpu = 24,
    ForeignCpu = 192,
}
