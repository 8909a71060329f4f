//! Workloads for memory pressure: one process, or several, that take memory in a way that is given as arguments.
//!
//! **Terms.** *Start signal*: a FIFO; every workload that was given it waits until somebody opens its other end, so that
//! all of them begin at once. *Jitter*: what the seed changes about the pace, at most a tenth.
//!
//! Sizes are in MiB, paces in MiB a second, times in milliseconds; the arguments say so by [`Options`].
//!
//! | kind | what it does |
//! |---|---|
//! | `anon` | grows by `pace` to `size`, and keeps it; shrinks to `keep` after `hold`, if given |
//! | `lock` | the same, locked in RAM |
//! | `spin` | the same, then burns all CPU it can get |
//! | `work` | the same, then gives back and takes 2 MiB every `every` |
//! | `many` | starts a process of `each` every `every` until there are `count` |
//! | `cache` | reads `file` of `size` again and again; writes it first |
//! | `tmpfs` | writes `file` by `pace` to `size`, and keeps it |
//! | `bomb` | starts processes that start processes, until there are `count` |

mod memory;
mod options;
mod processes;

use std::fs::File;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;
use std::{env, io};

use nix::sys::signal::{SigSet, Signal};

use options::{Kind, Options};

/// Runs the workload that the arguments describe; it does not end by itself.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let ran = Options::parse(&words)
        .map_err(io::Error::other)
        .and_then(|options| run(&options));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("plimsoll-load {}: {error}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    if options.deaf {
        // A blocked signal is as good as an ignored one, and its children inherit that too.
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGTERM);
        signals.thread_block()?;
    }
    if !options.kind.is_anonymous() {
        wait_for_start(options)?;
    }
    match options.kind {
        Kind::Anon | Kind::Lock | Kind::Spin | Kind::Work => memory::anon(options),
        Kind::Cache => memory::cache(options),
        Kind::Tmpfs => memory::tmpfs(options),
        Kind::Many => processes::many(options),
        Kind::Bomb => processes::bomb(options),
    }
}

/// Waits for the start signal, if there is one.
fn wait_for_start(options: &Options) -> io::Result<()> {
    if let Some(path) = &options.start {
        // Opening a FIFO for reading waits for whoever opens it for writing.
        File::open(path)?;
    }
    Ok(())
}

/// Stays as it is.
fn keep() -> ! {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}
