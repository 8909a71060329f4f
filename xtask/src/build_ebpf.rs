//! `cargo xtask build-ebpf`: the kernel side, from Rust to one object a feature.
//!
//! Every `[[bin]]` of `plimsoll-ebpf` becomes `target/bpf/NAME.o`. They are separate objects because each is loaded
//! on its own: a kernel that refuses one loses that feature and no other. The target has no prebuilt `core`, so
//! cargo builds it from Rust's sources (`-Z build-std`), which a stable compiler allows under `RUSTC_BOOTSTRAP`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::setup::{linker, rust_src};
use crate::{cargo, exec, paths, setup};

const PACKAGE: &str = "plimsoll-ebpf";
const TARGET: &str = "bpfel-unknown-none";

#[derive(clap::Args)]
pub(crate) struct Options {}

pub(crate) fn run(_: &Options) -> Result<ExitCode> {
    for object in build()? {
        println!("{}", object.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds every object, removes those whose program is gone, and returns where they are.
pub(crate) fn build() -> Result<Vec<PathBuf>> {
    setup::ensure(&[setup::Need::Ebpf])?;
    let names: BTreeSet<String> = cargo::targets()?
        .into_iter()
        .filter(|target| target.package == PACKAGE && target.kind == "bin")
        .map(|target| target.name)
        .collect();
    ensure!(!names.is_empty(), "the package {PACKAGE} has no programs");
    let objects = paths::bpf_objects();
    let _turn = paths::lock(&paths::target().join("bpf-build"))?;
    compile()?;
    paths::make_dir(&objects)?;
    let built = paths::target().join("bpf-build").join(TARGET).join("bpf");
    for name in &names {
        publish(&built.join(name), &objects.join(name).with_extension("o"))?;
    }
    remove_others(&objects, &names)?;
    Ok(names
        .iter()
        .map(|name| objects.join(name).with_extension("o"))
        .collect())
}

fn compile() -> Result<()> {
    let architecture = std::env::consts::ARCH;
    // The type information is cleaned by the linker for the kernel, which rejects names such as `Array<u64, 4>`.
    let flags = [
        format!("--cfg=bpf_target_arch=\"{architecture}\""),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
    ];
    // The lines of sources are in the type information, with their files' names. Unit separators: those may have spaces.
    let flags = flags
        .into_iter()
        .chain(paths::remapped())
        .collect::<Vec<_>>()
        .join("\u{1f}");
    let mut build = cargo::command();
    build
        .args([
            "build",
            "--package",
            PACKAGE,
            "--bins",
            "--profile",
            "bpf",
            "--target",
            TARGET,
        ])
        .args(["-Z", "build-std=core"])
        // A directory of its own: cargo locks a build directory, and this often runs inside another cargo command.
        .arg("--target-dir")
        .arg(paths::target().join("bpf-build"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker::path())
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env_remove("RUSTFLAGS");
    if let Some(library) = rust_src::fetched()? {
        // cargo's own switch for sources that are not inside the toolchain; the toolchain stays untouched.
        build.env("__CARGO_TESTS_ONLY_SRC_ROOT", library);
    }
    exec::run(&mut build)
}

/// Leaves the object without DWARF (two thirds of its size), which only this build and no kernel reads; BTF stays.
///
/// The tool is the compiler's own, because Debian's binutils do not know BPF; it needs the compiler's libraries.
fn publish(built: &Path, object: &Path) -> Result<()> {
    let sysroot = rust_src::sysroot()?;
    let tool = sysroot
        .join("lib/rustlib")
        .join(rust_src::compiler()?.host)
        .join("bin/rust-objcopy");
    ensure!(tool.is_file(), "the compiler came without {}", tool.display());
    let stripped = built.with_extension("stripped");
    let mut strip = Command::new(tool);
    strip
        .arg("--strip-debug")
        .arg(built)
        .arg(&stripped)
        .env("LD_LIBRARY_PATH", sysroot.join("lib"));
    exec::run(&mut strip)?;
    let bytes = std::fs::read(&stripped).with_context(|| format!("cannot read {}", stripped.display()))?;
    if paths::write_if_changed(object, &bytes)? {
        eprintln!("built {} ({} KiB)", object.display(), bytes.len() / 1024);
    }
    Ok(())
}

fn remove_others(objects: &Path, names: &BTreeSet<String>) -> Result<()> {
    for entry in std::fs::read_dir(objects)? {
        let path = entry?.path();
        let known = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .is_some_and(|stem| names.contains(stem));
        if path.extension().is_some_and(|extension| extension == "o") && !known {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}
