//! The kustomizations name exactly the files that are there, and `kubectl` builds them where it is installed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::files::{deploy, names};
use crate::kinds::{ArgumentsPatch, DaemonSet, Kustomization, only};

const FILE: &str = "kustomization.yaml";

pub(crate) fn kubernetes() -> PathBuf {
    deploy().join("kubernetes")
}

fn kustomization(directory: &Path) -> Kustomization {
    only(
        &directory.join(FILE),
        "kustomize.config.k8s.io/v1beta1",
        "Kustomization",
    )
}

/// Whatever a kustomization names in its own directory, itself included.
fn named(kustomization: &Kustomization) -> BTreeSet<String> {
    let generators = kustomization.config_map_generator.iter().flatten();
    let patches = kustomization.patches.iter().flatten();
    std::iter::once(FILE.to_owned())
        .chain(kustomization.resources.iter().cloned())
        .chain(generators.flat_map(|generator| generator.files.clone()))
        .chain(patches.map(|patch| patch.path.clone()))
        .filter(|name| name != "../../base")
        .collect()
}

#[test]
fn each_kustomization_names_the_files_beside_it_and_no_others() {
    assert_eq!(
        names(&kubernetes()),
        ["base", "overlays"].map(str::to_owned).into()
    );
    assert_eq!(
        names(&kubernetes().join("overlays")),
        ["enforce", "observe"].map(str::to_owned).into()
    );
    for directory in ["base", "overlays/observe", "overlays/enforce"] {
        let directory = kubernetes().join(directory);
        assert_eq!(
            named(&kustomization(&directory)),
            names(&directory),
            "{}",
            directory.display()
        );
    }
}

#[test]
fn overlays_are_the_base_and_enforcing_differs_from_observing_by_the_rehearsal_alone() {
    let observe = kustomization(&kubernetes().join("overlays/observe"));
    assert_eq!(observe.resources, ["../../base"]);
    assert_eq!(observe.patches, None);
    let enforce = kustomization(&kubernetes().join("overlays/enforce"));
    assert_eq!(enforce.resources, ["../../base"]);

    let base: DaemonSet = only(&kubernetes().join("base/daemonset.yaml"), "apps/v1", "DaemonSet");
    let patch: ArgumentsPatch = only(
        &kubernetes().join("overlays/enforce/arguments.yaml"),
        "apps/v1",
        "DaemonSet",
    );
    assert_eq!(
        (&patch.metadata.name, &patch.metadata.namespace),
        (&base.metadata.name, &base.metadata.namespace)
    );
    let container = &base.spec.template.spec.containers[0];
    let [patched] = patch.spec.template.spec.containers.as_slice() else {
        panic!("one container: {patch:?}");
    };
    assert_eq!(patched.name, container.name);
    let mut rehearsing = patched.args.clone();
    rehearsing.push("--dry-run".to_owned());
    assert_eq!(container.args, rehearsing);
}

/// The whole of an overlay, as `kubectl` builds it; none where there is no `kubectl`.
fn built(overlay: &str) -> Option<String> {
    let mut build = Command::new("kubectl");
    build
        .arg("kustomize")
        .arg(kubernetes().join("overlays").join(overlay));
    let Ok(output) = build.output() else {
        eprintln!("SKIPPED: no kubectl");
        return None;
    };
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    assert!(!errors.contains("deprecated"), "{errors}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn kubectl_builds_both_overlays() {
    for (overlay, rehearses) in [("observe", true), ("enforce", false)] {
        let Some(text) = built(overlay) else { return };
        let objects: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
        let of = |kind: &str| {
            let mut found = objects.iter().filter(|object| object["kind"] == kind);
            let first = found.next().unwrap_or_else(|| panic!("no {kind} in {text}"));
            assert!(found.next().is_none(), "two of {kind}");
            first
        };
        let pod = &of("DaemonSet")["spec"]["template"]["spec"];
        let arguments = pod["containers"][0]["args"].as_array().unwrap();
        let told = arguments.iter().any(|argument| argument == "--dry-run");
        assert_eq!(told, rehearses, "{overlay}: {arguments:?}");
        // The generated name, with the hash by which pods are replaced when the configuration changes.
        let config = of("ConfigMap")["metadata"]["name"].as_str().unwrap();
        let volumes = pod["volumes"].as_array().unwrap();
        assert!(
            volumes.iter().any(|volume| volume["configMap"]["name"] == config),
            "{config}: {volumes:?}"
        );
        assert!(config.starts_with("plimsoll-"));
    }
}
