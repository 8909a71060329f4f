//! Manifests that are good, and what is made of them.

use std::time::Duration;

use super::*;
use crate::model::{ContainerKind, Quantity, RestartPolicy};

/// A whole pod, into which the tests write one mistake each.
pub(super) const GOOD: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  containers:
    - name: app
      command: [sh, -c, 'sleep 1']
      resources:
        requests: {cpu: 100m, memory: 64Mi}
        limits: {memory: 128Mi}
";

pub(super) fn read(text: &str) -> Manifests {
    read_manifests("f.yaml", text, "node-1")
}

fn one(text: &str) -> Pod {
    let read = read(text);
    assert!(read.errors.is_empty(), "{}", shown(&read.errors));
    assert_eq!(read.pods.len(), 1);
    read.pods.into_iter().next().unwrap().pod
}

pub(super) fn shown(errors: &[ManifestError]) -> String {
    errors
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

fn quantity(text: &str) -> Quantity {
    Quantity::parse(text).unwrap()
}

#[test]
fn a_pod_is_read_and_defaulted() {
    let pod = one(GOOD);
    assert_eq!((pod.namespace.as_str(), pod.name.as_str()), ("default", "web"));
    assert_eq!(pod.termination_grace, Duration::from_secs(30));
    assert_eq!(pod.restart_policy, RestartPolicy::Always);
    assert!(pod.is_static && pod.resources.is_none());
    let app = &pod.containers[0];
    assert_eq!(app.command, ["sh", "-c", "sleep 1"]);
    assert_eq!(app.kind, ContainerKind::App);
    assert_eq!(app.resources.requests["cpu"], quantity("100m"));
    let limits_only = one(&GOOD.replace("requests: {cpu: 100m, memory: 64Mi}", "requests: {}"));
    assert_eq!(
        limits_only.containers[0].resources.requests["memory"],
        quantity("128Mi")
    );
}

#[test]
fn everything_that_the_agent_acts_on_is_read() {
    let pod = one(r#"
{"apiVersion": "v1", "kind": "Pod",
 "metadata": {"name": "a", "namespace": "b", "uid": "u-1", "labels": {"x": "y"},
   "annotations": {"plimsoll.dev/note": "n", "other": "o"}},
 "spec": {"restartPolicy": "OnFailure", "terminationGracePeriodSeconds": 5, "priority": 7, "unknown": [1],
   "priorityClassName": "high", "overhead": {"cpu": "5m"}, "resources": {"limits": {"cpu": 2}},
   "securityContext": {"runAsUser": 1000, "runAsGroup": 1001},
   "initContainers": [
     {"name": "i", "command": ["true"]},
     {"name": "s", "command": ["true"], "restartPolicy": "Always", "resources": {"requests": {"cpu": 0.5}}}],
   "containers": [
     {"name": "c", "image": "img", "command": ["p"], "args": ["-x"], "workingDir": "/tmp",
      "env": [{"name": "A", "value": "1"}, {"name": "B"}], "securityContext": {"runAsUser": 0},
      "resources": {"limits": {"hugepages-2Mi": "4Mi", "cpu": "1e0"}}}]}}
"#);
    assert_eq!(pod.uid.as_str(), "u-1");
    assert_eq!(pod.annotations.len(), 1);
    assert_eq!(
        (pod.priority, pod.priority_class_name.as_deref()),
        (7, Some("high"))
    );
    assert_eq!(pod.termination_grace, Duration::from_secs(5));
    assert_eq!(pod.overhead["cpu"], quantity("5m"));
    let kinds: Vec<_> = pod.all_containers().map(|c| c.kind).collect();
    assert_eq!(
        kinds,
        [ContainerKind::Init, ContainerKind::Sidecar, ContainerKind::App]
    );
    let app = &pod.containers[0];
    assert_eq!((app.run_as_user, app.run_as_group), (Some(0), Some(1001)));
    assert_eq!(
        (app.args.as_slice(), app.working_dir.as_deref()),
        (&["-x".to_owned()][..], Some("/tmp"))
    );
    assert_eq!(app.env[1].value, "");
    assert_eq!(app.resources.requests["hugepages-2Mi"], quantity("4Mi"));
    // Pod-level requests: the application and the sidecar together, and huge pages as the containers have them.
    let resources = pod.resources.as_ref().unwrap();
    assert_eq!(resources.requests["cpu"], quantity("1500m"));
    assert_eq!(resources.limits["hugepages-2Mi"], quantity("4Mi"));
    assert_eq!(resources.requests["hugepages-2Mi"], quantity("4Mi"));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_fine() {
    one(&format!("\u{feff}{GOOD}"));
    let windows = GOOD.replace('\n', "\r\n");
    assert_eq!(one(&windows).uid, one(GOOD).uid);
    assert_eq!(
        read(&format!("{windows}---\r\n{}", windows.replace("web", "web2")))
            .pods
            .len(),
        2
    );
}

#[test]
fn anchors_in_earnest_work() {
    let text = GOOD.replace("limits: {memory: 128Mi}", "limits: &l {memory: 128Mi}").replace(
        "spec:",
        "spec:\n  initContainers:\n    - name: first\n      command: &c [sh]\n    - name: second\n      command: *c\n      resources: {requests: {<<: {cpu: 1}}}",
    );
    let pod = one(&text);
    assert_eq!(pod.init_containers[1].command, ["sh"]);
    assert_eq!(pod.init_containers[1].resources.requests["cpu"], quantity("1"));
}

#[test]
fn a_toleration_of_the_memory_taint_is_found() {
    let with = |tolerations: &str| GOOD.replace("spec:", &format!("spec:\n  tolerations: {tolerations}"));
    let tolerates = |tolerations: &str| one(&with(tolerations)).tolerates_memory_pressure;
    assert!(!one(GOOD).tolerates_memory_pressure);
    for yes in [
        "[{operator: Exists}]",
        "[{key: other, operator: Exists}, {key: node.kubernetes.io/memory-pressure}]",
        "[{key: node.kubernetes.io/memory-pressure, operator: Exists, effect: NoSchedule}]",
        "[{key: node.kubernetes.io/memory-pressure, operator: Equal, value: ''}]",
    ] {
        assert!(tolerates(yes), "{yes}");
    }
    for no in [
        "[]",
        "[{}]",
        "[{key: node.kubernetes.io/memory-pressure, operator: Exists, effect: NoExecute}]",
        "[{key: node.kubernetes.io/disk-pressure, operator: Exists}]",
        "[{key: node.kubernetes.io/memory-pressure, value: much}]",
        "[{operator: Exists, effect: NoExecute}]",
        "[{key: node.kubernetes.io/memory-pressure, operator: Gt, value: '3'}]",
    ] {
        assert!(!tolerates(no), "{no}");
    }
    let wrong = shown(&read(&with("[{operator: exists}, nonsense]")).errors);
    assert!(
        wrong.contains("\"exists\" is no operator") && wrong.contains("tolerations[1]"),
        "{wrong}"
    );
}

#[test]
fn lists_of_pods_are_pods() {
    let item = GOOD.replace('\n', "\n    ");
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n  - {item}\n  - {}",
        item.replace("web", "db")
    );
    assert_eq!(read(&list).pods.len(), 2, "{}", shown(&read(&list).errors));
    let wrong = list.replacen("kind: Pod", "kind: Service", 1);
    assert_eq!(read(&wrong).pods.len(), 1);
    assert!(shown(&read(&wrong).errors).contains("items[0]"));
    assert!(read("apiVersion: v1\nkind: PodList\nitems: []").errors.is_empty());
}

#[test]
fn a_uid_follows_content_and_node_but_not_layout() {
    let uid = one(GOOD).uid;
    assert_eq!(uid.as_str().len(), 32);
    assert_eq!(one(&format!("# comment\n{GOOD}")).uid, uid);
    let reordered = GOOD.replace("apiVersion: v1\nkind: Pod", "kind: Pod\napiVersion: v1");
    assert_eq!(one(&reordered).uid, uid);
    assert_ne!(one(&GOOD.replace("sleep 1", "sleep 2")).uid, uid);
    assert_ne!(read_manifests("f.yaml", GOOD, "node-2").pods[0].pod.uid, uid);
    assert_eq!(read_manifests("other.yaml", GOOD, "node-1").pods[0].pod.uid, uid);
}

#[test]
fn system_priority_classes_have_their_priority() {
    let class = |name: &str| {
        let home = GOOD.replace("  name: web", "  name: web\n  namespace: kube-system");
        one(&home.replace("spec:", &format!("spec:\n  priorityClassName: {name}"))).priority
    };
    assert_eq!(class("system-node-critical"), 2_000_001_000);
    assert_eq!(class("other"), 0);
}

#[test]
fn the_vectors_pods_can_be_read_as_they_stand() {
    let pods = include_str!("../../../../tests/vectors/pods.jsonl");
    let ranks = include_str!("../../../../tests/vectors/eviction_rank.jsonl");
    let mut seen = 0;
    for line in pods.lines().chain(ranks.lines()) {
        let vector: serde_json::Value = serde_json::from_str(line).unwrap();
        let ranked = vector["pods"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|entry| &entry["pod"]);
        for source in ranked.chain(vector.get("pod")) {
            let pod = pod_as_it_stands(&source.to_string()).unwrap();
            let names = |list: &str| source["spec"][list].as_array().map_or(0, Vec::len);
            assert_eq!(pod.containers.len(), names("containers"));
            assert_eq!(pod.init_containers.len(), names("initContainers"));
            assert_eq!(pod.uid.as_str(), source["metadata"]["uid"].as_str().unwrap());
            assert_eq!(pod.resources.is_some(), source["spec"].get("resources").is_some());
            assert!(!pod.is_static);
            seen += 1;
        }
    }
    assert!(seen > 1000, "only {seen} pods");
    assert!(pod_as_it_stands("{}").is_err());
}

#[test]
fn the_example_pods_are_good() {
    for (name, text) in [
        (
            "guaranteed",
            include_str!("../../../../config/examples/guaranteed.yaml"),
        ),
        (
            "burstable",
            include_str!("../../../../config/examples/burstable.yaml"),
        ),
        (
            "besteffort",
            include_str!("../../../../config/examples/besteffort.yaml"),
        ),
    ] {
        let pod = one(text);
        assert_eq!(pod.name.as_str(), name);
        for container in pod.all_containers() {
            assert_eq!(container.command[0], "sh", "only what every machine has");
        }
        let asks = |resource: &str| {
            pod.containers
                .iter()
                .any(|c| c.resources.requests.contains_key(resource))
        };
        let equal = pod
            .containers
            .iter()
            .all(|c| c.resources.requests == c.resources.limits);
        assert_eq!(
            (asks("cpu"), equal),
            (name != "besteffort", name != "burstable"),
            "{name}"
        );
    }
}

#[test]
fn json_of_other_tools_is_read() {
    let pod = one(
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","annotations":{"plimsoll.dev/x":"\ud83d\ude00\/\u0001"}},
	"spec":{"containers":[{"name":"c","command":["\u007f"]}]}}"#,
    );
    assert_eq!(pod.annotations["plimsoll.dev/x"], "😀/\u{1}");
    assert_eq!(pod.containers[0].command, ["\u{7f}"]);
}
