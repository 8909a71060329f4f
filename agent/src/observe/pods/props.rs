//! Properties of reading, defaulting, UIDs and sets of pods.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::set::{merge, succeed};
use super::*;
use crate::model::{
    Container, ContainerKind, EnvVar, Namespace, PodName, Quantity, ResourceList, Resources, RestartPolicy,
};

/// Text that is often nearly a manifest.
fn any_text() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        Just("apiVersion: v1\n"),
        Just("kind: Pod\n"),
        Just("kind: List\n"),
        Just("metadata:\n"),
        Just("  name: a\n"),
        Just("  uid: u\n"),
        Just("spec:\n"),
        Just("  containers:\n"),
        Just("  - name: c\n"),
        Just("    command: [x]\n"),
        Just("    resources: {limits: {cpu: 1}}\n"),
        Just("---\n"),
        Just("items:\n"),
        Just("&a "),
        Just("*a"),
        Just("["),
        Just("}"),
        Just("<<: "),
        Just("\t"),
        Just("\0"),
        Just("\u{feff}"),
        Just("? "),
        Just("!!binary "),
        Just("|\n"),
    ];
    let tokens = prop::collection::vec(prop_oneof![token.prop_map(str::to_owned), "\\PC{0,4}"], 0..30);
    prop_oneof![tokens.prop_map(|tokens| tokens.concat()), "(?s).{0,60}"]
}

fn amounts() -> impl Strategy<Value = ResourceList> {
    let name = prop_oneof![
        Just("cpu"),
        Just("memory"),
        Just("hugepages-2Mi"),
        Just("example.org/gpu")
    ];
    let amount = "[1-9][0-9]{0,5}(m|Ki|Mi|e3|)";
    prop::collection::btree_map(name, amount, 0..4).prop_map(|list| {
        let parse = |text: String| Quantity::parse(&text).unwrap();
        list.into_iter()
            .map(|(name, text)| (name.to_owned(), parse(text)))
            .collect()
    })
}

fn resources() -> impl Strategy<Value = Resources> {
    (amounts(), amounts()).prop_map(|(requests, limits)| Resources { requests, limits })
}

prop_compose! {
    fn container(kind: ContainerKind)(
        name in "[a-z][a-z0-9]{0,8}",
        image in prop::option::of("[a-z/:]{1,9}"),
        command in prop::collection::vec("\\PC{0,9}", 0..3),
        args in prop::collection::vec("(?s).{0,9}", 0..3),
        env in prop::collection::vec(("[A-Z]{1,5}", "\\PC{0,9}"), 0..3),
        working_dir in prop::option::of("/[a-z]{0,5}"),
        ids in (prop::option::of(0..=0x7fff_ffff_u32), prop::option::of(0..=0x7fff_ffff_u32)),
        resources in resources(),
        sidecar in any::<bool>(),
    ) -> Container {
        Container {
            name: name.parse_as(),
            kind: if kind == ContainerKind::Init && sidecar { ContainerKind::Sidecar } else { kind },
            image,
            command,
            args,
            env: env.into_iter().map(|(name, value)| EnvVar { name, value }).collect(),
            working_dir,
            run_as_user: ids.0,
            run_as_group: ids.1,
            resources,
        }
    }
}

/// Identifiers of generated text, which is valid.
trait ParseAs {
    fn parse_as<T: TryFrom<String, Error = IdError>>(self) -> T;
}

impl ParseAs for String {
    fn parse_as<T: TryFrom<String, Error = IdError>>(self) -> T {
        T::try_from(self).unwrap()
    }
}

prop_compose! {
    fn any_pod()(
        uid in "[a-z0-9]{1,2}",
        name in "[a-c]{1,2}",
        namespace in "[ab]",
        annotations in prop::collection::btree_map("plimsoll\\.dev/[a-z]{1,4}", "\\PC{0,9}", 0..2),
        priority in any::<i32>(),
        class in prop::option::of(prop_oneof![Just("system-node-critical".to_owned()), "[a-z]{1,5}"]),
        init_containers in prop::collection::vec(container(ContainerKind::Init), 0..3),
        containers in prop::collection::vec(container(ContainerKind::App), 0..3),
        resources in prop::option::of(resources()),
        overhead in amounts(),
        restart in prop_oneof![Just(RestartPolicy::Always), Just(RestartPolicy::OnFailure), Just(RestartPolicy::Never)],
        grace in 0..=0x7fff_ffff_u64,
        tolerates in any::<bool>(),
    ) -> Pod {
        Pod {
            uid: uid.parse_as(),
            namespace: namespace.parse_as(),
            name: name.parse_as(),
            annotations,
            priority,
            priority_class_name: class,
            is_static: false,
            init_containers,
            containers,
            resources,
            overhead,
            restart_policy: restart,
            termination_grace: std::time::Duration::from_secs(grace),
            tolerates_memory_pressure: tolerates,
        }
    }
}

