//! Victims that do not go, or whose memory does not come back.

use plimsoll::decide::eviction::ThresholdValue;
use plimsoll::model::QosClass::Burstable;
use plimsoll::model::pressure::{Rung, Signal, SpentCause};
use plimsoll_tests::pressure::pod::{Death, PodSpec, Work};
use plimsoll_tests::pressure::scenario::{Event, Expect, Kernel, Scenario, Would};

use super::{grows, grows_to, hog, holds, kill_of, with_threshold};

/// How a victim dies, and what comes after it: rows 10, 13, 21 to 24, 29, 31.
pub(in crate::pressure) fn dying() -> Vec<Scenario> {
    let pids = || with_threshold(Signal::PidAvailable, ThresholdValue::Part(0.2), 0);
    vec![
        Scenario::new(
            "10 fork bomb",
            vec![
                PodSpec::new(
                    "bomb",
                    Burstable,
                    64.0,
                    Work {
                        forks: 900.0,
                        ..holds(5.0)
                    },
                ),
                PodSpec::new("busy", Burstable, 200.0, holds(150.0)).with(|p| p.work.processes = 100.0),
            ],
            Expect {
                victims: vec!["bomb"],
                rung: Some(Rung::Kill),
                ..Expect::default()
            },
        )
        .with(|s| {
            s.policy = pids();
            s.node.tasks_max = 4096;
            s.note = "pids.max of the pod is the placement's";
        }),
        Scenario::new(
            "13 victim at cpu.max 1 %",
            vec![hog(100.0).with(|p| p.quota = 0.01)],
            Expect {
                freed_within: Some(1.0),
                ..kill_of("hog")
            },
        )
        .with(|s| {
            s.note = "that lifting the limit helps is for the VM; here: without it the kernel would win";
            s.seconds = 10.0;
        }),
        Scenario::new(
            "21 the victim already exits",
            vec![
                PodSpec::new("leaves", Burstable, 64.0, holds(300.0)),
                PodSpec::new("burst", Burstable, 300.0, grows_to(50.0, 100.0, 280.0)),
            ],
            Expect {
                optional: vec!["leaves"],
                ..Expect::default()
            },
        )
        .with(|s| {
            s.left = Some(230.0);
            s.events = vec![(0.9, Event::Delete("leaves"))];
        }),
        Scenario::new(
            "22 the cgroup is made again between decision and act",
            vec![hog(100.0)],
            Expect {
                stale: true,
                ..Expect::default()
            },
        )
        .with(|s| {
            s.remade = Some("hog");
            s.seconds = 10.0;
            s.note = "descriptors of the old directory are for the VM";
        }),
        Scenario::new(
            "23 stopped or frozen victim",
            vec![hog(15.0).with(|p| {
                p.death = Death::Deaf;
                p.work.anon = 120.0;
            })],
            Expect {
                rung: Some(Rung::Evict),
                ..kill_of("hog")
            },
        )
        .with(|s| {
            s.left = Some(115.0);
            s.seconds = 20.0;
            s.seeds = 60;
        }),
        Scenario::new(
            "24 victim that cannot die, then the next",
            vec![
                PodSpec::new("stuck", Burstable, 64.0, grows(320.0, 30.0))
                    .with(|p| p.death = Death::Uninterruptible),
                PodSpec::new("second", Burstable, 64.0, grows(150.0, 20.0)),
            ],
            Expect {
                victims: vec!["stuck", "second"],
                spent: Some(SpentCause::Uninterruptible),
                ..Expect::default()
            },
        )
        .with(|s| {
            s.left = Some(150.0);
            s.seconds = 12.0;
        }),
        Scenario::new(
            "29 two hogs at the same time",
            vec![
                PodSpec::new("larger", Burstable, 64.0, grows(200.0, 60.0)),
                PodSpec::new("smaller", Burstable, 64.0, grows(100.0, 30.0)),
            ],
            Expect {
                victims: vec!["larger"],
                optional: vec!["smaller"],
                kernel_would_kill: Some(Would::Somebody),
                ..Expect::default()
            },
        ),
        Scenario::new(
            "31 the agent is killed in the middle of a kill",
            vec![hog(100.0)],
            kill_of("hog"),
        )
        .with(|s| {
            s.agent_dies = true;
            s.expect.kernel = Kernel::MayWin;
            s.note = "it comes again within a second, in which the kernel may be first";
            s.seconds = 12.0;
        }),
    ]
}
