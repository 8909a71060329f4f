//! Manifests that must be refused, and how.

use super::tests::{GOOD, read, shown};
use super::*;

#[test]
fn each_mistake_names_its_field_and_line() {
    // (what to replace, with what, field, line, a word of the problem)
    let cases = [
        ("kind: Pod", "kind: Deployment", "kind", 2, "Deployment"),
        ("kind: Pod", "", "kind", 1, "no kind"),
        (
            "apiVersion: v1",
            "apiVersion: apps/v1",
            "apiVersion",
            1,
            "apps/v1",
        ),
        ("  name: web", "  name: ../..", "metadata.name", 4, "'.'"),
        ("  name: web", "  labels: {}", "metadata.name", 4, "missing"),
        ("  name: web", "  name: \"a\\0b\"", "metadata.name", 4, "\\0"),
        ("  name: web", "  name: 12", "metadata.name", 4, "number"),
        (
            "  name: web",
            "  {name: web, uid: ../x}",
            "metadata.uid",
            4,
            "'.'",
        ),
        (
            "  name: web",
            "  {name: web, namespace: A}",
            "metadata.namespace",
            4,
            "'A'",
        ),
        (
            "    - name: app",
            "    - name: App",
            "spec.containers[0].name",
            7,
            "'A'",
        ),
        (
            "[sh, -c, 'sleep 1']",
            "sh",
            "spec.containers[0].command",
            8,
            "list",
        ),
        (
            "[sh, -c, 'sleep 1']",
            "[sleep, 1]",
            "spec.containers[0].command[1]",
            8,
            "quotes",
        ),
        (
            "[sh, -c, 'sleep 1']",
            "[\"a\\0\"]",
            "spec.containers[0].command[0]",
            8,
            "NUL",
        ),
        (
            "command: [sh, -c, 'sleep 1']",
            "image: x",
            "spec.containers[0].command",
            7,
            "no program",
        ),
        (
            "cpu: 100m",
            "cpu: 1.5x",
            "spec.containers[0].resources.requests.cpu",
            10,
            "1.5x",
        ),
        (
            "cpu: 100m",
            "cpu: -1",
            "spec.containers[0].resources.requests.cpu",
            10,
            "negative",
        ),
        (
            "cpu: 100m",
            "cpu: 12E",
            "spec.containers[0].resources.requests.cpu",
            10,
            "machine",
        ),
        (
            "cpu: 100m",
            "cpu: [1]",
            "spec.containers[0].resources.requests.cpu",
            10,
            "list",
        ),
        (
            "cpu: 100m",
            "'a b': 1",
            "spec.containers[0].resources.requests[\"a b\"]",
            10,
            "no name",
        ),
        (
            "cpu: 100m",
            "hugepages-3: 1",
            "spec.containers[0].resources.requests.hugepages-3",
            10,
            "size",
        ),
        (
            "cpu: 100m",
            "hugepages-2Mi: 2Mi",
            "spec.containers[0].resources.requests.hugepages-2Mi",
            10,
            "limit",
        ),
        (
            "memory: 128Mi",
            "memory: 1Mi",
            "spec.containers[0].resources.limits.memory",
            11,
            "below the request 64Mi",
        ),
        (
            "spec:",
            "spec:\n  restartPolicy: Maybe",
            "spec.restartPolicy",
            6,
            "Maybe",
        ),
        (
            "spec:",
            "spec:\n  terminationGracePeriodSeconds: -1",
            "spec.terminationGracePeriodSeconds",
            6,
            "-1",
        ),
        (
            "spec:",
            "spec:\n  resources: {limits: {memory: 100Mi}}",
            "spec.containers[0].resources.limits.memory",
            12,
            "above",
        ),
        (
            "spec:",
            "spec:\n  resources: {requests: {memory: 1Mi}}",
            "spec.resources.requests.memory",
            6,
            "below",
        ),
        (
            "spec:",
            "spec:\n  resources: {limits: {ephemeral-storage: 1Mi}}",
            "spec.resources.limits.ephemeral-storage",
            6,
            "whole",
        ),
        (
            "spec:",
            "spec:\n  initContainers: [{name: app, command: [x]}]",
            "spec.containers[0].name",
            8,
            "another container",
        ),
        (
            "spec:",
            "spec:\n  securityContext: {runAsNonRoot: true}",
            "spec.containers[0].securityContext",
            8,
            "root",
        ),
        (
            "spec:",
            "spec:\n  securityContext: {runAsUser: -1}",
            "spec.securityContext.runAsUser",
            6,
            "-1",
        ),
        (
            "- name: app",
            "- name: app\n      workingDir: tmp",
            "spec.containers[0].workingDir",
            8,
            "absolute",
        ),
        (
            "- name: app",
            "- name: app\n      restartPolicy: Never",
            "spec.containers[0].restartPolicy",
            8,
            "single",
        ),
        (
            "- name: app",
            "- name: app\n      env: [{name: a=b}]",
            "spec.containers[0].env[0].name",
            8,
            "a=b",
        ),
        (
            "- name: app",
            "- name: app\n      env: [{name: a, valueFrom: {}}]",
            "spec.containers[0].env[0].valueFrom",
            8,
            "API server",
        ),
        (
            "- name: app",
            "- name: app\n      envFrom: [{}]",
            "spec.containers[0].envFrom",
            8,
            "API server",
        ),
        (
            "- name: app",
            "- app\n    - name: app",
            "spec.containers[0]",
            7,
            "mapping",
        ),
        (
            "    - name: app",
            "    -\n    - name: app",
            "spec.containers[0]",
            7,
            "mapping",
        ),
    ];
    for (good, bad, field, line, word) in cases {
        assert!(GOOD.contains(good), "{good}");
        let read = read(&format!("{}---\n{GOOD}", GOOD.replacen(good, bad, 1)));
        assert_eq!(read.pods.len(), 1, "the other document's pod: {bad}");
        let errors = shown(&read.errors);
        assert_eq!(read.errors.len(), 1, "{bad}:\n{errors}");
        let error = &read.errors[0];
        assert_eq!(
            (error.field.as_str(), error.document),
            (field, Some(1)),
            "{errors}"
        );
        assert_eq!(error.at.map(|at| at.line), Some(line), "{errors}");
        assert!(errors.contains(word), "{word} in: {errors}");
        assert!(!errors.contains('\0') && !error.advice.is_empty());
    }
}

