//! Foreign time: what ran on CPUs that belong to one container, and was not that container.
//!
//! [`Foreign::set_owners`] says which CPU is whose; from then on the kernel counts there, and only there. The figures
//! are read without a system call and without disturbing the CPU; setting an owner interrupts it once, to see what is
//! running there at that moment.
//!
//! A running task's time is part of the figures up to the moment of reading. A task that is moved to another cgroup
//! while it runs is taken for what it was until it next leaves the CPU.
//!
//! # Properties
//! - Whatever happens on a CPU, and whenever it is read: no figure falls, and all of them together grow by the time
//!   that passed.
//! - Names of kernel threads are few, and made of harmless characters.

mod names;
#[cfg(test)]
mod props;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use plimsoll_ebpf::foreign::{ForeignCpu, USERS, user};

use super::decode::text;
use crate::kernel::ebpf::{Adopted, CpuBooks, LoadError, Loaded};
use crate::model::{
    BootTime, CgroupId, CpuId, CpuSet, ForeignTime, Intruder, KernelThreadTimes, OwnerCgroup, Presence,
    Stranger,
};

use names::{Names, thread_name};

/// The books of the CPUs, understood.
pub struct Foreign {
    books: CpuBooks,
    names: Names,
}

impl Foreign {
    pub(super) fn new(books: CpuBooks) -> Self {
        Self {
            books,
            names: Names::default(),
        }
    }

    pub(super) fn loaded(&self) -> &Loaded {
        self.books.loaded()
    }

    /// Whether the kernel counts: while any CPU has an owner.
    #[must_use]
    pub fn is_counting(&self) -> bool {
        self.books.is_attached()
    }

    /// Makes these CPUs belong to these cgroups, and all others to none. Gives those that are offline: they are to be
    /// set again once they are online.
    ///
    /// # Errors
    /// The first refusal of the kernel; the other CPUs are done nevertheless, and the same call can be made again.
    pub fn set_owners(&mut self, owners: &BTreeMap<CpuId, OwnerCgroup>) -> Result<CpuSet, LoadError> {
        if !owners.is_empty() {
            self.books.attach()?;
        }
        let mut offline = CpuSet::EMPTY;
        let mut result = Ok(());
        let all = self.cpus().chain(owners.keys().copied());
        for cpu in all.collect::<CpuSet>().iter() {
            let wanted = owners.get(&cpu);
            let level = self.books.root_level();
            let wanted = wanted.map(|owner| (owner.id, level + u64::from(owner.depth)));
            let now = self.books.read(cpu).map(|(_, books)| books.owner);
            if now == Some(wanted.map_or(0, |(id, _)| id.0)) {
                continue;
            }
            match self.books.adopt(cpu, wanted) {
                Ok(Adopted::Now) => {}
                Ok(Adopted::Offline) => {
                    if wanted.is_some() {
                        offline.insert(cpu);
                    }
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        result?;
        if owners.is_empty() {
            self.books.detach()?;
        }
        Ok(offline)
    }

    /// The figures of every CPU that has, or ever had, an owner.
    #[must_use]
    pub fn times(&self) -> BTreeMap<CpuId, ForeignTime> {
        let used = |books: &ForeignCpu| books.owner != 0 || books.totals != [0; USERS];
        self.cpus()
            .filter_map(|cpu| Some((cpu, self.books.read(cpu)?)))
            .filter(|(_, (_, books))| used(books))
            .map(|(cpu, (now, books))| (cpu, time(&books, now)))
            .collect()
    }

    /// Which strangers are on these CPUs at this moment.
    #[must_use]
    pub fn present(&self, cpus: &CpuSet) -> Presence {
        let mut presence = Presence::default();
        for cpu in cpus.iter() {
            match self.books.read(cpu) {
                Some((_, books)) if books.owner != 0 => presence.intruders.extend(intruder(cpu, &books)),
                _ => _ = presence.unwatched.insert(cpu),
            }
        }
        presence
    }

    /// The time of kernel threads on all CPUs together, by name.
    ///
    /// # Errors
    /// The kernel's.
    pub fn kernel_threads(&mut self) -> io::Result<KernelThreadTimes> {
        let mut times: BTreeMap<String, u64> = BTreeMap::new();
        for (thread, nsec) in self.books.threads()? {
            *times.entry(thread_name(&thread.comm)).or_default() += nsec;
        }
        let mut total = 0;
        for (now, books) in self.cpus().filter_map(|cpu| self.books.read(cpu)) {
            let now = nanos(now);
            total += books.totals_at(now)[user::KERNEL_THREAD as usize];
            if books.owner != 0 && books.task.user == user::KERNEL_THREAD {
                *times.entry(thread_name(&books.task.comm)).or_default() += books.ran_at(now);
            }
        }
        Ok(self.names.take(&times, total))
    }

    fn cpus(&self) -> impl Iterator<Item = CpuId> + use<> {
        (0..self.books.cpus()).filter_map(CpuId::new)
    }
}

fn nanos(time: BootTime) -> u64 {
    u64::try_from(time.0.as_nanos()).unwrap_or(u64::MAX)
}

/// The figures of one CPU's books at a time shortly before they were read.
fn time(books: &ForeignCpu, now: BootTime) -> ForeignTime {
    let [own, pods, system, kernel_threads, irq, softirq, ..] =
        books.totals_at(nanos(now)).map(Duration::from_nanos);
    let moment = |nsec| BootTime(Duration::from_nanos(nsec));
    ForeignTime {
        owner: (books.owner != 0).then_some(CgroupId(books.owner)),
        since: moment(books.began),
        left: (books.left != 0).then(|| moment(books.left)),
        own,
        pods,
        system,
        kernel_threads,
        irq,
        softirq,
    }
}

fn intruder(cpu: CpuId, books: &ForeignCpu) -> Option<Intruder> {
    let task = &books.task;
    let kind = match task.user {
        user::POD => Stranger::Pod,
        user::SYSTEM => Stranger::System,
        user::KERNEL_THREAD => Stranger::KernelThread,
        _ => return None,
    };
    Some(Intruder {
        cpu,
        kind,
        pid: task.pid,
        tid: task.tid,
        comm: text(&task.comm),
        cgroup: Some(CgroupId(task.cgroup)),
    })
}
