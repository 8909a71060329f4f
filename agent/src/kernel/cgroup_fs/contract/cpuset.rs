//! Cpusets: which CPUs and NUMA nodes a cgroup asks for, and which it has.

use std::thread::sleep;
use std::time::Duration;

use super::{Host, enable, path, read, write};
use crate::kernel::cgroup_fs::CgroupFs;
use crate::model::ControlFile::{
    CpusetCpus as Cpus, CpusetCpusEffective as CpusEffective, CpusetMems as Mems,
    CpusetMemsEffective as MemsEffective,
};
use crate::model::CpuId;

/// `a` with its child `a/x`, and `b`, each with a cpuset.
pub(super) fn tree(fs: &dyn CgroupFs) {
    enable(fs, "", "+cpuset").unwrap();
    for name in ["a", "a/x", "b"] {
        fs.create(&path(name)).unwrap();
    }
    enable(fs, "a", "+cpuset").unwrap();
}

pub(super) fn lists(host: &dyn Host) {
    let fs = host.fs();
    tree(fs);
    for (written, kept) in [
        ("0-3", "0-3"),
        ("3,1,0", "0-1,3"),
        ("0-2,1-3", "0-3"),
        ("2-2", "2"),
        ("01", "1"),
        (" 1\t2 , 3\n", "1-3"),
        (",1,,2,", "1-2"),
        ("3\n2\nx", "3"),
        ("", ""),
        ("0", "0"),
        (",", ""),
        ("0", "0"),
        ("\n", ""),
    ] {
        write(fs, "a", Cpus, written).unwrap();
        assert_eq!(read(fs, "a", Cpus), kept, "{written:?}");
    }
    write(fs, "a", Cpus, "1").unwrap();
    for (written, errno) in [
        ("x", libc::EINVAL),
        ("-1", libc::EINVAL),
        ("+1", libc::EINVAL),
        ("0x1", libc::EINVAL),
        ("1-", libc::EINVAL),
        ("0-1-2", libc::EINVAL),
        ("3-1", libc::EINVAL),
        ("0;1", libc::EINVAL),
        ("0-2,x", libc::EINVAL),
        ("8191", libc::ERANGE),
        ("0-8191", libc::ERANGE),
        ("8191,x", libc::ERANGE),
        ("x,8191", libc::EINVAL),
        ("4294967296", libc::EOVERFLOW),
    ] {
        assert_eq!(write(fs, "a", Cpus, written), Err(errno), "{written:?}");
        assert_eq!(read(fs, "a", Cpus), "1", "{written:?}");
    }
    write(fs, "a", Mems, "0,0-0").unwrap();
    for (written, errno) in [
        ("x", libc::EINVAL),
        ("0-", libc::EINVAL),
        ("1023", libc::EINVAL),
        ("0,1023", libc::EINVAL),
        ("1024", libc::ERANGE),
    ] {
        assert_eq!(write(fs, "a", Mems, written), Err(errno), "{written:?}");
        assert_eq!(read(fs, "a", Mems), "0", "{written:?}");
    }
    for effective in [CpusEffective, MemsEffective] {
        assert_eq!(write(fs, "a", effective, "0"), Err(libc::EINVAL));
    }
}

pub(super) fn flows_down(host: &dyn Host) {
    let fs = host.fs();
    tree(fs);
    let all = ["", "a", "a/x", "b"].map(|at| read(fs, at, CpusEffective));
    assert_eq!(all[1..], all[..3], "all of the machine");
    assert_eq!(
        read(fs, "a/x", MemsEffective),
        read(fs, "", MemsEffective),
        "all of the machine"
    );
    for (at, asked, has) in [
        ("", "0-2", ["0-2", "0-2", "0-2", "0-2"]),
        ("a", "1-3", ["0-2", "1-2", "1-2", "0-2"]),
        ("a/x", "0,2", ["0-2", "1-2", "2", "0-2"]),
        // None of what it asks for: as if it had not asked.
        ("a/x", "0,3", ["0-2", "1-2", "1-2", "0-2"]),
        ("", "3", ["3", "3", "3", "3"]),
        ("", "0", ["0", "0", "0", "0"]),
        ("", "0-3", ["0-3", "1-3", "3", "0-3"]),
        ("a", "", ["0-3", "0-3", "0,3", "0-3"]),
        ("b", "2", ["0-3", "0-3", "0,3", "2"]),
    ] {
        write(fs, at, Cpus, asked).unwrap();
        let found = ["", "a", "a/x", "b"].map(|at| read(fs, at, CpusEffective));
        assert_eq!(found, has, "{asked:?} for {at:?}");
    }
    let asked = ["", "a", "a/x", "b"].map(|at| read(fs, at, Cpus));
    assert_eq!(asked, ["0-3", "", "0,3", "2"], "what was asked for is kept");
    write(fs, "a", Mems, "0").unwrap();
    assert_eq!(read(fs, "a/x", MemsEffective), "0");
    fs.create(&path("a/late")).unwrap();
    assert_eq!(read(fs, "a/late", Cpus), "");
    assert_eq!(read(fs, "a/late", CpusEffective), "0-3");
}

