//! What happens where nobody but the kernel deals with it: this is what the agent is there for, and it shows that the
//! workloads do what they are meant to.

use std::time::Duration;

use plimsoll::model::QosClass::{BestEffort, Burstable, Guaranteed};
use plimsoll_tests::race::{Keeper, Line, Pod, Race, Scenario, run};

use super::places;

fn alone(scenario: &Scenario) -> Race {
    run(scenario, Keeper::Kernel, 0, &places()).unwrap()
}

/// The kernel takes the innocent pod first, though another is to blame.
fn takes_the_innocent(hog: Pod, innocent: Pod) {
    let pods = vec![innocent, hog];
    let mut scenario = Scenario::new("wrong victim", Line::Tenth, &["innocent"], pods);
    scenario.aftermath = Duration::from_secs(1);
    let race = alone(&scenario);
    assert_eq!(
        race.hurt().first().map(|pod| pod.name),
        Some("innocent"),
        "{race:#?}"
    );
    assert!(race.pod("innocent").unwrap().oom_kills > 0, "{race:#?}");
    assert!(race.onset.is_some(), "memory was short: {race:#?}");
}

#[test]
#[ignore = "runs its machine out of memory"]
fn the_kernel_takes_the_innocent_for_many_small_processes() {
    takes_the_innocent(
        Pod::hog("hog", Burstable, 64, "many each=10 every=20 count=300"),
        Pod::bystander("innocent", Burstable, 80, "anon size=60", 60),
    );
}

#[test]
#[ignore = "runs its machine out of memory"]
fn the_kernel_takes_the_innocent_for_a_guaranteed_pod() {
    takes_the_innocent(
        Pod::hog("hog", Guaranteed, 64, "anon first=900 size=3000 pace=200")
            .with_first(900)
            .lifted(),
        Pod::bystander("innocent", BestEffort, 0, "anon size=4", 4),
    );
}

#[test]
#[ignore = "runs its machine out of memory"]
fn the_kernel_takes_one_after_the_other_for_a_tmpfs() {
    let pods = vec![
        Pod::bystander("first", Burstable, 80, "anon size=60", 60),
        Pod::bystander("second", Burstable, 200, "anon size=150", 150),
        Pod::hog("hog", Burstable, 64, "tmpfs file=SHM/hog size=2000 pace=200"),
    ];
    let scenario = Scenario::new("tmpfs", Line::Tenth, &["first", "second"], pods);
    let race = alone(&scenario);
    for name in ["first", "second"] {
        assert!(race.pod(name).unwrap().oom_kills > 0, "{race:#?}");
    }
}

#[test]
#[ignore = "runs its machine out of memory"]
fn a_pod_at_the_tripwire_stands_still_and_nobody_ends_it() {
    let hog = Pod::hog("hog", Burstable, 64, "anon first=300 size=1000 pace=100").with_first(300);
    let mut scenario = Scenario::new("tripwire", Line::High(350), &[], vec![hog]);
    scenario.patience = Duration::from_secs(15);
    let race = alone(&scenario);
    assert!(race.hurt().is_empty(), "{race:#?}");
    assert!(race.onset.is_some(), "{race:#?}");
    let hog = race.pod("hog").unwrap();
    assert!(hog.stalled > race.lasted / 2, "{race:#?}");
    assert!(hog.peak < 420 << 20, "it does not get what it wants: {race:#?}");
}
