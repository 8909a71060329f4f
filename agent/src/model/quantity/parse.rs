//! Reading a quantity, by the reference's rules.
//!
//! The grammar is wider than its documentation: the number may lack digits on either side of the point or
//! altogether (`m` is zero), any number of leading zeros is fine, and an exponent is read as 64 bits and cut to 32.
//!
//! A text takes one of two ways. The narrow one holds at most 18 digits in 64 bits. The wide one is for the rest,
//! for binary suffixes with a fraction or with so many digits that the product may not fit 64 bits, and for what is
//! finer than a billionth; it rounds away from zero to billionths and caps binary amounts at 2⁶³−1.

use super::{NANO, Notation, Quantity, QuantityError, Width};

/// Digits that always fit 64 bits.
const NARROW_DIGITS: usize = 18;

/// What a text says.
pub(super) struct Parsed {
    pub(super) quantity: Quantity,
    /// The reference prints the text itself instead of working out the canonical form.
    pub(super) keeps_its_text: bool,
}

/// A text's parts.
struct Parts<'a> {
    negative: bool,
    /// Digits before the point, without leading zeros.
    whole: &'a str,
    /// Digits after the point.
    fraction: &'a str,
    /// Whether there was any digit at all, leading zeros included.
    has_digits: bool,
    suffix: &'a str,
}

/// What a suffix multiplies by.
#[derive(Clone, Copy)]
enum Unit {
    Ten(i32, Notation),
    Two(u32),
}

pub(super) fn parse(text: &str) -> Result<Parsed, QuantityError> {
    let grammar = || QuantityError::Grammar {
        text: shortened(text),
    };
    let parts = split(text).ok_or_else(grammar)?;
    let unit = interpret(parts.suffix).ok_or_else(grammar)?;
    if let Some(parsed) = narrow(&parts, unit) {
        return Ok(parsed);
    }
    if !parts.has_digits {
        return Err(grammar());
    }
    let quantity = match unit {
        Unit::Ten(exponent, notation) => wide_decimal(&parts, exponent, notation),
        Unit::Two(shift) => Some(wide_binary(&parts, shift)),
    };
    quantity
        .map(|quantity| Parsed {
            quantity,
            keeps_its_text: false,
        })
        .ok_or_else(|| QuantityError::TooPrecise {
            text: shortened(text),
        })
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Splits `text` into sign, digits and suffix; `None` if something else is in it.
fn split(text: &str) -> Option<Parts<'_>> {
    if text.is_empty() {
        return None;
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let significant = unsigned.trim_start_matches('0');
    let (whole, rest) = split_digits(significant);
    let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), split_digits);
    let exponent = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let exponent_digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    exponent_digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then_some(Parts {
            // A text of zeros alone loses its sign.
            negative: text.starts_with('-') && !significant.is_empty(),
            whole,
            fraction,
            has_digits: unsigned.len() > significant.len() || !whole.is_empty() || !fraction.is_empty(),
            suffix,
        })
}

/// The leading digits, and what follows them.
fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// What a suffix means; `None` if it is none.
fn interpret(suffix: &str) -> Option<Unit> {
    let decimal = |exponent| Some(Unit::Ten(exponent, Notation::Decimal));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => Some(Unit::Two(10)),
        "Mi" => Some(Unit::Two(20)),
        "Gi" => Some(Unit::Two(30)),
        "Ti" => Some(Unit::Two(40)),
        "Pi" => Some(Unit::Two(50)),
        "Ei" => Some(Unit::Two(60)),
        _ => {
            let exponent: i64 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            #[expect(clippy::cast_possible_truncation, reason = "the reference cuts it to 32 bits")]
            let exponent = exponent as i32;
            Some(Unit::Ten(exponent, Notation::Exponent))
        }
    }
}

