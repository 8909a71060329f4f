//! What the file is found to be, and that an end at any point leaves one state.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::kernel::fault::on_this_thread;

const NAME: &str = CPUS;

type Content = BTreeMap<String, Vec<u32>>;

fn content(n: u32) -> Content {
    (0..n).map(|i| (format!("k{i}"), vec![i, n])).collect()
}

fn open(dir: &Path) -> CheckpointFile {
    CheckpointFile::open(dir, NAME).unwrap()
}

fn found(dir: &Path) -> Found<Content> {
    open(dir).load().found
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_saved_is_loaded_and_not_written_twice() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("made/on/demand");
    let mut file = open(&state);
    assert_eq!(file.load::<Content>().found, Found::Missing);
    assert!(file.save(&content(3)).unwrap());
    let inode = || rustix::fs::stat(state.join(NAME)).unwrap().st_ino;
    let first = inode();
    assert!(!file.save(&content(3)).unwrap());
    drop(file);
    let mut file = open(&state);
    assert_eq!(file.load().found, Found::Usable(content(3)));
    assert!(!file.save(&content(3)).unwrap());
    assert_eq!(inode(), first);
    assert!(file.save(&content(4)).unwrap());
    assert_eq!(file.load().found, Found::Usable(content(4)));
    assert_eq!(names(&state), [NAME]);
}

#[test]
fn what_cannot_be_used_is_told_apart_and_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    let path = state.join(NAME);
    let good = String::from_utf8(sealed(&content(3)).unwrap()).unwrap();
    let crc = |text: &str| text.replace("[2,3]", "[2,4]");
    for (text, label, said) in [
        (String::new(), "corrupt", "EOF"),
        ("nonsense".to_owned(), "corrupt", "expected"),
        (good[..good.len() - 9].to_owned(), "corrupt", "EOF"),
        (crc(&good), "corrupt", "its checksum is"),
        (
            good.replace("\"version\":1", "\"version\":0"),
            "older",
            "its format 0 is older than 1",
        ),
        // A later format may have anything else in it.
        (
            "{\"version\":7,\"x\":[]}".to_owned(),
            "newer",
            "its format 7 is newer than 1",
        ),
    ] {
        std::fs::write(&path, &text).unwrap();
        let loaded = open(state).load::<Content>();
        assert_eq!(loaded.found.label(), label, "{text}");
        let Found::Unusable(why) = loaded.found else {
            panic!("{text} was used");
        };
        assert!(why.to_string().contains(said), "{why}");
        let aside = loaded.put_aside.unwrap().unwrap();
        assert_eq!(std::fs::read_to_string(aside).unwrap(), text);
        assert_eq!(found(state), Found::Missing);
    }
    let corrupt = ["", ".2", ".3", ".4"].map(|n| format!("{NAME}.corrupt{n}"));
    assert_eq!(names(state)[..4], corrupt);
}

#[test]
fn what_is_no_file_is_unreadable_and_what_is_endless_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let (state, path) = (dir.path(), dir.path().join(NAME));
    let unusable = || match found(state) {
        Found::Unusable(why) => why,
        other => panic!("{other:?}"),
    };
    std::fs::create_dir(&path).unwrap();
    assert_eq!(unusable(), Unusable::Unreadable(Errno::ISDIR));
    symlink("/etc/hostname", &path).unwrap();
    assert_eq!(unusable(), Unusable::Unreadable(Errno::LOOP));
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(
        unusable(),
        Unusable::Corrupt("it has more than 16777216 bytes".to_owned())
    );
    // And after all that it goes on.
    assert!(open(state).save(&content(1)).unwrap());
    assert_eq!(found(state), Found::Usable(content(1)));
}

#[test]
fn the_directory_is_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let second = CheckpointFile::open(dir.path(), NAME).unwrap_err();
    assert!(matches!(second, CheckpointError::InUse { .. }), "{second}");
    drop(first);
    open(dir.path());
}

