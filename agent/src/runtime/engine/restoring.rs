//! At start, and when the machine's CPUs change: who has which CPUs and memory, from file, kernel and manifests.
//!
//! `decide::cpu::restore` decides; here it is told what is known, and what it changed is told on. That needs the manifests:
//! until they were read once nothing is placed where CPUs are given out, and what runs runs on. After that the file
//! follows what is given out, at the end of each settling that changed it.

use std::collections::{BTreeMap, BTreeSet};

use tracing::{info, warn};

use super::Engine;
use crate::decide::allocatable::allocatable;
use crate::decide::allotment::Allotment;
use crate::decide::cpu::restore::{Facts, Live, WantedPod, restore, under};
use crate::decide::cpu::{Wish, Wishes};
use crate::kernel::checkpoint::Found;
use crate::model::{BootTime, ContainerName, ControlFile, CpuSet, MilliCpu, Place, PodUid};
use crate::state::cpus::checkpoint::{CpuCheckpoint, MachineMark};

/// Changes that are kept for the report.
const CHANGES: usize = 64;

impl Engine {
    /// Reads what was written down. To be called once, before the first pods are set.
    pub(super) fn load_cpus(&mut self) {
        if self.allotment.is_none() {
            return;
        }
        let loaded = self.ports.checkpoint.load::<CpuCheckpoint>();
        self.given_before = match loaded.found {
            Found::Usable(checkpoint) => Some(checkpoint),
            Found::Missing => None,
            Found::Unusable(why) => {
                let path = self.ports.checkpoint.path();
                let aside = match loaded.put_aside {
                    Some(Ok(aside)) => format!("it was put aside as {}", aside.display()),
                    Some(Err(error)) => error.to_string(),
                    None => String::new(),
                };
                self.tell_change(
                    "unusable_checkpoint",
                    format!("{}: {why}; {aside}", path.display()),
                );
                None
            }
        };
        self.restored = false;
    }

    /// Begins with what containers have and were promised, as far as it can be. Does nothing a second time.
    pub(super) fn restore_cpus(&mut self) {
        if std::mem::replace(&mut self.restored, true) {
            return;
        }
        let Some(mut allotment) = self.allotment.take() else {
            return;
        };
        self.resume(&mut allotment);
        self.find_partitions();
        self.allotment = Some(allotment);
        self.unwritten = true;
        self.unsettled = true;
    }

    /// The machine has other CPUs now, of which `allotment` has given none out yet.
    pub fn cpus_changed(&mut self, allotment: Allotment, told: String, now: BootTime) {
        self.tell_change("machine", told);
        self.end_all_partitions();
        self.given_before = self.checkpoint(now);
        // What runs goes on whatever is left; others are let in by what there is now.
        self.settings.capacity.cpu = MilliCpu(allotment.topology().cpus().len() as u64 * 1000);
        self.allocatable = allocatable(&self.settings.capacity, &self.settings.policy);
        self.allotment = Some(allotment);
        self.restored = false;
        self.restore_cpus();
        self.look_anew();
    }

    fn resume(&mut self, allotment: &mut Allotment) {
        let mixed = allotment.mixed_pods();
        let live = self.live_containers(mixed);
        let wanted: BTreeMap<_, _> = self
            .pods
            .iter()
            .filter(|(_, managed)| managed.takes_part())
            .map(|(uid, managed)| {
                let pod = WantedPod::of(&managed.run.pod, mixed, managed.takes_room());
                (uid.clone(), pod)
            })
            .collect();
        let restored = restore(&Facts {
            checkpoint: self.given_before.as_ref(),
            live: &live,
            wanted: &wanted,
            topology: allotment.topology(),
            policy: allotment.managers().cpus.as_ref(),
            machine: &self.machine_mark(allotment),
        });
        let let_in = self.pods.values().filter(|managed| managed.takes_room());
        let pods: Vec<_> = let_in.map(|managed| &managed.run.pod).collect();
        let memory = allotment.resume(restored.assignments, pods, |uid, name| {
            let pin = self
                .given_before
                .as_ref()
                .and_then(|before| before.pin(uid, name));
            self.bound_to(uid, name)
                .or_else(|| Some(pin?.memory_nodes.clone()))
                .unwrap_or_default()
        });
        for change in restored.changes {
            self.tell_change(change.label(), change.to_string());
        }
        for (pod, container, change) in memory {
            self.tell_change("memory", format!("{pod} {container}: {change}"));
        }
        // What each was given is told anew; it keeps what it has.
        self.pods.values_mut().for_each(|managed| managed.given.clear());
    }

