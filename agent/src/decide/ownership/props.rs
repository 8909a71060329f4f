//! What holds of the table and of what is made of it, whatever is wished.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::model::{
    Bytes, CgroupPath, ControlFile, CpuPeriod, CpuSet, CpuWeight, KnobValue, Limit, OomScoreAdj, Switch,
    Switches,
};

fn a_spot() -> impl Strategy<Value = Spot> {
    let level = prop::sample::select(&Level::ALL[..]);
    let class = prop::option::of(prop::sample::select(&QosClass::ALL[..]));
    let driver = prop::sample::select(&[CgroupDriver::Cgroupfs, CgroupDriver::Systemd][..]);
    (level, class, driver).prop_map(|(level, class, driver)| Spot { level, class, driver })
}

fn facts() -> impl Strategy<Value = KubeletFacts> {
    any::<[Option<bool>; 3]>().prop_map(|[cpu_manager, memory_manager, memory_qos]| KubeletFacts {
        cpu_manager,
        memory_manager,
        memory_qos,
    })
}

fn a_target() -> impl Strategy<Value = Target> {
    let memory = [
        ControlFile::MemoryMin,
        ControlFile::MemoryLow,
        ControlFile::MemoryHigh,
        ControlFile::MemoryMax,
        ControlFile::MemoryCurrent,
    ];
    let knob = |file, value| Just(Target::Knob(file, value));
    prop_oneof![
        (prop::sample::select(memory.to_vec()), 0..4_u64)
            .prop_map(|(file, n)| Target::Knob(file, KnobValue::Memory(Limit::At(Bytes(n << 20))))),
        (1..4_u64).prop_map(|n| Target::Knob(ControlFile::CpuWeight, KnobValue::Weight(CpuWeight(n)))),
        knob(
            ControlFile::CpuMax,
            KnobValue::CpuMax(Limit::Max, CpuPeriod::DEFAULT)
        ),
        knob(ControlFile::MemoryOomGroup, KnobValue::Switch(true)),
        knob(
            ControlFile::CpusetCpus,
            KnobValue::Cpus(CpuSet::parse("0-3").unwrap())
        ),
        knob(ControlFile::PidsMax, KnobValue::Count(Limit::At(9))),
        (-3..3_i16).prop_map(|n| Target::Score(OomScoreAdj(n))),
    ]
}

fn a_wish() -> impl Strategy<Value = Wish> {
    let path = prop::sample::select(&["kubepods", "kubepods/burstable", "kubepods/pod1/c"][..]);
    let enforcement = prop::sample::select(&Enforcement::ALL[..]);
    let now = prop::sample::select(&[None, Some("0"), Some("1"), Some("1048576"), Some("max 100000")][..]);
    (path, a_spot(), a_target(), enforcement, now).prop_map(|(path, spot, target, enforcement, now)| Wish {
        path: CgroupPath::parse(path).unwrap(),
        spot,
        target,
        enforcement,
        now: now.map(str::to_owned),
    })
}

fn switches() -> impl Strategy<Value = Switches> {
    let switch = || prop::sample::select(&[Switch::Off, Switch::Observe, Switch::Enforce][..]);
    let six = [(); 6].map(|()| switch());
    six.prop_map(
        |[
            memory_qos,
            cpuset,
            cpu_weight,
            oom_group,
            oom_score_adj,
            best_effort_suppression,
        ]| Switches {
            memory_qos,
            cpuset,
            cpu_weight,
            oom_group,
            oom_score_adj,
            best_effort_suppression,
        },
    )
}

