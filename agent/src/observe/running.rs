//! Strangers on CPUs that belong to one container, without eBPF.
//!
//! For verification where the object `foreign` cannot be used: a look at /proc, which takes milliseconds, misses who
//! comes and goes meanwhile, and takes tasks that only wait for such a CPU for tasks that run there. Both are wrong on
//! a CPU that is another's.

use std::collections::BTreeMap;
use std::io;

use crate::kernel::running::{RunnableTask, runnable_on};
use crate::model::{CgroupPath, CpuId, CpuSet, Intruder, Stranger};

/// The tasks that run, or wait to run, on a CPU whose owner is another cgroup. Paths are those below the mount of
/// cgroup v2, pods being below `root`.
///
/// # Errors
/// The kernel's when /proc cannot be listed.
pub fn strangers(root: &CgroupPath, owners: &BTreeMap<CpuId, CgroupPath>) -> io::Result<Vec<Intruder>> {
    let cpus: CpuSet = owners.keys().copied().collect();
    let tasks = runnable_on(&cpus)?;
    Ok(tasks
        .into_iter()
        .filter_map(|task| stranger(task, root, owners))
        .collect())
}

fn stranger(task: RunnableTask, root: &CgroupPath, owners: &BTreeMap<CpuId, CgroupPath>) -> Option<Intruder> {
    let owner = owners.get(&task.cpu)?;
    let cgroup = task
        .cgroup
        .and_then(|path| CgroupPath::parse(path.trim_start_matches('/')).ok());
    let is_within = |ancestor| cgroup.as_ref().is_some_and(|path| path.is_within(ancestor));
    let kind = if is_within(owner) {
        return None;
    } else if task.kernel_thread {
        Stranger::KernelThread
    } else if is_within(root) {
        Stranger::Pod
    } else {
        Stranger::System
    };
    Some(Intruder {
        cpu: task.cpu,
        kind,
        pid: task.pid,
        tid: task.tid,
        comm: task.comm,
        cgroup: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(cpu: u32, cgroup: Option<&str>, kernel_thread: bool) -> RunnableTask {
        RunnableTask {
            cpu: CpuId::new(cpu).unwrap(),
            pid: 5,
            tid: 6,
            comm: "x".to_owned(),
            kernel_thread,
            cgroup: cgroup.map(str::to_owned),
        }
    }

    #[test]
    fn who_is_not_the_owner_is_a_stranger_of_some_kind() {
        let root = CgroupPath::parse("kubepods").unwrap();
        let owner = CgroupPath::parse("kubepods/pod1/c").unwrap();
        let owners = BTreeMap::from([(CpuId::new(1).unwrap(), owner)]);
        let kind = |task| stranger(task, &root, &owners).map(|intruder| intruder.kind);
        assert_eq!(kind(task(1, Some("/kubepods/pod1/c"), false)), None);
        assert_eq!(kind(task(1, Some("/kubepods/pod1/c/inner"), false)), None);
        assert_eq!(kind(task(1, Some("/kubepods/pod1"), false)), Some(Stranger::Pod));
        assert_eq!(
            kind(task(1, Some("/kubepods/pod1/c2"), false)),
            Some(Stranger::Pod)
        );
        assert_eq!(
            kind(task(1, Some("/system.slice/x"), false)),
            Some(Stranger::System)
        );
        assert_eq!(kind(task(1, None, false)), Some(Stranger::System));
        assert_eq!(kind(task(1, Some("/../x"), false)), Some(Stranger::System));
        assert_eq!(kind(task(1, Some("/"), true)), Some(Stranger::KernelThread));
        assert_eq!(kind(task(2, Some("/"), false)), None, "not an owned CPU");
    }
}
