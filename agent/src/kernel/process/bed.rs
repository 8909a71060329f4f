//! A cgroup for a test, made where the machine has cgroup v2 and removed with everything in it.

#![expect(clippy::print_stderr, reason = "a test that cannot run says so")]

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where cgroup v2 is mounted on machines with it alone, and beside version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// A cgroup of a test's own.
#[derive(Debug)]
pub struct CgroupBed {
    /// Its directory.
    pub path: PathBuf,
}

impl CgroupBed {
    /// Makes the cgroup `plimsoll-test-NAME-PID`; none, and a line on standard error, where that cannot be done.
    #[must_use]
    pub fn make(name: &str) -> Option<Self> {
        let mount = MOUNTS.iter().find(|m| Path::new(m).join("cgroup.procs").exists());
        let made = mount.map(|mount| {
            let path = Path::new(mount).join(format!("plimsoll-test-{name}-{}", std::process::id()));
            fs::create_dir(&path).map(|()| Self { path })
        });
        match made {
            Some(Ok(bed)) => Some(bed),
            Some(Err(e)) => {
                eprintln!("SKIPPED {name}: no cgroup can be made: {e}");
                None
            }
            None => {
                eprintln!("SKIPPED {name}: no cgroup v2 is mounted");
                None
            }
        }
    }

    /// Its directory, opened.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn open(&self) -> std::io::Result<OwnedFd> {
        fs::File::open(&self.path).map(OwnedFd::from)
    }
}

impl Drop for CgroupBed {
    fn drop(&mut self) {
        for _ in 0..100 {
            // Kernels before 5.14 have no cgroup.kill; the removal then tells.
            fs::write(self.path.join("cgroup.kill"), "1").ok();
            if fs::remove_dir(&self.path).is_ok() || !self.path.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        eprintln!("{} is left behind", self.path.display());
    }
}
