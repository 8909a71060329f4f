//! The sources of Rust's `core`, which `-Z build-std` compiles for the BPF target.
//!
//! rustup adds them to the toolchain where it can reach its server. Elsewhere Debian's package of the same version
//! is unpacked into the lab directory, and the toolchain stays as it is.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::apt::Apt;
use super::{Done, Need, Step};
use crate::{exec, paths};

/// The compiler that builds the workspace.
pub(crate) struct Compiler {
    pub(crate) release: String,
    pub(crate) host: String,
}

pub(crate) fn compiler() -> Result<Compiler> {
    let text = exec::output(Command::new("rustc").arg("-vV").current_dir(paths::root()))?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::to_owned)
    };
    let release = field("release: ").context("rustc did not say its release")?;
    Ok(Compiler {
        release,
        host: field("host: ").context("rustc did not say its host")?,
    })
}

/// Where the compiler's own libraries and tools are.
pub(crate) fn sysroot() -> Result<PathBuf> {
    let sysroot = exec::output(
        Command::new("rustc")
            .arg("--print=sysroot")
            .current_dir(paths::root()),
    )?;
    Ok(PathBuf::from(sysroot.trim()))
}

/// Debian's copy in the lab directory, if it was fetched.
pub(crate) fn fetched() -> Result<Option<PathBuf>> {
    let library = fetched_dir(&compiler()?.release).join("library");
    Ok(library.join("Cargo.lock").is_file().then_some(library))
}

fn fetched_dir(release: &str) -> PathBuf {
    paths::lab().join(format!("rust-src-{release}"))
}

fn in_toolchain() -> Result<Option<PathBuf>> {
    let library = sysroot()?.join("lib/rustlib/src/rust/library");
    Ok(library.join("Cargo.lock").is_file().then_some(library))
}

pub(super) fn step(no_rustup: bool) -> Step {
    let found = move || {
        let toolchain = if no_rustup { None } else { in_toolchain()? };
        Ok(fetched()?
            .or(toolchain)
            .map(|library| Done::Already(library.display().to_string())))
    };
    Step {
        need: Need::Ebpf,
        name: "rust-src".to_owned(),
        why: "the eBPF target has no prebuilt `core`; cargo compiles it from these sources",
        found: Box::new(found),
        fetch: Box::new(move || fetch(no_rustup)),
    }
}

fn fetch(no_rustup: bool) -> Result<Done> {
    if no_rustup {
        return from_debian();
    }
    match from_rustup() {
        Ok(done) => Ok(done),
        Err(error) => {
            eprintln!(
                "           rustup could not: {}",
                error.to_string().lines().last().unwrap_or_default()
            );
            from_debian()
        }
    }
}

fn from_rustup() -> Result<Done> {
    let mut rustup = Command::new("rustup");
    // The toolchain file names the toolchain; no retries, for there is a second way.
    rustup
        .args(["component", "add", "rust-src"])
        .env("RUSTUP_MAX_RETRIES", "0")
        .current_dir(paths::root());
    exec::output(&mut rustup)?;
    let library = in_toolchain()?.context("rustup added no sources to the toolchain")?;
    Ok(Done::Now(format!(
        "rustup put it into the toolchain: {}",
        library.display()
    )))
}

fn from_debian() -> Result<Done> {
    let release = compiler()?.release;
    let apt = Apt::open()?;
    let matching = |version: &str| {
        version.starts_with(&format!("{release}+")) || version.starts_with(&format!("{release}-"))
    };
    let package = apt
        .candidates("rust-src", |name| name == "rust-src")?
        .into_iter()
        .find(|candidate| matching(&candidate.version))
        .with_context(|| format!("the mirror has no rust-src of rustc's version {release}"))?;
    let dir = fetched_dir(&release);
    let partial = dir.with_extension("partial");
    apt.unpack(&package, &["./usr/src/rustc-*/library"], &partial)?;
    let library = partial.join(format!("usr/src/rustc-{release}/library"));
    paths::make_dir(&dir)?;
    std::fs::rename(&library, dir.join("library"))
        .with_context(|| format!("no {} in the package", library.display()))?;
    std::fs::remove_dir_all(&partial)?;
    Ok(Done::Now(format!(
        "{} {} unpacked into {}",
        package.package,
        package.version,
        dir.display()
    )))
}
