//! The kernel's cgroup rules in memory, for tests without a kernel.
//!
//! **Problem.** What the agent does must be right at every crash point and for every refusal, more cases than a VM can
//! run. **How.** The fake refuses what the kernel refuses (see the contract suite, which both pass), keeps a journal of
//! all that was tried, and can be told to fail the n-th change, to stop dead after it, or to lose a cgroup.

mod cpuset;
mod partition;
mod tree;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

pub use cpuset::FakeKernel;
pub use tree::Stubbornness;
use tree::Tree;

use super::{CgroupError, CgroupFs, CgroupOperation};
use crate::model::{CgroupId, CgroupPath, ControlFile, Controller, CpuId, CpuSet};

/// A change that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FakeOp {
    /// [`CgroupFs::create`].
    Create(CgroupPath),
    /// [`CgroupFs::remove`].
    Remove(CgroupPath),
    /// [`CgroupFs::remove_tree`].
    RemoveTree(CgroupPath),
    /// [`CgroupFs::write`].
    Write(CgroupPath, ControlFile, String),
    /// [`CgroupFs::kill`].
    Kill(CgroupPath),
}

#[derive(Debug)]
struct State {
    tree: Tree,
    journal: Vec<FakeOp>,
    failures: BTreeMap<usize, Errno>,
    crash_at: Option<usize>,
}

/// A cgroup v2 tree in memory.
#[derive(Debug)]
pub struct FakeCgroupFs {
    state: Mutex<State>,
}

impl FakeCgroupFs {
    /// The pid of the process that uses the fake: the one that `0` in `cgroup.procs` means. It starts outside.
    pub const OWN_PID: u32 = 100;

    /// A root without children that has the `available` controllers.
    #[must_use]
    pub fn new(available: impl IntoIterator<Item = Controller>) -> Self {
        Self {
            state: Mutex::new(State {
                tree: Tree::new(available.into_iter().collect(), Self::OWN_PID),
                journal: Vec::new(),
                failures: BTreeMap::new(),
                crash_at: None,
            }),
        }
    }

    /// Follows the rules of that kernel; [`FakeKernel::default`] otherwise.
    #[must_use]
    pub fn on_kernel(self, kernel: FakeKernel) -> Self {
        self.state().tree.machine.kernel = kernel;
        self
    }

    /// Has these CPUs, all online, and memory on these NUMA nodes; CPUs 0 to 7 and node 0 otherwise.
    #[must_use]
    pub fn on_machine(self, cpus: CpuSet, nodes: impl IntoIterator<Item = u32>) -> Self {
        let mut state = self.state();
        state.tree.machine.possible = cpus.clone();
        state.tree.machine.online = cpus;
        state.tree.machine.nodes = nodes.into_iter().filter_map(CpuId::new).collect();
        drop(state);
        self
    }

    /// Plugs a CPU in or out.
    pub fn set_online(&self, cpu: CpuId, online: bool) {
        let tree = &mut self.state().tree;
        if online {
            tree.machine.online.insert(cpu);
        } else {
            tree.machine.online.remove(cpu);
        }
        tree.check_online();
    }

