//! Which tasks are runnable on some CPUs, from /proc.
//!
//! Source of the formats: proc_pid_stat(5), cgroups(7).

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::model::{CpuId, CpuSet};

/// `PF_KTHREAD` of the kernel's `sched.h`.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// More than any `stat`, or line of a `cgroup`, has.
const MOST_BYTES: u64 = 16 * 1024;

/// A task that runs, or waits to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnableTask {
    /// The CPU it is on, or was on last.
    pub cpu: CpuId,
    /// Its process id.
    pub pid: u32,
    /// Its thread id.
    pub tid: u32,
    /// The name it gave itself.
    pub comm: String,
    /// Whether it is a thread of the kernel.
    pub kernel_thread: bool,
    /// Its cgroup's path in the cgroup v2 hierarchy, as /proc has it; none when it cannot be told.
    pub cgroup: Option<String>,
}

/// The tasks whose last CPU is among `cpus`, and that run or wait to run; the calling one too, if it is there.
///
/// # Errors
/// The kernel's when /proc cannot be listed. A task that ends meanwhile is left out.
pub fn runnable_on(cpus: &CpuSet) -> io::Result<Vec<RunnableTask>> {
    let mut found = Vec::new();
    for process in numbers(Path::new("/proc"))? {
        let Some(threads) = gone_is_none(numbers(&process.1.join("task")))? else {
            continue;
        };
        for (tid, directory) in threads {
            let Some(text) = gone_is_none(read(&directory.join("stat")))? else {
                continue;
            };
            let Some(stat) = parse(&text).filter(|stat| stat.runnable && cpus.contains(stat.cpu)) else {
                continue;
            };
            let cgroup = gone_is_none(read(&directory.join("cgroup")))?;
            found.push(RunnableTask {
                cpu: stat.cpu,
                pid: process.0,
                tid,
                comm: stat.comm,
                kernel_thread: stat.kernel_thread,
                cgroup: cgroup.and_then(|text| unified(&text)),
            });
        }
    }
    Ok(found)
}

/// The entries of a directory that are named by a number.
fn numbers(directory: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            numbers.push((number, entry.path()));
        }
    }
    Ok(numbers)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MOST_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

fn gone_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            let gone = [Errno::NOENT, Errno::SRCH].map(|errno| Some(errno.raw_os_error()));
            if gone.contains(&error.raw_os_error()) {
                Ok(None)
            } else {
                Err(error)
            }
        }
    }
}

/// What is taken from a task's `stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    comm: String,
    runnable: bool,
    kernel_thread: bool,
    cpu: CpuId,
}

/// The name may hold anything, blanks and parentheses included; the last `)` ends it.
fn parse(text: &[u8]) -> Option<Stat> {
    let open = text.iter().position(|b| *b == b'(')?;
    let close = text.iter().rposition(|b| *b == b')')?;
    let comm = text.get(open + 1..close)?;
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    // Counted from field 3, the state.
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let flags: u64 = fields.nth(5)?.parse().ok()?;
    let cpu: u32 = fields.nth(29)?.parse().ok()?;
    Some(Stat {
        comm: String::from_utf8_lossy(comm).into_owned(),
        runnable: state == "R",
        kernel_thread: flags & KERNEL_THREAD != 0,
        cpu: CpuId::new(cpu)?,
    })
}

/// The path in the cgroup v2 hierarchy.
fn unified(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("0::"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A `stat` of proc_pid_stat(5) with every field its own number, but those that are read.
    fn stat(comm: &str, state: char, flags: u64, cpu: u32) -> String {
        let fields: Vec<String> = (4..=52)
            .map(|n| match n {
                9 => flags.to_string(),
                39 => cpu.to_string(),
                n => n.to_string(),
            })
            .collect();
        format!("1 ({comm}) {state} {}\n", fields.join(" "))
    }

    proptest! {
        #[test]
        fn fields_are_found_whatever_the_name(
            comm in "[a-z() \\n]{0,15}", runnable: bool, kernel_thread: bool, cpu in 0..8192_u32,
        ) {
            let flags = if kernel_thread { 0x0420_8040 } else { 0x0040_0100 };
            let text = stat(&comm, if runnable { 'R' } else { 'S' }, flags, cpu);
            let expected = Stat { comm, runnable, kernel_thread, cpu: CpuId::new(cpu).unwrap() };
            prop_assert_eq!(parse(text.as_bytes()), Some(expected));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes);
            unified(&bytes);
        }
    }

    #[test]
    fn this_thread_runs_where_it_is() {
        let all: CpuSet = (0..1024).filter_map(CpuId::new).collect();
        let tid = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        let found = runnable_on(&all).unwrap();
        let this = found.iter().find(|task| task.tid == tid).unwrap();
        assert_eq!(this.pid, std::process::id());
        assert!(!this.kernel_thread);
        assert_eq!(runnable_on(&CpuSet::EMPTY).unwrap(), []);
    }

    #[test]
    fn the_unified_path_is_told_among_others() {
        let text = b"12:cpuset:/docker/x\n1:name=systemd:/\n0::/kubepods/pod1/c\n";
        assert_eq!(unified(text).as_deref(), Some("/kubepods/pod1/c"));
        assert_eq!(unified(b"1:cpu:/\n"), None);
    }
}
