//! Trees as the runtimes make them, and names that anybody could make.

use proptest::prelude::*;

use super::*;
use crate::kernel::cgroup_fs::{FakeCgroupFs, Stubbornness};
use crate::model::{CgroupDriver, CgroupName, ContainerRuntime, PodUid, QosClass};

const UID: &str = "1f2e3d4c-aaaa-bbbb-cccc-0123456789ab";
const IN_SLICE: &str = "1f2e3d4c_aaaa_bbbb_cccc_0123456789ab";

fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// A tree of these cgroups, the levels above them too.
fn tree(paths: &[String]) -> FakeCgroupFs {
    let fs = FakeCgroupFs::new([]);
    for path in paths {
        let mut at = CgroupPath::ROOT;
        for name in path.split('/') {
            at = at.child(name).unwrap();
            fs.create(&at).unwrap();
        }
    }
    fs
}

fn found(fs: &FakeCgroupFs) -> Vec<DiscoveredRoot> {
    discover(fs, &|_| Ok(None)).unwrap()
}

/// Each container's role, runtime and the first digit of its id.
fn containers(pod: &DiscoveredPod) -> Vec<(ContainerRole, Option<ContainerRuntime>, char)> {
    let of = |c: &DiscoveredContainer| (c.role, c.runtime, c.id.as_str().chars().next().unwrap());
    pod.containers.iter().map(of).collect()
}

#[test]
fn containerd_under_systemd() {
    let pod = format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{IN_SLICE}.slice");
    let fs = tree(&[
        format!("{pod}/cri-containerd-{}.scope", id('a')),
        format!("{pod}/cri-containerd-{}.scope/a-cgroup-of-its-own", id('b')),
        "kubepods.slice/kubepods-besteffort.slice".to_owned(),
        format!("system.slice/cri-containerd-{}.scope", id('c')),
    ]);
    let sandbox = CgroupPath::parse(&format!("{pod}/cri-containerd-{}.scope", id('a'))).unwrap();
    let pid = fs.spawn(&sandbox, Stubbornness::Dies).unwrap();
    let score = move |of| Ok((of == pid).then_some(OomScoreAdj(-998)));
    let roots = discover(&fs, &score).unwrap();
    let [root] = roots.as_slice() else {
        panic!("one root: {roots:?}");
    };
    assert_eq!(root.driver, CgroupDriver::Systemd);
    let [pod] = root.pods.as_slice() else {
        panic!("one pod: {root:?}");
    };
    assert_eq!((pod.uid.as_str(), pod.qos), (UID, QosClass::Burstable));
    let containerd = Some(ContainerRuntime::Containerd);
    assert_eq!(
        containers(pod),
        [
            (ContainerRole::Sandbox, containerd, 'a'),
            (ContainerRole::Work, containerd, 'b')
        ]
    );
    assert_eq!(Ok(pod.containers[0].cgroup_id), fs.id(&sandbox).map_err(|_| ()));
}

#[test]
fn one_process_that_is_no_pause_makes_it_work() {
    let path = format!("kubepods/pod{UID}/{}", id('a'));
    let fs = tree(std::slice::from_ref(&path));
    let path = CgroupPath::parse(&path).unwrap();
    let first = fs.spawn(&path, Stubbornness::Dies).unwrap();
    fs.spawn(&path, Stubbornness::Dies).unwrap();
    let score = move |of| Ok(Some(OomScoreAdj(if of == first { -998 } else { -997 })));
    let roots = discover(&fs, &score).unwrap();
    assert_eq!(containers(&roots[0].pods[0]), [(ContainerRole::Work, None, 'a')]);
}

#[test]
fn crio_under_systemd() {
    let pod = format!("kubepods.slice/kubepods-pod{IN_SLICE}.slice");
    let fs = tree(&[
        format!("{pod}/crio-{}", id('a')),
        format!("{pod}/crio-{}.scope/container", id('b')),
        format!("{pod}/crio-conmon-{}.scope", id('b')),
    ]);
    let roots = found(&fs);
    let pod = &roots[0].pods[0];
    assert_eq!(pod.qos, QosClass::Guaranteed);
    let crio = Some(ContainerRuntime::CriO);
    assert_eq!(
        containers(pod),
        [
            (ContainerRole::Sandbox, crio, 'a'),
            (ContainerRole::Work, crio, 'b'),
            (ContainerRole::Monitor, crio, 'b'),
        ]
    );
}