/// The manifest of a pod.
fn written(pod: &Pod) -> Json {
    let containers = |list: &[Container]| {
        list.iter()
            .map(|c| {
                json!({
                    "name": c.name, "image": c.image, "command": c.command, "args": c.args, "env": c.env,
                    "workingDir": c.working_dir, "resources": c.resources,
                    "restartPolicy": (c.kind == ContainerKind::Sidecar).then_some("Always"),
                    "securityContext": {"runAsUser": c.run_as_user, "runAsGroup": c.run_as_group},
                })
            })
            .collect::<Vec<_>>()
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"uid": pod.uid, "name": pod.name, "namespace": pod.namespace, "annotations": pod.annotations},
        "spec": {
            "priority": pod.priority, "priorityClassName": pod.priority_class_name, "overhead": pod.overhead,
            "initContainers": containers(&pod.init_containers), "containers": containers(&pod.containers),
            "resources": pod.resources, "restartPolicy": format!("{:?}", pod.restart_policy),
            "terminationGracePeriodSeconds": pod.termination_grace.as_secs(),
            "tolerations": pod.tolerates_memory_pressure.then(|| json!([{"operator": "Exists"}])),
        },
    })
}

/// JSON with everything escaped that is not plain ASCII.
fn ascii(json: &Json) -> String {
    let mut units = [0; 2];
    let escape = |c: char| match c {
        ' '..='~' => c.to_string(),
        _ => c
            .encode_utf16(&mut units)
            .iter()
            .map(|unit| format!("\\u{unit:04x}"))
            .collect(),
    };
    json.to_string().chars().map(escape).collect()
}

fn name(pod: &Pod) -> (&Namespace, &PodName) {
    (&pod.namespace, &pod.name)
}

fn found() -> impl Strategy<Value = ManifestPod> {
    any_pod().prop_map(|pod| ManifestPod {
        pod,
        document: 1,
        at: Position::default(),
    })
}

