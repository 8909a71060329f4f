//! Subject: the process that writes into a cgroup's file.
//!
//! Told at the end of the write, when the new value is there to be read, and only if the kernel took it. All files of a
//! cgroup come by here, so that one program serves all controllers, on every kernel: what a file's own function is
//! called differs between versions. Of other files than those with values for a controller nothing is told, nor of what
//! the agent itself writes.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "an eBPF program"))]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::EbpfContext;
    use aya_ebpf::bindings::BPF_RB_FORCE_WAKEUP;
    use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_probe_read_kernel_str};
    use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid};
    use aya_ebpf::macros::fexit;
    use aya_ebpf::programs::FExitContext;
    use plimsoll_ebpf::kernel::{field, peek};
    use plimsoll_ebpf::wire::{FILE_NAME_BYTES, FileWritten, kind};
    use plimsoll_ebpf::{below_root, events, fact, facts, maps, object};

    object!(facts::Writes);
    events!(maps::WRITE_RING_BYTES);
    below_root!();

    /// The hierarchy of cgroup v2. Ids of cgroups are unique only within a hierarchy.
    const UNIFIED: u32 = 0;

    /// `cgroup_file_write(of, buf, nbytes, off)` returns how many bytes it took, or a negative error.
    #[fexit(function = "cgroup_file_write")]
    fn cgroup_file_write(ctx: FExitContext) -> i32 {
        let process = (bpf_get_current_pid_tgid() >> 32) as u32;
        // SAFETY: the four arguments and the result, each in a word; a typed load from the first argument.
        let (node, result) = unsafe {
            let words: *const u8 = ctx.as_ptr().cast_const().cast();
            let open: *const u8 = field(words, 0);
            (field::<u64>(open, fact!(open_node)), field::<i64>(words, 32))
        };
        if process as usize == fact!(own_process) || result < 0 {
            return 0;
        }
        let mut name = [0; FILE_NAME_BYTES];
        // SAFETY: the destination has that many bytes; the helper checks the source, and stops at NUL.
        unsafe {
            bpf_probe_read_kernel_str(
                name.as_mut_ptr().cast(),
                FILE_NAME_BYTES as u32,
                peek::<u64>(node, fact!(node_name)) as *const _,
            );
        }
        if !has_a_value(&name) {
            return 0;
        }
        let directory: u64 = peek(node, fact!(node_parent));
        let cgroup: u64 = peek(directory, fact!(node_cgroup));
        let hierarchy: u64 = peek(cgroup, fact!(cgroup_hierarchy));
        if peek::<u32>(hierarchy, fact!(hierarchy_id)) != UNIFIED || !below_root(cgroup) {
            return 0;
        }
        let Some(mut entry) = EVENTS.reserve::<FileWritten>(0) else {
            return dropped();
        };
        entry.write(FileWritten {
            kind: kind::FILE_WRITTEN,
            pid: process,
            cgroup: peek(directory, fact!(node_id)),
            // SAFETY: takes no arguments.
            at_nsec: unsafe { bpf_ktime_get_boot_ns() },
            comm: bpf_get_current_comm().unwrap_or_default(),
            name,
        });
        entry.submit(u64::from(BPF_RB_FORCE_WAKEUP));
        0
    }

    /// Whether a file holds a value for a controller, or which controllers there are.
    #[inline(always)]
    fn has_a_value(name: &[u8; FILE_NAME_BYTES]) -> bool {
        begins(name, b"cpuset.")
            || begins(name, b"cpu.")
            || begins(name, b"memory.")
            || begins(name, b"pids.")
            || begins(name, b"hugetlb.")
            || begins(name, b"cgroup.subtree_control")
    }

    #[inline(always)]
    fn begins<const N: usize>(name: &[u8; FILE_NAME_BYTES], with: &[u8; N]) -> bool {
        let mut same = true;
        let mut at = 0;
        while at < N {
            same &= name[at] == with[at];
            at += 1;
        }
        same
    }
}
