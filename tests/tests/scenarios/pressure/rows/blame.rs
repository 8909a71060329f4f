//! Whom to take.

use plimsoll::model::QosClass::{BestEffort, Burstable, Guaranteed};
use plimsoll::model::pressure::{Barred, Rung, Shield, SpentCause};
use plimsoll_tests::pressure::pod::{PodSpec, Work};
use plimsoll_tests::pressure::scenario::{Expect, Kernel, Scenario, Would};

use super::{grows, grows_to, hog, holds, kill_of};

/// The demos of the kernel's wrong victims, and of one where it is right.
fn the_kernel_takes(whom: Would, right: &'static str) -> Expect {
    Expect {
        kernel_would_kill: Some(whom),
        ..kill_of(right)
    }
}

/// Who is to blame: rows 7, 11, 14 to 20, 26, 36, and the demos of the kernel's wrong victims.
pub(in crate::pressure) fn blame() -> Vec<Scenario> {
    let innocent = || PodSpec::new("innocent", Burstable, 90.0, holds(60.0));
    let small_processes = || {
        let work = Work {
            processes: 3.0,
            forks: 0.0,
            ..grows(30.0, 100.0)
        };
        PodSpec::new(
            "many",
            Burstable,
            64.0,
            Work {
                processes: 60.0,
                ..work
            },
        )
    };
    let tmpfs = || {
        let work = Work {
            shmem: 20.0,
            shmem_rate: 80.0,
            ..holds(1.0)
        };
        PodSpec::new("tmpfs", Burstable, 64.0, work)
    };
    vec![
        Scenario::new(
            "11 many small processes beside one large innocent (demo 1)",
            vec![small_processes(), innocent().with(|p| p.work.anon = 85.0)],
            the_kernel_takes(Would::Innocent, "many"),
        )
        .with(|s| s.seconds = 10.0),
        Scenario::new(
            "14 swap hog, idle, beside a small active pod",
            vec![
                PodSpec::new(
                    "sleeper",
                    Burstable,
                    64.0,
                    Work {
                        swapped: 420.0,
                        ..holds(60.0)
                    },
                ),
                PodSpec::new("active", Burstable, 320.0, grows_to(60.0, 60.0, 300.0)),
            ],
            Expect {
                victims: vec!["sleeper"],
                ..Expect::default()
            },
        )
        .with(|s| {
            s.node.swap = 512.0;
            s.left = Some(190.0);
        }),
        Scenario::new(
            "15a tmpfs hog (demo 2)",
            vec![tmpfs(), innocent()],
            Expect {
                rung: Some(Rung::Evict),
                ..the_kernel_takes(Would::Innocent, "tmpfs")
            },
        )
        .with(|s| s.seconds = 16.0),
        Scenario::new(
            "15b tmpfs hog whose volume stays",
            vec![tmpfs().with(|p| p.volumes_go = false), innocent()],
            Expect {
                rung: Some(Rung::Evict),
                spent: Some(SpentCause::Tmpfs),
                ..the_kernel_takes(Would::Innocent, "tmpfs")
            },
        )
        .with(|s| s.seconds = 20.0),
        Scenario::new(
            "16 memory.oom.group with three processes",
            vec![hog(100.0).with(|p| p.work.processes = 3.0)],
            kill_of("hog"),
        )
        .with(|s| {
            s.note = "the kernel's counters are for the VM; here: one decision, one kill";
            s.seconds = 10.0;
        }),
        Scenario::new(
            "17 a sidecar leaks",
            vec![
                hog(60.0).with(|p| {
                    p.request = 200.0;
                    p.work.anon = 180.0;
                    p.work.processes = 2.0;
                }),
                innocent(),
            ],
            kill_of("hog"),
        )
        .with(|s| {
            s.note = "the pod goes; naming the container is the record's";
            s.seconds = 18.0;
        }),
        Scenario::new(
            "18 Guaranteed hog by kernel memory, tiny BestEffort beside it (demo 4)",
            vec![
                PodSpec::new(
                    "hog",
                    Guaranteed,
                    100.0,
                    Work {
                        kernel_rate: 50.0,
                        rate: 30.0,
                        ..holds(60.0)
                    },
                ),
                PodSpec::new("tiny", BestEffort, 0.0, holds(5.0)),
            ],
            the_kernel_takes(Would::Innocent, "hog"),
        )
        .with(|s| s.seconds = 16.0),
        Scenario::new(
            "19 tiny BestEffort beside a Burstable hog (demo 3)",
            vec![hog(100.0), PodSpec::new("tiny", BestEffort, 0.0, holds(5.0))],
            the_kernel_takes(Would::Right, "hog"),
        )
        .with(|s| s.seconds = 10.0),
        Scenario::new(
            "20 low priority within its request, high priority over",
            vec![
                hog(80.0).with(|p| p.priority = 100_000),
                PodSpec::new("modest", Burstable, 220.0, holds(200.0)).with(|p| p.priority = -10),
            ],
            kill_of("hog"),
        )
        .with(|s| s.seconds = 14.0),
        Scenario::new(
            "26 a daemon outside the pods leaks",
            vec![innocent()],
            Expect {
                nobody: Some(Barred::OutsidePods),
                kernel: Kernel::MayWin,
                ..Expect::default()
            },
        )
        .with(|s| {
            s.node.outside_rate = 80.0;
            s.node.root_max = Some(800.0);
            s.left = Some(400.0);
            s.seconds = 6.0;
        }),
        Scenario::new(
            "36 a protected pod is the only hog",
            vec![hog(80.0).with(|p| p.shield = Some(Shield::Protected)), innocent()],
            Expect {
                nobody: Some(Barred::Shielded),
                kernel: Kernel::MayWin,
                ..Expect::default()
            },
        )
        .with(|s| s.seconds = 13.0),
    ]
}
