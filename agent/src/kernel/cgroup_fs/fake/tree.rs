//! The fake's cgroups and processes, under the kernel's rules for who may be where.
//!
//! Source: `kernel/cgroup/cgroup.c` — `cgroup_vet_subtree_control_enable`, `cgroup_migrate_vet_dst`,
//! `cgroup_can_be_thread_root`, `cgroup_destroy_locked`.

use std::collections::{BTreeMap, BTreeSet};

use rustix::io::Errno;

use super::cpuset::{self, Cpuset, Machine};
use super::values;
use crate::model::{CgroupId, CgroupPath, ControlFile, Controller};

/// Controllers that allow threads of one process in several cgroups; the kernel lets these alone beside processes.
const THREADED: [Controller; 3] = [Controller::Cpu, Controller::Cpuset, Controller::Pids];

/// What a process does when it is sent SIGKILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stubbornness {
    /// It ends.
    Dies,
    /// It has forked a successor before it ends, this many times over.
    Forks(u32),
    /// The kernel holds it (state D): it stays until [`release`](super::FakeCgroupFs::release).
    Stays,
}

#[derive(Debug, Default)]
pub(super) struct Node {
    id: u64,
    pub(super) children: BTreeMap<String, Node>,
    enabled: BTreeSet<Controller>,
    values: BTreeMap<ControlFile, String>,
    pub(super) cpuset: Cpuset,
    pub(super) procs: BTreeMap<u32, Stubbornness>,
}

impl Node {
    pub(super) fn populated(&self) -> bool {
        !self.procs.is_empty() || self.children.values().any(Self::populated)
    }

    fn remove_empty_children(&mut self) {
        self.children.retain(|_, child| {
            child.remove_empty_children();
            !(child.procs.is_empty() && child.children.is_empty())
        });
    }

    /// Whether the cgroup may have both processes and children with the `enabled` controllers.
    fn can_be_thread_root(&self, enabled: &BTreeSet<Controller>) -> bool {
        !self.children.values().any(Self::populated) && enabled.iter().all(|c| THREADED.contains(c))
    }

    /// Whether the kernel calls it `domain threaded`: processes beside threaded controllers for the children.
    fn is_thread_root(&self) -> bool {
        !self.procs.is_empty() && !self.enabled.is_empty()
    }
}

/// All cgroups below the agent's root, and the root.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: Node,
    next_id: u64,
    pub(super) available: BTreeSet<Controller>,
    pub(super) machine: Machine,
    /// Processes that are in no cgroup of ours.
    pub(super) outside: BTreeMap<u32, Stubbornness>,
    next_pid: u32,
}

impl Tree {
    pub(super) fn new(available: BTreeSet<Controller>, own_pid: u32) -> Self {
        Self {
            root: Node {
                id: 1,
                ..Node::default()
            },
            next_id: 2,
            available,
            machine: Machine::default(),
            outside: BTreeMap::from([(own_pid, Stubbornness::Dies)]),
            next_pid: own_pid + 1,
        }
    }

    pub(super) fn node(&self, path: &CgroupPath) -> Result<&Node, Errno> {
        path.components().iter().try_fold(&self.root, |node, name| {
            node.children.get(name).ok_or(Errno::NOENT)
        })
    }

    pub(super) fn node_mut(&mut self, path: &CgroupPath) -> Result<&mut Node, Errno> {
        path.components().iter().try_fold(&mut self.root, |node, name| {
            node.children.get_mut(name).ok_or(Errno::NOENT)
        })
    }

    pub(super) fn id(&self, path: &CgroupPath) -> Result<CgroupId, Errno> {
        Ok(CgroupId(self.node(path)?.id))
    }

    pub(super) fn new_pid(&mut self) -> u32 {
        self.next_pid += 1;
        self.next_pid
    }

    /// Controllers that the cgroup has: its own files exist, and its children may get them.
    fn controllers(&self, path: &CgroupPath) -> Result<BTreeSet<Controller>, Errno> {
        match path.parent() {
            None => Ok(self.available.clone()),
            Some(parent) => Ok(self.node(&parent)?.enabled.clone()),
        }
    }

    pub(super) fn create(&mut self, path: &CgroupPath) -> Result<CgroupId, Errno> {
        let (parent, name) = path.parent().zip(path.name()).ok_or(Errno::BUSY)?;
        let id = self.next_id;
        let siblings = &mut self.node_mut(&parent)?.children;
        if let Some(existing) = siblings.get(name) {
            return Ok(CgroupId(existing.id));
        }
        siblings.insert(
            name.to_owned(),
            Node {
                id,
                ..Node::default()
            },
        );
        self.next_id += 1;
        Ok(CgroupId(id))
    }

