//! Subject: the machine, which runs short of memory. The current task is whose allocation noticed.
//!
//! Two moments: background reclaim is woken, because a zone fell to its low watermark; and an allocation has to reclaim
//! itself, because it found less than the lowest. Each is counted, and told at most once in ten milliseconds: whoever waits
//! for this is awake then. A third, which is told and not counted: a cgroup went over its limit. The kernel tells of that by
//! `memory.events` too, but through a thread of its own, which comes to run when the task at the limit lets it.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "an eBPF program"))]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_RB_FORCE_WAKEUP};
    use aya_ebpf::helpers::bpf_get_current_pid_tgid;
    use aya_ebpf::helpers::generated::{
        bpf_get_current_cgroup_id, bpf_get_smp_processor_id, bpf_ktime_get_boot_ns,
    };
    use aya_ebpf::macros::{btf_tracepoint, map};
    use aya_ebpf::maps::Array;
    use aya_ebpf::programs::BtfTracePointContext;
    use plimsoll_ebpf::wire::{Shortage, ShortageCount, kind};
    use plimsoll_ebpf::{events, facts, maps, object};

    object!(facts::Shortage);
    events!(maps::SHORTAGE_RING_BYTES);

    #[map]
    static COUNTS: Array<ShortageCount> = Array::with_max_entries(1, BPF_F_MMAPABLE);
    /// When an event of each kind was told last.
    #[map]
    static TOLD: Array<u64> = Array::with_max_entries(3, 0);

    #[btf_tracepoint(function = "mm_vmscan_wakeup_kswapd")]
    fn mm_vmscan_wakeup_kswapd(_ctx: BtfTracePointContext) -> i32 {
        if let Some(count) = counts() {
            // SAFETY: this CPU's own value.
            unsafe { (*count).kswapd_wakes += 1 };
        }
        tell(0, kind::KSWAPD_WOKEN)
    }

    #[btf_tracepoint(function = "mm_vmscan_direct_reclaim_begin")]
    fn mm_vmscan_direct_reclaim_begin(_ctx: BtfTracePointContext) -> i32 {
        if let Some(count) = counts() {
            // SAFETY: this CPU's own value.
            unsafe { (*count).direct_reclaims += 1 };
        }
        tell(1, kind::DIRECT_RECLAIM)
    }

    /// Whose limit it is, `memory.high` or `memory.max` of the task's cgroup or of one above, is not told.
    #[btf_tracepoint(function = "mm_vmscan_memcg_reclaim_begin")]
    fn mm_vmscan_memcg_reclaim_begin(_ctx: BtfTracePointContext) -> i32 {
        tell(2, kind::LIMIT_RECLAIM)
    }

    #[inline(always)]
    fn counts() -> Option<*mut ShortageCount> {
        // SAFETY: takes no arguments.
        COUNTS.get_ptr_mut(unsafe { bpf_get_smp_processor_id() })
    }

    #[inline(always)]
    fn tell(place: u32, kind: u32) -> i32 {
        // SAFETY: take no arguments.
        let (now, cgroup) = unsafe { (bpf_ktime_get_boot_ns(), bpf_get_current_cgroup_id()) };
        let Some(told) = TOLD.get_ptr_mut(place) else {
            return 0;
        };
        // SAFETY: a map value. Of two CPUs at once both may tell.
        unsafe {
            if now.wrapping_sub(*told) < maps::SHORTAGE_PAUSE_NSEC {
                return 0;
            }
            *told = now;
        }
        let Some(mut entry) = EVENTS.reserve::<Shortage>(0) else {
            return dropped();
        };
        entry.write(Shortage {
            kind,
            pid: (bpf_get_current_pid_tgid() >> 32) as u32,
            cgroup,
            at_nsec: now,
        });
        entry.submit(u64::from(BPF_RB_FORCE_WAKEUP));
        0
    }
}
