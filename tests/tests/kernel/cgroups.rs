//! Carrying out plans, removing, reading and delegating on the kernel.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use plimsoll::act::cgroups::{ApplyReport, apply};
use plimsoll::act::remove::{Removals, RemoveProgress};
use plimsoll::decide::plan::{CgroupOp, Scope, Step};
use plimsoll::kernel::cgroup_fs::{
    CgroupFs, CgroupsRsFs, Fault, MissingController, ParentPolicy, RealCgroupFs, RootError, find_mount,
    move_self, set_up_root,
};
use plimsoll::model::{
    BootTime, Bytes, CgroupPath, ControlFile, Controller, CpuPeriod, CpuQuota, CpuWeight, HugePageSize,
    KnobValue, Limit,
};
use plimsoll::observe::cgroup_stats::{CgroupStats, FileSampler};
use plimsoll::observe::cgroup_tree::{Extent, MANAGED, read_tree};

use crate::support::{TestRoot, can_make_cgroups, path, state_of, until};

const NOW: BootTime = BootTime(Duration::from_secs(1));

fn by_crate(root: &TestRoot) -> CgroupsRsFs {
    CgroupsRsFs::open(&root.root.directory).unwrap()
}

fn run(root: &TestRoot, steps: &[Step]) -> ApplyReport {
    apply(&by_crate(root), steps, usize::MAX, &mut Removals::default(), NOW)
}

fn write(at: &str, file: ControlFile, value: KnobValue) -> CgroupOp {
    CgroupOp::Write {
        path: path(at),
        file,
        value,
        previous: None,
    }
}

fn memory(bytes: u64) -> KnobValue {
    KnobValue::Memory(Limit::At(Bytes(bytes)))
}

fn weight(weight: u64) -> KnobValue {
    KnobValue::Weight(CpuWeight(weight))
}

fn enable(at: &str, controllers: impl IntoIterator<Item = Controller>) -> CgroupOp {
    CgroupOp::Enable {
        path: path(at),
        controllers: controllers.into_iter().collect(),
    }
}

fn create(at: &str) -> CgroupOp {
    CgroupOp::Create { path: path(at) }
}

const USED: [Controller; 3] = [Controller::Cpu, Controller::Memory, Controller::Pids];

fn tree_step() -> Step {
    Step {
        scope: Scope::Tree,
        ops: vec![enable("", USED), create("burstable"), enable("burstable", USED)],
    }
}

fn pod_step(pod: &str) -> Step {
    let container = format!("{pod}/c");
    Step {
        scope: Scope::Pod(path(pod)),
        ops: vec![
            create(pod),
            write(pod, ControlFile::CpuWeight, weight(39)),
            write(pod, ControlFile::MemoryMax, memory(200_000_001)),
            enable(pod, USED),
            create(&container),
            write(&container, ControlFile::MemoryMin, memory(1 << 20)),
            write(&container, ControlFile::PidsMax, KnobValue::Count(Limit::At(64))),
        ],
    }
}

