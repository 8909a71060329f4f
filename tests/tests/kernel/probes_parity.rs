//! Every figure of a sample beside the cgroup file that holds it.
//!
//! The file is read, then the pass is made, then the file is read again: the figure must lie between the two
//! readings. Where the readings are equal that is equality. The kernel may change a figure and change it back in
//! between, so a figure that does not fit is tried again, a few times; one that never fits is wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use plimsoll::model::{Bytes, CgroupSample, Limit, Source, Sourced};
use plimsoll::observe::probes::{ProbeState, Probes};

use super::probes::support::{TestCgroup, id_of, run_in, start, wait_until};

/// How often a figure that does not fit is tried again.
const TRIES: usize = 20;

/// A figure: its name, where the file has it, and how to take it out of a sample.
struct Figure {
    file: &'static str,
    /// The key in a flat-keyed file; none when the file is one value.
    key: Option<&'static str>,
    of: fn(&CgroupSample) -> Option<(u64, Source)>,
    /// What one unit of the file is in units of the sample.
    unit: u64,
}

macro_rules! figures {
    ($($file:literal $($key:literal)?: |$sample:ident| $of:expr),* $(,)?) => {
        [$(Figure {
            file: $file,
            key: None$(.or(Some($key)))?,
            of: |$sample| $of,
            unit: if $file == "cpu.stat" { 1000 } else { 1 },
        }),*]
    };
}

fn sourced<T>(figure: Option<Sourced<T>>, value: impl Fn(T) -> u64) -> Option<(u64, Source)> {
    figure.map(|figure| (value(figure.value), figure.source))
}

fn limit(limit: Limit<Bytes>) -> u64 {
    limit.at().map_or(u64::MAX, |bytes| bytes.0)
}

fn all() -> [Figure; 25] {
    figures![
        "cpu.stat" "usage_usec": |s| sourced(s.cpu, |t| u64::try_from(t.as_nanos()).unwrap()),
        "memory.current": |s| sourced(s.memory, |m| m.0),
        "memory.peak": |s| sourced(s.memory_peak, |m| m.0),
        "memory.swap.current": |s| sourced(s.swap, |m| m.0),
        "memory.min": |s| sourced(s.limits, |l| limit(l.min)),
        "memory.low": |s| sourced(s.limits, |l| limit(l.low)),
        "memory.high": |s| sourced(s.limits, |l| limit(l.high)),
        "memory.max": |s| sourced(s.limits, |l| limit(l.max)),
        "memory.events" "low": |s| sourced(s.events, |e| e.low),
        "memory.events" "high": |s| sourced(s.events, |e| e.high),
        "memory.events" "max": |s| sourced(s.events, |e| e.max),
        "memory.events" "oom": |s| sourced(s.events, |e| e.oom),
        "memory.events" "oom_kill": |s| sourced(s.events, |e| e.oom_kill),
        "memory.events" "oom_group_kill": |s| sourced(s.events, |e| e.oom_group_kill),
        "memory.stat" "inactive_anon": |s| sourced(s.lru, |l| l.inactive_anon.0),
        "memory.stat" "active_anon": |s| sourced(s.lru, |l| l.active_anon.0),
        "memory.stat" "inactive_file": |s| sourced(s.lru, |l| l.inactive_file.0),
        "memory.stat" "active_file": |s| sourced(s.lru, |l| l.active_file.0),
        "memory.stat" "unevictable": |s| sourced(s.lru, |l| l.unevictable.0),
        "memory.stat" "anon": |s| sourced(s.kinds, |k| k.anon.0),
        "memory.stat" "file": |s| sourced(s.kinds, |k| k.file.0),
        "memory.stat" "shmem": |s| sourced(s.kinds, |k| k.shmem.0),
        "memory.stat" "slab_reclaimable": |s| sourced(s.kinds, |k| k.slab_reclaimable.0),
        "memory.stat" "slab_unreclaimable": |s| sourced(s.kinds, |k| k.slab_unreclaimable.0),
        "memory.stat" "slab": |s| sourced(s.kinds, |k| k.slab_reclaimable.0 + k.slab_unreclaimable.0),
    ]
}

impl Figure {
    fn name(&self) -> String {
        self.key
            .map_or(self.file.to_owned(), |key| format!("{} {key}", self.file))
    }