#[test]
fn a_pod_without_containers_or_with_a_name_of_300_characters_is_refused() {
    let read_errors = |text: &str| shown(&read(text).errors);
    let none = GOOD.split("    - name").next().unwrap();
    assert!(read_errors(none).contains("spec.containers: has no container"));
    assert!(read_errors("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n").contains("no container"));
    let long = GOOD.replace("name: web", &format!("name: {}", "a".repeat(300)));
    assert!(
        read_errors(&long).contains("has 300 characters"),
        "{}",
        read_errors(&long)
    );
}

#[test]
fn text_that_is_no_manifest_is_refused_where_it_fails() {
    let cases = [
        ("a: [1, 2", 1, "YAML"),
        ("{\"apiVersion\": \"v1\",}}", 1, "YAML"),
        ("apiVersion: v1\napiVersion: v1\n", 2, "duplicate"),
        ("a:\n  b: 1\n c: 2\n", 3, "YAML"),
        ("just text", 1, "not a pod"),
        ("- 1", 1, "not a pod"),
        ("a: *b", 1, "YAML"),
    ];
    for (text, line, word) in cases {
        let read = read(text);
        let errors = shown(&read.errors);
        assert!(read.pods.is_empty() && !read.errors.is_empty(), "{text}");
        assert_eq!(read.errors[0].at.map(|at| at.line), Some(line), "{errors}");
        assert!(errors.contains(word), "{errors}");
    }
    for empty in ["", "\n\n", "# nothing\n", "---\n---\n", "\u{feff}"] {
        assert!(shown(&read(empty).errors).contains("is empty"), "{empty:?}");
    }
}

#[test]
fn bombs_are_refused() {
    // Unbounded, each would take hours, the memory of the machine, or the stack.
    let mut aliases = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let below = format!("*a{}", level - 1);
        aliases += &format!("a{level}: &a{level} [{}]\n", vec![below; 9].join(", "));
    }
    let deep_flow = format!("a: {}", "[".repeat(100_000));
    let deep_block = (0..3000)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect::<String>();
    let wide = format!("a: [{}]", "1,".repeat(400_000));
    let many = "---\nx\n".repeat(150_000);
    for bomb in [aliases, deep_flow, deep_block, wide, many] {
        let read = read(&bomb);
        assert!(read.pods.is_empty() && !read.errors.is_empty());
        assert!(read.errors.len() <= MAX_ERRORS + 1, "{}", read.errors.len());
        for error in &read.errors {
            assert!(error.to_string().len() < 2000);
        }
    }
}

#[test]
fn an_errors_text_is_one_safe_line() {
    let evil = GOOD.replace("cpu: 100m", "\"c\\e[31m\\n\\u202e\": 1");
    let errors = shown(&read(&evil).errors);
    assert!(!errors.contains(['\u{1b}', '\n', '\u{202e}']), "{errors:?}");
    let long = GOOD.replace("cpu: 100m", &format!("cpu: {}", "é".repeat(100_000)));
    assert!(shown(&read(&long).errors).len() < 2000);
}
