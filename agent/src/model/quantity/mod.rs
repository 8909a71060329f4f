//! Kubernetes quantities: `500m`, `1.5Gi`, `1e3`.
//!
//! **Problem.** Requests and limits are texts whose reading decides what is written to the kernel, so a node can
//! move between kubelet and this agent only if both read every text alike, corner cases included: what is rounded,
//! what is capped, and what overflows.
//!
//! **Terms.** An amount is `mantissa × 10^exponent`. Its *notation* is the family of its suffix: decimal (`n u m k
//! M G T P E`), binary (`Ki`…`Ei`) or exponent (`e3`). The reference implementation (`resource.Quantity` of
//! k8s.io/apimachinery, as of Kubernetes 1.36) holds an amount either as a 64-bit integer with a scale or as an
//! arbitrary decimal; which of the two a text gets shows only when it is converted to 64 bits and does not fit.
//!
//! **How.** `parse` reads a text by the reference's rules, with exact arithmetic at any length; `format` writes
//! the canonical form. No amount is finer than a billionth: what is finer is rounded away from zero, so that who
//! asks for something gets something. A binary amount is capped at 2⁶³−1.
//!
//! Three differences are deliberate: an amount of more than 38 significant digits is refused; a negative one always
//! rounds away from zero (the reference does so only for some of its representations); and an exponent beyond `E`
//! is printed (1.36 drops it: its `1000E` prints as `1`).
//!
//! # Properties
//! - Parsing what a quantity prints gives an equal quantity.
//! - The order is that of the numbers, whatever the notation; equal quantities hash alike.
//! - Addition is exact, commutative and associative below 1.7 × 10²⁹, and held at that bound beyond it.
//! - `value` and `milli_value` are never below the amount where they fit 64 bits.

mod convert;
mod format;
mod order;
mod parse;
#[cfg(test)]
mod props;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// The finest amount there is: 10⁻⁹.
const NANO: i32 = -9;

/// An exact amount.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Quantity {
    /// Never `i128::MIN`, so that it has a negative.
    mantissa: i128,
    /// Power of ten, at least [`NANO`].
    exponent: i32,
    notation: Notation,
    width: Width,
}

/// Which family of suffixes an amount is written with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Notation {
    /// `n u m k M G T P E`, or none.
    #[default]
    Decimal,
    /// `Ki Mi Gi Ti Pi Ei`.
    Binary,
    /// `e` or `E` with a power of ten.
    Exponent,
}

/// How the reference implementation holds the amount; it decides what a conversion that overflows gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Width {
    /// A 64-bit integer with a scale.
    #[default]
    Small,
    /// An arbitrary decimal in billionths.
    Large,
}

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text does not follow the grammar. Its first 64 characters are kept.
    #[error(
        "{text:?} is not a quantity: write a number with an optional unit, such as 500m, 2, 1.5Gi or 100M"
    )]
    Grammar {
        /// The text, shortened.
        text: String,
    },
    /// More significant digits than any amount of resources has.
    #[error("{text:?} has more than 38 significant digits")]
    TooPrecise {
        /// The text, shortened.
        text: String,
    },
}

impl Quantity {
    /// Reads a quantity.
    ///
    /// # Errors
    /// The text does not follow the grammar of quantities, or has more than 38 significant digits.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        parse::parse(text).map(|parsed| parsed.quantity)
    }

    /// The form in which the reference implementation prints what it read: `text` itself where it is close enough
    /// to canonical (`+1`, `1.` and `1E3` are), else what [`Display`](std::fmt::Display) prints.
    ///
    /// # Errors
    /// As for [`Self::parse`].
    pub fn canonical(text: &str) -> Result<String, QuantityError> {
        let parsed = parse::parse(text)?;
        Ok(if parsed.keeps_its_text {
            text.to_owned()
        } else {
            parsed.quantity.to_string()
        })
    }

    /// −1, 0 or 1.
    #[must_use]
    pub fn signum(self) -> i8 {
        match self.mantissa.cmp(&0) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }
    }

    /// Whether it is more than nothing.
    #[must_use]
    pub fn is_positive(self) -> bool {
        self.mantissa > 0
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    /// Whether it is less than nothing.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    /// The sum, held at ±1.7 × 10²⁹. It keeps this quantity's notation, or takes the other's if this is zero.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        let sum = self.nanos().saturating_add(other.nanos());
        let notation = if self.is_zero() {
            other.notation
        } else {
            self.notation
        };
        Self::from_nanos(sum, notation)
    }

    /// The difference, held at ±1.7 × 10²⁹; notation as for [`Self::saturating_add`].
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        self.saturating_add(Self {
            mantissa: -other.mantissa,
            ..other
        })
    }

    fn from_nanos(nanos: i128, notation: Notation) -> Self {
        Self {
            mantissa: nanos.max(-i128::MAX),
            exponent: NANO,
            notation,
            width: Width::Large,
        }
    }

    /// Billionths, held at the largest amount.
    fn nanos(self) -> i128 {
        let bound = if self.mantissa < 0 { -i128::MAX } else { i128::MAX };
        if self.mantissa == 0 {
            return 0;
        }
        power_of_ten(i64::from(self.exponent) - i64::from(NANO))
            .and_then(|factor| self.mantissa.checked_mul(factor))
            .map_or(bound, |nanos| nanos.clamp(-i128::MAX, i128::MAX))
    }
}

/// 10^`power`, if it fits.
fn power_of_ten(power: i64) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(power).ok()?)
}

impl TryFrom<String> for Quantity {
    type Error = QuantityError;
    fn try_from(text: String) -> Result<Self, QuantityError> {
        Self::parse(&text)
    }
}

impl From<Quantity> for String {
    fn from(quantity: Quantity) -> String {
        quantity.to_string()
    }
}
