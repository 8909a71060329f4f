//! What becomes of the agent itself.

use plimsoll::model::QosClass::Burstable;
use plimsoll_tests::pressure::pod::PodSpec;
use plimsoll_tests::pressure::scenario::{Event, Kernel, Scenario};

use super::{blame, grows_to, growth, hog, kill_of, nobody};

/// The agent itself: rows 32 to 34 and 38.
pub(in crate::pressure) fn agent() -> Vec<Scenario> {
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
