//! Subject: the cgroup that is an argument, or, for programs and ends of processes, the current process.
//!
//! Cgroups made, removed, filled and emptied, and processes that execute a program or end, below the agent's root.
//! A cgroup event wakes the agent; a process event does not (waking a sleeping reader costs thirty times the rest),
//! it waits for the next wake-up or pass.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "an eBPF program"))]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::EbpfContext;
    use aya_ebpf::bindings::{BPF_NOEXIST, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
    use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_probe_read_kernel_str};
    use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid};
    use aya_ebpf::macros::{btf_tracepoint, map};
    use aya_ebpf::maps::LruHashMap;
    use aya_ebpf::programs::BtfTracePointContext;
    use plimsoll_ebpf::kernel::{field, known, peek};
    use plimsoll_ebpf::wire::{CgroupChanged, CgroupMade, NAME_BYTES, Process, kind};
    use plimsoll_ebpf::{below_root, events, fact, facts, maps, object};

    object!(facts::Life);
    events!(maps::LIFE_RING_BYTES);
    below_root!();

    /// Processes of which the end was told, by process id and start time.
    #[map]
    static ENDED: LruHashMap<[u64; 2], u64> = LruHashMap::with_max_entries(maps::MAX_ENDED, 0);

    /// `SIGNAL_GROUP_EXIT` of the kernel, a macro and so not in BTF: the whole process ends with one code.
    const GROUP_EXIT: u32 = 4;

    /// `-EEXIST`.
    const ALREADY_THERE: i32 = -17;

    #[btf_tracepoint(function = "cgroup_mkdir")]
    fn cgroup_mkdir(ctx: BtfTracePointContext) -> i32 {
        let cgroup = argument(&ctx, 0);
        if !below_root(cgroup as u64) {
            return 0;
        }
        let Some(mut entry) = EVENTS.reserve::<CgroupMade>(0) else {
            return dropped();
        };
        let record = entry.as_mut_ptr();
        // SAFETY: the reserved record is written in full; typed loads, the name through a helper that stops at NUL.
        unsafe {
            let node: *const u8 = field(cgroup, fact!(cgroup_node));
            let parent: *const u8 = field(node, fact!(node_parent));
            let name: u64 = field(node, fact!(node_name));
            *record = CgroupMade {
                kind: kind::CGROUP_MADE,
                level: field(cgroup, fact!(cgroup_level)),
                cgroup: field(node, fact!(node_id)),
                parent: if parent.is_null() {
                    0
                } else {
                    field(parent, fact!(node_id))
                },
                at_nsec: bpf_ktime_get_boot_ns(),
                name: [0; NAME_BYTES],
            };
            bpf_probe_read_kernel_str(
                (&raw mut (*record).name).cast(),
                NAME_BYTES as u32,
                name as *const _,
            );
        }
        entry.submit(u64::from(BPF_RB_FORCE_WAKEUP));
        0
    }

    #[btf_tracepoint(function = "cgroup_rmdir")]
    fn cgroup_rmdir(ctx: BtfTracePointContext) -> i32 {
        changed(argument(&ctx, 0), kind::CGROUP_REMOVED, 0)
    }

    #[btf_tracepoint(function = "cgroup_notify_populated")]
    fn cgroup_notify_populated(ctx: BtfTracePointContext) -> i32 {
        // SAFETY: argument 2 is the new value, a bool or an int.
        let populated = unsafe { field::<u64>(ctx.as_ptr().cast(), 16) } & 0xff;
        changed(
            argument(&ctx, 0),
            kind::CGROUP_POPULATED,
            u32::from(populated != 0),
        )
    }

    fn changed(cgroup: *const u8, kind: u32, populated: u32) -> i32 {
        if !below_root(cgroup as u64) {
            return 0;
        }
        let Some(mut entry) = EVENTS.reserve::<CgroupChanged>(0) else {
            return dropped();
        };
        // SAFETY: typed loads.
        unsafe {
            let node: *const u8 = field(cgroup, fact!(cgroup_node));
            entry.write(CgroupChanged {
                kind,
                populated,
                cgroup: field(node, fact!(node_id)),
                at_nsec: bpf_ktime_get_boot_ns(),
                memory_peak: memory_peak(cgroup),
            });
        }
        entry.submit(u64::from(BPF_RB_FORCE_WAKEUP));
        0
    }

    #[inline(always)]
    unsafe fn memory_peak(cgroup: *const u8) -> u64 {
        if !known(fact!(cgroup_subsys)) {
            return u64::MAX;
        }
        let memory: u64 = peek(cgroup as u64, fact!(cgroup_subsys) + 8 * fact!(memory_subsys));
        if memory == 0 {
            return u64::MAX;
        }
        peek(memory, fact!(memory_peak))
    }

    #[btf_tracepoint(function = "sched_process_exec")]
    fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
        process(argument(&ctx, 0), kind::EXEC, 0)
    }

    #[btf_tracepoint(function = "sched_process_exit")]
    fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
        let task = argument(&ctx, 0);
        if !known(fact!(signal_live)) {
            return 0;
        }
        // SAFETY: typed loads. The count of live threads is already without this one.
        let (status, start) = unsafe {
            let signal: *const u8 = field(task, fact!(task_signal));
            if field::<u32>(signal, fact!(signal_live)) != 0 {
                return 0;
            }
            let leader: *const u8 = field(task, fact!(task_leader));
            let status = if field::<u32>(signal, fact!(signal_flags)) & GROUP_EXIT != 0 {
                field(signal, fact!(signal_exit_code))
            } else {
                field(leader, fact!(task_exit_code))
            };
            (status, field(leader, fact!(task_start)))
        };
        // Threads that end together on several CPUs count themselves out first and come here then: each may find
        // that none is left.
        let process_id = bpf_get_current_pid_tgid() >> 32;
        if ENDED.insert([process_id, start], 0, u64::from(BPF_NOEXIST)) == Err(ALREADY_THERE) {
            return 0;
        }
        process(task, kind::EXIT, status)
    }

    fn process(task: *const u8, kind: u32, wait_status: u32) -> i32 {
        if !known(fact!(task_cgroups)) {
            return 0;
        }
        // SAFETY: typed loads.
        let (cgroup, id) = unsafe {
            let set: *const u8 = field(task, fact!(task_cgroups));
            let cgroup: *const u8 = field(set, fact!(set_cgroup));
            let node: *const u8 = field(cgroup, fact!(cgroup_node));
            (cgroup, field(node, fact!(node_id)))
        };
        if !below_root(cgroup as u64) {
            return 0;
        }
        let Some(mut entry) = EVENTS.reserve::<Process>(0) else {
            return dropped();
        };
        entry.write(Process {
            kind,
            pid: (bpf_get_current_pid_tgid() >> 32) as u32,
            cgroup: id,
            // SAFETY: takes no arguments.
            at_nsec: unsafe { bpf_ktime_get_boot_ns() },
            wait_status,
            reserved: 0,
            comm: bpf_get_current_comm().unwrap_or_default(),
        });
        entry.submit(u64::from(BPF_RB_NO_WAKEUP));
        0
    }

    /// The `n`th argument of the tracepoint, a pointer to a kernel structure.
    #[inline(always)]
    fn argument(ctx: &BtfTracePointContext, n: usize) -> *const u8 {
        // SAFETY: the context is an array of arguments; the verifier knows their types.
        unsafe { field(ctx.as_ptr().cast_const().cast(), 8 * n) }
    }
}
