//! From kubelet's state to the agent's checkpoint: what can be taken over, and why the rest cannot.
//!
//! Kubelet's file is checked against the machine as if anybody had written it, for kubelet's own checksum cannot be. What
//! is wrong with one entry keeps only that one out. What is merely strange is told and taken over as it is: the agent
//! fits it to the machine when it starts ([`super::restore`]).
//!
//! # Properties
//! - What is taken over is online, shared with nobody, and of one pod; nothing else is different from the file.
//! - Each entry of the file is either taken over or named with the reason.

use std::collections::BTreeMap;
use std::fmt;

use super::policy::StaticPolicy;
use super::restore::under;
use crate::model::{
    ContainerName, CpuListError, CpuSet, IdError, KubeletCpuEntry, KubeletCpus, KubeletHolder, PodUid, Shown,
};
use crate::state::cpus::CpuAssignments;
use crate::state::cpus::checkpoint::{CpuCheckpoint, MachineMark, Pin};

/// What comes of kubelet's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// What the agent is to start from.
    pub checkpoint: CpuCheckpoint,
    /// Entries that it does not have.
    pub left_out: Vec<LeftOut>,
    /// What is strange.
    pub notes: Vec<Note>,
}

/// Why a file is not taken over at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// It is of a policy that gives no CPUs.
    #[error("policyName is \"{policy}\", which gives no exclusive CPUs: there is nothing to take over", policy = Shown(.policy))]
    Policy {
        /// The file's.
        policy: String,
    },
    /// Nothing to share beside exclusive CPUs.
    #[error(
        "defaultCpuSet is empty, but {entries} containers have CPUs of their own: kubelet itself does not start from that"
    )]
    NothingShared {
        /// How many have.
        entries: usize,
    },
}

/// An entry that is not taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Whose.
    pub holder: KubeletHolder,
    /// Its CPUs, as far as they can be read.
    pub cpus: CpuSet,
    /// Why.
    pub why: WhyNot,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { holder, cpus, why } = self;
        if cpus.is_empty() {
            write!(f, "{holder}: {why}")
        } else {
            write!(f, "{holder} with CPUs {cpus}: {why}")
        }
    }
}

/// Why an entry is not taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhyNot {
    /// The file names it by the container runtime's id.
    #[error(
        "it is named by the container's id, as kubelet did before 1.18, and which pod's that is only the container \
         runtime knows"
    )]
    NoPod,
    /// The pod's UID or the container's name is none.
    #[error(transparent)]
    Name(#[from] IdError),
    /// Its CPUs are no list.
    #[error(transparent)]
    List(#[from] CpuListError),
    /// No CPUs.
    #[error("it has no CPUs")]
    Empty,
    /// CPUs that the machine does not have.
    #[error("CPUs {missing} are not online; the machine has {online}")]
    NotOnline {
        /// Those.
        missing: CpuSet,
        /// The machine's.
        online: CpuSet,
    },
    /// CPUs that everybody may use.
    #[error("CPUs {both} are in defaultCpuSet {shared} as well")]
    Shared {
        /// Those.
        both: CpuSet,
        /// The file's shared pool.
        shared: CpuSet,
    },
    /// CPUs that another pod has.
    #[error("CPUs {both} are also those of {other}")]
    Taken {
        /// Those.
        both: CpuSet,
        /// The other entry.
        other: KubeletHolder,
    },
}

/// What is strange in a file and does not keep it from being taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    /// Fields that are not read.
    #[error("{} with {count} values is not taken over", Shown(.field))]
    NotRead {
        /// The field.
        field: String,
        /// How many values it has.
        count: usize,
    },
    /// CPUs of the shared pool that the machine does not have.
    #[error("defaultCpuSet: CPUs {missing} are not online; the machine has {online}")]
    SharedNotOnline {
        /// Those.
        missing: CpuSet,
        /// The machine's.
        online: CpuSet,
    },
    /// CPUs that the file does not mention.
    #[error("CPUs {cpus} are online and not in the file: they will be shared")]
    NotInFile {
        /// Those.
        cpus: CpuSet,
    },
    /// CPUs that the configuration reserves.
    #[error(
        "{holder}: CPUs {cpus} are reserved by the configuration: it keeps them only if it runs when the agent starts"
    )]
    Reserved {
        /// Whose.
        holder: KubeletHolder,
        /// Those.
        cpus: CpuSet,
    },
}

