//! Pods that grow.

use plimsoll::model::QosClass::{BestEffort, Burstable};
use plimsoll::model::pressure::Rung;
use plimsoll_tests::pressure::pod::PodSpec;
use plimsoll_tests::pressure::scenario::{Expect, Kernel, Scenario, Would};

use super::{grows, grows_to, hog, holds, kill_of, nobody};

/// Growth of one pod, and what the node has for it: rows 1 to 7.
pub(in crate::pressure) fn growth() -> Vec<Scenario> {
    vec![
        Scenario::new("1 fast hog, memory.high set", vec![hog(100.0)], kill_of("hog")).with(|s| {
            s.node.root_high = Some(600.0);
            s.node.root_max = Some(700.0);
            s.seconds = 15.0;
        }),
        Scenario::new("2 fast hog, no memory.high", vec![hog(100.0)], kill_of("hog"))
            .with(|s| s.seconds = 10.0),
        Scenario::new(
            "3 hog at 1 GiB/s",
            vec![hog(1024.0)],
            Expect {
                kernel: Kernel::MayWin,
                ..kill_of("hog")
            },
        )
        .with(|s| s.seconds = 4.0),
        Scenario::new(
            "4 fast hog with swap",
            vec![hog(100.0)],
            Expect {
                rung: None,
                ..kill_of("hog")
            },
        )
        .with(|s| {
            s.node.swap = 512.0;
            s.seconds = 20.0;
        }),
        Scenario::new(
            "5 slow leak beside a larger pod",
            vec![
                PodSpec::new("leak", BestEffort, 0.0, grows(150.0, 2.0)),
                PodSpec::new("static", Burstable, 350.0, holds(300.0)),
            ],
            Expect {
                victims: vec!["leak"],
                rung: Some(Rung::Evict),
                before: Some(Rung::Throttle),
                kernel_would_kill: Some(Would::Somebody),
                ..Expect::default()
            },
        )
        .with(|s| {
            s.left = Some(110.0);
            s.seconds = 45.0;
            s.seeds = 40;
        }),
        Scenario::new(
            "6 legit burst within the request",
            vec![PodSpec::new(
                "burst",
                Burstable,
                400.0,
                grows_to(50.0, 200.0, 380.0),
            )],
            nobody(),
        ),
        Scenario::new(
            "7 burst within the request, another pod over its own",
            vec![
                PodSpec::new("burst", Burstable, 400.0, grows_to(50.0, 60.0, 380.0)),
                PodSpec::new("over", Burstable, 50.0, holds(190.0)),
            ],
            Expect {
                victims: vec!["over"],
                ..Expect::default()
            },
        )
        .with(|s| s.left = Some(330.0)),
    ]
}
