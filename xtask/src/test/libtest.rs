//! Reading what Rust's test harness prints at the end of each program.

use std::ops::AddAssign;

/// How many tests ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

impl Counts {
    /// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …`; any other line is none.
    pub(crate) fn parse(line: &str) -> Option<Counts> {
        let rest = line.trim().strip_prefix("test result: ")?;
        let (_, fields) = rest.split_once(". ")?;
        let mut counts = Counts::default();
        for field in fields.split(';') {
            let mut words = field.split_whitespace();
            let (Some(number), Some(what)) = (words.next(), words.next()) else {
                continue;
            };
            match (number.parse(), what) {
                (Ok(n), "passed") => counts.passed = n,
                (Ok(n), "failed") => counts.failed = n,
                (Ok(n), "ignored") => counts.skipped = n,
                _ => {}
            }
        }
        Some(counts)
    }
}

/// Lines that are kept of what a failed test printed.
const TOLD: usize = 6;

/// A test that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) test: String,
    /// The first lines of what it printed, its panic among them when it did not print much.
    pub(crate) told: Vec<String>,
}

/// Counts and failures of a whole output, fed in any pieces.
#[derive(Default)]
pub(crate) struct Reader {
    partial: Vec<u8>,
    pub(crate) counts: Counts,
    /// Programs that printed their result.
    pub(crate) results: usize,
    pub(crate) failures: Vec<Failure>,
    /// Whether what comes was printed by the last of the failures.
    telling: bool,
}

impl Reader {
    pub(crate) fn line(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(counts) = Counts::parse(line) {
            self.counts += counts;
            self.results += 1;
        }
        let heading = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----"));
        if let Some(test) = heading {
            self.telling = true;
            self.failures.push(Failure {
                test: test.to_owned(),
                told: Vec::new(),
            });
        } else if self.telling {
            self.tell(line);
        }
    }

    /// Keeps a line of the last failure. The back trace and what follows the section are none of it.
    fn tell(&mut self, line: &str) {
        let Some(failure) = self.failures.last_mut() else {
            return;
        };
        let ends = ["stack backtrace:", "failures:", "note: "];
        if ends.iter().any(|end| line.starts_with(end)) || failure.told.len() == TOLD {
            self.telling = false;
        } else if !line.trim().is_empty() {
            failure.told.push(line.to_owned());
        }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            self.line(&String::from_utf8_lossy(&line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str =
        "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s";
    const BAD: &str = "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";

    #[test]
    fn results_are_read_and_other_lines_are_not() {
        assert_eq!(
            Counts::parse(OK),
            Some(Counts {
                passed: 3,
                failed: 0,
                skipped: 1
            })
        );
        assert_eq!(
            Counts::parse(BAD),
            Some(Counts {
                passed: 10,
                failed: 2,
                skipped: 0
            })
        );
        assert_eq!(Counts::parse("test a::b ... ok"), None);
        assert_eq!(Counts::parse("running 3 tests"), None);
    }

    #[test]
    fn pieces_of_any_size_give_the_same_sum() {
        let text = format!("running 4 tests\n{OK}\r\n\n{BAD}\nend");
        for size in 1..text.len() {
            let mut reader = Reader::default();
            text.as_bytes().chunks(size).for_each(|chunk| reader.bytes(chunk));
            assert_eq!(
                (reader.counts, reader.results),
                (
                    Counts {
                        passed: 13,
                        failed: 2,
                        skipped: 1
                    },
                    2
                )
            );
        }
    }

    #[test]
    fn a_failure_is_told_by_its_first_lines() {
        let text = "failures:\n\n---- a::b stdout ----\n\nthread 'a::b' (7) panicked at a.rs:1:2:\nlost: 3 of 4\n\
                    stack backtrace:\n   0: a\n\n---- c stdout ----\n1\n2\n3\n4\n5\n6\n7\n\nfailures:\n    a::b\n    c\n";
        let mut reader = Reader::default();
        reader.bytes(text.as_bytes());
        let of = |test: &str, told: &[&str]| Failure {
            test: test.to_owned(),
            told: told.iter().map(|line| (*line).to_owned()).collect(),
        };
        assert_eq!(
            reader.failures,
            [
                of(
                    "a::b",
                    &["thread 'a::b' (7) panicked at a.rs:1:2:", "lost: 3 of 4"]
                ),
                of("c", &["1", "2", "3", "4", "5", "6"]),
            ]
        );
    }

    #[test]
    fn the_closing_line_is_plain() {
        let counts = Counts {
            passed: 13,
            failed: 2,
            skipped: 1,
        };
        assert_eq!(counts.to_string(), "13 passed, 2 failed, 1 skipped");
    }
}
