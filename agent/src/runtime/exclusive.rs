//! Who is on CPUs that are somebody's own, and for how long: the probe's figures, for the engine.
//!
//! The kernel counts per CPU and never forgets; a container's figures are differences since it has the CPU, and what a
//! CPU had when it went to another is kept for as long as the container has any.

use std::collections::BTreeMap;
use std::io;

use tracing::{error, warn};

use super::engine::Owner;
use super::{Agent, ground};
use crate::kernel::clock::{Clock, RealClock};
use crate::model::{
    BootTime, CgroupId, CgroupPath, CpuId, CpuSet, ForeignReport, ForeignTime, Intruder, KernelThreadTimes,
};
use crate::observe::probes::Foreign;
use crate::observe::running::strangers;

/// The CPUs with an owner, as the probe was told.
#[derive(Default)]
pub(super) struct Exclusive {
    owners: BTreeMap<CpuId, Owner>,
    /// What each CPU had counted when its owner got it.
    begun: BTreeMap<CpuId, ForeignTime>,
    /// Of CPUs that an owner had before.
    settled: BTreeMap<CgroupId, ForeignReport>,
}

impl Exclusive {
    /// Tells the probe whose each CPU is.
    fn tell(&mut self, foreign: &mut Foreign, owners: BTreeMap<CpuId, Owner>) {
        if owners == self.owners {
            return;
        }
        let before = foreign.times();
        for (cpu, owner) in &self.owners {
            if owners.get(cpu) != Some(owner) {
                let used = since(&before, &self.begun, *cpu);
                self.settled.entry(owner.cgroup.id).or_default().add(used);
            }
        }
        let told = owners.iter().map(|(cpu, owner)| (*cpu, owner.cgroup)).collect();
        match foreign.set_owners(&told) {
            // They are told again once they are there: the owners change then.
            Ok(_offline) => {}
            Err(error) => warn!(%error, "whose CPUs these are cannot be told to the kernel; tried again"),
        }
        let after = foreign.times();
        let new = owners
            .iter()
            .filter(|(cpu, owner)| self.owners.get(cpu) != Some(owner));
        let new: Vec<_> = new.map(|(cpu, _)| *cpu).collect();
        self.begun.retain(|cpu, _| owners.contains_key(cpu));
        for cpu in new {
            self.begun
                .insert(cpu, after.get(&cpu).copied().unwrap_or_default());
        }
        let has_any = |id: &CgroupId| owners.values().any(|owner| owner.cgroup.id == *id);
        self.settled.retain(|id, _| has_any(id));
        self.owners = owners;
    }

    /// What others used, by owner.
    fn reports(&self, foreign: &Foreign) -> BTreeMap<CgroupId, ForeignReport> {
        let now = foreign.times();
        let mut reports = self.settled.clone();
        for (cpu, owner) in &self.owners {
            let used = since(&now, &self.begun, *cpu);
            reports.entry(owner.cgroup.id).or_default().add(used);
        }
        reports
    }
}

fn words(cpus: &CpuSet) -> String {
    if cpus.is_empty() {
        "none".to_owned()
    } else {
        cpus.to_string()
    }
}

fn since(
    now: &BTreeMap<CpuId, ForeignTime>,
    begun: &BTreeMap<CpuId, ForeignTime>,
    cpu: CpuId,
) -> ForeignReport {
    let at = |times: &BTreeMap<CpuId, ForeignTime>| times.get(&cpu).copied().unwrap_or_default();
    ForeignReport::between(&at(begun), &at(now))
}

impl Agent {
    /// Looks whether CPUs went or came, and begins anew with those that are there.
    pub(super) fn look_at_cpus(&mut self, now: BootTime) {
        let Some(watch) = &mut self.cpus else { return };
        let change = match watch.look() {
            Ok(Some(change)) => change,
            Ok(None) => return,
            Err(error) => {
                warn!(%error, "the machine's CPUs cannot be looked at; tried again");
                return;
            }
        };
        let told = format!(
            "CPUs went: {}; came: {}",
            words(&change.went),
            words(&change.came)
        );
        match ground::allotment_after(&self.config, &self.settings, watch.cpus().clone()) {
            Ok(allotment) => self.engine.cpus_changed(allotment, told, now),
            Err(error) => error!("{told}; all is left as it was: {error:#}"),
        }
    }

    /// Looks who is on CPUs that containers wait for, and lets those start that are alone there.
    pub(super) fn look_for_strangers(&mut self) {
        if !self.engine.gives_cpus() {
            return;
        }
        let owners = self.engine.owners();
        if let Some(foreign) = self.watching.probes.foreign() {
            self.exclusive.tell(foreign, owners.clone());
        }
        let unseen = self.engine.unseen();
        if unseen.is_empty() {
            return;
        }
        match self.strangers(&unseen, &owners) {
            Ok(strangers) => {
                let now = RealClock.now();
                self.engine.seen(&unseen, &strangers, now);
                self.engine.settle(now);
                self.stale = true;
            }
            Err(error) => warn!(%error, "who runs on exclusive CPUs cannot be told; tried again"),
        }
    }

    fn strangers(&mut self, cpus: &CpuSet, owners: &BTreeMap<CpuId, Owner>) -> io::Result<Vec<Intruder>> {
        if let Some(foreign) = self.watching.probes.foreign() {
            let presence = foreign.present(cpus);
            if presence.unwatched.is_empty() {
                return Ok(presence.intruders);
            }
        }
        let root = CgroupPath::parse(self.engine.root().trim_start_matches('/'))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let owners = owners.iter().filter(|(cpu, _)| cpus.contains(**cpu));
        let owners = owners.map(|(cpu, owner)| (*cpu, root.join(&owner.path)));
        strangers(&root, &owners.collect())
    }

    /// Hands the engine what others used of exclusive CPUs.
    pub(super) fn sample_foreign(&mut self) {
        let Some(foreign) = self
            .watching
            .probes
            .foreign()
            .filter(|foreign| foreign.is_counting())
        else {
            return;
        };
        let reports = self.exclusive.reports(foreign);
        let threads = foreign.kernel_threads().unwrap_or_else(|error| {
            warn!(%error, "what the kernel's threads use of exclusive CPUs cannot be read");
            KernelThreadTimes::default()
        });
        let mut named = threads.named;
        named.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        self.engine.note_foreign(reports, named);
    }
}
