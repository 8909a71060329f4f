//! Subject: every cgroup below one root, whoever runs the program.
//!
//! **Problem.** Reading a thousand cgroups through their files takes thousands of system calls, and each makes the
//! kernel print numbers that the agent must parse again. **How.** `walk` is a raw tracepoint program that is never
//! attached: the agent runs it (`BPF_PROG_TEST_RUN`). It goes over the tree in the kernel's own order, parents before
//! children, within one RCU section and without any lock, and writes one record a cgroup into an array that the agent
//! has mapped. `find`, an iterator run once, tells it where the root is; `peek` copies a table of the kernel at start.
//!
//! A cgroup that was removed but is still charged stays in the tree for a while. It is not online, and is left out.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", expect(unsafe_code, reason = "an eBPF program"))]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[path = "sample/memory.rs"]
mod memory;

#[cfg(target_arch = "bpf")]
mod program {
    use core::ffi::c_void;

    use aya_ebpf::bindings::BPF_F_MMAPABLE;
    use aya_ebpf::helpers::generated::bpf_loop;
    use aya_ebpf::macros::{map, raw_tracepoint};
    use aya_ebpf::maps::Array;
    use aya_ebpf::programs::RawTracePointContext;
    use plimsoll_ebpf::kernel::{copy, field, known, peek};
    use plimsoll_ebpf::wire::{CgroupRecord, WalkState, have};
    use plimsoll_ebpf::{fact, facts, maps, object};

    use crate::memory;

    object!(facts::Sample);

    #[map]
    static RECORDS: Array<CgroupRecord> = Array::with_max_entries(maps::MAX_RECORDS, BPF_F_MMAPABLE);
    #[map]
    static WALK: Array<WalkState> = Array::with_max_entries(1, BPF_F_MMAPABLE);
    #[map]
    static PEEK: Array<[u8; maps::PEEK_BYTES]> = Array::with_max_entries(1, 0);

    /// Where the pass stands.
    struct Position {
        /// The `cgroup.self` it is at.
        css: u64,
        /// Where it began.
        root: u64,
        /// Whether it came down to `css` or across, not up.
        arrived: u32,
        records: u32,
        truncated: u32,
        steps: u32,
    }

    const GO_ON: i64 = 0;
    const STOP: i64 = 1;

    /// Tells the address of one cgroup. The iterator calls it once with that cgroup and once with none.
    #[unsafe(no_mangle)]
    #[unsafe(link_section = "iter/cgroup")]
    fn find(ctx: *mut c_void) -> i32 {
        // SAFETY: the context of this iterator is `{ meta, cgroup }`.
        let cgroup: *const u8 = unsafe { field(ctx.cast_const().cast(), 8) };
        if cgroup.is_null() {
            return 0;
        }
        if let Some(walk) = WALK.get_ptr_mut(0) {
            // SAFETY: typed loads, and the only writer at that time.
            unsafe {
                let node: *const u8 = field(cgroup, fact!(cgroup_node));
                (*walk).root_level = field(cgroup, fact!(cgroup_level));
                (*walk).root_id = field(node, fact!(node_id));
                (*walk).root = cgroup as u64;
            }
        }
        0
    }

    /// Copies a part of kernel memory that the agent named.
    #[raw_tracepoint]
    fn read_kernel(_ctx: RawTracePointContext) -> i32 {
        let (Some(walk), Some(bytes)) = (WALK.get_ptr_mut(0), PEEK.get_ptr_mut(0)) else {
            return 1;
        };
        // SAFETY: the destination is a map value of that size.
        i32::from(!unsafe { copy(bytes, maps::PEEK_BYTES, (*walk).peek, 0) })
    }

    /// One pass over the tree.
    #[raw_tracepoint]
    fn walk(_ctx: RawTracePointContext) -> i32 {
        let Some(walk) = WALK.get_ptr_mut(0) else {
            return 1;
        };
        // SAFETY: the agent runs one pass at a time.
        let (root, root_id) = unsafe { ((*walk).root, (*walk).root_id) };
        let mut position = Position {
            css: root,
            root,
            arrived: 1,
            records: 0,
            truncated: 0,
            steps: 0,
        };
        if root != 0 && id_of(root) == root_id {
            // Each cgroup is come to once and left once.
            // SAFETY: the callback has the helper's signature, and its context outlives the call.
            unsafe {
                bpf_loop(
                    2 * maps::MAX_RECORDS + 2,
                    step as *const () as *mut c_void,
                    (&raw mut position).cast(),
                    0,
                )
            };
        }
        // SAFETY: as above.
        unsafe {
            (*walk).count = position.records;
            (*walk).truncated = position.truncated;
            (*walk).steps = position.steps;
        }
        0
    }

    fn id_of(cgroup: u64) -> u64 {
        let node: u64 = peek(cgroup, fact!(cgroup_node));
        peek(node, fact!(node_id))
    }

    /// To the next cgroup down or across, or up to the parent.
    unsafe extern "C" fn step(_: u32, position: *mut Position) -> i64 {
        // SAFETY: the context given to the helper.
        let at = unsafe { &mut *position };
        at.steps += 1;
        if at.arrived == 1 {
            if !visit(at) {
                return STOP;
            }
            let children = at.css + fact!(css_children) as u64;
            let first: u64 = peek(children, 0);
            if first != children {
                at.css = first - fact!(css_sibling) as u64;
                return GO_ON;
            }
        }
        if at.css == at.root {
            return STOP;
        }
        let next: u64 = peek(at.css, fact!(css_sibling));
        let parent: u64 = peek(at.css, fact!(css_parent));
        if next == 0 || parent == 0 {
            return STOP;
        }
        if next == parent + fact!(css_children) as u64 {
            at.css = parent;
            at.arrived = 0;
        } else {
            at.css = next - fact!(css_sibling) as u64;
            at.arrived = 1;
        }
        GO_ON
    }

    /// Writes the record of the cgroup, if it is online. False when there is no room for it.
    fn visit(at: &mut Position) -> bool {
        // `cgroup.self` is the structure's first member: the addresses are the same.
        let cgroup = at.css;
        let flags: u32 = peek(cgroup, fact!(css_flags));
        if flags & fact!(css_online) as u32 == 0 {
            return true;
        }
        let Some(record) = RECORDS.get_ptr_mut(at.records) else {
            at.truncated = 1;
            return false;
        };
        at.records += 1;
        // SAFETY: a map value, which the agent reads only after the pass.
        let record = unsafe { &mut *record };
        record.id = id_of(cgroup);
        record.level = peek(cgroup, fact!(cgroup_level));
        record.have = 0;
        if known(fact!(cgroup_cpu)) {
            record.cpu_nsec = peek(cgroup, fact!(cgroup_cpu));
            record.have |= have::CPU;
        }
        if let Some(walk) = WALK.get(0) {
            memory::fill(record, cgroup, walk, &FACTS);
        }
        true
    }
}
