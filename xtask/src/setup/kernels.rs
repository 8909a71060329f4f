//! The lab's kernels: Debian's cloud kernels, which have BTF, cgroup v2, nvme, ext4 and serial ports built in, so that
//! an initramfs without modules boots them.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::apt::{self, Apt};
use super::{Done, Need, Step, skipped};
use crate::paths;

/// The series that the tests run on: the oldest that is supported, the one of Debian stable, the newest.
pub(crate) const KERNELS: [&str; 3] = ["6.1", "6.12", "7.2"];

fn dir(series: &str) -> PathBuf {
    paths::lab().join("kernels").join(series)
}

/// The kernel image of a series, or why there is none.
pub(crate) fn image(series: &str) -> Result<PathBuf, String> {
    let image = dir(series).join("vmlinuz");
    if image.is_file() {
        return Ok(image);
    }
    Err(skipped::why_not(&marked(series))
        .unwrap_or_else(|| "not fetched; `cargo xtask setup` gets it".to_owned()))
}

/// What a kernel that could not be had is written down as.
fn marked(series: &str) -> String {
    format!("kernel-{series}")
}

/// Forgets which kernels could not be had, so that the next run tries again.
pub(super) fn forget_skipped() -> Result<()> {
    for series in KERNELS {
        skipped::forget(&marked(series))?;
    }
    Ok(())
}

pub(super) fn step(series: &'static str) -> Step {
    let found = move || {
        let version = || std::fs::read_to_string(dir(series).join("version")).unwrap_or_default();
        if image(series).is_ok() {
            return Ok(Some(Done::Already(version())));
        }
        Ok(skipped::why_not(&marked(series)).map(Done::Skipped))
    };
    Step {
        need: Need::Vm,
        name: format!("kernel {series}"),
        why: "a Debian cloud kernel, unpacked and not installed, for the VM lab",
        found: Box::new(found),
        // A kernel that cannot be had is not an error of setup: the tests name it as skipped.
        fetch: Box::new(move || fetch(series).or_else(|error| skipped::note(&marked(series), &error))),
    }
}

fn fetch(series: &str) -> Result<Done> {
    anyhow::ensure!(cfg!(target_arch = "x86_64"), "the lab knows x86-64 only");
    let apt = Apt::open()?;
    // Newer releases keep the image apart from the package that depends on it.
    let mut found = apt.candidates(&format!("linux-binary-{series}."), is_image)?;
    found.extend(apt.candidates(&format!("linux-image-{series}."), is_image)?);
    let holds_image = |name: &str| name.starts_with("linux-binary-");
    let split: Vec<_> = found
        .iter()
        .filter(|c| holds_image(&c.package))
        .cloned()
        .collect();
    let candidates = if split.is_empty() { found } else { split };
    let kernel =
        apt::newest(candidates).with_context(|| format!("no Debian cloud kernel {series} on the mirror"))?;
    let unpacked = dir(series).join("unpacked");
    apt.unpack(&kernel, &["*/vmlinuz*"], &unpacked)?;
    let image = find_image(&unpacked)?.with_context(|| format!("{} has no kernel image", kernel.package))?;
    std::fs::rename(&image, dir(series).join("vmlinuz"))?;
    std::fs::remove_dir_all(&unpacked)?;
    std::fs::write(dir(series).join("version"), &kernel.version)?;
    Ok(Done::Now(format!("{} from {}", kernel.version, kernel.package)))
}

/// Signed images of one release, not the packages that only point to the newest one.
fn is_image(name: &str) -> bool {
    name.ends_with("-cloud-amd64")
}

fn find_image(dir: &std::path::Path) -> Result<Option<PathBuf>> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            if let Some(image) = find_image(&path)? {
                return Ok(Some(image));
            }
        } else if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
