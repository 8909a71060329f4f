//! What the probe at `sched_switch` costs, beside a program that does nothing at the same place.
//!
//! Two processes on one CPU send a byte back and forth. Runs without a program, with the empty one and with the
//! probe take turns, so that what the machine does otherwise meets all three alike. The kernel's own count of a
//! program's time is taken in runs apart, because taking it costs some 30 ns a switch itself; what the empty program
//! is counted with is taken off. Those runs are made with both processes in one cgroup, in two, and in two whose
//! totals want the same place on the CPU, which is the worst that two can do.

use std::error::Error;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{fs, io};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use plimsoll::kernel::ebpf::{KernelTypes, Loaded, OBJECTS, Survey, run_statistics};
use plimsoll_ebpf::Object;
use plimsoll_ebpf::account::place_of;

use super::echo::Echo;
use super::{Bench, Figure, Figures, percentile};

/// Ping-pongs in one run; two switches each.
const ROUNDS: usize = 40_000;
/// Runs of each kind.
const TURNS: usize = 15;

/// The programs of the object `usage` that can be attached to the tracepoint.
const PROBE: &str = "sched_switch";
const EMPTY: &str = "nothing";

struct Kernel {
    types: KernelTypes,
    survey: Survey,
}

impl Kernel {
    fn attach(&self, program: &str) -> Result<Loaded, Box<dyn Error>> {
        let facts = self.survey.facts.get(&Object::Usage).ok_or("no facts")?;
        let mut loaded = Loaded::open(Object::Usage, OBJECTS, facts, &self.types)?;
        loaded.attach(&self.types, |name| (name == program).then(|| PROBE.to_owned()))?;
        Ok(loaded)
    }
}

/// A cgroup of the benchmark's own.
struct Neighbour(PathBuf);

impl Neighbour {
    /// One whose totals want the place that this process's want, or another one.
    fn make(mount: &Path, same_place: bool) -> io::Result<Self> {
        let here = fs::read_to_string("/proc/self/cgroup")?;
        let here = here.lines().find_map(|line| line.strip_prefix("0::/"));
        let place = place_of(fs::metadata(mount.join(here.unwrap_or_default()))?.ino());
        for n in 0..10_000 {
            let cgroup = Self(mount.join(format!("plimsoll-bench-switch-{n}")));
            fs::create_dir(&cgroup.0)?;
            if (place_of(fs::metadata(&cgroup.0)?.ino()) == place) == same_place {
                return Ok(cgroup);
            }
        }
        Err(io::Error::other("no cgroup wants the place"))
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        // What is left behind is an empty cgroup, and the next run says so.
        let _removed = fs::remove_dir(&self.0);
    }
}

pub(super) fn figures(bench: &Bench) -> Figures {
    let types = KernelTypes::read()?;
    let survey = types.survey()?;
    let kernel = Kernel { types, survey };
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let measured = measure(&kernel, &bench.mount);
    sched_setaffinity(Pid::from_raw(0), &allowed)?;
    measured
}

fn measure(kernel: &Kernel, mount: &Path) -> Figures {
    let mut echo = Echo::start()?;
    echo.share_cpu(last_cpu()?)?;
    let mut runs: [Vec<f64>; 3] = Default::default();
    ping_pong(&mut echo)?;
    for _ in 0..TURNS {
        for (program, runs) in [None, Some(EMPTY), Some(PROBE)].into_iter().zip(&mut runs) {
            let _attached = program.map(|program| kernel.attach(program)).transpose()?;
            runs.push(ping_pong(&mut echo)?);
        }
    }
    let [bare, empty, probe] = runs.map(|mut runs| percentile(&mut runs, 50));
    let slower = |with: f64| (with / bare - 1.0) * 100.0;
    let mut figures = vec![
        Figure::beside("switch: pipe ping-pong with the probe", probe, "ns", bare),
        Figure::beside("switch: pipe ping-pong with an empty program", empty, "ns", bare),
        Figure::alone(
            "switch: slow-down above an empty program",
            slower(probe) - slower(empty),
            "points",
        ),
    ];
    figures.extend(by_statistics(kernel, &mut echo, "one cgroup")?);
    drop(echo);
    for (what, same_place) in [("two cgroups", false), ("two cgroups of one place", true)] {
        let cgroup = Neighbour::make(mount, same_place)?;
        let mut echo = Echo::start()?;
        echo.share_cpu(last_cpu()?)?;
        fs::write(cgroup.0.join("cgroup.procs"), echo.pid().to_string())?;
        figures.extend(by_statistics(kernel, &mut echo, what)?);
        drop(echo);
    }
    Ok(figures)
}

/// What the kernel counts for a run of the probe, and how much of it is the probe's own.
fn by_statistics(kernel: &Kernel, echo: &mut Echo, what: &str) -> Figures {
    let (mut probe, mut empty) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        empty.push(counted(kernel, EMPTY, echo)?);
        probe.push(counted(kernel, PROBE, echo)?);
    }
    let [probe, empty] = [probe, empty].map(|mut runs| percentile(&mut runs, 50));
    Ok(vec![
        Figure::beside(
            format!("switch: a run by BPF statistics, {what}"),
            probe,
            "ns",
            empty,
        ),
        Figure::alone(
            format!("switch: of it the probe's own, {what}"),
            probe - empty,
            "ns",
        ),
    ])
}

/// Nanoseconds a switch.
pub(super) fn ping_pong(echo: &mut Echo) -> Result<f64, Box<dyn Error>> {
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        echo.round()?;
    }
    Ok(begun.elapsed().as_secs_f64() * 1e9 / (2 * ROUNDS) as f64)
}

/// Nanoseconds a run of a program, as the kernel counts them.
fn counted(kernel: &Kernel, program: &str, echo: &mut Echo) -> Result<f64, Box<dyn Error>> {
    let attached = kernel.attach(program)?;
    let _statistics = run_statistics()?;
    ping_pong(echo)?;
    let costs = attached.costs();
    let cost = costs
        .iter()
        .find(|cost| cost.program == program && cost.runs > 0)
        .ok_or("the kernel counted no run")?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let runs = cost.runs as f64;
    Ok(cost.time.as_secs_f64() * 1e9 / runs)
}

/// The last CPU this process may use: the first one has the most interrupts.
pub(super) fn last_cpu() -> Result<usize, Box<dyn Error>> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    (0..CpuSet::count())
        .rev()
        .find(|cpu| allowed.is_set(*cpu).unwrap_or(false))
        .ok_or_else(|| "no CPU is allowed".into())
}
