//! Writing a quantity in its canonical form: no fraction, and the largest suffix that loses nothing.

use std::fmt;

use super::{Notation, Quantity};

const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.mantissa == 0 {
            return f.write_str("0");
        }
        match (self.notation, binary(*self)) {
            (Notation::Binary, Some((amount, suffix))) => write!(f, "{amount}{suffix}"),
            (notation, _) => decimal(*self, notation, f),
        }
    }
}

/// The amount with a binary suffix; `None` where that would lose a fraction or show a small number strangely.
fn binary(quantity: Quantity) -> Option<(i128, &'static str)> {
    let (mantissa, exponent) = quantity.reduced();
    let factor = 10_i128.checked_pow(u32::try_from(exponent).ok()?)?;
    let mut amount = mantissa.checked_mul(factor)?;
    if amount.abs() < 1024 {
        return None;
    }
    let mut suffix = "";
    for larger in BINARY {
        if amount % 1024 != 0 {
            break;
        }
        amount /= 1024;
        suffix = larger;
    }
    Some((amount, suffix))
}

/// The amount with a power of a thousand: as a suffix where there is one and the notation asks for it.
fn decimal(quantity: Quantity, notation: Notation, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (mantissa, exponent) = quantity.reduced();
    let zeros = exponent.rem_euclid(3);
    let exponent = exponent - zeros;
    write!(f, "{mantissa}{}", &"00"[..usize::try_from(zeros).unwrap_or(0)])?;
    let suffix = match exponent {
        -9 => "n",
        -6 => "u",
        -3 => "m",
        0 => "",
        3 => "k",
        6 => "M",
        9 => "G",
        12 => "T",
        15 => "P",
        18 => "E",
        // No suffix goes further.
        _ => return write!(f, "e{exponent}"),
    };
    if notation == Notation::Exponent && exponent != 0 {
        return write!(f, "e{exponent}");
    }
    f.write_str(suffix)
}
