//! What we answer to the sequences of pods that come to and leave one node.

use std::collections::BTreeMap;

use plimsoll::decide::cpu::{Reservation, StaticOptions, StaticPolicy, reason};
use plimsoll::decide::numa::{NumaNodes, TopologyManager};
use plimsoll::model::{MilliCpu, Pod, PodUid};
use plimsoll::observe::pods::pod_as_it_stands;
use plimsoll::state::cpus::CpuAssignments;
use serde_json::{Map, Value, json};

use crate::checks::{field, text};
use crate::cpu::{named, number, set};
use crate::vectors::Row;

/// The shared pool at the start, and each step with what we make of it.
pub(crate) fn sequences(row: &Row) -> Result<Row, String> {
    let mut node = Node::new(row)?;
    let mut answer = Row::from_iter([(
        "shared_at_start".to_owned(),
        node.assignments.shared().to_string().into(),
    )]);
    let steps: Result<Vec<_>, _> = field(row, "steps")?
        .as_array()
        .ok_or("steps are no list")?
        .iter()
        .map(|step| node.step(step))
        .collect();
    answer.insert("steps".to_owned(), steps?.into());
    Ok(answer)
}

struct Node {
    policy: StaticPolicy,
    manager: TopologyManager,
    assignments: CpuAssignments,
}

impl Node {
    fn new(row: &Row) -> Result<Self, String> {
        let topology = named(row)?;
        let options: BTreeMap<String, String> =
            serde_json::from_value(field(row, "options")?.clone()).map_err(|error| error.to_string())?;
        let options = StaticOptions::parse(&options).map_err(|error| error.to_string())?;
        let count = number(row, "reserved_count")? as u64;
        let reservation = Reservation::new(&set(row, "reserved")?, MilliCpu(count * 1000))
            .map_err(|error| error.to_string())?;
        let manager = TopologyManager {
            policy: text(row, "topology_policy")?
                .parse()
                .map_err(|error| format!("{error}"))?,
            scope: text(row, "topology_scope")?
                .parse()
                .map_err(|error| format!("{error}"))?,
            prefer_closest: false,
            nodes: NumaNodes::of(topology),
        };
        let policy = StaticPolicy::new(topology.clone(), options, &reservation, manager.policy)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            assignments: policy.start(),
            policy,
            manager,
        })
    }

    /// The step with our answer in place of the expected one.
    fn step(&mut self, step: &Value) -> Result<Value, String> {
        let mut answer = step.as_object().ok_or("a step is no object")?.clone();
        for expected in ["exclusive", "rejected", "shared"] {
            answer.remove(expected);
        }
        if let Some(pod) = step.get("remove") {
            self.assignments.release(&uid(pod)?);
        } else {
            match self
                .policy
                .admit(&self.manager, &self.assignments, &pod(&answer)?)
            {
                Ok(admitted) => {
                    admitted.apply(&mut self.assignments);
                    let exclusive: Map<_, _> = admitted
                        .grants
                        .iter()
                        .map(|grant| (grant.container.to_string(), grant.cpus.to_string().into()))
                        .collect();
                    answer.insert("exclusive".to_owned(), exclusive.into());
                }
                Err(refused) => {
                    answer.insert("rejected".to_owned(), reason(&refused).into());
                }
            }
        }
        let shared = self.assignments.shared().to_string();
        answer.insert("shared".to_owned(), shared.into());
        Ok(answer.into())
    }
}

fn uid(name: &Value) -> Result<PodUid, String> {
    PodUid::parse(name.as_str().ok_or("a pod's name is no text")?).map_err(|error| error.to_string())
}

fn pod(step: &Row) -> Result<Pod, String> {
    let (mut early, mut app) = (Vec::new(), Vec::new());
    for container in field(step, "containers")?
        .as_array()
        .ok_or("containers are no list")?
    {
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
    pod_as_it_stands(&pod.to_string()).map_err(|error| error.to_string())
}
