//! Writes that may take long.

use std::time::Duration;

use plimsoll::kernel::cgroup_fs::CgroupFs;
use plimsoll::kernel::pressure::{Alarm, Alarms, LimitFile, LimitWriter, WriteDone, WriteJob, WriteOutcome};
use plimsoll::model::{Bytes, ControlFile, Limit};

use super::{Pod, Pods, alarm, now};
use crate::support::until;

struct Writing {
    alarms: Alarms,
    writer: LimitWriter,
}

impl Writing {
    fn new() -> Self {
        let alarms = Alarms::new().unwrap();
        let writer = LimitWriter::start(Some(alarms.waker()), 4).unwrap();
        Self { alarms, writer }
    }

    fn submit(&self, pod: &Pod, file: LimitFile, value: Limit<Bytes>, within: Duration) {
        let job = WriteJob {
            id: 7,
            cgroup: pod.cgroup.clone(),
            file,
            value,
            deadline: now().after(within),
        };
        self.writer.submit(job).unwrap();
    }

    /// Sleeps until the write is over.
    fn done(&mut self) -> WriteDone {
        loop {
            alarm(&mut self.alarms, "a write is over", |alarm| {
                (*alarm == Alarm::Woken).then_some(())
            });
            if let Some(done) = self.writer.done() {
                return done;
            }
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn a_write_that_blocks_under_pressure_does_not_block_who_asked_for_it() {
    let pods = Pods::new();
    let pod = pods.pod("swap", &[(ControlFile::MemorySwapMax, "max")]);
    pods.holder(&pod, 96);
    let mut writing = Writing::new();
    let begun = now();
    // 64 MiB have to go to the disk first.
    writing.submit(&pod, LimitFile::Max, Limit::At(Bytes::mib(32)), MINUTE);
    let asked = now().since(begun);
    let done = writing.done();
    println!(
        "LATENCY memory.max below what is used: asked {asked:?}, written {:?}, {:?}",
        done.ended.since(done.began),
        done.outcome
    );
    assert_eq!(done.outcome, WriteOutcome::Kept(Limit::At(Bytes::mib(32))));
    assert_eq!((done.id, done.cgroup), (7, pod.cgroup.id()));
    assert_eq!(pods.number(&pod, ControlFile::MemoryMax), 32 << 20);
    writing.submit(&pod, LimitFile::High, Limit::At(Bytes(16 << 20 | 5)), MINUTE);
    let done = writing.done();
    println!("LATENCY memory.high: written {:?}", done.ended.since(done.began));
    assert_eq!(
        done.outcome,
        WriteOutcome::Kept(Limit::At(Bytes::mib(16))),
        "whole pages"
    );
    writing.submit(&pod, LimitFile::High, Limit::Max, Duration::ZERO);
    assert_eq!(writing.done().outcome, WriteOutcome::Expired(Bytes(0)));
    assert_eq!(pods.number(&pod, ControlFile::MemoryHigh), 16 << 20, "not begun");
    assert_eq!(writing.writer.overdue(now()), 0);
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn reclaim_under_pressure_finds_cache_and_says_when_there_is_none() {
    let pods = Pods::new();
    let pod = pods.pod("cache", &[]);
    let work = "dd if=/dev/zero of=/disk/cache bs=1M count=80 2>/dev/null; sync; exec sleep 1000";
    pods.root.shell_in(&pod.container, work).unwrap();
    until("the file is written", || {
        pods.key(&pod, ControlFile::MemoryStat, "file ") >= 80 << 20
            && pods.key(&pod, ControlFile::MemoryStat, "file_dirty ") == 0
            && pods.key(&pod, ControlFile::MemoryStat, "file_writeback ") == 0
    });
    let mut writing = Writing::new();
    writing.submit(&pod, LimitFile::Reclaim, Limit::At(Bytes::mib(64)), MINUTE);
    let done = writing.done();
    println!(
        "LATENCY reclaim of 64 MiB: {:?}, {:?}",
        done.ended.since(done.began),
        done.outcome
    );
    assert_eq!(done.outcome, WriteOutcome::Reclaimed(Bytes::mib(64)));
    assert!(pods.key(&pod, ControlFile::MemoryStat, "file ") <= 32 << 20);
    std::fs::remove_file("/disk/cache").unwrap();
    let anon = pods.pod("anon", &[]);
    pods.holder(&anon, 16);
    writing.submit(&anon, LimitFile::Reclaim, Limit::At(Bytes::mib(64)), MINUTE);
    assert_eq!(
        writing.done().outcome,
        WriteOutcome::Short(Bytes(0)),
        "it may not swap"
    );
    pods.fs().kill(&anon.at).unwrap();
    pods.root.settle(&anon.at);
    pods.fs().remove_tree(&anon.at).unwrap();
    writing.submit(&anon, LimitFile::High, Limit::Max, MINUTE);
    assert_eq!(writing.done().outcome, WriteOutcome::Gone);
}
