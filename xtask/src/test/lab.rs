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
use crate::vm::{self, GuestFile, Pace, Stream, VmSpec};

/// The test that kills the agent fifty times, which takes minutes, and the kernel that it runs on: what the agent leaves
/// behind at which of its steps is not the kernel's matter.
const KILLED: &str = "wherever_it_is_killed";
const KILLED_ON: &str = "6.12";

/// The kernel on which every scenario of memory pressure is played but the long ones, unless all are asked for on all;
/// each takes half a minute and more.
const ALL_SCENARIOS_ON: &str = "6.12";
/// Those that are played on the others: with a tripwire, without one and without and with swap, with a victim that hardly
/// gets CPU.
const SCENARIOS: [&str; 3] = ["scenario_1_", "scenario_2_", "scenario_13_"];
/// Those that are played only when asked for: each takes a minute and more of a machine that has two CPUs for all of this.
const LONG_SCENARIOS: [&str; 6] = [
    "scenario_9_",
    "scenario_10_",
    "scenario_11_with",
    "scenario_14_",
    "scenario_18_",
    "scenario_26_",
];

/// The test targets that run here, each in a machine of its own.
const TARGETS: [Target; 2] = [Target::Kernel, Target::Pressure];

/// A test target, and the machine that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// Most tests.
    Kernel,
    /// Those that run their machine out of memory.
    Pressure,
}

impl Target {
    const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Pressure => "pressure",
        }
    }

    /// Whether only the most telling of its tests run on this kernel.
    fn is_shortened(self, series: &str, options: &Options) -> bool {
        self == Self::Pressure && series != ALL_SCENARIOS_ON && !asked_for(options)
    }

    fn machine(self, spec: &mut VmSpec) {
        spec.swap_mib = 256;
        spec.disk_mib = 256;
        match self {
            // Cpusets and partitions need more than two CPUs to be told apart.
            Self::Kernel => (spec.cpus, spec.memory_mib) = (4, 2048),
            // Little to run out of, and times that do not depend on what else this host does.
            Self::Pressure => (spec.memory_mib, spec.pace) = (1464, Pace::Instructions),
        }
    }
}

/// Whether scenarios are played that are not played every time.
fn asked_for(options: &Options) -> bool {
    options.all_scenarios || options.filter.is_some()
}

/// What came of one target on one kernel.
struct Over {
    series: &'static str,
    target: Target,
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
    let mut runs: Vec<_> = TARGETS
        .into_iter()
        .flat_map(|target| series.iter().map(move |&series| (series, target)))
        .collect();
    // The longest first: nothing else would be left to run beside it.
    runs.sort_by_key(|&run| run != (ALL_SCENARIOS_ON, Target::Pressure));
    let runs = VecDeque::from(runs);
    let workers = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(runs.len());
    let waiting = Mutex::new(runs);
    println!("\n=== kernel tests on {}, {workers} at a time", series.join(", "));
    let (sender, over) = channel();
    let (waiting, files) = (&waiting, &files);
    thread::scope(|scope| {
        for sender in vec![sender; workers] {
            scope.spawn(move || work(waiting, files, options, &sender));
        }
        for over in over {
            let mut what = format!("{} tests on {}", over.target.name(), over.series);
            if over.target.is_shortened(over.series, options) {
                what += ", the most telling (--all-scenarios plays all)";
            }
            println!("\n=== {what}");
            vm::pass_on(Stream::Output, &over.output);
            summary.note(&what, over.end, over.took);
        }
    });
}

/// The programs that go into the machines; none without tests.
fn prepare() -> Result<Option<Vec<GuestFile>>> {
    if !cargo::has(TESTS, "test", "kernel")? {
        return Ok(None);
    }
    setup::ensure(&[Need::Vm])?;
    let mut files = vec![
        vm::cli::plimsoll(Build::FaultPoints)?,
        vm::cli::workloads(Build::Development)?,
    ];
    for target in TARGETS {
        files.push(vm::cli::test_program(target.name())?);
    }
    Ok(Some(files))
}

/// Takes run after run until none waits.
fn work(
    waiting: &Mutex<VecDeque<(&'static str, Target)>>,
    files: &[GuestFile],
    options: &Options,
    sender: &Sender<Over>,
) {
    let next = || waiting.lock().ok()?.pop_front();
    while let Some((series, target)) = next() {
        let begun = Instant::now();
        let mut output = Vec::new();
        let end = one(series, target, files, options, &mut output);
        let over = Over {
            series,
            target,
            output,
            end,
            took: begun.elapsed(),
        };
        if sender.send(over).is_err() {
            return;
        }
    }
}

fn one(
    series: &str,
    target: Target,
    files: &[GuestFile],
    options: &Options,
    output: &mut Vec<u8>,
) -> Result<End> {
    if let Err(why) = kernels::image(series) {
        return Ok(End::Skipped(why));
    }
    let program = format!("/tests/{}", target.name());
    let mut command = vec![program.clone()];
    command.extend(harness_arguments(options));
    if series != KILLED_ON {
        command.extend(["--skip".to_owned(), KILLED.to_owned()]);
    }
    if target.is_shortened(series, options) {
        command.extend(SCENARIOS.map(str::to_owned));
    } else if target == Target::Pressure && !asked_for(options) {
        command.extend(
            LONG_SCENARIOS
                .iter()
                .flat_map(|name| ["--skip".to_owned(), (*name).to_owned()]),
        );
    }
    let mut spec = VmSpec::new(series, command);
    // Programs are part of the machine's memory: it gets no other target's.
    let wanted = |file: &&GuestFile| !file.guest.starts_with("/tests/") || file.guest == program;
    spec.files = files.iter().filter(wanted).cloned().collect();
    target.machine(&mut spec);
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
    Ok(End::of(reader, outcome.status == 0))
}
