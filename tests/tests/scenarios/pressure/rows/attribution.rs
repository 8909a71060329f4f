//! Whose affair it is.

use plimsoll::decide::eviction::ThresholdValue;
use plimsoll::model::QosClass::{BestEffort, Burstable, Guaranteed};
use plimsoll::model::pressure::{Rung, Signal};
use plimsoll_tests::pressure::pod::{Death, Mib, PodSpec, Work};
use plimsoll_tests::pressure::scenario::{Expect, Scenario};

use super::{grows, grows_to, hog, holds, kill_of, nobody, with_threshold};

/// Page cache, limits, and what is nobody's shortage: rows 8, 9, 12, 25, 27, 28, 30, 35, 37.
pub(in crate::pressure) fn attribution() -> Vec<Scenario> {
    let pressure = || with_threshold(Signal::PressureMemoryFull, ThresholdValue::Part(0.1), 0);
    let reads = |anon: Mib, files: Mib| Work { files, ..holds(anon) };
    let slab = |rate: Mib, until: Mib| Work {
        slab_rate: rate,
        slab_until: until,
        ..holds(20.0)
    };
    vec![
        Scenario::new(
            "8 page cache thrash at a pod's own memory.max",
            vec![PodSpec::new("reader", Burstable, 100.0, reads(20.0, 400.0)).with(|p| p.max = Some(200.0))],
            Expect {
                own_limit: Some("reader"),
                ..nobody()
            },
        )
        .with(|s| s.policy = pressure()),
        Scenario::new(
            "9a page cache thrash, node-wide, cache only",
            vec![PodSpec::new("reader", BestEffort, 0.0, reads(15.0, 2000.0))],
            Expect {
                before: Some(Rung::Reclaim),
                ..Expect::default()
            },
        )
        .with(|s| {
            s.policy = pressure();
            s.seconds = 15.0;
            s.seeds = 60;
        }),
        Scenario::new(
            "9b the same beside a pod over its request",
            vec![
                PodSpec::new("reader", BestEffort, 0.0, reads(15.0, 2000.0)),
                PodSpec::new("over", Burstable, 50.0, reads(300.0, 400.0)),
            ],
            Expect {
                victims: vec!["over"],
                before: Some(Rung::Reclaim),
                ..Expect::default()
            },
        )
        .with(|s| {
            s.policy = pressure();
            s.seconds = 15.0;
            s.seeds = 60;
        }),
        Scenario::new(
            "12 pod held by its memory.high for 30 s, node free",
            vec![PodSpec::new("held", Burstable, 64.0, grows(60.0, 100.0)).with(|p| p.high = Some(128.0))],
            Expect {
                own_limit: Some("held"),
                ..nobody()
            },
        )
        .with(|s| {
            s.note = "the deadline on a container's memory.high is the engine's (decide::tripwire)";
            s.seconds = 30.0;
            s.seeds = 30;
        }),
        Scenario::new(
            "25 cgroup with zombies only, larger than the hog",
            vec![
                PodSpec::new("zombies", BestEffort, 0.0, holds(300.0)).with(|p| p.death = Death::Zombie),
                hog(100.0),
            ],
            kill_of("hog"),
        ),
        Scenario::new(
            "27a reclaimable slab fills the pods' root",
            vec![PodSpec::new("dentries", Burstable, 64.0, slab(120.0, 500.0))],
            Expect {
                before: Some(Rung::Reclaim),
                ..Expect::default()
            },
        )
        .with(|s| {
            s.node.root_high = Some(450.0);
            s.node.root_max = Some(700.0);
        }),
        Scenario::new(
            "27b unreclaimable kernel memory",
            vec![PodSpec::new(
                "sockets",
                Burstable,
                64.0,
                Work {
                    kernel_rate: 80.0,
                    ..holds(20.0)
                },
            )],
            kill_of("sockets"),
        )
        .with(|s| s.seconds = 16.0),
        Scenario::new(
            "28 locked memory within the request",
            vec![PodSpec::new(
                "locked",
                Guaranteed,
                500.0,
                grows_to(100.0, 300.0, 480.0),
            )],
            nobody(),
        )
        .with(|s| s.note = "huge pages are no part of the model; they are not in memory.current either"),
        Scenario::new(
            "30 flapping around the floor",
            vec![PodSpec::new(
                "flaps",
                Burstable,
                50.0,
                Work {
                    swing: Some((20.0, 1.5)),
                    ..holds(150.0)
                },
            )],
            Expect {
                acts: Some(8),
                ..Expect::default()
            },
        )
        .with(|s| {
            s.left = Some(100.0);
            s.seconds = 60.0;
            s.seeds = 40;
        }),
        Scenario::new(
            "35 page cache of cgroups that are gone",
            vec![PodSpec::new("lives", Burstable, 64.0, grows_to(30.0, 20.0, 90.0))],
            nobody(),
        )
        .with(|s| {
            s.node.debris = 450.0;
            s.node.root_max = Some(700.0);
        }),
        Scenario::new(
            "37 a pod that just started grows within its request",
            vec![PodSpec::new(
                "init",
                Burstable,
                350.0,
                grows_to(1.0, 300.0, 330.0),
            )],
            nobody(),
        )
        .with(|s| s.left = Some(450.0)),
    ]
}
