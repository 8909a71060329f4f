//! Eviction: kubelet's thresholds, two of our own, and which of them cannot be.
//!
//! **Problem.** A threshold that is never met protects nobody, and one that is always met empties the node. Both look
//! like any other in a file, and kubelet takes them. **How.** Each value is read by kubelet's grammar (`grammar`) at its
//! own line (`settings`); then the thresholds are held against each other ([`check`]) and, where the machine is known,
//! against its size ([`check_on`]). **Terms.** *Hard*: acted upon at once. *Soft*: acted upon when it was met for its
//! *grace period*. *Minimum reclaim*: what must come free beyond the threshold before it counts as no longer met.
//!
//! # Properties
//! - Thresholds that pass can fire, and a soft one can fire before the hard one of its signal.

mod grammar;
mod pressure;
mod settings;
#[cfg(test)]
mod tests;

pub use grammar::{Level, LevelError, read_level};
pub use pressure::{
    EvictRung, EvictionProfile, KillBudget, KillRung, MemoryPressure, OomPriority, PressurePeriod,
    ReclaimRung, SuppressCpuRung, ThrottleRung, TransitionPeriod,
};
pub use settings::{BySignal, Graces, Kind, Reclaims, Thresholds};

use super::Config;
use super::check::{Conflict, conflict};
use crate::model::pressure::Signal;

/// kubelet's own, `DefaultEvictionHard`.
const DEFAULT_HARD: [(Signal, &str); 5] = [
    (Signal::MemoryAvailable, "100Mi"),
    (Signal::NodefsAvailable, "10%"),
    (Signal::NodefsInodesFree, "5%"),
    (Signal::ImagefsAvailable, "15%"),
    (Signal::ImagefsInodesFree, "5%"),
];

/// What is there when `evictionHard` is not set.
pub(super) fn default_hard() -> BySignal<Thresholds> {
    BySignal::fixed(&DEFAULT_HARD)
}

/// Whether a threshold is met above it, not below.
const fn is_upper_bound(signal: Signal) -> bool {
    matches!(signal, Signal::PressureMemoryFull)
}

impl Config {
    /// The hard threshold of a signal, with kubelet's default where `mergeDefaultEvictionSettings` asks for that.
    /// None where it is turned off.
    #[must_use]
    pub fn hard_threshold(&self, signal: Signal) -> Option<Level> {
        let own = self.eviction_hard.get(signal);
        let merged = match own {
            None if self.merge_default_eviction_settings => default_hard().get(signal),
            own => own,
        };
        merged.filter(|level| *level != Level::Off)
    }

    /// The soft threshold of a signal.
    #[must_use]
    pub fn soft_threshold(&self, signal: Signal) -> Option<Level> {
        let soft = self.eviction_soft.get(signal);
        soft.filter(|level| *level != Level::Off)
    }

    /// Whether the thresholds can be on a machine where `capacity` tells how much there is of a signal: bytes, inodes
    /// or tasks. A signal of which it is not known is not looked at; where there is nothing to watch, at 0, only kubelet's
    /// default may stand, and it is not in force.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn check_eviction_on(&self, capacity: impl Fn(Signal) -> Option<u64>) -> Result<(), String> {
        check_on(self, capacity).map_err(|conflict| conflict.problem)
    }
}

/// Whether the thresholds can be together, on any machine.
pub(super) fn check(config: &Config) -> Result<(), Conflict> {
    for signal in Signal::ALL {
        for (field, level) in [
            ("evictionHard", config.eviction_hard.get(signal)),
            ("evictionSoft", config.eviction_soft.get(signal)),
        ] {
            level.map_or(Ok(()), |level| alone(field, signal, level))?;
        }
        graces(config, signal)?;
        if let (Some(soft), Some(hard)) = (config.soft_threshold(signal), config.hard_threshold(signal)) {
            order(config, signal, soft, hard, None)?;
        }
        let threshold = config.hard_threshold(signal).or(config.soft_threshold(signal));
        if config.eviction_minimum_reclaim.get(signal).is_some() && threshold.is_none() {
            return conflict(
                format!("evictionMinimumReclaim/{signal}"),
                format!(
                    "evictionMinimumReclaim has {signal}, and there is no threshold for it: give it one in evictionHard \
                     or evictionSoft, or take it out"
                ),
            );
        }
    }
    Ok(())
}

