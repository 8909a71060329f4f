//! The machine's whole file system, as one cpio archive.

use std::collections::BTreeSet;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::BufWriter;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::cpio::Archive;
use super::{VmSpec, libraries};
use crate::{exec, paths, setup};

const INIT: &str = include_str!("init.sh");
const DIRECTORIES: [&str; 9] = [
    "/proc", "/sys", "/dev", "/tmp", "/run", "/root", "/var/log", "/disk", "/sbin",
];

/// Writes the archive for `spec` to `path`.
pub(super) fn write(spec: &VmSpec, path: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    let mut archive = Archive::new(BufWriter::new(file));
    for directory in DIRECTORIES {
        archive.directory(directory)?;
    }
    archive.file("/init", 0o755, INIT.as_bytes())?;
    archive.file("/bin/busybox", 0o755, &read(&setup::qemu::busybox())?)?;
    archive.link("/bin/sh", "busybox")?;
    archive.file(
        "/etc/passwd",
        0o644,
        b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    )?;
    archive.file("/etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n")?;
    archive.file("/etc/hosts", 0o644, b"127.0.0.1 localhost\n")?;
    archive.file("/etc/vm/settings", 0o644, settings(spec).as_bytes())?;
    archive.file("/etc/vm/command", 0o755, command(spec).as_bytes())?;
    add_files(spec, &mut archive)?;
    archive.finish()?;
    Ok(())
}

fn add_files(spec: &VmSpec, archive: &mut Archive<BufWriter<File>>) -> Result<()> {
    let mut needed = BTreeSet::new();
    for file in &spec.files {
        ensure!(
            file.guest.starts_with('/'),
            "{} is not an absolute path in the machine",
            file.guest
        );
        let (content, permissions) = if libraries::is_elf(&file.host)? {
            needed.extend(libraries::of(&file.host)?);
            (stripped(&file.host, &file.guest)?, 0o755)
        } else {
            let permissions = std::fs::metadata(&file.host)?.permissions().mode() & 0o777;
            (read(&file.host)?, permissions)
        };
        archive.file(&file.guest, permissions, &content)?;
    }
    for library in needed {
        let place = libraries::place(&library);
        archive.file(&place.to_string_lossy(), 0o755, &read(&library)?)?;
    }
    Ok(())
}

/// The program without debug information, most of a test binary's size, which would cost boot time and the machine's
/// memory. A copy is kept for the next boot; where there is no `strip` it is the program as it is.
///
/// Copies go by the name in the machine, because cargo gives a test program another name with every change.
fn stripped(program: &Path, guest: &str) -> Result<Vec<u8>> {
    if !exec::on_path("strip") {
        return read(program);
    }
    let meta = std::fs::metadata(program)?;
    let mut hasher = DefaultHasher::new();
    (program, meta.len(), meta.modified()?).hash(&mut hasher);
    let dir = paths::target().join("vm-programs");
    let name = guest.rsplit('/').next().unwrap_or_default();
    let copy = dir.join(format!("{name}.{:016x}", hasher.finish()));
    // Another run, with another build, might remove the copy before it is read.
    let _turn = paths::lock(&dir)?;
    if !copy.is_file() {
        forget_older(&dir, name)?;
        let partial = copy.with_extension("partial");
        exec::run(
            Command::new("strip")
                .arg("--strip-debug")
                .arg("-o")
                .arg(&partial)
                .arg(program),
        )?;
        std::fs::rename(&partial, &copy)?;
    }
    read(&copy)
}

/// Removes copies of the same program's earlier builds.
fn forget_older(dir: &Path, name: &str) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let of_same = file
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('.') && rest.len() == 17);
        if of_same {
            std::fs::remove_file(entry.path()).with_context(|| format!("cannot remove {file}"))?;
        }
    }
    Ok(())
}

/// Variables that the init script reads.
fn settings(spec: &VmSpec) -> String {
    let flag = |size: u64| u8::from(size > 0);
    // The machine turns itself off should the host's side have died.
    let limit = spec.timeout.as_secs() + 60;
    format!(
        "SWAP={}\nDISK={}\nLIMIT={limit}\n",
        flag(spec.swap_mib),
        flag(spec.disk_mib)
    )
}

/// The command as a script that becomes it.
fn command(spec: &VmSpec) -> String {
    let mut script = String::from("#!/bin/sh\n");
    for (name, value) in &spec.environment {
        script += &format!("export {name}={}\n", exec::quote(value));
    }
    let words: Vec<_> = spec.command.iter().map(|word| exec::quote(word)).collect();
    script + "exec " + &words.join(" ") + "\n"
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
