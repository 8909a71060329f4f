//! Who owns which file on a node that kubelet runs, and what may be written there.
//!
//! **Problem.** kubelet writes some files every minute, others once, others at a resize; the runtime writes what is in a
//! container's specification whenever it is asked to change anything of it; systemd writes all that it knows of a unit at
//! each `daemon-reload`, and what it does not know it resets. A value that is set by the wrong way is gone after a minute or
//! a week, and one in the wrong file is a fight. **How.** One table ([`table`]) tells for each file and level who says what
//! it should hold, when it is written, and by what it can be set so that it stays ([`rule`]). [`judge`] holds wishes against
//! it and against the switches.
//!
//! A file is *theirs* when no channel is given: it is never written. It is *lent* when somebody else writes it, but only on
//! occasions: in between it can be set. Else it is *ours*.
//!
//! # Properties
//! - Each file at each level has exactly one rule, or is not there.
//! - What is not known of kubelet's configuration is taken as if kubelet wrote.
//! - Nothing is written to a file that is theirs, nor by an enforcement that does not cover it.
//! - With every switch on observe nothing is written; what is told then is what would be written on enforce.
//! - A file is written at most once, whatever is wished.
//! - No cgroup is made that kubelet takes for a pod's.

mod judge;
mod shape;
mod table;

#[cfg(test)]
mod props;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::model::{CgroupDriver, Channel, Enforcement, FileKind, Level, Occasion, Owner, QosClass};

pub use judge::{Judged, Refusal, Target, Wish, Write, judge};
pub use shape::{PodShaped, may_make};
use table::{By, TABLE};

/// What of kubelet's configuration decides whose a file is; what is not known is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KubeletFacts {
    /// Whether the CPU manager's policy is another one than `none`.
    pub cpu_manager: Option<bool>,
    /// Whether the memory manager's policy is another one than `None`.
    pub memory_manager: Option<bool>,
    /// Whether the gate `MemoryQoS` is on.
    pub memory_qos: Option<bool>,
}

/// Under what a row of the table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Only {
    /// Always.
    Always,
    /// For cgroups of the class BestEffort.
    BestEffort,
    /// kubelet's CPU manager places containers, or it is not known that it does not.
    StaticCpuManager,
    /// kubelet's memory manager places containers, or it is not known that it does not.
    StaticMemoryManager,
    /// kubelet's gate MemoryQoS is on, or it is not known to be off.
    MemoryQos,
}

impl Only {
    fn holds(self, class: Option<QosClass>, kubelet: &KubeletFacts) -> bool {
        let perhaps = |fact: Option<bool>| fact != Some(false);
        match self {
            Self::Always => true,
            Self::BestEffort => class == Some(QosClass::BestEffort),
            Self::StaticCpuManager => perhaps(kubelet.cpu_manager),
            Self::StaticMemoryManager => perhaps(kubelet.memory_manager),
            Self::MemoryQos => perhaps(kubelet.memory_qos),
        }
    }
}

impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Always => "always",
            Self::BestEffort => "for BestEffort",
            Self::StaticCpuManager => "unless kubelet's cpuManagerPolicy is known to be none",
            Self::StaticMemoryManager => "unless kubelet's memoryManagerPolicy is known to be None",
            Self::MemoryQos => "unless kubelet's gate MemoryQoS is known to be off",
        })
    }
}

/// A cgroup's place in kubelet's hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// What it is.
    pub level: Level,
    /// The class of what is in it; none of `kubepods`, which has all of them.
    pub class: Option<QosClass>,
    /// Who makes cgroups there.
    pub driver: CgroupDriver,
}

/// Whose a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Who says what it should hold.
    pub owner: Owner,
    /// When others write it.
    pub when: Vec<Occasion>,
    /// By what it is set so that it stays; none when it is not the agent's to set.
    pub channel: Option<Channel>,
    /// Under what this is so.
    pub only: Only,
    /// Why it is so, and where to read it.
    pub source: &'static str,
}

impl Rule {
    /// Whether somebody else writes it, and it may be set in between.
    #[must_use]
    pub fn is_lent(&self) -> bool {
        self.owner != Owner::Ours && self.channel.is_some()
    }
}

/// Whose the file is there; none when it is not there.
#[must_use]
pub fn rule(kind: FileKind, spot: Spot, kubelet: &KubeletFacts) -> Option<Rule> {
    let row = TABLE.iter().find(|row| {
        row.files.contains(&kind) && row.levels.contains(&spot.level) && row.only.holds(spot.class, kubelet)
    })?;
    let systemd = spot.driver == CgroupDriver::Systemd;
    let mut when = row.when.to_vec();
    if systemd && spot.level != Level::Inner && written_by_systemd(kind) {
        when.push(Occasion::DaemonReload);
    }
    let channel = match row.by {
        By::Nothing => None,
        By::File => Some(Channel::File),
        By::Unit if systemd && kind.systemd_property().is_some() => Some(Channel::SystemdProperty),
        By::Unit => Some(Channel::File),
        By::Cri => Some(Channel::Cri),
    };
    Some(Rule {
        owner: row.owner,
        when,
        channel,
        only: row.only,
        source: row.source,
    })
}

/// Whether systemd writes the file of a unit when it is reloaded: what it has a property for, and `memory.oom.group`,
/// which it derives from `OOMPolicy=`.
fn written_by_systemd(kind: FileKind) -> bool {
    kind.systemd_property().is_some() || kind == FileKind::MemoryOomGroup
}

/// Whether that file at such a cgroup is what the enforcement is about.
#[must_use]
pub fn covers(enforcement: Enforcement, kind: FileKind, spot: Spot) -> bool {
    use FileKind as F;
    match enforcement {
        Enforcement::MemoryQos => matches!(kind, F::MemoryMin | F::MemoryLow | F::MemoryHigh),
        Enforcement::Cpuset => matches!(
            kind,
            F::CpusetCpus | F::CpusetExclusive | F::CpusetPartition | F::CpusetMems
        ),
        Enforcement::CpuWeight => kind == F::CpuWeight,
        Enforcement::OomGroup => kind == F::MemoryOomGroup,
        Enforcement::OomScoreAdj => kind == F::OomScoreAdj,
        Enforcement::BestEffortSuppression => {
            spot.class == Some(QosClass::BestEffort) && matches!(kind, F::CpuMax | F::CpuIdle)
        }
    }
}
