//! From the owner's file to the settings that the decision reads.
//!
//! # Properties
//! - What the file turns off is not there; every threshold that is there carries its grace and its minimum reclaim.

use std::time::Duration;

use super::{Budget, EvictionPolicy, OomPriority, RungPolicy, Rungs, Threshold, ThresholdValue};
use crate::config::eviction::Level;
use crate::config::{self, Config, EvictionProfile, NodeAllocatable};
use crate::decide::rank::Profile;
use crate::model::pressure::Signal;

impl EvictionPolicy {
    /// The settings of `config`, which was checked when it was read.
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        let pressure = &config.memory_pressure;
        let rung = |on, deadline: config::eviction::PressurePeriod| RungPolicy {
            on,
            deadline: deadline.get(),
        };
        let profile = match config.eviction_profile {
            EvictionProfile::Plimsoll => Profile::Plimsoll,
            EvictionProfile::Kubelet => Profile::Kubelet,
        };
        Self {
            thresholds: thresholds(config),
            transition: config.eviction_pressure_transition_period.get(),
            max_pod_grace: match (config.eviction_max_pod_grace_period, profile) {
                (0, Profile::Plimsoll) => None,
                (seconds, _) => Some(Duration::from_secs(seconds.into())),
            },
            profile,
            rungs: Rungs {
                reclaim: rung(pressure.reclaim.enabled, pressure.reclaim.deadline),
                throttle: rung(pressure.throttle.enabled, pressure.throttle.deadline),
                suppress_cpu: rung(pressure.suppress_cpu.enabled, pressure.suppress_cpu.deadline),
                evict: rung(pressure.evict.enabled, pressure.evict.deadline),
                kill: rung(pressure.kill.enabled, pressure.kill.settle),
            },
            budget: Budget {
                victims: pressure.kill.budget.pods,
                within: pressure.kill.budget.period.get(),
            },
            oom_priority: match config.oom_priority {
                config::OomPriority::Off => OomPriority::Off,
                config::OomPriority::Bands => OomPriority::Bands,
                config::OomPriority::Ranked => OomPriority::Ranked,
            },
            dry_run: pressure.dry_run,
            ..Self::default()
        }
    }
}

/// Hard ones first, then soft ones, each in the order of [`Signal::ALL`].
fn thresholds(config: &Config) -> Vec<Threshold> {
    let reclaim = |signal| config.eviction_minimum_reclaim.get(signal).and_then(value);
    let threshold = |signal, level: Option<Level>, grace: Duration| {
        Some(Threshold {
            signal,
            at: value(level?)?,
            grace,
            minimum_reclaim: reclaim(signal),
        })
    };
    let hard = Signal::ALL.into_iter().filter_map(|signal| {
        let own = config.hard_threshold(signal);
        // Kubelet holds the pods' root to the threshold of memory where it holds pods to what is allocatable.
        let enforced = config.enforce_node_allocatable.contains(&NodeAllocatable::Pods);
        let level = match signal {
            Signal::AllocatableMemoryAvailable if own.is_none() && enforced => cloned(config),
            _ => own,
        };
        threshold(signal, level, Duration::ZERO)
    });
    let soft = Signal::ALL.into_iter().filter_map(|signal| {
        let grace = config.eviction_soft_grace_period.get(signal)?;
        threshold(signal, config.soft_threshold(signal), grace)
    });
    hard.chain(soft).collect()
}

/// The hard threshold of memory for the pods' root, unless the file has a word on that root.
fn cloned(config: &Config) -> Option<Level> {
    match config.eviction_hard.get(Signal::AllocatableMemoryAvailable) {
        None => config.hard_threshold(Signal::MemoryAvailable),
        Some(_) => None,
    }
}

fn value(level: Level) -> Option<ThresholdValue> {
    match level {
        Level::Off => None,
        Level::Quantity(count) => Some(ThresholdValue::Quantity(count)),
        Level::Part(part) => Some(ThresholdValue::Part(part)),
        Level::Time(time) => Some(ThresholdValue::Time(time)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> EvictionPolicy {
        EvictionPolicy::from_config(&config::parse(text, "test.yaml").unwrap())
    }

    #[test]
    fn the_default_configuration_is_the_default_policy_and_watches_the_pods_root() {
        let mut policy = policy("");
        let root = policy.thresholds.remove(1);
        assert_eq!(policy, EvictionPolicy::default());
        let signal = Signal::AllocatableMemoryAvailable;
        assert_eq!(root, Threshold::hard(signal, ThresholdValue::Quantity(100 << 20)));
    }

    #[test]
    fn what_is_set_arrives_and_what_is_turned_off_does_not() {
        let policy = policy(
            "evictionHard: {memory.available: 1Gi, allocatableMemory.available: 0%, time.to.exhaustion: 2s}\n\
             evictionSoft: {pressure.memory.full: 20%}\nevictionSoftGracePeriod: {pressure.memory.full: 10s}\n\
             evictionMinimumReclaim: {memory.available: 5%}\nevictionPressureTransitionPeriod: 30s\n\
             evictionProfile: kubelet\noomPriority: ranked\n\
             memoryPressure: {dryRun: true, throttle: {enabled: false}, kill: {settle: 1s, budget: {pods: 1, period: 1m}}}\n",
        );
        let expected = [
            Threshold {
                minimum_reclaim: Some(ThresholdValue::Part(0.05)),
                ..Threshold::hard(Signal::MemoryAvailable, ThresholdValue::Quantity(1 << 30))
            },
            Threshold::hard(
                Signal::TimeToExhaustion,
                ThresholdValue::Time(Duration::from_secs(2)),
            ),
            Threshold {
                grace: Duration::from_secs(10),
                ..Threshold::hard(Signal::PressureMemoryFull, ThresholdValue::Part(0.2))
            },
        ];
        assert_eq!(policy.thresholds, expected);
        assert_eq!(policy.transition, Duration::from_secs(30));
        assert_eq!(policy.max_pod_grace, Some(Duration::ZERO), "as kubelet has it");
        assert_eq!(
            (policy.profile, policy.oom_priority),
            (Profile::Kubelet, OomPriority::Ranked)
        );
        assert!(policy.dry_run && !policy.rungs.throttle.on && policy.rungs.reclaim.on);
        assert_eq!(policy.rungs.kill.deadline, Duration::from_secs(1));
        assert_eq!(
            (policy.budget.victims, policy.budget.within),
            (1, Duration::from_secs(60))
        );
    }

    #[test]
    fn the_pods_root_is_watched_only_where_it_is_held_to_a_limit() {
        let root = |text: &str| {
            let thresholds = policy(text).thresholds;
            let found = thresholds
                .iter()
                .find(|t| t.signal == Signal::AllocatableMemoryAvailable);
            found.map(|threshold| threshold.at)
        };
        assert_eq!(root("enforceNodeAllocatable: [none]"), None);
        assert_eq!(
            root("evictionHard: {memory.available: 10%}"),
            Some(ThresholdValue::Part(0.1))
        );
        let own = "evictionHard: {memory.available: 10%, allocatableMemory.available: 5Mi}";
        assert_eq!(root(own), Some(ThresholdValue::Quantity(5 << 20)));
    }
}
