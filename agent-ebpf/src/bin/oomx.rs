//! Subject: the OOM killer's choice, just before the kill.
//!
//! `mark_victim` tells who dies. This tells for whose sake: the cgroup whose limit was hit, what it used, and the
//! score of the chosen process. It needs an attachable function, which not every kernel offers.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "an eBPF program"))]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::EbpfContext;
    use aya_ebpf::bindings::BPF_RB_FORCE_WAKEUP;
    use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
    use aya_ebpf::macros::fentry;
    use aya_ebpf::programs::FEntryContext;
    use plimsoll_ebpf::kernel::field;
    use plimsoll_ebpf::wire::{OomDomain, kind};
    use plimsoll_ebpf::{events, fact, facts, maps, object};

    object!(facts::Oomx);
    events!(maps::OOM_RING_BYTES);

    #[fentry(function = "oom_kill_process")]
    fn oom_kill_process(ctx: FEntryContext) -> i32 {
        let Some(mut entry) = EVENTS.reserve::<OomDomain>(0) else {
            return dropped();
        };
        // SAFETY: typed loads from the `oom_control` that is the first argument.
        unsafe {
            let control: *const u8 = field(ctx.as_ptr().cast_const().cast(), 0);
            let chosen: *const u8 = field(control, fact!(oom_chosen));
            let memcg: *const u8 = field(control, fact!(oom_memcg));
            let (cgroup, memory, limit) = if memcg.is_null() {
                (0, 0, 0)
            } else {
                let cgroup: *const u8 = field(memcg, fact!(memcg_cgroup));
                let node: *const u8 = field(cgroup, fact!(cgroup_node));
                (
                    field(node, fact!(node_id)),
                    field(memcg, fact!(memory_usage)),
                    field(memcg, fact!(memory_max)),
                )
            };
            entry.write(OomDomain {
                kind: kind::OOM_DOMAIN,
                pid: if chosen.is_null() {
                    0
                } else {
                    field(chosen, fact!(task_tgid))
                },
                cgroup,
                at_nsec: bpf_ktime_get_boot_ns(),
                memory,
                limit,
                points: field(control, fact!(oom_points)),
                total: field(control, fact!(oom_total)),
            });
        }
        entry.submit(u64::from(BPF_RB_FORCE_WAKEUP));
        0
    }
}
