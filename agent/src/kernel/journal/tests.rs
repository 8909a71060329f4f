//! Stops and damage at every place, and the bounds.

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

const MIB: Bytes = Bytes::mib(1);

fn open(path: &Path) -> (Journal, FoundJournal) {
    Journal::open(path, MIB, 1000).unwrap()
}

fn texts(found: &[Vec<u8>]) -> Vec<String> {
    found
        .iter()
        .map(|json| String::from_utf8(json.clone()).unwrap())
        .collect()
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[test]
fn records_are_there_after_another_start_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let (mut journal, found) = open(&path);
    assert!(found.latest.is_empty() && found.cut == 0);
    assert!(matches!(
        Journal::open(&path, MIB, 1),
        Err(JournalError::InUse { .. })
    ));
    journal.append(b"{\"n\":1}").unwrap();
    journal.append(b"{\"n\":2}").unwrap();
    journal.sync().unwrap();
    drop(journal);
    let (_journal, found) = Journal::open(&path, MIB, 1).unwrap();
    assert_eq!(texts(&found.latest), ["{\"n\":2}"]);
    let read = read_journal(&path).unwrap();
    assert_eq!(texts(&read.records), ["{\"n\":1}", "{\"n\":2}"]);
    assert_eq!(texts(&read_journal(&files(&path)[0]).unwrap().records).len(), 2);
    assert!(
        read_journal(Path::new("/nonexistent/journal"))
            .unwrap_err()
            .is_missing()
    );
    assert!(read_journal(Path::new("/dev/zero")).is_err());
}

#[test]
fn a_stop_at_any_byte_takes_the_last_record_only_and_the_next_stands_behind() {
    let dir = tempfile::tempdir().unwrap();
    let records = ["{\"n\":1}", "{\"text\":\"two\"}", "{\"n\":3}"];
    let mut whole = Vec::new();
    let mut ends = vec![0];
    for record in records {
        encode(record.as_bytes(), &mut whole);
        ends.push(whole.len());
    }
    for cut in 0..=whole.len() {
        let path = dir.path().join(cut.to_string());
        let file = path.join(name(7));
        fs::create_dir(&path).unwrap();
        fs::write(&file, &whole[..cut]).unwrap();
        let (mut journal, found) = open(&path);
        let kept = ends.iter().filter(|end| **end > 0 && **end <= cut).count();
        assert_eq!(texts(&found.latest), &records[..kept], "{cut}");
        assert_eq!(found.cut, (cut - ends[kept]) as u64, "{cut}");
        assert_eq!(found.damaged, 0);
        journal.append(b"{\"n\":4}").unwrap();
        drop(journal);
        let (_journal, found) = open(&path);
        let mut expected = records[..kept].to_vec();
        expected.push("{\"n\":4}");
        assert_eq!(texts(&found.latest), expected, "{cut}");
    }
}

#[test]
fn a_flipped_bit_at_any_place_invents_nothing_and_takes_two_records_at_most() {
    let records: Vec<String> = (0..4).map(|n| format!("{{\"n\":{n},\"of\":\"four\"}}")).collect();
    let mut whole = Vec::new();
    records
        .iter()
        .for_each(|record| encode(record.as_bytes(), &mut whole));
    let known: BTreeSet<_> = records.iter().map(String::as_bytes).collect();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            let decoded = decode(&bytes);
            assert!(
                decoded.records.iter().all(|record| known.contains(record)),
                "{at} {bit}"
            );
            assert!(decoded.records.len() >= 2, "{at} {bit}");
            let torn = decoded.whole < bytes.len();
            assert!(decoded.damaged > 0 || torn, "{at} {bit}: the damage is not seen");
        }
    }
}

#[test]
fn the_journal_is_bounded_and_the_oldest_go() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    let padding = "x".repeat(10_000);
    for n in 0..400 {
        journal
            .append(format!("{{\"n\":{n},\"p\":\"{padding}\"}}").as_bytes())
            .unwrap();
        assert!(journal.size() <= MIB);
    }
    let on_disk: u64 = files(dir.path())
        .iter()
        .map(|file| fs::metadata(file).unwrap().len())
        .sum();
    assert_eq!(Bytes(on_disk), journal.size());
    let read = read_journal(dir.path()).unwrap();
    let last: serde_json::Value = serde_json::from_slice(read.records.last().unwrap()).unwrap();
    let first: serde_json::Value = serde_json::from_slice(&read.records[0]).unwrap();
    assert_eq!(last["n"], 399);
    assert_eq!(first["n"], 400 - read.records.len());
    assert!(on_disk > MIB.0 * 3 / 4, "{on_disk}");
    drop(journal);
    // A smaller size counts from the next record on.
    let (mut journal, _) = Journal::open(dir.path(), Bytes(MIB.0 / 2), 1).unwrap();
    journal.append(b"{}").unwrap();
    assert!(journal.size() <= Bytes(MIB.0 / 2));
}