#[test]
#[ignore = "needs cgroup v2 controllers: cargo xtask vm"]
fn every_knob_is_written_and_reads_back() {
    let root = TestRoot::new();
    let mut ops = vec![enable("", root.root.available.clone()), create("a")];
    let knobs = [
        (ControlFile::CpuWeight, weight(1)),
        (ControlFile::CpuWeight, weight(10_000)),
        (
            ControlFile::CpuMax,
            KnobValue::CpuMax(Limit::At(CpuQuota(1_000)), CpuPeriod::DEFAULT),
        ),
        (
            ControlFile::CpuMax,
            KnobValue::CpuMax(Limit::Max, CpuPeriod(50_000)),
        ),
        (ControlFile::MemoryMin, memory(12_345_678)),
        (ControlFile::MemoryLow, memory(1)),
        (ControlFile::MemoryHigh, memory(99_999_999)),
        (ControlFile::MemoryMax, memory(u64::MAX)),
        (ControlFile::MemoryMax, memory(1 << 40)),
        (ControlFile::MemorySwapMax, memory(0)),
        (ControlFile::MemorySwapMax, KnobValue::Memory(Limit::Max)),
        (ControlFile::MemoryOomGroup, KnobValue::Switch(true)),
        (ControlFile::MemoryOomGroup, KnobValue::Switch(false)),
        (ControlFile::PidsMax, KnobValue::Count(Limit::At(1024))),
        (ControlFile::PidsMax, KnobValue::Count(Limit::Max)),
        (ControlFile::HugetlbMax(HugePageSize(2 << 20)), memory(4 << 20)),
        (ControlFile::HugetlbRsvdMax(HugePageSize(2 << 20)), memory(0)),
    ];
    let mut expected = 0;
    for (file, value) in knobs {
        if file.controller() == Some(Controller::Hugetlb)
            && !root.root.available.contains(&Controller::Hugetlb)
        {
            println!("{file}: this kernel has no hugetlb controller");
            continue;
        }
        ops.push(write("a", file, value));
        expected += 1;
    }
    let step = Step {
        scope: Scope::Tree,
        ops,
    };
    let report = run(&root, &[step]);
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    assert_eq!((report.done.len(), report.writes), (1, expected));
    let read = read_tree(
        root.fs(),
        &Extent {
            files: MANAGED.to_vec(),
            levels: 1,
        },
    );
    let read = read.unwrap();
    let values = &read.cgroups[&path("a")].values;
    assert_eq!(values.len(), MANAGED.len());
    assert_eq!(values[&ControlFile::MemoryMin], "12345344");
    assert_eq!(values[&ControlFile::CpuMax], "max 50000");
    assert_eq!(read.cgroups[&CgroupPath::ROOT].enabled, root.root.available);
}

#[test]
#[ignore = "needs cgroup v2 controllers: cargo xtask vm"]
fn whichever_operation_is_refused_the_pod_is_not_there_and_its_neighbour_is() {
    let root = TestRoot::new();
    assert!(run(&root, &[tree_step()]).failed.is_empty());
    let refused = [
        (
            write("burstable/pod1", ControlFile::CpuWeight, weight(0)),
            Some(Fault::BadValue),
        ),
        (
            write(
                "burstable/pod1/c",
                ControlFile::PidsMax,
                KnobValue::Count(Limit::At(1 << 40)),
            ),
            Some(Fault::BadValue),
        ),
        (
            enable("burstable/pod1", [Controller::Io]),
            Some(Fault::NoSuchFile),
        ),
        (
            write(
                "burstable/pod1",
                ControlFile::MemoryMax,
                KnobValue::Count(Limit::At(10_001)),
            ),
            None,
        ),
    ];
    let usual = pod_step("burstable/pod1").ops.len();
    let mut tried = 0;
    for (bad, fault) in refused {
        for at in 1..=usual {
            let mut step = pod_step("burstable/pod1");
            step.ops.insert(at, bad.clone());
            let report = run(&root, &[step, pod_step("burstable/pod2")]);
            assert_eq!(report.done, [Scope::Pod(path("burstable/pod2"))]);
            let all: Vec<_> = report.failed.iter().chain(&report.overtaken).collect();
            assert_eq!(all.len(), 1);
            assert!(all[0].left_over.is_empty(), "{:?}", all[0].left_over);
            assert_eq!(
                root.fs().id(&path("burstable/pod1")).unwrap_err().fault,
                Fault::Gone
            );
            let container_is_there = at > 4;
            if container_is_there || !bad.touches_container() {
                assert_eq!(report.failed.len(), 1);
                if let (Some(fault), plimsoll::act::cgroups::ApplyError::Refused(error)) =
                    (fault, &report.failed[0].error)
                {
                    assert_eq!(error.fault, fault, "{error}");
                }
            }
            root.fs().remove_tree(&path("burstable/pod2")).unwrap();
            tried += 1;
        }
    }
    assert_eq!(tried, 4 * usual);
}

trait TouchesContainer {
    fn touches_container(&self) -> bool;
}

impl TouchesContainer for CgroupOp {
    fn touches_container(&self) -> bool {
        let (Self::Create { path }
        | Self::Enable { path, .. }
        | Self::Write { path, .. }
        | Self::Remove { path }) = self;
        path.name() == Some("c")
    }
}

