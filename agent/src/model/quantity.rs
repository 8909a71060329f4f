//! Kubernetes quantities: `500m`, `1.5Gi`, `1e3`.

use std::fmt;

use serde::{Deserialize, Serialize};

const NANO: i128 = 1_000_000_000;

/// An exact amount, in billionths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Quantity {
    nanos: i128,
}

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a quantity: write a number with an optional unit, such as 500m, 2, 1.5Gi or 100M")]
pub struct QuantityError {
    text: String,
}

impl Quantity {
    /// Reads a quantity.
    ///
    /// # Errors
    /// The text does not follow the grammar of quantities.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let error = || QuantityError {
            text: text.chars().take(64).collect(),
        };
        let end = text
            .find(|c: char| !(c.is_ascii_digit() || c == '-' || c == '+'))
            .unwrap_or(text.len());
        let number: i128 = text[..end].parse().map_err(|_| error())?;
        let factor = match &text[end..] {
            "m" => NANO / 1000,
            "" => NANO,
            "Ki" => NANO << 10,
            "Mi" => NANO << 20,
            "Gi" => NANO << 30,
            _ => return Err(error()),
        };
        number
            .checked_mul(factor)
            .map(|nanos| Self { nanos })
            .ok_or_else(error)
    }

    /// Whole units, rounded up.
    #[must_use]
    pub fn value(self) -> i64 {
        i64::try_from(self.nanos.div_euclid(NANO) + i128::from(self.nanos.rem_euclid(NANO) != 0))
            .unwrap_or(i64::MAX)
    }

    /// Thousandths, rounded up.
    #[must_use]
    pub fn milli_value(self) -> i64 {
        let milli = NANO / 1000;
        i64::try_from(self.nanos.div_euclid(milli) + i128::from(self.nanos.rem_euclid(milli) != 0))
            .unwrap_or(i64::MAX)
    }

    /// Whether it is more than nothing.
    #[must_use]
    pub fn is_positive(self) -> bool {
        self.nanos > 0
    }

    /// The sum, held at the largest amount.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self {
            nanos: self.nanos.saturating_add(other.nanos),
        }
    }
}

impl fmt::Display for Quantity {
    /// The canonical form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}m", self.milli_value())
    }
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
