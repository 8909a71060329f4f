//! Quantities compare as numbers, whatever their notation.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use super::{Quantity, power_of_ten};

impl Quantity {
    /// The same amount with the smallest mantissa: one form for each number.
    pub(super) fn reduced(self) -> (i128, i32) {
        let (mut mantissa, mut exponent) = (self.mantissa, self.exponent);
        if mantissa == 0 {
            return (0, 0);
        }
        while mantissa % 10 == 0 {
            mantissa /= 10;
            exponent = exponent.saturating_add(1);
        }
        (mantissa, exponent)
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((a, a_exponent), (b, b_exponent)) = (self.reduced(), other.reduced());
        if a.signum() != b.signum() || a_exponent == b_exponent {
            return a.cmp(&b);
        }
        // With the exponents aligned, the one that no longer fits is the larger in magnitude.
        let steps = i64::from(a_exponent) - i64::from(b_exponent);
        let widened = |mantissa: i128| power_of_ten(steps.abs()).and_then(|f| mantissa.checked_mul(f));
        if steps > 0 {
            widened(a).map_or_else(|| a.cmp(&0), |a| a.cmp(&b))
        } else {
            widened(b).map_or_else(|| 0.cmp(&b), |b| a.cmp(&b))
        }
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.reduced() == other.reduced()
    }
}

impl Eq for Quantity {}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.reduced().hash(state);
    }
}
