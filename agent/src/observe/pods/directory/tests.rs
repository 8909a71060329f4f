//! A manifest directory through everything that happens to directories.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;
use crate::model::PodUid;

fn manifest(name: &str, command: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers:\n  - name: c\n    command: [{command}]\n"
    )
}

fn with_uid(name: &str, uid: &str, command: &str) -> String {
    manifest(name, command).replace(
        &format!("{{name: {name}}}"),
        &format!("{{name: {name}, uid: {uid}}}"),
    )
}

/// A directory below a temporary one, and the source that watches it.
struct World {
    _root: tempfile::TempDir,
    path: PathBuf,
    source: PodDirectory,
    now: Duration,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("pods");
        fs::create_dir(&path).unwrap();
        Self {
            source: PodDirectory::open(&path, "node").unwrap(),
            path,
            _root: root,
            now: Duration::ZERO,
        }
    }

    fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path.join(file), content).unwrap();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.path.join(file)).unwrap();
    }

    /// One look, as `+added`, `~updated` and `-removed` pods.
    fn look(&mut self) -> Vec<String> {
        let before = self.source.pods().clone();
        let name = |set: &PodSet, uid: &PodUid| set.pods[uid].pod.name.to_string();
        let changes = self.source.rescan(self.now).unwrap();
        changes
            .iter()
            .map(|change| match change {
                PodChange::Added(sourced) => format!("+{}", sourced.pod.name),
                PodChange::Updated(sourced) => format!("~{}", sourced.pod.name),
                PodChange::Removed(uid) => format!("-{}", name(&before, uid)),
            })
            .collect()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .source
            .pods()
            .pods
            .values()
            .map(|s| s.pod.name.to_string())
            .collect();
        names.sort();
        names
    }

    fn errors(&self) -> String {
        let errors = &self.source.pods().errors;
        errors
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Waits for a notification, as the event loop does.
    fn wait(&mut self) -> bool {
        loop {
            let mut fds = [PollFd::new(&self.source, PollFlags::IN)];
            let limit = Timespec {
                tv_sec: 10,
                tv_nsec: 0,
            };
            if poll(&mut fds, Some(&limit)).unwrap() == 0 {
                return false;
            }
            if self.source.drain().unwrap() {
                return true;
            }
        }
    }
}

#[test]
fn pods_come_change_and_go_with_their_files() {
    let mut world = World::new();
    assert!(world.look().is_empty() && world.source.pods().complete);
    world.write("a.yaml", manifest("a", "x"));
    world.write(
        "b.json",
        serde_json::to_string(&serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b", "uid": "b-1"},
        "spec": {"containers": [{"name": "c", "command": ["x"]}]}}))
        .unwrap(),
    );
    assert!(world.wait());
    assert_eq!(world.look().len(), 2);
    assert!(world.look().is_empty(), "nothing changed");
    // Without a UID of its own another content is another pod; with one it is an update.
    world.write("a.yaml", manifest("a", "y"));
    assert_eq!(world.look(), ["-a", "+a"]);
    world.write("b.json", with_uid("b", "b-1", "y"));
    assert_eq!(world.look(), ["~b"]);
    // By rename, as careful tools do.
    world.write(".a.yaml.tmp", manifest("a2", "x"));
    assert!(world.look().is_empty());
    fs::rename(world.path.join(".a.yaml.tmp"), world.path.join("a.yaml")).unwrap();
    assert!(world.wait());
    assert_eq!(world.look(), ["-a", "+a2"]);
    fs::rename(world.path.join("a.yaml"), world.path.join("z.yml")).unwrap();
    assert!(world.look().is_empty(), "a moved manifest is the same pod");
    world.remove("z.yml");
    assert!(world.wait());
    assert_eq!(world.look(), ["-a2"]);
}

#[test]
fn files_of_editors_are_not_read() {
    let mut world = World::new();
    for name in [
        "a.yaml~",
        ".a.yaml.swp",
        "4913",
        "#a.yaml#",
        ".#a.yaml",
        "a.yaml.bak",
        "README",
        ".yaml",
    ] {
        world.write(name, "not a manifest");
    }
    assert!(world.look().is_empty());
    assert_eq!(world.errors(), "");
}

