//! Ends at every point, damage at every byte, and what a file may turn out to be.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::kernel::fault::on_this_thread;

const A: CgroupId = CgroupId(1);
const B: CgroupId = CgroupId(2);
const LOW: ControlFile = ControlFile::MemoryLow;
const HIGH: ControlFile = ControlFile::MemoryHigh;

fn open(dir: &Path) -> (UndoJournal, FoundUndo) {
    UndoJournal::open_in_boot(dir, "boot-1").unwrap()
}

fn announce(journal: &mut UndoJournal, id: CgroupId, file: ControlFile, before: &str, value: &str) {
    let path = CgroupPath::parse(&format!("kubepods/pod{}", id.0)).unwrap();
    journal
        .announce(&path, id, file, Channel::File, before, value)
        .unwrap();
}

/// What is known of files: cgroup, file, what was there, what is ours.
fn known(changes: &[ChangedValue]) -> Vec<(u64, String, String, Vec<String>)> {
    let one = |c: &ChangedValue| (c.id.0, c.file.to_string(), c.before.clone(), c.ours.clone());
    changes.iter().map(one).collect()
}

fn entry(id: CgroupId, file: ControlFile, before: &str, ours: &[&str]) -> (u64, String, String, Vec<String>) {
    let ours = ours.iter().map(|value| (*value).to_owned()).collect();
    (id.0, file.to_string(), before.to_owned(), ours)
}

#[test]
fn what_was_there_first_counts_and_the_order_is_that_of_the_first_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, found) = open(dir.path());
    assert_eq!(found, FoundUndo::default());
    announce(&mut journal, B, LOW, "0\n", "4096");
    announce(&mut journal, A, LOW, "0", "1");
    announce(&mut journal, B, HIGH, "max\n", "7");
    journal.settle(B, LOW, "4096\n").unwrap();
    announce(&mut journal, B, LOW, "4096\n", "8192");
    let expected = [
        entry(B, LOW, "0", &["4096", "8192"]),
        entry(A, LOW, "0", &["1"]),
        entry(B, HIGH, "max", &["7"]),
    ];
    assert_eq!(known(&journal.changes()), expected);
    journal.settle(B, LOW, "8192\n").unwrap();
    drop(journal);
    let (mut journal, found) = open(dir.path());
    assert_eq!(known(&found.changes)[0], entry(B, LOW, "0", &["8192"]));
    assert_eq!(known(&found.changes)[1..], expected[1..]);
    assert_eq!(found.changes, journal.changes());
    // What is as before needs no undoing.
    journal.settle(B, LOW, "0\n").unwrap();
    journal.keep(&BTreeSet::from([B])).unwrap();
    assert_eq!(known(&journal.changes()), [entry(B, HIGH, "max", &["7"])]);
    drop(journal);
    assert_eq!(
        known(&open(dir.path()).1.changes),
        [entry(B, HIGH, "max", &["7"])]
    );
}

#[test]
fn what_is_known_is_not_written_and_the_file_stays_small() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    announce(&mut journal, A, LOW, "0", "1");
    journal.settle(A, LOW, "1").unwrap();
    let size = || fs::metadata(dir.path().join("undo/changes")).unwrap().len();
    let before = size();
    for _ in 0..100 {
        announce(&mut journal, A, LOW, "1", "1");
        journal.settle(A, LOW, "1\n").unwrap();
        journal.forget(B, LOW).unwrap();
        journal.settle(B, LOW, "5").unwrap();
    }
    assert_eq!(size(), before);
    let mut largest = 0;
    for n in 2..2000 {
        announce(&mut journal, A, LOW, "1", &n.to_string());
        journal.settle(A, LOW, &n.to_string()).unwrap();
        largest = largest.max(size());
    }
    assert!(largest < 64 << 10, "{largest} bytes");
    drop(journal);
    assert_eq!(
        known(&open(dir.path()).1.changes),
        [entry(A, LOW, "0", &["1999"])]
    );
}

#[test]
fn values_that_never_settle_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    for n in 0..100 {
        announce(&mut journal, A, LOW, "0", &n.to_string());
    }
    let ours = &journal.changes()[0].ours;
    assert_eq!(ours.len(), MOST_PENDING);
    assert_eq!(ours.last().map(String::as_str), Some("99"));
}

#[test]
fn it_is_for_one_and_reading_needs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(read_undo(dir.path()).unwrap(), FoundUndo::default());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let (mut journal, _) = UndoJournal::open(dir.path()).unwrap();
    let second = UndoJournal::open(dir.path()).unwrap_err();
    assert!(matches!(second, UndoError::InUse { .. }), "{second}");
    announce(&mut journal, A, LOW, "0", "1");
    assert_eq!(read_undo(dir.path()).unwrap().changes, journal.changes());
    let other = UndoJournal::open_in_boot(&dir.path().join("other"), "boot-0").unwrap();
    drop(other);
    assert!(read_undo(&dir.path().join("other")).unwrap().other_boot);
}