/// A threshold by itself.
fn alone(field: &str, signal: Signal, level: Level) -> Result<(), Conflict> {
    let Level::Part(part) = level else { return Ok(()) };
    let never = part.is_nan() || part <= 0.0;
    if never || part >= 1.0 {
        let when = if never { "never" } else { "always" };
        return conflict(
            format!("{field}/{signal}"),
            format!(
                "{field} of {signal} is {when} met: write a percentage above 0% and below 100%, or 0% to turn it off"
            ),
        );
    }
    Ok(())
}

fn graces(config: &Config, signal: Signal) -> Result<(), Conflict> {
    let soft = config.eviction_soft.get(signal);
    let grace = config.eviction_soft_grace_period.get(signal);
    match (soft, grace) {
        (Some(level), None) if level != Level::Off => conflict(
            format!("evictionSoft/{signal}"),
            format!(
                "evictionSoft has {signal} without a grace period: give it one in evictionSoftGracePeriod, such as 1m30s"
            ),
        ),
        (None, Some(_)) => conflict(
            format!("evictionSoftGracePeriod/{signal}"),
            format!(
                "evictionSoftGracePeriod has {signal}, and evictionSoft has no threshold for it: give it one, or take the \
                 grace period out"
            ),
        ),
        _ => Ok(()),
    }
}

/// Whether the soft threshold is met before the hard one; of different kinds they can be held against each other only
/// where the capacity is known.
fn order(
    config: &Config,
    signal: Signal,
    soft: Level,
    hard: Level,
    capacity: Option<u64>,
) -> Result<(), Conflict> {
    let before = match (soft, hard) {
        (Level::Quantity(soft), Level::Quantity(hard)) => soft > hard,
        (Level::Part(soft), Level::Part(hard)) if is_upper_bound(signal) => soft < hard,
        (Level::Part(soft), Level::Part(hard)) => soft > hard,
        (Level::Time(soft), Level::Time(hard)) => soft > hard,
        (soft, hard) => match capacity {
            Some(capacity) => count(soft, capacity) > count(hard, capacity),
            None => return Ok(()),
        },
    };
    if before {
        return Ok(());
    }
    let side = if is_upper_bound(signal) { "lower" } else { "higher" };
    let defaults = default_hard();
    let own = config.eviction_hard.get(signal).map(|_| &config.eviction_hard);
    let hard = own.unwrap_or(&defaults).text(signal);
    conflict(
        format!("evictionSoft/{signal}"),
        format!(
            "evictionSoft of {signal} is {} and can never be met before evictionHard {hard}: set it {side}",
            config.eviction_soft.text(signal)
        ),
    )
}

/// A level as bytes, inodes or tasks.
fn count(level: Level, capacity: u64) -> u64 {
    match level {
        Level::Quantity(count) => count,
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a threshold needs no more than 53 bits"
        )]
        Level::Part(part) => (capacity as f64 * f64::from(part)) as u64,
        Level::Off | Level::Time(_) => 0,
    }
}

fn nothing_to_watch(field: &str, signal: Signal) -> String {
    let why = match signal {
        Signal::ImagefsAvailable | Signal::ImagefsInodesFree => {
            "imageFsPath names no file system that counts it: set that"
        }
        _ => "nothing on this machine counts it: take it out",
    };
    format!("{field} of {signal} can never be met, since {why}, or turn it off with 0%")
}

fn check_on(config: &Config, capacity: impl Fn(Signal) -> Option<u64>) -> Result<(), Conflict> {
    for signal in Signal::ALL {
        let Some(capacity) = capacity(signal) else {
            continue;
        };
        let (soft, hard) = (config.soft_threshold(signal), config.hard_threshold(signal));
        for (field, level) in [("evictionHard", hard), ("evictionSoft", soft)] {
            let Some(level @ (Level::Quantity(_) | Level::Part(_))) = level else {
                continue;
            };
            if capacity == 0 {
                if field == "evictionHard" && default_hard().get(signal) == Some(level) {
                    continue;
                }
                return conflict(format!("{field}/{signal}"), nothing_to_watch(field, signal));
            }
            let count = count(level, capacity);
            if is_upper_bound(signal) {
                continue;
            }
            if count >= capacity {
                return conflict(
                    format!("{field}/{signal}"),
                    format!(
                        "{field} of {signal} is {count}, and this machine has {capacity}: it would always be met; set it \
                         lower"
                    ),
                );
            }
            if count == 0 {
                return conflict(
                    format!("{field}/{signal}"),
                    format!(
                        "{field} of {signal} is less than one of {capacity}: it could never be met; set it higher, or to \
                         0% to turn it off"
                    ),
                );
            }
        }
        if let (Some(soft), Some(hard), 1..) = (soft, hard, capacity) {
            order(config, signal, soft, hard, Some(capacity))?;
        }
    }
    Ok(())
}
