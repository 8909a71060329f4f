//! CPUs of one's own: how soon a container is alone on them, and who else runs there afterwards.
//!
//! Grants are made on a quiet node, and beside pods that burn all CPU they can get: then tasks have to leave the CPUs
//! that are given away. Afterwards one container burns on its own CPUs beside them, and the agent's books tell what part of
//! its time others took.
//!
//! This process stays on the reserved CPU, for elsewhere it would be a stranger. The agent is started before that, since
//! its containers would inherit it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use plimsoll::model::{ContainerPhase, ForeignReport, GrantReport, NodeReport, PodReport};

use crate::agent::Agent;

use super::agent::{remove, wait_until};
use super::{Bench, Figure, Figures, NotHere, percentile};

/// The agent's root cgroup in this benchmark.
const ROOT: &str = "plimsoll-bench-exclusive";
const CONFIGURATION: &str = "cpuManagerPolicy: static\nreservedSystemCPUs: \"0\"\nprobes: {cpu: false, \
     stalls: false, oom: false, lifecycle: false, foreign: true}\n";
/// How often CPUs are given on a quiet node.
const GRANTS: usize = 50;
/// The same beside burning pods, where an emulated machine needs seconds for each.
const BUSY_GRANTS: usize = 20;
/// Pods that share, and burn all CPU they can get.
const BURNING: usize = 20;
/// CPUs of a grant at most.
const MOST: usize = 4;
/// How long the strangers on a container's CPUs are counted.
const WINDOW: Duration = Duration::from_secs(30);
/// How long one step may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// CPUs of the container whose strangers are counted.
const COUNTED_ON: usize = 2;

const SLEEPS: &str = "[sleep, '1000000']";
const BURNS: &str = "[sh, -c, 'while :; do :; done']";

pub(super) fn figures(bench: &Bench) -> Figures {
    let controllers = fs::read_to_string(bench.mount.join("cgroup.controllers"))?;
    if !controllers.split_whitespace().any(|name| name == "cpuset") {
        return Err(NotHere("the cgroup tree has no controller cpuset".to_owned()).into());
    }
    let cpus = thread::available_parallelism()?.get();
    if cpus < MOST + 2 {
        return Err(NotHere(format!("{cpus} CPUs are too few")).into());
    }
    let directory = std::env::temp_dir().join(format!("{ROOT}-{}", std::process::id()));
    let mut agent = Agent::new(&bench.program, &directory, ROOT, CONFIGURATION)?;
    agent.start()?;
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let mut reserved = CpuSet::new();
    reserved.set(0)?;
    sched_setaffinity(Pid::from_raw(0), &reserved)?;
    let node = Node {
        agent,
        tree: bench.mount.join(ROOT),
    };
    let measured = node.measure();
    sched_setaffinity(Pid::from_raw(0), &allowed)?;
    node.remove(&directory)?;
    measured
}

struct Node {
    agent: Agent,
    tree: PathBuf,
}

impl Node {
    fn measure(&self) -> Figures {
        self.agent.wait_for(PATIENCE, |report| {
            let mut probes = report.probes.iter();
            probes.any(|probe| probe.name == "foreign" && probe.attached)
        })?;
        let mut figures = self.grants("quiet", "on a quiet node", GRANTS)?;
        for n in 0..BURNING {
            self.add(&format!("burn{n}"), BURNS, None)?;
        }
        self.agent.wait_for(PATIENCE, |report| {
            report.pods.iter().filter(|pod| is_running(pod)).count() == BURNING
        })?;
        figures.extend(self.strangers()?);
        figures.extend(self.grants("busy", &format!("beside {BURNING} burning pods"), BUSY_GRANTS)?);
        Ok(figures)
    }

