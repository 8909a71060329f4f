//! The agent deals with it: for each scenario who has to go, and that nobody else does.
//!
//! Numbers are those of the table of scenarios in the notes on which the guard's design rests. Each says what must have
//! happened for it to have meant anything at all. Those that are not here are played on the simulated machine only.
//!
//! Where a real kernel does not let a scenario be as the table has it:
//! - 18: page tables, sockets and tmpfs are charged to the pod, whose own `memory.max` stops it at its request. So it gets
//!   past that only when somebody lifts the limit, while the agent stands still, who would set it again at once.
//! - 14: the agent gives a pod swap in proportion to its request, so that a pod over its request never has much of it.
//!   It is put there while the agent stands still.
//! - 9: the disk of the machine is smaller than its memory, so that it is the pods' root that is too small for the cache.

use std::cell::Cell;
use std::time::Duration;

use plimsoll::model::QosClass::{BestEffort, Burstable, Guaranteed};
use plimsoll::model::pressure::{Barred, DecisionRecord, Outcome, Rung, Signal};
use plimsoll::model::{NodeReport, PodPhase, PodReport};
use plimsoll_tests::race::{Ground, Keeper, Line, Look, Onlooker, Pod, Race, Scenario, run, run_with};

use super::places;

/// The agent's reason for pods that it ended.
const EVICTED: &str = "Evicted";

/// Pages that come back after they were dropped, from which on the cache does not fit.
const REFAULTS: u64 = 20_000;

/// Runs a scenario with the agent, and checks what holds for all of them.
fn kept(scenario: &Scenario) -> Race {
    kept_with(scenario, &mut |_, _| Ok(Look::On))
}

fn kept_with(scenario: &Scenario, at_each_look: &mut Onlooker<'_>) -> Race {
    let race = right_with(scenario, at_each_look);
    assert_eq!(race.oom_kills(), 0, "the kernel came first: {race:#?}");
    assert_eq!(
        scenario.right.is_empty(),
        race.onset.is_none(),
        "memory was short, or not: {race:#?}"
    );
    race
}

/// Checks only that the right ones went, by the agent, and nobody else.
fn right_with(scenario: &Scenario, at_each_look: &mut Onlooker<'_>) -> Race {
    let race = run_with(scenario, Keeper::Plimsoll, 0, &places(), at_each_look).unwrap();
    let hurt: Vec<_> = race.hurt().iter().map(|pod| pod.name).collect();
    assert!(race.is_right(scenario), "{hurt:?} lost processes: {race:#?}");
    let report = race.report.as_ref().expect("the agent answers");
    let mut evicted: Vec<_> = evicted(report);
    let mut right = scenario.right.to_vec();
    evicted.sort_unstable();
    right.sort_unstable();
    assert_eq!(evicted, right, "{report:#?}");
    race
}

/// The agent's decisions, the oldest first.
fn decisions(report: &NodeReport) -> &[DecisionRecord] {
    report
        .pressure
        .as_ref()
        .map_or(&[], |pressure| &pressure.decisions)
}

/// The signals and rungs at which pods were taken.
fn takings(race: &Race) -> Vec<(Option<Signal>, Rung)> {
    let report = race.report.as_ref().expect("the agent answers");
    let taking = |record: &&DecisionRecord| record.rung >= Some(Rung::Evict);
    let taken = decisions(report).iter().filter(taking);
    taken
        .filter_map(|record| Some((record.need.signal, record.rung?)))
        .collect()
}

fn evicted(report: &NodeReport) -> Vec<&str> {
    let ended = |pod: &&PodReport| pod.phase == PodPhase::Failed && pod.reason.as_deref() == Some(EVICTED);
    report
        .pods
        .iter()
        .filter(ended)
        .map(|pod| pod.name.as_str())
        .collect()
}

fn is_reclaim(record: &&DecisionRecord) -> bool {
    record.rung == Some(Rung::Reclaim)
}

fn is_outside(record: &DecisionRecord) -> bool {
    record.outcome
        == Outcome::Nobody {
            why: Barred::OutsidePods,
        }
}

/// Within its request, and at work.
fn steady() -> Pod {
    Pod::bystander("steady", Burstable, 160, "work size=96 every=50", 95)
}

