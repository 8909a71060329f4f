//! Subject: the task that is about to run.
//!
//! Whose it is: the owner's, another pod's, the system's or the kernel's.

use core::ffi::c_void;

use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use plimsoll_ebpf::fact;
use plimsoll_ebpf::foreign::{Task, user};
use plimsoll_ebpf::kernel::{field, peek};
use plimsoll_ebpf::wire::Root;

use crate::FACTS;

#[map]
static ROOT: Array<Root> = Array::with_max_entries(1, 0);

/// `PF_KTHREAD` of the kernel's `sched.h`, a macro and so not in BTF.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// A mask for levels: up to 6.1 the verifier wants a bound on what is added to a kernel pointer.
const MOST_LEVELS: u64 = 0xffff;

/// Tells the root's id and level. The iterator calls it once with the cgroup that it is run for and once with none.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/cgroup")]
fn find(ctx: *mut c_void) -> i32 {
    // SAFETY: the context of this iterator is `{ meta, cgroup }`.
    let cgroup: *const u8 = unsafe { field(ctx.cast_const().cast(), 8) };
    if cgroup.is_null() {
        return 0;
    }
    if let Some(root) = ROOT.get_ptr_mut(0) {
        // SAFETY: typed loads, and the only writer at that time.
        unsafe {
            let node: *const u8 = field(cgroup, fact!(cgroup_node));
            (*root).level = u64::from(field::<u32>(cgroup, fact!(cgroup_level)));
            (*root).id = field(node, fact!(node_id));
        }
    }
    0
}

/// A task, seen from the owner of the CPU. Of the owner's, and of the idle task, nothing more is told.
///
/// # Safety
/// `task` is a pointer that the verifier tracks as a task.
#[inline(always)]
pub(crate) unsafe fn look_at(task: *const u8, owner: u64, owner_level: u64) -> Task {
    let mut found = Task {
        user: user::OWN,
        tid: 0,
        pid: 0,
        reserved: 0,
        cgroup: 0,
        comm: [0; 16],
    };
    // SAFETY: typed loads from the task.
    unsafe {
        let tid: u32 = field(task, fact!(task_pid));
        if tid == 0 {
            return found;
        }
        let set: *const u8 = field(task, fact!(task_cgroups));
        let cgroup: *const u8 = field(set, fact!(set_cgroup));
        let node: *const u8 = field(cgroup, fact!(cgroup_node));
        let id: u64 = field(node, fact!(node_id));
        let level = u64::from(field::<u32>(cgroup, fact!(cgroup_level)));
        // The owner first: a kernel thread that was put into its cgroup works for it.
        if is_within(cgroup, id, level, owner, owner_level) {
            return found;
        }
        found.user = if field::<u32>(task, fact!(task_flags)) & KERNEL_THREAD != 0 {
            user::KERNEL_THREAD
        } else if is_below_root(cgroup, id, level) {
            user::POD
        } else {
            user::SYSTEM
        };
        found.tid = tid;
        found.pid = field(task, fact!(task_tgid));
        found.cgroup = id;
        let comm: [u64; 2] = [field(task, fact!(task_comm)), field(task, fact!(task_comm) + 8)];
        found.comm = core::mem::transmute::<[u64; 2], [u8; 16]>(comm);
    }
    found
}

#[inline(always)]
fn is_below_root(cgroup: *const u8, id: u64, level: u64) -> bool {
    ROOT.get(0)
        .is_some_and(|root| is_within(cgroup, id, level, root.id, root.level))
}

/// Whether a cgroup of this id and level is another one, which is at `outer_level`, or below it.
#[inline(always)]
fn is_within(cgroup: *const u8, id: u64, level: u64, outer: u64, outer_level: u64) -> bool {
    if id == outer {
        return true;
    }
    if level <= outer_level {
        return false;
    }
    let slot = 8 * (outer_level & MOST_LEVELS) as usize;
    let ancestor: u64 = peek(cgroup as u64, fact!(cgroup_ancestors) + slot);
    let node: u64 = peek(ancestor, fact!(cgroup_node));
    peek::<u64>(node, fact!(node_id)) == outer
}
