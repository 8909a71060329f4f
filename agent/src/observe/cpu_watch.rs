//! CPUs that go and come while the agent runs.
//!
//! **Problem.** A CPU can be taken offline at any moment, by an administrator, a hypervisor or a failing machine, and the
//! kernel lets what ran there run elsewhere without asking. **How.** Two lists of sysfs, `online` and `present`, are read
//! at each look and compared as text with those of the look before: some ten microseconds, so that a look a second costs
//! nothing. Only when they differ are the CPUs read anew. Sysfs does not tell of changes here (no inotify, no poll), and a
//! netlink socket of the kernel's device events, which would tell a second earlier, can lose events and is shut out by
//! network namespaces, so that looking would still be needed.
//!
//! A CPU that went and came back between two looks is not told: the kernel has by then given every cgroup its CPUs back.
//!
//! # Properties
//! - The changes told so far, applied to the CPUs at the start, give the CPUs now.
//! - A look that fails changes nothing; the next one tells what it would have told.

use super::cpu_topology::{self, CpuTopologyError, ONLINE, PRESENT};
use crate::kernel::node_facts::{FactError, Machine};
use crate::model::{CpuChange, MachineCpus};

/// The CPUs of a machine, and whether they are still so.
#[derive(Debug)]
pub struct CpuWatch {
    machine: Machine,
    /// What the lists said when the CPUs were read.
    seen: Lists,
    cpus: MachineCpus,
}

/// `online` and `present` as text.
type Lists = [Option<String>; 2];

impl CpuWatch {
    /// Reads the CPUs of a machine for the first time.
    ///
    /// # Errors
    /// As [`cpu_topology::read`].
    pub fn new(machine: Machine) -> Result<Self, CpuTopologyError> {
        // The lists first: a CPU that goes in between is noticed at the next look.
        let seen = lists(&machine)?;
        let cpus = cpu_topology::read(&machine)?;
        Ok(Self { machine, seen, cpus })
    }

    /// The CPUs as of the last look.
    #[must_use]
    pub fn cpus(&self) -> &MachineCpus {
        &self.cpus
    }

    /// Looks whether CPUs went offline or came online since the last look. What is present and offline is brought up to
    /// date too, and is no change of its own.
    ///
    /// # Errors
    /// As [`cpu_topology::read`]; the CPUs stay as they were known.
    pub fn look(&mut self) -> Result<Option<CpuChange>, CpuTopologyError> {
        let lists = lists(&self.machine)?;
        if lists == self.seen {
            return Ok(None);
        }
        let cpus = cpu_topology::read(&self.machine)?;
        let (before, now) = (self.cpus.topology.cpus(), cpus.topology.cpus());
        let change = CpuChange {
            went: before - now,
            came: now - before,
        };
        self.seen = lists;
        self.cpus = cpus;
        Ok((!change.is_empty()).then_some(change))
    }
}

fn lists(machine: &Machine) -> Result<Lists, FactError> {
    Ok([machine.read(ONLINE)?, machine.read(PRESENT)?])
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{CpuId, CpuSet};

    fn set(list: &str) -> CpuSet {
        CpuSet::parse(list).unwrap()
    }

    /// A directory with the files of a machine with these CPUs, two to a core while both are online.
    fn write(root: &Path, online: &CpuSet, present: &str) {
        let devices = root.join("sys/devices/system/cpu");
        fs::create_dir_all(&devices).unwrap();
        fs::write(devices.join("present"), format!("{present}\n")).unwrap();
        for cpu in online.iter() {
            let topology = devices.join(format!("cpu{cpu}/topology"));
            fs::create_dir_all(&topology).unwrap();
            let first = u32::from(cpu) & !1;
            let core = &set(&format!("{first}-{}", first + 1)) & online;
            fs::write(topology.join("core_cpus_list"), core.to_string()).unwrap();
            fs::write(topology.join("physical_package_id"), "0").unwrap();
        }
        fs::write(devices.join("online"), format!("{online}\n")).unwrap();
    }

    fn watched(online: &str) -> (tempfile::TempDir, CpuWatch) {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &set(online), "0-7");
        let watch = CpuWatch::new(Machine::at(root.path())).unwrap();
        (root, watch)
    }

    #[test]
    fn a_cpu_that_goes_is_told_once_and_its_sibling_is_alone() {
        let (root, mut watch) = watched("0-7");
        assert_eq!(watch.look().unwrap(), None);
        write(root.path(), &set("0-2,4-7"), "0-7");
        let change = watch.look().unwrap().unwrap();
        assert_eq!((change.went, change.came), (set("3"), CpuSet::EMPTY));
        assert_eq!(watch.look().unwrap(), None);
        assert_eq!(watch.cpus().offline, set("3"));
        assert_eq!(watch.cpus().topology.cores()[1].cpus, set("2"));
        write(root.path(), &set("1-7"), "0-7");
        let change = watch.look().unwrap().unwrap();
        assert_eq!((change.went, change.came), (set("0"), set("3")));
    }

    #[test]
    fn a_cpu_that_is_plugged_in_and_not_used_is_known_and_no_change() {
        let (root, mut watch) = watched("0-5");
        write(root.path(), &set("0-5"), "0-8");
        assert_eq!(watch.look().unwrap(), None);
        assert_eq!(watch.cpus().offline, set("6-8"));
    }

    #[test]
    fn what_cannot_be_read_is_an_error_until_it_can_and_then_told() {
        let (root, mut watch) = watched("0-7");
        write(root.path(), &set("0-6"), "0-7");
        let wrong = root
            .path()
            .join("sys/devices/system/cpu/cpu2/topology/core_cpus_list");
        fs::write(&wrong, "nonsense").unwrap();
        for _ in 0..2 {
            let error = watch.look().unwrap_err().to_string();
            assert!(error.contains("cpu2/topology/core_cpus_list"), "{error}");
            assert_eq!(watch.cpus().topology.cpus(), &set("0-7"));
        }
        write(root.path(), &set("0-6"), "0-7");
        assert_eq!(watch.look().unwrap().unwrap().went, set("7"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn the_changes_told_lead_from_the_cpus_at_the_start_to_those_now(
            states in prop::collection::vec((1_u32..256, any::<bool>()), 1..6),
        ) {
            let (root, mut watch) = watched("0-7");
            let mut followed = set("0-7");
            for (bits, readable) in states {
                let online: CpuSet = (0..8).filter(|bit| bits >> bit & 1 == 1).filter_map(CpuId::new).collect();
                write(root.path(), &online, "0-7");
                let lists = root.path().join("sys/devices/system/cpu/online");
                if !readable {
                    fs::write(&lists, "").unwrap();
                }
                match watch.look() {
                    Ok(Some(change)) => {
                        prop_assert!(readable && !change.is_empty());
                        prop_assert_eq!(&change.went - &followed, CpuSet::EMPTY);
                        prop_assert_eq!(&change.came & &followed, CpuSet::EMPTY);
                        followed = &(&followed - &change.went) | &change.came;
                    }
                    Ok(None) => prop_assert!(readable && followed == online),
                    Err(_) => prop_assert!(!readable),
                }
                prop_assert_eq!(watch.cpus().topology.cpus(), &followed);
                prop_assert!(!readable || followed == online);
            }
        }
    }
}