    pub(super) fn remove(&mut self, path: &CgroupPath) -> Result<(), Errno> {
        let (parent, name) = path.parent().zip(path.name()).ok_or(Errno::BUSY)?;
        let Ok(parent) = self.node_mut(&parent) else {
            return Ok(());
        };
        match parent.children.get(name) {
            Some(node) if node.populated() || !node.children.is_empty() => Err(Errno::BUSY),
            _ => {
                parent.children.remove(name);
                Ok(())
            }
        }
    }

    pub(super) fn remove_tree(&mut self, path: &CgroupPath) -> Result<(), Errno> {
        let Ok(node) = self.node_mut(path) else {
            return Ok(());
        };
        node.remove_empty_children();
        self.remove(path)
    }

    pub(super) fn read(&self, path: &CgroupPath, file: ControlFile) -> Result<String, Errno> {
        let node = self.node(path)?;
        self.check_exists(path, file)?;
        Ok(match file {
            ControlFile::Controllers => list(&self.controllers(path)?),
            ControlFile::SubtreeControl => list(&node.enabled),
            ControlFile::Procs => node.procs.keys().map(|pid| format!("{pid}\n")).collect(),
            ControlFile::Events => format!("populated {}\nfrozen 0\n", u8::from(node.populated())),
            ControlFile::Type if self.is_invalid(path) => "domain invalid\n".to_owned(),
            ControlFile::Type if node.is_thread_root() => "domain threaded\n".to_owned(),
            ControlFile::PidsCurrent => format!("{}\n", count(node)),
            ControlFile::CpusetCpus => cpuset::line(&node.cpuset.cpus),
            ControlFile::CpusetMems => cpuset::line(&node.cpuset.mems),
            ControlFile::CpusetCpusEffective => cpuset::line(&self.effective_cpus(path)?),
            ControlFile::CpusetMemsEffective => cpuset::line(&self.effective_mems(path)?),
            ControlFile::CpusetCpusExclusive => cpuset::line(&node.cpuset.exclusive),
            ControlFile::CpusetPartition => node.cpuset.partition.line(),
            _ => match node.values.get(&file) {
                Some(value) => value.clone(),
                None => values::initial(file).to_owned(),
            },
        })
    }

    pub(super) fn write(&mut self, path: &CgroupPath, file: ControlFile, value: &str) -> Result<(), Errno> {
        let current = self.read_for_write(path, file)?;
        match file {
            ControlFile::SubtreeControl => self.enable(path, value),
            ControlFile::Procs => self.move_process(path, value),
            ControlFile::Kill => match value.trim() {
                "1" => self.kill(path),
                text => Err(text.parse::<i32>().map_or(Errno::INVAL, |_| Errno::RANGE)),
            },
            ControlFile::CpusetCpus => self.set_cpus(path, value),
            ControlFile::CpusetMems => self.set_mems(path, value),
            ControlFile::CpusetCpusExclusive => self.set_exclusive(path, value),
            ControlFile::CpusetPartition => self.set_partition(path, value),
            _ => {
                let kept = values::accept(file, value, &current)?;
                self.node_mut(path)?.values.insert(file, kept);
                Ok(())
            }
        }
    }

    fn read_for_write(&self, path: &CgroupPath, file: ControlFile) -> Result<String, Errno> {
        match file {
            ControlFile::Kill => self.node(path).map(|_| String::new()),
            _ => self.read(path, file),
        }
    }

    /// The cgroups from the root down to that of `path`.
    pub(super) fn nodes_down_to(&self, path: &CgroupPath) -> Result<Vec<&Node>, Errno> {
        let mut nodes = vec![&self.root];
        for name in path.components() {
            let child = nodes.last().and_then(|node| node.children.get(name));
            nodes.push(child.ok_or(Errno::NOENT)?);
        }
        Ok(nodes)
    }

    fn check_exists(&self, path: &CgroupPath, file: ControlFile) -> Result<(), Errno> {
        match file.controller() {
            Some(controller) if !self.controllers(path)?.contains(&controller) => Err(Errno::NOENT),
            _ if file == ControlFile::CpusetCpusExclusive && self.machine.kernel.version() < (6, 7) => {
                Err(Errno::NOENT)
            }
            _ => Ok(()),
        }
    }