#[test]
#[ignore = "needs cgroup v2 controllers: cargo xtask vm"]
fn a_refused_change_of_a_running_pod_leaves_it_as_it_was() {
    let root = TestRoot::new();
    let pod = "burstable/pod1";
    assert!(run(&root, &[tree_step(), pod_step(pod)]).failed.is_empty());
    let pid = root
        .shell_in(&path("burstable/pod1/c"), "exec sleep 1000")
        .unwrap();
    let extent = Extent {
        files: MANAGED.to_vec(),
        levels: 3,
    };
    let before = read_tree(root.fs(), &extent).unwrap();
    assert!(before.cgroups[&path(pod)].populated);
    let previous = |file| Some(before.cgroups[&path(pod)].values[&file].clone());
    let change = Step {
        scope: Scope::Pod(path(pod)),
        ops: vec![
            CgroupOp::Write {
                path: path(pod),
                file: ControlFile::CpuWeight,
                value: weight(500),
                previous: previous(ControlFile::CpuWeight),
            },
            CgroupOp::Write {
                path: path(pod),
                file: ControlFile::MemoryMax,
                value: memory(300 << 20),
                previous: previous(ControlFile::MemoryMax),
            },
            write(pod, ControlFile::CpuWeight, weight(10_001)),
        ],
    };
    let report = run(&root, &[change]);
    assert_eq!((report.failed.len(), report.writes), (1, 0));
    assert!(report.failed[0].left_over.is_empty());
    assert_eq!(read_tree(root.fs(), &extent).unwrap(), before);
    let procs = root.fs().read(&path("burstable/pod1/c"), ControlFile::Procs);
    assert_eq!(procs.unwrap(), format!("{pid}\n"));
}

/// Polls until every removal is done.
fn remove_all(root: &TestRoot, paths: &[&str]) {
    let fs = by_crate(root);
    let mut removals = Removals::default();
    for at in paths {
        removals.begin(&fs, &path(at), NOW).unwrap();
    }
    until("everything is removed", || {
        for (at, progress) in removals.poll(&fs, NOW, Duration::from_secs(1)) {
            assert!(
                !matches!(progress, RemoveProgress::Failed(_)),
                "{at}: {progress:?}"
            );
        }
        removals.is_empty()
    });
    for at in paths {
        assert_eq!(root.fs().id(&path(at)).unwrap_err().fault, Fault::Gone, "{at}");
    }
}

#[test]
#[ignore = "needs cgroup v2 controllers: cargo xtask vm"]
fn a_pod_goes_away_whatever_its_processes_do() {
    let root = TestRoot::new();
    let mut steps = vec![tree_step()];
    let pods = [
        ("burstable/forks", "bomb() { bomb & bomb & }; bomb; sleep 1000"),
        (
            "burstable/ignores",
            "trap '' TERM INT HUP; while :; do sleep 1; done",
        ),
        ("burstable/zombie", "exit 0"),
        ("burstable/throttled", "while :; do :; done"),
        ("burstable/stopped", "kill -STOP $$"),
        ("burstable/empty", ""),
    ];
    steps.extend(pods.map(|(pod, _)| pod_step(pod)));
    let throttle = KnobValue::CpuMax(Limit::At(CpuQuota(1_000)), CpuPeriod::DEFAULT);
    steps.push(Step {
        scope: Scope::Tree,
        ops: vec![write("burstable/throttled/c", ControlFile::CpuMax, throttle)],
    });
    let report = run(&root, &steps);
    assert!(report.failed.is_empty(), "{:?}", report.failed);
    for (pod, script) in pods.iter().filter(|(_, script)| !script.is_empty()) {
        root.shell_in(&path(&format!("{pod}/c")), script).unwrap();
    }
    until("the fork bomb has filled its cgroup", || {
        let tasks = root.fs().read(&path("burstable/forks"), ControlFile::PidsCurrent);
        tasks.unwrap().trim_end().parse::<u32>().unwrap() >= 32
    });
    // A container that has cgroups of its own, one under a name that no path of the agent can hold.
    let own = root
        .root
        .directory
        .join("burstable/ignores/c/system.slice/a name with spaces");
    fs::create_dir_all(own).unwrap();
    remove_all(&root, &pods.map(|(pod, _)| pod));
    assert!(root.fs().children(&path("burstable")).unwrap().is_empty());
}

