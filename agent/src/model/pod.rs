//! A pod as the agent understands it: what its manifest says after defaulting and checking.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ids::{ContainerName, Namespace, PodName, PodUid};
use super::quantity::Quantity;

/// A pod with this annotation set to `"true"` or `"false"` decides for itself whether the OOM killer takes its
/// containers whole; with a dot and a container's name behind it, for that container.
pub const OOM_GROUP_ANNOTATION: &str = "plimsoll.dev/oom-group";
/// A pod with this annotation set to `"true"` asks to be no victim.
pub const PROTECTED_ANNOTATION: &str = "plimsoll.dev/protected";

/// Amounts by resource name: `cpu`, `memory`, `hugepages-2Mi`, `ephemeral-storage`…
pub type ResourceList = BTreeMap<String, Quantity>;

/// What is asked for and what is allowed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// What the container or pod asks for.
    pub requests: ResourceList,
    /// What it may not exceed.
    pub limits: ResourceList,
}

/// One pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// Identity; another UID is another pod, whatever its name.
    pub uid: PodUid,
    /// Namespace, `default` when the manifest gives none.
    pub namespace: Namespace,
    /// Name, unique in the namespace.
    pub name: PodName,
    /// The annotations that the agent itself reads (`plimsoll.dev/…`); others are dropped.
    pub annotations: BTreeMap<String, String>,
    /// Scheduling priority; 0 when not given.
    pub priority: i32,
    /// Priority class, which marks system pods.
    pub priority_class_name: Option<String>,
    /// Whether the pod comes from a manifest on this node, not from the API server; kubelet counts it critical then.
    pub is_static: bool,
    /// Initialisation containers and sidecars, in order.
    pub init_containers: Vec<Container>,
    /// The application's containers.
    pub containers: Vec<Container>,
    /// Pod-level resources (`spec.resources`); `None` when the field is absent.
    pub resources: Option<Resources>,
    /// What the pod costs beside its containers (`spec.overhead`).
    pub overhead: ResourceList,
    /// When containers are started again.
    pub restart_policy: RestartPolicy,
    /// From SIGTERM to SIGKILL.
    pub termination_grace: Duration,
    /// Whether it may come to a node that is short of memory although it requests nothing: it tolerates the taint
    /// `node.kubernetes.io/memory-pressure:NoSchedule`.
    #[serde(default)]
    pub tolerates_memory_pressure: bool,
}

impl Pod {
    /// Initialisation containers, sidecars and application containers, in the order of the manifest.
    pub fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().chain(&self.containers)
    }
}

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerKind {
    /// Runs to its end before the next container starts.
    Init,
    /// An init container with `restartPolicy: Always`: starts in order, then stays beside the application.
    Sidecar,
    /// The application.
    App,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Name, unique in the pod.
    pub name: ContainerName,
    /// What it is for.
    pub kind: ContainerKind,
    /// The image named by the manifest; unused while containers are host processes.
    pub image: Option<String>,
    /// The program and its first arguments.
    pub command: Vec<String>,
    /// Further arguments.
    pub args: Vec<String>,
    /// Environment, in order; `$(NAME)` refers to an earlier one.
    pub env: Vec<EnvVar>,
    /// Directory to start in.
    pub working_dir: Option<String>,
    /// User to run as; the agent's own when absent.
    pub run_as_user: Option<u32>,
    /// Group to run as.
    pub run_as_group: Option<u32>,
    /// Requests and limits.
    pub resources: Resources,
}

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Name.
    pub name: String,
    /// Value before expansion.
    pub value: String,
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// However it ended.
    #[default]
    Always,
    /// When it failed.
    OnFailure,
    /// Never.
    Never,
}
