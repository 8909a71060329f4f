//! A quantity as a 64-bit number of whole units or thousandths.

use super::{Quantity, Width, power_of_ten};

impl Quantity {
    /// Whole units, rounded up (away from zero). An amount that does not fit 64 bits gives what the reference
    /// implementation gives, which has no meaning: see [`Self::checked_value`].
    #[must_use]
    pub fn value(self) -> i64 {
        self.scaled(0)
    }

    /// Thousandths, rounded up (away from zero); overflow as for [`Self::value`].
    #[must_use]
    pub fn milli_value(self) -> i64 {
        self.scaled(-3)
    }

    /// Whole units, rounded up; `None` when they do not fit 64 bits.
    #[must_use]
    pub fn checked_value(self) -> Option<i64> {
        self.checked_scaled(0)
    }

    /// Thousandths, rounded up; `None` when they do not fit 64 bits.
    #[must_use]
    pub fn checked_milli_value(self) -> Option<i64> {
        self.checked_scaled(-3)
    }

    /// `ceil(self / 10^scale)` where it fits, for positive amounts; away from zero for negative ones.
    fn checked_scaled(self, scale: i32) -> Option<i64> {
        let steps = i64::from(self.exponent) - i64::from(scale);
        let scaled = if self.mantissa == 0 {
            0
        } else if steps < 0 {
            round_away(self.mantissa, -steps)
        } else {
            self.mantissa.checked_mul(power_of_ten(steps)?)?
        };
        i64::try_from(scaled).ok()
    }

    /// As [`Self::checked_scaled`], with the reference's results where that does not fit: a small amount is
    /// multiplied step by step and gives 0, but in one wrapping multiplication for the steps that it has a special
    /// case for; a large one is exact and then cut to its low 64 bits.
    fn scaled(self, scale: i32) -> i64 {
        if let Some(fits) = self.checked_scaled(scale) {
            return fits;
        }
        let steps = i64::from(self.exponent) - i64::from(scale);
        let wrapped = match (self.width, steps) {
            (_, ..=-1) => round_away(self.mantissa, -steps),
            (Width::Small, 0..=3 | 6 | 9) | (Width::Large, _) => {
                // 10⁶⁴ is a multiple of 2⁶⁴, so from there on the low 64 bits are 0.
                let factor = (0..steps.min(64)).fold(1_i128, |factor, _| factor.wrapping_mul(10));
                self.mantissa.wrapping_mul(factor)
            }
            (Width::Small, _) => 0,
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the low 64 bits are what is wanted"
        )]
        let low = wrapped as i64;
        low
    }
}

/// `mantissa / 10^steps`, away from zero.
fn round_away(mantissa: i128, steps: i64) -> i128 {
    match power_of_ten(steps) {
        Some(divisor) => mantissa / divisor + (mantissa % divisor).signum(),
        None => mantissa.signum(),
    }
}
