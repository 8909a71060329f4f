//! What is read is what the files say.

use std::fs;
use std::path::Path;
use std::time::Duration;

use plimsoll::kernel::cgroup_fs::CgroupFs;
use plimsoll::kernel::pressure::{FiguresReader, MemoryCgroup, Sweep};
use plimsoll::model::pressure::NodeFigures;
use plimsoll::model::{Bytes, CgroupPath, ControlFile, Limit};

use super::{Pods, now};
use crate::support::state_of;

fn stop(pid: u32) {
    let status = std::process::Command::new("kill")
        .args(["-STOP", &pid.to_string()])
        .status();
    assert!(status.unwrap().success());
    crate::support::until("it stops", || state_of(pid) == 'T');
}

fn meminfo(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_end_matches("kB").trim().parse::<u64>().unwrap() << 10
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn figures_are_the_files_of_the_kernel() {
    let pods = Pods::new();
    let (pod, other) = (
        pods.pod("pod", &[(ControlFile::MemoryHigh, "200M")]),
        pods.pod("other", &[]),
    );
    // Neither allocates any more.
    pods.holder(&pod, 48);
    stop(pods.holder(&other, 16));
    let root = MemoryCgroup::new(pods.fs().open_dir(&CgroupPath::ROOT).unwrap()).unwrap();
    let mut reader = FiguresReader::new(Path::new("/proc"), &root, Some(Path::new("/")), None).unwrap();
    reader.set_pods(&[other.cgroup.clone(), pod.cgroup.clone()]);
    let (mut node, mut figures) = (NodeFigures::default(), Vec::new());
    let begun = now();
    reader.read(Sweep::Full, &mut node, &mut figures).unwrap();
    println!(
        "LATENCY reading the machine and two pods: {:?}",
        now().since(begun)
    );
    let anon = pods.key(&pod, ControlFile::MemoryStat, "anon ");
    let read = figures[1];
    let charge = read.charge.unwrap();
    let near = |read: Bytes, file: u64| read.0.abs_diff(file) <= 256 << 10;
    assert!(near(charge.anon, anon) && anon >= 48 << 20, "{charge:?} {anon}");
    assert!(
        near(read.current, pods.number(&pod, ControlFile::MemoryCurrent)),
        "{read:?}"
    );
    assert_eq!(
        charge.shmem,
        Bytes(pods.key(&pod, ControlFile::MemoryStat, "shmem "))
    );
    assert!(charge.page_tables > Bytes(0) && charge.kernel_stack > Bytes(0));
    assert_eq!(charge.swap, Bytes(0));
    assert!(
        read.populated && read.tasks == 3,
        "a shell, dd and sleep: {read:?}"
    );
    assert!(figures[0].current < read.current && figures[0].charge.is_some());
    assert_eq!(node.capacity, Bytes(meminfo("MemTotal:")));
    assert!(node.available.0.abs_diff(meminfo("MemAvailable:")) < 64 << 20);
    assert_eq!(node.swap, Bytes(meminfo("SwapTotal:")));
    assert!(node.swap > Bytes(0) && node.root_current >= read.current.saturating_add(figures[0].current));
    assert_eq!((node.root_high, node.root_max), (Limit::Max, Limit::Max));
    assert!(node.tasks > 10 && node.tasks_max > node.tasks);
    assert!(node.nodefs.is_some_and(|fs| fs.capacity >= fs.available));
    pods.fs().kill(&pod.at).unwrap();
    pods.root.settle(&pod.at);
    pods.fs().remove_tree(&pod.at).unwrap();
    reader.read(Sweep::Quick, &mut node, &mut figures).unwrap();
    assert!(reader.is_gone(1) && !reader.is_gone(0));
    assert_eq!(figures[1], plimsoll::model::pressure::PodFigures::default());
    assert!(figures[0].populated);
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn a_hundred_pods_are_read_at_once() {
    let pods = Pods::new();
    let all: Vec<_> = (0..100).map(|n| pods.pod(&format!("p{n}"), &[])).collect();
    pods.holder(&all[7], 8);
    let root = MemoryCgroup::new(pods.fs().open_dir(&CgroupPath::ROOT).unwrap()).unwrap();
    let mut reader = FiguresReader::new(Path::new("/proc"), &root, None, None).unwrap();
    let cgroups: Vec<_> = all.iter().map(|pod| pod.cgroup.clone()).collect();
    reader.set_pods(&cgroups);
    let (mut node, mut figures) = (NodeFigures::default(), Vec::new());
    for sweep in [Sweep::Full, Sweep::Quick, Sweep::Quick] {
        let begun = now();
        reader.read(sweep, &mut node, &mut figures).unwrap();
        let took: Duration = now().since(begun);
        println!(
            "LATENCY reading 100 pods, {sweep:?}: {took:?}, {} descriptors",
            reader.descriptors()
        );
    }
    let charged = figures.iter().filter(|pod| pod.charge.is_some()).count();
    assert!((16..=32).contains(&charged), "{charged}");
    assert!(
        figures[7]
            .charge
            .is_some_and(|charge| charge.anon >= Bytes::mib(8))
    );
}