#[test]
fn another_boot_is_nothing_and_what_cannot_be_used_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("undo/changes");
    let (mut journal, _) = open(dir.path());
    announce(&mut journal, A, LOW, "0", "1");
    drop(journal);
    let good = fs::read(&path).unwrap();
    let (journal, found) = UndoJournal::open_in_boot(dir.path(), "boot-2").unwrap();
    assert!(found.other_boot && found.changes.is_empty());
    drop(journal);
    let mut newer = Vec::new();
    encode(br#"{"begin":{"version":2,"boot":"boot-1"}}"#, &mut newer);
    let headless = good[good.iter().position(|b| *b == b'\n').unwrap() + 1..].to_vec();
    for (bytes, said) in [
        (Vec::new(), "it has no first line"),
        (b"nonsense\n".to_vec(), "it has no first line"),
        (newer, "its format is 2, not 1"),
        (headless, "its first line is damaged"),
    ] {
        fs::write(&path, &bytes).unwrap();
        let (journal, found) = open(dir.path());
        assert_eq!(found.unusable.as_deref(), Some(said));
        assert!(journal.changes().is_empty());
        assert_eq!(fs::read(path.with_file_name("changes.unusable")).unwrap(), bytes);
    }
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
    let (_journal, found) = open(dir.path());
    assert!(found.unusable.unwrap().starts_with("it cannot be read"));
}

#[test]
fn a_line_of_a_file_that_is_none_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    announce(&mut journal, A, LOW, "0", "1");
    drop(journal);
    let path = dir.path().join("undo/changes");
    let mut bytes = fs::read(&path).unwrap();
    for (cgroup, file) in [
        ("a/../../b", "memory.low"),
        ("a", "../x"),
        ("/a", "memory.low"),
        ("a", "tasks"),
    ] {
        let json = format!(
            r#"{{"changed":{{"cgroup":"{cgroup}","id":9,"file":"{file}","channel":"file","before":"","ours":["1"]}}}}"#
        );
        encode(json.as_bytes(), &mut bytes);
    }
    fs::write(&path, bytes).unwrap();
    let (journal, found) = open(dir.path());
    assert_eq!((found.damaged, journal.changes().len()), (4, 1));
}

#[test]
fn a_refused_line_was_not_said() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    announce(&mut journal, A, LOW, "0", "1");
    // Open for reading only: every write is refused.
    let path = journal.path();
    let writable = std::mem::replace(&mut journal.file, File::open(path).unwrap());
    let cgroup = CgroupPath::parse("kubepods").unwrap();
    assert!(
        journal
            .announce(&cgroup, B, LOW, Channel::File, "0", "1")
            .is_err()
    );
    assert_eq!(journal.changes().len(), 1);
    journal.file = writable;
    announce(&mut journal, B, LOW, "0", "2");
    drop(journal);
    assert_eq!(open(dir.path()).1.changes.len(), 2);
}

/// A life of the journal beside the files that it tells of: each value is announced before it is there.
fn live(dir: &Path, files: &Mutex<BTreeMap<(CgroupId, ControlFile), String>>) {
    let (mut journal, _) = open(dir);
    for n in 0..200 {
        for (id, file) in [(A, LOW), (B, HIGH)] {
            let now = files
                .lock()
                .unwrap()
                .get(&(id, file))
                .cloned()
                .unwrap_or_else(|| "start".to_owned());
            let value = if n % 3 == 2 {
                "start".to_owned()
            } else {
                n.to_string()
            };
            announce(&mut journal, id, file, &now, &value);
            files.lock().unwrap().insert((id, file), value.clone());
            fault::point("test.file-written");
            journal.settle(id, file, &value).unwrap();
        }
    }
}

#[test]
fn after_an_end_at_any_point_every_value_of_ours_is_known_with_what_was_there() {
    let points = Arc::new(Mutex::new(0_usize));
    let counted = points.clone();
    let dir = tempfile::tempdir().unwrap();
    let hooked = on_this_thread(move |_| *counted.lock().unwrap() += 1);
    live(dir.path(), &Mutex::default());
    drop(hooked);
    let points = *points.lock().unwrap();
    assert!(points > 500, "{points} points");
    // Each of the first points, with all kinds among them, and then every so many.
    for last in (0..60).chain((60..points).step_by(7)) {
        let dir = tempfile::tempdir().unwrap();
        let files = Mutex::default();
        let mut passed = 0;
        let hooked = on_this_thread(move |_| {
            assert_ne!(passed, last, "the end");
            passed += 1;
        });
        let ended = catch_unwind(AssertUnwindSafe(|| live(dir.path(), &files)));
        drop(hooked);
        assert!(ended.is_err(), "point {last} was not reached");
        let (journal, found) = open(dir.path());
        assert_eq!((found.damaged, found.unusable), (0, None), "point {last}");
        let files = files.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for ((id, file), value) in files.iter().filter(|(_, value)| *value != "start") {
            let changes = journal.changes();
            let change = changes
                .iter()
                .find(|change| change.id == *id && change.file == *file);
            let change = change.unwrap_or_else(|| panic!("point {last}: {value} of {id:?} is not known"));
            assert_eq!(change.before, "start");
            assert!(change.ours.contains(value), "point {last}: {value} in {change:?}");
        }
    }
}

proptest! {
    #[test]
    fn a_cut_or_a_flipped_byte_never_makes_a_change_up(
        at: prop::sample::Index,
        flip in prop::option::of(1..=255_u8),
        values in prop::collection::vec((0..3_u64, 0..9_u8), 1..20),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(dir.path());
        let mut said = BTreeSet::new();
        for (id, value) in values {
            announce(&mut journal, CgroupId(id), LOW, "start", &value.to_string());
            said.extend(journal.changes().into_iter().map(|change| format!("{change:?}")));
        }
        let path = journal.path();
        drop(journal);
        let mut bytes = fs::read(&path).unwrap();
        let at = at.index(bytes.len());
        match flip {
            Some(flip) => bytes[at] ^= flip,
            None => bytes.truncate(at),
        }
        fs::write(&path, bytes).unwrap();
        let (journal, _) = open(dir.path());
        for change in journal.changes() {
            let known = format!("{change:?}");
            prop_assert!(said.contains(&known));
        }
    }
}