    /// The figure in the file, in units of the sample.
    fn read(&self, cgroup: &Path) -> u64 {
        let text = fs::read_to_string(cgroup.join(self.file)).unwrap();
        let value = match self.key {
            None => text.trim(),
            Some(key) => text
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
                .unwrap_or_else(|| panic!("{} has no {key}", self.file)),
        };
        if value == "max" {
            u64::MAX
        } else {
            value.parse::<u64>().unwrap() * self.unit
        }
    }

    /// Whether the figure of the pass lies between the readings; and the figure.
    fn fits(&self, probes: &mut Probes, cgroup: &Path) -> Result<u64, String> {
        let mut complaint = String::new();
        for _ in 0..TRIES {
            let before = self.read(cgroup);
            let sample = probes.snapshot().get(id_of(cgroup));
            let after = self.read(cgroup);
            let sample = sample.ok_or("the pass did not see the cgroup")?;
            let (value, source) = (self.of)(&sample).ok_or("the sample has no such figure")?;
            assert_eq!(source, Source::Bpf);
            // The file rounds down.
            if (before.min(after)..=before.max(after)).contains(&(value / self.unit * self.unit)) {
                return Ok(value);
            }
            complaint = format!("{value}, the file has {before} before and {after} after");
        }
        Err(complaint)
    }
}

/// Cgroups in which every figure is above zero somewhere.
struct Workloads {
    root: TestCgroup,
    cgroups: Vec<PathBuf>,
    children: Vec<Child>,
}

impl Drop for Workloads {
    fn drop(&mut self) {
        for child in &mut self.children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
    }
}

fn enable(cgroup: &Path) {
    fs::write(cgroup.join("cgroup.subtree_control"), "+cpu +memory").unwrap();
}

/// A shell that holds `mib` MiB of its own memory once the file `ready` is there.
fn hold(cgroup: &Path, mib: u32, ready: &Path) -> Child {
    let script = format!(
        "x=$(dd if=/dev/zero bs=1M count={mib} 2>/dev/null | tr '\\0' x); : > {}; while :; do sleep 1000; done",
        ready.display()
    );
    run_in(cgroup, &script)
}

impl Workloads {
    fn new() -> Self {
        enable(&super::probes::support::mount());
        let root = TestCgroup::new();
        enable(&root.0);
        let pods = ["anon", "file", "shmem", "swap", "high", "oom", "group", "idle"];
        let mut cgroups = vec![root.0.clone()];
        for pod in pods {
            let pod = root.child(pod);
            enable(&pod);
            cgroups.push(pod.join("c"));
            fs::create_dir(pod.join("c")).unwrap();
            cgroups.push(pod);
        }
        let mut all = Self {
            root,
            cgroups,
            children: Vec::new(),
        };
        all.fill();
        all
    }

    fn c(&self, pod: &str) -> PathBuf {
        self.root.0.join(pod).join("c")
    }

    fn set(&self, pod: &str, file: &str, value: &str) {
        fs::write(self.root.0.join(pod).join(file), value).unwrap();
    }

    /// Some kernels keep a page of a file inactive until reclaim finds it in use: a program that runs from a file uses
    /// its pages.
    fn make_file_pages_active(&self) {
        let cgroup = self.c("file");
        let mut running = run_in(&cgroup, "exec /disk/busybox sh -c 'while :; do sleep 1; done'");
        wait_until("pages of a running program are active", || {
            let stat = fs::read_to_string(cgroup.join("memory.stat")).unwrap();
            let active = stat.lines().any(|line| {
                line.strip_prefix("active_file ")
                    .is_some_and(|value| value != "0")
            });
            if !active {
                // Less than was asked for may be found, which is an error, and no matter here.
                _ = fs::write(cgroup.join("memory.reclaim"), "200K");
            }
            active
        });
        running.kill().unwrap();
        running.wait().unwrap();
    }

