//! Cpuset partitions: CPUs that one cgroup has and nobody else.

use super::cpuset::{comes_to, tree};
use super::{Host, enable, path, read, write};
use crate::kernel::cgroup_fs::CgroupFs;
use crate::model::ControlFile::{
    CpusetCpus as Cpus, CpusetCpusEffective as Effective, CpusetCpusExclusive as Exclusive,
    CpusetMems as Mems, CpusetPartition as Partition,
};
use crate::model::CpuId;

/// Since when any cgroup can be a partition, not just a partition's child.
const REMOTE: (u32, u32) = (6, 7);

/// `tree` with one more child, `a/y`; the root has CPUs 0 to 3.
fn two_siblings(fs: &dyn CgroupFs) {
    tree(fs);
    fs.create(&path("a/y")).unwrap();
    write(fs, "", Cpus, "0-3").unwrap();
}

/// Keeps `cpus` for `a/x`, all the way down.
fn keep(fs: &dyn CgroupFs, cpus: &str) {
    for at in ["", "a", "a/x"] {
        write(fs, at, Exclusive, cpus).unwrap();
    }
}

fn becomes(fs: &dyn CgroupFs, kind: &str, reads: &str) {
    write(fs, "a/x", Partition, kind).unwrap();
    assert_eq!(read(fs, "a/x", Partition), reads);
}

pub(super) fn words(host: &dyn Host) {
    let fs = host.fs();
    tree(fs);
    assert_eq!(read(fs, "a/x", Partition), "member");
    for word in ["", "Root", "invalid", "root invalid", "1"] {
        assert_eq!(write(fs, "a/x", Partition, word), Err(libc::EINVAL), "{word:?}");
    }
    let reason = if host.kernel() < REMOTE {
        "cpuset.cpus is empty"
    } else {
        "cpuset.cpus and cpuset.cpus.exclusive are empty"
    };
    for kind in ["root", "isolated"] {
        becomes(fs, kind, &format!("{kind} invalid ({reason})"));
    }
    becomes(fs, " member\n", "member");
}

pub(super) fn none_elsewhere(host: &dyn Host) {
    let fs = host.fs();
    if host.kernel() >= REMOTE {
        return;
    }
    two_siblings(fs);
    for at in ["", "a", "a/x"] {
        assert_eq!(write(fs, at, Exclusive, "1"), Err(libc::ENOENT), "{at:?}");
    }
    write(fs, "a/x", Cpus, "1-2").unwrap();
    for kind in ["root", "isolated"] {
        becomes(
            fs,
            kind,
            &format!("{kind} invalid (Parent is not a partition root)"),
        );
        comes_to(fs, ["0-3", "0-3", "1-2", "0-3"]);
    }
    becomes(fs, "member", "member");
}

pub(super) fn exclusive_lists(host: &dyn Host) {
    let fs = host.fs();
    if host.kernel() < REMOTE {
        return;
    }
    two_siblings(fs);
    for (written, kept) in [("2,1", "1-2"), ("", ""), ("3", "3")] {
        write(fs, "a/x", Exclusive, written).unwrap();
        assert_eq!(
            read(fs, "a/x", Exclusive),
            kept,
            "not bound by what its parent keeps"
        );
    }
    for (written, errno) in [("x", libc::EINVAL), ("8191", libc::ERANGE)] {
        assert_eq!(write(fs, "a/x", Exclusive, written), Err(errno));
    }
    assert_eq!(write(fs, "a/y", Exclusive, "2-3"), Err(libc::EINVAL), "x keeps 3");
    write(fs, "a/y", Cpus, "0-1").unwrap();
    assert_eq!(
        write(fs, "a/x", Exclusive, "0-1,3"),
        Err(libc::EINVAL),
        "y would have none else"
    );
    write(fs, "a/x", Exclusive, "1,3").unwrap();
    write(fs, "a/y", Cpus, "1").unwrap();
    assert_eq!(
        read(fs, "a/y", Effective),
        "1",
        "kept for a partition that is none yet"
    );
    let before_7 = host.kernel() < (7, 0);
    let changed = if before_7 { Err(libc::EINVAL) } else { Ok(()) };
    assert_eq!(
        write(fs, "a/y", Mems, "0"),
        changed,
        "x keeps all that y asks for"
    );
    write(fs, "a/y", Exclusive, "2").unwrap();
    assert_eq!(
        write(fs, "a/x", Exclusive, "1"),
        if before_7 { Ok(()) } else { Err(libc::EINVAL) },
        "y keeps one for itself"
    );
    assert_eq!(write(fs, "a/y", Exclusive, ""), changed);
}