/// A process that the kernel holds: it writes to a frozen file system.
#[test]
#[ignore = "needs cgroup v2 controllers: cargo xtask vm"]
fn a_process_that_cannot_die_holds_up_nobody() {
    let frozen = std::path::Path::new("/disk");
    let freeze = |flag| {
        let status = std::process::Command::new("fsfreeze")
            .args([flag, "/disk"])
            .status();
        status.is_ok_and(|status| status.success())
    };
    if !frozen.is_dir() || !freeze("--freeze") {
        println!("skipped: needs a disk of its own that can be frozen (xtask vm --disk 64)");
        return;
    }
    let root = TestRoot::new();
    let held = path("held");
    root.fs().create(&held).unwrap();
    root.fs().create(&path("other")).unwrap();
    let pid = root.shell_in(&held, "echo x > /disk/file").unwrap();
    root.shell_in(&path("other"), "exec sleep 1000").unwrap();
    until("the writer waits in the kernel", || state_of(pid) == 'D');
    let fs = by_crate(&root);
    let mut removals = Removals::default();
    for at in [&held, &path("other")] {
        removals.begin(&fs, at, NOW).unwrap();
    }
    until("the other is gone", || {
        removals.poll(&fs, NOW, Duration::ZERO);
        fs.id(&path("other")).is_err()
    });
    let progress = removals.poll(&fs, BootTime(Duration::from_secs(100)), Duration::from_secs(30));
    let thawed = freeze("--unfreeze");
    assert!(thawed);
    assert!(
        matches!(&progress[..], [(at, RemoveProgress::Stuck { pids, since })]
            if *at == held && pids[..] == [pid] && *since == NOW),
        "{progress:?}"
    );
    until("the held one is gone", || {
        removals.poll(&fs, NOW, Duration::ZERO);
        removals.is_empty()
    });
}

#[test]
#[ignore = "needs cgroup v2 controllers: cargo xtask vm"]
fn a_root_below_a_foreign_cgroup_changes_its_parent_only_when_allowed() {
    let outer = TestRoot::new();
    let mount = find_mount().unwrap();
    let whole = RealCgroupFs::open(&mount).unwrap();
    let enabled = |at: &CgroupPath| whole.read(at, ControlFile::SubtreeControl).unwrap();
    let inner = outer.path.child("plimsoll").unwrap();
    let wanted: BTreeSet<_> = USED.into();

    for policy in [ParentPolicy::Never, ParentPolicy::MountRootOnly] {
        let root = set_up_root(&mount, &inner, &wanted, policy).unwrap();
        assert_eq!(root.made, policy == ParentPolicy::Never);
        assert!(root.available.is_empty() && root.enabled_in_parent.is_empty());
        assert_eq!(root.missing.len(), 3);
        for missing in root.missing.values() {
            assert!(
                matches!(missing, MissingController::NotEnabledByParent),
                "{missing}"
            );
        }
        assert_eq!(enabled(&outer.path), "");
    }

    let squatter = outer.shell_in(&CgroupPath::ROOT, "exec sleep 1000").unwrap();
    let memory_only = [Controller::Memory].into();
    let root = set_up_root(&mount, &inner, &memory_only, ParentPolicy::Always).unwrap();
    let Some(MissingController::Refused(error)) = root.missing.get(&Controller::Memory) else {
        panic!("{:?}", root.missing);
    };
    assert_eq!(error.fault, Fault::Busy);
    whole
        .write(&CgroupPath::ROOT, ControlFile::Procs, &squatter.to_string())
        .unwrap();

    let above = enabled(&CgroupPath::ROOT);
    let root = set_up_root(&mount, &inner, &wanted, ParentPolicy::Always).unwrap();
    assert_eq!((&root.available, &root.enabled_in_parent), (&wanted, &wanted));
    assert!(root.missing.is_empty());
    assert_eq!(enabled(&CgroupPath::ROOT), above);

    let deeper = inner.child("deeper").unwrap().child("still").unwrap();
    let no_parent = set_up_root(&mount, &deeper, &wanted, ParentPolicy::Always);
    assert!(matches!(no_parent, Err(RootError::Cgroup(error)) if error.is_gone()));
    whole.create(&deeper.parent().unwrap()).unwrap();
    let root = set_up_root(&mount, &deeper, &wanted, ParentPolicy::Always).unwrap();
    for missing in root.missing.values() {
        assert!(matches!(missing, MissingController::NotOffered), "{missing}");
    }
    assert_eq!(root.missing.len(), 3);
}