/// The narrow way; `None` where the text must take the wide one.
fn narrow(parts: &Parts<'_>, unit: Unit) -> Option<Parsed> {
    let whole = if parts.whole.is_empty() { "0" } else { parts.whole };
    let digits = format!("{whole}{}", parts.fraction);
    let (exponent, notation, shift) = match unit {
        Unit::Ten(exponent, notation) => (exponent, notation, 0),
        Unit::Two(shift) => (0, Notation::Binary, shift),
    };
    // A binary suffix leaves room for fewer digits, by the reference's estimate of three for 2¹⁰.
    let room = match unit {
        Unit::Ten(..) => Some(NARROW_DIGITS),
        Unit::Two(shift) if parts.fraction.is_empty() => 14_usize.checked_sub(shift as usize * 3 / 10),
        Unit::Two(_) => None,
    };
    let exponent = exponent.checked_sub(i32::try_from(parts.fraction.len()).ok()?)?;
    if room.is_none_or(|room| digits.len() > room) || exponent < NANO {
        return None;
    }
    let magnitude: i64 = digits.parse().ok()?;
    let mantissa = i128::from(magnitude.checked_mul(1 << shift)?);
    let keeps_its_text = match unit {
        Unit::Ten(..) => exponent % 3 == 0 && !digits.ends_with("000") && !digits.starts_with('0'),
        Unit::Two(_) => magnitude % 8 != 0,
    };
    Some(Parsed {
        quantity: Quantity {
            mantissa: if parts.negative { -mantissa } else { mantissa },
            exponent,
            notation,
            width: Width::Small,
        },
        keeps_its_text,
    })
}

/// The wide way for powers of ten; `None` when there are more significant digits than can be held.
fn wide_decimal(parts: &Parts<'_>, exponent: i32, notation: Notation) -> Option<Quantity> {
    let digits = format!("{}{}", parts.whole, parts.fraction);
    let mut exponent = i64::from(exponent) - i64::try_from(parts.fraction.len()).ok()?;
    let finer = usize::try_from(i64::from(NANO) - exponent)
        .unwrap_or(0)
        .min(digits.len());
    let (kept, dropped) = digits.split_at(digits.len() - finer);
    let significant = kept.trim_end_matches('0');
    exponent = exponent.max(i64::from(NANO)) + i64::try_from(kept.len() - significant.len()).ok()?;
    let mut mantissa = significant.bytes().try_fold(0_i128, |m, digit| {
        m.checked_mul(10)?.checked_add(i128::from(digit - b'0'))
    })?;
    if dropped.bytes().any(|digit| digit != b'0') {
        // Something was finer than a billionth: one billionth more.
        let step = super::power_of_ten(exponent - i64::from(NANO))?;
        mantissa = mantissa.checked_mul(step)?.checked_add(1)?;
        exponent = i64::from(NANO);
    }
    Some(Quantity {
        mantissa: if parts.negative { -mantissa } else { mantissa },
        exponent: i32::try_from(exponent).unwrap_or(i32::MAX),
        notation,
        width: Width::Large,
    })
}

/// The wide way for powers of two: in billionths, capped.
fn wide_binary(parts: &Parts<'_>, shift: u32) -> Quantity {
    const BILLION: i128 = 1_000_000_000;
    const CAP: i128 = i64::MAX as i128 * BILLION;
    let unit = BILLION << shift;
    // From the last digit to the first, each step a division by ten: its remainders only matter as more than none.
    let (below_one, inexact) = parts
        .fraction
        .bytes()
        .rev()
        .fold((0, false), |(sum, inexact), digit| {
            let sum = sum + i128::from(digit - b'0') * unit;
            (sum / 10, inexact || sum % 10 != 0)
        });
    let magnitude = parts
        .whole
        .parse::<i128>()
        .or_else(|error| if parts.whole.is_empty() { Ok(0) } else { Err(error) })
        .ok()
        .and_then(|whole| whole.checked_mul(unit))
        .and_then(|whole| whole.checked_add(below_one + i128::from(inexact)))
        .map_or(CAP, |nanos| nanos.min(CAP));
    Quantity {
        mantissa: if parts.negative { -magnitude } else { magnitude },
        exponent: NANO,
        notation: if magnitude < BILLION {
            Notation::Decimal
        } else {
            Notation::Binary
        },
        width: Width::Large,
    }
}
