//! The answers of the reference implementation, held against ours.
//!
//! Every file of `tests/vectors/README.md` is read from the directory in `PLIMSOLL_VECTORS`, else from the project's
//! own copy. One line a file, then what differs, with file, line, expected and got. Arguments that are no options
//! choose files by a part of their names, as with other test targets.

#![allow(
    clippy::print_stdout,
    reason = "a test target of its own: its output is the message"
)]

mod arguments;
mod checks;
mod cpu;
mod eviction;
mod vectors;

use std::process::ExitCode;
use std::time::Instant;

use arguments::Arguments;
use checks::{Check, FILES};
use plimsoll_tests::vectors::directory;
use vectors::Outcome;

/// Differences shown for one file.
const SHOWN: usize = 20;

fn main() -> ExitCode {
    let arguments = Arguments::read(std::env::args().skip(1));
    let chosen: Vec<_> = FILES.iter().filter(|(name, _)| arguments.chooses(name)).collect();
    if arguments.list {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let (directory, is_own) = directory();
    println!("\nrunning {} tests from {}", chosen.len(), directory.display());
    if !directory.is_dir() {
        println!("{} is no directory", directory.display());
        return ExitCode::FAILURE;
    }

    let start = Instant::now();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, check) in &chosen {
        let outcome = match check {
            Check::Vectors(answer) => {
                vectors::run(&directory.join(name), |row| vectors::compare(row, *answer))
            }
            Check::Judged(judge) => vectors::run(&directory.join(name), judge),
        };
        match outcome {
            // Another directory may have fewer files; our own copy may not.
            Outcome::Absent if !is_own => {
                println!("{name}: skipped, it is not in the directory");
                skipped += 1;
            }
            Outcome::Absent => {
                println!("{name}: FAILED, it is not in the directory");
                failed += 1;
            }
            Outcome::Ran { right, wrong } => {
                println!("{name}: {right} passed, {} failed", wrong.len());
                wrong
                    .iter()
                    .take(SHOWN)
                    .for_each(|difference| println!("  {name}:{difference}"));
                if wrong.len() > SHOWN {
                    println!("  and {} more", wrong.len() - SHOWN);
                }
                if wrong.is_empty() && right > 0 {
                    passed += 1;
                } else {
                    failed += 1;
                }
            }
        }
    }
    println!(
        "\ntest result: {}. {passed} passed; {failed} failed; {skipped} ignored; 0 measured; {} filtered out; \
         finished in {:.2}s\n",
        if failed == 0 { "ok" } else { "FAILED" },
        FILES.len() - chosen.len(),
        start.elapsed().as_secs_f64()
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
