//! From a container's manifest to the program that is started for it.
//!
//! **Expansion**, as Kubernetes does it (its `expansion` package and the `EnvVar` API doc): `$(NAME)` stands for
//! a variable, `$$` for a `$`, so `$$(NAME)` stays `$(NAME)`; a reference to a variable that is not there, or
//! without its `)`, stays as written. A variable's value may refer to those before it, command and arguments to
//! all of them. What a value brings in is not expanded again.
//!
//! **Environment**: the manifest's, the last value of a name that occurs twice, and for what it does not set
//! what containerd would: `PATH` and `HOSTNAME` (the pod's name, as a host name: at most 63 characters). These
//! two cannot be referred to by `$(…)`, as with kubelet, which adds none of them itself. Nothing comes from the
//! agent's own environment. `HOME` is not set: while containers are host processes there is no image to say it.
//!
//! # Properties
//! - A text without `$` is itself; doubling every `$` gives a text that expands to the original.
//! - Expansion ends, and a value's own references are never expanded.
//! - A log path is the log directory and two further components, neither longer than a file's name may be.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::model::{Bytes, Container, ContainerName, EnvVar, LaunchSpec, OomScoreAdj, Pod};

#[cfg(test)]
mod tests;

/// containerd's default for an image that sets none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The longest host name (HOST_NAME_MAX is 64; kubelet cuts at 63).
const HOST_NAME: usize = 63;
/// The longest name of a file.
const FILE_NAME: usize = 255;
/// The largest user or group id that the Kubernetes API admits.
const LARGEST_ID: u32 = i32::MAX.unsigned_abs();

/// What a launch needs beside the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaunchPlace<'a> {
    /// From the pod's class.
    pub oom_score_adj: OomScoreAdj,
    /// The directory of all logs.
    pub log_dir: &'a Path,
    /// How large a container's log may grow.
    pub log_cap: Bytes,
}

/// Why a container cannot be started from its manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Neither the manifest nor an image says what to run.
    #[error(
        "container {0} has no command: containers are host processes here and its image is not used, \
         so add the program to `command`, such as command: [\"sleep\", \"infinity\"]"
    )]
    NoCommand(ContainerName),
    /// The program's name is empty once expanded.
    #[error("container {0}: command[0] is empty")]
    EmptyProgram(ContainerName),
    /// A variable's name that no environment can hold.
    #[error("container {0}: env name {1:?} is empty, or has '=' or a NUL character")]
    EnvName(ContainerName, String),
    /// A NUL character, which ends a string for the kernel.
    #[error("container {0}: {1} has a NUL character")]
    Nul(ContainerName, &'static str),
    /// Not an absolute path.
    #[error("container {0}: workingDir {1:?} is not an absolute path")]
    WorkingDir(ContainerName, String),
    /// Outside 0 to 2147483647.
    #[error("container {0}: {1} {2} is over 2147483647")]
    Id(ContainerName, &'static str, u32),
}

/// What to start for `container`.
///
/// # Errors
/// The manifest says too little, or something that no process can be started with.
pub fn launch_spec(
    pod: &Pod,
    container: &Container,
    place: LaunchPlace<'_>,
) -> Result<LaunchSpec, CommandError> {
    let name = || container.name.clone();
    if container.command.is_empty() {
        return Err(CommandError::NoCommand(name()));
    }
    let (env, known) = environment(pod, container)?;
    let words = container.command.iter().chain(&container.args);
    let argv: Vec<_> = words.map(|word| expand(word, &known)).collect();
    if argv.first().is_some_and(String::is_empty) {
        return Err(CommandError::EmptyProgram(name()));
    }
    if argv.iter().any(|word| word.contains('\0')) {
        return Err(CommandError::Nul(name(), "command or args"));
    }
    for (field, id) in [
        ("runAsUser", container.run_as_user),
        ("runAsGroup", container.run_as_group),
    ] {
        if let Some(id) = id.filter(|id| *id > LARGEST_ID) {
            return Err(CommandError::Id(name(), field, id));
        }
    }
    match &container.working_dir {
        Some(dir) if !dir.starts_with('/') => return Err(CommandError::WorkingDir(name(), dir.clone())),
        Some(dir) if dir.contains('\0') => return Err(CommandError::Nul(name(), "workingDir")),
        _ => {}
    }
    Ok(LaunchSpec {
        argv,
        env,
        working_dir: container.working_dir.as_ref().map(PathBuf::from),
        user: container.run_as_user,
        group: container.run_as_group,
        oom_score_adj: place.oom_score_adj,
        log_path: pod_log_dir(place.log_dir, pod).join(format!("{}.log", container.name)),
        log_cap: place.log_cap,
    })
}

/// The directory of a pod's logs: `<namespace>_<name>_<uid>` as kubelet names it, the name cut short where that
/// would be too long for a file (kubelet fails there). The UID keeps it unique.
#[must_use]
pub fn pod_log_dir(log_dir: &Path, pod: &Pod) -> PathBuf {
    let (namespace, uid) = (pod.namespace.as_str(), pod.uid.as_str());
    let room = FILE_NAME - 2 - namespace.len() - uid.len();
    let name = pod.name.as_str().get(..room).unwrap_or(pod.name.as_str());
    log_dir.join(format!("{namespace}_{name}_{uid}"))
}

type Environment = Vec<(String, String)>;

/// The whole environment, and what of it `$(…)` may refer to.
fn environment(
    pod: &Pod,
    container: &Container,
) -> Result<(Environment, HashMap<String, String>), CommandError> {
    let mut known = HashMap::new();
    let mut env: Environment = Vec::new();
    for EnvVar { name, value } in &container.env {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(CommandError::EnvName(container.name.clone(), name.clone()));
        }
        let value = expand(value, &known);
        if value.contains('\0') {
            return Err(CommandError::Nul(container.name.clone(), "an env value"));
        }
        env.retain(|(earlier, _)| earlier != name);
        env.push((name.clone(), value.clone()));
        known.insert(name.clone(), value);
    }
    for (name, value) in [("PATH", PATH), ("HOSTNAME", host_name(pod))] {
        if !known.contains_key(name) {
            env.push((name.to_owned(), value.to_owned()));
        }
    }
    Ok((env, known))
}

fn host_name(pod: &Pod) -> &str {
    let name = pod.name.as_str();
    name.get(..HOST_NAME)
        .map_or(name, |cut| cut.trim_end_matches(['-', '.']))
}

/// Replaces the references in `text`.
fn expand(text: &str, known: &HashMap<String, String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let reference = after.strip_prefix('(').and_then(|inside| inside.split_once(')'));
        rest = match (after.strip_prefix('$'), reference) {
            (Some(escaped), _) => {
                expanded.push('$');
                escaped
            }
            (None, Some((name, behind))) => {
                match known.get(name) {
                    Some(value) => expanded.push_str(value),
                    None => expanded.extend(["$(", name, ")"]),
                }
                behind
            }
            (None, None) => {
                expanded.push('$');
                after
            }
        };
    }
    expanded.push_str(rest);
    expanded
}