    fn fill(&mut self) {
        for (n, name) in ["anon", "file", "shmem"].iter().enumerate() {
            for (m, file) in ["memory.min", "memory.low", "memory.high", "memory.max"]
                .iter()
                .enumerate()
            {
                let mib = (m + 1) * 100 + n;
                self.set(name, file, &format!("{mib}M"));
            }
        }
        let ready = |name: &str| PathBuf::from(format!("/tmp/ready-{name}"));
        for name in ["anon", "swap"] {
            self.children.push(hold(&self.c(name), 16, &ready(name)));
            wait_until("memory is held", || ready(name).exists());
        }
        let swap = self.c("swap");
        wait_until("memory is swapped out", || {
            // Less than was asked for may be found at once: the pages have been used just now.
            _ = fs::write(swap.join("memory.reclaim"), "4M");
            let swapped = fs::read_to_string(swap.join("memory.swap.current")).unwrap();
            swapped.trim().parse::<u64>().unwrap() >= 4 << 20
        });
        // Files of their own are page cache; what is written to /tmp is shared memory; names are slab.
        // Pages become active by being read again (classic lists) or by a fault that brings them in (generations).
        let work = "dd if=/dev/zero of=/disk/parity bs=1M count=12 2>/dev/null; cp /bin/busybox /disk/busybox; sync; \
                    for n in 1 2 3; do cat /disk/parity >/dev/null; done; \
                    echo 1 > /proc/sys/vm/drop_caches; /disk/busybox true; \
                    dd if=/dev/zero of=/disk/parity bs=1M count=12 2>/dev/null; sync; i=0; while [ $i -lt 300 ]; do : > /disk/name-$i; i=$((i+1)); done";
        assert!(run_in(&self.c("file"), work).wait().unwrap().success());
        self.make_file_pages_active();
        let work = "dd if=/dev/zero of=/tmp/parity bs=1M count=9 2>/dev/null";
        assert!(run_in(&self.c("shmem"), work).wait().unwrap().success());
        self.set("high", "memory.high", "8M");
        let work = "dd if=/dev/zero of=/disk/high bs=1M count=24 2>/dev/null";
        assert!(run_in(&self.c("high"), work).wait().unwrap().success());
        for name in ["oom", "group"] {
            self.set(name, "memory.max", "12M");
            self.set(name, "memory.swap.max", "0");
            if name == "group" {
                self.set(name, "memory.oom.group", "1");
            }
            let killed = hold(&self.c(name), 64, &ready(name)).wait().unwrap();
            assert!(!killed.success(), "{name}: not killed");
        }
        // A process that is locked in memory makes pages unevictable; busybox cannot, a ramfs file can.
        let work = "mkdir -p /run/ram && mount -t ramfs none /run/ram && dd if=/dev/zero of=/run/ram/f bs=1M count=3 2>/dev/null";
        assert!(run_in(&self.c("idle"), work).wait().unwrap().success());
    }
}

#[test]
#[ignore = "needs the VM lab: cargo xtask test"]
fn every_figure_is_that_of_the_file() {
    let workloads = Workloads::new();
    let mut probes = start(&workloads.root.0, &["usage"]);
    let state = probes
        .status()
        .iter()
        .find(|status| status.name == "usage")
        .unwrap();
    assert_eq!(state.state, ProbeState::Attached { without: Vec::new() });
    // Processes that have ended give back what they held; counters come to rest.
    std::thread::sleep(Duration::from_secs(2));
    let mut wrong = Vec::new();
    let mut largest: BTreeMap<String, u64> = BTreeMap::new();
    let mut compared = 0;
    for figure in all() {
        for cgroup in &workloads.cgroups {
            // Not every kernel has every file; one that all of them lack is caught below.
            if !cgroup.join(figure.file).exists() {
                continue;
            }
            match figure.fits(&mut probes, cgroup) {
                Ok(value) => {
                    let known = largest.entry(figure.name()).or_default();
                    *known = (*known).max(value);
                    compared += 1;
                }
                Err(complaint) => {
                    wrong.push(format!("{} of {}: {complaint}", figure.name(), cgroup.display()));
                }
            }
        }
    }
    println!("{compared} comparisons; the largest values: {largest:#?}");
    assert!(
        wrong.is_empty(),
        "{} of {compared}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let zero: Vec<_> = all()
        .iter()
        .map(Figure::name)
        .filter(|name| largest.get(name).is_none_or(|value| *value == 0))
        // Nothing here makes the kernel reclaim what memory.low protects.
        .filter(|name| name != "memory.events low")
        .collect();
    assert!(zero.is_empty(), "nothing was compared for {zero:?}");
}
