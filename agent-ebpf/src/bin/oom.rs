//! Subject: the victim, which is the argument. The current process is the one whose allocation found no memory.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "an eBPF program"))]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::EbpfContext;
    use aya_ebpf::bindings::BPF_RB_FORCE_WAKEUP;
    use aya_ebpf::helpers::generated::{bpf_get_current_cgroup_id, bpf_ktime_get_boot_ns};
    use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid};
    use aya_ebpf::macros::btf_tracepoint;
    use aya_ebpf::programs::BtfTracePointContext;
    use plimsoll_ebpf::kernel::{field, known, peek};
    use plimsoll_ebpf::wire::{OomVictim, kind};
    use plimsoll_ebpf::{events, fact, facts, maps, object};

    object!(facts::Oom);
    events!(maps::OOM_RING_BYTES);

    #[btf_tracepoint(function = "mark_victim")]
    fn mark_victim(ctx: BtfTracePointContext) -> i32 {
        let Some(mut entry) = EVENTS.reserve::<OomVictim>(0) else {
            return dropped();
        };
        // SAFETY: typed loads from the task that is the first argument; the helpers take no pointers.
        unsafe {
            let task: *const u8 = field(ctx.as_ptr().cast_const().cast(), 0);
            let set: *const u8 = field(task, fact!(task_cgroups));
            let cgroup: *const u8 = field(set, fact!(set_cgroup));
            let node: *const u8 = field(cgroup, fact!(cgroup_node));
            let signal: *const u8 = field(task, fact!(task_signal));
            let (memory, limit) = memory_of(cgroup);
            entry.write(OomVictim {
                kind: kind::OOM_VICTIM,
                pid: field(task, fact!(task_tgid)),
                cgroup: field(node, fact!(node_id)),
                at_nsec: bpf_ktime_get_boot_ns(),
                trigger_pid: (bpf_get_current_pid_tgid() >> 32) as u32,
                oom_score_adj: i32::from(field::<i16>(signal, fact!(signal_oom_score_adj))),
                trigger_cgroup: bpf_get_current_cgroup_id(),
                memory,
                limit,
                comm: peek(task as u64, fact!(task_comm)),
                trigger_comm: bpf_get_current_comm().unwrap_or_default(),
            });
        }
        entry.submit(u64::from(BPF_RB_FORCE_WAKEUP));
        0
    }

    #[inline(always)]
    fn memory_of(cgroup: *const u8) -> (u64, u64) {
        if !known(fact!(cgroup_subsys)) {
            return (u64::MAX, u64::MAX);
        }
        let memory: u64 = peek(cgroup as u64, fact!(cgroup_subsys) + 8 * fact!(memory_subsys));
        if memory == 0 {
            return (u64::MAX, u64::MAX);
        }
        (peek(memory, fact!(memory_usage)), peek(memory, fact!(memory_max)))
    }
}
