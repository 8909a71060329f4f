//! Records against a real directory.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

fn uid(text: &str) -> PodUid {
    PodUid::parse(text).unwrap()
}

fn open(dir: &tempfile::TempDir) -> StateDir {
    StateDir::open_in_boot(&dir.path().join("state"), "boot-1").unwrap()
}

#[test]
fn what_was_saved_is_loaded_by_the_next_agent_and_private() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = StateDir::open(&dir.path().join("state")).unwrap();
    assert!(state.save(&uid("b"), &vec![1, 2]).unwrap() && state.save(&uid("a"), &vec![3]).unwrap());
    assert!(state.save(&uid("c"), &vec![4]).unwrap());
    state.remove(&uid("c")).unwrap();
    state.remove(&uid("c")).unwrap();
    let loaded = StateDir::open(&dir.path().join("state"))
        .unwrap()
        .load::<Vec<u32>>()
        .unwrap();
    assert_eq!(loaded.records, [(uid("a"), vec![3]), (uid("b"), vec![1, 2])]);
    assert!(loaded.put_aside.is_empty() && loaded.other_boot == 0);
    for (path, mode) in [
        ("state", 0o700),
        ("state/pods", 0o700),
        ("state/pods/a.json", 0o600),
    ] {
        let found = fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{path}");
    }
}

#[test]
fn the_same_record_is_written_once_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state/pods/a.json");
    let inode = || fs::metadata(&file).unwrap().ino();
    let mut state = open(&dir);
    assert!(state.save(&uid("a"), &"x").unwrap());
    let first = inode();
    assert!(!state.save(&uid("a"), &"x").unwrap());
    let mut state = open(&dir);
    assert_eq!(state.load::<String>().unwrap().records.len(), 1);
    assert!(!state.save(&uid("a"), &"x").unwrap());
    assert_eq!(inode(), first);
    assert!(state.save(&uid("a"), &"y").unwrap());
    assert_ne!(inode(), first, "a record is replaced, never written over");
}

#[test]
fn a_record_of_another_boot_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    open(&dir).save(&uid("a"), &"x").unwrap();
    let mut next = StateDir::open_in_boot(&dir.path().join("state"), "boot-2").unwrap();
    let loaded = next.load::<String>().unwrap();
    assert!(loaded.records.is_empty() && loaded.put_aside.is_empty());
    assert_eq!(loaded.other_boot, 1);
    assert_eq!(next.load::<String>().unwrap().other_boot, 0);
}

#[test]
fn what_cannot_be_read_is_put_aside_and_the_rest_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = open(&dir);
    state.save(&uid("good"), &1).unwrap();
    let pods = dir.path().join("state/pods");
    let good = fs::read_to_string(pods.join("good.json")).unwrap();
    let deep = "[".repeat(100_000);
    let bad = [
        ("empty.json", String::new()),
        ("half.json", good[..good.len() / 2].to_owned()),
        ("stolen.json", good.clone()),
        (
            "typed.json",
            good.replace("\"record\":1", "\"record\":\"one\"")
                .replace("good", "typed"),
        ),
        (
            "newer.json",
            good.replace("\"version\":1", "\"version\":2")
                .replace("good", "newer"),
        ),
        ("not a uid.json", good.clone()),
        ("deep.json", deep),
    ];
    for (name, content) in &bad {
        fs::write(pods.join(name), content).unwrap();
    }
    symlink("/dev/zero", pods.join("link.json")).unwrap();
    fs::write(pods.join("old.json.part"), "half").unwrap();
    let big = File::create(pods.join("big.json")).unwrap();
    big.set_len(LARGEST + 1).unwrap();

    let loaded = state.load::<u32>().unwrap();
    assert_eq!(loaded.records, [(uid("good"), 1)]);
    assert_eq!(loaded.put_aside.len(), bad.len() + 2, "{:?}", loaded.put_aside);
    for (name, _) in &bad {
        assert!(pods.join(format!("{name}.corrupt")).exists(), "{name}");
        assert!(loaded.put_aside.iter().any(|e| e.path.ends_with(name)), "{name}");
    }
    assert!(!pods.join("old.json.part").exists());
    assert!(
        state.load::<u32>().unwrap().put_aside.is_empty(),
        "once is enough"
    );
}

#[test]
fn a_directory_that_others_may_enter_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(&dir));
    fs::set_permissions(dir.path().join("state/pods"), PermissionsExt::from_mode(0o750)).unwrap();
    let error = StateDir::open(&dir.path().join("state")).unwrap_err();
    assert_eq!(error.source.raw_os_error(), Some(libc::EPERM), "{error}");
}