pub(super) fn needs_controller(host: &dyn Host) {
    let fs = host.fs();
    fs.create(&path("a")).unwrap();
    let all = read(fs, "", CpusEffective);
    for file in [Cpus, CpusEffective, Mems, MemsEffective] {
        let error = fs.read(&path("a"), file).unwrap_err();
        assert_eq!(error.errno(), Some(libc::ENOENT), "{file}");
    }
    enable(fs, "", "+cpuset").unwrap();
    write(fs, "a", Cpus, "1").unwrap();
    write(fs, "a", Mems, "0").unwrap();
    enable(fs, "", "-cpuset").unwrap();
    assert_eq!(write(fs, "a", Cpus, "1"), Err(libc::ENOENT));
    enable(fs, "", "+cpuset").unwrap();
    assert_eq!(read(fs, "a", Cpus), "");
    assert_eq!(read(fs, "a", CpusEffective), all);
    assert_eq!(read(fs, "a", Mems), "");
}

pub(super) fn emptying(host: &dyn Host) {
    let fs = host.fs();
    tree(fs);
    host.spawn_in(&path("a/x")).unwrap();
    let outcome = if host.kernel() < (7, 0) {
        Err(libc::ENOSPC)
    } else {
        Ok(())
    };
    for (file, list) in [(Cpus, "1-2"), (Mems, "0")] {
        for at in ["a", "a/x"] {
            write(fs, at, file, "").unwrap();
            write(fs, at, file, list).unwrap();
            for nothing in ["", "\n", ","] {
                assert_eq!(write(fs, at, file, nothing), outcome, "{file} of {at}");
            }
            let kept = if outcome.is_ok() { "" } else { list };
            assert_eq!(read(fs, at, file), kept, "{file} of {at}");
        }
    }
    write(fs, "a", Cpus, "0,3").unwrap();
    fs.kill(&path("a")).unwrap();
    host.settle(&path("a"));
    for file in [Cpus, Mems] {
        write(fs, "a", file, "").unwrap();
        assert_eq!(read(fs, "a", file), "");
    }
}

pub(super) fn hot_unplug(host: &dyn Host) {
    let fs = host.fs();
    tree(fs);
    let cpu = CpuId::new(3).unwrap();
    write(fs, "", Cpus, "0-3").unwrap();
    write(fs, "a", Cpus, "2-3").unwrap();
    write(fs, "a/x", Cpus, "3").unwrap();
    write(fs, "b", Cpus, "3").unwrap();
    host.set_online(cpu, false);
    comes_to(fs, ["0-2", "2", "2", "0-2"]);
    let asked = ["", "a", "a/x", "b"].map(|at| read(fs, at, Cpus));
    assert_eq!(asked, ["0-3", "2-3", "3", "3"], "what was asked for is kept");
    write(fs, "b", Cpus, "1,3").unwrap();
    comes_to(fs, ["0-2", "2", "2", "1"]);
    host.set_online(cpu, true);
    comes_to(fs, ["0-3", "2-3", "3", "1,3"]);
}

/// Waits until the root, `a`, `a/x` and `b` have these CPUs; the kernel tells them from a worker of its own.
pub(super) fn comes_to(fs: &dyn CgroupFs, wanted: [&str; 4]) {
    const LOOKS: usize = 1000;
    let look = || ["", "a", "a/x", "b"].map(|at| read(fs, at, CpusEffective));
    let mut found = look();
    for _ in 0..LOOKS {
        if found == wanted {
            return;
        }
        sleep(Duration::from_millis(10));
        found = look();
    }
    assert_eq!(found, wanted);
}
