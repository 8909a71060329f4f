//! What the machine does with a container's own CPUs: partitions, and CPUs that go.

use std::fs;
use std::path::Path;

use super::{DB, Host, configuration, cpus, find, guaranteed, lives, online, own, until};
use crate::agent::MOUNT;
use crate::support::Unplugged;

/// The CPUs that everybody has who is in no cgroup of ours.
fn everybodys() -> plimsoll::model::CpuSet {
    cpus(
        fs::read_to_string(Path::new(MOUNT).join("cpuset.cpus.effective"))
            .unwrap()
            .trim(),
    )
}

#[test]
#[ignore = "needs a machine of its own"]
fn a_partition_is_made_where_the_kernel_can_and_its_reason_told_where_not() {
    let mut host = Host::new(&format!("{}cpusetPartition: isolated\n", configuration()));
    host.agent.start().unwrap();
    host.start("db", &guaranteed("2"));
    let report = host.wait_running(&["db"]);
    let own = own(&report, "db").unwrap();
    let told = find(&report, "db").unwrap().containers[0]
        .cpus
        .clone()
        .unwrap()
        .partition
        .unwrap();
    let state = host.read(DB, "cpuset.cpus.partition");
    // The file came with partitions below plain members, in Linux 6.7.
    if host.cgroup(DB).join("cpuset.cpus.exclusive").exists() {
        assert_eq!((state.as_str(), told.as_str()), ("isolated", "isolated"));
        assert!(everybodys().is_disjoint(&own));
    } else {
        assert_eq!(state, "member");
        assert!(told.contains("Parent is not a partition root"), "{told}");
    }
    assert_eq!(host.effective(DB), own);
    host.remove("db");
    until("everybody has all CPUs again", || everybodys() == online());
}

#[test]
#[ignore = "needs a machine of its own"]
fn a_cpu_of_a_containers_own_that_goes_is_replaced_under_the_running_process() {
    let host = Host::giving_cpus();
    let process = host.start("db", &guaranteed("2"));
    let before = host.effective(DB);
    let lost = before.last().unwrap();
    let unplugged = Unplugged::default();
    unplugged.set_online(lost, false);
    let report = host.wait(|report| {
        let own = own(report, "db").filter(|own| own.len() == 2 && !own.contains(lost));
        own.is_some_and(|own| host.effective(DB) == own)
    });
    let now = own(&report, "db").unwrap();
    assert!(now.contains(before.first().unwrap()), "{before} became {now}");
    assert!(lives(process));
    let changes = report.cpus.unwrap().changes;
    assert!(
        changes
            .iter()
            .any(|change| change.contains(&format!("CPUs went: {lost}"))),
        "{changes:?}"
    );
    unplugged.set_online(lost, true);
    host.wait(|report| {
        report
            .cpus
            .as_ref()
            .is_some_and(|cpus| cpus.shared.contains(lost))
    });
    assert!(lives(process));
}
