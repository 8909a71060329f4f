//! The manifests of the base, each as its kind and all against the agent.

use std::collections::BTreeMap;
use std::path::Path;

use crate::files::{configuration, is_accepted, read, repository, values_of};
use crate::kinds::{
    ClusterRole, ClusterRoleBinding, DaemonSet, Namespace, PodSpec, ServiceAccount, Volume, as_kind,
    documents, only,
};
use crate::kustomize::kubernetes;

pub(crate) fn daemon_set() -> DaemonSet {
    only(&kubernetes().join("base/daemonset.yaml"), "apps/v1", "DaemonSet")
}

/// What the agent asks of the API server: group, resource, verbs, and why each is needed.
const ASKED: [(&str, &str, &[&str], &str); 5] = [
    (
        "",
        "pods",
        &["get", "list", "watch"],
        "class, requests and priority of this node's pods; get reads one again before it is evicted",
    ),
    (
        "",
        "pods/eviction",
        &["create"],
        "evicting a pod with respect to disruption budgets",
    ),
    (
        "events.k8s.io",
        "events",
        &["create", "patch"],
        "telling why, at the pod; a repeat is counted in the event that is there",
    ),
    (
        "",
        "nodes",
        &["get", "patch"],
        "the taint node.plimsoll.dev/pressure; get tells which taints there are",
    ),
    ("", "nodes/status", &["patch"], "the node's condition"),
];

#[test]
fn the_api_server_is_asked_for_what_is_needed_and_no_more() {
    let documents = documents(&kubernetes().join("base/rbac.yaml"));
    let [role, binding] = documents.as_slice() else {
        panic!("a role and its binding");
    };
    let group = "rbac.authorization.k8s.io";
    let role: ClusterRole = as_kind(role, &format!("{group}/v1"), "ClusterRole");
    let mut granted = BTreeMap::new();
    for rule in &role.rules {
        for (api_group, resource) in rule
            .api_groups
            .iter()
            .flat_map(|group| rule.resources.iter().map(move |resource| (group, resource)))
        {
            let known = granted.insert((api_group.as_str(), resource.as_str()), rule.verbs.clone());
            assert_eq!(known, None, "{resource} is granted twice");
        }
    }
    let asked = ASKED
        .iter()
        .map(|(group, resource, verbs, _)| {
            (
                (*group, *resource),
                verbs.iter().map(|&verb| verb.to_owned()).collect(),
            )
        })
        .collect::<BTreeMap<_, Vec<String>>>();
    assert_eq!(granted, asked);

    let binding: ClusterRoleBinding = as_kind(binding, &format!("{group}/v1"), "ClusterRoleBinding");
    assert_eq!(
        (
            binding.role_ref.api_group.as_str(),
            binding.role_ref.kind.as_str(),
            &binding.role_ref.name
        ),
        (group, "ClusterRole", &role.metadata.name)
    );
    let account: ServiceAccount = only(
        &kubernetes().join("base/serviceaccount.yaml"),
        "v1",
        "ServiceAccount",
    );
    let [subject] = binding.subjects.as_slice() else {
        panic!("one subject: {binding:?}");
    };
    assert_eq!(subject.kind, "ServiceAccount");
    assert_eq!(subject.name, account.metadata.name);
    assert_eq!(Some(&subject.namespace), account.metadata.namespace.as_ref());
    assert_eq!(
        daemon_set().spec.template.spec.service_account_name,
        account.metadata.name
    );
}

#[test]
fn all_is_in_the_namespace_that_is_made_for_it() {
    let namespace: Namespace = only(&kubernetes().join("base/namespace.yaml"), "v1", "Namespace");
    let labels = namespace.metadata.labels.unwrap();
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "privileged");
    assert_eq!(
        daemon_set().metadata.namespace,
        Some(namespace.metadata.name.clone())
    );
    let text = read(&kubernetes().join("base/kustomization.yaml"));
    assert!(text.contains(&format!("\nnamespace: {}\n", namespace.metadata.name)));
}