pub(super) fn takes_its_cpus(host: &dyn Host) {
    let fs = host.fs();
    if host.kernel() < REMOTE {
        return;
    }
    two_siblings(fs);
    host.spawn_in(&path("a/x")).unwrap();
    host.spawn_in(&path("b")).unwrap();
    write(fs, "a/x", Cpus, "2-3").unwrap();
    keep(fs, "2-3");
    write(fs, "b", Cpus, "3").unwrap();
    comes_to(fs, ["0-3", "0-3", "2-3", "3"]);
    for kind in ["isolated", "root", "isolated"] {
        becomes(fs, kind, kind);
        comes_to(fs, ["0-1", "0-1", "2-3", "0-1"]);
    }
    assert_eq!(read(fs, "a/y", Effective), "0-1");
    fs.create(&path("a/late")).unwrap();
    assert_eq!(read(fs, "a/late", Effective), "0-1");
    // What others ask for changes nothing for it, as long as they are not beside it.
    write(fs, "b", Cpus, "1-3").unwrap();
    comes_to(fs, ["0-1", "0-1", "2-3", "1"]);
    write(fs, "", Cpus, "0-2").unwrap();
    comes_to(fs, ["0-1", "0-1", "2-3", "1"]);
    write(fs, "a/x", Cpus, "2").unwrap();
    comes_to(fs, ["0-1", "0-1", "2-3", "1"]);
    assert_eq!(read(fs, "a/x", Partition), "isolated");
    becomes(fs, "member", "member");
    comes_to(fs, ["0-2", "0-2", "2", "1-2"]);
}

pub(super) fn given_back(host: &dyn Host) {
    let fs = host.fs();
    if host.kernel() < REMOTE {
        return;
    }
    two_siblings(fs);
    write(fs, "a/x", Cpus, "2-3").unwrap();
    keep(fs, "2-3");
    becomes(fs, "isolated", "isolated");
    fs.remove(&path("a/x")).unwrap();
    assert_eq!(read(fs, "b", Effective), "0-3");
    assert_eq!(read(fs, "a", Exclusive), "2-3", "still kept");
    fs.create(&path("a/x")).unwrap();
    assert_eq!(read(fs, "a/x", Exclusive), "");
    write(fs, "a/x", Exclusive, "3").unwrap();
    becomes(fs, "root", "root");
    comes_to(fs, ["0-2", "0-2", "3", "0-2"]);
    enable(fs, "a", "-cpuset").unwrap();
    assert_eq!(read(fs, "b", Effective), "0-3");
}

pub(super) fn partition_refusals(host: &dyn Host) {
    let fs = host.fs();
    if host.kernel() < REMOTE {
        return;
    }
    two_siblings(fs);
    let bad_list = "isolated invalid (Invalid cpu list in cpuset.cpus.exclusive)";
    write(fs, "a/x", Cpus, "2-3").unwrap();
    write(fs, "a/x", Exclusive, "2-3").unwrap();
    becomes(fs, "isolated", bad_list);
    write(fs, "a", Exclusive, "2-3").unwrap();
    becomes(fs, "isolated", bad_list);
    comes_to(fs, ["0-3", "0-3", "2-3", "0-3"]);
    becomes(fs, "member", "member");
    // Beside one that asks for some of its CPUs.
    write(fs, "", Exclusive, "2-3").unwrap();
    write(fs, "a/y", Cpus, "1-2").unwrap();
    if host.kernel() < (7, 0) {
        becomes(fs, "root", "root invalid (Cpu list in cpuset.cpus not exclusive)");
        comes_to(fs, ["0-3", "0-3", "2-3", "0-3"]);
        becomes(fs, "member", "member");
    }
    write(fs, "a/y", Cpus, "0-1").unwrap();
    becomes(fs, "root", "root");
}

