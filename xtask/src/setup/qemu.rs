//! QEMU with the tool that makes its disks' file system, and the busybox that fills the virtual machine.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt::{self, Apt};
use super::{Done, Need, Step};
use crate::{exec, paths};

pub(crate) const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGES: [&str; 2] = ["qemu-system-x86", "e2fsprogs"];

/// `mke2fs`, which is often outside an ordinary user's search path.
pub(crate) fn mke2fs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|dir| dir.join("mke2fs"))
        .find(|program| program.is_file())
}

fn complete() -> bool {
    exec::on_path(PROGRAM) && mke2fs().is_some()
}

pub(crate) fn busybox() -> PathBuf {
    paths::lab().join("busybox/busybox")
}

pub(super) fn step() -> Step {
    Step {
        need: Need::Vm,
        name: "QEMU".to_owned(),
        why: "boots the lab's kernels; installed as a system package, with the tool that formats its disks",
        found: Box::new(|| Ok(complete().then(|| Done::Already(PROGRAM.to_owned())))),
        fetch: Box::new(install),
    }
}

fn install() -> Result<Done> {
    if !exec::is_root() || !exec::on_path("apt-get") {
        let packages = PACKAGES.join(" ");
        bail!(
            "{PROGRAM} or mke2fs is missing; install them with your package manager (Debian: apt-get install {packages})"
        );
    }
    let get = |arguments: &[&str]| {
        let mut apt_get = Command::new("apt-get");
        apt_get.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        exec::output(&mut apt_get)
    };
    let install = [
        "install",
        "--yes",
        "--no-install-recommends",
        PACKAGES[0],
        PACKAGES[1],
    ];
    if get(&install).is_err() {
        // Most often the package lists are too old to be of use.
        get(&["update"])?;
        get(&install)?;
    }
    Ok(Done::Now(format!("apt-get installed {}", PACKAGES.join(" and "))))
}

pub(super) fn busybox_step() -> Step {
    Step {
        need: Need::Vm,
        name: "busybox".to_owned(),
        why: "the shell and tools inside the virtual machine, one static program",
        found: Box::new(|| {
            Ok(busybox()
                .is_file()
                .then(|| Done::Already(busybox().display().to_string())))
        }),
        fetch: Box::new(fetch_busybox),
    }
}

fn fetch_busybox() -> Result<Done> {
    let apt = Apt::open()?;
    let package = apt::newest(apt.candidates("busybox-static", |name| name == "busybox-static")?)
        .context("the mirror has no busybox-static")?;
    let unpacked = paths::lab().join("busybox/unpacked");
    apt.unpack(&package, &["*/busybox"], &unpacked)?;
    // In /bin before Debian 13, in /usr/bin since.
    let places = ["bin/busybox", "usr/bin/busybox"].map(|place| unpacked.join(place));
    let program = places
        .iter()
        .find(|path| path.is_file())
        .context("busybox-static holds no busybox")?;
    std::fs::rename(program, busybox())?;
    std::fs::remove_dir_all(&unpacked)?;
    Ok(Done::Now(format!("{} unpacked", package.version)))
}
