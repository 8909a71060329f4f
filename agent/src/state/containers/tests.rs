//! Properties of the facts alone; how they lead to decisions is tested in `decide::lifecycle`.

use proptest::prelude::*;

use super::*;

fn events() -> impl Strategy<Value = ContainerEvent> {
    let process = (1_u32..3).prop_map(|pid| ProcessIdentity { pid, start_ticks: 5 });
    prop_oneof![
        process.clone().prop_map(ContainerEvent::Started),
        Just(ContainerEvent::StartFailed("why".to_owned())),
        Just(ContainerEvent::Occupied),
        process.clone().prop_map(ContainerEvent::Adopted),
        Just(ContainerEvent::Lost),
        (process, 0..2).prop_map(|(p, code)| ContainerEvent::Exited(p, ExitStatus::Code(code))),
        Just(ContainerEvent::OomKilled(BootTime(Duration::from_secs(1)))),
        Just(ContainerEvent::Cleared),
    ]
}

proptest! {
    #[test]
    fn only_an_empty_cgroup_or_no_launch_leads_down(events in prop::collection::vec(events(), 0..30)) {
        let mut known = ContainerRun::default();
        for (n, event) in events.into_iter().enumerate() {
            let before = known.clone();
            known.apply(event.clone(), BootTime(Duration::from_secs(n as u64)));
            if before.run != Run::Down && known.run == Run::Down {
                let seen_empty = [ContainerEvent::Cleared, ContainerEvent::Lost].contains(&event)
                    || matches!(event, ContainerEvent::StartFailed(_));
                prop_assert!(seen_empty, "{event:?} after {:?}", before.run);
                let ran = matches!(before.run, Run::Running { .. });
                prop_assert!(!ran, "it ran and is down at once");
            }
            if let (Run::Running { process, .. }, ContainerEvent::Exited(ended, _)) = (before.run, &event) {
                prop_assert_eq!(known.run == Run::Clearing, process == *ended);
            }
        }
    }

    #[test]
    fn a_fact_that_comes_twice_counts_once(events in prop::collection::vec(events(), 0..30)) {
        let mut known = ContainerRun { run: Run::Starting { replacing: false }, ..ContainerRun::default() };
        for event in events {
            known.apply(event.clone(), BootTime::default());
            let once = known.clone();
            // Two missed launches in a row are two facts, not one told twice.
            if !matches!((&event, known.run), (ContainerEvent::Adopted(_) | ContainerEvent::Lost, _)) {
                known.apply(event, BootTime::default());
                prop_assert_eq!(&known, &once);
            }
        }
    }
}
