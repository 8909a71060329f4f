//! The demo's pods: one of each class with real work in it, and one that outgrows its limit.

use std::path::Path;
use std::{fs, io};

/// File name and manifest of each pod that runs on.
const MANIFESTS: [(&str, &str); 3] = [
    (
        "burner.yaml",
        r#"
apiVersion: v1
kind: Pod
metadata: { name: burner, namespace: demo }
spec:
  containers:
    - name: spin
      command: ["sh", "-c", "while :; do :; done"]
      resources:
        requests: { cpu: 300m, memory: 32Mi }
        limits: { cpu: 300m, memory: 32Mi }
"#,
    ),
    (
        "cache.yaml",
        r#"
apiVersion: v1
kind: Pod
metadata: { name: cache, namespace: demo }
spec:
  containers:
    - name: holder
      command: ["sh", "-c", "(head -c 40000000 /dev/zero; sleep 100000) | tail -c 40000000 >/dev/null"]
      resources:
        requests: { cpu: 100m, memory: 64Mi }
        limits: { memory: 128Mi }
"#,
    ),
    (
        "idler.yaml",
        r#"
apiVersion: v1
kind: Pod
metadata: { name: idler, namespace: demo }
spec:
  containers:
    - name: sleeper
      command: ["sh", "-c", "while :; do sleep 1; done"]
"#,
    ),
];

/// The pod that outgrows its limit.
const LEAK: (&str, &str) = (
    "leak.yaml",
    r#"
apiVersion: v1
kind: Pod
metadata: { name: leak, namespace: demo }
spec:
  restartPolicy: Never
  containers:
    - name: grower
      command: ["tail", "/dev/zero"]
      resources:
        requests: { memory: 16Mi }
        limits: { memory: 24Mi }
"#,
);

/// The pods that run on to the end, by name, with the class each must get.
pub(super) const LASTING: [(&str, &str); 3] = [
    ("burner", "Guaranteed"),
    ("cache", "Burstable"),
    ("idler", "BestEffort"),
];

/// Writes the manifests of the pods that run on into `directory`.
///
/// # Errors
/// A file cannot be written.
pub(super) fn write_lasting(directory: &Path) -> io::Result<()> {
    MANIFESTS
        .iter()
        .try_for_each(|(name, text)| fs::write(directory.join(name), text))
}

/// Writes the manifest of the pod that outgrows its limit.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write_leak(directory: &Path) -> io::Result<()> {
    let (name, text) = LEAK;
    fs::write(directory.join(name), text)
}
