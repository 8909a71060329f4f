//! What a run needs of the machine apart from its pods: swap or none, and cgroups that go away.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{io, thread};

use super::watch::number;

/// How long the kernel may take to let go of a cgroup.
const PATIENCE: Duration = Duration::from_secs(120);

/// Ends and removes everything in a cgroup, and itself.
pub(super) fn clear(tree: &Path) -> io::Result<()> {
    if !tree.exists() {
        return Ok(());
    }
    fs::write(tree.join("cgroup.kill"), "1")?;
    let begun = Instant::now();
    while !removed(tree) {
        if begun.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("{} stays", tree.display())));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Turns the machine's swap on or off. The lab's disk for it has a serial number that says so.
pub(super) fn set_swap(on: bool) -> io::Result<()> {
    let is_swap = |block: &Path| {
        fs::read_to_string(block.join("device/serial")).is_ok_and(|serial| serial.starts_with("swap"))
    };
    let mut blocks = fs::read_dir("/sys/block")?.flatten().map(|entry| entry.path());
    let Some(disk) = blocks.find(|block| is_swap(block)) else {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "this machine has no swap");
        return if on { Err(missing()) } else { Ok(()) };
    };
    let device = Path::new("/dev").join(disk.file_name().unwrap_or_default());
    let in_use = fs::read_to_string("/proc/swaps")?.lines().count() > 1;
    if in_use == on {
        return Ok(());
    }
    let output = Command::new(if on { "swapon" } else { "swapoff" })
        .arg(&device)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(())
    } else {
        Err(io::Error::other(said.into_owned()))
    }
}

/// Gives the machine so many tasks; gives back how many it had.
pub(super) fn set_tasks(most: u64) -> io::Result<u64> {
    const MOST: &str = "/proc/sys/kernel/threads-max";
    let former = fs::read_to_string(MOST)?;
    fs::write(MOST, most.to_string())?;
    former.trim().parse().map_err(io::Error::other)
}

/// Has the kernel put so many bytes of a pod, of which these are the cgroups, into swap, whatever it may have there.
pub(super) fn swap_out(levels: &[PathBuf], bytes: u64) -> io::Result<()> {
    let limits: Vec<_> = levels
        .iter()
        .map(|level| level.join("memory.swap.max"))
        .filter(|limit| limit.exists())
        .collect();
    let mut former = Vec::new();
    for limit in &limits {
        former.push(fs::read_to_string(limit)?);
        fs::write(limit, "max")?;
    }
    let pod = &levels[0];
    let in_swap = || number(&pod.join("memory.swap.current"));
    let begun = Instant::now();
    while in_swap() < bytes {
        let missing = (bytes - in_swap()).to_string();
        // What cannot be had at once is refused, and what was had stays.
        let asked = fs::write(pod.join("memory.reclaim"), missing);
        if begun.elapsed() > PATIENCE {
            let stays = || io::Error::other("the kernel does not put the pod into swap");
            return Err(asked.err().unwrap_or_else(stays));
        }
    }
    for (limit, former) in limits.iter().zip(former) {
        fs::write(limit, former)?;
    }
    Ok(())
}

/// Removes cgroups bottom-up; whether all are gone.
fn removed(tree: &Path) -> bool {
    let mut all = true;
    for entry in fs::read_dir(tree).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all &= removed(&entry.path());
        }
    }
    all && fs::remove_dir(tree).is_ok()
}
