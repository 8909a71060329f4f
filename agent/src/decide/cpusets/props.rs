//! Lists carried out write by write, in any order, with writes that fail, on a kernel that is a table.

use proptest::prelude::*;

use super::*;
use crate::decide::fixtures::{STATIC, simple, two_nodes};
use crate::model::{CgroupId, ContainerName};

/// What happens.
#[derive(Debug, Clone)]
enum Event {
    /// A pod comes, changes how many CPUs it wants (none of its own for 0), or goes.
    Pod(usize, Option<usize>),
    /// The lists are carried out, so many of their writes, beginning with this one.
    Write(usize, usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0_usize..5, prop::option::weighted(0.8, 0_usize..6)).prop_map(|(pod, cpus)| Event::Pod(pod, cpus)),
        (0_usize..9, 0_usize..9).prop_map(|(from, count)| Event::Write(from, count)),
    ]
}

struct World {
    allotment: Allotment,
    pods: BTreeMap<usize, Pod>,
    layout: Layout,
    /// The cgroups that are there, with their lists.
    kernel: BTreeMap<CgroupPath, CpuSet>,
    running: BTreeSet<CgroupPath>,
    /// Those that have been alone on their own CPUs: one that ran in the pool before is not from the start.
    alone: BTreeSet<CgroupPath>,
}

impl World {
    fn new() -> Self {
        let layout = Layout::default();
        let levels = class_levels().map(|class| (layout.qos(class), CpuSet::EMPTY));
        Self {
            allotment: two_nodes().allotment(STATIC),
            pods: BTreeMap::new(),
            kernel: levels.collect(),
            layout,
            running: BTreeSet::new(),
            alone: BTreeSet::new(),
        }
    }

    fn path(&self, pod: &Pod) -> CgroupPath {
        let name = ContainerName::parse("main").unwrap();
        self.layout.container(qos_class(pod), &pod.uid, &name)
    }

    /// As the kernel works it out.
    fn has(&self, path: &CgroupPath) -> CpuSet {
        let Some(parent) = path.parent() else {
            return self.allotment.topology().cpus().clone();
        };
        let above = self.has(&parent);
        let common = &above & self.kernel.get(path).unwrap_or(&CpuSet::EMPTY);
        if common.is_empty() { above } else { common }
    }

    fn actual(&self) -> ActualTree {
        let shown = |(path, list): (&CgroupPath, &CpuSet)| {
            let values = [
                (ControlFile::CpusetCpus, list.to_string()),
                (ControlFile::CpusetCpusEffective, self.has(path).to_string()),
            ];
            let cgroup = ActualCgroup {
                id: CgroupId(1),
                enabled: BTreeSet::new(),
                values: values.into(),
                populated: self.running.contains(path),
            };
            (path.clone(), cgroup)
        };
        ActualTree {
            cgroups: self.kernel.iter().map(shown).collect(),
            ..ActualTree::default()
        }
    }

    fn lists(&self) -> Cpusets {
        let pods: Vec<_> = self.pods.values().map(|pod| (pod, [].as_slice())).collect();
        cpusets(&Inputs {
            layout: &self.layout,
            allotment: Some(&self.allotment),
            pods: &pods,
            actual: &self.actual(),
        })
    }

    fn come_or_change(&mut self, number: usize, cpus: usize) {
        let amounts = match cpus {
            0 => "cpu=500m memory=1Gi".to_owned(),
            cpus => format!("cpu={cpus} memory=1Gi"),
        };
        // Every fifth is Burstable, and shares.
        let limits = if number == 4 { "" } else { amounts.as_str() };
        let pod = simple(&format!("p{number}"), &amounts, limits);
        let answer = match self.pods.get(&number) {
            Some(before) => self.allotment.update(before, &pod),
            None => self.allotment.admit(&pod),
        };
        if answer.is_err() {
            return;
        }
        let path = self.path(&pod);
        for path in [path.parent().unwrap(), path] {
            self.kernel.entry(path).or_default();
        }
        if cpus == 0 {
            self.alone.remove(&self.path(&pod));
        }
        self.pods.insert(number, pod);
    }

    fn go(&mut self, number: usize) {
        let Some(pod) = self.pods.remove(&number) else {
            return;
        };
        let path = self.path(&pod);
        self.running.remove(&path);
        self.alone.remove(&path);
        self.kernel.remove(&path.parent().unwrap());
        self.kernel.remove(&path);
        self.allotment.release(&pod.uid);
    }

    /// Carries `count` writes out, and starts what may be started. Says whether there was something to do.
    fn carry_out(&mut self, from: usize, count: usize) -> Result<bool, TestCaseError> {
        let sets = self.lists();
        let mut writes: Vec<_> = self
            .kernel
            .iter()
            .map(|(path, list)| (path.clone(), list.clone(), sets.cpus(path)))
            .filter(|(_, list, wanted)| list != wanted)
            .map(|(path, _, wanted)| (path, wanted))
            .collect();
        let mut done = !writes.is_empty();
        let split = from % writes.len().max(1);
        writes.rotate_left(split);
        for (path, list) in writes.into_iter().take(count) {
            self.kernel.insert(path, list);
            self.check()?;
        }
        let actual = self.actual();
        for path in self.pods.values().map(|pod| self.path(pod)).collect::<Vec<_>>() {
            let written = self.kernel[&path] == sets.cpus(&path);
            if written && sets.held_back(&path, &self.layout, &actual).is_none() {
                if sets.own().contains_key(&path) {
                    self.alone.insert(path.clone());
                }
                done |= self.running.insert(path);
                self.check()?;
            }
        }
        Ok(done)
    }

    /// No two that run have a CPU in common if one of them is to be alone.
    fn check(&self) -> Result<(), TestCaseError> {
        let running = |path: &CgroupPath| self.running.contains(path);
        for pod in self.pods.values() {
            let path = self.path(pod);
            if !self.alone.contains(&path) {
                continue;
            }
            let has = self.has(&path);
            for other in self.pods.values().filter(|other| other.uid != pod.uid) {
                let other = self.path(other);
                if running(&other) {
                    let common = &self.has(&other) & &has;
                    prop_assert!(common.is_empty(), "{path} and {other} both have {common}");
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn nobody_runs_where_another_is_alone_and_all_come_to_what_they_were_given(
        events in prop::collection::vec(event(), 1..30),
    ) {
        let mut world = World::new();
        for event in events {
            match event {
                Event::Pod(number, Some(cpus)) => world.come_or_change(number, cpus),
                Event::Pod(number, None) => world.go(number),
                Event::Write(from, count) => {
                    world.carry_out(from, count)?;
                }
            }
        }
        for round in 0.. {
            prop_assert!(round < 10, "never ends");
            if !world.carry_out(0, usize::MAX)? {
                break;
            }
        }
        prop_assert_eq!(world.running.len(), world.pods.len());
        for pod in world.pods.values() {
            let own = world.allotment.assignments().held_by_pod(&pod.uid);
            let due = if own.is_empty() { world.allotment.shared() } else { own };
            prop_assert_eq!(world.has(&world.path(pod)), due);
        }
    }
}