pub(super) fn kept_no_more(host: &dyn Host) {
    let fs = host.fs();
    if host.kernel() < REMOTE {
        return;
    }
    two_siblings(fs);
    write(fs, "a/x", Cpus, "1-3").unwrap();
    keep(fs, "1-3");
    becomes(fs, "isolated", "isolated");
    write(fs, "", Exclusive, "2-3").unwrap();
    comes_to(fs, ["0-1", "0-1", "2-3", "0-1"]);
    write(fs, "a", Exclusive, "1,3").unwrap();
    comes_to(fs, ["0-2", "0-2", "3", "0-2"]);
    assert_eq!(read(fs, "a/x", Partition), "isolated");
    write(fs, "a", Exclusive, "").unwrap();
    assert_eq!(
        read(fs, "a/x", Partition),
        "isolated invalid (Parent is not a partition root)"
    );
    comes_to(fs, ["0-3", "0-3", "1-3", "0-3"]);
    keep(fs, "1-3");
    becomes(fs, "isolated", "isolated");
    write(fs, "a/x", Exclusive, "3").unwrap();
    comes_to(fs, ["0-2", "0-2", "3", "0-2"]);
    write(fs, "a/x", Exclusive, "0,3").unwrap();
    comes_to(fs, ["0-2", "0-2", "3", "0-2"]);
    write(fs, "a/x", Exclusive, "0").unwrap();
    assert_eq!(
        read(fs, "a/x", Partition),
        "isolated invalid (Parent is not a partition root)"
    );
    comes_to(fs, ["0-3", "0-3", "1-3", "0-3"]);
}

pub(super) fn partition_unplugged(host: &dyn Host) {
    let fs = host.fs();
    if host.kernel() < REMOTE {
        return;
    }
    two_siblings(fs);
    let [two, three] = [2, 3].map(|cpu| CpuId::new(cpu).unwrap());
    write(fs, "a/x", Cpus, "2-3").unwrap();
    keep(fs, "2-3");
    becomes(fs, "isolated", "isolated");
    host.set_online(three, false);
    comes_to(fs, ["0-1", "0-1", "2", "0-1"]);
    host.set_online(two, false);
    comes_to(fs, ["0-1", "0-1", "", "0-1"]);
    assert_eq!(
        read(fs, "a/x", Partition),
        "isolated",
        "without processes it stays"
    );
    assert_eq!(host.spawn_in(&path("a/x")), Err(libc::ENOSPC));
    host.set_online(two, true);
    host.set_online(three, true);
    comes_to(fs, ["0-1", "0-1", "2-3", "0-1"]);
    host.spawn_in(&path("a/x")).unwrap();
    host.set_online(three, false);
    comes_to(fs, ["0-1", "0-1", "2", "0-1"]);
    host.set_online(two, false);
    comes_to(fs, ["0-1", "0-1", "0-1", "0-1"]);
    let unplugged = "isolated invalid (No cpu available due to hotplug)";
    assert_eq!(read(fs, "a/x", Partition), unplugged);
    host.set_online(two, true);
    host.set_online(three, true);
    comes_to(fs, ["0-3", "0-3", "2-3", "0-3"]);
    assert_eq!(
        read(fs, "a/x", Partition),
        unplugged,
        "not by itself a partition again"
    );
    becomes(fs, "isolated", "isolated");
    comes_to(fs, ["0-1", "0-1", "2-3", "0-1"]);
}
