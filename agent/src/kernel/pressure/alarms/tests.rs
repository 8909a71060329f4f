//! Alarms on this machine's kernel. Memory limits are another matter: they need the VM.

use std::fs;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::*;
use crate::kernel::process::CgroupBed;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

fn sleeper(bed: &CgroupBed) -> Child {
    let script = format!("echo $$ > {}/cgroup.procs; exec sleep 100", bed.path.display());
    Command::new("sh").args(["-c", &script]).spawn().unwrap()
}

/// What wakes within a long time.
fn next(alarms: &mut Alarms) -> Vec<Alarm> {
    let begun = Instant::now();
    while begun.elapsed() < LONG {
        let woken = alarms.wait(Some(LONG)).unwrap();
        if !woken.is_empty() {
            return woken.to_vec();
        }
    }
    panic!("nothing wakes");
}

fn nothing(alarms: &mut Alarms) {
    assert_eq!(alarms.wait(Some(SHORT)).unwrap(), []);
}

#[test]
fn another_thread_wakes_once_however_often_it_calls() {
    let mut alarms = Alarms::new().unwrap();
    nothing(&mut alarms);
    let waker = alarms.waker();
    std::thread::spawn(move || {
        waker.wake();
        waker.wake();
    })
    .join()
    .unwrap();
    assert_eq!(next(&mut alarms), [Alarm::Woken]);
    nothing(&mut alarms);
    assert_eq!(alarms.len(), 1, "the waker alone");
}

#[test]
fn a_process_that_ends_is_told_once() {
    let mut alarms = Alarms::new().unwrap();
    let mut child = Command::new("sleep").arg("100").spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    alarms.watch_process(7, pidfd).unwrap();
    nothing(&mut alarms);
    child.kill().unwrap();
    assert_eq!(next(&mut alarms), [Alarm::Exited { key: 7 }]);
    nothing(&mut alarms);
    child.wait().unwrap();
}

#[test]
fn a_cgroups_first_process_its_last_and_its_own_end_are_told() {
    let Some(bed) = CgroupBed::make("alarms") else {
        return;
    };
    let cgroup = MemoryCgroup::new(bed.open().unwrap()).unwrap();
    let mut alarms = Alarms::new().unwrap();
    let armed = alarms.watch(&cgroup, Watch::ALL);
    let has_trigger = armed.some.is_some();
    assert_eq!(
        alarms.len(),
        2 + usize::from(bed.path.join("memory.events").exists()) * 2 + usize::from(has_trigger) * 2,
        "{armed:?}"
    );
    // Whatever was refused is not waited for: a descriptor without a trigger would wake for ever.
    nothing(&mut alarms);
    let cgroup_id = cgroup.id();
    let mut child = sleeper(&bed);
    let populated = |populated| Alarm::Populated {
        cgroup: cgroup_id,
        populated,
    };
    assert_eq!(next(&mut alarms), [populated(true)]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(next(&mut alarms), [populated(false)]);
    nothing(&mut alarms);
    fs::remove_dir(&bed.path).unwrap();
    assert_eq!(next(&mut alarms), [Alarm::Gone { cgroup: cgroup_id }], "once");
    nothing(&mut alarms);
    assert_eq!(alarms.len(), 1);
}

#[test]
fn a_cgroup_that_is_forgotten_wakes_nobody_and_its_places_are_used_again() {
    let Some(bed) = CgroupBed::make("forgotten") else {
        return;
    };
    let cgroup = MemoryCgroup::new(bed.open().unwrap()).unwrap();
    let mut alarms = Alarms::new().unwrap();
    let watch = Watch {
        populated: true,
        ..Watch::default()
    };
    for _ in 0..3 {
        assert_eq!(alarms.watch(&cgroup, watch), Armed::default());
        assert_eq!(
            alarms.watch(&cgroup, watch),
            Armed::default(),
            "in place of the first"
        );
        assert_eq!(alarms.sources.len(), 2);
        alarms.forget(cgroup.id());
    }
    let mut child = sleeper(&bed);
    nothing(&mut alarms);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_is_no_file_of_a_cgroup_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cgroup.events"), "populated 0\n").unwrap();
    let open = OwnedFd::from(fs::File::open(dir.path()).unwrap());
    let cgroup = MemoryCgroup::new(open).unwrap();
    let mut alarms = Alarms::new().unwrap();
    let armed = alarms.watch(&cgroup, Watch::ALL);
    let mut files: Vec<_> = armed.refused.iter().map(|refused| refused.file).collect();
    files.dedup();
    assert_eq!(
        files,
        [
            "memory.events",
            "memory.events.local",
            "cgroup.events",
            "memory.pressure"
        ]
    );
    assert_eq!(alarms.len(), 1);
    nothing(&mut alarms);
}

#[test]
fn counters_are_read_whatever_else_is_in_the_file() {
    let file = b"low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\nsock_throttled 7\nodd\n";
    let events = MemoryEvents {
        high: 2,
        max: 3,
        oom: 4,
        oom_kill: 5,
        oom_group_kill: 6,
    };
    assert_eq!(MemoryEvents::read(file), events);
    assert_eq!(
        MemoryEvents::read(b"high x\n\xff\xfe 1\nmax 9"),
        MemoryEvents::default()
    );
}

#[test]
fn another_thread_may_have_them() {
    fn is_send<T: Send>() {}
    is_send::<Alarms>();
}
