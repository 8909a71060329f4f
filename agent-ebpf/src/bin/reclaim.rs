//! Subject: the current task, which reclaims memory itself because an allocation found too little.
//!
//! Its time from begin to end counts for its cgroup. Throttling by `memory.high` is not in here, see `reclaimx`.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", allow(unsafe_code, reason = "an eBPF program"))]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::macros::btf_tracepoint;
    use aya_ebpf::programs::BtfTracePointContext;
    use plimsoll_ebpf::{facts, object, stopwatch};

    object!(facts::Reclaim);
    stopwatch!();

    /// An allocation hit a cgroup's limit.
    #[btf_tracepoint(function = "mm_vmscan_memcg_reclaim_begin")]
    fn mm_vmscan_memcg_reclaim_begin(_ctx: BtfTracePointContext) -> i32 {
        begin()
    }

    #[btf_tracepoint(function = "mm_vmscan_memcg_reclaim_end")]
    fn mm_vmscan_memcg_reclaim_end(_ctx: BtfTracePointContext) -> i32 {
        end()
    }

    /// The machine is short of memory.
    #[btf_tracepoint(function = "mm_vmscan_direct_reclaim_begin")]
    fn mm_vmscan_direct_reclaim_begin(_ctx: BtfTracePointContext) -> i32 {
        begin()
    }

    #[btf_tracepoint(function = "mm_vmscan_direct_reclaim_end")]
    fn mm_vmscan_direct_reclaim_end(_ctx: BtfTracePointContext) -> i32 {
        end()
    }
}
