//! How a threshold is written, by the rules of kubelet's eviction manager.
//!
//! For the signals that kubelet has: a quantity above zero, or a percentage from 0 to 100 of the signal's capacity, where
//! exactly `0%` and `100%` say that there is no threshold. For ours: `pressure.memory.full` is a percentage,
//! `time.to.exhaustion` a length of time.
//!
//! Kubelet reads a percentage by Go's `ParseFloat` with 32 bits, which takes `NaN`; what that makes of a threshold is for
//! [`check`](super::check) to say. Hexadecimal numbers and digits parted by `_`, which Go takes too, are refused here.
//!
//! # Properties
//! - No text makes the reader panic; what is read is a positive quantity, a part from 0 to 1, or NaN.
//! - A percentage that kubelet reads has the same value here, to the last of its 32 bits.

use std::time::Duration;

use super::super::values::parse_duration;
use crate::model::pressure::{Signal, SignalError};
use crate::model::{Quantity, QuantityError};

/// Signals that kubelet derives from others, so that what is set for them has no effect.
const DERIVED: [&str; 2] = ["containerfs.available", "containerfs.inodesFree"];

/// Where a threshold lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Level {
    /// Nowhere: it is turned off.
    Off,
    /// At so many bytes, inodes or tasks.
    Quantity(u64),
    /// At this part of the capacity, or of the time.
    Part(f32),
    /// At this length of time.
    Time(Duration),
}

/// Why a text is no threshold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// There is no such signal.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// Neither a quantity nor a percentage.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    /// A percent sign after what is no number.
    #[error("{0:?} is no percentage: write a number from 0 to 100 and the percent sign, such as 10%")]
    Percentage(String),
    /// Below 0 % or above 100 %.
    #[error("{0:?} is outside 0% to 100%")]
    Range(String),
    /// A quantity of zero or less.
    #[error("{0:?} must be above 0; to turn a threshold off write 0%")]
    NotPositive(String),
    /// A pressure that is no percentage.
    #[error(
        "{0:?} must be a percentage above 0% and below 100%, such as 20%: the part of ten seconds in which every task waited for memory"
    )]
    Pressure(String),
    /// A time that is none.
    #[error("time.to.exhaustion: {0}")]
    Time(String),
}

/// Reads the threshold of a signal, by the signal's name.
///
/// # Errors
/// There is no such signal, or the text does not follow the grammar.
pub fn read_level(signal: &str, text: &str) -> Result<Level, LevelError> {
    if DERIVED.contains(&signal) {
        return amount(text);
    }
    match signal.parse()? {
        Signal::PressureMemoryFull => pressure(text),
        Signal::TimeToExhaustion => time(text),
        _ => amount(text),
    }
}

/// Whether kubelet derives this signal from others.
pub(super) fn is_derived(signal: &str) -> bool {
    DERIVED.contains(&signal)
}

fn amount(text: &str) -> Result<Level, LevelError> {
    if matches!(text, "0%" | "100%") {
        return Ok(Level::Off);
    }
    if text.ends_with('%') {
        let part = part(text)?;
        return Ok(Level::Part(part));
    }
    let quantity = Quantity::parse(text)?;
    match u64::try_from(quantity.value()) {
        Ok(count) if quantity.is_positive() => Ok(Level::Quantity(count)),
        _ => Err(LevelError::NotPositive(shortened(text))),
    }
}

fn pressure(text: &str) -> Result<Level, LevelError> {
    let wrong = || LevelError::Pressure(shortened(text));
    if !text.ends_with('%') {
        return Err(wrong());
    }
    let part = part(text)?;
    // Every task waits for at most all of the time, and always for at least none of it.
    if part > 0.0 && part < 1.0 {
        Ok(Level::Part(part))
    } else {
        Err(wrong())
    }
}

fn time(text: &str) -> Result<Level, LevelError> {
    match parse_duration(text) {
        Ok(Duration::ZERO) => Err(LevelError::Time(
            "0s is never reached before memory is gone: write a time such as 2s".to_owned(),
        )),
        Ok(time) => Ok(Level::Time(time)),
        Err(problem) => Err(LevelError::Time(problem)),
    }
}

/// A percentage as a part of one; NaN stays NaN.
fn part(text: &str) -> Result<f32, LevelError> {
    let number = text.trim_end_matches('%');
    let signed_nan = number.len() > 3 && number.to_ascii_lowercase().ends_with("nan");
    let percent = number.parse::<f32>().ok().filter(|_| !signed_nan);
    let percent = percent.ok_or_else(|| LevelError::Percentage(shortened(text)))?;
    let part = percent / 100.0;
    if !part.is_nan() && !(0.0..=1.0).contains(&part) {
        return Err(LevelError::Range(shortened(text)));
    }
    Ok(part)
}

/// What of an amount must come free beyond the threshold; none where it is written as zero.
pub(super) fn read_reclaim(text: &str) -> Result<Level, LevelError> {
    if text.ends_with('%') {
        return match part(text)? {
            part if part > 0.0 => Ok(Level::Part(part)),
            _ => Err(LevelError::NotPositive(shortened(text))),
        };
    }
    let quantity = Quantity::parse(text)?;
    match u64::try_from(quantity.value()) {
        Ok(count) => Ok(Level::Quantity(count)),
        Err(_) => Err(LevelError::NotPositive(shortened(text))),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn our_own_signals_have_a_grammar_of_their_own() {
        let full = |text| read_level("pressure.memory.full", text);
        assert_eq!(full("20%"), Ok(Level::Part(0.2)));
        for wrong in ["20", "0%", "100%", "1Gi", "NaN%", "%"] {
            assert!(full(wrong).is_err(), "{wrong}");
        }
        let time = |text| read_level("time.to.exhaustion", text);
        assert_eq!(time("1m30s"), Ok(Level::Time(Duration::from_secs(90))));
        for wrong in ["0s", "10%", "5", "-1s", ""] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
        assert!(matches!(
            read_level("memory.free", "1Gi"),
            Err(LevelError::Signal(_))
        ));
    }

    #[test]
    fn a_minimum_reclaim_may_be_nothing() {
        assert_eq!(read_reclaim("0"), Ok(Level::Quantity(0)));
        assert_eq!(read_reclaim("0.5Gi"), Ok(Level::Quantity(512 << 20)));
        assert_eq!(read_reclaim("5%"), Ok(Level::Part(0.05)));
        for wrong in ["0%", "-1", "101%", "NaN%", "x"] {
            assert!(read_reclaim(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_in_range(text in "[-+]?[0-9.eEnaifNIxp_%]{0,8}(Ki|Mi|%|s)?", pick in 0..Signal::ALL.len()) {
            match read_level(Signal::ALL[pick].name(), &text) {
                Ok(Level::Quantity(count)) => prop_assert!(count > 0),
                Ok(Level::Part(part)) => prop_assert!(part.is_nan() || (0.0..=1.0).contains(&part)),
                Ok(Level::Time(time)) => prop_assert!(!time.is_zero()),
                Ok(Level::Off) => prop_assert!(text == "0%" || text == "100%"),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}
