//! The kernel tests in virtual machines, as many at once as this machine has CPUs.
//!
//! An emulated machine is one busy thread, however many CPUs it shows, so that two take hardly longer than one where there
//! are two CPUs. What one prints comes out when it is over, so that lines of two do not mix.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::libtest::Reader;
use super::summary::{End, Summary};
use super::{Options, TESTS, harness_arguments};
use crate::cargo;
use crate::setup::{self, Need, kernels};
use crate::vm::cli::Build;
use crate::vm::{self, GuestFile, Stream, VmSpec};

/// The test that kills the agent fifty times, which takes minutes, and the kernel that it runs on: what the agent leaves
/// behind at which of its steps is not the kernel's matter.
const KILLED: &str = "wherever_it_is_killed";
const KILLED_ON: &str = "6.12";

/// What came of one kernel.
struct Over {
    series: &'static str,
    output: Vec<u8>,
    end: Result<End>,
    took: Duration,
}

/// Runs the kernel tests on these kernels.
pub(super) fn run(series: &[&'static str], options: &Options, summary: &mut Summary) {
    let files = match prepare() {
        Ok(Some(files)) => files,
        Ok(None) => {
            let why = "the tests have no target `kernel`".to_owned();
            summary.step("kernel tests", || Ok(End::Skipped(why)));
            return;
        }
        Err(error) => {
            summary.step("kernel tests", || Err(error));
            return;
        }
    };
    let waiting = Mutex::new(series.iter().copied().collect::<VecDeque<_>>());
    let workers = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(series.len());
    println!("\n=== kernel tests on {}, {workers} at a time", series.join(", "));
    let (sender, over) = channel();
    let (waiting, files) = (&waiting, &files);
    thread::scope(|scope| {
        for sender in vec![sender; workers] {
            scope.spawn(move || work(waiting, files, options, &sender));
        }
        for over in over {
            println!("\n=== kernel tests on {}", over.series);
            vm::pass_on(Stream::Output, &over.output);
            summary.note(&format!("kernel tests on {}", over.series), over.end, over.took);
        }
    });
}

/// The programs that go into the machines; none without tests.
fn prepare() -> Result<Option<Vec<GuestFile>>> {
    if !cargo::has(TESTS, "test", "kernel")? {
        return Ok(None);
    }
    setup::ensure(&[Need::Vm])?;
    Ok(Some(vec![
        vm::cli::plimsoll(Build::FaultPoints)?,
        vm::cli::test_program("kernel")?,
    ]))
}

/// Takes kernel after kernel until none waits.
fn work(
    waiting: &Mutex<VecDeque<&'static str>>,
    files: &[GuestFile],
    options: &Options,
    sender: &Sender<Over>,
) {
    let next = || waiting.lock().ok()?.pop_front();
    while let Some(series) = next() {
        let begun = Instant::now();
        let mut output = Vec::new();
        let end = one(series, files, options, &mut output);
        let over = Over {
            series,
            output,
            end,
            took: begun.elapsed(),
        };
        if sender.send(over).is_err() {
            return;
        }
    }
}

fn one(series: &str, files: &[GuestFile], options: &Options, output: &mut Vec<u8>) -> Result<End> {
    if let Err(why) = kernels::image(series) {
        return Ok(End::Skipped(why));
    }
    let mut command = vec!["/tests/kernel".to_owned()];
    command.extend(harness_arguments(options));
    if series != KILLED_ON {
        command.extend(["--skip".to_owned(), KILLED.to_owned()]);
    }
    let mut spec = VmSpec::new(series, command);
    spec.files = files.to_vec();
    // Cpusets and partitions need more than two CPUs to be told apart.
    spec.cpus = 4;
    spec.memory_mib = 2048;
    spec.swap_mib = 256;
    spec.disk_mib = 256;
    spec.timeout = Duration::from_secs(options.timeout);
    let mut reader = Reader::default();
    let outcome = vm::run(&spec, &mut |stream, bytes| {
        if stream == Stream::Output {
            reader.bytes(bytes);
        }
        output.extend_from_slice(bytes);
    })?;
    for complaint in &outcome.complaints {
        output.extend_from_slice(format!("kernel {series}: {complaint}\n").as_bytes());
    }
    Ok(End::of(&reader, outcome.status == 0))
}
