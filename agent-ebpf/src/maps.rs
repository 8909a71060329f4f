//! Names and sizes of the maps.

/// `usage`: cgroup id → [`crate::wire::RunTime`], one value a CPU. A value is as of when the CPU last put it away: what
/// counts is what the program `ask` adds up.
pub const RUN_TIME: &str = "RUN_TIME";
/// `usage`: one [`crate::wire::Asked`], mapped by the agent.
pub const ASKED: &str = "ASKED";
/// Cgroups that `usage`, `reclaim` and `reclaimx` can account for at once.
pub const MAX_CGROUPS: u32 = 8192;

/// `usage`: one [`crate::wire::CgroupRecord`] a cgroup, in tree order, parents first; mapped by the agent.
pub const RECORDS: &str = "RECORDS";
/// Cgroups that one pass can take in.
pub const MAX_RECORDS: u32 = 8192;
/// `usage`: one [`crate::wire::WalkState`], mapped by the agent.
pub const WALK: &str = "WALK";
/// `usage`: bytes of kernel memory that the agent asked for at start, [`PEEK_BYTES`] of them.
pub const PEEK: &str = "PEEK";
/// Bytes that one peek takes.
pub const PEEK_BYTES: usize = 256;

/// `life`, `foreign`, `writes`: one [`crate::wire::Root`].
pub const ROOT: &str = "ROOT";
/// `life`, `oom`, `oomx`, `shortage`, `writes`: the ring buffer of the object's events.
pub const EVENTS: &str = "EVENTS";
/// Bytes of the ring of `life`.
pub const LIFE_RING_BYTES: u32 = 1 << 20;
/// Bytes of the rings of `oom` and `oomx`.
pub const OOM_RING_BYTES: u32 = 1 << 16;
/// Bytes of the ring of `shortage`: a hundred events and more, of which at most three come in [`SHORTAGE_PAUSE_NSEC`].
pub const SHORTAGE_RING_BYTES: u32 = 1 << 12;
/// Nanoseconds between two events of one kind of `shortage`.
pub const SHORTAGE_PAUSE_NSEC: u64 = 10_000_000;
/// `shortage`: one [`crate::wire::ShortageCount`] a CPU, by its number; mapped by the agent, which sets how many.
pub const COUNTS: &str = "COUNTS";
/// Bytes of the ring of `writes`: more than eight hundred events.
pub const WRITE_RING_BYTES: u32 = 1 << 16;
/// `life`: processes whose end was told of late; more can end at the same moment only with as many CPUs.
pub const MAX_ENDED: u32 = 1024;
/// `life`, `oom`, `oomx`, `shortage`, `writes`: events that found the ring full, one counter a CPU.
pub const DROPPED: &str = "DROPPED";

/// `reclaim`, `reclaimx`: cgroup id → [`crate::wire::Stall`], one value a CPU.
pub const STALLS: &str = "STALLS";
/// `reclaim`, `reclaimx`: one number that changes with every stall, mapped by the agent, so that it need not look
/// through the map when nothing happened.
pub const STALLED: &str = "STALLED";
/// Threads that can be stalled at once and still be timed.
pub const MAX_STALLED: u32 = 4096;

/// `foreign`: one [`crate::foreign::ForeignCpu`] a CPU, by its number; mapped by the agent, which sets how many.
pub const CPUS: &str = "CPUS";
/// `foreign`: [`crate::wire::ThreadOnCpu`] → nanoseconds that kernel threads of this name ran on this CPU.
pub const THREADS: &str = "THREADS";
/// Names of kernel threads, each times the CPUs they were seen on, that `foreign` can tell apart.
pub const MAX_THREADS: u32 = 4096;
