//! Who wrote into a cgroup's file: told for every file with a value, by everybody else, below the root, and no more.

use std::fs;
use std::path::Path;
use std::process::Command;

use plimsoll::kernel::ebpf::OBJECTS;
use plimsoll::observe::probes::{ProbeEvent, ProbeState, Probes};

use super::probes::support::{TestCgroup, id_of, mount, wait_until};

const CONTROLLERS: &str = "+cpuset +cpu +memory +pids";

/// A cgroup whose children have all controllers that matter here.
fn with_controllers() -> TestCgroup {
    fs::write(mount().join("cgroup.subtree_control"), CONTROLLERS).unwrap();
    let root = TestCgroup::new();
    fs::write(root.0.join("cgroup.subtree_control"), CONTROLLERS).unwrap();
    root
}

/// Starts the probe; with `usage` it knows its root. The others take seconds to load under emulation.
fn start(root: &Path, needed: &[&str]) -> Probes {
    let images: Vec<_> = OBJECTS
        .iter()
        .filter(|(name, _)| needed.contains(name))
        .copied()
        .collect();
    assert_eq!(images.len(), needed.len(), "cargo xtask build-ebpf");
    let probes = Probes::start(root, &images, false);
    let attached = |name: &&str| {
        let mut status = probes.status().iter();
        let whole = ProbeState::Attached { without: Vec::new() };
        status.any(|status| status.name == *name && status.state == whole)
    };
    assert!(needed.iter().all(attached), "{:?}", probes.status());
    probes
}

/// Runs a script to its end; its process id, and whether all of it went well.
fn shell(script: &str) -> (u32, bool) {
    let mut child = Command::new("sh").args(["-c", script]).spawn().unwrap();
    (child.id(), child.wait().unwrap().success())
}

fn write(file: &Path, value: &str) -> (u32, bool) {
    shell(&format!("echo '{value}' > {} 2>/dev/null", file.display()))
}

/// The writes told by the time that `count` have been: cgroup, file, pid, name.
fn told(probes: &mut Probes, count: usize) -> Vec<(u64, String, u32, String)> {
    let mut writes = Vec::new();
    wait_until("the writes are told", || {
        writes.extend(probes.drain_events().into_iter().filter_map(|event| match event {
            ProbeEvent::FileWritten {
                cgroup,
                file,
                pid,
                comm,
                ..
            } => Some((cgroup.0, file, pid, comm)),
            _ => None,
        }));
        writes.len() >= count
    });
    writes
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn every_write_of_a_value_is_told_with_file_and_writer() {
    let root = with_controllers();
    let (pod, other) = (root.child("pod"), root.child("other"));
    let mut probes = start(&root.0, &["usage", "writes"]);
    let mut expected = Vec::new();
    for (cgroup, file, value) in [
        (&pod, "cpuset.cpus", "0"),
        (&pod, "cpuset.mems", "0"),
        (&other, "cpuset.cpus", "1"),
        (&pod, "cpuset.cpus.exclusive", "0"),
        (&pod, "cpuset.cpus.partition", "root"),
        (&pod, "cpuset.cpus.partition", "member"),
        (&pod, "cpu.max", "50000 100000"),
        (&pod, "cpu.weight", "7"),
        (&pod, "memory.max", "64M"),
        (&pod, "memory.swap.max", "0"),
        (&pod, "pids.max", "5"),
        (&pod, "cgroup.subtree_control", "+cpuset"),
        (&root.0, "cpuset.cpus", "0-1"),
        // Also when the value stays what it is.
        (&root.0, "cpuset.cpus", "0-1"),
    ] {
        if !cgroup.join(file).exists() {
            println!("this kernel has no {file}");
            continue;
        }
        let (pid, done) = write(&cgroup.join(file), value);
        assert!(done, "{file} = {value}");
        expected.push((id_of(cgroup).0, file.to_owned(), pid, "sh".to_owned()));
    }
    assert!(expected.len() > 10);
    assert_eq!(told(&mut probes, expected.len()), expected);
    assert_eq!(probes.dropped().iter().map(|(_, n)| n).sum::<u64>(), 0);
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn own_writes_refused_writes_and_other_files_are_not_told() {
    let root = with_controllers();
    let outside = with_controllers();
    let (pod, stranger) = (root.child("pod"), outside.child("pod"));
    let mut probes = start(&root.0, &["usage", "writes"]);
    fs::write(pod.join("cpuset.cpus"), "0").unwrap();
    // A thread of ours is us.
    let file = pod.join("memory.max");
    std::thread::spawn(move || fs::write(file, "64M").unwrap())
        .join()
        .unwrap();
    for (file, value) in [
        (stranger.join("cpuset.cpus"), "0"),
        (mount().join("cgroup.subtree_control"), "+memory"),
        (pod.join("cgroup.freeze"), "0"),
        (pod.join("cgroup.max.depth"), "9"),
    ] {
        assert!(write(&file, value).1, "{} = {value}", file.display());
    }
    for (file, value) in [
        ("cpuset.cpus", "nonsense"),
        ("cpu.weight", "0"),
        ("memory.max", "-"),
    ] {
        assert!(!write(&pod.join(file), value).1, "{file} = {value}");
    }
    let (pid, done) = write(&pod.join("pids.max"), "9");
    assert!(done);
    let last = (id_of(&pod).0, "pids.max".to_owned(), pid, "sh".to_owned());
    assert_eq!(told(&mut probes, 1), [last]);
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn a_writers_name_is_made_printable() {
    let root = with_controllers();
    let pod = root.child("pod");
    let mut probes = start(&root.0, &["writes"]);
    let rename = r#"printf 'a\n\033[31m"\377' > /proc/self/comm"#;
    let script = format!("{rename}; echo 0 > {}", pod.join("cpuset.cpus").display());
    assert!(shell(&script).1);
    assert_eq!(told(&mut probes, 1)[0].3, "a??[31m\"?");
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn more_writes_than_fit_are_counted() {
    let root = with_controllers();
    let pod = root.child("pod");
    let mut probes = start(&root.0, &["usage", "writes"]);
    let file = pod.join("pids.max").display().to_string();
    assert!(shell(&format!("for n in $(seq 2000); do echo $n > {file}; done")).1);
    let lost: u64 = probes.dropped().iter().map(|(_, n)| n).sum();
    let told = told(&mut probes, 1).len() as u64;
    assert!(lost > 0 && told > 800, "{told} told, {lost} lost");
    assert_eq!(told + lost, 2000);
}
