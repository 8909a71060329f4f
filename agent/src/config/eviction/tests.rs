//! What of a file's thresholds is taken, and what is refused where and with which advice.

use proptest::prelude::*;

use super::*;
use crate::config::parse;

fn problem(text: &str) -> (u64, u64, String) {
    let error = parse(text, "test.yaml").expect_err(text);
    (error.line, error.column, error.problem)
}

#[test]
fn kubelets_own_file_is_read() {
    let text = "evictionHard: {memory.available: 500Mi, nodefs.available: 10%, pid.available: 1000}\n\
                evictionSoft:\n  memory.available: 1Gi\nevictionSoftGracePeriod:\n  memory.available: 1m30s\n\
                evictionMinimumReclaim: {memory.available: 0Mi, nodefs.available: 500Mi}\n\
                evictionPressureTransitionPeriod: 0s\nevictionMaxPodGracePeriod: 60\nmergeDefaultEvictionSettings: false\n";
    let config = parse(text, "test.yaml").unwrap();
    assert_eq!(
        config.hard_threshold(Signal::MemoryAvailable),
        Some(Level::Quantity(500 << 20))
    );
    assert_eq!(
        config.hard_threshold(Signal::PidAvailable),
        Some(Level::Quantity(1000))
    );
    assert_eq!(
        config.hard_threshold(Signal::ImagefsAvailable),
        None,
        "one that is set drops all defaults"
    );
    assert_eq!(
        config.soft_threshold(Signal::MemoryAvailable),
        Some(Level::Quantity(1 << 30))
    );
    assert_eq!(config.eviction_pressure_transition_period.get().as_secs(), 300);
    assert_eq!(config.eviction_max_pod_grace_period, 60);
    let printed = serde_saphyr::to_string(&config).unwrap();
    assert_eq!(parse(&printed, "printed.yaml"), Ok(config), "{printed}");
}

#[test]
fn defaults_are_merged_where_that_is_asked_for() {
    let text =
        "evictionHard: {memory.available: 1Gi, nodefs.available: 0%}\nmergeDefaultEvictionSettings: true\n";
    let config = parse(text, "test.yaml").unwrap();
    assert_eq!(
        config.hard_threshold(Signal::MemoryAvailable),
        Some(Level::Quantity(1 << 30))
    );
    assert_eq!(config.hard_threshold(Signal::NodefsAvailable), None, "turned off");
    assert_eq!(
        config.hard_threshold(Signal::ImagefsAvailable),
        Some(Level::Part(0.15))
    );
}

#[test]
fn what_cannot_be_is_refused_at_its_place() {
    for (text, at, part) in [
        (
            "evictionHard: {memory.free: 1Gi}\n",
            (1, 16),
            "unknown eviction signal",
        ),
        (
            "evictionHard:\n  memory.available: 100MB\n",
            (2, 21),
            "not a quantity",
        ),
        (
            "evictionHard:\n  memory.available: 101%\n",
            (2, 21),
            "outside 0% to 100%",
        ),
        (
            "evictionHard:\n  memory.available: -5%\n",
            (2, 21),
            "outside 0% to 100%",
        ),
        ("evictionHard: {memory.available: 0}\n", (1, 34), "write 0%"),
        ("evictionHard: {memory.available: NaN%}\n", (1, 16), "never met"),
        ("evictionHard: {memory.available: 0.0%}\n", (1, 16), "never met"),
        (
            "evictionHard: {nodefs.available: 100.0%}\n",
            (1, 16),
            "always met",
        ),
        (
            "evictionHard: {containerfs.available: 10%}\n",
            (1, 16),
            "set nodefs.available instead",
        ),
        (
            "evictionHard: {memory.available: 1Gi, memory.available: 2Gi}\n",
            (1, 39),
            "duplicate",
        ),
        ("evictionHard: 100Mi\n", (1, 15), ""),
        (
            "evictionHard: {memory.available: 1Gi}\nevictionSoft:\n  nodefs.available: 20%\n",
            (3, 3),
            "nodefs.available without a grace period",
        ),
        (
            "evictionSoftGracePeriod: {memory.available: 30s}\n",
            (1, 27),
            "evictionSoft has no threshold",
        ),
        (
            "evictionSoft: {memory.available: 1Gi}\nevictionSoftGracePeriod: {memory.available: 0s}\n",
            (2, 45),
            "must be above 0s",
        ),
        (
            "evictionSoft: {memory.available: 50Mi}\nevictionSoftGracePeriod: {memory.available: 30s}\n",
            (1, 16),
            "can never be met before evictionHard 100Mi: set it higher",
        ),
        (
            "evictionHard:\n  memory.available: 1Gi\nevictionSoft:\n  memory.available: 1Gi\nevictionSoftGracePeriod:\n  \
             memory.available: 30s\n",
            (4, 3),
            "can never be met before evictionHard 1Gi",
        ),
        (
            "evictionHard: {pressure.memory.full: 20%}\nevictionSoft: {pressure.memory.full: 30%}\n\
             evictionSoftGracePeriod: {pressure.memory.full: 10s}\n",
            (2, 16),
            "set it lower",
        ),
        (
            "evictionHard: {pressure.memory.full: 100Mi}\n",
            (1, 38),
            "must be a percentage",
        ),
        (
            "evictionHard: {time.to.exhaustion: 10%}\n",
            (1, 36),
            "length of time",
        ),
        (
            "evictionHard: {memory.available: 1Gi}\nevictionMinimumReclaim: {pid.available: 10}\n",
            (2, 26),
            "there is no threshold for it",
        ),
        (
            "evictionMinimumReclaim: {memory.available: -1}\n",
            (1, 44),
            "must be above 0",
        ),
        (
            "evictionMinimumReclaim: {time.to.exhaustion: 5}\n",
            (1, 46),
            "is no amount",
        ),
        ("evictionMaxPodGracePeriod: -1\n", (1, 28), ""),
        ("evictionProfile: Kubelet\n", (1, 18), "did you mean `kubelet`?"),
        ("oomPriority: on\n", (1, 14), "there is: off, bands, ranked"),
        (
            "memoryPressure: {kill: {budget: {pods: 0}}}\n",
            (1, 40),
            "set enabled to false",
        ),
        (
            "memoryPressure:\n  throttle: {enabled: true, deadline: 2h}\n",
            (2, 39),
            "1ms to 60m",
        ),
        ("memoryPressure: {protectedNamespaces: [Kube]}\n", (1, 40), ""),
    ] {
        let (line, column, found) = problem(text);
        assert!(found.contains(part), "{text:?}: {found}");
        assert_eq!((line, column), at, "{text:?}: {found}");
    }
}

