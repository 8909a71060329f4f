//! The pods of one run and their cgroups.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{io, thread};

use nix::mount::{MsFlags, mount, umount};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use plimsoll::model::NodeReport;

use crate::agent::Agent;

use super::machine::{clear, set_swap, set_tasks, swap_out};
use super::watch::{event, field as value, meminfo, number, populated, text};
use super::{Keeper, Line, Places, Pod, Scenario};

/// The pods' root cgroup.
pub(super) const ROOT: &str = "kubepods";
/// The cgroup of what is outside the pods.
const OUTSIDE: &str = "system.slice";
/// How long one step may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a full tmpfs leaves to the machine.
const LEFT: u64 = 48 << 20;
/// Between a tripwire and the limit.
pub(super) const ABOVE_HIGH: u32 = 64;
/// Moves the shell into the cgroup $1 with priority $2, and becomes the rest.
const ENTER: &str =
    "echo 0 > \"$1/cgroup.procs\" && echo \"$2\" > /proc/self/oom_score_adj && shift 2 && exec \"$@\"";

/// Who made the cgroups and runs the pods.
#[derive(Debug)]
pub enum Ground {
    /// Made by hand, as kubelet would; the pods are children of this process.
    ByHand(Vec<Child>),
    /// The agent.
    ByAgent(Agent),
}

/// The pods of one run.
#[derive(Debug)]
pub struct Field {
    /// The pods' root cgroup.
    pub root: PathBuf,
    /// The pods.
    pub pods: Vec<Pod>,
    /// Each one's cgroup.
    pub cgroups: Vec<PathBuf>,
    /// Who runs them.
    pub ground: Ground,
    load: PathBuf,
    start: PathBuf,
    /// A tmpfs for the pods that fill one.
    shm: PathBuf,
    released: Option<File>,
    agent_files: PathBuf,
    /// A process that is no pod's, and its cgroup.
    outside: Option<(Child, PathBuf)>,
    /// How many tasks the machine had in all before it got fewer.
    tasks: Option<u64>,
}

