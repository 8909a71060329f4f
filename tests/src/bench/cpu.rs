//! Assigning exclusive CPUs: one pod let in, one choice of CPUs, and how both grow with the machine.
//!
//! The large machine is half in use, with pods of different sizes come and gone, so that no part of it is wholly free
//! and no choice is the first one at hand. What a figure gives is the median over requests; the worst is over all
//! questions of the vectors, of three times each, so that it is the question that is slow and not the machine.

use std::hint::black_box;
use std::time::Instant;

use plimsoll::decide::cpu::take::{NotEnough, Strategy, Taken, distributed, packed};
use plimsoll::decide::cpu::{Reservation, StaticOptions, StaticPolicy};
use plimsoll::decide::numa::{NumaNodes, TopologyManager, TopologyPolicy, TopologyScope};
use plimsoll::model::{CpuSet, Pod, Shape, Topology};
use plimsoll::observe::pods::pod_as_it_stands;
use serde_json::json;

use super::{Bench, Figure, Figures, percentile};
use crate::vectors::cpu::{Question, topologies};
use crate::vectors::node::{self, Node};
use crate::vectors::{Row, directory, rows};

/// Times that each request is made.
const TURNS: usize = 400;

/// 256 CPUs in 8 NUMA nodes.
const LARGE: Shape = Shape {
    sockets: 2,
    nodes: 4,
    l3s: 1,
    cores: 16,
    threads: 2,
};

type Failure = Box<dyn std::error::Error>;

pub(super) fn figures(_: &Bench) -> Figures {
    let large = Machine::new(LARGE)?;
    let mut figures = vec![
        Figure::alone(
            "admission of a 6-CPU pod, best-effort, 256 CPUs",
            large.admission(6)?,
            "us",
        ),
        Figure::alone("packed assignment, 2 to 64 of 256 CPUs", large.packed(), "us"),
        Figure::alone(
            "distributed assignment, 2 to 64 of 256 CPUs",
            large.distributed(),
            "us",
        ),
        Figure::alone(
            "distributed assignment of uneven nodes, worst of 2 to 64",
            large.worst_distributed(),
            "us",
        ),
    ];
    if directory().0.is_dir() {
        figures.extend(worst_of_vectors()?);
    } else {
        println!("cpu: no vectors here, so no worst case of them");
    }
    for cpus in [16, 64, 256, 1024] {
        let shape = Shape {
            nodes: 2,
            cores: cpus / 8,
            ..LARGE
        };
        figures.extend(Machine::new(shape)?.growth(&format!("{cpus} CPUs, 4 NUMA nodes"))?);
    }
    for nodes in [1, 2, 4, 8, 16, 32, 64] {
        let shape = Shape {
            sockets: 1,
            nodes,
            cores: 128 / nodes,
            ..LARGE
        };
        figures.extend(Machine::new(shape)?.growth(&format!("256 CPUs, {nodes} NUMA nodes"))?);
    }
    Ok(figures)
}

struct Machine {
    topology: Topology,
    policy: StaticPolicy,
    manager: TopologyManager,
    /// CPUs that no pod has.
    free: CpuSet,
}

impl Machine {
    fn new(shape: Shape) -> Result<Self, Failure> {
        let topology = shape.build();
        let manager = TopologyManager {
            policy: TopologyPolicy::BestEffort,
            scope: TopologyScope::Container,
            prefer_closest: false,
            nodes: NumaNodes::of(&topology),
        };
        let reserved = Reservation::Count(1);
        let policy = StaticPolicy::new(
            topology.clone(),
            StaticOptions::default(),
            &reserved,
            manager.policy,
        )?;
        // Of each stretch of seven cores three are in use, and of every fifth core one thread.
        let in_use = topology.cores().iter().enumerate().flat_map(|(n, core)| {
            let threads = if n % 7 < 3 { 2 } else { usize::from(n % 5 == 0) };
            core.cpus.iter().take(threads)
        });
        let in_use: CpuSet = in_use.collect();
        Ok(Self {
            free: &(topology.cpus() - &in_use) - policy.reserved(),
            topology,
            policy,
            manager,
        })
    }

