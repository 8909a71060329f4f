//! Properties of decoding and adding up.

use std::time::Duration;

use plimsoll_ebpf::wire::{CgroupRecord, FILE_NAME_BYTES, FileWritten, NAME_BYTES, have, kind};
use proptest::prelude::*;

use super::*;
use crate::model::{BootTime, CgroupId, CgroupSample, Limit, LruLists, MemoryKinds, Stalls};

const PAGE: Bytes = Bytes(4096);

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

fn pass(levels: &[u32]) -> Vec<CgroupRecord> {
    let record = |(place, level): (usize, &u32)| CgroupRecord {
        id: 100 + place as u64,
        level: *level,
        have: have::LRU | have::RUN,
        lru: [place as u64, 1, 0, 0, 0],
        ..CgroupRecord::default()
    };
    levels.iter().enumerate().map(record).collect()
}

/// The samples of a pass.
fn samples(records: &mut [CgroupRecord]) -> Vec<CgroupSample> {
    let mut tree = Tree::default();
    tree.take(records, Some(&[(100, [1, 5]), (101, [2, 7])]), None);
    Snapshot::new(records, &tree, false, PAGE).samples().collect()
}

#[test]
fn a_record_gives_the_figures_that_it_has_and_no_others() {
    let record = CgroupRecord {
        id: 9,
        level: 1,
        have: have::MEMORY,
        cpu_nsec: 5,
        memory: 2,
        limits: [0, 1, 3, u64::MAX >> 12],
        ..CgroupRecord::default()
    };
    let sample = samples(&mut [record])[0];
    assert_eq!(sample.cpu, None);
    assert_eq!(sample.memory.map(|m| m.value), Some(Bytes(8192)));
    let limits = sample.limits.map(|l| l.value).unwrap();
    assert_eq!(limits.low, Limit::At(PAGE));
    assert_eq!(limits.max, Limit::Max);
    assert_eq!(sample.over_high, None, "not timed");
    assert_eq!(
        sample.reclaim.map(|r| r.value),
        Some(Stalls::default()),
        "timed, and none"
    );
}

#[test]
fn places_follow_when_cgroups_come_and_go() {
    let mut tree = Tree::default();
    for levels in [&[3, 4, 5, 4][..], &[3, 4], &[3, 4, 4, 5, 5]] {
        let mut records = pass(levels);
        for (n, record) in records.iter_mut().rev().enumerate() {
            record.id = 7 + n as u64;
        }
        tree.take(&mut records, None, None);
        let snapshot = Snapshot::new(&records, &tree, false, PAGE);
        for record in &records {
            assert_eq!(snapshot.get(CgroupId(record.id)).unwrap().id.0, record.id);
        }
        assert_eq!(snapshot.get(CgroupId(7 + records.len() as u64)), None);
    }
}

#[test]
fn an_events_text_is_printable() {
    let mut bytes = kind::CGROUP_MADE.to_ne_bytes().to_vec();
    bytes.resize(32, 0);
    bytes.extend(b"evil\n\x1b[31m\xff");
    bytes.resize(32 + NAME_BYTES, 0);
    let Some(ProbeEvent::CgroupMade { name, .. }) = decode::event(&bytes, PAGE) else {
        panic!("no event");
    };
    assert_eq!(name, "evil??[31m?");
}

/// A name as the kernel writes it, ended by NUL.
fn padded<const N: usize>(name: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_panic(kind in 0_u32..10, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let event: Vec<u8> = kind.to_ne_bytes().into_iter().chain(bytes).collect();
        if let Some(ProbeEvent::Exec { comm, .. }) = decode::event(&event, PAGE) {
            prop_assert!(comm.len() <= 16);
        }
    }

    #[test]
    fn a_write_comes_out_as_it_went_in(pid: u32, cgroup: u64, at: u64, file in "[a-z._]{0,31}", comm in "[ -~]{0,15}") {
        let bytes = [
            kind::FILE_WRITTEN.to_ne_bytes().as_slice(),
            &pid.to_ne_bytes(),
            &cgroup.to_ne_bytes(),
            &at.to_ne_bytes(),
            &padded::<16>(&comm),
            &padded::<FILE_NAME_BYTES>(&file),
        ].concat();
        prop_assert_eq!(bytes.len(), size_of::<FileWritten>());
        prop_assert_eq!(decode::event(&bytes[..bytes.len() - 1], PAGE), None);
        let told = ProbeEvent::FileWritten {
            at: BootTime(Duration::from_nanos(at)),
            cgroup: CgroupId(cgroup),
            file,
            pid,
            comm,
        };
        prop_assert_eq!(decode::event(&bytes, PAGE), Some(told));
    }

    #[test]
    fn the_names_of_a_write_are_printable(names in prop::collection::vec(any::<u8>(), 16 + FILE_NAME_BYTES)) {
        let mut bytes = kind::FILE_WRITTEN.to_ne_bytes().to_vec();
        bytes.resize(24, 0);
        bytes.extend(names);
        let Some(ProbeEvent::FileWritten { file, comm, .. }) = decode::event(&bytes, PAGE) else {
            return Err(TestCaseError::fail("no event"));
        };
        prop_assert!(comm.len() <= 16 && file.len() <= FILE_NAME_BYTES);
        prop_assert!(file.bytes().chain(comm.bytes()).all(|byte| matches!(byte, b' '..=b'~')));
    }

    #[test]
    fn no_levels_make_adding_up_panic(levels in prop::collection::vec(any::<u32>(), 0..40)) {
        prop_assert_eq!(samples(&mut pass(&levels)).len(), levels.len());
    }

    #[test]
    fn the_parent_is_the_nearest_record_before_of_a_lower_level(levels in levels()) {
        for (place, sample) in samples(&mut pass(&levels)).iter().enumerate() {
            let expected = levels[..place].iter().rposition(|level| *level < levels[place]);
            prop_assert_eq!(sample.parent, expected.map(|p| CgroupId(100 + p as u64)));
        }
    }

    #[test]
    fn the_root_has_the_sum_of_all(levels in levels(), runs in prop::collection::vec(1_u64..1 << 40, 41)) {
        let mut records = pass(&levels);
        for ((place, record), run) in records.iter_mut().enumerate().zip(&runs) {
            record.run.run_nsec = *run;
            record.run.delays[place % 16] = 1;
        }
        let count = levels.len() as u64;
        let root = samples(&mut records)[0];
        let run: u64 = runs.iter().take(levels.len()).sum();
        prop_assert_eq!(root.on_cpu.map(|c| c.value), Some(Duration::from_nanos(run)));
        prop_assert_eq!(root.run_delay.map(|d| d.value.count()), Some(count));
        let lists = root.lru.map(|l| l.value).unwrap();
        prop_assert_eq!(lists.active_anon, Bytes(4096 * count));
        prop_assert_eq!(lists.inactive_anon, Bytes(4096 * (0..count).sum::<u64>()));
        let stalls = root.reclaim.map(|r| r.value.count);
        prop_assert_eq!(stalls, Some(if count > 1 { 3 } else { 1 }));
    }

    #[test]
    fn statistics_below_zero_are_none(below in 1_i64..i64::MAX) {
        let mut records = pass(&[0]);
        records[0].have |= have::LRU | have::STAT;
        records[0].lru = [(-below).cast_unsigned(); 5];
        records[0].stat = [(-below).cast_unsigned(); 5];
        let root = samples(&mut records)[0];
        prop_assert_eq!(root.lru.map(|l| l.value), Some(LruLists::default()));
        prop_assert_eq!(root.kinds.map(|k| k.value), Some(MemoryKinds::default()));
    }
}