#[test]
fn the_machine_has_a_word_too() {
    let config = |text: &str| parse(text, "test.yaml").unwrap();
    let gib = |signal| (signal == Signal::MemoryAvailable).then_some(1_u64 << 30);
    let fits = |text: &str| config(text).check_eviction_on(gib);
    assert_eq!(fits(""), Ok(()));
    assert_eq!(fits("evictionHard: {memory.available: 1023Mi}"), Ok(()));
    assert!(
        fits("evictionHard: {memory.available: 1Gi}")
            .unwrap_err()
            .contains("always be met")
    );
    assert!(
        fits("evictionHard: {memory.available: 0.00000001%}")
            .unwrap_err()
            .contains("never be met")
    );
    let soft = "evictionHard: {memory.available: 10%}\nevictionSoftGracePeriod: {memory.available: 1s}\nevictionSoft: ";
    assert_eq!(fits(&format!("{soft}{{memory.available: 200Mi}}")), Ok(()));
    let error = fits(&format!("{soft}{{memory.available: 100Mi}}")).unwrap_err();
    assert!(error.contains("before evictionHard 10%"), "{error}");
    // What is not known is not judged.
    assert_eq!(fits("evictionHard: {pid.available: 9999999999}"), Ok(()));
}

#[test]
fn what_nothing_counts_is_refused_unless_it_is_the_default() {
    let config = |text: &str| parse(text, "test.yaml").unwrap();
    let fits = |text: &str| config(text).check_eviction_on(|_| Some(0));
    for text in [
        "evictionHard: {imagefs.available: 15%}",
        "evictionHard: {imagefs.available: 0%}",
        "evictionHard: {imagefs.available: 15%, nodefs.inodesFree: 5%}",
    ] {
        assert_eq!(fits(text), Ok(()), "{text}");
    }
    for (text, part) in [
        ("evictionHard: {imagefs.available: 20%}", "imageFsPath"),
        (
            "evictionSoft: {imagefs.inodesFree: 9%}\nevictionSoftGracePeriod: {imagefs.inodesFree: 1s}",
            "evictionSoft of imagefs.inodesFree can never be met",
        ),
        ("evictionHard: {nodefs.inodesFree: 7%}", "nothing on this machine"),
    ] {
        let error = fits(text).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

proptest! {
    #[test]
    fn what_passes_can_fire_and_soft_fires_first(
        hard in 1_u32..200, soft in 1_u32..200, hard_part: bool, soft_part: bool, capacity in 1_u64..1 << 40,
    ) {
        let text = |n: u32, part: bool| if part { format!("{}%", f64::from(n) / 2.0) } else { format!("{n}Mi") };
        let file = format!(
            "evictionHard: {{memory.available: {}}}\nevictionSoft: {{memory.available: {}}}\n\
             evictionSoftGracePeriod: {{memory.available: 1s}}\n",
            text(hard, hard_part), text(soft, soft_part)
        );
        let Ok(config) = parse(&file, "f") else {
            // What is refused is what could not be.
            let same_kind = hard_part == soft_part;
            prop_assert!((same_kind && soft <= hard) || (hard_part && hard >= 200) || (soft_part && soft >= 200));
            return Ok(());
        };
        if config.check_eviction_on(|_| Some(capacity)).is_ok() {
            let signal = Signal::MemoryAvailable;
            let at = |level: Option<Level>| level.map_or(0, |level| count(level, capacity));
            let (hard, soft) = (at(config.hard_threshold(signal)), at(config.soft_threshold(signal)));
            let off = config.hard_threshold(signal).is_none() || config.soft_threshold(signal).is_none();
            prop_assert!(off || (0 < hard && hard <= soft && soft < capacity), "{hard} {soft} {capacity}");
        }
    }
}