fn files() -> impl Strategy<Value = BTreeMap<String, Manifests>> {
    let error = || vec![ManifestError::of_file("f", "p", "a")];
    let manifests =
        (prop::collection::vec(found(), 0..4), any::<bool>()).prop_map(move |(pods, broken)| Manifests {
            pods,
            errors: if broken { error() } else { Vec::new() },
        });
    prop::collection::btree_map("[a-c]", manifests, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_text_gives_pods_or_errors_that_can_be_logged(text in any_text()) {
        let read = read_manifests("f", &text, "n");
        for error in &read.errors {
            let line = error.to_string();
            prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            prop_assert!(error.document.is_none() || error.at.is_some() || error.field.is_empty(), "{line}");
        }
        for found in &read.pods {
            prop_assert!(!found.pod.containers.is_empty());
        }
        if let Ok(pod) = pod_as_it_stands(&text) {
            prop_assert!(!pod.uid.as_str().is_empty());
        }
    }

    #[test]
    fn a_pod_that_is_written_reads_as_itself(pod in any_pod()) {
        let json = ascii(&written(&pod));
        prop_assert_eq!(pod_as_it_stands(&json), Ok(pod.clone()), "{}", json);
        let yaml = serde_saphyr::to_string(&written(&pod)).unwrap();
        prop_assert_eq!(pod_as_it_stands(&yaml), Ok(pod), "{}", yaml);
    }

    #[test]
    fn defaulting_twice_is_defaulting_once_and_keeps_what_was_given(pod in any_pod()) {
        let mut once = pod.clone();
        defaults::apply(&mut once);
        let mut twice = once.clone();
        defaults::apply(&mut twice);
        prop_assert_eq!(&once, &twice);
        for (before, after) in pod.all_containers().zip(once.all_containers()) {
            for (name, quantity) in &before.resources.requests {
                prop_assert_eq!(after.resources.requests.get(name), Some(quantity));
            }
            prop_assert_eq!(&before.resources.limits, &after.resources.limits);
            prop_assert!(before.resources.limits.keys().all(|name| after.resources.requests.contains_key(name)));
        }
        prop_assert!(pod.priority == 0 || once.priority == pod.priority);
    }

    #[test]
    fn a_derived_uid_is_stable_and_tells_contents_and_nodes_apart(a in any_pod(), b in any_pod(), nodes in ("[a-z]{1,4}", "[a-z]{1,4}")) {
        let uid = |pod: &Pod, node: &str| {
            let mut json = written(pod);
            json["metadata"]["uid"] = Json::Null;
            let tree = node::Node::read(&ascii(&json)).unwrap();
            uid::derive(&tree, node).unwrap()
        };
        prop_assert_eq!(uid(&a, &nodes.0), uid(&a, &nodes.0));
        let same = Pod { uid: b.uid.clone(), ..a.clone() } == b;
        prop_assert_eq!(uid(&a, "n") == uid(&b, "n"), same);
        prop_assert_eq!(uid(&a, &nodes.0) == uid(&a, &nodes.1), nodes.0 == nodes.1);
    }

    #[test]
    fn a_set_has_no_pod_twice_and_keeps_those_that_are_there(before in files(), after in files()) {
        let first = merge(&PodSet::default(), &before);
        let second = merge(&first, &after);
        for set in [&first, &second] {
            let names: std::collections::BTreeSet<_> =
                set.pods.values().map(|s| name(&s.pod)).collect();
            prop_assert_eq!(names.len(), set.pods.len());
            prop_assert!(set.pods.iter().all(|(uid, sourced)| *uid == sourced.pod.uid));
        }
        for (uid, old) in &first.pods {
            let name = name(&old.pod);
            let same_uid: Vec<_> = after
                .get(&old.file)
                .into_iter()
                .flat_map(|file| file.pods.iter().map(|found| &found.pod))
                .filter(|pod| pod.uid == *uid)
                .collect();
            let still = same_uid.len() == 1 && self::name(same_uid[0]) == name;
            // Another pod that was there may have changed its name to this one.
            let renamed = after.iter().any(|(file, manifests)| {
                manifests.pods.iter().any(|ManifestPod { pod, .. }| {
                    let was_there = first.pods.get(&pod.uid).is_some_and(|known| known.file == *file);
                    pod.uid != *uid && self::name(pod) == name && was_there
                })
            });
            if still && !renamed {
                let new = second.pods.get(uid);
                prop_assert!(new.is_some_and(|new| new.file == old.file), "{uid} is gone");
            }
        }
        // The changes lead from the one to the other.
        let mut replayed = first.clone();
        for change in diff(&first, &second) {
            match change {
                PodChange::Removed(uid) => prop_assert!(replayed.pods.remove(&uid).is_some()),
                PodChange::Added(s) => prop_assert!(replayed.pods.insert(s.pod.uid.clone(), s).is_none()),
                PodChange::Updated(s) => prop_assert!(replayed.pods.insert(s.pod.uid.clone(), s).is_some()),
            }
        }
        let content = |set: &PodSet| set.pods.values().map(|s| s.pod.clone()).collect::<Vec<_>>();
        prop_assert_eq!(content(&replayed), content(&second));
    }

    #[test]
    fn a_broken_file_takes_no_pod_away(
        before in prop::collection::vec(found(), 0..4),
        read in prop::collection::vec(found(), 0..3),
    ) {
        let errors = vec![ManifestError::of_file("f", "p", "a")];
        let after = succeed(&before, Manifests { pods: read.clone(), errors });
        for ManifestPod { pod, .. } in &before {
            let stays = |other: &Pod| other.uid == pod.uid || name(other) == name(pod);
            prop_assert!(after.pods.iter().any(|found| stays(&found.pod)));
        }
        prop_assert!(read.iter().all(|found| after.pods.contains(found)));
        let whole = Manifests { pods: read, errors: Vec::new() };
        prop_assert_eq!(succeed(&before, whole.clone()), whole);
    }
}