    /// CPUs that a fault of the kernel keeps from everybody until the next boot.
    #[must_use]
    pub fn lost_cpus(&self) -> CpuSet {
        self.state().tree.machine.lost.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the `nth` change from now on (0 is the next) fail with `errno`.
    pub fn fail_at(&self, nth: usize, errno: i32) {
        let mut state = self.state();
        let at = state.journal.len() + nth;
        state.failures.insert(at, Errno::from_raw_os_error(errno));
    }

    /// Makes the `nth` change from now on and every later call fail with `EIO`, as if the agent had been killed
    /// there; [`restart`](Self::restart) ends that.
    pub fn crash_at(&self, nth: usize) {
        let mut state = self.state();
        state.crash_at = Some(state.journal.len() + nth);
    }

    /// Ends a crash and forgets failures that did not happen.
    pub fn restart(&self) {
        let mut state = self.state();
        state.crash_at = None;
        state.failures.clear();
    }

    /// The changes asked for so far, refused ones included.
    #[must_use]
    pub fn journal(&self) -> Vec<FakeOp> {
        self.state().journal.clone()
    }

    /// Starts a process in the cgroup, as `CLONE_INTO_CGROUP` does.
    ///
    /// # Errors
    /// The kernel's error number.
    pub fn spawn(&self, path: &CgroupPath, process: Stubbornness) -> Result<u32, i32> {
        let mut state = self.state();
        let allowed = state.tree.check_can_host(path);
        let pid = state.tree.new_pid();
        let node = allowed.and_then(|()| state.tree.node_mut(path));
        node.map_err(Errno::raw_os_error)?.procs.insert(pid, process);
        Ok(pid)
    }

    /// Starts a process outside the tree.
    pub fn spawn_outside(&self) -> u32 {
        let mut state = self.state();
        let pid = state.tree.new_pid();
        state.tree.outside.insert(pid, Stubbornness::Dies);
        pid
    }

    /// Ends a process, whatever holds it.
    pub fn release(&self, pid: u32) {
        self.state().tree.take(pid);
    }

    /// Loses a cgroup with all below and inside, as if somebody else had removed it.
    pub fn vanish(&self, path: &CgroupPath) {
        let mut state = self.state();
        if let Some((parent, name)) = path.parent().zip(path.name())
            && let Ok(parent) = state.tree.node_mut(&parent)
        {
            parent.children.remove(name);
        }
    }

    /// Every cgroup, parents first.
    #[must_use]
    pub fn paths(&self) -> BTreeSet<CgroupPath> {
        fn walk(node: &tree::Node, path: &CgroupPath, found: &mut BTreeSet<CgroupPath>) {
            found.insert(path.clone());
            for (name, child) in &node.children {
                if let Ok(path) = path.child(name) {
                    walk(child, &path, found);
                }
            }
        }
        let mut found = BTreeSet::new();
        if let Ok(root) = self.state().tree.node(&CgroupPath::ROOT) {
            walk(root, &CgroupPath::ROOT, &mut found);
        }
        found
    }

    /// A look at the tree; fails after a crash.
    fn look<T>(&self, look: impl FnOnce(&Tree) -> Result<T, Errno>) -> Result<T, Errno> {
        let state = self.state();
        match state.crash_at {
            Some(at) if state.journal.len() > at => Err(Errno::IO),
            _ => look(&state.tree),
        }
    }

    /// A change of the tree, in the journal; fails where it was told to.
    fn change<T>(&self, op: FakeOp, change: impl FnOnce(&mut Tree) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut state = self.state();
        let nth = state.journal.len();
        state.journal.push(op);
        if state.crash_at.is_some_and(|at| nth >= at) {
            return Err(Errno::IO);
        }
        match state.failures.remove(&nth) {
            Some(errno) => Err(errno),
            None => change(&mut state.tree),
        }
    }

    fn file_error(
        &self,
        path: &CgroupPath,
        file: ControlFile,
        value: Option<&str>,
        errno: Errno,
    ) -> CgroupError {
        CgroupError::of_file(path, file, value, errno.into(), || {
            self.state().tree.node(path).is_ok()
        })
    }
}

fn refused(operation: CgroupOperation, path: &CgroupPath) -> impl FnOnce(Errno) -> CgroupError {
    move |errno| CgroupError::of_cgroup(operation, path, errno.into())
}

impl CgroupFs for FakeCgroupFs {
    fn create(&self, path: &CgroupPath) -> Result<CgroupId, CgroupError> {
        self.change(FakeOp::Create(path.clone()), |tree| tree.create(path))
            .map_err(refused(CgroupOperation::Create, path))
    }

    fn remove(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        self.change(FakeOp::Remove(path.clone()), |tree| tree.remove(path))
            .map_err(refused(CgroupOperation::Remove, path))
    }

    fn remove_tree(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        self.change(FakeOp::RemoveTree(path.clone()), |tree| tree.remove_tree(path))
            .map_err(refused(CgroupOperation::Remove, path))
    }

    fn children(&self, path: &CgroupPath) -> Result<Vec<String>, CgroupError> {
        self.look(|tree| Ok(tree.node(path)?.children.keys().cloned().collect()))
            .map_err(refused(CgroupOperation::List, path))
    }

    fn id(&self, path: &CgroupPath) -> Result<CgroupId, CgroupError> {
        self.look(|tree| tree.id(path))
            .map_err(refused(CgroupOperation::Open, path))
    }

    fn read(&self, path: &CgroupPath, file: ControlFile) -> Result<String, CgroupError> {
        self.look(|tree| tree.read(path, file))
            .map_err(|errno| self.file_error(path, file, None, errno))
    }

    fn write(&self, path: &CgroupPath, file: ControlFile, value: &str) -> Result<(), CgroupError> {
        let op = FakeOp::Write(path.clone(), file, value.to_owned());
        self.change(op, |tree| tree.write(path, file, value))
            .map_err(|errno| self.file_error(path, file, Some(value), errno))
    }

    fn kill(&self, path: &CgroupPath) -> Result<(), CgroupError> {
        self.change(FakeOp::Kill(path.clone()), |tree| tree.kill(path))
            .map_err(refused(CgroupOperation::Kill, path))
    }

    /// A directory that stands for the cgroup; nothing can be started in it.
    fn open_dir(&self, path: &CgroupPath) -> Result<OwnedFd, CgroupError> {
        let open = || {
            self.look(|tree| tree.node(path).map(|_| ()))?;
            let flags =
                rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
            rustix::fs::open("/", flags, rustix::fs::Mode::empty())
        };
        open().map_err(refused(CgroupOperation::Open, path))
    }
}
