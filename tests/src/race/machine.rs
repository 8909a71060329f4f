//! What a run needs of the machine apart from its pods: swap or none, and cgroups that go away.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{io, thread};

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
