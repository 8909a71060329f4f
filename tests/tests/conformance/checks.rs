//! What we answer to each kind of vector.

use plimsoll::config::eviction::{Level, read_level};
use plimsoll::decide::conversions::{linear_weight, quota, shares};
use plimsoll::decide::desired::{PodConfig, pod_config};
use plimsoll::decide::oom_score_adj;
use plimsoll::decide::policy::{MemoryQos, MemoryQosMode, MemoryReservationPolicy, PlacementPolicy};
use plimsoll::decide::qos::qos_class;
use plimsoll::model::{Bytes, CgroupDriver, CgroupName, CpuPeriod, Limit, MilliCpu, Quantity};
use plimsoll::observe::pods::pod_as_it_stands;
use plimsoll_tests::vectors::{Row, field, text};
use serde_json::{Map, Value, json};

use crate::vectors::{Answer, Judge};
use crate::{cpu, eviction};

/// What to do with a file.
pub(crate) enum Check {
    /// Hold it against our answers.
    Vectors(Answer),
    /// Have our answers judged, where more than one is right.
    Judged(Judge),
}

/// Every file of the contract.
pub(crate) const FILES: [(&str, Check); 11] = [
    ("pods.jsonl", Check::Vectors(pods)),
    ("quantities.jsonl", Check::Vectors(quantities)),
    ("cpu_conversions.jsonl", Check::Vectors(cpu_conversions)),
    ("cgroup_names.jsonl", Check::Vectors(cgroup_names)),
    ("topologies.jsonl", Check::Vectors(cpu::topologies)),
    ("cpu_take_packed.jsonl", Check::Vectors(cpu::take_packed)),
    ("cpu_take_distributed.jsonl", Check::Judged(cpu::take_distributed)),
    (
        "cpu_take_distributed_hang.jsonl",
        Check::Judged(cpu::take_distributed_hang),
    ),
    (
        "cpu_static_sequences.jsonl",
        Check::Vectors(cpu::static_sequences),
    ),
    ("eviction_rank.jsonl", Check::Vectors(eviction::rank)),
    ("eviction_thresholds.jsonl", Check::Vectors(eviction_thresholds)),
];

fn pods(row: &Row) -> Result<Row, String> {
    let pod = pod_as_it_stands(&field(row, "pod")?.to_string()).map_err(|error| error.to_string())?;
    let capacity = Bytes(
        field(row, "memory_capacity")?
            .as_u64()
            .ok_or("memory_capacity is no size")?,
    );
    let policy = PlacementPolicy {
        memory_qos: MemoryQos {
            mode: MemoryQosMode::Kubelet,
            reservation: MemoryReservationPolicy::TieredReservation,
            ..MemoryQos::default()
        },
        ..PlacementPolicy::default()
    };
    let scores: Map<_, _> = pod
        .all_containers()
        .map(|container| {
            let score = oom_score_adj::kubelet_value(&pod, container, capacity);
            (container.name.to_string(), score.into())
        })
        .collect();
    Ok(Row::from_iter([
        ("qos".to_owned(), qos_class(&pod).as_str().into()),
        ("oom_score_adj".to_owned(), scores.into()),
        ("pod_cgroup".to_owned(), pod_cgroup(&pod_config(&pod, &policy))),
    ]))
}

fn pod_cgroup(config: &PodConfig) -> Value {
    let quota = config.cpu_quota.map(|quota| match quota {
        Limit::At(quota) => json!(quota.0),
        Limit::Max => json!(-1),
    });
    let protection = [
        ("memory.min", config.protection.min),
        ("memory.low", config.protection.low),
    ];
    let unified: Map<_, _> = protection
        .into_iter()
        .filter(|(_, bytes)| bytes.0 > 0)
        .map(|(file, bytes)| (file.to_owned(), bytes.0.to_string().into()))
        .collect();
    let huge_pages: Map<_, _> = config
        .huge_pages
        .iter()
        .map(|(size, bytes)| (size.0.to_string(), bytes.0.into()))
        .collect();
    json!({
        "cpu_shares": config.cpu_shares.0,
        "cpu_quota": quota,
        "cpu_period": config.cpu_period.map(|period| period.0),
        "memory_max": config.memory_max.map(|bytes| bytes.0),
        "unified": if unified.is_empty() { Value::Null } else { unified.into() },
        "hugepage_limit": huge_pages,
    })
}

fn quantities(row: &Row) -> Result<Row, String> {
    let input = text(row, "input")?;
    let quantity = Quantity::parse(input).map_err(|error| error.to_string())?;
    let canonical = Quantity::canonical(input).map_err(|error| error.to_string())?;
    Ok(Row::from_iter([
        ("value".to_owned(), quantity.value().to_string().into()),
        (
            "milli_value".to_owned(),
            quantity.milli_value().to_string().into(),
        ),
        ("canonical".to_owned(), canonical.into()),
    ]))
}

fn cpu_conversions(row: &Row) -> Result<Row, String> {
    let cpu = MilliCpu(field(row, "milli_cpu")?.as_u64().ok_or("milli_cpu is no count")?);
    Ok(Row::from_iter([
        ("shares".to_owned(), shares(cpu).0.into()),
        ("weight".to_owned(), linear_weight(shares(cpu)).0.into()),
        (
            "quota_us".to_owned(),
            quota(cpu, CpuPeriod::DEFAULT).map_or(0, |quota| quota.0).into(),
        ),
    ]))
}

fn cgroup_names(row: &Row) -> Result<Row, String> {
    let components: Vec<_> = field(row, "components")?
        .as_array()
        .ok_or("components is no list")?
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let name = CgroupName::new(components).map_err(|error| error.to_string())?;
    for driver in [CgroupDriver::Cgroupfs, CgroupDriver::Systemd] {
        let read = CgroupName::from_path(&name.path(driver), driver).map_err(|error| error.to_string())?;
        if read != name {
            return Err(format!("{} is read back as {read}", name.path(driver)));
        }
    }
    Ok(Row::from_iter([
        ("cgroupfs".to_owned(), name.path(CgroupDriver::Cgroupfs).into()),
        ("systemd".to_owned(), name.path(CgroupDriver::Systemd).into()),
    ]))
}

fn eviction_thresholds(row: &Row) -> Result<Row, String> {
    let level = read_level(text(row, "signal")?, text(row, "value")?).map_err(|error| error.to_string())?;
    let answer = match level {
        Level::Off => ("ignored", true.into()),
        Level::Quantity(count) => ("bytes", count.into()),
        Level::Part(part) => ("fraction", format!("{part:.6}").into()),
        Level::Time(_) => return Err("no signal of kubelet's has a time".to_owned()),
    };
    Ok(Row::from_iter([(answer.0.to_owned(), answer.1)]))
}
