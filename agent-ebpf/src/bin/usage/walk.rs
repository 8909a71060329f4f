//! Subject: every cgroup below one root, whoever runs the program.
//!
//! **Problem.** Reading a thousand cgroups through their files takes thousands of system calls, and each makes the
//! kernel print numbers that the agent must parse again. **How.** `walk` is a raw tracepoint program that is never
//! attached: the agent runs it (`BPF_PROG_TEST_RUN`). It goes over the tree in the kernel's own order, parents before
//! children, within one RCU section and without any lock, and writes one record a cgroup into an array that the agent
//! has mapped. `find`, an iterator run once, tells it where the root is; `read_kernel` copies a table of the kernel
//! at start.
//!
//! A cgroup that was removed but is still charged stays in the tree for a while. It is not online, and is left out.

use core::ffi::c_void;

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::helpers::generated::bpf_loop;
use aya_ebpf::macros::{map, raw_tracepoint};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::RawTracePointContext;
use plimsoll_ebpf::kernel::{copy, field, known, peek};
use plimsoll_ebpf::wire::{CgroupRecord, WalkState, have};
use plimsoll_ebpf::{fact, maps};

use crate::totals::UNSEEN;
use crate::{FACTS, collect, memory};

#[map]
static RECORDS: Array<CgroupRecord> = Array::with_max_entries(maps::MAX_RECORDS, BPF_F_MMAPABLE);
#[map]
static WALK: Array<WalkState> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static PEEK: Array<[u8; maps::PEEK_BYTES]> = Array::with_max_entries(1, 0);

/// Words of a cgroup's structure that are copied at once.
const HEAD_WORDS: usize = 12;

