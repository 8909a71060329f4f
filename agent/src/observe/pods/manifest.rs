//! From a document's fields to a [`Pod`].
//!
//! Only what the agent acts on is read; other fields are ignored, as the API server would prune what it does not
//! know and as a node without volumes, probes or a network of its own cannot act on. Ignoring is refused where it
//! would run something other than what was written: values from elsewhere (`envFrom`, `valueFrom`), and
//! `runAsNonRoot` with a process that would be root.

use std::collections::BTreeMap;
use std::time::Duration;

use super::field::Field;
use crate::model::{
    Container, ContainerKind, ContainerName, EnvVar, IdError, Namespace, Pod, PodName, PodUid, Quantity,
    ResourceList, Resources, RestartPolicy,
};

/// Annotations with this prefix are the agent's own; the others are not kept.
const OWN_ANNOTATIONS: &str = "plimsoll.dev/";
/// The taint of a node that is short of memory.
const MEMORY_PRESSURE: &str = "node.kubernetes.io/memory-pressure";
/// From SIGTERM to SIGKILL, where the manifest does not say.
const DEFAULT_GRACE_SECONDS: u32 = 30;
/// The largest user or group id that Kubernetes accepts.
const MAX_ID: i64 = i32::MAX as i64;

/// Reads a pod as it stands, without defaulting. Problems are noted where they are; `None` when there is no name.
pub(super) fn pod(root: &Field<'_>, uid: impl FnOnce() -> Result<PodUid, IdError>) -> Option<Pod> {
    let metadata = root.field("metadata");
    let spec = root.field("spec");
    if !(metadata.expect_mapping() && spec.expect_mapping()) {
        return None;
    }
    let name = metadata.field("name");
    let uid_field = metadata.field("uid");
    if !name.is_present() {
        name.problem("is missing", "give the pod a name, such as web-0");
    }
    let security = Security::of(&spec.field("securityContext"));
    let uid = match uid_field.is_present() {
        true => identifier(&uid_field, PodUid::parse),
        false => uid()
            .map_err(|error| uid_field.problem(error.to_string(), "give the pod a UID"))
            .ok(),
    };
    let namespace = metadata.field("namespace");
    let namespace = match namespace.is_present() {
        true => identifier(&namespace, Namespace::parse),
        false => Namespace::parse("default").ok(),
    };
    let (name, uid, namespace) = (identifier(&name, PodName::parse), uid, namespace);
    let pod_resources = spec.field("resources");
    let containers = |field, kind| {
        let field: Field<'_> = spec.field(field);
        let items = field.items();
        items
            .iter()
            .filter_map(|item| container(item, kind, security))
            .collect::<Vec<_>>()
    };
    let pod = Pod {
        init_containers: containers("initContainers", ContainerKind::Init),
        containers: containers("containers", ContainerKind::App),
        annotations: annotations(&metadata.field("annotations")),
        priority: spec
            .field("priority")
            .integer(i32::MIN.into(), i32::MAX.into())
            .and_then(|priority| i32::try_from(priority).ok())
            .unwrap_or_default(),
        priority_class_name: priority_class(&spec.field("priorityClassName")),
        is_static: false,
        resources: pod_resources.is_present().then(|| resources(&pod_resources)),
        overhead: amounts(&spec.field("overhead")),
        restart_policy: restart_policy(&spec.field("restartPolicy")),
        termination_grace: grace(&spec.field("terminationGracePeriodSeconds")),
        tolerates_memory_pressure: tolerates_memory_pressure(&spec.field("tolerations")),
        uid: uid?,
        namespace: namespace?,
        name: name?,
    };
    Some(pod)
}

/// Who a container runs as.
#[derive(Clone, Copy, Default)]
struct Security {
    user: Option<u32>,
    group: Option<u32>,
    non_root: Option<bool>,
}

impl Security {
    fn of(context: &Field<'_>) -> Self {
        context.expect_mapping();
        let id = |key| {
            let id: Option<i64> = context.field(key).integer(0, MAX_ID);
            id.and_then(|id| u32::try_from(id).ok())
        };
        Self {
            user: id("runAsUser"),
            group: id("runAsGroup"),
            non_root: context.field("runAsNonRoot").boolean(),
        }
    }

    /// A container's own settings before the pod's.
    fn over(self, pod: Self) -> Self {
        Self {
            user: self.user.or(pod.user),
            group: self.group.or(pod.group),
            non_root: self.non_root.or(pod.non_root),
        }
    }
}

fn container(field: &Field<'_>, kind: ContainerKind, pod: Security) -> Option<Container> {
    if !field.expect_mapping() {
        return None;
    }
    let name = field.field("name");
    if !name.is_present() {
        name.problem("is missing", "give the container a name, unique in its pod");
    }
    let kind = container_kind(&field.field("restartPolicy"), kind);
    let context = field.field("securityContext");
    let security = Security::of(&context).over(pod);
    if security.non_root == Some(true) && security.user.is_none_or(|user| user == 0) {
        context.problem(
            "asks for runAsNonRoot, but the container would run as root",
            "set runAsUser to another user than 0",
        );
    }
    if field.field("envFrom").is_present() {
        field.field("envFrom").problem(
            "needs an API server to get its values from",
            "write the variables under env, each with its value",
        );
    }
    let container = Container {
        kind,
        image: field.field("image").text().map(str::to_owned),
        command: field.field("command").texts(),
        args: field.field("args").texts(),
        env: field.field("env").items().iter().filter_map(env_var).collect(),
        working_dir: field
            .field("workingDir")
            .text()
            .filter(|dir| !dir.is_empty())
            .map(str::to_owned),
        run_as_user: security.user,
        run_as_group: security.group,
        resources: resources(&field.field("resources")),
        name: identifier(&name, ContainerName::parse)?,
    };
    Some(container)
}

