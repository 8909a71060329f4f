//! The kernel's CPU list: numbers and inclusive ranges, ascending, between commas.

use std::fmt;

use super::{CpuId, CpuSet};

/// Characters of a part that an error repeats.
const LONGEST_SHOWN: usize = 64;

/// Why a text is no CPU list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CpuListError {
    /// A part between commas is neither a number nor a range.
    #[error("{part:?} is neither a CPU number nor a range such as 0-3")]
    NotANumber {
        /// The part, or its start.
        part: String,
    },
    /// A range's end lies before its start.
    #[error("the range {first}-{last} ends before it starts")]
    Backwards {
        /// Its start.
        first: u32,
        /// Its end.
        last: u32,
    },
    /// No machine has that CPU.
    #[error("there is no CPU {cpu}: at most {count} CPUs are supported")]
    TooLarge {
        /// The CPU.
        cpu: u32,
        /// How many there may be.
        count: u16,
    },
}

impl CpuSet {
    /// Reads a list such as `0-3,8`, in any order and with overlaps, as the kernel does. White space around it, and
    /// a text of nothing else, is allowed: the kernel's files end in a line feed, and an empty set is an empty line.
    ///
    /// # Errors
    /// A part is no number or range, a range is backwards, or a CPU is at or above [`CpuId::COUNT`].
    pub fn parse(text: &str) -> Result<Self, CpuListError> {
        let mut set = Self::EMPTY;
        let text = text.trim();
        if text.is_empty() {
            return Ok(set);
        }
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(part, first)?, number(part, last)?);
            if first > last {
                return Err(CpuListError::Backwards { first, last });
            }
            // The end first: a range beyond all CPUs must not be walked to find out.
            CpuId::try_from(last)?;
            for cpu in first..=last {
                set.insert(cpu.try_into()?);
            }
        }
        Ok(set)
    }
}

fn number(part: &str, text: &str) -> Result<u32, CpuListError> {
    // `u32` reads a sign, which the kernel does not.
    Some(text)
        .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| CpuListError::NotANumber {
            part: part.chars().take(LONGEST_SHOWN).collect(),
        })
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.iter().map(CpuId::index).peekable();
        let mut separator = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while let Some(next) = cpus.next_if_eq(&(last + 1)) {
                last = next;
            }
            if first == last {
                write!(f, "{separator}{first}")?;
            } else {
                write!(f, "{separator}{first}-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl TryFrom<String> for CpuSet {
    type Error = CpuListError;

    fn try_from(text: String) -> Result<Self, CpuListError> {
        Self::parse(&text)
    }
}

impl From<CpuSet> for String {
    fn from(set: CpuSet) -> Self {
        set.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_the_kernel_reads_them() {
        for (text, list) in [
            ("", ""),
            ("\n", ""),
            ("0-3,8\n", "0-3,8"),
            ("8,1,0,2", "0-2,8"),
            ("5-5", "5"),
            ("0-4,2-6", "0-6"),
            ("254-257,8191", "254-257,8191"),
        ] {
            assert_eq!(CpuSet::parse(text).unwrap().to_string(), list, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused_with_the_part_at_fault() {
        for (text, error) in [
            ("0-3,x", "\"x\" is neither"),
            ("0,,1", "\"\" is neither"),
            ("-1", "\"-1\" is neither"),
            ("+1", "\"+1\" is neither"),
            ("1-2-3", "\"1-2-3\" is neither"),
            ("99999999999", "\"99999999999\" is neither"),
            ("3-1", "the range 3-1 ends before it starts"),
            ("0-4000000000", "there is no CPU 4000000000"),
            ("8192", "there is no CPU 8192: at most 8192"),
        ] {
            let refused = CpuSet::parse(text).unwrap_err().to_string();
            assert!(refused.contains(error), "{text:?}: {refused}");
        }
    }
}