/// What comes of `state` on this machine, at `now` in seconds since 1970.
///
/// # Errors
/// There is nothing to take over, or the file contradicts itself as a whole.
pub fn import(
    state: &KubeletCpus,
    policy: &StaticPolicy,
    machine: &MachineMark,
    now: u64,
) -> Result<Imported, ImportError> {
    if state.policy != "static" {
        return Err(ImportError::Policy {
            policy: state.policy.clone(),
        });
    }
    if state.shared.is_empty() && !state.entries.is_empty() {
        return Err(ImportError::NothingShared {
            entries: state.entries.len(),
        });
    }
    let online = policy.topology().cpus();
    let mut notes = notes(state, online);
    let mut left_out = Vec::new();
    let mut assignments = CpuAssignments::new(online.clone());
    let mut pods: BTreeMap<PodUid, BTreeMap<ContainerName, Pin>> = BTreeMap::new();
    for entry in &state.entries {
        match checked(state, entry, online, &pods) {
            Ok((pod, name, cpus)) => {
                let reserved = &cpus & policy.reserved();
                if !reserved.is_empty() {
                    notes.push(Note::Reserved {
                        holder: entry.holder.clone(),
                        cpus: reserved,
                    });
                }
                let pin = Pin {
                    cpus,
                    granted: now,
                    ..Pin::default()
                };
                pods.entry(pod).or_default().insert(name, pin);
            }
            Err(why) => left_out.push(LeftOut {
                holder: entry.holder.clone(),
                cpus: entry.cpus.clone().unwrap_or_default(),
                why,
            }),
        }
    }
    for pins in pods.values().flat_map(BTreeMap::values) {
        assignments.withhold(&pins.cpus);
    }
    policy.withhold(&mut assignments);
    let (mark, reserved, machine) = under(Some(policy), machine);
    Ok(Imported {
        checkpoint: CpuCheckpoint {
            policy: mark,
            reserved,
            machine,
            shared: assignments.shared().clone(),
            pods,
        },
        left_out,
        notes,
    })
}

fn notes(state: &KubeletCpus, online: &CpuSet) -> Vec<Note> {
    let mut notes: Vec<_> = state
        .not_read
        .iter()
        .map(|(field, count)| Note::NotRead {
            field: field.clone(),
            count: *count,
        })
        .collect();
    let missing = &state.shared - online;
    if !missing.is_empty() {
        notes.push(Note::SharedNotOnline {
            missing,
            online: online.clone(),
        });
    }
    let mut cpus = online - &state.shared;
    for entry in &state.entries {
        if let Ok(of_entry) = &entry.cpus {
            cpus -= of_entry;
        }
    }
    if !cpus.is_empty() {
        notes.push(Note::NotInFile { cpus });
    }
    notes
}

