//! What happens to a node other than its pods: another configuration, CPUs that go, an agent that is killed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use plimsoll::config::{self, Config, CpuManagerPolicy};
use plimsoll::decide::allotment::Allotment;
use plimsoll::decide::managers::managers;
use plimsoll::decide::policy::PlacementPolicy;
use plimsoll::kernel::checkpoint::CPUS;
use plimsoll::kernel::fault;
use plimsoll::model::{Bytes, CpuSet, MachineCpus, NumaMemory, Shape, Topology};

use super::{FakeNode, Killed, Running};

/// A shape with all that matters for exclusive CPUs: 2 NUMA nodes of 4 cores of 2 threads each.
pub const TWO_NODES: Shape = Shape {
    sockets: 2,
    nodes: 1,
    l3s: 1,
    cores: 4,
    threads: 2,
};
/// A configuration that gives its CPUs, the first core aside.
pub const STATIC: &str = "cpuManagerPolicy: static\nreservedSystemCPUs: 0,8\n";

impl FakeNode {
    /// Gives the agent, which must not run, another configuration.
    pub fn configure(&mut self, config: &str) {
        self.configure_with(&config::parse(config, "node.yaml").unwrap());
    }

    pub(super) fn configure_with(&mut self, config: &Config) {
        assert!(self.running.is_none(), "the agent runs");
        self.settings.policy = PlacementPolicy::from_config(config).unwrap();
        self.settings.partition = config.cpuset_partition.kind();
        self.config = config.clone();
        self.allotment = self.allotment();
    }

    /// What there is to give out of the CPUs that are online.
    fn allotment(&self) -> Option<Allotment> {
        if self.config.cpu_manager_policy == CpuManagerPolicy::None {
            return None;
        }
        let whole = self.shape.build();
        let online = whole
            .records()
            .iter()
            .filter(|record| !self.offline.contains(record.cpu));
        let topology = Topology::new(online.copied(), whole.numa_records().to_vec()).unwrap();
        let machine = MachineCpus {
            topology: topology.clone(),
            offline: self.offline.clone(),
            isolated: CpuSet::EMPTY,
            nohz_full: CpuSet::EMPTY,
            kinds: Vec::new(),
        };
        let memory = NumaMemory {
            total: Bytes(8 << 30),
            ..NumaMemory::default()
        };
        let (settings, memory) = (&self.settings, vec![memory; topology.numa_nodes().len()]);
        let managers = managers(
            &self.config,
            &settings.policy,
            &machine,
            &settings.capacity,
            &memory,
        );
        Some(Allotment::new(managers.unwrap(), topology))
    }

    /// Takes CPUs offline, or brings them back; the agent, which gives CPUs, is told.
    pub fn set_online(&mut self, cpus: &str, online: bool) {
        let cpus = CpuSet::parse(cpus).unwrap();
        for cpu in cpus.iter() {
            self.machine.cgroups.set_online(cpu, online);
        }
        self.offline = if online {
            &self.offline - &cpus
        } else {
            &self.offline | &cpus
        };
        let allotment = self.allotment();
        let now = self.now;
        if let Some(Running { engine, .. }) = &mut self.running {
            engine.cpus_changed(allotment.unwrap(), format!("{cpus} online: {online}"), now);
        }
        self.pass();
    }

    /// The file of who has which CPUs.
    #[must_use]
    pub fn checkpoint(&self) -> PathBuf {
        self.files.path().join("state").join(CPUS)
    }

    /// Does `what`, in which the agent is killed when it comes to change something for the `nth` time, counting what it
    /// does to its own files. Whether it was.
    ///
    /// # Panics
    /// What is wrong with the agent.
    pub fn killed_in(&mut self, nth: usize, what: impl FnOnce(&mut Self)) -> bool {
        let machine = Arc::clone(&self.machine);
        let hook = fault::on_this_thread(move |_| machine.passes());
        self.machine.kill_after(nth);
        let done = catch_unwind(AssertUnwindSafe(|| what(self)));
        self.machine.spare();
        drop(hook);
        match done {
            Ok(()) => false,
            Err(why) if why.is::<Killed>() => {
                self.kill_agent();
                true
            }
            Err(why) => resume_unwind(why),
        }
    }
}
