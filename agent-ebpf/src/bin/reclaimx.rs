//! Subject: the current task, held back on its way to user space because its cgroup is above `memory.high`.
//!
//! The function is called on many returns to user space and mostly has nothing to do; only calls with pages to
//! account for are timed. It has two names, by kernel version: the agent says which.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "an eBPF program"))]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::helpers::generated::bpf_get_current_task_btf;
    use aya_ebpf::macros::{fentry, fexit};
    use aya_ebpf::programs::{FEntryContext, FExitContext};
    use plimsoll_ebpf::kernel::field;
    use plimsoll_ebpf::{fact, facts, object, stopwatch};

    object!(facts::Reclaim);
    stopwatch!();

    #[fentry]
    fn over_high_begin(_ctx: FEntryContext) -> i32 {
        // SAFETY: the current task is a typed pointer.
        let pages: u32 = unsafe {
            let task = bpf_get_current_task_btf() as *const u8;
            field(task, fact!(task_over_high))
        };
        if pages == 0 { 0 } else { begin() }
    }

    #[fexit]
    fn over_high_end(_ctx: FExitContext) -> i32 {
        end()
    }
}
