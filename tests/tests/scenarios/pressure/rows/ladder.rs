//! The rung on which BestEffort pods get less CPU.

use plimsoll::decide::eviction::ThresholdValue;
use plimsoll::model::Bytes;
use plimsoll::model::QosClass::{BestEffort, Burstable};
use plimsoll::model::pressure::{Rung, Signal};
use plimsoll_tests::pressure::pod::{Mib, PodSpec};
use plimsoll_tests::pressure::scenario::{Event, Expect, Scenario};

use super::{grows, grows_to, holds, with_threshold};

/// Beyond the table: CPU feeds the pressure.
pub(in crate::pressure) fn ladder() -> Vec<Scenario> {
    let batch = |rate: Mib, until: Mib| {
        PodSpec::new("batch", BestEffort, 0.0, grows_to(60.0, rate, until)).with(|p| p.work.cpu = 1500)
    };
    // A long grace, so that nothing but the milder rungs comes of the soft threshold; CPU is the only one of those.
    let row = |name, pods, expect| {
        Scenario::new(name, pods, expect).with(|s| {
            let soft = ThresholdValue::Quantity(Bytes::mib(225).0);
            s.policy = with_threshold(Signal::MemoryAvailable, soft, 600);
            s.policy.rungs.throttle.on = false;
            s.left = Some(209.0);
            // The files that they read are memory that is left, too.
            s.bystanders = 3;
        })
    };
    // In a moment another pod ends: until then the memory that is left has to do.
    let soon_better = |name, expect| {
        let leaves = PodSpec::new("leaves", Burstable, 220.0, holds(200.0));
        row(name, vec![batch(24.0, 200.0), leaves], expect).with(|s| {
            s.events = vec![(10.0, Event::Delete("leaves"))];
            s.seconds = 18.0;
        })
    };
    vec![
        soon_better(
            "39a CPU feeds the pressure, and less of it is enough",
            Expect {
                before: Some(Rung::SuppressCpu),
                cpu_back_within: Some(10.1),
                ..Expect::default()
            },
        ),
        soon_better(
            "39b the same without that rung",
            Expect {
                victims: vec!["batch"],
                ..Expect::default()
            },
        )
        .with(|s| s.policy.rungs.suppress_cpu.on = false),
        row(
            "40 less CPU is not enough, and is given back at its deadline",
            vec![batch(8.0, 900.0)],
            Expect {
                victims: vec!["batch"],
                before: Some(Rung::SuppressCpu),
                cpu_back_within: Some(10.1),
                ..Expect::default()
            },
        )
        .with(|s| s.seconds = 40.0),
        row(
            "41 a victim that has less CPU dies all the same",
            vec![
                batch(8.0, 900.0),
                PodSpec::new("burst", Burstable, 150.0, grows_to(10.0, 60.0, 140.0))
                    .with(|p| p.work.after = 7.0),
            ],
            Expect {
                victims: vec!["batch"],
                before: Some(Rung::SuppressCpu),
                freed_within: Some(1.0),
                ..Expect::default()
            },
        )
        .with(|s| {
            s.seconds = 16.0;
            s.note = "that lifting the level's limit helps is for the VM";
        }),
        row(
            "42 a pod that uses little CPU is left all of it",
            vec![PodSpec::new("leak", BestEffort, 0.0, grows(60.0, 12.0)).with(|p| p.work.cpu = 100)],
            Expect {
                victims: vec!["leak"],
                acts: Some(2),
                ..Expect::default()
            },
        )
        .with(|s| s.seconds = 20.0),
    ]
}