/// The first to go by its class alone.
fn small() -> Pod {
    Pod::bystander("small", BestEffort, 0, "anon size=4", 4)
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_1_a_fast_hog_at_the_tripwire() {
    let hog = Pod::hog("hog", Burstable, 64, "anon first=300 size=2000 pace=100").with_first(300);
    let scenario = Scenario::new("1", Line::High(620), &["hog"], vec![steady(), small(), hog]);
    let race = kept(&scenario);
    assert!(race.pod("hog").unwrap().freed.is_some(), "{race:#?}");
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_2_a_fast_hog_without_a_tripwire() {
    let hog = Pod::hog("hog", Burstable, 64, "anon first=700 size=3000 pace=100").with_first(700);
    kept(&Scenario::new(
        "2",
        Line::Tenth,
        &["hog"],
        vec![steady(), small(), hog],
    ));
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_2_with_swap() {
    let hog = Pod::hog("hog", Burstable, 64, "anon first=700 size=3000 pace=100").with_first(700);
    let mut scenario = Scenario::new("2", Line::Tenth, &["hog"], vec![steady(), small(), hog]);
    scenario.swap = true;
    kept(&scenario);
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_4_a_tripwire_and_swap() {
    let hog = Pod::hog("hog", Burstable, 64, "anon first=300 size=2000 pace=100").with_first(300);
    let mut scenario = Scenario::new("4", Line::High(620), &["hog"], vec![steady(), small(), hog]);
    scenario.swap = true;
    kept(&scenario);
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_6_a_burst_within_the_request() {
    let pod = Pod::hog("burst", Burstable, 400, "anon size=380 pace=400");
    let scenario = Scenario::new("6", Line::Tenth, &[], vec![steady(), small(), pod]);
    let whole = |race: &Race| race.pod("burst").is_some_and(|pod| pod.peak >= 380 << 20);
    let race = kept_with(&scenario, &mut |_, race| {
        Ok(if whole(race) { Look::Enough } else { Look::On })
    });
    assert!(whole(&race), "{race:#?}");
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_8_page_cache_at_the_pods_own_limit() {
    let pod = Pod::hog("cache", Burstable, 32, "cache file=/disk/cache size=160 pace=400").limited(64);
    let scenario = Scenario::new("8", Line::Tenth, &[], vec![steady(), small(), pod]);
    let limited = Cell::new(false);
    let race = kept_with(&scenario, &mut |field, _| {
        limited.set(limited.get() || field.event("cache", "max") > 0);
        Ok(if limited.get() { Look::Enough } else { Look::On })
    });
    assert!(limited.get(), "it came to its limit: {race:#?}");
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_9_page_cache_that_does_not_fit() {
    let cache = Pod::hog("cache", Burstable, 32, "cache file=/disk/cache size=220 pace=400");
    let mut scenario = Scenario::new("9", Line::High(250), &[], vec![steady(), small(), cache]);
    scenario.patience = Duration::from_secs(20);
    let (reclaims, refaults) = (Cell::new(0), Cell::new(0));
    let race = right_with(&scenario, &mut |field, race| {
        refaults.set(field.stat("cache", "workingset_refault_file"));
        if race.onset.is_some() && refaults.get() > REFAULTS && reclaims.get() == 0 {
            let report = field.report();
            let decisions = report.as_ref().map_or(&[][..], decisions);
            reclaims.set(decisions.iter().filter(is_reclaim).count());
        }
        Ok(if reclaims.get() > 0 {
            Look::Enough
        } else {
            Look::On
        })
    });
    assert!(
        refaults.get() > REFAULTS,
        "{} pages came back: {race:#?}",
        refaults.get()
    );
    assert!(reclaims.get() > 0, "its cache was asked for: {race:#?}");
    assert_eq!(race.oom_kills(), 0, "{race:#?}");
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_9_page_cache_beside_a_pod_over_its_request() {
    let cache = Pod::hog("cache", Burstable, 32, "cache file=/disk/cache size=220 pace=400");
    let over = Pod::hog("over", Burstable, 50, "anon first=150 size=2000 pace=20").with_first(150);
    let mut scenario = Scenario::new(
        "9",
        Line::High(380),
        &["over"],
        vec![steady(), small(), cache, over],
    );
    scenario.patience = Duration::from_secs(30);
    let race = kept(&scenario);
    let report = race.report.as_ref().expect("the agent answers");
    let first = decisions(report).iter().find(|record| record.act.is_some());
    assert!(
        first.is_some_and(|first| is_reclaim(&first)),
        "{:#?}",
        decisions(report)
    );
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_10_a_fork_bomb() {
    let bomb = Pod::hog("bomb", Burstable, 64, "bomb every=150 count=3000");
    // With enough tasks to be worth a thought.
    let busy = Pod::bystander("busy", Burstable, 240, "many each=1 every=20 count=80", 90);
    let scenario = Scenario::new(
        "10",
        Line::Tasks(700),
        &["bomb"],
        vec![steady(), small(), busy, bomb],
    );
    let race = kept(&scenario);
    assert_eq!(
        takings(&race),
        [(Some(Signal::PidAvailable), Rung::Kill)],
        "{race:#?}"
    );
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_11_with_swap() {
    let many = Pod::hog("many", Burstable, 64, "many each=10 every=40 count=200");
    let innocent = Pod::bystander("innocent", Burstable, 160, "anon size=120", 120);
    let mut scenario = Scenario::new("11", Line::Tenth, &["many"], vec![steady(), innocent, many]);
    scenario.swap = true;
    kept(&scenario);
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_11_many_small_processes_beside_a_large_innocent() {
    let many = Pod::hog("many", Burstable, 64, "many each=10 every=40 count=160");
    let innocent = Pod::bystander("innocent", Burstable, 160, "anon size=120", 120);
    kept(&Scenario::new(
        "11",
        Line::Tenth,
        &["many"],
        vec![steady(), innocent, many],
    ));
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_13_a_victim_that_hardly_gets_cpu() {
    let hog = Pod::hog("hog", Burstable, 64, "spin first=500 size=2000 pace=100")
        .with_first(499)
        .with_cpu(1);
    let scenario = Scenario::new("13", Line::High(620), &["hog"], vec![steady(), small(), hog]);
    let race = kept(&scenario);
    // Without more CPU its end would take half a minute and more on the older kernels, longer than it is looked at.
    assert!(race.pod("hog").unwrap().freed.is_some(), "{race:#?}");
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_14_a_pod_that_has_the_swap() {
    let sleeper = Pod::bystander("sleeper", Burstable, 64, "anon size=250", 250).in_swap(232);
    let active = Pod::hog("active", Burstable, 590, "anon first=200 size=575 pace=60").with_first(200);
    let ballast = Pod::bystander("ballast", Burstable, 430, "anon size=420", 420);
    let mut scenario = Scenario::new(
        "14",
        Line::Tenth,
        &["sleeper"],
        vec![steady(), small(), ballast, sleeper, active],
    );
    scenario.swap = true;
    kept(&scenario);
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_15_a_tmpfs_that_outlives_its_pod() {
    let hog = Pod::hog("hog", Burstable, 64, "tmpfs file=SHM/hog size=1000 pace=200");
    let innocent = Pod::bystander("innocent", Burstable, 160, "anon size=120", 120);
    let ballast = Pod::bystander("ballast", Burstable, 300, "anon size=250", 250);
    let mut scenario = Scenario::new(
        "15",
        Line::Tenth,
        &["hog"],
        vec![steady(), innocent, ballast, hog],
    );
    // Its end frees nothing, and still nobody else goes for that.
    scenario.aftermath = Duration::from_secs(10);
    kept(&scenario);
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_16_a_container_that_the_kernel_ends_as_one() {
    let group = Pod::hog("group", Burstable, 32, "many each=40 every=200 count=3").limited(96);
    let scenario = Scenario::new("16", Line::Tenth, &["group"], vec![steady(), small(), group]);
    // Its own limit is its own matter: the kernel ends it, and the agent tells so and takes nobody.
    let race = run(&scenario, Keeper::Plimsoll, 0, &places()).unwrap();
    assert!(race.is_right(&scenario), "{race:#?}");
    assert!(race.pod("group").unwrap().dead.is_some(), "all of it: {race:#?}");
    let report = race.report.expect("the agent answers");
    assert_eq!(evicted(&report), Vec::<&str>::new(), "{report:#?}");
    let group = report
        .pods
        .iter()
        .find(|pod| pod.name.as_str() == "group")
        .unwrap();
    assert_eq!(group.phase, PodPhase::Failed, "{report:#?}");
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_18_a_guaranteed_pod_past_its_limit() {
    let hog = Pod::hog("hog", Guaranteed, 64, "anon size=3000 pace=100").lifted();
    let scenario = Scenario::new("18", Line::Tenth, &["hog"], vec![steady(), small(), hog]);
    let race = run_with(&scenario, Keeper::Plimsoll, 0, &places(), &mut |field, race| {
        // Whoever lifted its limit, the agent was not there then: it comes back to a machine that runs out.
        if race.onset.is_some() {
            field.pause(false)?;
        }
        Ok(Look::On)
    })
    .unwrap();
    assert!(
        race.onset.is_some() && race.is_right(&scenario),
        "nobody but the hog, and it was short: {race:#?}"
    );
    // It goes by the agent, or by its limit, which the agent sets again.
    for name in ["steady", "small"] {
        assert_eq!(race.pod(name).unwrap().oom_kills, 0, "{race:#?}");
    }
    println!("{} killed by its limit", race.pod("hog").unwrap().oom_kills);
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_26_a_daemon_outside_the_pods() {
    let innocent = Pod::bystander("innocent", Burstable, 160, "anon size=120", 120);
    let mut scenario = Scenario::new("26", Line::Tenth, &[], vec![steady(), small(), innocent]);
    scenario.outside = Some("anon first=600 size=3000 pace=40");
    let told = Cell::new(false);
    let race = right_with(&scenario, &mut |field, race| {
        if race.onset.is_some() && !told.get() {
            let report = field.report();
            let decisions = report.as_ref().map_or(&[][..], decisions);
            told.set(decisions.iter().any(is_outside));
            if told.get() {
                // Whom the kernel would take is its own choice, and not asked for here.
                field.end_outside()?;
            }
        }
        Ok(if told.get() { Look::Enough } else { Look::On })
    });
    assert!(race.onset.is_some(), "memory was short: {race:#?}");
    assert!(told.get(), "the agent says who is to blame: {race:#?}");
    assert_eq!(race.oom_kills(), 0, "{race:#?}");
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_22_a_pod_that_comes_again_under_its_name() {
    let hog = Pod::hog("hog", Burstable, 64, "anon first=700 size=3000 pace=100").with_first(700);
    let scenario = Scenario::new("22", Line::Tenth, &["hog"], vec![steady(), small(), hog]);
    let is_new = |pod: &&PodReport| pod.uid.as_str() == "uid-again";
    let (again, runs) = (Cell::new(false), Cell::new(false));
    let race = run_with(&scenario, Keeper::Plimsoll, 0, &places(), &mut |field, race| {
        // The moment at which the agent is about to act on it.
        if race.onset.is_some() && !again.get() {
            again.set(true);
            field.replace("hog", "anon size=32", "uid-again")?;
        }
        if again.get() && !runs.get() && race.pod("hog").is_some_and(|hog| hog.dead.is_some()) {
            let report = field.report();
            let new = report.as_ref().and_then(|report| report.pods.iter().find(is_new));
            runs.set(new.is_some_and(|new| new.phase == PodPhase::Running));
        }
        Ok(if runs.get() { Look::On } else { Look::NotYet })
    })
    .unwrap();
    assert!(again.get() && race.is_right(&scenario), "{race:#?}");
    let report = race.report.expect("the agent answers");
    let new = report.pods.iter().find(is_new).expect("the new one is there");
    assert_eq!(new.phase, PodPhase::Running, "{report:#?}");
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_29_two_hogs_at_once() {
    let big = Pod::hog("big", Burstable, 64, "anon first=600 size=3000 pace=60").with_first(600);
    let little = Pod::hog("little", Burstable, 64, "anon first=150 size=3000 pace=60").with_first(150);
    kept(&Scenario::new(
        "29",
        Line::Tenth,
        &["big"],
        vec![steady(), small(), big, little],
    ));
}

#[test]
#[ignore = "runs its machine out of memory"]
fn scenario_31_an_agent_that_is_killed_in_the_middle_of_a_kill() {
    let hog = Pod::hog("hog", Burstable, 64, "anon first=700 size=3000 pace=100").with_first(700);
    let mut scenario = Scenario::new("31", Line::Tenth, &["hog"], vec![steady(), small(), hog]);
    // For as long as that one looks on, nobody else goes.
    scenario.aftermath = Duration::from_secs(10);
    let (killed, back) = (Cell::new(false), Cell::new(false));
    let race = run_with(&scenario, Keeper::Plimsoll, 0, &places(), &mut |field, race| {
        if let Ground::ByAgent(agent) = &mut field.ground
            && !race.hurt().is_empty()
            && !killed.get()
        {
            killed.set(true);
            agent.kill()?;
            agent.start()?;
        }
        back.set(back.get() || killed.get() && field.report().is_some());
        Ok(if back.get() { Look::On } else { Look::NotYet })
    })
    .unwrap();
    assert!(killed.get() && race.is_right(&scenario), "{race:#?}");
    assert_eq!(race.oom_kills(), 0, "{race:#?}");
    let report = race.report.expect("the agent that came after it answers");
    let hog = report.pods.iter().find(|pod| pod.name.as_str() == "hog").unwrap();
    assert_eq!(hog.phase, PodPhase::Failed, "{report:#?}");
}
