//! What we answer to the vectors of eviction.

use std::time::Duration;

use plimsoll::decide::qos::qos_class;
use plimsoll::decide::rank::{Profile, RankInputs, rank as rank_pods};
use plimsoll::decide::resources::{memory, pod_requests};
use plimsoll::model::pressure::{Charge, Domain, Need, PodFacts, PodFigures, Signal, Snapshot, StorageUse};
use plimsoll::model::{BootTime, Bytes, CgroupId, Limit, OomScoreAdj};
use plimsoll::observe::pods::pod_as_it_stands;
use plimsoll::state::pressure::Growth;
use plimsoll_tests::vectors::{Row, field};
use serde_json::Value;

/// The order of the pods under kubelet's profile, for memory and for space.
pub(crate) fn rank(row: &Row) -> Result<Row, String> {
    let pods = field(row, "pods")?.as_array().ok_or("pods is no list")?;
    let mut roster = Vec::new();
    let mut snapshot = Snapshot::default();
    for (number, entry) in pods.iter().enumerate() {
        roster.push(facts(number, entry)?);
        snapshot.pods.push(figures(entry));
    }
    let order = |signal| {
        let need = Need {
            domain: Domain::Node,
            signal: Some(signal),
            observed: 0,
            threshold: 0,
            deficit: Bytes(0),
            exhausted_in: None,
            stalled: Duration::ZERO,
        };
        let inputs = RankInputs {
            roster: &roster,
            snapshot: &snapshot,
            growth: &|_| Growth::default(),
            need: &need,
            barred: &|_| None,
            horizon: Duration::ZERO,
        };
        let mut order = Vec::new();
        rank_pods(&inputs, Profile::Kubelet, &mut order);
        let names = order.iter().map(|ranked| roster[ranked.pod].name.as_str().into());
        names.collect::<Vec<Value>>()
    };
    Ok(Row::from_iter([
        ("memory".to_owned(), order(Signal::MemoryAvailable).into()),
        ("disk_rootfs".to_owned(), order(Signal::NodefsAvailable).into()),
    ]))
}

fn facts(number: usize, entry: &Value) -> Result<PodFacts, String> {
    let pod = entry.get("pod").ok_or("an entry without a pod")?;
    let pod = pod_as_it_stands(&pod.to_string()).map_err(|error| error.to_string())?;
    let requests = pod_requests(&pod);
    let storage = requests.get("ephemeral-storage").map_or(0, |q| q.value());
    Ok(PodFacts {
        class: qos_class(&pod),
        priority: pod.priority,
        request: memory(&requests),
        storage_request: Bytes(u64::try_from(storage).unwrap_or(0)),
        // kubelet ranks critical pods like others, and refuses to evict them afterwards.
        shield: None,
        uid: pod.uid,
        namespace: pod.namespace,
        name: pod.name,
        cgroup: CgroupId(number as u64),
        high: Limit::Max,
        max: Limit::Max,
        oom_score_adj: OomScoreAdj(0),
        grace: pod.termination_grace,
        started_at: BootTime::default(),
    })
}

fn figures(entry: &Value) -> PodFigures {
    let number = |name| entry.get(name).and_then(Value::as_u64);
    let working_set = number("working_set_bytes").map(Bytes);
    PodFigures {
        current: working_set.unwrap_or_default(),
        working_set: working_set.unwrap_or_default(),
        charge: working_set.map(|anon| Charge {
            anon,
            ..Charge::default()
        }),
        tasks: number("processes").unwrap_or(0),
        storage: number("rootfs_used_bytes").map(|used| StorageUse {
            used: Bytes(used),
            inodes: 0,
        }),
        populated: true,
        ..PodFigures::default()
    }
}