#[test]
#[ignore = "needs cgroup v2 controllers: cargo xtask vm"]
fn the_agent_moves_into_a_leaf_of_its_own() {
    let root = TestRoot::new();
    let fs = by_crate(&root);
    move_self(&fs, &path("agent")).unwrap();
    let inside = fs.read(&path("agent"), ControlFile::Procs);
    let enabled = fs.write(&CgroupPath::ROOT, ControlFile::SubtreeControl, "+memory");
    // Out again before anything is asserted: the test's end kills whatever is in its cgroup.
    let whole = RealCgroupFs::open(&find_mount().unwrap()).unwrap();
    whole.write(&CgroupPath::ROOT, ControlFile::Procs, "0").unwrap();
    enabled.unwrap();
    assert_eq!(inside.unwrap(), format!("{}\n", std::process::id()));
}

#[test]
fn a_directory_that_is_no_cgroup_is_no_root() {
    let error = RealCgroupFs::open(&std::env::temp_dir()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(124), "EMEDIUMTYPE: {error}");
}

/// Without controllers too: CPU time is counted in every cgroup.
#[test]
fn kept_files_say_what_files_opened_anew_say() {
    if !can_make_cgroups() {
        println!("skipped: needs root and cgroup v2");
        return;
    }
    let root = TestRoot::new();
    let at = path("a");
    let first = root.fs().create(&at).unwrap();
    let pid = root
        .shell_in(
            &at,
            "n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done; kill -STOP $$",
        )
        .unwrap();
    let mut sampler = FileSampler::new(&CgroupStats::FILES);
    let paths = [at.clone(), path("none")];
    sampler.sample(root.fs(), &paths);
    until("the loop has run and stands still", || state_of(pid) == 'T');
    let samples = sampler.sample(root.fs(), &paths).taken;
    assert_eq!(samples.len(), 1);
    assert_eq!((&samples[0].0, samples[0].1), (&at, first));
    let last = samples[0].2;
    assert!(last.cpu.unwrap().usage > Duration::from_millis(1));
    let anew = CgroupStats::read(root.fs(), &at, &CgroupStats::FILES).unwrap();
    assert_eq!(anew.cpu, last.cpu);
    let mut without_room = FileSampler::with_most_open(&CgroupStats::FILES, 0);
    let samples = without_room.sample(root.fs(), &paths).taken;
    assert_eq!((samples[0].1, samples[0].2.cpu), (first, last.cpu));
    assert_eq!(anew.memory_current.is_some(), last.memory_current.is_some());
    assert_eq!(
        last.memory_current.is_some(),
        root.root.available.contains(&Controller::Memory)
            && root.fs().read(&at, ControlFile::MemoryCurrent).is_ok()
    );

    root.fs().kill(&at).unwrap();
    root.settle(&at);
    root.fs().remove(&at).unwrap();
    assert!(sampler.sample(root.fs(), &paths).taken.is_empty());
    let second = root.fs().create(&at).unwrap();
    let samples = sampler.sample(root.fs(), &paths).taken;
    assert_eq!(samples[0].1, second);
    root.fs().remove(&at).unwrap();
    let third = root.fs().create(&at).unwrap();
    let samples = sampler.sample(root.fs(), &paths).taken;
    assert_eq!(samples[0].1, third, "made anew between two samples");
    assert_ne!(second, third);
}