#[test]
fn the_pod_is_confined() {
    // What is not named in the kinds, hostNetwork, hostIPC, hostUsers and procMount among them, cannot be in the manifest.
    let set = daemon_set();
    let pod = &set.spec.template.spec;
    assert!(pod.host_pid);
    assert_eq!(pod.priority_class_name, "system-node-critical");
    assert_eq!(set.spec.selector.match_labels, set.spec.template.metadata.labels);
    assert_eq!(set.spec.update_strategy.rolling_update.max_surge, 0);
    let [container] = pod.containers.as_slice() else {
        panic!("one container: {pod:?}");
    };
    let security = &container.security_context;
    assert!(!security.privileged && !security.allow_privilege_escalation);
    assert!(security.read_only_root_filesystem);
    assert_eq!(security.seccomp_profile.r#type, "RuntimeDefault");
    assert_eq!(security.capabilities.drop, ["ALL"]);
    assert!(container.resources.requests.contains_key("memory"));
    assert!(container.resources.limits.contains_key("memory"));
    assert!(
        !container.resources.limits.contains_key("cpu"),
        "a throttled agent is late"
    );
}

#[test]
fn what_a_reader_will_stop_at_has_its_reason_before_it() {
    let text = read(&kubernetes().join("base/daemonset.yaml"));
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    for field in ["hostPID: true", "runAsUser: 0", "appArmorProfile:"] {
        let at = lines.iter().position(|line| *line == field).unwrap();
        assert!(lines[at - 1].starts_with('#'), "no reason before {field}");
    }
}

#[test]
fn the_image_is_the_one_that_xtask_makes() {
    let image = daemon_set().spec.template.spec.containers[0].image.clone();
    let tag = env!("CARGO_PKG_VERSION");
    assert_eq!(image, format!("localhost/plimsoll:{tag}"));
    let xtask = read(&repository().join("xtask/src/image/mod.rs"));
    let named = "default_value = concat!(\"localhost/plimsoll:\", env!(\"CARGO_PKG_VERSION\"))";
    assert!(xtask.contains(named), "xtask names the image otherwise");
    let readme = read(&repository().join("README.md"));
    assert!(readme.contains(&image), "the README names the image otherwise");
}

#[test]
fn arguments_are_those_of_the_agent() {
    let container = &daemon_set().spec.template.spec.containers[0];
    let arguments: Vec<_> = container.args.iter().map(String::as_str).collect();
    assert!(is_accepted(arguments.iter().copied()), "{arguments:?}");
    assert_eq!(arguments[0], "run");
    let [config] = values_of(&arguments, "--config")[..] else {
        panic!("one configuration: {arguments:?}");
    };
    let mount = container
        .volume_mounts
        .iter()
        .find(|mount| Path::new(config).parent() == Some(Path::new(&mount.mount_path)));
    let volume = volume(&daemon_set().spec.template.spec, &mount.unwrap().name);
    assert_eq!(volume.config_map.unwrap().name, "plimsoll");
    assert_eq!(Path::new(config).file_name().unwrap(), "plimsoll.yaml");
}

#[test]
fn the_agent_is_told_the_nodes_name() {
    let container = &daemon_set().spec.template.spec.containers[0];
    let [variable] = &container.env[..] else {
        panic!("one variable: {:?}", container.env);
    };
    assert_eq!(variable.value_from.field_ref.field_path, "spec.nodeName");
    assert_eq!(variable.name, plimsoll::cli::NODE_NAME_VARIABLE);
}

fn volume(pod: &PodSpec, name: &str) -> Volume {
    let found = pod.volumes.iter().find(|volume| volume.name == name);
    found.unwrap_or_else(|| panic!("no volume {name}")).clone()
}

#[test]
fn every_place_that_the_agent_writes_to_is_a_directory_of_the_node() {
    let config = configuration(&kubernetes().join("base/plimsoll.yaml"));
    let pod = daemon_set().spec.template.spec;
    let socket: &Path = &config.admin_socket;
    for place in [
        &config.state_dir,
        &config.journal_dir,
        &config.log_dir,
        socket,
        Path::new("/sys/fs/cgroup"),
    ] {
        let mount = pod.containers[0]
            .volume_mounts
            .iter()
            .find(|mount| place.starts_with(&mount.mount_path))
            .unwrap_or_else(|| panic!("the root is read-only, and {place:?} is in no volume"));
        assert_ne!(mount.read_only, Some(true), "{place:?}");
        // The same path on both sides, so that a path in the log is one of the node.
        let host = volume(&pod, &mount.name).host_path.unwrap();
        assert_eq!(host.path, mount.mount_path);
    }
}

#[test]
fn no_pod_is_read_from_files_and_the_agent_stays_in_its_own() {
    let config = configuration(&kubernetes().join("base/plimsoll.yaml"));
    assert!(!config.agent.own_cgroup, "kubelet counts and limits the agent");
    let pod = daemon_set().spec.template.spec;
    let mounts = &pod.containers[0].volume_mounts;
    let manifests = mounts
        .iter()
        .find(|mount| *config.static_pod_path == *Path::new(&mount.mount_path))
        .unwrap();
    assert_eq!(manifests.read_only, Some(true));
    assert!(volume(&pod, &manifests.name).empty_dir.is_some());
}