    /// Gives CPUs and takes them back, again and again.
    fn grants(&self, prefix: &str, when: &str, count: usize) -> Figures {
        let (mut clean, mut running) = (Vec::new(), Vec::new());
        for n in 0..count {
            let name = format!("{prefix}{n}");
            let begun = Instant::now();
            self.add(&name, SLEEPS, Some(1 + n % MOST))?;
            let pod = self.pod(&name);
            wait_until(|| Ok(fs::read(pod.join("main/cgroup.procs")).is_ok_and(|procs| !procs.is_empty())))?;
            running.push(begun.elapsed().as_secs_f64() * 1e3);
            let report = self.agent.status()?;
            let took = grant(&report, &name).and_then(|grant| grant.clean_after);
            clean.push(took.ok_or("it runs, and was never seen alone")?.as_secs_f64() * 1e3);
            fs::remove_file(self.agent.pods().join(format!("{name}.yaml")))?;
            wait_until(|| Ok(!pod.exists()))?;
        }
        let mut figures = Vec::new();
        for (what, mut samples) in [
            ("CPUs given to seen alone", clean),
            ("manifest written to running", running),
        ] {
            for (name, percent) in [("median", 50), ("p99", 99)] {
                let name = format!("exclusive: {what} {when}, {name}");
                figures.push(Figure::alone(name, percentile(&mut samples, percent), "ms"));
            }
        }
        Ok(figures)
    }

    /// Who is on a burning container's CPUs.
    fn strangers(&self) -> Figures {
        self.add("counted", BURNS, Some(COUNTED_ON))?;
        let look = |at_least: Duration| -> io::Result<ForeignReport> {
            let foreign = |report: &NodeReport| grant(report, "counted")?.foreign;
            let report = self.agent.wait_for(PATIENCE + WINDOW, |report| {
                foreign(report).is_some_and(|foreign| foreign.window >= at_least)
            })?;
            Ok(foreign(&report).unwrap_or_default())
        };
        let begun = look(Duration::from_secs(1))?;
        // Asking costs CPU, and is not asked meanwhile.
        thread::sleep(WINDOW);
        let ended = look(begun.window + WINDOW)?;
        let window = (ended.window - begun.window).as_secs_f64();
        let share = |part: fn(&ForeignReport) -> Duration| {
            (part(&ended) - part(&begun)).as_secs_f64() / window * 100.0
        };
        Ok(vec![
            Figure::alone("exclusive: foreign time, other pods", share(|f| f.pods), "%"),
            Figure::alone(
                "exclusive: foreign time, the system's processes",
                share(|f| f.system),
                "%",
            ),
            Figure::alone(
                "exclusive: foreign time, kernel threads",
                share(|f| f.kernel_threads),
                "%",
            ),
            Figure::alone(
                "exclusive: foreign time, interrupts",
                share(|f| f.irq + f.softirq),
                "%",
            ),
        ])
    }

    /// Writes the manifest of a pod: with so many CPUs of its own, or without any limit.
    fn add(&self, name: &str, command: &str, cpus: Option<usize>) -> io::Result<()> {
        let resources = cpus.map_or(String::new(), |cpus| {
            format!(", resources: {{limits: {{cpu: {cpus}, memory: 64Mi}}}}")
        });
        let manifest = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, uid: uid-{name}}}, \
             spec: {{terminationGracePeriodSeconds: 1, \
             containers: [{{name: main, command: {command}{resources}}}]}}}}\n"
        );
        let hidden = self.agent.pods().join(format!(".{name}.tmp"));
        fs::write(&hidden, manifest)?;
        fs::rename(hidden, self.agent.pods().join(format!("{name}.yaml")))
    }

    /// The cgroup of a pod.
    fn pod(&self, name: &str) -> PathBuf {
        self.tree.join(format!("poduid-{name}"))
    }

    fn remove(mut self, directory: &Path) -> io::Result<()> {
        self.agent.kill()?;
        fs::write(self.tree.join("cgroup.kill"), "1")?;
        remove(&self.tree)?;
        fs::remove_dir_all(directory)
    }
}

fn is_running(pod: &PodReport) -> bool {
    let mut containers = pod.containers.iter();
    containers.all(|container| matches!(container.phase, ContainerPhase::Running { .. }))
}

fn grant<'a>(report: &'a NodeReport, pod: &str) -> Option<&'a GrantReport> {
    let pod = report.pods.iter().find(|found| found.name.as_str() == pod)?;
    pod.containers.first()?.cpus.as_ref()?.grant.as_ref()
}
