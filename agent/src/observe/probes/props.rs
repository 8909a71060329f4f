//! Properties of decoding and adding up.

use std::collections::HashMap;

use plimsoll_ebpf::wire::{CgroupRecord, RunTime, Stall, have, kind};
use proptest::prelude::*;

use super::*;

const PAGE: Bytes = Bytes(4096);

/// The bytes of a record, as the program writes them.
fn bytes_of(record: &CgroupRecord) -> Vec<u8> {
    let mut bytes = record.id.to_ne_bytes().to_vec();
    bytes.extend(record.level.to_ne_bytes());
    bytes.extend(record.have.to_ne_bytes());
    let words = [record.cpu_nsec, record.memory, record.peak, record.swap];
    let words = words
        .iter()
        .chain(&record.limits)
        .chain(&record.events)
        .chain(&record.lru);
    bytes.extend(words.chain(&record.stat).flat_map(|word| word.to_ne_bytes()));
    assert_eq!(bytes.len(), size_of::<CgroupRecord>());
    bytes
}

/// Levels of a tree in the order of a pass: each at most one below the one before.
fn levels() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(any::<u32>(), 0..40).prop_map(|choices| {
        let mut levels = vec![3_u32];
        for choice in choices {
            let deepest = levels.last().copied().unwrap_or(3) + 1;
            levels.push(4 + choice % (deepest - 3));
        }
        levels
    })
}

fn pass(levels: &[u32]) -> Vec<u8> {
    let record = |(place, level): (usize, &u32)| CgroupRecord {
        id: 100 + place as u64,
        level: *level,
        have: have::LRU,
        lru: [place as u64, 1, 0, 0, 0],
        ..CgroupRecord::default()
    };
    levels
        .iter()
        .enumerate()
        .flat_map(|p| bytes_of(&record(p)))
        .collect()
}

#[test]
fn the_records_words_are_those_of_the_contract() {
    assert_eq!(size_of::<RunTime>(), 8 * RUN_TIME_WORDS);
    assert_eq!(size_of::<Stall>(), 8 * STALL_WORDS);
}

#[test]
fn a_record_gives_the_figures_that_it_has_and_no_others() {
    let mut record = CgroupRecord {
        id: 9,
        level: 1,
        cpu_nsec: 5,
        memory: 2,
        ..CgroupRecord::default()
    };
    record.limits = [0, 1, 3, u64::MAX >> 12];
    record.have = have::MEMORY;
    let mut snapshot = Snapshot::default();
    snapshot.take(&bytes_of(&record), false, PAGE);
    let sample = snapshot.get(CgroupId(9)).copied().unwrap();
    assert_eq!(sample.cpu, None);
    assert_eq!(sample.memory.map(|m| m.value), Some(Bytes(8192)));
    let limits = sample.limits.map(|l| l.value).unwrap();
    assert_eq!(limits.low, crate::model::Limit::At(PAGE));
    assert_eq!(limits.max, crate::model::Limit::Max);
}

#[test]
fn an_events_text_is_printable() {
    let mut bytes = kind::CGROUP_MADE.to_ne_bytes().to_vec();
    bytes.resize(32, 0);
    bytes.extend(b"evil\n\x1b[31m\xff");
    bytes.resize(32 + plimsoll_ebpf::wire::NAME_BYTES, 0);
    let Some(ProbeEvent::CgroupMade { name, .. }) = decode::event(&bytes, PAGE) else {
        panic!("no event");
    };
    assert_eq!(name, "evil??[31m?");
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_panic(kind in 0_u32..10, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let event: Vec<u8> = kind.to_ne_bytes().into_iter().chain(bytes.iter().copied()).collect();
        if let Some(ProbeEvent::Exec { comm, .. }) = decode::event(&event, PAGE) {
            prop_assert!(comm.len() <= 16);
        }
        let mut snapshot = Snapshot::default();
        snapshot.take(&bytes, false, PAGE);
        snapshot.add_up(true, true, true);
        prop_assert_eq!(snapshot.samples().len(), bytes.len() / size_of::<CgroupRecord>());
    }

    #[test]
    fn the_parent_is_the_nearest_record_before_of_a_lower_level(levels in levels()) {
        let mut snapshot = Snapshot::default();
        snapshot.take(&pass(&levels), false, PAGE);
        for (place, sample) in snapshot.samples().iter().enumerate() {
            let expected = levels[..place].iter().rposition(|level| *level < levels[place]);
            prop_assert_eq!(sample.parent, expected.map(|p| CgroupId(100 + p as u64)));
        }
    }

    #[test]
    fn the_root_has_the_sum_of_all(levels in levels(), runs in prop::collection::vec(0_u64..1 << 40, 40)) {
        let mut snapshot = Snapshot::default();
        snapshot.take(&pass(&levels), false, PAGE);
        let mut own = HashMap::new();
        for (place, run) in runs.iter().enumerate().take(levels.len()) {
            let mut words = [0; RUN_TIME_WORDS];
            words[0] = *run;
            words[2 + place % 16] = 1;
            let (on_cpu, run_delay) = decode::run_time(&words);
            prop_assert!(snapshot.add_run_time(100 + place as u64, on_cpu, run_delay));
            own.insert(place, on_cpu);
        }
        snapshot.add_up(true, true, true);
        let root = snapshot.samples()[0];
        prop_assert_eq!(root.on_cpu.map(|c| c.value), Some(own.values().sum()));
        prop_assert_eq!(root.run_delay.map(|d| d.value.count()), Some(own.len() as u64));
        let lists = root.lru.map(|l| l.value).unwrap();
        prop_assert_eq!(lists.active_anon, Bytes(4096 * levels.len() as u64));
        prop_assert_eq!(lists.inactive_anon, Bytes(4096 * (0..levels.len() as u64).sum::<u64>()));
    }
}
