//! Pods, nodes and machines for this stage's tests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::allotment::Allotment;
use super::managers::{Managers, ManagersError, managers};
use super::policy::PlacementPolicy;
use crate::config;
use crate::model::{
    Bytes, Container, ContainerKind, ContainerName, Controller, CpuId, CpuRecord, CpuSet, HugePageSize,
    MachineCpus, MilliCpu, Namespace, NodeCapacity, NumaMemory, Pod, PodName, PodUid, Quantity, ResourceList,
    Resources, RestartPolicy, Shape,
};

pub(crate) const GI: u64 = 1 << 30;

/// Amounts written as `cpu=500m memory=1Gi`.
pub(crate) fn list(text: &str) -> ResourceList {
    text.split_whitespace()
        .map(|item| {
            let (name, amount) = item.split_once('=').unwrap();
            (name.to_owned(), Quantity::parse(amount).unwrap())
        })
        .collect()
}

pub(crate) fn resources(requests: &str, limits: &str) -> Resources {
    Resources {
        requests: list(requests),
        limits: list(limits),
    }
}

pub(crate) fn container(name: &str, requests: &str, limits: &str) -> Container {
    Container {
        name: ContainerName::parse(name).unwrap(),
        kind: ContainerKind::App,
        image: None,
        command: vec!["true".to_owned()],
        args: Vec::new(),
        env: Vec::new(),
        working_dir: None,
        run_as_user: None,
        run_as_group: None,
        resources: resources(requests, limits),
    }
}

pub(crate) fn init(name: &str, kind: ContainerKind, requests: &str, limits: &str) -> Container {
    Container {
        kind,
        ..container(name, requests, limits)
    }
}

pub(crate) fn pod(name: &str, containers: Vec<Container>) -> Pod {
    Pod {
        uid: PodUid::parse(&format!("uid-{name}")).unwrap(),
        namespace: Namespace::parse("default").unwrap(),
        name: PodName::parse(name).unwrap(),
        annotations: BTreeMap::new(),
        priority: 0,
        priority_class_name: None,
        is_static: false,
        init_containers: Vec::new(),
        containers,
        resources: None,
        overhead: ResourceList::new(),
        restart_policy: RestartPolicy::Always,
        termination_grace: Duration::from_secs(30),
        tolerates_memory_pressure: false,
    }
}

/// A pod of one container.
pub(crate) fn simple(name: &str, requests: &str, limits: &str) -> Pod {
    pod(name, vec![container("main", requests, limits)])
}

/// 4 CPUs, 8 GiB, 1 GiB swap, 64 MiB in huge pages of 2 MiB.
pub(crate) fn node() -> NodeCapacity {
    NodeCapacity {
        cpu: MilliCpu(4000),
        memory: Bytes(8 * GI),
        swap: Some(Bytes(GI)),
        pids: 32_768,
        huge_pages: [(HugePageSize(2 << 20), Bytes::mib(64))].into(),
    }
}

/// A machine to give CPUs and memory of.
pub(crate) struct TestMachine {
    pub(crate) cpus: MachineCpus,
    pub(crate) capacity: NodeCapacity,
    pub(crate) memory: Vec<NumaMemory>,
}

impl TestMachine {
    /// The policy of a configuration, and its managers here.
    pub(crate) fn configured(&self, text: &str) -> (PlacementPolicy, Result<Managers, ManagersError>) {
        let config = config::parse(text, "test.yaml").unwrap();
        let policy = PlacementPolicy::from_config(&config).unwrap();
        let managers = managers(&config, &policy, &self.cpus, &self.capacity, &self.memory);
        (policy, managers)
    }

    /// What there is to give out here under a configuration.
    pub(crate) fn allotment(&self, text: &str) -> Allotment {
        let (_, managers) = self.configured(text);
        Allotment::new(managers.unwrap(), self.cpus.topology.clone())
    }
}