#[test]
fn what_others_put_into_the_directory_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for other in ["notes.txt", "5.journal", "x.journal"] {
        fs::write(dir.path().join(other), "mine").unwrap();
    }
    let (mut journal, found) = open(dir.path());
    assert!(found.latest.is_empty());
    journal.append(b"{}").unwrap();
    assert_eq!(read_journal(dir.path()).unwrap().records.len(), 1);
    assert_eq!(files(dir.path()).len(), 4);
    let victim = dir.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let linked = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&victim, linked.path().join(name(1))).unwrap();
    assert!(Journal::open(linked.path(), MIB, 1).is_err());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

#[test]
fn the_worker_writes_everything_before_it_ends_and_tells_refusals() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let worker = JournalWorker::start(journal, move |error: JournalError| {
        telling.lock().unwrap().push(error.to_string());
    })
    .unwrap();
    let counted = worker.counted();
    let taken = (0..100).filter(|n| worker.hand_over(*n) == Handed::Taken).count() as u64;
    drop(worker);
    assert_eq!(counted.written(), taken);
    assert_eq!(counted.written() + counted.lost(), 100);
    assert_eq!(read_journal(dir.path()).unwrap().records.len() as u64, taken);
    assert_eq!(told.lock().unwrap().len(), 0);
    assert!(counted.bytes() > 0);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct UnderWay {
    pod: String,
    bytes: u64,
}

#[test]
fn the_slot_keeps_one_record_over_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("inflight");
    let record = UnderWay {
        pod: "a".to_owned(),
        bytes: 5,
    };
    let mut slot = Slot::open(&path).unwrap();
    assert_eq!(slot.get::<UnderWay>().unwrap(), None);
    slot.put(&record).unwrap();
    drop(slot);
    let mut slot = Slot::open(&path).unwrap();
    assert_eq!(slot.get().unwrap(), Some(record.clone()));
    let large = UnderWay {
        pod: "x".repeat(PAGES),
        bytes: 0,
    };
    assert!(slot.put(&large).is_err());
    assert_eq!(slot.get::<UnderWay>().unwrap(), None, "not the one before");
    slot.put(&record).unwrap();
    slot.clear().unwrap();
    assert_eq!(slot.get::<UnderWay>().unwrap(), None);
}

const PAGES: usize = 5000;

proptest! {
    #[test]
    fn a_slot_with_any_bytes_gives_the_record_or_none(at in 0_usize..100, byte: u8, cut in 0_usize..5000) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("inflight");
        let record = UnderWay { pod: "pod-1".to_owned(), bytes: 7 };
        let mut slot = Slot::open(&path).unwrap();
        slot.put(&record).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] = byte;
        bytes.truncate(cut);
        fs::write(&path, &bytes).unwrap();
        let found = Slot::open(&path).unwrap().get::<UnderWay>().unwrap();
        prop_assert!(found.is_none() || found == Some(record));
    }

    #[test]
    fn any_bytes_decode(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let decoded = decode(&bytes);
        prop_assert!(decoded.whole <= bytes.len());
        prop_assert!(bytes.get(..decoded.whole).is_none_or(|b| b.is_empty() || b.ends_with(b"\n")));
    }

    #[test]
    fn what_is_written_is_read(records in proptest::collection::vec("[ -~äö]{0,40}", 0..8)) {
        let mut bytes = Vec::new();
        let json: Vec<String> = records.iter().map(|text| serde_json::to_string(text).unwrap()).collect();
        json.iter().for_each(|json| encode(json.as_bytes(), &mut bytes));
        let decoded = decode(&bytes);
        let read: Vec<_> = decoded.records.iter().map(|json| std::str::from_utf8(json).unwrap()).collect();
        prop_assert_eq!(read, json);
        prop_assert_eq!((decoded.damaged, decoded.whole), (0, bytes.len()));
    }
}