    /// Microseconds to let a pod of so many CPUs in, on the machine in use.
    fn admission(&self, cpus: usize) -> Result<f64, Failure> {
        let mut assignments = self.policy.start();
        let in_use = &(self.topology.cpus() - &self.free) - self.policy.reserved();
        let other = pod("other", in_use.len())?;
        let container = &other.containers.first().ok_or("a pod without containers")?.name;
        assignments.grant(&other.uid, container, in_use)?;
        let pod = pod("pod", cpus)?;
        let admit = || self.policy.admit(&self.manager, &assignments, &pod);
        admit().map_err(|refused| refused.to_string())?;
        Ok(median(admit))
    }

    fn take_packed(&self, count: usize) -> Result<Taken, NotEnough> {
        packed(&self.topology, &self.free, count, Strategy::Packed, false)
    }

    fn take_distributed(&self, count: usize) -> Result<Taken, NotEnough> {
        distributed(&self.topology, &self.free, count, 1, Strategy::Packed)
    }

    fn packed(&self) -> f64 {
        percentile(&mut requests(|count| self.take_packed(count)), 50)
    }

    fn distributed(&self) -> f64 {
        percentile(&mut requests(|count| self.take_distributed(count)), 50)
    }

    fn worst_distributed(&self) -> f64 {
        percentile(&mut requests(|count| self.take_distributed(count)), 100)
    }

    fn growth(&self, on: &str) -> Figures {
        // A quarter of what is free, so that larger machines have more to do.
        let count = self.free.len() / 4;
        let one = |what: &str, time: f64| Figure::alone(format!("{what}, {on}"), time, "us");
        Ok(vec![
            one("admission of a 6-CPU pod", self.admission(6)?),
            one("packed, a quarter", median(|| self.take_packed(count))),
            one("distributed, a quarter", median(|| self.take_distributed(count))),
        ])
    }
}

/// The median for each of some counts.
fn requests<T>(mut ask: impl FnMut(usize) -> T) -> Vec<f64> {
    (2..=64).step_by(2).map(|count| median(|| ask(count))).collect()
}

/// Microseconds until the answer is there.
fn micros<T>(mut what: impl FnMut() -> T) -> f64 {
    let begun = Instant::now();
    let answer = black_box(what());
    let took = begun.elapsed();
    drop(answer);
    took.as_secs_f64() * 1e6
}

fn median<T>(mut what: impl FnMut() -> T) -> f64 {
    let mut times: Vec<_> = (0..TURNS).map(|_| micros(&mut what)).collect();
    percentile(&mut times, 50)
}

fn pod(name: &str, cpus: usize) -> Result<Pod, Failure> {
    let amounts = json!({"cpu": cpus.to_string(), "memory": "64Mi"});
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "uid": name},
        "spec": {"containers": [{"name": "main", "resources": {"requests": amounts, "limits": amounts}}]},
    });
    Ok(pod_as_it_stands(&pod.to_string())?)
}

/// The best of three.
fn best<T>(mut what: impl FnMut() -> T) -> f64 {
    (0..3).map(|_| micros(&mut what)).fold(f64::INFINITY, f64::min)
}

fn read(file: &str) -> Result<Vec<Row>, Failure> {
    let path = directory().0.join(file);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(rows(&text)?)
}

fn worst_of_vectors() -> Figures {
    let known = topologies(&directory().0)?;
    let mut worst_take = 0_f64;
    for file in [
        "cpu_take_packed.jsonl",
        "cpu_take_distributed.jsonl",
        "cpu_take_distributed_hang.jsonl",
    ] {
        for row in read(file)? {
            let question = Question::read(&row, &known)?;
            worst_take = worst_take.max(best(|| question.ask()));
        }
    }
    let mut worst_admission = 0_f64;
    for row in read("cpu_static_sequences.jsonl")? {
        // Some cannot be, which is their answer.
        let Ok(mut node) = Node::new(&row, &known) else {
            continue;
        };
        let steps = row.get("steps").and_then(|steps| steps.as_array());
        for step in steps.into_iter().flatten().filter_map(|step| step.as_object()) {
            if let Some(name) = step.get("remove") {
                node.assignments.release(&node::uid(name)?);
                continue;
            }
            let pod = node::pod(step)?;
            worst_admission = worst_admission.max(best(|| node.admit(&pod)));
            if let Ok(admitted) = node.admit(&pod) {
                node.assignments = admitted.applied(&node.assignments)?;
            }
        }
    }
    Ok(vec![
        Figure::alone("worst assignment of all vectors", worst_take, "us"),
        Figure::alone("worst admission of all vectors", worst_admission, "us"),
    ])
}
