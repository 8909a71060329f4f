//! What each step of a test run came to, and the closing lines.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::libtest::{Counts, Failure, Reader};

/// How a step ended.
pub(crate) enum End {
    /// Test programs ran; whether the runner itself was content.
    Ran(Counts, Vec<Failure>, bool),
    /// Work without tests of its own was done.
    Done(String),
    Skipped(String),
}

impl End {
    /// Of a run that printed libtest's results: a runner that failed without a failed test is one.
    pub(crate) fn of(reader: Reader, success: bool) -> End {
        End::Ran(reader.counts, reader.failures, success && reader.results > 0)
    }
}

#[derive(Default)]
pub(crate) struct Summary {
    lines: Vec<String>,
    counts: Counts,
    failures: Vec<Failure>,
}

impl Summary {
    /// Performs a step, says so, and keeps what it came to. An error counts as one failure.
    pub(crate) fn step(&mut self, name: &str, perform: impl FnOnce() -> Result<End>) {
        println!("\n=== {name}");
        let start = Instant::now();
        let end = perform();
        self.note(name, end, start.elapsed());
    }

    /// Keeps what a step came to that was performed elsewhere.
    pub(crate) fn note(&mut self, name: &str, end: Result<End>, took: Duration) {
        let (verdict, what) = match end {
            Ok(end) => self.take(end),
            Err(error) => {
                eprintln!("{error:#}");
                self.counts.failed += 1;
                (
                    "FAILED",
                    error.to_string().lines().next().unwrap_or_default().to_owned(),
                )
            }
        };
        let seconds = took.as_secs();
        self.lines
            .push(format!("  {verdict:<8} {name} ({seconds} s): {what}"));
    }

    fn take(&mut self, end: End) -> (&'static str, String) {
        match end {
            End::Done(what) => ("ok", what),
            End::Skipped(why) => {
                self.counts.skipped += 1;
                ("skipped", why)
            }
            End::Ran(mut counts, failures, content) => {
                self.failures.extend(failures);
                let broken = !content && counts.failed == 0;
                counts.failed += u64::from(broken);
                self.counts += counts;
                let remark = if broken {
                    " (the test program itself failed)"
                } else {
                    ""
                };
                (
                    if counts.failed == 0 { "ok" } else { "FAILED" },
                    format!("{counts}{remark}"),
                )
            }
        }
    }

    /// Prints what failed and why, every step's line and, alone on the last one, the sum.
    pub(crate) fn close(self) -> ExitCode {
        if !self.failures.is_empty() {
            println!("\n=== failed");
        }
        for failure in &self.failures {
            println!("  {}", failure.test);
            for line in &failure.told {
                println!("      {line}");
            }
        }
        println!("\n=== summary");
        for line in &self.lines {
            println!("{line}");
        }
        println!("{}", self.counts);
        if self.counts.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    fn passed(n: u64) -> Counts {
        Counts {
            passed: n,
            ..Counts::default()
        }
    }

    #[test]
    fn steps_add_up() {
        let mut summary = Summary::default();
        summary.step("a", || Ok(End::Ran(passed(2), Vec::new(), true)));
        summary.step("b", || Ok(End::Skipped("no kernel".into())));
        summary.step("c", || Ok(End::Done("built".into())));
        assert_eq!(
            summary.counts,
            Counts {
                passed: 2,
                failed: 0,
                skipped: 1
            }
        );
    }

    #[test]
    fn a_step_that_breaks_is_a_failure_even_without_a_failed_test() {
        let mut summary = Summary::default();
        summary.step("aborted", || Ok(End::Ran(passed(2), Vec::new(), false)));
        summary.step("error", || bail!("no machine"));
        assert_eq!(
            summary.counts,
            Counts {
                passed: 2,
                failed: 2,
                skipped: 0
            }
        );
    }

    #[test]
    fn a_run_without_a_result_is_not_a_success() {
        assert!(matches!(End::of(Reader::default(), true), End::Ran(_, _, false)));
    }
}
