//! A node to and from which pods come and go, as `cpu_static_sequences.jsonl` describes one.

use std::collections::BTreeMap;
use std::fmt::Display;

use plimsoll::decide::cpu::{Admitted, CpuRefusal, Reservation, StaticOptions, StaticPolicy};
use plimsoll::decide::numa::admit::Refused;
use plimsoll::decide::numa::{NumaNodes, TopologyManager};
use plimsoll::model::{MilliCpu, Pod, PodUid};
use plimsoll::observe::pods::pod_as_it_stands;
use plimsoll::state::cpus::CpuAssignments;
use serde_json::{Value, json};

use super::cpu::{Topologies, named};
use super::{Row, field, number, set, text};

/// A node.
#[derive(Debug)]
pub struct Node {
    policy: StaticPolicy,
    manager: TopologyManager,
    /// Who has which CPUs.
    pub assignments: CpuAssignments,
}

fn shown(error: impl Display) -> String {
    error.to_string()
}

impl Node {
    /// The node of a row, without pods.
    ///
    /// # Errors
    /// The row is of another form, or there can be no such policy.
    pub fn new(row: &Row, topologies: &Topologies) -> Result<Self, String> {
        let topology = named(row, topologies)?;
        let options: BTreeMap<String, String> =
            serde_json::from_value(field(row, "options")?.clone()).map_err(shown)?;
        let options = StaticOptions::parse(&options).map_err(shown)?;
        let count = number(row, "reserved_count")? as u64;
        let reservation = Reservation::new(&set(row, "reserved")?, MilliCpu(count * 1000)).map_err(shown)?;
        let manager = TopologyManager {
            policy: text(row, "topology_policy")?
                .parse()
                .map_err(|error| shown(&error))?,
            scope: text(row, "topology_scope")?
                .parse()
                .map_err(|error| shown(&error))?,
            prefer_closest: false,
            nodes: NumaNodes::of(topology),
        };
        let policy =
            StaticPolicy::new(topology.clone(), options, &reservation, manager.policy).map_err(shown)?;
        Ok(Self {
            assignments: policy.start(),
            policy,
            manager,
        })
    }

    /// What `pod` would get; the node stays as it is.
    ///
    /// # Errors
    /// The pod is refused.
    pub fn admit(&self, pod: &Pod) -> Result<Admitted, Refused<CpuRefusal>> {
        self.policy.admit(&self.manager, &self.assignments, pod)
    }
}

/// The identity of a pod by the name it has in a step.
///
/// # Errors
/// It is no text, or cannot be an identity.
pub fn uid(name: &Value) -> Result<PodUid, String> {
    PodUid::parse(name.as_str().ok_or("a pod's name is no text")?).map_err(shown)
}

/// The pod that a step adds.
///
/// # Errors
/// The step adds none, or one that cannot be.
pub fn pod(step: &Row) -> Result<Pod, String> {
    let (mut early, mut app) = (Vec::new(), Vec::new());
    let containers = field(step, "containers")?.as_array();
    for container in containers.ok_or("containers are no list")? {
        let amounts = |cpu: &str| json!({"cpu": container[cpu], "memory": "64Mi"});
        let mut made = json!({
            "name": container["name"],
            "resources": {"requests": amounts("cpu_request"), "limits": amounts("cpu_limit")},
        });
        match container["kind"].as_str() {
            Some("app") => app.push(made),
            Some("init") => early.push(made),
            Some("sidecar") => {
                made["restartPolicy"] = "Always".into();
                early.push(made);
            }
            other => return Err(format!("unknown kind {other:?}")),
        }
    }
    let name = field(step, "add")?;
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "uid": name},
        "spec": {"initContainers": early, "containers": app},
    });
    pod_as_it_stands(&pod.to_string()).map_err(shown)
}