fn checked(
    state: &KubeletCpus,
    entry: &KubeletCpuEntry,
    online: &CpuSet,
    taken: &BTreeMap<PodUid, BTreeMap<ContainerName, Pin>>,
) -> Result<(PodUid, ContainerName, CpuSet), WhyNot> {
    let cpus = entry.cpus.clone()?;
    if cpus.is_empty() {
        return Err(WhyNot::Empty);
    }
    let (pod, name) = match &entry.holder {
        KubeletHolder::ContainerId(_) => return Err(WhyNot::NoPod),
        KubeletHolder::Container { pod, name } => (PodUid::parse(pod)?, ContainerName::parse(name)?),
    };
    let missing = &cpus - online;
    if !missing.is_empty() {
        let online = online.clone();
        return Err(WhyNot::NotOnline { missing, online });
    }
    let both = &cpus & &state.shared;
    if !both.is_empty() {
        let shared = state.shared.clone();
        return Err(WhyNot::Shared { both, shared });
    }
    // Within a pod, a container may have what an init container before it had.
    for (other, pins) in taken.iter().filter(|(other, _)| **other != pod) {
        for (name, pin) in pins {
            let both = &cpus & &pin.cpus;
            if !both.is_empty() {
                let other = KubeletHolder::Container {
                    pod: other.to_string(),
                    name: name.to_string(),
                };
                return Err(WhyNot::Taken { both, other });
            }
        }
    }
    Ok((pod, name, cpus))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::decide::cpu::{Reservation, StaticOptions};
    use crate::decide::numa::TopologyPolicy;
    use crate::model::{CpuId, Shape};

    fn set(list: &str) -> CpuSet {
        CpuSet::parse(list).unwrap()
    }

    fn entry(pod: &str, name: &str, cpus: &str) -> KubeletCpuEntry {
        KubeletCpuEntry {
            holder: KubeletHolder::Container {
                pod: pod.to_owned(),
                name: name.to_owned(),
            },
            cpus: CpuSet::parse(cpus),
        }
    }

    fn state(shared: &str, entries: Vec<KubeletCpuEntry>) -> KubeletCpus {
        KubeletCpus {
            policy: "static".to_owned(),
            shared: set(shared),
            entries,
            not_read: Vec::new(),
        }
    }

    /// 16 CPUs, of which 0 is reserved.
    fn imported(state: &KubeletCpus) -> Result<Imported, ImportError> {
        let shape = Shape {
            sockets: 1,
            nodes: 1,
            l3s: 1,
            cores: 8,
            threads: 2,
        };
        let reservation = Reservation::Cpus(set("0"));
        let options = StaticOptions::default();
        let policy = StaticPolicy::new(shape.build(), options, &reservation, TopologyPolicy::None).unwrap();
        import(state, &policy, &MachineMark::of(policy.topology(), None), 100)
    }

    #[test]
    fn what_is_good_is_taken_over_and_each_other_entry_is_named() {
        let id = KubeletCpuEntry {
            holder: KubeletHolder::ContainerId("4f".repeat(32)),
            cpus: Ok(set("15")),
        };
        let mut file = state(
            "0-1,7-8,20",
            vec![
                entry("a", "init", "2-3,10"),
                entry("a", "app", "3,10-11"),
                entry("b", "app", "10-12"),
                entry("c", "app", "1,4"),
                entry("d", "app", "5,16-17"),
                entry("../e", "app", "6"),
                entry("f", "app", ""),
                entry("g", "app", "6-"),
                id,
            ],
        );
        file.not_read = vec![("podEntries".to_owned(), 2)];
        let imported = imported(&file).unwrap();
        let pods = serde_json::to_string(&imported.checkpoint.pods).unwrap();
        assert_eq!(
            pods,
            r#"{"a":{"app":{"cpus":"3,10-11","granted":100},"init":{"cpus":"2-3,10","granted":100}}}"#
        );
        assert_eq!(imported.checkpoint.shared.to_string(), "0-1,4-9,12-15");
        let left_out: Vec<_> = imported.left_out.iter().map(ToString::to_string).collect();
        assert_eq!(left_out.len(), 7, "{left_out:#?}");
        for (said, expected) in left_out.iter().zip([
            "entries.b.app with CPUs 10-12: CPUs 10-11 are also those of entries.a.app",
            "entries.c.app with CPUs 1,4: CPUs 1 are in defaultCpuSet 0-1,7-8,20 as well",
            "entries.d.app with CPUs 5,16-17: CPUs 16-17 are not online; the machine has 0-15",
            "entries.../e.app with CPUs 6: ",
            "entries.f.app: it has no CPUs",
            "entries.g.app: \"6-\" is neither a CPU number nor a range such as 0-3",
            "entries.4f4f4f4f",
        ]) {
            assert!(said.starts_with(expected), "{said}");
        }
        let notes: Vec<_> = imported.notes.iter().map(ToString::to_string).collect();
        assert_eq!(
            notes,
            [
                "podEntries with 2 values is not taken over",
                "defaultCpuSet: CPUs 20 are not online; the machine has 0-15",
                "CPUs 9,13-14 are online and not in the file: they will be shared",
            ]
        );
    }

    #[test]
    fn what_is_reserved_here_is_told() {
        let imported = imported(&state("1-15", vec![entry("a", "app", "0")])).unwrap();
        assert_eq!(
            imported.notes[0].to_string(),
            "entries.a.app: CPUs 0 are reserved by the configuration: it keeps them only if it runs when the agent starts"
        );
        assert!(imported.left_out.is_empty());
    }

    #[test]
    fn a_file_with_nothing_to_take_over_is_refused() {
        let mut none = state("0-15", Vec::new());
        assert!(imported(&none).unwrap().checkpoint.pods.is_empty());
        none.policy = "none\n".to_owned();
        assert_eq!(
            imported(&none).unwrap_err().to_string(),
            "policyName is \"none\\n\", which gives no exclusive CPUs: there is nothing to take over"
        );
        let nothing_shared = imported(&state("", vec![entry("a", "app", "0")]));
        assert_eq!(nothing_shared, Err(ImportError::NothingShared { entries: 1 }));
    }

    proptest! {
        #[test]
        fn each_entry_is_taken_over_once_or_named(
            shared in prop::collection::btree_set(0..18_u32, 1..10),
            entries in prop::collection::btree_map((0..3_u8, 0..3_u8), prop::collection::btree_set(0..18_u32, 0..5), 0..6),
        ) {
            let cpus = |list: std::collections::BTreeSet<u32>| list.into_iter().filter_map(CpuId::new).collect::<CpuSet>();
            let shared = cpus(shared);
            let entries = entries.into_iter().map(|((pod, name), list)| {
                entry(&format!("p{pod}"), &format!("c{name}"), &cpus(list).to_string())
            });
            let file = state(&shared.to_string(), entries.collect());
            let imported = imported(&file).unwrap();
            let pins = imported.checkpoint.pods.values().map(BTreeMap::len).sum::<usize>();
            prop_assert_eq!(pins + imported.left_out.len(), file.entries.len());
            let mut seen = imported.checkpoint.shared.clone();
            for pins in imported.checkpoint.pods.values() {
                let mut of_pod = CpuSet::EMPTY;
                pins.values().for_each(|pin| of_pod |= &pin.cpus);
                prop_assert!(of_pod.is_disjoint(&seen) && of_pod.is_disjoint(&shared));
                seen |= &of_pod;
            }
            prop_assert_eq!(seen, set("0-15"));
        }
    }
}
