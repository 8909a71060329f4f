//! `plimsoll discover`: pods and containers as the kernel shows them.
//!
//! # Properties
//! - Every pod and every container has one line.

use super::table::lay_out;
use super::words::NOTHING;
use crate::model::{CgroupDriver, ContainerRole, DiscoveredRoot};

/// For people: a table for each root.
pub(super) fn show(roots: &[DiscoveredRoot]) -> String {
    if roots.is_empty() {
        return "No kubepods cgroup is on this machine: neither a kubelet nor this agent keeps pods here.\n"
            .to_owned();
    }
    let tables: Vec<_> = roots.iter().map(table).collect();
    tables.join("\n")
}

fn table(root: &DiscoveredRoot) -> String {
    let driver = match root.driver {
        CgroupDriver::Cgroupfs => "cgroupfs",
        CgroupDriver::Systemd => "systemd",
    };
    let heading = ["POD", "CLASS", "CONTAINER", "ROLE", "RUNTIME", "CGROUP ID"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for pod in &root.pods {
        let first = [pod.uid.to_string(), pod.qos.to_string()];
        let id = pod.cgroup_id.0.to_string();
        rows.push([first.to_vec(), vec![NOTHING.to_owned(); 3], vec![id]].concat());
        for container in &pod.containers {
            let runtime = container.runtime.map(|runtime| runtime.to_string());
            rows.push(vec![
                String::new(),
                String::new(),
                container.id.to_string(),
                container.role.to_string(),
                runtime.unwrap_or_else(|| NOTHING.to_owned()),
                container.cgroup_id.0.to_string(),
            ]);
        }
    }
    let containers = root.pods.iter().flat_map(|pod| &pod.containers);
    let working = containers.filter(|container| container.role == ContainerRole::Work);
    format!(
        "/{}: driver {driver}, {} pods, {} containers at work\n{}",
        root.cgroup,
        root.pods.len(),
        working.count(),
        lay_out(&rows, &[5])
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        CgroupId, CgroupPath, ContainerId, ContainerRuntime, DiscoveredContainer, DiscoveredPod, PodUid,
        QosClass,
    };

    #[test]
    fn every_pod_and_container_has_a_line() {
        let cgroup = |name| CgroupPath::parse(name).unwrap();
        let id = "0f".repeat(32);
        let root = DiscoveredRoot {
            cgroup: cgroup("kubepods"),
            driver: CgroupDriver::Cgroupfs,
            pods: vec![DiscoveredPod {
                uid: PodUid::parse("1f2e").unwrap(),
                qos: QosClass::Burstable,
                cgroup: cgroup("kubepods/burstable/pod1f2e"),
                cgroup_id: CgroupId(7),
                containers: vec![DiscoveredContainer {
                    id: ContainerId::parse(&id).unwrap(),
                    runtime: Some(ContainerRuntime::CriO),
                    role: ContainerRole::Work,
                    cgroup: cgroup(&format!("kubepods/burstable/pod1f2e/crio-{id}")),
                    cgroup_id: CgroupId(8),
                }],
            }],
        };
        let shown = show(&[root]);
        let lines: Vec<Vec<_>> = shown
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            lines[0].join(" "),
            "/kubepods: driver cgroupfs, 1 pods, 1 containers at work"
        );
        assert_eq!(lines[2], ["1f2e", "Burstable", "-", "-", "-", "7"]);
        assert_eq!(lines[3], [id.as_str(), "work", "cri-o", "8"]);
        assert!(show(&[]).starts_with("No kubepods"));
    }
}
