//! The memory part of a record.
//!
//! A memory controller's structure is reached by a cast, which the verifier does not follow: everything here is
//! copied, in blocks where fields lie side by side.

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use plimsoll_ebpf::facts;
use plimsoll_ebpf::kernel::{clear, copy, fact, known, peek};
use plimsoll_ebpf::wire::{CgroupRecord, WalkState, have};

/// Lists of the classic LRU.
const LISTS: usize = 5;
/// Generations that a multi-generational LRU keeps, and types of page in each.
const GENERATIONS: usize = 4;
const TYPES: usize = 2;
/// Zones of a node, at most.
const ZONES: usize = 6;
/// NUMA nodes that are added up, at most.
const NODES: usize = 16;
/// Words that hold the lists of one node.
const WORDS: usize = GENERATIONS * TYPES * ZONES;

/// Scratch space: the lists of one node are too large for the stack.
#[map]
static LIST_SIZES: PerCpuArray<[u64; WORDS]> = PerCpuArray::with_max_entries(1, 0);

/// The memory controller's structure of a cgroup; 0 where it is not enabled.
#[inline(always)]
fn controller(cgroup: u64, facts: &facts::Usage) -> u64 {
    if !known(fact(&facts.cgroup_subsys)) {
        return 0;
    }
    peek(
        cgroup,
        fact(&facts.cgroup_subsys) + 8 * fact(&facts.memory_subsys),
    )
}

/// Whether a cgroup has the memory controller.
#[inline(always)]
pub(crate) fn enabled(cgroup: u64, facts: &facts::Usage) -> bool {
    controller(cgroup, facts) != 0
}

#[inline(always)]
pub(crate) fn fill(record: &mut CgroupRecord, cgroup: u64, walk: &WalkState, facts: &facts::Usage) {
    let memory = controller(cgroup, facts);
    if memory == 0 {
        return;
    }
    record.memory = peek(memory, fact(&facts.memory_usage));
    // SAFETY: four words.
    unsafe {
        copy(
            &raw mut record.limits,
            size_of_val(&record.limits),
            memory,
            fact(&facts.memory_limits),
        )
    };
    record.have |= have::MEMORY;
    if known(fact(&facts.memory_peak)) {
        record.peak = peek(memory, fact(&facts.memory_peak));
        record.have |= have::PEAK;
    }
    if known(fact(&facts.swap_usage)) {
        record.swap = peek(memory, fact(&facts.swap_usage));
        record.have |= have::SWAP;
    }
    if known(fact(&facts.memory_events)) {
        let first = fact(&facts.memory_events) + 8 * fact(&facts.memory_events_first);
        // SAFETY: six words.
        unsafe { copy(&raw mut record.events, size_of_val(&record.events), memory, first) };
        record.have |= have::EVENTS;
    }
    if known(fact(&facts.lru_sizes)) {
        lists(record, memory, facts);
        record.have |= have::LRU;
    }
    if known(fact(&facts.stats)) && walk.stat_known == 1 {
        let state = peek::<u64>(memory, fact(&facts.stats)) + fact(&facts.stats_state) as u64;
        for (value, index) in record.stat.iter_mut().zip(walk.stat_index) {
            *value = peek(state, 8 * index as usize);
        }
        record.have |= have::STAT;
    }
}

/// Adds up the pages on the LRU lists over all zones and nodes.
#[inline(always)]
fn lists(record: &mut CgroupRecord, memory: u64, facts: &facts::Usage) {
    // SAFETY: counters only.
    unsafe { clear(&raw mut record.lru) };
    let Some(words) = LIST_SIZES.get_ptr_mut(0) else {
        return;
    };
    for node in 0..NODES {
        if node >= fact(&facts.nodes) {
            break;
        }
        let info: u64 = peek(memory, fact(&facts.node_info) + 8 * node);
        if info == 0 {
            continue;
        }
        let length = fact(&facts.lru_sizes_length);
        if length <= WORDS {
            // SAFETY: not more than the scratch space.
            unsafe { copy(words, 8 * length, info, fact(&facts.lru_sizes)) };
            for (list, total) in record.lru.iter_mut().enumerate() {
                for zone in 0..ZONES {
                    if zone * LISTS + list < length {
                        // SAFETY: below `length`.
                        *total += unsafe { (*words)[(zone * LISTS + list) % WORDS] };
                    }
                }
            }
        }
        let length = fact(&facts.gen_sizes_length);
        if known(fact(&facts.gen_sizes)) && length <= WORDS {
            let newest = peek::<u64>(info, fact(&facts.gen_newest)) as usize;
            // SAFETY: as above.
            unsafe { copy(words, 8 * length, info, fact(&facts.gen_sizes)) };
            let zones = length / (GENERATIONS * TYPES);
            for generation in 0..GENERATIONS {
                // The younger two of the four, without a branch: it would double the verifier's paths each time.
                let active = 1 - newest.wrapping_sub(generation) % GENERATIONS / 2;
                for kind in 0..TYPES {
                    for zone in 0..ZONES {
                        let word = (generation * TYPES + kind) * zones + zone;
                        if zone < zones && word < WORDS {
                            // Inactive and active anon come first, then inactive and active file.
                            // SAFETY: within the scratch space.
                            record.lru[2 * kind + active] += unsafe { (*words)[word] };
                        }
                    }
                }
            }
        }
    }
}