fn container_kind(policy: &Field<'_>, kind: ContainerKind) -> ContainerKind {
    match (policy.text(), kind) {
        (None, kind) => kind,
        (Some("Always"), ContainerKind::Init | ContainerKind::Sidecar) => ContainerKind::Sidecar,
        (Some(other), kind) => {
            policy.problem(
                format!("{other:?} is not possible for a single container"),
                "only init containers may have one, and only Always, which makes them sidecars",
            );
            kind
        }
    }
}

fn env_var(field: &Field<'_>) -> Option<EnvVar> {
    if !field.expect_mapping() {
        return None;
    }
    let name = field.field("name");
    if !name.is_present() {
        name.problem("is missing", "give the variable a name");
    }
    if field.field("valueFrom").is_present() {
        field.field("valueFrom").problem(
            "needs an API server to get the value from",
            "write the value itself",
        );
    }
    Some(EnvVar {
        name: name.text()?.to_owned(),
        value: field.field("value").text().unwrap_or_default().to_owned(),
    })
}

fn resources(field: &Field<'_>) -> Resources {
    field.expect_mapping();
    Resources {
        requests: amounts(&field.field("requests")),
        limits: amounts(&field.field("limits")),
    }
}

fn amounts(field: &Field<'_>) -> ResourceList {
    field
        .entries()
        .into_iter()
        .filter_map(|(name, amount)| {
            let text = amount.text_or_number()?.trim();
            match Quantity::parse(text) {
                Ok(quantity) => Some((name.to_owned(), quantity)),
                Err(error) => {
                    amount.problem(error.to_string(), "correct the quantity");
                    None
                }
            }
        })
        .collect()
}

fn annotations(field: &Field<'_>) -> BTreeMap<String, String> {
    field
        .entries()
        .into_iter()
        .filter(|(key, _)| key.starts_with(OWN_ANNOTATIONS))
        .filter_map(|(key, value)| Some((key.to_owned(), value.text()?.to_owned())))
        .collect()
}

/// The name goes into reports, so it must be a name.
fn priority_class(field: &Field<'_>) -> Option<String> {
    let name = field.text().filter(|name| !name.is_empty())?;
    match PodName::parse(name) {
        Ok(name) => Some(name.into()),
        Err(error) => {
            field.problem(error.to_string(), "name a priority class");
            None
        }
    }
}

fn restart_policy(field: &Field<'_>) -> RestartPolicy {
    match field.text() {
        None | Some("Always") => RestartPolicy::Always,
        Some("OnFailure") => RestartPolicy::OnFailure,
        Some("Never") => RestartPolicy::Never,
        Some(other) => {
            field.problem(
                format!("{other:?} is no restart policy"),
                "write Always, OnFailure or Never",
            );
            RestartPolicy::Always
        }
    }
}

fn grace(field: &Field<'_>) -> Duration {
    let seconds = field
        .integer(0, i32::MAX.into())
        .and_then(|seconds| u32::try_from(seconds).ok());
    Duration::from_secs(seconds.unwrap_or(DEFAULT_GRACE_SECONDS).into())
}

/// Whether one of a pod's tolerations is for the taint of a node that is short of memory.
fn tolerates_memory_pressure(field: &Field<'_>) -> bool {
    let items = field.items();
    // All of them, so that every problem is told.
    let meant = items.iter().filter(|item| is_for_memory_pressure(item));
    meant.count() > 0
}

/// Source: Kubernetes, "Taints and Tolerations": without a key every taint is meant, without an effect every effect, and
/// the taint has no value.
fn is_for_memory_pressure(toleration: &Field<'_>) -> bool {
    if !toleration.expect_mapping() {
        return false;
    }
    let text = |name| toleration.field(name).text().filter(|text| !text.is_empty());
    let (key, value, effect) = (text("key"), text("value"), text("effect"));
    let any_value = match text("operator") {
        Some("Exists") => true,
        None | Some("Equal") => value.is_none() && key.is_some(),
        // These compare numbers.
        Some("Gt" | "Lt") => false,
        Some(other) => {
            toleration
                .field("operator")
                .problem(format!("{other:?} is no operator"), "write Exists or Equal");
            false
        }
    };
    any_value
        && key.is_none_or(|key| key == MEMORY_PRESSURE)
        && effect.is_none_or(|effect| effect == "NoSchedule")
}

fn identifier<T>(field: &Field<'_>, parse: fn(&str) -> Result<T, IdError>) -> Option<T> {
    let text = field.text()?;
    parse(text)
        .map_err(|error| field.problem(error.to_string(), "choose a shorter or simpler one"))
        .ok()
}