#[test]
fn a_broken_file_keeps_its_pods_and_disturbs_no_other() {
    let mut world = World::new();
    world.write(
        "a.yaml",
        format!("{}---\n{}", manifest("a1", "x"), manifest("a2", "x")),
    );
    world.write("b.yaml", manifest("b", "x"));
    world.look();
    let broken: [&[u8]; 6] = [
        b"",
        b"a: [",
        b"\xff\xfe\0a",
        b"kind: Service\napiVersion: v1",
        b"# gone",
        b"apiVersion: v1\nkind: Po",
    ];
    for content in broken {
        world.write("a.yaml", content);
        assert!(world.look().is_empty(), "{content:?}");
        assert!(world.errors().starts_with("a.yaml"), "{}", world.errors());
        assert!(!world.source.pods().complete);
        assert!(
            world.look().is_empty() && !world.errors().is_empty(),
            "the error stays"
        );
    }
    // A valid document takes effect beside a broken one; what is missing may be in the broken one.
    world.write("a.yaml", format!("{}---\na: [\n", manifest("a1", "y")));
    assert_eq!(world.look(), ["-a1", "+a1"]);
    assert_eq!(world.names(), ["a1", "a2", "b"]);
    world.write("a.yaml", manifest("a1", "y"));
    assert_eq!(world.look(), ["-a2"]);
    assert_eq!(world.errors(), "");
}

#[test]
fn what_cannot_be_read_is_an_error_of_its_own() {
    let mut world = World::new();
    world.write("good.yaml", manifest("good", "x"));
    world.write("large.yaml", manifest("large", "x"));
    world.write("turned.yaml", manifest("turned", "x"));
    world.look();
    // 50 MB that a parser would take long for.
    let mut large = fs::File::create(world.path.join("large.yaml")).unwrap();
    std::io::Write::write_all(&mut large, &[b'['; 4096]).unwrap();
    large.set_len(50_000_000).unwrap();
    drop(large);
    world.remove("turned.yaml");
    fs::create_dir(world.path.join("turned.yaml")).unwrap();
    fs::create_dir(world.path.join("dir.yaml")).unwrap();
    symlink("nowhere", world.path.join("link.yaml")).unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(world.path.join("fifo.yaml"))
            .status()
            .unwrap()
            .success()
    );
    symlink("/dev/zero", world.path.join("device.yaml")).unwrap();
    symlink("loop.yaml", world.path.join("loop.yaml")).unwrap();
    let odd = std::os::unix::ffi::OsStringExt::from_vec(b"odd\xff\x1b.yaml".to_vec());
    fs::write(world.path.join::<OsString>(odd), "").unwrap();
    assert!(world.look().is_empty());
    assert_eq!(world.names(), ["good", "large", "turned"]);
    let errors = world.errors();
    for (file, problem) in [
        ("large.yaml", "more than 1048576 bytes"),
        ("turned.yaml", "no regular file"),
        ("dir.yaml", "no regular file"),
        ("fifo.yaml", "no regular file"),
        ("device.yaml", "no regular file"),
        ("link.yaml", "leads nowhere"),
        ("loop.yaml", "cannot be read"),
        ("odd", "not UTF-8"),
    ] {
        let found = errors
            .lines()
            .any(|line| line.starts_with(file) && line.contains(problem));
        assert!(found, "{file}: {problem} in\n{errors}");
    }
    assert_eq!(errors.lines().count(), 8, "{errors}");
    assert!(!errors.contains('\u{1b}'));
    // Links to good files are good, and mended files are read.
    let elsewhere = world.path.parent().unwrap().join("real");
    fs::write(&elsewhere, manifest("linked", "x")).unwrap();
    world.remove("link.yaml");
    symlink(&elsewhere, world.path.join("link.yaml")).unwrap();
    assert_eq!(world.look(), ["+linked"]);
    fs::write(&elsewhere, manifest("linked", "longer")).unwrap();
    assert_eq!(world.look(), ["-linked", "+linked"]);
}

#[test]
fn invalid_utf8_is_found_by_line_and_column() {
    let mut world = World::new();
    world.write("a.yaml", b"# ok\nkind: \xc3\xa9\xff\n");
    world.look();
    assert!(
        world
            .errors()
            .starts_with("a.yaml, line 2, column 8: is not UTF-8"),
        "{}",
        world.errors()
    );
}

#[test]
fn the_first_of_two_pods_with_one_name_or_uid_stays() {
    let mut world = World::new();
    world.write("b.yaml", with_uid("one", "u1", "x"));
    world.look();
    world.write("a.yaml", with_uid("one", "u2", "x"));
    world.write("c.yaml", with_uid("two", "u1", "x"));
    assert!(
        world.look().is_empty(),
        "a pod that is there is not disturbed by a name that sorts before it"
    );
    let errors = world.errors();
    assert!(
        errors.contains(
            "a.yaml, document 1, line 3, column 18: metadata.name: pod default/one with UID u2 is there twice"
        ),
        "{errors}"
    );
    assert!(
        errors.contains(
            "c.yaml, document 1, line 3, column 18: metadata.uid: pod default/two with UID u1 is there twice"
        ),
        "{errors}"
    );
    // Also when it changes; the UID that it gives up is free then, and means another pod.
    world.write("b.yaml", with_uid("one", "u3", "x"));
    assert_eq!(world.look(), ["~two", "+one"]);
    world.remove("b.yaml");
    assert_eq!(world.look(), ["-one", "+one"]);
    assert_eq!(
        world
            .source
            .pods()
            .pods
            .keys()
            .map(PodUid::as_str)
            .collect::<Vec<_>>(),
        ["u1", "u2"]
    );
    assert_eq!(world.errors(), "");
}

