//! Captured files of machines, and this machine's own.

use proptest::prelude::*;

use super::facts::Capability;
use super::*;
use crate::model::CgroupPath;

/// A machine with these files.
fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let machine = Machine::at(dir.path());
    (dir, machine)
}

const MEMINFO: &str = "MemTotal:       16315396 kB\nMemFree:        1 kB\nBuffers:        1 kB\nCached:         1 kB\n\
                       SwapCached:            0 kB\nActive:          1 kB\nInactive:        1 kB\n\
                       SwapTotal:       1048572 kB\nSwapFree:        1048572 kB\nDirty:               0 kB\n\
                       Writeback:             0 kB\nMapped:              1 kB\nSlab:                1 kB\n\
                       Committed_AS:        1 kB\nVmallocTotal:   1 kB\nVmallocUsed:         1 kB\n\
                       VmallocChunk:        0 kB\n";

fn node() -> Vec<(&'static str, &'static str)> {
    vec![
        ("proc/meminfo", MEMINFO),
        ("proc/cmdline", "quiet\n"),
        ("proc/sys/kernel/pid_max", "4194304\n"),
        ("proc/sys/kernel/threads-max", "127000\n"),
        ("sys/devices/system/cpu/online", "0-3,6\n"),
        ("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "10\n"),
        ("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "0\n"),
    ]
}

#[test]
fn capacity_is_read_from_proc_and_sys() {
    let (_dir, machine) = machine(&node());
    let capacity = capacity(&machine).unwrap();
    assert_eq!(capacity.cpu, MilliCpu(5000));
    assert_eq!(capacity.memory, Bytes(16_315_396 << 10));
    assert_eq!(capacity.swap, Some(Bytes(1_048_572 << 10)));
    assert_eq!(capacity.pids, 127_000);
    let pages = [
        (HugePageSize(2 << 20), Bytes(20 << 20)),
        (HugePageSize(1 << 30), Bytes(0)),
    ];
    assert_eq!(capacity.huge_pages, BTreeMap::from(pages));
}

#[test]
fn swap_that_is_not_accounted_is_none() {
    let mut files = node();
    files[1].1 = "quiet swapaccount=0\n";
    let (_dir, machine) = machine(&files);
    assert_eq!(capacity(&machine).unwrap().swap, None);
}

#[test]
fn what_is_missing_or_strange_is_named() {
    let mut files = node();
    files.retain(|(path, _)| !path.ends_with("online"));
    let (_dir, without) = machine(&files);
    let error = capacity(&without).unwrap_err().to_string();
    assert_eq!(
        error,
        "/sys/devices/system/cpu/online is not there: is /sys mounted?"
    );
    files.push(("sys/devices/system/cpu/online", "3-1\n"));
    let (_dir, strange) = machine(&files);
    let error = capacity(&strange).unwrap_err().to_string();
    assert!(error.contains("\"3-1\" is no list of CPUs"), "{error}");
}

#[test]
fn this_machines_capacity_is_known() {
    let capacity = capacity(&Machine::default()).unwrap();
    assert!(capacity.cpu >= MilliCpu(1000) && capacity.memory > Bytes::mib(64) && capacity.pids > 100);
}

#[test]
fn a_hybrid_node_shows_who_has_which_controller() {
    let mountinfo = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                     32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                     40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                     41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
    let (_dir, machine) = machine(&[
        ("proc/self/mountinfo", mountinfo),
        ("proc/self/status", "Name:\tx\nCapEff:\t000001fffeffffff\n"),
        ("proc/sys/kernel/osrelease", "6.18.44-v595\n"),
        ("proc/pressure/cpu", "some avg10=0.00\n"),
        ("sys/fs/cgroup/unified/cgroup.controllers", "hugetlb\n"),
    ]);
    let facts = facts(&machine, &CgroupPath::parse("system.slice/plimsoll").unwrap()).unwrap();
    let mount = facts.cgroup2.as_ref().unwrap();
    assert_eq!(mount.path, "/sys/fs/cgroup/unified");
    assert!(mount.options.contains("memory_recursiveprot"));
    let v1: Vec<_> = facts.v1_controllers.keys().map(String::as_str).collect();
    assert_eq!(v1, ["cpu", "cpuacct"]);
    assert_eq!(facts.controllers_at, "/sys/fs/cgroup/unified");
    assert!(facts.controllers.contains("hugetlb"));
    assert_eq!(facts.kernel_version, (6, 18));
    assert!(facts.has(Capability::Bpf) && !facts.has(Capability::SysResource));
    assert_eq!(facts.pressure.len(), 1);
    assert_eq!(facts.btf, None);
}

#[test]
fn the_nearest_cgroup_that_exists_is_asked() {
    let (_dir, machine) = machine(&[
        (
            "proc/self/mountinfo",
            "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        ),
        ("sys/fs/cgroup/cgroup.controllers", "cpu memory pids io\n"),
        ("sys/fs/cgroup/system.slice/cgroup.controllers", "memory pids\n"),
    ]);
    let facts = facts(
        &machine,
        &CgroupPath::parse("system.slice/plimsoll/pods").unwrap(),
    )
    .unwrap();
    assert_eq!(facts.controllers_at, "/sys/fs/cgroup/system.slice");
    assert_eq!(facts.controllers.len(), 2);
}

proptest! {
    #[test]
    fn a_list_of_cpus_counts_each_once(sizes in proptest::collection::vec((1_u64..5, 1_u64..4), 1..8)) {
        let mut next = 0;
        let mut ranges = Vec::new();
        for (size, gap) in &sizes {
            let last = next + size - 1;
            ranges.push(if *size == 1 { next.to_string() } else { format!("{next}-{last}") });
            next = last + 1 + gap;
        }
        let total = sizes.iter().map(|(size, _)| size).sum();
        prop_assert_eq!(count_cpus(&ranges.join(",")), Some(total));
    }
}

#[test]
fn a_machine_is_told_by_its_id_once_it_has_one() {
    let id = |text: Option<&str>| {
        let files = text.map(|text| ("/etc/machine-id".to_owned(), text.to_owned()));
        machine_id(&Machine::captured(files.into_iter().collect())).unwrap()
    };
    let usual = "0123456789abcdef0123456789abcdef";
    assert_eq!(id(Some(&format!("{usual}\n"))).as_deref(), Some(usual));
    for unusable in [None, Some(""), Some("uninitialized\n"), Some("../../etc")] {
        assert_eq!(id(unusable), None);
    }
}
