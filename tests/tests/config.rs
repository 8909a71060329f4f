//! The configuration as users meet it: the shipped file, a kubelet's own file, the README's tables.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test target: a failure is the message"
)]

use std::fs;
use std::path::Path;

use plimsoll::config::{self, CgroupDriver, Config};
use plimsoll::metrics::families;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn the_file_in_the_repository_is_the_one_in_the_binary() {
    let file = fs::read_to_string(repository().join("config/plimsoll.yaml")).unwrap();
    assert_eq!(file, config::DEFAULT_FILE);
    assert_eq!(config::parse(&file, "plimsoll.yaml"), Ok(Config::default()));
}

#[test]
fn every_default_has_a_comment_before_it_or_beside_it() {
    let mut commented = false;
    for line in config::DEFAULT_FILE.lines() {
        let has_comment = line.contains('#');
        // Lines that go on from a commented one belong to it; an empty line ends that.
        commented = !line.is_empty() && (commented || has_comment);
        assert!(line.is_empty() || commented, "no comment: {line}");
    }
}

#[test]
fn fields_shared_with_kubelet_are_read_as_kubelet_writes_them() {
    // Values and spelling as in a KubeletConfiguration.
    let text = "cgroupDriver: systemd\nmaxPods: 250\npodPidsLimit: 4096\ncpuCFSQuota: true\ncpuCFSQuotaPeriod: 100ms\n\
                memorySwap: {swapBehavior: LimitedSwap}\nmemoryThrottlingFactor: 0.9\nmemoryReservationPolicy: None\n\
                enforceNodeAllocatable: [\"pods\"]\nsystemReserved: {cpu: 200m, memory: 500Mi, pid: \"1000\"}\n\
                kubeReserved: {cpu: \"1\", memory: 1Gi}\nsingleProcessOOMKill: false\ncontainerLogMaxSize: 10Mi\n\
                staticPodPath: /etc/kubernetes/manifests\n";
    let config = config::parse(text, "kubelet.yaml").unwrap();
    assert_eq!(config.cgroup_driver, CgroupDriver::Systemd);
    assert_eq!(config.pod_pids_limit.limit(), Some(4096));
    assert_eq!(config.system_reserved.cpu.milli_value(), 200);
    assert_eq!(config.kube_reserved.memory.value(), 1 << 30);
    assert_eq!(config.cpu_cfs_quota_period.period().0, 100_000);
}

#[test]
fn the_readme_has_the_programs_tables() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    for (command, table) in [
        ("config --table", config::markdown_table()),
        ("metrics", families::markdown_table()),
    ] {
        assert!(
            readme.contains(&table),
            "put the output of `plimsoll {command}` into README.md:\n{table}"
        );
    }
}
