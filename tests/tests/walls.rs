//! The walls between the stages: which module may use which, and who may touch files, clocks and the kernel.
//!
//! Read as text, so that a breach names the file and the line and needs no compiler plug-in.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test target: a failure is the message"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// A module of the agent, and the modules it may name as `crate::…`.
const MODULES: [(&str, &[&str]); 10] = [
    ("model", &["model"]),
    ("kernel", &["kernel", "model"]),
    ("config", &["config", "model"]),
    ("observe", &["observe", "model", "kernel", "config"]),
    ("state", &["state", "model"]),
    ("decide", &["decide", "model", "state", "config"]),
    ("act", &["act", "model", "kernel", "decide"]),
    ("metrics", &["metrics", "model", "state"]),
    (
        "cli",
        &[
            "cli", "model", "config", "observe", "runtime", "metrics", "kernel",
        ],
    ),
    (
        "runtime",
        &[
            "runtime", "model", "kernel", "config", "observe", "state", "decide", "act", "metrics",
        ],
    ),
];

/// What only `kernel` may name, with what to do instead.
const KERNEL_ONLY: [(&str, &str); 9] = [
    ("std::fs", "read and write through kernel"),
    ("std::process::", "start processes through kernel::process"),
    ("Instant::now", "take the time from kernel's clock"),
    ("SystemTime::now", "take the time from kernel's clock"),
    ("libc::", "call the kernel from kernel"),
    ("nix::", "call the kernel from kernel"),
    ("rustix::", "call the kernel from kernel"),
    ("aya::", "load programs from kernel"),
    ("unsafe ", "unsafe code stays in kernel and agent-ebpf"),
];

/// What the pure stages may not name on top of that.
const IMPURE: [&str; 4] = ["tokio", "tracing", "async fn", "std::env"];

/// Lines of a file without its tests, at most.
const LONGEST: usize = 500;

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

/// The lines of a file that are neither comments nor in its test module, numbered from 1.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line))
        .take_while(|(_, line)| *line != "mod tests {")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Whether `line` has `name` as a path of its own: `unix::` does not name `nix::`.
fn names(line: &str, name: &str) -> bool {
    line.match_indices(name)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

fn is_test_file(path: &Path) -> bool {
    path.file_stem().is_some_and(|s| s == "tests" || s == "props")
}

#[test]
fn every_module_uses_only_what_it_may() {
    let mut breaches = Vec::new();
    let mut seen = 0;
    for (module, allowed) in MODULES {
        for file in rust_files(&root().join("agent/src").join(module)) {
            if is_test_file(&file) {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            for (n, line) in code(&text) {
                seen += 1;
                for used in line.split("crate::").skip(1) {
                    let used: String = used
                        .chars()
                        .take_while(|c| c.is_alphanumeric() || *c == '_')
                        .collect();
                    if MODULES.iter().any(|(m, _)| *m == used) && !allowed.contains(&used.as_str()) {
                        breaches.push(format!("{}:{n}: {module} may not use {used}", file.display()));
                    }
                }
            }
        }
    }
    assert!(seen > 1000, "only {seen} lines were read");
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn only_the_kernel_module_touches_the_machine() {
    let mut breaches = Vec::new();
    for file in rust_files(&root().join("agent/src")) {
        let inside = file.strip_prefix(root().join("agent/src")).unwrap();
        if inside.starts_with("kernel") || is_test_file(&file) {
            continue;
        }
        let pure = ["model", "state", "decide"].iter().any(|m| inside.starts_with(m));
        let text = fs::read_to_string(&file).unwrap();
        for (n, line) in code(&text) {
            for (name, instead) in KERNEL_ONLY {
                if names(line, name) {
                    breaches.push(format!("{}:{n}: {name}: {instead}", inside.display()));
                }
            }
            for name in IMPURE.iter().filter(|name| pure && line.contains(**name)) {
                breaches.push(format!("{}:{n}: {name} in a pure stage", inside.display()));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn every_file_is_short_and_says_what_it_is_for() {
    let mut breaches = Vec::new();
    for dir in ["agent/src", "agent-ebpf/src", "xtask/src", "tests"] {
        for file in rust_files(&root().join(dir)) {
            let text = fs::read_to_string(&file).unwrap();
            let lines = text.lines().take_while(|line| *line != "mod tests {").count();
            if lines > LONGEST {
                breaches.push(format!("{}: {lines} lines, at most {LONGEST}", file.display()));
            }
            if !text.starts_with("//!") {
                breaches.push(format!("{}: does not start with a module doc", file.display()));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn every_crate_takes_the_workspaces_lints() {
    for member in ["agent", "agent-ebpf", "tests", "xtask"] {
        let manifest = fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{member}/Cargo.toml"
        );
    }
}
