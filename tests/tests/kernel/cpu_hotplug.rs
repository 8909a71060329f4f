//! CPUs that go offline and come back.

use std::fs;
use std::hint::black_box;
use std::time::Instant;

use plimsoll::kernel::node_facts::Machine;
use plimsoll::model::{CpuChange, CpuSet};
use plimsoll::observe::cpu_watch::CpuWatch;

/// Brings the CPU online again however the test ends.
struct Offline(String);

impl Offline {
    fn take(cpu: u32) -> Self {
        let switch = format!("/sys/devices/system/cpu/cpu{cpu}/online");
        fs::write(&switch, "0").unwrap();
        Self(switch)
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.0, "1") {
            eprintln!("{}: {error}", self.0);
        }
    }
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn a_cpu_that_goes_offline_and_comes_back_is_told_at_the_next_look() {
    let mut watch = CpuWatch::new(Machine::default()).unwrap();
    let all = watch.cpus().topology.cpus().clone();
    let last = all.last().unwrap();
    let one: CpuSet = [last].into_iter().collect();
    assert!(all.len() > 1, "a machine of one CPU can lose none");
    assert_eq!(watch.look().unwrap(), None);
    let offline = Offline::take(last.into());
    let gone = CpuChange {
        went: one.clone(),
        came: CpuSet::EMPTY,
    };
    assert_eq!(watch.look().unwrap(), Some(gone));
    assert_eq!(watch.cpus().topology.cpus(), &(&all - &one));
    assert_eq!(watch.cpus().offline, one);
    assert_eq!(watch.look().unwrap(), None);
    drop(offline);
    let back = CpuChange {
        went: CpuSet::EMPTY,
        came: one,
    };
    assert_eq!(watch.look().unwrap(), Some(back));
    assert_eq!(watch.cpus().topology.cpus(), &all);
    let begun = Instant::now();
    for _ in 0..1000 {
        assert_eq!(black_box(&mut watch).look().unwrap(), None);
    }
    println!("a look takes {:?}", begun.elapsed() / 1000);
}