impl Field {
    /// Makes the cgroups and starts the pods, of which those to blame wait.
    ///
    /// # Errors
    /// The kernel or the agent refused.
    pub fn lay_out(scenario: &Scenario, keeper: Keeper, seed: u32, places: &Places) -> io::Result<Self> {
        fs::create_dir_all(&places.directory)?;
        set_swap(scenario.swap)?;
        let root = places.mount.join(ROOT);
        let start = places.directory.join("start");
        if start.exists() {
            fs::remove_file(&start)?;
        }
        mkfifo(&start, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let shm = places.directory.join("shm");
        fs::create_dir_all(&shm)?;
        // Pods that hold anything run out of memory before it is full, and the machine lives on when all of them are gone.
        let size = format!("size={}", meminfo("MemAvailable")?.saturating_sub(LEFT));
        let size = Some(size.as_str());
        mount(Some("shm"), &shm, Some("tmpfs"), MsFlags::empty(), size)?;
        let mut field = Self {
            cgroups: scenario.pods.iter().map(|pod| root.join(pod.cgroup())).collect(),
            root,
            pods: scenario.pods.clone(),
            ground: Ground::ByHand(Vec::new()),
            load: places.load.clone(),
            start,
            shm,
            released: None,
            agent_files: places.directory.join("agent"),
            outside: None,
            tasks: None,
        };
        if let Line::Tasks(most) = scenario.line {
            field.tasks = Some(set_tasks(most.into())?);
        }
        let commands: Vec<_> = field
            .pods
            .iter()
            .map(|pod| pod.command(&places.load, &field.start, &field.shm, seed))
            .collect();
        if keeper == Keeper::Plimsoll {
            field.by_agent(scenario, places, &commands)?;
        } else {
            field.by_hand(scenario, places, &commands)?;
        }
        if let Some(load) = scenario.outside {
            field.outside(load, places)?;
        }
        Ok(field)
    }

    fn by_hand(&mut self, scenario: &Scenario, places: &Places, commands: &[Vec<String>]) -> io::Result<()> {
        const CONTROLLERS: &str = "+cpu +memory +pids";
        fs::write(places.mount.join("cgroup.subtree_control"), CONTROLLERS)?;
        for level in ["", "burstable", "besteffort"] {
            let level = self.root.join(level);
            fs::create_dir_all(&level)?;
            fs::write(level.join("cgroup.subtree_control"), CONTROLLERS)?;
        }
        self.limit_root(scenario)?;
        let capacity = meminfo("MemTotal")?;
        let mut children = Vec::new();
        for (pod, (cgroup, command)) in self.pods.iter().zip(self.cgroups.iter().zip(commands)) {
            fs::create_dir(cgroup)?;
            if let Some(limit) = pod.kernel_limit() {
                fs::write(cgroup.join("memory.max"), format!("{limit}M"))?;
            }
            children.push(enter(cgroup, pod.oom_score_adj(capacity), command)?);
        }
        self.ground = Ground::ByHand(children);
        Ok(())
    }

    fn by_agent(&mut self, scenario: &Scenario, places: &Places, commands: &[Vec<String>]) -> io::Result<()> {
        let mut configuration = super::keeper::agent_configuration(scenario.line);
        if let Line::High(high) = scenario.line {
            let left = (u64::from(high + ABOVE_HIGH)) << 20;
            let reserved = meminfo("MemTotal")?.saturating_sub(left);
            configuration += &format!("systemReserved: {{memory: '{reserved}'}}\n");
        }
        if scenario.swap {
            configuration += "memorySwap: {swapBehavior: LimitedSwap}\n";
        }
        let mut agent = Agent::new(&places.agent, &self.agent_files, ROOT, &configuration)?;
        agent.start()?;
        // It is there from before the pods, as a node's agent is; loading the probes keeps a CPU busy for seconds.
        agent.wait_for(PATIENCE, |report| !report.probes.is_empty())?;
        if !scenario.swap {
            fs::write(self.root.join("memory.swap.max"), "0")?;
        }
        for (pod, command) in self.pods.iter().zip(commands) {
            let hidden = agent.pods().join(format!(".{}.tmp", pod.name));
            fs::write(&hidden, pod.manifest(command))?;
            fs::rename(hidden, agent.pods().join(format!("{}.yaml", pod.name)))?;
        }
        self.ground = Ground::ByAgent(agent);
        Ok(())
    }

    /// Starts what is no pod's; it waits, too.
    fn outside(&mut self, load: &str, places: &Places) -> io::Result<()> {
        let cgroup = places.mount.join(OUTSIDE);
        fs::create_dir_all(&cgroup)?;
        let mut command = vec![places.load.display().to_string()];
        command.extend(load.split_whitespace().map(str::to_owned));
        command.push(format!("start={}", self.start.display()));
        self.outside = Some((enter(&cgroup, 0, &command)?, cgroup));
        Ok(())
    }

    /// Ends what is no pod's.
    ///
    /// # Errors
    /// It stays.
    pub fn end_outside(&mut self) -> io::Result<()> {
        let Some((mut child, cgroup)) = self.outside.take() else {
            return Ok(());
        };
        child.kill()?;
        child.wait()?;
        clear(&cgroup)
    }

    /// The limits that stand for the line; an agent sets its own.
    fn limit_root(&self, scenario: &Scenario) -> io::Result<()> {
        if let Line::High(high) = scenario.line {
            fs::write(self.root.join("memory.high"), format!("{high}M"))?;
            fs::write(self.root.join("memory.max"), format!("{}M", high + ABOVE_HIGH))?;
        }
        if !scenario.swap {
            fs::write(self.root.join("memory.swap.max"), "0")?;
        }
        Ok(())
    }

    /// Waits until every pod runs and holds what it should before the start.
    ///
    /// # Errors
    /// The time is up.
    pub fn wait_settled(&self) -> io::Result<()> {
        let missing = |(pod, cgroup): (&Pod, &PathBuf)| {
            let holds = number(&cgroup.join("memory.current"));
            let settled = populated(cgroup) && holds >= u64::from(pod.settled) << 20;
            (!settled).then(|| format!("{} holds {} of {} MiB", pod.name, holds >> 20, pod.settled))
        };
        let begun = Instant::now();
        while let Some(missing) = self.pods.iter().zip(&self.cgroups).find_map(missing) {
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::other(missing));
            }
            thread::sleep(Duration::from_millis(50));
        }
        // The shell that enters the cgroup has not yet become the workload at that moment.
        thread::sleep(Duration::from_millis(500));
        Ok(())
    }

    /// Gives the start signal, and says when.
    ///
    /// # Errors
    /// The FIFO is gone.
    pub fn release(&mut self) -> io::Result<Instant> {
        self.change_limits()?;
        for (pod, cgroup) in self.pods.iter().zip(&self.cgroups) {
            if let Some(percent) = pod.cpu_percent {
                fs::write(cgroup.join("cpu.max"), format!("{} 100000", percent * 1000))?;
            }
        }
        // Open for both, it never waits, and whoever comes later finds it open.
        self.released = Some(OpenOptions::new().read(true).write(true).open(&self.start)?);
        Ok(Instant::now())
    }

    /// Does what an agent would not let anybody do: while that is done it stands still.
    fn change_limits(&self) -> io::Result<()> {
        let lifted = self.pods.iter().any(|pod| pod.lifted);
        if !lifted && self.pods.iter().all(|pod| pod.swapped == 0) {
            return Ok(());
        }
        self.pause(true)?;
        for (pod, cgroup) in self.pods.iter().zip(&self.cgroups) {
            let levels = [cgroup.clone(), cgroup.join("main")];
            if pod.swapped > 0 {
                swap_out(&levels, u64::from(pod.swapped) << 20)?;
            }
            if pod.lifted && matches!(self.ground, Ground::ByAgent(_)) {
                for level in &levels {
                    fs::write(level.join("memory.max"), "max")?;
                    fs::write(level.join("memory.high"), "max")?;
                }
            }
        }
        // One that went on at once would set the limits again before there is anything to see.
        if lifted { Ok(()) } else { self.pause(false) }
    }

    /// Has the agent, if there is one, stand still or go on.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self, pause: bool) -> io::Result<()> {
        match &self.ground {
            Ground::ByAgent(agent) => agent.signal(if pause { Signal::SIGSTOP } else { Signal::SIGCONT }),
            Ground::ByHand(_) => Ok(()),
        }
    }

    /// A value of a pod's `memory.stat`.
    #[must_use]
    pub fn stat(&self, pod: &str, name: &str) -> u64 {
        let mut pods = self.pods.iter().zip(&self.cgroups);
        let found = pods.find(|(found, _)| found.name == pod);
        found.map_or(0, |(_, cgroup)| value(&text(&cgroup.join("memory.stat")), name))
    }

    /// A counter of a pod's `memory.events`.
    #[must_use]
    pub fn event(&self, pod: &str, name: &str) -> u64 {
        let mut pods = self.pods.iter().zip(&self.cgroups);
        let found = pods.find(|(found, _)| found.name == pod);
        found.map_or(0, |(_, cgroup)| event(cgroup, name))
    }

    /// Puts another pod in the place of the agent's pod `name`: with the same name, another UID and another load.
    ///
    /// # Errors
    /// The manifest cannot be written.
    pub fn replace(&self, name: &str, load: &'static str, uid: &str) -> io::Result<()> {
        let Ground::ByAgent(agent) = &self.ground else {
            return Ok(());
        };
        for pod in self.pods.iter().filter(|pod| pod.name == name) {
            let pod = Pod {
                load,
                waits: false,
                ..pod.clone()
            };
            let command = pod.command(&self.load, &self.start, &self.shm, 0);
            let manifest = pod.manifest(&command).replace(&format!("uid-{name}"), uid);
            let hidden = agent.pods().join(format!(".{name}.tmp"));
            fs::write(&hidden, manifest)?;
            fs::rename(hidden, agent.pods().join(format!("{name}.yaml")))?;
        }
        Ok(())
    }

    /// What the agent says, if it runs here and answers.
    #[must_use]
    pub fn report(&self) -> Option<NodeReport> {
        match &self.ground {
            Ground::ByAgent(agent) => agent.status().ok(),
            Ground::ByHand(_) => None,
        }
    }

    /// Ends everything and removes the cgroups.
    ///
    /// # Errors
    /// Something stays.
    pub fn clear(mut self) -> io::Result<()> {
        if let Ground::ByAgent(agent) = &mut self.ground {
            agent.kill()?;
        }
        self.end_outside()?;
        fs::write(self.root.join("cgroup.kill"), "1")?;
        if let Ground::ByHand(children) = &mut self.ground {
            for child in children {
                child.wait()?;
            }
        }
        clear(&self.root)?;
        if let Some(tasks) = self.tasks {
            set_tasks(tasks)?;
        }
        if self.agent_files.exists() {
            fs::remove_dir_all(&self.agent_files)?;
        }
        // Files on it outlive the pods that wrote them.
        umount(&self.shm)?;
        fs::write("/proc/sys/vm/drop_caches", "3")
    }
}

/// Starts a command in a cgroup.
fn enter(cgroup: &Path, oom_score_adj: i64, command: &[String]) -> io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", ENTER, "sh"])
        .arg(cgroup)
        .arg(oom_score_adj.to_string())
        .args(command)
        .stdin(Stdio::null())
        .spawn()
}