    fn enable(&mut self, path: &CgroupPath, value: &str) -> Result<(), Errno> {
        let has = self.controllers(path)?;
        let node = self.node(path)?;
        let mut enabled = node.enabled.clone();
        for word in value.split_whitespace() {
            let named = |name| Controller::from_name(name).ok_or(Errno::INVAL);
            match (word.strip_prefix('+'), word.strip_prefix('-')) {
                (Some(name), _) => {
                    if !has.contains(&named(name)?) {
                        return Err(Errno::NOENT);
                    }
                    enabled.insert(named(name)?);
                }
                (None, Some(name)) => {
                    enabled.remove(&named(name)?);
                }
                (None, None) => return Err(Errno::INVAL),
            }
        }
        let taken: Vec<_> = node.enabled.difference(&enabled).copied().collect();
        if taken
            .iter()
            .any(|c| node.children.values().any(|child| child.enabled.contains(c)))
        {
            return Err(Errno::BUSY);
        }
        let given: BTreeSet<_> = enabled.difference(&node.enabled).copied().collect();
        if !given.is_empty() {
            if self.is_invalid(path) {
                return Err(Errno::OPNOTSUPP);
            }
            let all_threaded = given.iter().all(|c| THREADED.contains(c));
            let beside_processes = all_threaded && node.can_be_thread_root(&node.enabled);
            if !(node.procs.is_empty() || beside_processes) {
                return Err(if node.is_thread_root() {
                    Errno::OPNOTSUPP
                } else {
                    Errno::BUSY
                });
            }
        }
        let node = self.node_mut(path)?;
        for child in node.children.values_mut() {
            // Taking a controller away takes its settings with it.
            child
                .values
                .retain(|file, _| file.controller().is_none_or(|c| !taken.contains(&c)));
            if taken.contains(&Controller::Cpuset) {
                child.cpuset = Cpuset::default();
            }
        }
        node.enabled = enabled;
        Ok(())
    }

    /// Whether processes may be put there at all: not below a cgroup that became a thread root.
    fn is_invalid(&self, path: &CgroupPath) -> bool {
        let mut above = path.parent();
        while let Some(ancestor) = above {
            if self.node(&ancestor).is_ok_and(Node::is_thread_root) {
                return true;
            }
            above = ancestor.parent();
        }
        false
    }

    /// Whether a process may be put there, by moving it or by starting it there.
    pub(super) fn check_can_host(&self, path: &CgroupPath) -> Result<(), Errno> {
        let node = self.node(path)?;
        if self.is_invalid(path) {
            return Err(Errno::OPNOTSUPP);
        }
        if self.effective_cpus(path)?.is_empty() {
            return Err(Errno::NOSPC);
        }
        if node.enabled.is_empty() || node.can_be_thread_root(&node.enabled) {
            return Ok(());
        }
        Err(Errno::BUSY)
    }

    fn move_process(&mut self, path: &CgroupPath, value: &str) -> Result<(), Errno> {
        let pid = match value.trim().parse::<u32>().map_err(|_| Errno::INVAL)? {
            0 => super::FakeCgroupFs::OWN_PID,
            pid => pid,
        };
        if !(self.outside.contains_key(&pid) || holder(&mut self.root, pid).is_some()) {
            return Err(Errno::SRCH);
        }
        self.check_can_host(path)?;
        if let Some(process) = self.take(pid) {
            self.node_mut(path)?.procs.insert(pid, process);
        }
        Ok(())
    }

    /// Takes a process out of wherever it is.
    pub(super) fn take(&mut self, pid: u32) -> Option<Stubbornness> {
        match self.outside.remove(&pid) {
            Some(process) => Some(process),
            None => holder(&mut self.root, pid)?.procs.remove(&pid),
        }
    }

    pub(super) fn kill(&mut self, path: &CgroupPath) -> Result<(), Errno> {
        let mut next_pid = self.next_pid;
        kill_all(self.node_mut(path)?, &mut next_pid);
        self.next_pid = next_pid;
        Ok(())
    }
}

fn kill_all(node: &mut Node, next_pid: &mut u32) {
    let mut survivors = BTreeMap::new();
    for (pid, process) in std::mem::take(&mut node.procs) {
        match process {
            Stubbornness::Dies | Stubbornness::Forks(0) => {}
            Stubbornness::Forks(more) => {
                *next_pid += 1;
                survivors.insert(*next_pid, Stubbornness::Forks(more - 1));
            }
            Stubbornness::Stays => {
                survivors.insert(pid, process);
            }
        }
    }
    node.procs = survivors;
    for child in node.children.values_mut() {
        kill_all(child, next_pid);
    }
}

fn holder(node: &mut Node, pid: u32) -> Option<&mut Node> {
    if node.procs.contains_key(&pid) {
        return Some(node);
    }
    node.children.values_mut().find_map(|child| holder(child, pid))
}

fn count(node: &Node) -> usize {
    node.procs.len() + node.children.values().map(count).sum::<usize>()
}

/// As the kernel lists them: nothing at all, not even an end of line, where there is none.
fn list(controllers: &BTreeSet<Controller>) -> String {
    let names: Vec<_> = controllers.iter().map(|c| c.as_str()).collect();
    if names.is_empty() {
        String::new()
    } else {
        names.join(" ") + "\n"
    }
}
