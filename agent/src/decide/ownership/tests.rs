//! Rows of the table that decide what the agent can do at all.

use super::*;
use crate::model::{CgroupPath, ControlFile, CpuWeight, KnobValue, OomScoreAdj, Switch, Switches};

const NONE: KubeletFacts = KubeletFacts {
    cpu_manager: Some(false),
    memory_manager: Some(false),
    memory_qos: Some(false),
};

fn spot(level: Level, class: QosClass, driver: CgroupDriver) -> Spot {
    Spot {
        level,
        class: Some(class),
        driver,
    }
}

#[test]
fn what_kubelet_writes_every_minute_is_left_and_the_rest_is_set_by_what_stays() {
    use CgroupDriver::{Cgroupfs, Systemd};
    use QosClass::{BestEffort, Burstable};
    for (kind, level, class, driver, facts, owner, channel) in [
        (
            FileKind::CpuWeight,
            Level::Qos,
            Burstable,
            Systemd,
            NONE,
            Owner::Kubelet,
            None,
        ),
        (
            FileKind::Hugetlb,
            Level::Root,
            Burstable,
            Cgroupfs,
            NONE,
            Owner::Kubelet,
            None,
        ),
        (
            FileKind::CpuWeight,
            Level::Pod,
            Burstable,
            Cgroupfs,
            NONE,
            Owner::Kubelet,
            Some(Channel::File),
        ),
        (
            FileKind::CpuWeight,
            Level::Pod,
            Burstable,
            Systemd,
            NONE,
            Owner::Kubelet,
            Some(Channel::SystemdProperty),
        ),
        (
            FileKind::CpuMax,
            Level::Pod,
            Burstable,
            Systemd,
            NONE,
            Owner::Kubelet,
            None,
        ),
        (
            FileKind::CpuMax,
            Level::Pod,
            BestEffort,
            Systemd,
            NONE,
            Owner::Ours,
            Some(Channel::SystemdProperty),
        ),
        (
            FileKind::MemoryLow,
            Level::Container,
            Burstable,
            Systemd,
            NONE,
            Owner::Ours,
            Some(Channel::SystemdProperty),
        ),
        (
            FileKind::MemoryLow,
            Level::Pod,
            Burstable,
            Cgroupfs,
            KubeletFacts::default(),
            Owner::Kubelet,
            None,
        ),
        (
            FileKind::CpusetCpus,
            Level::Container,
            Burstable,
            Systemd,
            NONE,
            Owner::Ours,
            Some(Channel::Cri),
        ),
        (
            FileKind::CpusetCpus,
            Level::Container,
            Burstable,
            Cgroupfs,
            KubeletFacts::default(),
            Owner::Kubelet,
            None,
        ),
        (
            FileKind::MemoryOomGroup,
            Level::Container,
            Burstable,
            Systemd,
            NONE,
            Owner::Runtime,
            Some(Channel::File),
        ),
        (
            FileKind::OomScoreAdj,
            Level::Container,
            Burstable,
            Systemd,
            NONE,
            Owner::Kubelet,
            Some(Channel::File),
        ),
        (
            FileKind::OomScoreAdj,
            Level::Helper,
            Burstable,
            Systemd,
            NONE,
            Owner::Runtime,
            None,
        ),
        (
            FileKind::MemoryMax,
            Level::Inner,
            Burstable,
            Systemd,
            NONE,
            Owner::Runtime,
            None,
        ),
    ] {
        let rule = rule(kind, spot(level, class, driver), &facts).unwrap();
        assert_eq!(
            (rule.owner, rule.channel),
            (owner, channel),
            "{kind} at {level}, {driver:?}"
        );
    }
}

#[test]
fn a_reload_overwrites_what_systemd_knows_of_its_units_only() {
    let when = |kind, level, driver| {
        rule(kind, spot(level, QosClass::Burstable, driver), &NONE)
            .unwrap()
            .when
    };
    let reload = [Occasion::DaemonReload];
    assert_eq!(
        when(FileKind::MemoryLow, Level::Pod, CgroupDriver::Systemd),
        reload
    );
    assert_eq!(
        when(FileKind::MemoryOomGroup, Level::Pod, CgroupDriver::Systemd),
        reload
    );
    assert_eq!(
        when(FileKind::CpusetPartition, Level::Pod, CgroupDriver::Systemd),
        []
    );
    assert_eq!(when(FileKind::MemoryLow, Level::Pod, CgroupDriver::Cgroupfs), []);
    let inner = when(FileKind::MemoryLow, Level::Inner, CgroupDriver::Systemd);
    assert!(!inner.contains(&Occasion::DaemonReload));
}

#[test]
fn every_row_can_be_come_to() {
    let known = [Some(false), Some(true)];
    for row in TABLE {
        let mut found = false;
        for class in [None, Some(QosClass::Burstable), Some(QosClass::BestEffort)] {
            for fact in known {
                let facts = KubeletFacts {
                    cpu_manager: fact,
                    memory_manager: fact,
                    memory_qos: fact,
                };
                let driver = CgroupDriver::Cgroupfs;
                for (kind, level) in row
                    .files
                    .iter()
                    .flat_map(|k| row.levels.iter().map(move |l| (*k, *l)))
                {
                    let rule = rule(kind, Spot { level, class, driver }, &facts);
                    found |= rule.is_some_and(|rule| rule.source == row.source && rule.only == row.only);
                }
            }
        }
        assert!(found, "{row:?}");
    }
}

#[test]
fn a_refusal_says_whose_it_is_and_why() {
    let wish = |target, level, enforcement| Wish {
        path: CgroupPath::parse("kubepods/burstable").unwrap(),
        spot: spot(level, QosClass::Burstable, CgroupDriver::Cgroupfs),
        target,
        enforcement,
        now: None,
    };
    let weight = || Target::Knob(ControlFile::CpuWeight, KnobValue::Weight(CpuWeight(7)));
    let cpus = Target::Knob(
        ControlFile::CpusetCpus,
        KnobValue::Cpus(crate::model::CpuSet::default()),
    );
    let wishes = [
        wish(weight(), Level::Qos, Enforcement::CpuWeight),
        wish(weight(), Level::Pod, Enforcement::OomGroup),
        wish(cpus, Level::Container, Enforcement::Cpuset),
        wish(
            Target::Score(OomScoreAdj(5)),
            Level::Pod,
            Enforcement::OomScoreAdj,
        ),
    ];
    let judged = judge(wishes, &KubeletFacts::default(), &Switches::all(Switch::Enforce));
    assert!(judged.writes.is_empty());
    let said: Vec<_> = judged
        .refused
        .iter()
        .map(|(_, refusal)| refusal.to_string())
        .collect();
    assert_eq!(
        said,
        [
            "it is for kubelet to set, unless kubelet's cpuManagerPolicy is known to be none: cm/cpumanager places \
             containers itself under the policy static",
            "it is for kubelet to set, always: UpdateCgroups writes it again every minute and at each pod's start",
            "memory.oom.group does not cover it",
            "there is no such file at the level pod",
        ]
    );
}
