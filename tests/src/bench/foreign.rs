//! What counting foreign time costs at a context switch, beside a program that does nothing at the same place: on a
//! CPU without owner, on one whose owner is switching, and on one where strangers are.
//!
//! Two processes on one CPU send a byte back and forth, as in [`super::switch`]. They are in a pod's container, four
//! levels deep with the owner beside them, which is where telling a stranger takes longest.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sched::{sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use plimsoll::kernel::ebpf::{CpuBooks, KernelTypes, Loaded, OBJECTS, Survey, run_statistics};
use plimsoll::model::{CgroupId, CpuId};
use plimsoll_ebpf::Object;

use super::echo::Echo;
use super::switch::{last_cpu, ping_pong};
use super::{Bench, Figure, Figures, percentile};

/// Runs of each kind.
const TURNS: usize = 9;

/// The program at the context switch.
const SWITCH: &str = "sched_switch";

/// Whose the CPU is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// The empty program stands in for the probe.
    NoProbe,
    Nobody,
    Ours,
    Another,
}

const OWNERS: [Owner; 4] = [Owner::NoProbe, Owner::Nobody, Owner::Ours, Owner::Another];

/// Two containers of two pods, and this process in the first, until it is dropped.
struct Place {
    root: PathBuf,
    home: PathBuf,
    ours: PathBuf,
    another: PathBuf,
}

impl Place {
    fn make(mount: &Path) -> Result<Self, Box<dyn Error>> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let root = mount.join(format!("plimsoll-bench-foreign-{}", std::process::id()));
        let place = Self {
            home: mount.join(own.ok_or("no cgroup v2")?),
            ours: root.join("burstable/pod1/c"),
            another: root.join("burstable/pod2/c"),
            root,
        };
        fs::create_dir_all(&place.ours)?;
        fs::create_dir_all(&place.another)?;
        enter(&place.ours)?;
        Ok(place)
    }

    /// Id of a container, and its level below the root.
    fn container(path: &Path) -> io::Result<(CgroupId, u64)> {
        Ok((CgroupId(fs::metadata(path)?.ino()), 3))
    }

    fn remove(&self) -> io::Result<()> {
        enter(&self.home)?;
        for pod in [&self.ours, &self.another] {
            for level in pod.ancestors().take_while(|level| *level != self.root).take(2) {
                fs::remove_dir(level)?;
            }
        }
        fs::remove_dir(self.root.join("burstable"))?;
        fs::remove_dir(&self.root)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("left behind {}: {error}", self.root.display());
        }
    }
}

fn enter(cgroup: &Path) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())
}

pub(super) fn figures(bench: &Bench) -> Figures {
    let types = KernelTypes::read()?;
    let survey = types.survey()?;
    let place = Place::make(&bench.mount)?;
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let measured = measure(&types, &survey, &place);
    sched_setaffinity(Pid::from_raw(0), &allowed)?;
    measured
}

fn measure(types: &KernelTypes, survey: &Survey, place: &Place) -> Figures {
    let mut echo = Echo::start()?;
    let cpu = last_cpu()?;
    echo.share_cpu(cpu)?;
    let cpu = CpuId::new(u32::try_from(cpu)?).ok_or("the CPU has too high a number")?;
    let open = || -> Result<Loaded, Box<dyn Error>> {
        let facts = survey.facts.get(&Object::Foreign).ok_or("no facts")?;
        Ok(Loaded::open(Object::Foreign, OBJECTS, facts, types)?)
    };
    let mut all = BTreeMap::from(
        [
            SWITCH,
            "irq_handler_entry",
            "irq_handler_exit",
            "softirq_entry",
            "softirq_exit",
        ]
        .map(|name| (name, name)),
    );
    all.extend(survey.interrupts.iter().map(|name| (*name, *name)));
    let run = |owner: Owner, echo: &mut Echo, counted: bool| -> Result<f64, Box<dyn Error>> {
        if owner == Owner::NoProbe {
            let mut loaded = open()?;
            loaded.attach(types, |name| (name == "nothing").then(|| SWITCH.to_owned()))?;
            return timed(echo, counted, "nothing", || loaded.costs());
        }
        let mut books = CpuBooks::new(open()?, types, &all, &File::open(&place.root)?)?;
        books.attach()?;
        let path = match owner {
            Owner::Ours => Some(&place.ours),
            Owner::Another => Some(&place.another),
            Owner::NoProbe | Owner::Nobody => None,
        };
        let owner = path.map(|path| Place::container(path)).transpose()?;
        let level = books.root_level();
        books.adopt(cpu, owner.map(|(id, depth)| (id, level + depth)))?;
        timed(echo, counted, SWITCH, || books.loaded().costs())
    };
    let mut walls: [Vec<f64>; 4] = Default::default();
    let mut programs: [Vec<f64>; 4] = Default::default();
    ping_pong(&mut echo)?;
    for _ in 0..TURNS {
        for ((owner, wall), program) in OWNERS.into_iter().zip(&mut walls).zip(&mut programs) {
            wall.push(run(owner, &mut echo, false)?);
            program.push(run(owner, &mut echo, true)?);
        }
    }
    let median = |runs: [Vec<f64>; 4]| runs.map(|mut runs| percentile(&mut runs, 50));
    let ([empty, nobody, ours, another], [none, unowned, own, stranger]) = (median(walls), median(programs));
    Ok(vec![
        Figure::beside("foreign: ping-pong, CPU without owner", nobody, "ns", empty),
        Figure::beside("foreign: ping-pong of the owner", ours, "ns", empty),
        Figure::beside("foreign: ping-pong of strangers", another, "ns", empty),
        Figure::beside(
            "foreign: one run by BPF statistics, no owner",
            unowned,
            "ns",
            none,
        ),
        Figure::beside("foreign: one run by BPF statistics, the owner", own, "ns", none),
        Figure::beside(
            "foreign: one run by BPF statistics, strangers",
            stranger,
            "ns",
            none,
        ),
    ])
}

/// Nanoseconds a switch; or, counted by the kernel, nanoseconds a run of the program.
fn timed(
    echo: &mut Echo,
    counted: bool,
    program: &str,
    costs: impl FnOnce() -> Vec<plimsoll::kernel::ebpf::Stopwatch>,
) -> Result<f64, Box<dyn Error>> {
    if !counted {
        return ping_pong(echo);
    }
    let statistics = run_statistics()?;
    ping_pong(echo)?;
    drop(statistics);
    let costs = costs();
    let cost = costs
        .iter()
        .find(|cost| cost.program == program && cost.runs > 0)
        .ok_or("the kernel counted no run")?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let runs = cost.runs as f64;
    Ok(cost.time.as_secs_f64() * 1e9 / runs)
}
