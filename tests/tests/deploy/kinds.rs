//! The manifests' kinds, as far as the shipped ones use them.
//!
//! Unknown fields are errors: the API server would prune a misspelled `readOnlyRootFilesystem` with no more than a warning. Source of
//! names and shapes: the Kubernetes API reference, v1.33.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::files::read;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub(crate) struct $name { $($(#[$attribute])* pub(crate) $field: $type,)* }
    )*};
}

type Map = BTreeMap<String, String>;

kinds! {
    Metadata {
        name: String,
        namespace: Option<String>,
        labels: Option<Map>,
        annotations: Option<Map>,
    }
    Namespace { api_version: String, kind: String, metadata: Metadata, }
    ServiceAccount { api_version: String, kind: String, metadata: Metadata, }
    ClusterRole { api_version: String, kind: String, metadata: Metadata, rules: Vec<Rule>, }
    Rule { api_groups: Vec<String>, resources: Vec<String>, verbs: Vec<String>, }
    ClusterRoleBinding {
        api_version: String,
        kind: String,
        metadata: Metadata,
        role_ref: RoleRef,
        subjects: Vec<Subject>,
    }
    RoleRef { api_group: String, kind: String, name: String, }
    Subject { kind: String, name: String, namespace: String, }
    DaemonSet { api_version: String, kind: String, metadata: Metadata, spec: DaemonSetSpec, }
    DaemonSetSpec { selector: Selector, update_strategy: UpdateStrategy, template: Template, }
    Selector { match_labels: Map, }
    UpdateStrategy { r#type: String, rolling_update: RollingUpdate, }
    RollingUpdate { max_unavailable: Value, max_surge: Value, }
    Template { metadata: TemplateMetadata, spec: PodSpec, }
    TemplateMetadata { labels: Map, annotations: Map, }
    PodSpec {
        service_account_name: String,
        priority_class_name: String,
        #[serde(rename = "hostPID")]
        host_pid: bool,
        node_selector: Map,
        tolerations: Vec<Toleration>,
        termination_grace_period_seconds: u32,
        containers: Vec<Container>,
        volumes: Vec<Volume>,
    }
    Toleration { operator: String, }
    Variable { name: String, value_from: ValueFrom, }
    ValueFrom { field_ref: FieldRef, }
    FieldRef { field_path: String, }
    Container {
        name: String,
        image: String,
        image_pull_policy: String,
        args: Vec<String>,
        env: Vec<Variable>,
        ports: Vec<Port>,
        startup_probe: Probe,
        readiness_probe: Probe,
        liveness_probe: Probe,
        resources: Resources,
        security_context: SecurityContext,
        volume_mounts: Vec<Mount>,
    }
    Port { name: String, container_port: u16, protocol: String, }
    Probe { http_get: HttpGet, period_seconds: u32, timeout_seconds: u32, failure_threshold: u32, }
    HttpGet { path: String, port: String, }
    Resources { requests: Map, limits: Map, }
    SecurityContext {
        privileged: bool,
        run_as_user: u32,
        run_as_group: u32,
        allow_privilege_escalation: bool,
        read_only_root_filesystem: bool,
        seccomp_profile: Profile,
        app_armor_profile: Profile,
        capabilities: Capabilities,
    }
    Profile { r#type: String, }
    Capabilities { drop: Vec<String>, add: Vec<String>, }
    Mount { name: String, mount_path: String, read_only: Option<bool>, }
    Volume {
        name: String,
        config_map: Option<ConfigMapSource>,
        empty_dir: Option<Map>,
        host_path: Option<HostPath>,
    }
    ConfigMapSource { name: String, }
    HostPath { path: String, r#type: String, }
    /// A strategic merge patch of the arguments, and of nothing else.
    ArgumentsPatch { api_version: String, kind: String, metadata: Metadata, spec: PatchSpec, }
    PatchSpec { template: PatchTemplate, }
    PatchTemplate { spec: PatchPod, }
    PatchPod { containers: Vec<PatchContainer>, }
    PatchContainer { name: String, args: Vec<String>, }
    Kustomization {
        api_version: String,
        kind: String,
        namespace: Option<String>,
        resources: Vec<String>,
        config_map_generator: Option<Vec<ConfigMapGenerator>>,
        patches: Option<Vec<Patch>>,
        labels: Vec<Labels>,
    }
    ConfigMapGenerator { name: String, files: Vec<String>, }
    Patch { path: String, }
    Labels { pairs: Map, include_templates: Option<bool>, }
}

/// The documents of a file.
pub(crate) fn documents(path: &Path) -> Vec<Value> {
    let documents = serde_saphyr::from_multiple(&read(path));
    documents.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A document as its kind, of which it must be.
pub(crate) fn as_kind<T: DeserializeOwned>(document: &Value, api_version: &str, kind: &str) -> T {
    assert_eq!(document["apiVersion"], api_version, "{kind}");
    assert_eq!(document["kind"], kind);
    serde_json::from_value(document.clone()).unwrap_or_else(|error| panic!("{kind}: {error}"))
}

/// The only document of a file.
pub(crate) fn only<T: DeserializeOwned>(path: &Path, api_version: &str, kind: &str) -> T {
    let documents = documents(path);
    assert_eq!(documents.len(), 1, "{}", path.display());
    as_kind(&documents[0], api_version, kind)
}