#[test]
fn a_refused_write_leaves_the_one_before_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = open(dir.path());
    file.save(&content(1)).unwrap();
    let part = dir.path().join(format!("{NAME}.part"));
    std::fs::create_dir(&part).unwrap();
    let refused = file.save(&content(2)).unwrap_err().to_string();
    assert!(refused.starts_with("cannot create the successor of"), "{refused}");
    assert!(
        file.save(&content(1)).is_err(),
        "what is in the file is not known any more"
    );
    std::fs::remove_dir(&part).unwrap();
    assert!(file.save(&content(2)).unwrap());
    drop(file);
    assert_eq!(found(dir.path()), Found::Usable(content(2)));
}

/// All points of a write, in order.
fn points() -> Vec<&'static str> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seen_by_hook = seen.clone();
    let dir = tempfile::tempdir().unwrap();
    let hooked = on_this_thread(move |name| seen_by_hook.lock().unwrap().push(name));
    open(dir.path()).save(&content(1)).unwrap();
    drop(hooked);
    Arc::into_inner(seen).unwrap().into_inner().unwrap()
}

#[test]
fn an_end_at_any_point_leaves_the_old_or_the_new() {
    let points = points();
    assert_eq!(points.len(), 6);
    for (at, &last) in points.iter().enumerate() {
        for before in [None, Some(content(2))] {
            let dir = tempfile::tempdir().unwrap();
            if let Some(before) = &before {
                open(dir.path()).save(before).unwrap();
            }
            let hooked = on_this_thread(move |name| assert_ne!(name, last, "the end"));
            let ended = catch_unwind(AssertUnwindSafe(|| open(dir.path()).save(&content(50))));
            drop(hooked);
            assert!(ended.is_err(), "{last} was not reached");
            let renamed = at >= points.iter().position(|p| *p == "checkpoint.renamed").unwrap();
            let expected = match before {
                _ if renamed => Found::Usable(content(50)),
                Some(before) => Found::Usable(before),
                None => Found::Missing,
            };
            assert_eq!(found(dir.path()), expected, "{last}");
            // What the end left behind is in nobody's way.
            assert!(open(dir.path()).save(&content(3)).unwrap());
            assert_eq!(found(dir.path()), Found::Usable(content(3)));
        }
    }
}

/// Where the child saves; only set for it.
const CHILD_DIR: &str = "PLIMSOLL_TEST_CHECKPOINT_DIR";

/// What the child of the next test does.
#[test]
fn a_child_saves_twice() {
    if let Ok(dir) = std::env::var(CHILD_DIR) {
        let mut file = open(Path::new(&dir));
        file.save(&content(1)).unwrap();
        file.save(&content(2)).unwrap();
    }
}

#[test]
fn a_process_that_is_killed_at_a_point_leaves_the_old_or_the_new_and_no_lock() {
    for (point, n) in [
        ("checkpoint.half-written", 1),
        ("checkpoint.synced", 2),
        ("checkpoint.renamed", 2),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "kernel::checkpoint::tests::a_child_saves_twice"]);
        child.env(CHILD_DIR, dir.path());
        child.env("PLIMSOLL_FAULT_POINT", format!("{point}:{n}"));
        let output = child.output().unwrap();
        assert_eq!(output.status.signal(), Some(9), "{point}: {output:?}");
        let expected = match point {
            "checkpoint.half-written" => Found::Missing,
            "checkpoint.synced" => Found::Usable(content(1)),
            _ => Found::Usable(content(2)),
        };
        assert_eq!(found(dir.path()), expected, "{point}");
    }
}

proptest! {
    #[test]
    fn one_changed_byte_is_never_taken_for_the_content(at: prop::sample::Index, byte: u8, n in 0..20_u32) {
        let mut bytes = sealed(&content(n)).unwrap();
        let at = at.index(bytes.len());
        let before = std::mem::replace(&mut bytes[at], byte);
        match opened::<Content>(&bytes) {
            // White space at the end is none of the content.
            Ok(read) => prop_assert!(read == content(n) && (before == byte || at + 1 == bytes.len())),
            Err(_) => prop_assert_ne!(before, byte),
        }
    }
}