/// A configuration that gives CPUs on the machine of [`two_nodes`], the first core aside.
pub(crate) const STATIC: &str = "cpuManagerPolicy: static\nreservedSystemCPUs: 0,8\n";

/// A Guaranteed pod that wants so many CPUs to itself.
pub(crate) fn whole(name: &str, cpus: usize) -> Pod {
    let amounts = format!("cpu={cpus} memory=1Gi");
    simple(name, &amounts, &amounts)
}

/// 2 sockets of a node each, 4 cores a node, 2 threads a core, 8 GiB a node.
pub(crate) fn two_nodes() -> TestMachine {
    let shape = Shape {
        sockets: 2,
        nodes: 1,
        l3s: 1,
        cores: 4,
        threads: 2,
    };
    let node = NumaMemory {
        total: Bytes(8 * GI),
        ..NumaMemory::default()
    };
    TestMachine {
        cpus: all_online(shape),
        capacity: NodeCapacity {
            cpu: MilliCpu(16_000),
            memory: Bytes(16 * GI),
            ..NodeCapacity::default()
        },
        memory: vec![node; 2],
    }
}

/// The CPUs of a shape, none of them set apart.
pub(crate) fn all_online(shape: Shape) -> MachineCpus {
    MachineCpus {
        topology: shape.build(),
        offline: CpuSet::EMPTY,
        isolated: CpuSet::EMPTY,
        nohz_full: CpuSet::EMPTY,
        kinds: Vec::new(),
    }
}

/// A CPU of a core, where there is one socket, one NUMA node and one cache.
pub(crate) fn cpu_of(core: u32, cpu: u32) -> CpuRecord {
    CpuRecord {
        cpu: CpuId::new(cpu).unwrap(),
        core,
        l3: 0,
        die: 0,
        numa: 0,
        socket: 0,
    }
}

pub(crate) fn all_controllers() -> BTreeSet<Controller> {
    Controller::ALL.into()
}

/// Requests and limits such as the API server lets through: a request within its limit.
pub(crate) fn valid_resources() -> impl Strategy<Value = Resources> {
    let one = || prop::option::of((0_u64..3000, prop::option::of(0_u64..3000)));
    (one(), one()).prop_map(|(cpu, memory)| {
        let mut resources = Resources::default();
        for (name, unit, amounts) in [("cpu", "m", cpu), ("memory", "Mi", memory)] {
            let Some((request, above)) = amounts else { continue };
            let amount = |n: u64| Quantity::parse(&format!("{n}{unit}")).unwrap();
            resources.requests.insert(name.to_owned(), amount(request));
            if let Some(above) = above {
                resources
                    .limits
                    .insert(name.to_owned(), amount(request + above / 1000 * 1000));
            }
        }
        resources
    })
}

/// A pod that the API server lets through, named by its number.
pub(crate) fn valid_pod(number: usize) -> impl Strategy<Value = Pod> {
    let kinds = prop::collection::vec((0..3_usize, valid_resources()), 1..4);
    (kinds, -10..10_i32).prop_map(move |(kinds, priority)| {
        let mut made = pod(&format!("p{number}"), vec![container("app", "", "")]);
        made.priority = priority;
        for (n, (kind, resources)) in kinds.into_iter().enumerate() {
            let kind = [ContainerKind::App, ContainerKind::Init, ContainerKind::Sidecar][kind];
            let mut container = init(&format!("c{n}"), kind, "", "");
            container.resources = resources;
            match kind {
                ContainerKind::App => made.containers.push(container),
                ContainerKind::Init | ContainerKind::Sidecar => made.init_containers.push(container),
            }
        }
        if made.containers.len() > 1 {
            made.containers.remove(0);
        }
        made
    })
}

pub(crate) fn valid_pods(most: usize) -> impl Strategy<Value = Vec<Pod>> {
    let strategies: Vec<_> = (0..most).map(|n| prop::option::of(valid_pod(n))).collect();
    strategies.prop_map(|pods| pods.into_iter().flatten().collect())
}
