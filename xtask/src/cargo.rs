//! Asking cargo: which targets the workspace has, and where it left the programs it built.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{exec, paths};

/// A target of a workspace package, as `cargo metadata` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) package: String,
    pub(crate) name: String,
    /// `lib`, `bin`, `test`, …
    pub(crate) kind: String,
    /// Whether its tests run by default.
    pub(crate) test: bool,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    targets: Vec<MetadataTarget>,
}

#[derive(Deserialize)]
struct MetadataTarget {
    name: String,
    kind: Vec<String>,
    #[serde(default)]
    test: bool,
}

/// A line of `--message-format=json`; only what names a finished program is read.
#[derive(Deserialize)]
struct Message {
    target: Option<MetadataTarget>,
    executable: Option<PathBuf>,
}

/// cargo itself, in the workspace's root.
pub(crate) fn command() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(paths::root());
    cargo
}

/// Every target of the workspace's packages.
pub(crate) fn targets() -> Result<Vec<Target>> {
    let json = exec::output(command().args(["metadata", "--no-deps", "--format-version=1"]))?;
    parse_targets(&json)
}

fn parse_targets(json: &str) -> Result<Vec<Target>> {
    let metadata: Metadata = serde_json::from_str(json).context("cannot read cargo's metadata")?;
    let of_package = |package: MetadataPackage| {
        let name = package.name;
        package.targets.into_iter().filter_map(move |target| {
            let kind = target.kind.into_iter().next()?;
            Some(Target {
                package: name.clone(),
                name: target.name,
                kind,
                test: target.test,
            })
        })
    };
    Ok(metadata.packages.into_iter().flat_map(of_package).collect())
}

/// Whether the workspace has such a target.
pub(crate) fn has(package: &str, kind: &str, name: &str) -> Result<bool> {
    Ok(targets()?
        .iter()
        .any(|t| t.package == package && t.kind == kind && t.name == name))
}

/// Builds with `arguments` (such as `build --bin plimsoll`) and these variables of the environment, and returns
/// each program's name and path.
fn build(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Vec<(String, PathBuf)>> {
    let mut cargo = command();
    cargo
        .args(arguments)
        .envs(variables.iter().copied())
        .arg("--message-format=json-render-diagnostics");
    cargo.stderr(Stdio::inherit());
    let output = cargo
        .output()
        .with_context(|| format!("cannot run {}", exec::show(&cargo)))?;
    ensure!(
        output.status.success(),
        "{} failed: {}",
        exec::show(&cargo),
        output.status
    );
    Ok(parse_programs(&String::from_utf8_lossy(&output.stdout)))
}

fn parse_programs(json_lines: &str) -> Vec<(String, PathBuf)> {
    let program = |line| {
        let message: Message = serde_json::from_str(line).ok()?;
        Some((message.target?.name, message.executable?))
    };
    json_lines.lines().filter_map(program).collect()
}

/// Builds one program and returns its path.
pub(crate) fn build_one(arguments: &[&str], name: &str) -> Result<PathBuf> {
    build_one_with(arguments, &[], name)
}

/// The same with variables of the environment set.
pub(crate) fn build_one_with(arguments: &[&str], variables: &[(&str, &str)], name: &str) -> Result<PathBuf> {
    let programs = build(arguments, variables)?;
    let found = programs.into_iter().find(|(program, _)| program == name);
    found
        .map(|(_, path)| path)
        .with_context(|| format!("cargo built no program named {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_from_metadata() {
        let json = r#"{"packages":[{"name":"p","targets":[{"name":"p","kind":["lib"],"test":true},
            {"name":"kernel","kind":["test"],"test":false}]},{"name":"q","targets":[]}]}"#;
        let target = |name: &str, kind: &str, test| Target {
            package: "p".into(),
            name: name.into(),
            kind: kind.into(),
            test,
        };
        assert_eq!(
            parse_targets(json).unwrap(),
            [target("p", "lib", true), target("kernel", "test", false)]
        );
    }

    #[test]
    fn only_finished_programs_are_reported() {
        let lines = r#"{"reason":"compiler-artifact","target":{"name":"a","kind":["lib"]},"executable":null}
{"reason":"compiler-artifact","target":{"name":"b","kind":["test"]},"executable":"/t/b-1"}
not json
{"reason":"build-finished","success":true}"#;
        assert_eq!(parse_programs(lines), [("b".to_owned(), PathBuf::from("/t/b-1"))]);
    }
}