/// Where the pass stands.
struct Position {
    /// The `cgroup.self` it is at.
    css: u64,
    /// The parent of `css`.
    parent: u64,
    /// Where it began.
    root: u64,
    /// Whether it came down to `css` or across, not up.
    arrived: u32,
    records: u32,
    truncated: u32,
    steps: u32,
    /// Whether the root has the memory controller; without it nothing below can have it.
    memory: u32,
    /// Whether CPU time and waits are counted at context switches.
    run_counted: u32,
    /// Whether a turn was counted since the last pass of which nobody had told.
    unseen: u32,
    words: [u64; HEAD_WORDS],
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
    let (root, root_id, run_counted) = unsafe { ((*walk).root, (*walk).root_id, (*walk).run_counted) };
    let unseen = UNSEEN.get(0).map_or(0, |last| *last);
    // SAFETY: as above.
    let unseen_before = unsafe { core::mem::replace(&mut (*walk).unseen, unseen) };
    let mut position = Position {
        css: root,
        parent: 0,
        root,
        arrived: 1,
        records: 0,
        truncated: 0,
        steps: 0,
        memory: 0,
        run_counted,
        unseen: u32::from(unseen != unseen_before),
        words: [0; HEAD_WORDS],
    };
    let node: u64 = peek(root, fact!(cgroup_node));
    if root != 0 && peek::<u64>(node, fact!(node_id)) == root_id {
        let context = (&raw mut position).cast();
        // Each cgroup is come to once and left once.
        // SAFETY: the callback has the helper's signature, and its context outlives the call.
        unsafe {
            bpf_loop(
                2 * maps::MAX_RECORDS + 2,
                step as *const () as *mut c_void,
                context,
                0,
            )
        };
        // Apart from the walk: for the verifier, what is done at a cgroup is done anew on each way that leads to it.
        // SAFETY: as above.
        unsafe {
            bpf_loop(
                position.records,
                collect_pending as *const () as *mut c_void,
                context,
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

/// What a pass needs of a cgroup's structure at every visit. It lies close together: one copy instead of four.
struct Head {
    css: u64,
    /// Where in the structure the copy begins.
    first: usize,
}

impl Head {
    #[inline(always)]
    fn take(words: &mut [u64; HEAD_WORDS], css: u64) -> Self {
        let offsets = [
            fact!(css_sibling),
            fact!(css_children),
            fact!(css_serial),
            fact!(css_flags),
        ];
        let (mut first, mut last) = (offsets[0], offsets[0]);
        for offset in offsets {
            first = first.min(offset);
            last = last.max(offset);
        }
        let first = first & !7;
        let bytes = (last & !7) + 8 - first;
        let bytes = if bytes <= 8 * HEAD_WORDS {
            bytes
        } else {
            8 * HEAD_WORDS
        };
        // SAFETY: not more than there is room for.
        unsafe { copy(words, bytes, css, first) };
        Self { css, first }
    }

    /// A word at an offset, copied apart when it lies beyond.
    #[inline(always)]
    fn word(&self, words: &[u64; HEAD_WORDS], offset: usize) -> u64 {
        let at = offset - self.first;
        if at % 8 == 0 && at / 8 < HEAD_WORDS {
            words[at / 8]
        } else {
            peek(self.css, offset)
        }
    }

    #[inline(always)]
    fn half(&self, words: &[u64; HEAD_WORDS], offset: usize) -> u32 {
        let word = self.word(words, offset & !7);
        if (offset % 8 == 0) == cfg!(target_endian = "little") {
            word as u32
        } else {
            (word >> 32) as u32
        }
    }
}

/// To the next cgroup down or across, or up to the parent.
unsafe extern "C" fn step(_: u32, position: *mut Position) -> i64 {
    // SAFETY: the context given to the helper.
    let at = unsafe { &mut *position };
    at.steps += 1;
    let next = if at.arrived == 1 {
        let head = Head::take(&mut at.words, at.css);
        if !visit(at, &head) {
            return STOP;
        }
        let first = head.word(&at.words, fact!(css_children));
        if first != at.css + fact!(css_children) as u64 {
            if first == 0 {
                return STOP;
            }
            at.parent = at.css;
            at.css = first - fact!(css_sibling) as u64;
            return GO_ON;
        }
        head.word(&at.words, fact!(css_sibling))
    } else {
        at.parent = peek(at.css, fact!(css_parent));
        peek(at.css, fact!(css_sibling))
    };
    if at.css == at.root || next == 0 || at.parent == 0 {
        return STOP;
    }
    if next == at.parent + fact!(css_children) as u64 {
        at.css = at.parent;
        at.arrived = 0;
    } else {
        at.css = next - fact!(css_sibling) as u64;
        at.arrived = 1;
    }
    GO_ON
}

/// Collects what was counted at context switches for the cgroup of a record, if that is to be done.
unsafe extern "C" fn collect_pending(record: u32, _: *mut Position) -> i64 {
    let Some(record) = RECORDS.get_ptr_mut(record) else {
        return STOP;
    };
    // SAFETY: a map value, which the agent reads only after the pass.
    let record = unsafe { &mut *record };
    if record.have & have::PENDING != 0 {
        let idle = record.have & have::SETTLED != 0;
        let complete = collect::collect(record.id, idle, &mut record.run);
        record.have = record.have & !(have::PENDING | have::SETTLED) | have::RUN;
        // A task may stay on a CPU without being charged anything: on a virtual machine the host may have stopped the
        // CPU, and does not count what it took.
        if idle && complete {
            record.have |= have::SETTLED;
        }
    }
    GO_ON
}

/// Writes the record of the cgroup, if it is online. False when there is no room for it.
#[inline(always)]
fn visit(at: &mut Position, head: &Head) -> bool {
    if head.half(&at.words, fact!(css_flags)) & fact!(css_online) as u32 == 0 {
        return true;
    }
    let Some(record) = RECORDS.get_ptr_mut(at.records) else {
        at.truncated = 1;
        return false;
    };
    at.records += 1;
    // SAFETY: a map value, which the agent reads only after the pass.
    let record = unsafe { &mut *record };
    // Between most passes no cgroup comes or goes: then what does not change is in the record already.
    let serial = head.word(&at.words, fact!(css_serial));
    let again = record.serial == serial;
    if !again {
        record.serial = serial;
        record.id = peek(peek(at.css, fact!(cgroup_node)), fact!(node_id));
        record.level = peek(at.css, fact!(cgroup_level));
        record.have = 0;
    }
    // `cgroup.self` is the structure's first member: the addresses are the same.
    let cgroup = at.css;
    let collected = record.have & (have::RUN | have::SETTLED | have::RECENT);
    let mut idle = false;
    record.have = 0;
    if known(fact!(cgroup_cpu)) {
        let cpu_nsec = peek(cgroup, fact!(cgroup_cpu));
        idle = again && record.cpu_nsec == cpu_nsec;
        record.cpu_nsec = cpu_nsec;
        record.have |= have::CPU;
    }
    let settled = collected & have::SETTLED != 0;
    // A task whose coming nobody told of was not found on its CPU when the cgroup was settled.
    let in_doubt = at.unseen == 1 && collected & have::RECENT != 0;
    if idle && settled && !in_doubt {
        // No task of it ran since the last pass, so none was switched out.
        record.have |= collected & !have::RECENT;
    } else if at.run_counted == 1 {
        record.have |= have::PENDING | have::SETTLED * u32::from(idle) | have::RECENT * u32::from(!settled);
    }
    if at.records == 1 {
        at.memory = u32::from(memory::enabled(cgroup, &FACTS));
    }
    if at.memory == 1
        && let Some(walk) = WALK.get(0)
    {
        memory::fill(record, cgroup, walk, &FACTS);
    }
    true
}
