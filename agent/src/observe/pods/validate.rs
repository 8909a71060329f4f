//! What a pod must satisfy beyond each field being readable, as the API server checks it and as running host
//! processes needs it.
//!
//! # Properties
//! - Of a pod without problems, every amount is between 0 and 2⁶³−1 (CPU in thousandths), no request is above its
//!   limit, and container names are unique.
//! - Nothing of it that reaches a system call contains NUL.

use std::collections::BTreeSet;

use super::claims;
use super::defaults::{aggregate, is_huge_pages, is_pod_level};
use super::field::{FieldPath, Problems};
use crate::model::{Container, ContainerKind, Pod, Quantity, Resources};

/// Characters of a resource's name, prefix included.
const MAX_RESOURCE_NAME: usize = 317;

/// Checks a pod after defaulting; `path` is its place in the document.
pub(super) fn validate(pod: &Pod, path: &FieldPath, problems: &Problems) {
    let spec = path.key("spec");
    if pod.containers.is_empty() {
        problems.add(
            &spec.key("containers"),
            "has no container",
            "give the pod at least one",
        );
    }
    let mut names = BTreeSet::new();
    let mut position = [0, 0];
    for container in pod.all_containers() {
        let is_app = container.kind == ContainerKind::App;
        let list = if is_app { "containers" } else { "initContainers" };
        let index = &mut position[usize::from(is_app)];
        let path = spec.key(list).index(*index);
        *index += 1;
        if !names.insert(&container.name) {
            problems.add(
                &path.key("name"),
                format!("another container of the pod is called {} too", container.name),
                "give each container, init containers included, a name of its own",
            );
        }
        process(container, &path, problems);
        let resources = path.key("resources");
        amounts(&container.resources, &resources, problems);
        within_pod(container, pod, &resources.key("limits"), problems);
    }
    claims::check(pod, path, problems);
    pod_level(pod, &spec.key("resources"), problems);
    list(&pod.overhead, &spec.key("overhead"), problems);
}

/// What becomes arguments of system calls.
fn process(container: &Container, path: &FieldPath, problems: &Problems) {
    let command = path.key("command");
    if container.command.first().is_none_or(String::is_empty) {
        problems.add(
            &command,
            "names no program",
            "containers are host processes, and the image is not used: write the program and its arguments",
        );
    }
    let nul = |path: &FieldPath, text: &str| {
        if text.contains('\0') {
            problems.add(
                path,
                "contains the character NUL",
                "take it out: no process can be given it",
            );
        }
    };
    for (field, texts) in [(command, &container.command), (path.key("args"), &container.args)] {
        for (index, text) in texts.iter().enumerate() {
            nul(&field.index(index), text);
        }
    }
    for (index, variable) in container.env.iter().enumerate() {
        let path = path.key("env").index(index);
        nul(&path.key("name"), &variable.name);
        nul(&path.key("value"), &variable.value);
        if variable.name.is_empty() || variable.name.contains('=') {
            let problem = format!("{:?} cannot be the name of a variable", variable.name);
            problems.add(&path.key("name"), problem, "use letters, digits and underscores");
        }
    }
    if let Some(dir) = &container.working_dir {
        nul(&path.key("workingDir"), dir);
        if !dir.starts_with('/') {
            let problem = format!("{dir:?} is not an absolute path");
            problems.add(&path.key("workingDir"), problem, "begin it with /");
        }
    }
}

/// Each amount for itself, and requests against limits.
fn amounts(resources: &Resources, path: &FieldPath, problems: &Problems) {
    let (requests, limits) = (path.key("requests"), path.key("limits"));
    // A request that is its limit, as one that was defaulted is, is complained about once.
    let own = |(name, request): &(&String, &Quantity)| resources.limits.get(*name) != Some(*request);
    list(resources.requests.iter().filter(own), &requests, problems);
    list(&resources.limits, &limits, problems);
    for (name, request) in &resources.requests {
        let Some(limit) = resources.limits.get(name) else {
            if is_huge_pages(name) && wrong_name(name).is_none() {
                problems.add(
                    &requests.key(name),
                    "has no limit",
                    "give huge pages a limit equal to the request",
                );
            }
            continue;
        };
        if request > limit {
            problems.add(
                &limits.key(name),
                format!("the limit {limit} is below the request {request}"),
                "raise the limit or lower the request",
            );
        } else if is_huge_pages(name) && request != limit {
            problems.add(
                &limits.key(name),
                format!("the limit {limit} differs from the request {request}"),
                "huge pages cannot be overcommitted: make the two equal",
            );
        }
    }
}

fn list<'a>(
    list: impl IntoIterator<Item = (&'a String, &'a Quantity)>,
    path: &FieldPath,
    problems: &Problems,
) {
    for (name, &quantity) in list {
        let path = path.key(name);
        if let Some(problem) = wrong_name(name) {
            problems.add(
                &path,
                problem,
                "name a resource, such as cpu, memory or hugepages-2Mi",
            );
        }
        if quantity.is_negative() {
            problems.add(&path, format!("{quantity} is negative"), "write 0 or more");
        } else if too_large(name, quantity) {
            let problem = format!("{quantity} is more than any machine has");
            problems.add(&path, problem, "check the unit");
        }
    }
}

fn too_large(name: &str, quantity: Quantity) -> bool {
    let whole = if name == "cpu" {
        quantity.checked_milli_value()
    } else {
        quantity.checked_value()
    };
    whole.is_none()
}

/// Resource names reach file names (huge pages) and labels.
fn wrong_name(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if name.is_empty() || name.len() > MAX_RESOURCE_NAME || !name.chars().all(allowed) {
        return Some("is no name of a resource".to_owned());
    }
    let size = name.strip_prefix("hugepages-")?;
    match Quantity::parse(size).map(Quantity::checked_value) {
        Ok(Some(bytes)) if u64::try_from(bytes).is_ok_and(u64::is_power_of_two) => None,
        _ => Some(format!("{size:?} is no size of huge pages")),
    }
}

/// A container's limits against the pod's.
fn within_pod(container: &Container, pod: &Pod, path: &FieldPath, problems: &Problems) {
    let Some(pod) = &pod.resources else { return };
    for (name, limit) in &container.resources.limits {
        match pod.limits.get(name) {
            Some(most) if limit > most => problems.add(
                &path.key(name),
                format!("the container's limit {limit} is above the pod's {most}"),
                "raise the pod's limit or lower the container's",
            ),
            _ => {}
        }
    }
}

fn pod_level(pod: &Pod, path: &FieldPath, problems: &Problems) {
    let Some(resources) = &pod.resources else { return };
    amounts(resources, path, problems);
    for (field, list) in [("requests", &resources.requests), ("limits", &resources.limits)] {
        for name in list.keys().filter(|name| !is_pod_level(name)) {
            problems.add(
                &path.key(field).key(name),
                "cannot be set for a pod as a whole",
                "only cpu, memory and huge pages can: set it for a container",
            );
        }
    }
    let needed = aggregate(pod, |container| &container.resources.requests);
    for (name, request) in &resources.requests {
        match needed.get(name) {
            Some(needed) if needed > request => problems.add(
                &path.key("requests").key(name),
                format!("the pod's request {request} is below its containers' {needed}"),
                "raise the pod's request or lower the containers'",
            ),
            _ => {}
        }
    }
}