proptest! {
    #[test]
    fn a_file_of_a_cgroup_has_one_rule_and_one_of_processes_only_where_they_are(spot in a_spot(), facts in facts()) {
        for kind in FileKind::ALL {
            let there = kind != FileKind::OomScoreAdj || matches!(spot.level, Level::Container | Level::Helper);
            let rule = rule(kind, spot, &facts);
            prop_assert_eq!(rule.is_some(), there, "{} at {}", kind, spot.level);
            let Some(rule) = rule else { continue };
            // A property is only named where systemd has one.
            if rule.channel == Some(Channel::SystemdProperty) {
                prop_assert!(kind.systemd_property().is_some() && spot.driver == CgroupDriver::Systemd);
            }
            // Who writes every minute is not to be overwritten.
            if rule.when.contains(&Occasion::Refresh) || rule.when.contains(&Occasion::Reconcile) {
                prop_assert_eq!(rule.channel, None);
            }
            prop_assert_eq!(rule.is_lent(), rule.channel.is_some() && rule.owner != Owner::Ours);
        }
    }

    #[test]
    fn to_know_less_of_kubelet_never_allows_more(spot in a_spot(), facts in facts(), forget in any::<[bool; 3]>()) {
        let [cpu, memory, qos] = forget;
        let fewer = KubeletFacts {
            cpu_manager: facts.cpu_manager.filter(|_| !cpu),
            memory_manager: facts.memory_manager.filter(|_| !memory),
            memory_qos: facts.memory_qos.filter(|_| !qos),
        };
        for kind in FileKind::ALL {
            let may = |facts| rule(kind, spot, facts).is_some_and(|rule| rule.channel.is_some());
            prop_assert!(!may(&fewer) || may(&facts), "{} at {}", kind, spot.level);
        }
    }

    #[test]
    fn what_is_theirs_is_never_written_and_nothing_is_lost(
        wishes in prop::collection::vec(a_wish(), 0..30),
        facts in facts(),
        switches in switches(),
    ) {
        let judged = judge(wishes.clone(), &facts, &switches);
        for write in judged.writes.iter().chain(&judged.observed) {
            let wish = &write.wish;
            let kind = wish.target.kind().unwrap();
            let rule = rule(kind, wish.spot, &facts).unwrap();
            prop_assert_eq!(rule.channel, Some(write.channel));
            prop_assert!(covers(wish.enforcement, kind, wish.spot));
        }
        for write in &judged.writes {
            prop_assert_eq!(switches.of(write.wish.enforcement), Switch::Enforce);
        }
        let listed = judged.writes.len() + judged.observed.len() + judged.refused.len();
        prop_assert_eq!(listed + judged.in_place + judged.off, wishes.len());
        let mut times: BTreeMap<_, usize> = BTreeMap::new();
        for write in &judged.writes {
            *times.entry((write.wish.path.clone(), write.wish.target.kind())).or_default() += 1;
        }
        prop_assert!(times.values().all(|times| *times == 1));
    }

    #[test]
    fn observing_writes_nothing_and_tells_what_enforcing_would(
        wishes in prop::collection::vec(a_wish(), 0..30),
        facts in facts(),
    ) {
        let observed = judge(wishes.clone(), &facts, &Switches::default());
        let enforced = judge(wishes.clone(), &facts, &Switches::all(Switch::Enforce));
        prop_assert_eq!(observed.writes.len(), 0);
        prop_assert_eq!(observed.observed, enforced.writes);
        prop_assert_eq!(observed.refused, enforced.refused);
        let off = judge(wishes.clone(), &facts, &Switches::all(Switch::Off));
        prop_assert_eq!(off, Judged { off: wishes.len(), ..Judged::default() });
    }

    #[test]
    fn no_cgroup_of_ours_has_the_shape_of_a_pods_below_kubepods(
        root in prop::sample::select(&["kubepods", "kubepods.slice", "kubelet.slice/kubelet-kubepods.slice"][..]),
        below in prop::collection::vec("(kubepods-)?(burstable-)?(pod|p|mypod|pod_)[a-f0-9_-]{0,4}(\\.slice)?", 1..3),
    ) {
        let root = CgroupPath::parse(root).unwrap();
        let path = below.iter().fold(root.clone(), |path, name| path.child(name).unwrap());
        // kubelet's own test: the directory, or a slice's last part, begins with `pod`.
        let pods: BTreeSet<_> = below
            .iter()
            .filter(|name| {
                let name = name.strip_suffix(".slice").unwrap_or(name);
                name.starts_with("pod") || name.rsplit('-').next().unwrap().starts_with("pod")
            })
            .collect();
        prop_assert_eq!(may_make(std::slice::from_ref(&root), &path).is_ok(), pods.is_empty());
        // Beside kubepods names are free.
        prop_assert!(may_make(&[CgroupPath::parse("elsewhere").unwrap()], &path).is_ok());
    }
}