#[test]
fn a_kubelet_in_a_container_has_its_root_further_down() {
    let node = format!(
        "system.slice/docker-{}.scope/kubelet.slice/kubelet-kubepods.slice",
        id('f')
    );
    let pod =
        format!("{node}/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{IN_SLICE}.slice");
    let fs = tree(&[
        format!("{pod}/cri-containerd-{}.scope", id('a')),
        // A kubelet inside that container: its pods are the container's affair.
        format!("{pod}/cri-containerd-{}.scope/kubepods/pod{UID}", id('a')),
        format!(
            "kubelet/kubepods/burstable/pod0123456789abcdef0123456789abcdef/{}",
            id('b')
        ),
    ]);
    let roots = found(&fs);
    let pods: Vec<_> = roots
        .iter()
        .flat_map(|root| {
            root.pods
                .iter()
                .map(|pod| (pod.uid.as_str(), pod.qos, pod.containers.len()))
        })
        .collect();
    assert_eq!(
        pods,
        [
            ("0123456789abcdef0123456789abcdef", QosClass::Burstable, 1),
            (UID, QosClass::BestEffort, 1),
        ]
    );
}

#[test]
fn names_that_only_look_like_it_are_nobodys() {
    let fs = tree(&[
        "kubepods/pod".to_owned(),
        "kubepods/pod-".to_owned(),
        format!("kubepods/besteffort/burstable/pod{UID}"),
        "kubepods/burstable/podx/short".to_owned(),
        format!("kubepods/burstable/podx/crio-conmon-{}x", id('a')),
        format!("kubepods.slice/kubepods-burstable-pod{IN_SLICE}.slice"),
        format!("kubepods.slice/kubepods-pod{IN_SLICE}"),
        format!("mykubepods.slice/mykubepods-pod{IN_SLICE}.slice"),
        format!("my-kubepods/pod{UID}"),
    ]);
    let roots = found(&fs);
    let pods: Vec<_> = roots.iter().flat_map(|root| &root.pods).collect();
    let uids: Vec<_> = pods.iter().map(|pod| pod.uid.as_str()).collect();
    assert_eq!(uids, ["x"]);
    assert!(pods[0].containers.is_empty(), "{pods:?}");
}

proptest! {
    #[test]
    fn what_kubelet_names_is_read_back(
        above in prop::collection::vec("[a-z]{1,6}", 0..3),
        uid in "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}",
        qos in prop::sample::select(&QosClass::ALL[..]),
        driver in prop::sample::select(&[CgroupDriver::Cgroupfs, CgroupDriver::Systemd][..]),
    ) {
        let mut components = above;
        components.push("kubepods".to_owned());
        match qos {
            QosClass::Guaranteed => {}
            other => components.push(other.as_str().to_lowercase()),
        }
        components.push(format!("pod{uid}"));
        let path = CgroupName::new(&components).unwrap().path(driver);
        let roots = found(&tree(&[path.trim_start_matches('/').to_owned()]));
        prop_assert_eq!(roots.len(), 1);
        prop_assert_eq!(roots[0].driver, driver);
        let pods: Vec<_> = roots[0].pods.iter().map(|pod| (pod.uid.clone(), pod.qos)).collect();
        prop_assert_eq!(pods, [(PodUid::parse(&uid).unwrap(), qos)]);
    }

    #[test]
    fn nothing_in_a_pod_is_another_pod(inside in "(kubepods|pod1|burstable|kubepods\\.slice)(/(kubepods|pod2|burstable)){0,3}") {
        let roots = found(&tree(&[format!("kubepods/podx/{inside}")]));
        let uids: Vec<_> = roots.iter().flat_map(|root| &root.pods).map(|pod| pod.uid.as_str()).collect();
        prop_assert_eq!(uids, ["x"]);
    }
}
