//! One snapshot of all cgroups beside the same figures read from their files.
//!
//! The files are those that hold what the snapshot's samples hold on this machine: without a memory controller CPU
//! time and waiting time, with one the memory files too. Reading is all that is timed of the files, not parsing; the
//! snapshot is timed whole, from the call to typed values.

use std::fs::{self, File};
use std::hint::black_box;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use plimsoll::kernel::ebpf::OBJECTS;
use plimsoll::model::CgroupSample;
use plimsoll::observe::probes::Probes;

use super::echo::Echo;
use super::{Bench, Figure, Figures, percentile};

const SIZES: [usize; 3] = [100, 1_000, 5_000];
/// Times that each way is timed; they take turns.
const TURNS: usize = 15;

pub(super) fn figures(bench: &Bench) -> Figures {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let mut figures = Vec::new();
    for size in SIZES {
        let tree = Tree::make(&bench.mount.join(format!("plimsoll-bench-snapshot-{size}")), size)?;
        figures.extend(measure(&tree, size)?);
        tree.remove()?;
    }
    Ok(figures)
}

/// Pods of one container each.
struct Tree {
    root: PathBuf,
    cgroups: Vec<PathBuf>,
}

impl Tree {
    fn make(root: &Path, size: usize) -> io::Result<Self> {
        fs::create_dir(root)?;
        let controllers = fs::read_to_string(root.join("cgroup.controllers"))?;
        let enable: String = ["cpu", "memory"]
            .iter()
            .filter(|name| controllers.split_whitespace().any(|c| c == **name))
            .map(|name| format!("+{name} "))
            .collect();
        fs::write(root.join("cgroup.subtree_control"), &enable)?;
        let mut cgroups = Vec::new();
        for pod in 0..size / 2 {
            let pod = root.join(format!("pod{pod}"));
            let container = pod.join("container");
            fs::create_dir(&pod)?;
            fs::write(pod.join("cgroup.subtree_control"), &enable)?;
            fs::create_dir(&container)?;
            cgroups.extend([pod, container]);
        }
        Ok(Self {
            root: root.to_owned(),
            cgroups,
        })
    }

    /// Makes a process run for a moment in each container, so that every one has figures.
    fn use_all(&self) -> io::Result<()> {
        let mut echo = Echo::start()?;
        for container in self.cgroups.iter().filter(|path| path.ends_with("container")) {
            fs::write(container.join("cgroup.procs"), echo.pid().to_string())?;
            echo.round()?;
            echo.round()?;
        }
        Ok(())
    }

    fn remove(&self) -> io::Result<()> {
        for cgroup in self.cgroups.iter().rev() {
            fs::remove_dir(cgroup)?;
        }
        fs::remove_dir(&self.root)
    }
}

/// The files that hold the figures of a sample.
fn files_of(sample: &CgroupSample) -> Vec<&'static str> {
    let mut files = Vec::new();
    let mut with = |there: bool, names: &[&'static str]| {
        if there {
            files.extend(names);
        }
    };
    with(sample.cpu.is_some(), &["cpu.stat"]);
    with(sample.run_delay.is_some(), &["cpu.pressure"]);
    with(sample.memory.is_some(), &["memory.current"]);
    with(sample.swap.is_some(), &["memory.swap.current"]);
    with(sample.memory_peak.is_some(), &["memory.peak"]);
    with(
        sample.limits.is_some(),
        &["memory.min", "memory.low", "memory.high", "memory.max"],
    );
    with(sample.events.is_some(), &["memory.events"]);
    with(sample.lru.is_some() || sample.kinds.is_some(), &["memory.stat"]);
    files
}

fn measure(tree: &Tree, size: usize) -> Figures {
    let mut probes = Probes::start(&tree.root, OBJECTS, true);
    tree.use_all()?;
    let snapshot = probes.snapshot();
    if snapshot.len() != size + 1 {
        return Err(format!(
            "the snapshot has {} cgroups, not {size}: {:?}",
            snapshot.len(),
            probes.status()
        )
        .into());
    }
    let sample = snapshot.samples().last().ok_or("no sample")?;
    let names: Vec<_> = files_of(&sample)
        .into_iter()
        .filter(|name| tree.cgroups.iter().all(|cgroup| cgroup.join(name).exists()))
        .collect();
    let paths: Vec<PathBuf> = tree
        .cgroups
        .iter()
        .flat_map(|cgroup| names.iter().map(|name| cgroup.join(name)))
        .collect();
    let kept: Vec<File> = paths.iter().map(File::open).collect::<io::Result<_>>()?;
    let (mut by_pass, mut by_open, mut by_pread) = (Vec::new(), Vec::new(), Vec::new());
    let mut buffer = vec![0; 16 << 10];
    let micros = |begun: Instant| begun.elapsed().as_secs_f64() * 1e6;
    for _ in 0..TURNS {
        let begun = Instant::now();
        for sample in probes.snapshot().samples() {
            black_box(sample);
        }
        by_pass.push(micros(begun));
        let begun = Instant::now();
        for path in &paths {
            File::open(path)?.read_at(&mut buffer, 0)?;
        }
        by_open.push(micros(begun));
        let begun = Instant::now();
        for file in &kept {
            file.read_at(&mut buffer, 0)?;
        }
        by_pread.push(micros(begun));
        // Once more, so that the next one does not begin with caches full of other things.
        probes.snapshot();
    }
    let [pass, open, pread] = [by_pass, by_open, by_pread].map(|mut times| percentile(&mut times, 50));
    let what = |against: &str| {
        format!(
            "snapshot of {size} cgroups, beside {against} of {} files each",
            names.len()
        )
    };
    Ok(vec![
        Figure::beside(what("open, read, close"), pass, "us", open),
        Figure::beside(what("pread on kept files"), pass, "us", pread),
    ])
}