    /// The containers that run, with the CPUs that the kernel shows.
    fn live_containers(&self, mixed: bool) -> BTreeMap<PodUid, BTreeMap<ContainerName, Live>> {
        let mut live: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for (path, cgroup) in self.actual.cgroups.iter().filter(|(_, cgroup)| cgroup.populated) {
            let place = self.settings.policy.layout.place(path);
            let shown = cgroup.values.get(&ControlFile::CpusetCpusEffective);
            let effective = shown.and_then(|list| CpuSet::parse(list).ok());
            if let (Some(Place::Container(_, uid, name)), Some(effective)) = (place, effective) {
                let exclusive = self.was_put_on_its_own(&uid, &name, &effective, mixed);
                let container = Live { effective, exclusive };
                live.entry(uid).or_default().insert(name, container);
            }
        }
        live
    }

    /// Whether the CPUs that a running container has are its own: those that it was promised, and without a file as many
    /// as it wants at most. One that was not put on its own yet has everybody's, which are more.
    fn was_put_on_its_own(&self, uid: &PodUid, name: &ContainerName, has: &CpuSet, mixed: bool) -> bool {
        if let Some(before) = &self.given_before {
            return before.pin(uid, name).is_some_and(|pin| has.is_subset(&pin.cpus));
        }
        let pod = self.pods.get(uid).map(|managed| &managed.run.pod);
        pod.is_some_and(|pod| {
            let mut containers = pod.all_containers();
            let index = containers.position(|container| container.name == *name);
            let wish = index.map(|index| Wishes::of(pod, mixed).container(index));
            matches!(wish, Some(Wish::Exclusive(count)) if has.len() <= count)
        })
    }

    /// The NUMA nodes that a container's memory is bound to, as the kernel shows it.
    fn bound_to(&self, uid: &PodUid, name: &ContainerName) -> Option<BTreeSet<u32>> {
        let managed = self.pods.get(uid)?;
        let path = self.settings.policy.layout.container(managed.class, uid, name);
        let list = self
            .actual
            .cgroups
            .get(&path)?
            .values
            .get(&ControlFile::CpusetMems)?;
        // The kernel writes both kinds of list alike.
        let nodes = CpuSet::parse(list).ok().filter(|nodes| !nodes.is_empty())?;
        Some(nodes.iter().map(u32::from).collect())
    }

    fn machine_mark(&self, allotment: &Allotment) -> MachineMark {
        MachineMark::of(allotment.topology(), self.settings.machine_id.clone())
    }

    /// What is given out, to be written down; none where nothing is.
    fn checkpoint(&self, now: BootTime) -> Option<CpuCheckpoint> {
        let allotment = self.allotment.as_ref()?;
        let mut memory: BTreeMap<PodUid, BTreeMap<_, _>> = BTreeMap::new();
        for (uid, managed) in &self.pods {
            for placement in &managed.given {
                if let Some(nodes) = &placement.mems {
                    let bound = memory.entry(uid.clone()).or_default();
                    bound.insert(placement.name.clone(), nodes.iter().copied().collect());
                }
            }
        }
        Some(CpuCheckpoint::of(
            allotment.assignments(),
            &memory,
            under(allotment.managers().cpus.as_ref(), &self.machine_mark(allotment)),
            self.given_before.as_ref(),
            self.settings.booted_at.saturating_add(now.0).as_secs(),
        ))
    }

    /// Writes down what is given out, if it is not what was written last.
    pub(super) fn save_cpus(&mut self, now: BootTime) {
        if !self.restored || !self.unwritten {
            return;
        }
        let Some(checkpoint) = self.checkpoint(now) else {
            return;
        };
        match self.ports.checkpoint.save(&checkpoint) {
            Ok(_) => {
                self.given_before = Some(checkpoint);
                self.unwritten = false;
            }
            Err(error) => warn!(%error, "who has which CPUs cannot be written down; tried again"),
        }
    }

    fn tell_change(&mut self, label: &'static str, told: String) {
        info!(change = label, "{told}");
        self.counters.cpu_changed(label);
        if self.cpu_changes.len() == CHANGES {
            self.cpu_changes.pop_front();
        }
        self.cpu_changes.push_back(told);
    }
}