#[test]
fn a_directory_deleted_and_made_again_stops_no_pod_that_comes_back() {
    let mut world = World::new();
    world.write("a.yaml", manifest("a", "x"));
    world.write("b.yaml", manifest("b", "x"));
    world.look();
    fs::remove_dir_all(&world.path).unwrap();
    assert!(world.wait());
    assert!(world.look().is_empty());
    assert!(world.errors().contains("cannot be read"), "{}", world.errors());
    assert!(world.source.next_look().is_none());
    // Made again, and filled bit by bit; its number may be the old one.
    fs::create_dir(&world.path).unwrap();
    assert!(world.wait(), "the parent is watched");
    assert!(world.look().is_empty());
    assert!(world.errors().contains("made again"), "{}", world.errors());
    assert_eq!(world.source.next_look(), Some(SETTLE));
    world.now = Duration::from_secs(1);
    world.write("a.yaml", manifest("a", "x"));
    assert!(world.wait(), "the new directory is watched");
    assert!(world.look().is_empty());
    assert_eq!(
        world.source.next_look(),
        Some(SETTLE + world.now),
        "each change begins the wait again"
    );
    world.write("c.yaml", manifest("c", "x"));
    assert_eq!(world.look(), ["+c"]);
    world.now = SETTLE;
    assert!(world.look().is_empty());
    world.now = SETTLE + Duration::from_secs(1);
    assert_eq!(world.look(), ["-b"]);
    assert_eq!((world.errors().as_str(), world.source.next_look()), ("", None));
}

#[test]
fn a_directory_that_was_swapped_for_another_is_followed() {
    let mut world = World::new();
    world.write("a.yaml", manifest("a", "x"));
    world.look();
    let (old, new) = (world.path.with_extension("old"), world.path.with_extension("new"));
    fs::create_dir(&new).unwrap();
    fs::write(new.join("b.yaml"), manifest("b", "x")).unwrap();
    fs::rename(&world.path, &old).unwrap();
    fs::rename(&new, &world.path).unwrap();
    assert!(world.wait());
    assert_eq!(world.look(), ["+b"]);
    fs::write(old.join("z.yaml"), manifest("z", "x")).unwrap();
    world.write("c.yaml", manifest("c", "x"));
    assert!(world.wait());
    assert_eq!(world.look(), ["+c"]);
    world.now = SETTLE;
    assert_eq!(world.look(), ["-a"]);
}

#[test]
fn a_directory_that_was_never_there_is_awaited() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("x/y/pods");
    let mut source = PodDirectory::open(&path, "node").unwrap();
    assert!(source.rescan(Duration::ZERO).unwrap().is_empty());
    assert!(!source.pods().complete);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("a.yaml"), manifest("a", "x")).unwrap();
    assert!(source.drain().unwrap());
    assert_eq!(source.rescan(Duration::ZERO).unwrap().len(), 1);
    assert!(source.pods().complete);
    fs::write(path.join("b.yaml"), manifest("b", "x")).unwrap();
    assert!(source.drain().unwrap(), "the directory itself is watched by now");
}

#[test]
fn a_file_that_is_being_written_is_left_until_it_is_closed() {
    let mut world = World::new();
    world.write(
        "a.yaml",
        format!("{}---\n{}", manifest("a", "x"), manifest("b", "x")),
    );
    world.look();
    let mut file = fs::File::create(world.path.join("a.yaml")).unwrap();
    std::io::Write::write_all(&mut file, manifest("a", "x").as_bytes()).unwrap();
    assert!(world.look().is_empty(), "valid, but only half of it");
    std::io::Write::write_all(&mut file, format!("---\n{}", manifest("b", "y")).as_bytes()).unwrap();
    assert!(world.look().is_empty());
    drop(file);
    assert!(world.wait());
    assert_eq!(world.look(), ["-b", "+b"]);
}

#[test]
fn a_thousand_files_are_read_once() {
    let mut world = World::new();
    for n in 0..1000 {
        world.write(&format!("{n}.yaml"), manifest(&format!("pod-{n}"), "x"));
    }
    assert_eq!(world.look().len(), 1000);
    // Made to forget one; a look that read the file again would find its pod.
    let known = world.source.files.get_mut("7.yaml").unwrap();
    known.manifests.pods.clear();
    assert_eq!(world.look(), ["-pod-7"]);
    world.write("7.yaml", manifest("pod-7", "x"));
    assert_eq!(world.look(), ["+pod-7"]);
    world.write("500.yaml", manifest("pod-500", "y"));
    assert_eq!(world.look(), ["-pod-500", "+pod-500"]);
}
