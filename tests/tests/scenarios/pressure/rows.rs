//! The table of scenarios: workload, the right victim or none, the rung, the limits on what else may happen.

use std::time::Duration;

use plimsoll::decide::eviction::{EvictionPolicy, Threshold, ThresholdValue};
use plimsoll::model::QosClass::{BestEffort, Burstable, Guaranteed};
use plimsoll::model::pressure::{Barred, Rung, Shield, Signal, SpentCause};
use plimsoll_tests::pressure::pod::{Death, Mib, PodSpec, Work};
use plimsoll_tests::pressure::scenario::{Event, Expect, Kernel, Scenario, Would};

/// So much anonymous memory.
fn holds(anon: Mib) -> Work {
    Work {
        anon,
        ..Work::default()
    }
}

/// Anonymous memory from `anon` on, at `rate`.
fn grows(anon: Mib, rate: Mib) -> Work {
    Work {
        anon,
        rate,
        ..Work::default()
    }
}

fn grows_to(anon: Mib, rate: Mib, until: Mib) -> Work {
    Work {
        until: Some(until),
        ..grows(anon, rate)
    }
}

fn hog(rate: Mib) -> PodSpec {
    PodSpec::new("hog", Burstable, 64.0, grows(30.0, rate))
}

fn kill_of(name: &'static str) -> Expect {
    Expect {
        victims: vec![name],
        rung: Some(Rung::Kill),
        kernel_would_kill: Some(Would::Somebody),
        ..Expect::default()
    }
}

fn nobody() -> Expect {
    Expect {
        acts: Some(0),
        ..Expect::default()
    }
}

fn with_threshold(signal: Signal, at: ThresholdValue, grace: u64) -> EvictionPolicy {
    let mut policy = EvictionPolicy::default();
    policy.thresholds.push(Threshold {
        signal,
        at,
        grace: Duration::from_secs(grace),
        minimum_reclaim: None,
    });
    policy
}

/// Growth of one pod, and what the node has for it: rows 1 to 7.
pub(super) fn growth() -> Vec<Scenario> {
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

/// Page cache, limits, and what is nobody's shortage: rows 8, 9, 12, 25, 27, 28, 30, 35, 37.
pub(super) fn attribution() -> Vec<Scenario> {
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

/// Who is to blame: rows 7, 11, 14 to 20, 26, 36, and the demos of the kernel's wrong victims.
pub(super) fn blame() -> Vec<Scenario> {
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
            kill_of("many"),
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
                ..kill_of("tmpfs")
            },
        )
        .with(|s| s.seconds = 16.0),
        Scenario::new(
            "15b tmpfs hog whose volume stays",
            vec![tmpfs().with(|p| p.volumes_go = false), innocent()],
            Expect {
                rung: Some(Rung::Evict),
                spent: Some(SpentCause::Tmpfs),
                ..kill_of("tmpfs")
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
            Expect {
                kernel_would_kill: Some(Would::Somebody),
                ..kill_of("hog")
            },
        )
        .with(|s| s.seconds = 16.0),
        Scenario::new(
            "19 tiny BestEffort beside a Burstable hog (demo 3)",
            vec![hog(100.0), PodSpec::new("tiny", BestEffort, 0.0, holds(5.0))],
            kill_of("hog"),
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

/// How a victim dies, and what comes after it: rows 10, 13, 21 to 24, 29, 31.
pub(super) fn dying() -> Vec<Scenario> {
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

/// The agent itself: rows 32 to 34 and 38.
pub(super) fn agent() -> Vec<Scenario> {
    let dry = |mut scenario: Scenario| {
        scenario.policy.dry_run = true;
        scenario.expect.kernel = Kernel::MayWin;
        scenario.expect.optional = Vec::new();
        scenario.expect.kernel_would_kill = None;
        scenario.row = match scenario.row {
            "1 fast hog, memory.high set" => "38a dry run of 1",
            row if row.starts_with("11") => "38b dry run of 11",
            _ => "38c dry run of 18",
        };
        // Nothing is done, so that the kernel comes next: only what is said until then is the same.
        scenario.seconds = 14.0;
        scenario.seeds = 60;
        scenario
    };
    let again = |row: &'static str| {
        let all = growth().into_iter().chain(blame());
        all.filter(move |scenario| scenario.row.starts_with(row)).take(1)
    };
    let mut rows = vec![
        Scenario::new("32 the agent is late by 50 ms", vec![hog(100.0)], kill_of("hog")).with(|s| {
            s.late = 0.05;
            s.seconds = 10.0;
        }),
        Scenario::new("33 five hundred pods, and some come and go", Vec::new(), nobody()).with(|s| {
            s.bystanders = 500;
            s.node.capacity = 20_000.0;
            s.later = (0..4)
                .map(|_| PodSpec::new("comes", Burstable, 64.0, grows_to(1.0, 60.0, 60.0)))
                .collect();
            s.events = vec![
                (0.5, Event::Add(0)),
                (1.0, Event::Delete("bystander-1")),
                (1.5, Event::Add(1)),
            ];
            s.seconds = 3.0;
            s.seeds = 4;
            s.note = "descriptors, memory and the length of a sweep are for the machine";
        }),
        Scenario::new(
            "34 no events, no stall, no probes: figures alone",
            vec![hog(100.0)],
            kill_of("hog"),
        )
        .with(|s| {
            s.node.tells = false;
            s.seconds = 10.0;
            s.note = "what is refused without cgroup v2 is for the machine";
        }),
    ];
    rows.extend(again("1 ").chain(again("11")).chain(again("18")).map(dry));
    rows
}

/// All rows.
pub(super) fn all() -> Vec<Scenario> {
    [growth(), attribution(), blame(), dying(), agent()].concat()
}
